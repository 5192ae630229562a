//! The services' real state machines, on a simulated bus that loses, repeats, delays and cuts, before a simulated provider
//! that loses answers and shows things late: in one loop, in virtual time, from one seed.
//!
//! At every step it holds that no request is billed twice, in batches and alone together, that every answer is its caller's own
//! or an honest fault, that it came by a way that its caller allows, that nothing is made alone that a batch may execute, and that
//! nothing readable passes over the bus. Once the faults have stopped, every caller is answered, none of them long after its
//! deadline, every map is empty and nothing is left at the provider. A seed always replays identically.
//!
//! What nobody knows who is left cannot be held against the services, since nothing is on disk: files and jobs of a batch stay
//! when its submitter, whoever took it over, and all ingresses that had requests in it have ended; and a repetition is a new
//! request when its ingress and whoever submitted it were out of reach at once ([`Report::paid_again`]), or its ingress alone
//! where that had made the call alone ([`Report::alone_again`]). A file that was to be deleted before the provider showed it stays,
//! too: the services take "not found" for deleted where it is no fence.
//!
//! Two things are paid twice on purpose: a line that was executed although the results of its job have no answer to it, when it
//! goes into a later batch or alone ([`Report::vanished_again`]); and with `--deadline-hard`, which few seeds have, what its
//! batch executes after its deadline ([`Report::hard_again`]). Only requests of which that is so are excused, once each time.
//!
//! Two of five seeds have no deadlines, later batches and refused keys; they run as if there was no such thing, and
//! so do all with [`Options::plain`].

mod batcher;
mod bugs;
mod bus;
mod check;
mod courier;
mod day;
mod faults;
mod http;
mod ingress;
mod ladder;
mod life;
mod node;
mod people;
mod process;
mod provider;
mod queue;
mod rng;
mod seal;
mod submitter;
mod trace;
mod upload;
mod world;

use std::collections::BTreeMap;
use std::time::Duration;

pub use bugs::Bug;
pub use day::{Day, Peaks};

/// How a seed is run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// A mistake to plant.
    pub bug: Option<Bug>,
    /// Without deadlines, later batches and calls alone, whatever the seed draws.
    pub plain: bool,
    /// A day of many requests instead of what the seed draws.
    pub day: Option<Day>,
    /// How many of the last events are kept, readable.
    pub trace: usize,
}

/// What became of a seed.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// What was wrong, if anything.
    pub violation: Option<String>,
    /// Over everything that happened: equal runs have equal fingerprints.
    pub fingerprint: u64,
    /// How long it lasted.
    pub virtual_time: Duration,
    /// Callers.
    pub persons: u64,
    /// Requests sent by callers, repetitions included.
    pub requests: u64,
    /// Answers and faults that callers got.
    pub answers: u64,
    /// How many of these are answers.
    pub answered: u64,
    /// Lines that the provider executed.
    pub executed: u64,
    /// Jobs that were created.
    pub jobs: u64,
    /// Processes that were killed.
    pub crashes: u64,
    /// Requests that were paid again because all who knew of them were out of reach when they were repeated.
    pub paid_again: u64,
    /// Calls that were made alone.
    pub alone: u64,
    /// How many of them the provider executed.
    pub executed_alone: u64,
    /// Requests that were paid again since the ingress was out of reach that made them alone.
    pub alone_again: u64,
    /// Requests that were paid again since the results of their job had no answer to them.
    pub vanished_again: u64,
    /// Requests that were paid again since their batch was not waited for.
    pub hard_again: u64,
    /// Requests of which more than one line was executed.
    pub billed_twice: u64,
    /// Messages published.
    pub messages: u64,
    /// How many of each kind.
    pub by_kind: BTreeMap<&'static str, u64>,
    /// The most that the cores held; only measured on a [`Day`].
    pub peaks: Peaks,
    /// Messages lost on their way.
    pub dropped: u64,
    /// The last events.
    pub trace: Vec<String>,
}

/// Runs one seed to its end.
pub fn run(seed: u64, options: Options) -> Report {
    run_watched(seed, options, |_| {})
}

/// Runs one seed to its end, and shows every virtual hour what it came to.
pub fn run_watched(seed: u64, options: Options, hourly: impl FnMut(&Report)) -> Report {
    world::World::new(seed, options).run(hourly)
}

/// Runs a seed again, with its trace, if it failed.
pub fn explain(report: &Report, options: Options, lines: usize) -> String {
    let again = run(report.seed, Options { trace: lines, ..options });
    let same =
        if again.fingerprint == report.fingerprint { "replayed identically" } else { "DID NOT REPLAY" };
    let what = report.violation.as_deref().unwrap_or("nothing");
    format!("{}\nseed {}: {what} ({same})", again.trace.join("\n"), report.seed)
}
