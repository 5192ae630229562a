//! The simulator's state in a form to assert on.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::anthropic;
use crate::core::Millis;
use crate::faults::Op;
use crate::gemini;
use crate::ledger::{BilledTwice, Mode};
use crate::openai::{Batch, Counts, Status};
use crate::shared::World;

/// Batches that a summary lists at most, newest first.
const MAX_BATCHES: usize = 2_000;

/// Works billed twice that a summary lists at most.
const MAX_TWICE: usize = 100;

/// One batch.
#[derive(Debug, Clone, Serialize)]
pub struct BatchSummary {
    /// The provider, such as `openai`.
    pub provider: &'static str,
    /// `batch_...`, or what the provider's ids look like.
    pub id: String,
    /// Fingerprint of whose it is.
    pub credential: String,
    /// Its endpoint's path.
    pub endpoint: &'static str,
    /// Its model, once validated; None if its lines have several.
    pub model: Option<String>,
    /// Its status, in the words that `OpenAI` has for it.
    pub status: Status,
    /// Its counts as they are, whatever the provider already shows of them.
    pub counts: Counts,
    /// Its input file; empty where the provider has none.
    pub input_file: String,
    /// Its metadata; empty where the provider has none.
    pub metadata: BTreeMap<String, String>,
    /// Codes of its errors, with their lines.
    pub errors: Vec<(String, Option<usize>)>,
    /// When it was created, in milliseconds since the epoch.
    pub created_ms: Millis,
    /// Input tokens and output tokens.
    pub usage: (u64, u64),
    /// Whether the caller deleted it (Anthropic; elsewhere a deleted batch is forgotten).
    pub deleted: bool,
}

/// What one price class cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Billed {
    /// Lines or calls.
    pub requests: u64,
    /// Prompt tokens.
    pub input_tokens: u64,
    /// Completion tokens.
    pub output_tokens: u64,
}

/// Everything at one moment.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Files that are still stored.
    pub files_left: usize,
    /// Their bytes.
    pub file_bytes_left: u64,
    /// Their names, at most 100.
    pub file_names_left: Vec<String>,
    /// How many batches there are.
    pub batch_count: usize,
    /// How many of them have not ended.
    pub batches_active: usize,
    /// The newest 2,000 of them, newest first.
    pub batches: Vec<BatchSummary>,
    /// Calls received by kind, whatever became of them.
    pub ops: BTreeMap<Op, u64>,
    /// Entries in the ledger.
    pub executed: usize,
    /// Entries that cost something.
    pub billed: usize,
    /// The same by price class.
    pub billed_batch: Billed,
    /// The same by price class.
    pub billed_sync: Billed,
    /// The same by price class.
    pub billed_flex: Billed,
    /// How many works were billed more than once.
    pub billed_twice: usize,
    /// The first 100 of them.
    pub billed_twice_list: Vec<BilledTwice>,
    /// How many things a careful client does not do were done.
    pub violation_count: u64,
    /// The first 200 of them.
    pub violations: Vec<String>,
}

impl From<&Batch> for BatchSummary {
    fn from(batch: &Batch) -> Self {
        Self {
            provider: batch.profile.name,
            id: batch.id.to_string(),
            credential: batch.owner.to_string(),
            endpoint: batch.endpoint.path(),
            model: batch.model.as_deref().map(str::to_owned),
            status: batch.status,
            counts: batch.counts,
            input_file: batch.input_file.clone(),
            metadata: batch.metadata.clone(),
            errors: batch.errors.iter().map(|error| (error.code.clone(), error.line)).collect(),
            created_ms: batch.created,
            usage: batch.usage,
            deleted: false,
        }
    }
}

impl From<&anthropic::Batch> for BatchSummary {
    fn from(batch: &anthropic::Batch) -> Self {
        Self {
            provider: anthropic::NAME,
            id: batch.id.to_string(),
            credential: batch.owner.to_string(),
            endpoint: anthropic::ENDPOINT,
            model: batch.model.as_deref().map(str::to_owned),
            status: batch.status,
            counts: batch.counts,
            input_file: String::new(),
            metadata: BTreeMap::new(),
            errors: Vec::new(),
            created_ms: batch.created,
            usage: batch.usage,
            deleted: batch.deleted,
        }
    }
}

impl From<&gemini::Batch> for BatchSummary {
    fn from(batch: &gemini::Batch) -> Self {
        Self {
            provider: gemini::NAME,
            id: batch.id.to_string(),
            credential: batch.owner.to_string(),
            endpoint: batch.task.batch_method(),
            model: Some(batch.model.to_string()),
            status: batch.status,
            counts: batch.counts,
            input_file: batch.input_file.clone().unwrap_or_default(),
            metadata: [("displayName".to_owned(), batch.display_name.clone())].into(),
            errors: batch.error.iter().map(|(code, _)| (code.clone(), None)).collect(),
            created_ms: batch.created,
            usage: batch.usage,
            deleted: false,
        }
    }
}

impl Summary {
    /// Sums up the world as it is at `now`.
    pub fn of(world: &mut World, now: Millis) -> Self {
        world.execute(now);
        let core = &world.core;
        let billed = |mode| {
            core.ledger.entries().filter(|entry| entry.billed && entry.mode == mode).fold(
                Billed::default(),
                |sum, entry| Billed {
                    requests: sum.requests + 1,
                    input_tokens: sum.input_tokens + entry.input_tokens,
                    output_tokens: sum.output_tokens + entry.output_tokens,
                },
            )
        };
        let mut twice = core.ledger.billed_twice();
        let billed_twice = twice.len();
        twice.truncate(MAX_TWICE);
        let mut batches = world.batches();
        let (batch_count, active) =
            (batches.len(), batches.iter().filter(|batch| !batch.status.is_terminal()).count());
        batches.reverse();
        batches.truncate(MAX_BATCHES);
        let alike = world.files(now).map(|file| (file.name.clone(), file.content.len()));
        let of_gemini = world.gemini.files.alive(now).map(|file| (file.name(), file.content.len()));
        let files: Vec<(String, usize)> = alike.chain(of_gemini).collect();
        Self {
            files_left: files.len(),
            file_bytes_left: files.iter().map(|(_, bytes)| *bytes as u64).sum(),
            file_names_left: files.into_iter().take(100).map(|(name, _)| name).collect(),
            batch_count,
            batches_active: active,
            batches,
            ops: core.ops().clone(),
            executed: core.ledger.entries().count(),
            billed: core.ledger.billed_count(),
            billed_batch: billed(Mode::Batch),
            billed_sync: billed(Mode::Sync),
            billed_flex: billed(Mode::Flex),
            billed_twice,
            billed_twice_list: twice,
            violation_count: core.violation_count(),
            violations: core.violations().to_vec(),
        }
    }
}
