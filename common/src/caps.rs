//! What a provider's Batch API takes at most, as data that every role can read.

use std::time::Duration;

/// Limits of one provider's Batch API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// Lines in one batch.
    pub max_lines: usize,
    /// Bytes in one batch, all lines with their envelopes.
    pub max_bytes: u64,
    /// Embedding inputs in one batch, summed over its lines.
    pub max_inputs: u64,
    /// Batches that one credential may create within [`Caps::creations_window`].
    pub max_creations: usize,
    /// The time over which creations are counted.
    pub creations_window: Duration,
    /// Bytes that a line has beyond the body, at most: envelope, custom id and path.
    pub line_overhead: u64,
}

/// OpenAI: 50,000 lines and 200 MB a file, 50,000 embedding inputs, 2,000 batches an hour (API reference and rate
/// limits page). 200 MB is read as 200,000,000 bytes and 5 % are left as headroom.
pub const OPENAI: Caps = Caps {
    max_lines: 50_000,
    max_bytes: 190_000_000,
    max_inputs: 50_000,
    max_creations: 2_000,
    creations_window: Duration::from_secs(3600),
    line_overhead: 128,
};

/// The limits that hold for an upstream by its configured name.
pub fn of(_upstream: &str) -> &'static Caps {
    // One dialect so far; a provider with other limits gets an entry here.
    &OPENAI
}
