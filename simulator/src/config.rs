//! How the simulated provider behaves when nothing is broken on purpose.

use std::collections::BTreeMap;
use std::time::Duration;

/// Where a Gemini operation tells its output; both places are seen at the real API.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum GeminiOutput {
    /// In `response` and in `metadata.output`.
    #[default]
    Both,
    /// In `response` alone.
    Response,
    /// In `metadata.output` alone.
    Metadata,
    /// By turns from batch to batch: both, `response`, `metadata.output`.
    Alternating,
}

/// All settings, with defaults for tests: a batch is through in well under a second.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address to listen on; port 0 takes a free one.
    pub listen: String,
    /// Decides ids, shuffles and jitter.
    pub seed: u64,
    /// How long a new batch stays `validating` before its file is looked at.
    pub validate_time: Duration,
    /// How long a batch stays `in_progress`, before jitter.
    pub batch_time: Duration,
    /// Share of `batch_time` by which it varies up and down, 0 to 1.
    pub jitter: f64,
    /// Time added to a batch for each of its lines.
    pub line_time: Duration,
    /// How long a batch stays `finalizing`.
    pub finalize_time: Duration,
    /// How long a batch stays `cancelling`.
    pub cancel_time: Duration,
    /// How long the completion window `24h` really is.
    pub window_time: Duration,
    /// How long a synchronous call takes, beyond `slow:MS` texts.
    pub sync_time: Duration,
    /// Answers carry U+2028, emoji, escaped quotes, odd spacing and odd numbers.
    pub awkward_answers: bool,
    /// A clean batch has `error_file_id: ""` instead of null.
    pub empty_string_file_ids: bool,
    /// `GET /files/{id}/content` honours `Range: bytes=N-` (not documented by OpenAI).
    pub ranges: bool,
    /// Dimensions of an embedding when the request names none. Far fewer than the real models have, for speed.
    pub embedding_dimensions: usize,
    /// Enqueued prompt tokens allowed per model and credential; `*` stands for every other model; off where absent.
    pub enqueued_token_limits: BTreeMap<String, u64>,
    /// Batches one credential may create per hour (OpenAI documents 2,000).
    pub creates_per_hour: usize,
    /// Files one credential may upload per minute (OpenAI documents 1,000).
    pub uploads_per_minute: usize,
    /// Largest input file for a batch in bytes (OpenAI documents 200 MB).
    pub max_file_bytes: u64,
    /// Most lines of an input file (OpenAI documents 50,000).
    pub max_lines: usize,
    /// Where a Gemini batch's output is told.
    pub gemini_output: GeminiOutput,
    /// Batches one Gemini key may have under way (Google documents 100).
    pub gemini_concurrent_batches: usize,
    /// The ledger keeps raw bodies up to this many bytes in total, oldest dropped first; 0 keeps none.
    pub keep_bodies: u64,
    /// The ledger keeps this many entries, oldest dropped first.
    pub keep_entries: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:0".into(),
            seed: 1,
            validate_time: Duration::from_millis(10),
            batch_time: Duration::from_millis(50),
            jitter: 0.2,
            line_time: Duration::ZERO,
            finalize_time: Duration::from_millis(5),
            cancel_time: Duration::from_millis(20),
            window_time: Duration::from_secs(24 * 3600),
            sync_time: Duration::ZERO,
            awkward_answers: false,
            empty_string_file_ids: false,
            ranges: false,
            embedding_dimensions: 64,
            enqueued_token_limits: BTreeMap::new(),
            creates_per_hour: 2_000,
            uploads_per_minute: 1_000,
            max_file_bytes: 200_000_000,
            max_lines: 50_000,
            gemini_output: GeminiOutput::Both,
            gemini_concurrent_batches: 100,
            keep_bodies: 256_000_000,
            keep_entries: 1_000_000,
        }
    }
}
