//! What fuzz targets call that nobody else may: how messages, files and answers are read.

use bytes::Bytes;
use common::bus::Message;
use common::link::Parsed;
use common::outcome::{Outcome, Response};

use crate::core::Input;
use crate::shell::download::outcome;
use crate::shell::pull::RecordReader;
use crate::shell::{Batches, addressed as read};

pub use crate::api::fuzzing::{answer, page, reported};

/// A message to the inbox of a submitter that has no batches.
pub fn addressed(message: Message) -> Option<Parsed<Input>> {
    read(&Batches::default(), message)
}

/// The responses that a line of results is to its caller, by every provider's lights.
pub fn judged(line: &[u8]) -> Vec<Response> {
    let read = |provider: &&dyn providers::Provider| {
        let line = provider.read_result(line).ok()?;
        match outcome(line, "batch_1", provider.request_id()) {
            Outcome::Response(response) => Some(response),
            Outcome::Fault(_) => None,
        }
    };
    providers::ALL.iter().filter_map(read).collect()
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
