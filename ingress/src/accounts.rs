//! What answers used, what they cost, and what that would have been without batches.

mod books;
mod page;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::key::BatchKey;
use common::outcome::{Outcome, Response, Route};
use common::wire;
use pricing::{Answer, Cost, Dialect, Kind, Table, Tier, Usd};
use providers::Upstreams;

use crate::hold::Ended;
use crate::http::MOST_METERED as MOST;
use crate::stats::Stats;

use books::Name;
pub use books::{Books, Totals};
pub use page::Report;

/// Whose request it was, as far as the books have it.
#[derive(Debug, Clone)]
pub struct Account {
    /// Provider, endpoint, model and whose key.
    pub key: BatchKey,
    /// What its caller calls it (`x-llm-proxy-tag`).
    pub tag: Option<Arc<str>>,
}

/// Whose relayed request it was.
#[derive(Debug, Clone)]
pub struct Relayed {
    /// Provider, endpoint, whose key, and the model if the request named it where it was read.
    pub key: wire::BatchKey,
    /// What its caller calls it.
    pub tag: Option<Arc<str>>,
    /// Whether it would have been batched.
    pub observed: bool,
}

/// What one answer used and cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Receipt {
    /// Tokens of the prompt, cached ones included.
    pub input: u64,
    /// Those that were read from a cache.
    pub cached_input: u64,
    /// Tokens of the answer, thoughts included.
    pub output: u64,
    /// Those that the model thought with.
    pub reasoning: u64,
    /// Tokens of the prompt that were written to a cache.
    pub cache_writes: u64,
    /// Pictures in the answer.
    pub images: u64,
    /// Vectors in the answer.
    pub embeddings: u64,
    /// `None` where a price is not known.
    pub cost: Option<Cost>,
}

/// Knows prices.
pub struct Prices {
    table: Table,
    upstreams: Upstreams,
}

impl Prices {
    /// The program's price list, with the operator's own prices before it.
    pub fn new(upstreams: &Upstreams) -> Self {
        Self { table: Table::embedded().with(upstreams.prices()), upstreams: upstreams.clone() }
    }

    /// Whether a model has a price for calls alone that wait for room.
    pub fn has_flex(&self, key: &BatchKey) -> bool {
        let Some(upstream) = self.upstreams.get(key.upstream()) else { return false };
        let providers = [&*upstream.name, upstream.provider.about().name];
        let prices = providers.iter().find_map(|provider| self.table.prices(provider, key.model(), None));
        prices.is_some_and(|prices| prices.has_tier(Tier::Flex))
    }

    /// What a request's end used and cost; `None` for an error, which costs nothing.
    pub fn receipt(&self, key: &BatchKey, outcome: &Outcome) -> Option<Receipt> {
        let Outcome::Response(response) = outcome else { return None };
        if !response.status.is_success() {
            return None;
        }
        let answer = Answer::read(self.dialect(key), &response.body);
        Some(self.receipt_of(key, response.route, answer.as_ref()))
    }

    /// What an answer used and cost that was read as it passed.
    pub fn receipt_of(&self, key: &BatchKey, route: Route, answer: Option<&Answer>) -> Receipt {
        let usage = answer.map(|answer| answer.usage).unwrap_or_default();
        Receipt {
            input: usage.input(),
            cached_input: usage.cached_input(),
            output: usage.output(),
            reasoning: usage.reasoning(),
            cache_writes: usage.of(Kind::CacheWrite).saturating_add(usage.of(Kind::CacheWriteLong)),
            images: usage.of(Kind::Image),
            embeddings: usage.embeddings,
            cost: self.cost(key, asked(route), answer),
        }
    }

    /// What the same answer would have cost in a batch, as far as that is known.
    fn in_batch(&self, key: &BatchKey, outcome: &Outcome) -> Usd {
        let Outcome::Response(response) = outcome else { return Usd::ZERO };
        let answer = Answer::read(self.dialect(key), &response.body);
        answer.and_then(|answer| self.batched(key, &answer)).map_or(Usd::ZERO, |cost| cost.paid)
    }

    /// What the same answer would have cost in a batch.
    pub fn batched(&self, key: &BatchKey, answer: &Answer) -> Option<Cost> {
        self.cost(key, Tier::Batch, Some(answer))
    }

