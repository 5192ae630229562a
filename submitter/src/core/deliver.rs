//! From a finished job to acknowledged results.

use std::collections::BTreeSet;
use std::time::Duration;

use common::ids::{Bid, Rid};
use common::outcome::{Fault, FaultClass, Outcome};
use common::timers::Now;

use super::{Core, JobPhase, Output, State, Trouble};

/// How often result files with fewer lines than the counts promise are downloaded before a line counts as missing.
const DOWNLOADS: u32 = 3;
/// Tries of a download that fails before the callers are told. Result files live for days, so this is hours.
const TRIES: u32 = 100;

impl Core {
    pub(super) fn downloaded(
        &mut self,
        now: Now,
        bid: Bid,
        result: Result<(BTreeSet<Rid>, u64), Trouble>,
        out: &mut Vec<Output>,
    ) {
        let delivering = |batch: &&mut super::Batch| batch.state == State::Delivering;
        let Some(batch) = self.batches.get_mut(&bid).filter(delivering) else { return };
        let (answered, lines) = match result {
            Ok(done) => done,
            Err(trouble) if batch.attempt < TRIES => return self.again(now, bid, &trouble, out),
            Err(trouble) => {
                let outcome = trouble.answer.clone().unwrap_or_else(super::too_late);
                return self.fail(now, bid, outcome, out);
            }
        };
        batch.told.extend(answered);
        batch.downloads += 1;
        let (_, completed, failed) = batch.job.as_ref().map_or((0, 0, 0), |job| job.counts);
        let missing = batch.untold().count();
        if missing > 0 && lines < completed + failed && batch.downloads < DOWNLOADS {
            tracing::info!(%bid, lines, promised = completed + failed, "result files are short; downloading again");
            return self.later(now, bid, Duration::from_secs(1));
        }
        if missing > 0 {
            tracing::warn!(%bid, missing, "requests without a line in the results");
            let phase = batch.job.as_ref().map_or(JobPhase::Completed, |job| job.phase);
            self.tell_rest(bid, Outcome::Fault(no_line(phase)), out);
        }
        self.enter(now, bid, State::Flushing, out);
    }

    /// Every caller's ingress has acknowledged: now the files may go.
    pub(super) fn flushed(&mut self, now: Now, bid: Bid, out: &mut Vec<Output>) {
        let Some(batch) = self.batches.get_mut(&bid).filter(|batch| batch.state == State::Flushing) else {
            return;
        };
        batch.state = State::Done;
        batch.step += 1;
        let files: Vec<String> = batch.files.clone().into_iter().chain(batch.result_files()).collect();
        for file in files {
            self.delete_later(now, bid, &file);
        }
        self.chores(now, bid, out);
    }
}

/// What a request gets whose line is in neither file.
fn no_line(phase: JobPhase) -> Fault {
    match phase {
        JobPhase::Expired => {
            let message = "The provider's batch expired before the request was executed.";
            Fault::new(FaultClass::Expired, "batch_expired", message).no_retry()
        }
        JobPhase::Cancelled => {
            let message =
                "The batch of this request was cancelled before the request was executed; send it again.";
            Fault::new(FaultClass::Unavailable, "batch_cancelled", message)
                .retry_after(Duration::from_secs(1))
        }
        JobPhase::Running | JobPhase::Completed | JobPhase::Failed => {
            let message = "The provider finished the batch without an answer to this request.";
            Fault::new(FaultClass::Internal, "no_result_line", message).no_retry()
        }
    }
}
