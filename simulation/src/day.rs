//! A long day: many requests, large batches, and so many processes killed; counted, and measured.

use std::collections::BTreeMap;
use std::fmt::{Display, Formatter};
use std::time::Duration;

use common::timers::Now;
use common::wire::Role;

use crate::Report;
use crate::faults::Knobs;
use crate::people::Crowd;
use crate::provider::Moods;
use crate::rng::Rng;
use crate::world::{Event, World};

/// How often the cores are measured.
const SAMPLE: Duration = Duration::from_secs(60);
/// Every so many requests, one belongs to a burst.
const IN_BURSTS: u64 = 8;
/// How long a burst lasts, and in how much time there is one.
const BURST_MS: u64 = 60_000;
const BURST_EVERY: Duration = Duration::from_secs(3600);

/// What a day has.
#[derive(Debug, Clone, Copy)]
pub struct Day {
    /// Requests, without those that are sent again.
    pub requests: usize,
    /// Processes that are killed.
    pub crashes: u64,
    /// How long it is.
    pub length: Duration,
}

/// The most that the cores held, by role and by what it is, and the most of all that one of them held at a time.
#[derive(Debug, Clone, Default)]
pub struct Peaks(BTreeMap<(&'static str, &'static str), usize>);

/// What stands for everything that a core holds.
const ALL: &str = "in all";

impl Peaks {
    fn see(&mut self, role: Role, sizes: &[(&'static str, usize)]) {
        let role = match role {
            Role::Ingress => "ingress",
            Role::Batcher => "batcher",
            Role::Submitter => "submitter",
            Role::Unspecified => return,
        };
        let all = sizes.iter().map(|(_, size)| size).sum();
        for (what, size) in sizes.iter().copied().chain([(ALL, all)]) {
            let peak = self.0.entry((role, what)).or_default();
            *peak = size.max(*peak);
        }
    }
}

impl Display for Peaks {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        for role in ["ingress", "batcher", "submitter"] {
            let of_role = self.0.iter().filter(|((of, what), _)| *of == role && *what != ALL);
            let each: Vec<String> = of_role.map(|((_, what), size)| format!("{size} {what}")).collect();
            let all = self.0.get(&(role, ALL)).copied().unwrap_or_default();
            writeln!(f, "  most in one {role:<10} {all} {ALL} ({})", each.join(", "))?;
        }
        Ok(())
    }
}

impl Display for Report {
    /// The account of a day.
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let beats = self.by_kind.get(crate::bus::HEARTBEAT).copied().unwrap_or_default();
        let others = self.messages - beats;
        let per_request = others as f64 / self.requests.max(1) as f64;
        writeln!(f, "seed {}, {:.2} virtual hours", self.seed, self.virtual_time.as_secs_f64() / 3600.0)?;
        writeln!(f, "  requests               {} by {} callers", self.requests, self.persons)?;
        writeln!(f, "  answers and faults     {} ({} of them are answers)", self.answers, self.answered)?;
        writeln!(f, "  lines executed         {} in {} jobs", self.executed, self.jobs)?;
        writeln!(f, "  crashes                {}", self.crashes)?;
        writeln!(f, "  billed twice           {}", self.billed_twice)?;
        writeln!(f, "  paid again             {} (nobody who knew could be asked)", self.paid_again)?;
        writeln!(f, "  messages               {} and {beats} heartbeats", others)?;
        writeln!(f, "  messages per request   {per_request:.2}")?;
        for (kind, count) in self.by_kind.iter().filter(|(kind, _)| **kind != crate::bus::HEARTBEAT) {
            writeln!(f, "    {kind:<20} {count}")?;
        }
        writeln!(f, "  dropped                {}", self.dropped)?;
        write!(f, "{}", self.peaks)?;
        write!(f, "  violation              {}", self.violation.as_deref().unwrap_or("none"))
    }
}

impl Day {
    /// Everything goes wrong now and then, and the services are set as for large batches.
    pub(crate) fn knobs(&self) -> Knobs {
        Knobs {
            until: self.length,
            arrivals: self.length,
            callers: self.requests,
            ingresses: 3,
            batchers: 2,
            submitters: 3,
            max_requests: 50_000,
            max_bytes: 100_000_000,
            window: Duration::from_secs(60),
            idle: Duration::from_secs(60),
            answers_bytes: 256_000_000,
            drop: 0.000_5,
            duplicate: 0.000_5,
            slow: 0.01,
            slow_ms: 500,
            broken_answer: 0.001,
            trouble: 0.01,
            slow_call: 0.05,
            moods: Moods {
                list_lag: 0.1,
                failed_job: 0.003,
                expired_job: 0.003,
                failed_line: 0.003,
                slow_job: 0.05,
                short_file: 0.003,
                cut_content: 0.02,
                incomplete_list: 0.02,
                not_visible: 0.02,
                ..Moods::default()
            },
            job_ms: (300_000, 1_800_000),
            ..Knobs::quiet()
        }
    }

    /// Everybody has a text of their own, for one credential.
    pub(crate) const CROWD: Crowd = Crowd { keys: 1, twins: false, named: true, impatient: 0.01 };

    /// When each request comes: at any time, and some in bursts.
    fn arrivals(&self, rng: &mut Rng) -> Vec<Now> {
        let length = self.length.as_millis() as u64;
        let count = (self.length.as_secs() / BURST_EVERY.as_secs()).max(1);
        let bursts: Vec<u64> = (0..count).map(|_| rng.below(length)).collect();
        let moment = |_| {
            let burst = if rng.below(IN_BURSTS) == 0 { rng.pick(&bursts) } else { None };
            let at = match burst {
                Some(from) => from + rng.below(BURST_MS),
                None => rng.below(length),
            };
            Duration::from_millis(at.min(length))
        };
        let mut arrivals: Vec<Now> = (0..self.requests).map(moment).collect();
        arrivals.sort_unstable();
        arrivals
    }
}

impl World {
    pub(crate) fn begin_day(&mut self, day: Day) {
        self.arrivals = day.arrivals(&mut self.rng.fork()).into();
        self.plan_arrival(0);
        let mut rng = self.rng.fork();
        let last = (day.length.as_millis() as u64).saturating_sub(10_000);
        for _ in 0..day.crashes {
            self.queue.plan(rng.millis(5_000.min(last), last), Event::Kill);
        }
        self.queue.plan(SAMPLE, Event::Sample);
    }

    /// They come one after the other, so that not all of them wait in the queue.
    fn plan_arrival(&mut self, person: usize) {
        if let Some(at) = self.arrivals.pop_front() {
            self.queue.plan(at, Event::Arrival(person));
        }
    }

    pub(crate) fn arrival(&mut self, person: usize) {
        self.come(person);
        self.plan_arrival(person + 1);
    }

    /// Kills a process of some role: if none lives, as soon as one does.
    pub(crate) fn kill(&mut self) {
        let role = self.rng.pick(&[Role::Ingress, Role::Batcher, Role::Submitter]);
        if !role.is_some_and(|role| self.kill_one(role)) {
            self.queue.plan(self.now + Duration::from_secs(1), Event::Kill);
        }
    }

    pub(crate) fn sample(&mut self) {
        for id in &self.living {
            let process = &self.processes[*id];
            if let Some(node) = &process.node {
                self.report.peaks.see(process.role, &node.sizes());
            }
        }
        self.queue.plan(self.now + SAMPLE, Event::Sample);
    }
}
