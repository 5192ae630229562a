//! How large a batch may become.

use common::ids::ID_LEN;
use common::key::BatchKey;
use providers::Caps;

use crate::Args;

/// Tags and lengths of an offer's own fields, its id and its byte count, rounded up.
const OFFER: usize = 64;
/// The same for one part, with the id of its ingress.
const PART: usize = 48;

/// The operator's limits and the provider's, whichever is lower.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) lines: usize,
    /// Bytes of all lines, with [`Limits::overhead`] for each.
    pub(super) bytes: u64,
    pub(super) inputs: u64,
    /// Bytes that an offer may have on the bus.
    pub(super) payload: usize,
    /// Bytes that a line has beyond its body.
    pub(super) overhead: u64,
}

impl Limits {
    pub(super) fn new(args: &Args, caps: &Caps, max_payload: usize) -> Self {
        Self {
            lines: args.max_requests.min(caps.max_lines),
            bytes: args.max_bytes.min(caps.max_bytes),
            inputs: caps.max_inputs,
            payload: max_payload,
            overhead: caps.line_overhead,
        }
    }
}

/// Length of an offer without parts, rounded up.
pub(super) fn offer_len(key: &BatchKey) -> usize {
    OFFER + key.encoded().len()
}

/// Length of a part without requests, rounded up.
pub(super) fn part_len(reply: &str) -> usize {
    PART + reply.len()
}

/// Whether an offer of one request fits the bus. What does not is no key or reply subject of ours.
pub(super) fn fits_alone(key: &BatchKey, reply: &str, max_payload: usize) -> bool {
    offer_len(key) + part_len(reply) + ID_LEN <= max_payload
}