    fn cost(&self, key: &BatchKey, asked: Tier, answer: Option<&Answer>) -> Option<Cost> {
        let upstream = self.upstreams.get(key.upstream())?;
        let tier = asked.served(answer.and_then(|answer| answer.service_tier.as_deref()))?;
        let call = pricing::Call {
            upstream: &upstream.name,
            provider: upstream.provider.about().name,
            model: key.model(),
            tier,
            batch_percent: upstream.caps.batch_percent,
        };
        self.table.cost(&call, 200, answer)
    }

    /// How the answers to a key's requests speak.
    fn dialect(&self, key: &BatchKey) -> Dialect {
        self.upstreams.get(key.upstream()).map_or(Dialect::OpenAi, |upstream| self.dialect_of(upstream))
    }

    /// How the answers of an upstream speak.
    pub fn dialect_of(&self, upstream: &providers::Upstream) -> Dialect {
        match upstream.dialect() {
            providers::Dialect::OpenAi => Dialect::OpenAi,
            providers::Dialect::Anthropic => Dialect::Anthropic,
            providers::Dialect::Gemini => Dialect::Gemini,
        }
    }
}

/// Bytes of answers that may be kept to be read.
#[derive(Debug, Default)]
pub struct Room(AtomicUsize);

impl Room {
    /// Takes so many, if they are left.
    pub fn take(&self, bytes: usize) -> bool {
        let more = |taken: usize| Some(taken + bytes).filter(|taken| *taken <= MOST);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// Gives back what was taken.
    pub fn give_back(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Enters what ends into the books.
pub struct Cashier {
    room: Room,
    prices: Arc<Prices>,
    stats: Arc<Stats>,
}

impl Cashier {
    /// For the books of `stats`.
    pub fn new(prices: Arc<Prices>, stats: Arc<Stats>) -> Self {
        Self { room: Room::default(), prices, stats }
    }

    /// The room for answers that are read as they pass.
    pub(crate) fn room(&self) -> &Room {
        &self.room
    }

    /// Enters the end of a relayed request. With no answer it is not known what it used.
    pub fn relayed(&self, relayed: Relayed, succeeded: bool, answer: Option<Answer>, took: Duration) {
        let Relayed { mut key, tag, observed } = relayed;
        if let Some(model) =
            answer.as_ref().and_then(|answer| answer.model.clone()).filter(|_| key.model.is_empty())
        {
            key.model = model;
        }
        let Ok(key) = BatchKey::new(key) else { return };
        let receipt = succeeded.then(|| self.prices.receipt_of(&key, Route::Sync, answer.as_ref()));
        let batched = answer.as_ref().and_then(|answer| self.prices.batched(&key, answer));
        let account = Account { key, tag };
        let mut books = self.stats.books();
        books.enter(hour(), &account, Route::Sync, succeeded, receipt.as_ref());
        if observed && succeeded {
            books.observe(&account.key, batched, took);
        }
    }

    /// Enters the end of a request that was held. Gives its receipt, if it got a successful answer.
    pub fn settle(&self, account: &Account, ended: &Ended) -> Option<Receipt> {
        let receipt = self.prices.receipt(&account.key, &ended.outcome);
        if let Outcome::Response(Response { job, .. }) = &*ended.outcome
            && !job.is_empty()
        {
            self.stats.job_answered(job, receipt.as_ref());
        }
        if let Some(reason) = ended.reason {
            self.stats.made_alone(reason);
        }
        let mut books = self.stats.books();
        books.enter(hour(), account, ended.outcome.route(), receipt.is_some(), receipt.as_ref());
        if ended.perhaps_twice {
            books.maybe_twice(self.prices.in_batch(&account.key, &ended.outcome));
        }
        receipt
    }
}

/// Hours since 1970.
fn hour() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs() / 3600
}

fn asked(route: Route) -> Tier {
    match route {
        Route::Batch => Tier::Batch,
        Route::Flex => Tier::Flex,
        Route::Sync => Tier::Sync,
    }
}

impl Account {
    /// Its line of the books.
    fn line(&self, route: Route) -> Name {
        Name {
            upstream: self.key.upstream().into(),
            endpoint: self.key.endpoint().into(),
            model: self.key.model().into(),
            tag: self.tag.as_deref().unwrap_or_default().into(),
            key: self.key.fingerprint().to_string(),
            route,
        }
    }
}

impl std::fmt::Debug for Cashier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cashier")
    }
}
