//! Making a batch's output. Slow for large batches, so it runs outside the model's lock.

use std::sync::Arc;

use bytes::Bytes;

use super::batch::Run;
use super::examine::Place;
use super::method::Task;
use crate::faults::BatchFaults;
use crate::rng::Rng;

/// Everything that is needed to make the output.
#[derive(Debug)]
pub struct Assemble {
    /// The batch.
    pub batch: Arc<str>,
    /// What its requests want.
    pub task: Task,
    /// Its requests, all done.
    pub run: Run,
    /// What is broken about it.
    pub faults: BatchFaults,
    /// Decides the order of a file's lines.
    pub seed: u64,
}

/// The results of a batch.
#[derive(Debug)]
pub enum Output {
    /// The `output` object with all of them.
    Inline(Bytes),
    /// The content of a file.
    File(Bytes),
}

impl Assemble {
    /// Makes the output: inline results in the order of their requests, the lines of a file in random order.
    pub fn run(self) -> Output {
        let plan = &self.run.plan;
        let mut lines: Vec<_> = plan.lines.iter().filter(|line| line.place == Place::Output).collect();
        if plan.file {
            Rng::labelled(self.seed, &format!("{} file", self.batch)).shuffle(&mut lines);
        } else {
            lines.sort_by_key(|line| line.number);
        }
        let mut results: Vec<&[u8]> = lines.iter().map(|line| &plan.results[line.result.clone()]).collect();
        if self.faults.duplicate_line && !results.is_empty() {
            results.insert(0, results[0]);
        }
        if plan.file { self.file(&results) } else { self.inline(&results) }
    }

    fn file(&self, results: &[&[u8]]) -> Output {
        let mut content = Vec::with_capacity(self.run.plan.results.len() + results.len());
        for result in results {
            content.extend_from_slice(result);
            content.push(b'\n');
        }
        if self.faults.garbage_line {
            content.extend_from_slice(b"{\"key\":\"req\n");
        }
        Output::File(content.into())
    }

    fn inline(&self, results: &[&[u8]]) -> Output {
        let name = match self.task {
            Task::Generate => "inlinedResponses",
            Task::Embed => "inlinedEmbedContentResponses",
        };
        let mut output = format!("{{\"{name}\":{{\"inlinedResponses\":[").into_bytes();
        output.reserve(self.run.plan.results.len() + results.len());
        // A result that says nothing is what garbage is inside of valid JSON.
        let garbage: &[u8] = b"{}";
        let all = results.iter().copied().chain(self.faults.garbage_line.then_some(garbage));
        for (index, result) in all.enumerate() {
            if index > 0 {
                output.push(b',');
            }
            output.extend_from_slice(result);
        }
        output.extend_from_slice(b"]}}");
        Output::Inline(output.into())
    }
}
