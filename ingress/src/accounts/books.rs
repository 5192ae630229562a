//! Sums of receipts, by what they are for and by the hour.

use std::collections::BTreeMap;

use common::outcome::Route;
use pricing::{Cost, Usd};

use super::{Account, Receipt};

/// Lines of the books, at most. What comes beyond is summed up for its provider.
const LINES: usize = 10_000;
/// Hours that are kept: a week.
const HOURS: usize = 168;

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

/// The end of one request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) succeeded: bool,
    pub(super) receipt: Option<Receipt>,
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
    /// At the full price, and as paid.
    pub cost: Cost,
}

impl Totals {
    fn add(&mut self, entry: Entry) {
        self.requests += 1;
        let Some(receipt) = entry.receipt.filter(|_| entry.succeeded) else {
            self.failed += u64::from(!entry.succeeded);
            return;
        };
        self.input = self.input.saturating_add(receipt.input);
        self.cached_input = self.cached_input.saturating_add(receipt.cached_input);
        self.output = self.output.saturating_add(receipt.output);
        self.reasoning = self.reasoning.saturating_add(receipt.reasoning);
        match receipt.cost {
            Some(cost) => {
                self.cost.list += cost.list;
                self.cost.paid += cost.paid;
            }
            None => self.unknown += 1,
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.failed += other.failed;
        self.unknown += other.unknown;
        self.input = self.input.saturating_add(other.input);
        self.cached_input = self.cached_input.saturating_add(other.cached_input);
        self.output = self.output.saturating_add(other.output);
        self.reasoning = self.reasoning.saturating_add(other.reasoning);
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
        let (name, entry) = account.entry(route, succeeded, receipt);
        self.total.add(entry);
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
        self.lines.entry(name).or_default().add(entry);
        self.hours.entry(hour).or_default().add(entry);
        while self.hours.len() > HOURS {
            self.hours.pop_first();
        }
    }

    /// A request was executed alone while its batch may still execute it, which would cost so much.
    pub fn maybe_twice(&mut self, cost: Usd) {
        self.twice.0 += 1;
        self.twice.1 += cost;
    }

    /// All sums.
    pub fn total(&self) -> &Totals {
        &self.total
    }
}
