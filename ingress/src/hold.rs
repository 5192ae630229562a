//! The door between the HTTP side and the state machine: a call goes in, its outcome comes out.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::key::BatchKey;
use common::outcome::{Fault, Outcome};
use http::HeaderMap;

/// An admitted call, complete.
#[derive(Debug, Clone)]
pub struct Call {
    /// What it may share a batch with.
    pub key: BatchKey,
    /// The header lines that authenticate it at the provider, marked sensitive.
    pub credential: Arc<HeaderMap>,
    /// The body as the caller sent it.
    pub body: Bytes,
    /// Embedding inputs in the body, else 1.
    pub inputs: u32,
}

/// How a held call ended.
#[derive(Debug)]
pub struct Ended {
    /// What the caller gets.
    pub outcome: Outcome,
    /// Time from admission to the grant of its batch; to the end if there was none.
    pub queued: Duration,
}
