//! What fuzz targets call that nobody else may: how messages, files and answers are read.

use bytes::Bytes;
use common::bus::Message;
use common::link::Parsed;
use common::outcome::Outcome;

use crate::core::Input;
use crate::shell::download::outcome;
use crate::shell::pull::RecordReader;
use crate::shell::{Batches, addressed as read};

pub use crate::api::fuzzing::{answer, page, reported};

/// A message to the inbox of a submitter that has no batches.
pub fn addressed(message: Message) -> Option<Parsed<Input>> {
    read(&Batches::default(), message)
}

/// What a line of a result file means to its caller.
pub fn judged(line: &[u8]) -> Option<Outcome> {
    let read = |provider: &&dyn providers::Provider| {
        let line = provider.read_result(line).ok()?;
        Some(outcome(line, "batch_1", provider.request_id()))
    };
    providers::ALL.iter().filter_map(read).last()
}

/// The lengths of the bodies in a stream of records that comes in these chunks.
pub fn records(chunks: impl Iterator<Item = Bytes>) -> Vec<usize> {
    let mut reader = RecordReader::default();
    let mut lengths = Vec::new();
    for chunk in chunks {
        reader.push(chunk);
        lengths.extend(std::iter::from_fn(|| reader.next_record()).map(|(_, body)| body.len()));
    }
    lengths
}
