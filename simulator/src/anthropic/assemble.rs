//! Making a batch's results. Slow for large batches, so it runs outside the model's lock.

use std::io::Write as _;
use std::sync::Arc;

use bytes::Bytes;

use super::batch::Ends;
use crate::faults::BatchFaults;
use crate::openai::Status;
use crate::plan::{Place, Run};
use crate::rng::Rng;

/// Everything that is needed to make the results.
#[derive(Debug)]
pub struct Assemble {
    /// The batch.
    pub batch: Arc<str>,
    /// The status in which it ends.
    pub status: Status,
    /// Its lines, and how many are done.
    pub run: Run,
    /// What is broken about it.
    pub faults: BatchFaults,
    /// Decides the order of the lines.
    pub seed: u64,
}

impl Assemble {
    /// Makes the results, with their lines in random order, and counts how the lines ended.
    pub fn run(self) -> (Bytes, Ends) {
        let mut rng = Rng::labelled(self.seed, &format!("{} results", self.batch));
        let mut order: Vec<usize> = (0..self.run.plan.lines.len()).collect();
        rng.shuffle(&mut order);
        let mut results = Vec::with_capacity(self.run.plan.results.len());
        let mut ends = Ends::default();
        for index in order {
            self.line(index, &mut results, &mut ends);
        }
        if self.faults.duplicate_line
            && let Some(end) = memchr::memchr(b'\n', &results)
        {
            results.extend_from_within(..=end);
        }
        if self.faults.garbage_line && !results.is_empty() {
            results.extend_from_slice(b"{\"custom_id\":\"a\",\"result\":{\"type\":\"succ\n");
        }
        (results.into(), ends)
    }

    fn line(&self, index: usize, results: &mut Vec<u8>, ends: &mut Ends) {
        let line = &self.run.plan.lines[index];
        let result = &self.run.plan.results[line.result.clone()];
        let place = if index >= self.run.done { Place::Expired } else { line.place };
        match place {
            Place::Output => ends.succeeded += 1,
            Place::Error => ends.errored += 1,
            Place::Expired if index >= self.run.done && self.status == Status::Cancelled => {
                ends.canceled += 1;
                return write_unexecuted(results, &line.id, "canceled");
            }
            Place::Expired => {
                ends.expired += 1;
                return write_unexecuted(results, &line.id, "expired");
            }
            Place::Nowhere => {
                let counted = self.faults.vanish.is_some_and(|(lines, counted)| counted && index < lines);
                ends.succeeded += usize::from(counted);
                return;
            }
        }
        results.extend_from_slice(result);
    }
}

fn write_unexecuted(results: &mut Vec<u8>, id: &str, kind: &str) {
    // Writing to a Vec cannot fail.
    let _ = writeln!(results, r#"{{"custom_id":{id},"result":{{"type":"{kind}"}}}}"#);
}
