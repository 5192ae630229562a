//! Deadlines, later batches and calls that are made alone: what callers and operators want of it, what becomes of a call alone at
//! the provider, and what may be paid twice by it.

use std::time::Duration;

use bytes::Bytes;
use common::ids::Rid;
use common::outcome::{Fault, FaultClass, Outcome, Response, Route};
use ingress::core::Solo;
use ingress::plan::{Plan, Policy, Ways};

use crate::bugs::Bug;
use crate::node::{Local, ProcId};
use crate::provider::{Moods, answer_to};
use crate::rng::Rng;
use crate::trace::short_rid;
use crate::world::{Event, World};

/// How often a call is made alone that the provider has no room for, as in `ingress/src/http/alone.rs`.
const TRIES: u32 = 5;

/// What a seed has of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ladder {
    pub(crate) policy: Policy,
    /// How many callers say how they want their answers.
    planned: f64,
    /// Calls alone for which the provider has no room at first.
    busy: f64,
    /// Calls alone that break off.
    broken: f64,
    /// Calls alone that take long.
    slow: f64,
}

impl Ladder {
    /// Nobody has a deadline.
    pub(crate) fn quiet() -> Self {
        let policy = Policy { line_retries: 0, hard: false, alone_if_refused: true };
        Self { policy, planned: 0.0, busy: 0.0, broken: 0.0, slow: 0.0 }
    }

    /// Most seeds have something of it; the others are as if there was no such thing.
    pub(crate) fn draw(rng: &mut Rng, moods: &mut Moods) -> Self {
        if rng.chance(0.4) {
            return Self::quiet();
        }
        let mut some = |most: f64| if rng.chance(0.5) { most * rng.below(1000) as f64 / 1000.0 } else { 0.0 };
        (moods.passing_line, moods.stalled_job, moods.unbatchable) = (some(0.4), some(0.7), some(1.0));
        moods.lost_line = some(0.2);
        let (planned, busy, broken, slow) = (some(1.5), some(0.5), some(0.4), some(0.3));
        let policy = Policy {
            line_retries: rng.below(4) as u32,
            hard: rng.chance(0.1),
            alone_if_refused: rng.chance(0.7),
        };
        Self { policy, planned, busy, broken, slow }
    }

    /// What one caller wants.
    pub(crate) fn plan(&self, rng: &mut Rng) -> Plan {
        if !rng.chance(self.planned) {
            return Plan::default();
        }
        let ways = rng.pick(&[Ways::Any, Ways::Any, Ways::Any, Ways::Batch, Ways::Alone]).unwrap_or_default();
        let deadline = match rng.below(5) {
            0 => None,
            1 | 2 => Some(rng.millis(500, 20_000)),
            _ => Some(rng.millis(20_000, 200_000)),
        };
        Plan { ways, deadline, refused: rng.chance(0.05), flex: rng.chance(0.5) }
    }

    /// Calls alone go well from now on.
    pub(crate) fn calm(&mut self) {
        (self.busy, self.broken, self.slow) = (0.0, 0.0, 0.0);
    }
}

/// What becomes of a call alone.
struct Lot {
    /// When it is executed, if it is.
    executed: Option<Duration>,
    /// What comes back, and when.
    answered: (Duration, Outcome),
    /// Whether nobody can say from that what became of it.
    broken: bool,
}

impl World {
    /// An ingress makes a call alone.
    pub(crate) fn solo(&mut self, from: ProcId, solo: &Solo) {
        let rid = solo.rid;
        let name = &self.processes[from].name;
        self.trace.note(self.now, || format!("{name} calls alone: {} ({:?})", short_rid(&rid), solo.reason));
        self.mark(&[b"alone", &rid.0]);
        self.report.alone += 1;
        let may_be_twice = self.knobs.ladder.policy.hard && solo.perhaps_twice;
        let in_batch = !may_be_twice && self.provider.has_in_a_job(rid);
        let judged = match in_batch {
            true => Err(format!("{rid} is made alone while its batch may execute it")),
            false => self.people.goes_alone(rid, from, may_be_twice),
        };
        if let Err(why) = judged {
            return self.violation(why);
        }
        let lot = self.cast(solo.route, &solo.body);
        if let Some(after) = lot.executed {
            self.queue.plan(self.now + after, Event::Alone(from, rid, solo.body.clone()));
        }
        let (after, outcome) = lot.answered;
        if lot.broken && self.options.bug == Some(Bug::BrokenCallRepeated) {
            let again = self.now + after + Duration::from_secs(1);
            self.queue.plan(again, Event::Alone(from, rid, solo.body.clone()));
        }
        let answer = Local::Alone(rid, Box::new(outcome));
        self.queue.plan(self.now + after, Event::Local(from, answer));
    }

    fn cast(&mut self, route: Route, body: &Bytes) -> Lot {
        let Ladder { busy, broken, slow, .. } = self.knobs.ladder;
        let rng = &mut self.lots;
        let mut after = rng.millis(200, 20_000);
        if rng.chance(slow) {
            after += rng.millis(0, 580_000);
        }
        let mut tries = 1;
        while rng.chance(busy) {
            if tries == TRIES {
                let answered = (after, answer(429, route, Bytes::from_static(b"no room")));
                return Lot { executed: None, answered, broken: false };
            }
            tries += 1;
            after += rng.millis(1_000, 60_000);
        }
        let back = after + rng.millis(5, 400);
        if !rng.chance(broken) {
            let answered = (back, answer(200, route, answer_to(body)));
            return Lot { executed: Some(after), answered, broken: false };
        }
        let executed = match rng.below(3) {
            0 => None,
            1 => Some(after),
            // When nobody listens any more.
            _ => Some(back + rng.millis(1, 60_000)),
        };
        let code = rng.pick(&["provider_unreachable", "provider_timeout"]).unwrap_or_default();
        let fault = Fault::new(FaultClass::Ambiguous, code, "The call broke off.").no_retry().by(route);
        Lot { executed, answered: (back, Outcome::Fault(fault)), broken: true }
    }

    /// The provider executes a call that was made alone.
    pub(crate) fn execute_alone(&mut self, by: ProcId, rid: Rid, body: &Bytes) {
        self.trace.note(self.now, || format!("provider: {} is executed, alone", short_rid(&rid)));
        self.mark(&[b"bill alone", &rid.0]);
        self.report.executed_alone += 1;
        self.pay(rid, body, by);
    }
}

fn answer(status: u16, route: Route, body: Bytes) -> Outcome {
    Outcome::Response(Response {
        status: http::StatusCode::from_u16(status).unwrap_or_default(),
        headers: http::HeaderMap::new(),
        job: String::new(),
        body,
        unbatchable: false,
        route,
    })
}
