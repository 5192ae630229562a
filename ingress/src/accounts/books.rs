//! Sums of receipts, by what they are for and by the hour.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use common::key::BatchKey;
use common::outcome::Route;
use pricing::{Cost, Usd};
use tokio::time::Instant;

use super::{Account, Receipt};

/// Lines of the books, at most. What comes beyond is summed up for its provider.
const LINES: usize = 10_000;
/// Hours that are kept: a week.
const HOURS: usize = 168;
/// When a batch would be sealed: the defaults of the batcher's flags.
const WINDOW: Duration = Duration::from_secs(4);
const IDLE: Duration = Duration::from_secs(1);
const REQUESTS: usize = 1_000;
/// Keys of which an open batch is remembered, at most; then they are forgotten, and the count is a little high.
const GROUPS: usize = 4_096;

/// What a line of the books is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) upstream: String,
    pub(super) endpoint: String,
    pub(super) model: String,
    /// Empty without one.
    pub(super) tag: String,
    /// Fingerprint of whose requests they are.
    pub(super) key: String,
    pub(super) route: Route,
}

impl Observed {
    /// Groups as a batcher does that is not told otherwise.
    fn count_batch(&mut self, key: &BatchKey) {
        let now = Instant::now();
        let open = |group: &Group| {
            now - group.first < WINDOW && now - group.last < IDLE && group.requests < REQUESTS
        };
        match self.open.get_mut(key).filter(|group| open(group)) {
            Some(group) => (group.last, group.requests) = (now, group.requests + 1),
            None => {
                self.batches += 1;
                if self.open.len() >= GROUPS {
                    self.open.clear();
                }
                self.open.insert(key.clone(), Group { first: now, last: now, requests: 1 });
            }
        }
    }
}

/// Sums.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests that have ended.
    pub requests: u64,
    /// Those of them that got no successful answer. They cost nothing.
    pub failed: u64,
    /// Successful ones of which the cost is not known. They are in no sum of money.
    pub unknown: u64,
    /// Tokens of prompts.
    pub input: u64,
    /// Those read from a cache.
    pub cached_input: u64,
    /// Tokens of answers.
    pub output: u64,
    /// Those that models thought with.
    pub reasoning: u64,
    /// Tokens of prompts that were written to caches.
    pub cache_writes: u64,
    /// Pictures in answers.
    pub images: u64,
    /// Vectors in answers.
    pub embeddings: u64,
    /// At the full price, and as paid.
    pub cost: Cost,
}

impl Totals {
    /// Adds the end of a request.
    pub(crate) fn add(&mut self, succeeded: bool, receipt: Option<&Receipt>) {
        self.requests += 1;
        let Some(receipt) = receipt.filter(|_| succeeded) else {
            self.failed += u64::from(!succeeded);
            return;
        };
        let Receipt { input, cached_input, output, reasoning, cache_writes, images, embeddings, cost } =
            *receipt;
        self.merge(&Self {
            requests: 0,
            failed: 0,
            unknown: u64::from(cost.is_none()),
            input,
            cached_input,
            output,
            reasoning,
            cache_writes,
            images,
            embeddings,
            cost: cost.unwrap_or_default(),
        });
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.failed += other.failed;
        self.unknown += other.unknown;
        self.input = self.input.saturating_add(other.input);
        self.cached_input = self.cached_input.saturating_add(other.cached_input);
        self.output = self.output.saturating_add(other.output);
        self.reasoning = self.reasoning.saturating_add(other.reasoning);
        self.cache_writes = self.cache_writes.saturating_add(other.cache_writes);
        self.images = self.images.saturating_add(other.images);
        self.embeddings = self.embeddings.saturating_add(other.embeddings);
        self.cost.list += other.cost.list;
        self.cost.paid += other.cost.paid;
    }
}

/// All of them, since the process began.
#[derive(Debug, Default)]
pub struct Books {
    pub(super) total: Totals,
    pub(super) lines: BTreeMap<Name, Totals>,
    /// By hours since 1970.
    pub(super) hours: BTreeMap<u64, Totals>,
    /// What may have been paid a second time (`--deadline-hard`).
    pub(super) twice: (u64, Usd),
    pub(super) observed: Option<Observed>,
}

/// What batches would have done for calls that were relayed.
#[derive(Debug, Default)]
pub(super) struct Observed {
    /// Successful calls that would have been batched.
    pub(super) requests: u64,
    /// Those of them whose price in a batch is not known.
    pub(super) unknown: u64,
    /// At the full price, and in batches.
    pub(super) cost: Cost,
    /// Batches that they would have made.
    pub(super) batches: u64,
    /// How long they took, together.
    pub(super) took: Duration,
    open: HashMap<BatchKey, Group>,
}

/// A batch that would be open.
#[derive(Debug)]
struct Group {
    first: Instant,
    last: Instant,
    requests: usize,
}

impl Books {
    /// Enters the end of a request, in an hour since 1970.
    pub fn enter(
        &mut self,
        hour: u64,
        account: &Account,
        route: Route,
        succeeded: bool,
        receipt: Option<&Receipt>,
    ) {
        let name = account.line(route);
        self.total.add(succeeded, receipt);
        let name = match self.lines.len() < LINES || self.lines.contains_key(&name) {
            true => name,
            false => Name {
                endpoint: "(other)".into(),
                model: "(other)".into(),
                tag: String::new(),
                key: String::new(),
                ..name
            },
        };
        self.lines.entry(name).or_default().add(succeeded, receipt);
        self.hours.entry(hour).or_default().add(succeeded, receipt);
        while self.hours.len() > HOURS {
            self.hours.pop_first();
        }
    }

    /// A request was executed alone while its batch may still execute it, which would cost so much.
    pub fn maybe_twice(&mut self, cost: Usd) {
        self.twice.0 += 1;
        self.twice.1 += cost;
    }

    /// From now on calls are only observed.
    pub fn begin_to_observe(&mut self) {
        self.observed.get_or_insert_default();
    }

    /// A call was relayed that would have been batched, at this cost.
    pub(super) fn observe(&mut self, key: &BatchKey, batched: Option<Cost>, took: Duration) {
        let Some(observed) = &mut self.observed else { return };
        observed.requests += 1;
        observed.took = observed.took.saturating_add(took);
        match batched {
            Some(cost) => {
                observed.cost.list += cost.list;
                observed.cost.paid += cost.paid;
            }
            None => observed.unknown += 1,
        }
        observed.count_batch(key);
    }

    /// All sums.
    pub fn total(&self) -> &Totals {
        &self.total
    }
}
