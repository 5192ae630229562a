//! From a finished job to acknowledged results.

use std::time::Duration;

use common::ids::Bid;
use common::outcome::{Fault, FaultClass, Outcome};
use common::timers::Now;

use super::{Core, JobPhase, Lines, Output, State, Trouble};

/// How often results with fewer lines than the counts promise, or with something that cannot be read, are downloaded before a
/// line counts as missing.
const DOWNLOADS: u32 = 3;
/// The waits between. What cannot be read may be a gateway's page in place of the results, and gone soon.
const SHORT_AGAIN: Duration = Duration::from_secs(1);
const UNREADABLE_AGAIN: Duration = Duration::from_secs(10);
/// Tries of a download that fails before the callers are told. Result files live for days, so this is hours.
const TRIES: u32 = 100;

/// Tries after which a result file that is not there is gone: of a batch that was another's, who may have delivered it and deleted
/// its files, half a minute; of an own one, of which others can only have thought that, ten minutes.
const LATE: u32 = 5;
const LATE_OF_OWN: u32 = 15;

impl Core {
    pub(super) fn downloaded(
        &mut self,
        now: Now,
        bid: Bid,
        result: Result<Lines, Trouble>,
        out: &mut Vec<Output>,
    ) {
        let delivering = |batch: &&mut super::Batch| batch.state == State::Delivering;
        let Some(batch) = self.batches.get_mut(&bid).filter(delivering) else { return };
        let late = if batch.recovery.is_some() { LATE } else { LATE_OF_OWN };
        let phase = batch.job.as_ref().map_or(JobPhase::Completed, |job| job.phase);
        let unread = || Outcome::Fault(no_line(phase, false, false));
        let absent = result.as_ref().is_err_and(|trouble| trouble.status == Some(404));
        batch.absent = if absent { batch.absent + 1 } else { 0 };
        let lines = match result {
            Ok(lines) => lines,
            // Somebody else has delivered this job and deleted its files, unless they are only seen late.
            Err(_) if batch.absent > late => {
                return self.fail(now, bid, unread(), out);
            }
            Err(trouble) if batch.attempt < TRIES => return self.again(now, bid, &trouble, out),
            Err(trouble) => {
                let outcome = trouble.answer.clone().unwrap_or_else(unread);
                return self.fail(now, bid, outcome, out);
            }
        };
        batch.told.extend(&lines.answered);
        batch.downloads += 1;
        let counts = batch.job.as_ref().and_then(|job| job.counts);
        let missing = batch.untold().count();
        let unreadable = lines.unreadable > 0;
        if missing > 0 && (unreadable || lines.are_short_of(counts)) && batch.downloads < DOWNLOADS {
            let (found, wait) =
                (lines.answered.len(), if unreadable { UNREADABLE_AGAIN } else { SHORT_AGAIN });
            tracing::info!(%bid, found, unreadable, promised = ?counts, "results are not whole; downloading again");
            return self.later(now, bid, wait);
        }
        if missing > 0 {
            tracing::warn!(%bid, missing, unreadable, "requests without a line in the results");
            let not_executed = lines.are_all_of(counts);
            let fault = no_line(phase, not_executed, unreadable);
            // Who cancelled a job that callers wait for had his reasons.
            let told = phase == JobPhase::Cancelled && not_executed && batch.overdue.is_none();
            // Where all was read there is no answer, and there will be none.
            let fault = match (unreadable || told, not_executed) {
                (true, _) => fault,
                (false, true) => fault.again(),
                (false, false) => fault.again().perhaps_executed(),
            };
            self.tell_rest(bid, Outcome::Fault(fault), out);
        }
        self.enter(now, bid, State::Flushing, out);
    }
}

impl Lines {
    /// Whether the provider has executed more lines than these.
    fn are_short_of(&self, counts: Option<(u64, u64, u64)>) -> bool {
        let (_, completed, failed) = counts.unwrap_or_default();
        // Saturating: a provider may claim any numbers.
        let (found, promised) =
            (self.succeeded.saturating_add(self.failed), completed.saturating_add(failed));
        self.succeeded < completed || found < promised
    }

    /// Whether the provider certainly has executed no more lines than these. Counts that are absent prove nothing, and
    /// neither do such that count fewer lines than there are; and what cannot be read may be any line.
    fn are_all_of(&self, counts: Option<(u64, u64, u64)>) -> bool {
        let completed = counts.map(|(_, completed, _)| completed);
        completed == Some(self.succeeded) && !self.are_short_of(counts) && self.unreadable == 0
    }
}

/// What a request gets whose line is in neither file. That it was not executed is only said where it is certain: it may be
/// sent again, by an ingress itself where its batch was cancelled, and would be paid twice.
fn no_line(phase: JobPhase, not_executed: bool, unreadable: bool) -> Fault {
    match phase {
        JobPhase::Expired if not_executed => {
            let message = "The provider's batch expired before the request was executed.";
            Fault::new(FaultClass::Expired, "batch_expired", message).no_retry()
        }
        JobPhase::Cancelled if not_executed => cancelled(),
        JobPhase::Expired
        | JobPhase::Cancelled
        | JobPhase::Running
        | JobPhase::Completed
        | JobPhase::Failed => match unreadable {
            true => illegible(),
            false => {
                let message = "The provider finished the batch without an answer to this request.";
                Fault::new(FaultClass::Internal, "no_result_line", message).no_retry()
            }
        },
    }
}

/// What a request gets whose answer is not in what can be read of its job.
pub(super) fn illegible() -> Fault {
    let message = "The provider's results cannot be read in whole, and what can be read has no answer to this request. It may \
                   have been executed and billed.";
    Fault::new(FaultClass::Internal, "no_result_line", message).no_retry()
}

/// What a request gets that was certainly not executed, and will not be, since its batch was cancelled.
pub(super) fn cancelled() -> Fault {
    let message = "The batch of this request was cancelled before the request was executed; send it again.";
    Fault::new(FaultClass::Unavailable, "batch_cancelled", message).retry_after(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absurd_counts_prove_nothing() {
        let lines = Lines { succeeded: 5, ..Lines::default() };
        assert!(lines.are_all_of(Some((5, 5, 0))));
        for (completed, failed) in [(5, u64::MAX), (u64::MAX, 1), (u64::MAX, u64::MAX)] {
            assert!(lines.are_short_of(Some((5, completed, failed))));
            assert!(!lines.are_all_of(Some((5, completed, failed))));
        }
    }
}
