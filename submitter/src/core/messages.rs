//! What a submitter's core is told and what it wants done.

use std::time::Duration;

use common::ids::{Bid, Pid};
use common::subjects::Token;
use common::wire::{self, reply};

use super::{Did, Op};

/// What tests and operators may want otherwise.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// How long a batch and its files stay when everything is acknowledged but callers have not received all of it.
    pub linger: Duration,
    /// First wait before a job is asked about; `None` for what its provider can bear.
    pub poll_min: Option<Duration>,
    /// Longest wait.
    pub poll_max: Duration,
    /// How long a provider may take to show a creation in its list after the input file was deleted.
    pub settle: Duration,
    /// When jobs are cancelled after the order to stop; `None` leaves them running.
    pub cancel_after: Option<Duration>,
    /// Whether a batch that no input file fences is submitted again when its job cannot be found, rather than failed.
    pub recreate: bool,
}

/// What can happen to a submitter.
#[derive(Debug)]
pub enum Input {
    /// A batcher offers a batch.
    Offer(wire::Offer, String),
    /// An ingress asks whether its batches are still held for it.
    Sync(wire::Sync, String),
    /// An ingress asks whether calls repeat requests that are in hand.
    Whois(wire::Whois, String),
    /// An ingress asks to take over its part of a batch whose submitter is gone.
    Recover(wire::Recover, String),
    /// The answer to a token, or nobody was there.
    Answer(Token, Option<reply::Body>),
    /// An operation is over.
    Did(Bid, Did),
    /// Another process is there.
    Heartbeat(wire::Heartbeat),
    /// Nobody waits any more, at one ingress, for anything in a batch.
    Abandoned(wire::Abandoned),
    /// The bus came or went.
    Bus(bool),
    /// Take no more batches; give back what is not submitted, finish the rest.
    Drain,
    /// Stop at once.
    GiveUp,
}

/// What a submitter wants done.
#[derive(Debug)]
pub enum Output {
    /// Publish a heartbeat.
    Beat(wire::Heartbeat),
    /// Send to an ingress; with a token an answer is expected.
    ToIngress(Pid, Option<Token>, wire::to_ingress::Body),
    /// Answer an exchange.
    Reply(String, reply::Body),
    /// Start an operation for a batch; it ends with a [`Did`] unless it says otherwise.
    Do(Bid, Op),
    /// Forget everything about a batch.
    Forget(Bid),
    /// Nothing can be delivered to this ingress any more.
    IngressLost(Pid),
}

/// What a submitter shows with its claims.
#[derive(Debug, Clone)]
pub struct Claimant {
    /// X25519 public key.
    pub public_key: bytes::Bytes,
    /// Proof of membership.
    pub auth: bytes::Bytes,
}
