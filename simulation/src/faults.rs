//! What goes wrong, how often, and when it stops: each seed draws its own mixture, and leaves some kinds out.

use std::time::Duration;

use common::timers::Now;
use common::wire::Role;

use crate::ladder::Ladder;
use crate::provider::Moods;
use crate::rng::Rng;

/// The mixture of one seed.
#[derive(Debug, Clone)]
pub(crate) struct Knobs {
    /// When the faults stop.
    pub(crate) until: Now,
    /// Over how long the callers come.
    pub(crate) arrivals: Duration,
    pub(crate) callers: usize,
    pub(crate) ingresses: u64,
    pub(crate) batchers: u64,
    pub(crate) submitters: u64,
    /// Lines in a batch.
    pub(crate) max_requests: usize,
    pub(crate) max_bytes: u64,
    pub(crate) window: Duration,
    pub(crate) idle: Duration,
    /// Bytes of answers that an ingress keeps.
    pub(crate) answers_bytes: usize,
    pub(crate) drop: f64,
    pub(crate) duplicate: f64,
    pub(crate) slow: f64,
    pub(crate) slow_ms: u64,
    /// An answer breaks off on its way to the caller.
    pub(crate) broken_answer: f64,
    /// Calls of the provider's API that go wrong.
    pub(crate) trouble: f64,
    pub(crate) slow_call: f64,
    pub(crate) moods: Moods,
    pub(crate) ladder: Ladder,
    /// The longest that jobs take, usually and when they are slow.
    pub(crate) job_ms: (u64, u64),
    /// Kinds of faults that occur, as often as they are listed, and their mean distance in time.
    pub(crate) kinds: Vec<Kind>,
    pub(crate) every_ms: u64,
}

/// Faults of processes and of the bus as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Killed: the server knows at once.
    Kill,
    /// Its machine is gone: the server finds out.
    Vanish,
    Pause,
    /// Nothing passes between it and the server.
    Cut,
    /// The server of the bus starts anew.
    Server,
    Drain,
    /// One more.
    Join,
}

impl Knobs {
    /// Nobody, and nothing goes wrong.
    pub(crate) fn quiet() -> Self {
        Self {
            until: Now::ZERO,
            arrivals: Duration::ZERO,
            callers: 0,
            ingresses: 1,
            batchers: 1,
            submitters: 1,
            max_requests: 1,
            max_bytes: 1_000_000,
            window: Duration::from_secs(4),
            idle: Duration::from_secs(1),
            answers_bytes: 1_000_000,
            drop: 0.0,
            duplicate: 0.0,
            slow: 0.0,
            slow_ms: 1,
            broken_answer: 0.0,
            trouble: 0.0,
            slow_call: 0.0,
            moods: Moods::default(),
            ladder: Ladder::quiet(),
            job_ms: (20_000, 240_000),
            kinds: Vec::new(),
            every_ms: 1,
        }
    }

    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let until = rng.millis(20_000, 150_000);
        let kinds = [Kind::Kill, Kind::Vanish, Kind::Pause, Kind::Cut, Kind::Server, Kind::Drain, Kind::Join];
        let mut knobs = Self {
            until,
            arrivals: rng.millis(100, until.as_millis() as u64),
            callers: rng.between(1, 24) as usize,
            ingresses: rng.between(1, 3),
            batchers: rng.between(1, 2),
            submitters: rng.between(1, 3),
            max_requests: rng.between(1, 12) as usize,
            drop: some(rng, 0.25),
            duplicate: some(rng, 0.2),
            slow: some(rng, 0.3),
            slow_ms: rng.between(5, 6_000),
            broken_answer: some(rng, 0.2),
            trouble: some(rng, 0.4),
            slow_call: some(rng, 0.3),
            moods: Moods {
                list_lag: some(rng, 0.9),
                failed_job: some(rng, 0.2),
                expired_job: some(rng, 0.2),
                failed_line: some(rng, 0.2),
                slow_job: some(rng, 0.4),
                short_file: some(rng, 0.3),
                cut_content: some(rng, 0.3),
                incomplete_list: some(rng, 0.3),
                not_visible: some(rng, 0.3),
                ..Moods::default()
            },
            every_ms: rng.between(2_000, 60_000),
            ..Self::quiet()
        };
        for kind in kinds {
            let times = if rng.chance(0.5) { rng.between(1, 3) } else { 0 };
            knobs.kinds.extend((0..times).map(|_| kind));
        }
        knobs
    }

    /// The next fault, and how long until then.
    pub(crate) fn next(&self, rng: &mut Rng) -> Option<(Duration, Kind)> {
        let kind = rng.pick(&self.kinds)?;
        Some((rng.millis(1, 2 * self.every_ms), kind))
    }

    /// No faults of messages, calls and the provider any more.
    pub(crate) fn calm(&mut self) {
        (self.drop, self.duplicate, self.slow, self.broken_answer) = (0.0, 0.0, 0.0, 0.0);
        (self.trouble, self.slow_call) = (0.0, 0.0);
        self.moods = Moods::default();
        self.ladder.calm();
        self.kinds.clear();
    }

    /// How many of a role there are to be.
    pub(crate) fn wanted(&self, role: Role) -> u64 {
        match role {
            Role::Ingress => self.ingresses,
            Role::Batcher => self.batchers,
            Role::Submitter => self.submitters,
            Role::Unspecified => 0,
        }
    }
}

/// Half of the seeds are without, the others have up to `most`, and more often little than much.
fn some(rng: &mut Rng, most: f64) -> f64 {
    if rng.chance(0.5) {
        return 0.0;
    }
    let x = rng.below(1000) as f64 / 1000.0;
    most * x * x
}
