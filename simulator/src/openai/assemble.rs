//! Making a batch's two result files. Slow for large batches, so it runs outside the model's lock.

use std::io::Write as _;
use std::sync::Arc;

use bytes::Bytes;

use super::batch::Status;
use crate::faults::BatchFaults;
use crate::plan::{Place, Run};
use crate::rng::Rng;

/// Everything that is needed to make the files.
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

/// The two files; None where one has no line.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// Answers with a 2xx status.
    pub output: Option<Bytes>,
    /// Everything else.
    pub error: Option<Bytes>,
}

impl Assemble {
    /// Makes the files, with their lines in random order.
    pub fn run(self) -> Files {
        let mut rng = Rng::labelled(self.seed, &format!("{} files", self.batch));
        let mut order: Vec<usize> = (0..self.run.plan.lines.len()).collect();
        rng.shuffle(&mut order);
        let (mut output, mut error) = (Vec::with_capacity(self.run.plan.results.len()), Vec::new());
        for index in order {
            let line = &self.run.plan.lines[index];
            let result = &self.run.plan.results[line.result.clone()];
            if index >= self.run.done {
                let (code, message) = self.reason();
                write_unexecuted(&mut error, &line.id, code, message, &mut rng);
                continue;
            }
            match line.place {
                Place::Output => output.extend_from_slice(result),
                Place::Error => error.extend_from_slice(result),
                Place::Expired => write_unexecuted(&mut error, &line.id, "batch_expired", EXPIRED, &mut rng),
                Place::Nowhere => {}
            }
        }
        self.damage(&mut output);
        let file = |lines: Vec<u8>| (!lines.is_empty()).then(|| Bytes::from(lines));
        Files { output: file(output), error: file(error) }
    }

    fn reason(&self) -> (&'static str, &'static str) {
        match self.status {
            Status::Cancelled => {
                ("batch_cancelled", "This request could not be executed because the batch was cancelled.")
            }
            _ => ("batch_expired", EXPIRED),
        }
    }

    fn damage(&self, output: &mut Vec<u8>) {
        if self.faults.duplicate_line
            && let Some(end) = memchr::memchr(b'\n', output)
        {
            output.extend_from_within(..=end);
        }
        if self.faults.garbage_line && !output.is_empty() {
            output.extend_from_slice(b"{\"id\": \"batch_req_0\", \"custom_id\": \"req\n");
        }
    }
}

const EXPIRED: &str = "This request could not be executed before the completion window expired.";

fn write_unexecuted(file: &mut Vec<u8>, id: &str, code: &str, message: &str, rng: &mut Rng) {
    // Writing to a Vec cannot fail.
    let _ = writeln!(
        file,
        r#"{{"id": "batch_req_{:016x}", "custom_id": {id}, "response": null, "error": {{"code": "{code}", "message": "{message}"}}}}"#,
        rng.next_u64()
    );
}
