//! What a provider's Batch API takes and promises, as data that every role can read.

use std::time::Duration;

/// Limits and habits of one provider's Batch API.
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
    /// Batches of at most so many bytes travel within the call that creates their job; 0 where all are uploaded as files first.
    ///
    /// A file can be deleted, which stops a creation that is late. What travels inline cannot be stopped.
    pub inline_bytes: u64,
    /// Whether a job carries the id of the batch that it was made from, so that it can be found.
    pub marks_jobs: Marks,
    /// First wait before a job is asked about, unless the operator names another.
    pub poll_min: Duration,
    /// Questions about jobs that one credential may ask in a minute.
    pub polls_per_minute: u32,
    /// How long a job may take; one that still runs then is cancelled by us where the provider does not end it.
    pub window: Duration,
    /// The endpoints, as their names end, that take a synchronous call at the price of a batch, answered when there is room (service
    /// tier "flex").
    pub flex: &'static [&'static str],
    /// What a request costs of its synchronous price, in percent, where the price list does not say; `None` where the provider does not
    /// give one discount on all that it batches.
    pub batch_percent: Option<u8>,
    /// What a request costs of its synchronous price, in percent. Only for people; prices of models go before it.
    pub price_percent: u8,
}

/// Whether a job that was created with the id of our batch shows it in lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marks {
    /// It does: a job that shows none is not ours.
    Always,
    /// Nobody knows: one that shows neither an id nor an input file may be ours.
    Perhaps,
    /// It cannot.
    Never,
}

impl Caps {
    /// OpenAI: 50,000 lines and 200 MB a file, 50,000 embedding inputs, 2,000 batches an hour (API reference and rate
    /// limits page). 200 MB is read as 200,000,000 bytes and 5 % are left as headroom. Others that speak like it say less about
    /// their limits and take no more.
    pub const OPENAI: Self = Self {
        max_lines: 50_000,
        max_bytes: 190_000_000,
        max_inputs: 50_000,
        max_creations: 2_000,
        creations_window: Duration::from_secs(3600),
        line_overhead: 128,
        inline_bytes: 0,
        marks_jobs: Marks::Always,
        poll_min: Duration::from_secs(2),
        polls_per_minute: 600,
        window: Duration::from_secs(24 * 3600),
        flex: &[],
        batch_percent: None,
        price_percent: 50,
    };
}
