//! Everything together: one loop over events in virtual time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use common::ids::{Bid, Pid, Rid};
use common::timers::Now;
use common::wire::Role;
use ingress::core::Keeping;
use ingress::plan::Policy;
use memchr::memmem::Finder;

use crate::bugs::Bug;
use crate::faults::{Kind, Knobs};
use crate::ladder::Ladder;
use crate::node::{CallerId, Effect, Effects, Local, Mail, Node, ProcId};
use crate::people::{
    ANSWER_MARK, ANSWERS_FOR, Away, Crowd, Excuse, Forgiven, KEY_MARK, People, TEXT_MARK, Then,
};
use crate::process::{Process, Subscriptions, Waiting};
use crate::provider::{Answer, Ask, Due, Provider};
use crate::queue::Queue;
use crate::rng::{Rng, hash, mix};
use crate::trace::{Trace, short_rid};
use crate::{Day, Options, Report};

/// Everything must be answered, acknowledged and tidied up so long after the faults have stopped.
const PATIENCE: Duration = Duration::from_secs(2 * 3600);
/// How often that is looked at.
const LOOK: Duration = Duration::from_secs(5);
/// What parts the generator of deadlines and calls alone from the seed's other ones.
const LOTS: u64 = 0x1add_e500;
/// How often it is shown how far a run is.
const HOUR: Duration = Duration::from_secs(3600);
/// Most steps at one moment: more is a loop without progress.
const STEPS_AT_ONCE: u32 = 100_000;
/// How long a process that was told to stop may go on.
pub(crate) const DRAIN: Duration = Duration::from_secs(30);

/// What happens in the world.
pub(crate) enum Event {
    /// A message arrives over a connection.
    Mail(ProcId, u32, Mail),
    Local(ProcId, Local),
    /// A person sends its request.
    Come(usize),
    /// The next person comes.
    Arrival(usize),
    /// A caller's patience is over.
    Leave(CallerId),
    /// A call reaches the provider. Its answer takes so long, or is lost.
    Reach(ProcId, u64, Ask, Option<Duration>),
    Provider(Due),
    /// The provider executes a call that an ingress made alone.
    Alone(ProcId, Rid, Bytes),
    Fault(Kind),
    /// A process is killed, in any case.
    Kill,
    /// The cores are measured.
    Sample,
    /// A process starts.
    Start(Role),
    Wake(ProcId),
    /// The server finds out that a connection is dead.
    Unsubscribe(ProcId, u32),
    /// A process finds out that its connection is dead.
    Disconnect(ProcId, u32),
    /// A process is connected anew.
    Connect(ProcId),
    /// The network of a process is whole again.
    Heal(ProcId),
    /// The faults stop.
    Calm,
    Look,
}

/// A world that lives from a seed.
pub(crate) struct World {
    pub(crate) options: Options,
    pub(crate) now: Now,
    pub(crate) rng: Rng,
    /// For deadlines and calls alone: seeds without them run as if they did not exist.
    pub(crate) lots: Rng,
    pub(crate) queue: Queue<Event>,
    pub(crate) processes: Vec<Process>,
    /// Those of them that are alive, in their order.
    pub(crate) living: Vec<ProcId>,
    /// When the next persons come, where they come one after the other.
    pub(crate) arrivals: VecDeque<Now>,
    pub(crate) subscriptions: Subscriptions,
    /// When the last message of a publisher arrives at a receiver, by kind of subject: they do not overtake each other.
    pub(crate) last_arrival: BTreeMap<(ProcId, ProcId, u8), Now>,
    pub(crate) server_up_at: Now,
    pub(crate) provider: Provider,
    /// Batches that nobody is left to know of, and whose they were.
    pub(crate) forgotten: BTreeSet<(Bid, ProcId)>,
    pub(crate) people: People,
    pub(crate) knobs: Knobs,
    pub(crate) calm: bool,
    pub(crate) report: Report,
    pub(crate) trace: Trace,
    pub(crate) marks: [Finder<'static>; 3],
    steps: u32,
    over: bool,
}

impl World {
    pub(crate) fn new(seed: u64, options: Options) -> Self {
        let mut rng = Rng::new(seed);
        let mut drawn = rng.fork();
        let mut knobs = options.day.map_or_else(|| Knobs::draw(&mut drawn), |day| day.knobs());
        let mut lots = Rng::new(mix(seed ^ LOTS));
        if options.day.is_none() && !options.plain {
            knobs.ladder = Ladder::draw(&mut lots, &mut knobs.moods);
        }
        let mut provider = Provider::new(rng.fork(), &knobs);
        let mut drawn = rng.fork();
        let crowd = options.day.map_or_else(|| Crowd::draw(&mut drawn), |_| Day::CROWD);
        let mut people = People::new(&mut drawn, knobs.callers, crowd);
        people.plan(&mut lots, &knobs.ladder);
        (provider.hasty, provider.unbatchable) = (people.hasty(), people.of_model(0));
        provider.lots = lots.fork();
        let mut world = Self {
            now: Now::ZERO,
            rng,
            lots,
            queue: Queue::new(),
            processes: Vec::new(),
            living: Vec::new(),
            arrivals: VecDeque::new(),
            subscriptions: Subscriptions::default(),
            last_arrival: BTreeMap::new(),
            server_up_at: Now::ZERO,
            provider,
            forgotten: BTreeSet::new(),
            people,
            knobs,
            calm: false,
            report: Report { seed, ..Report::default() },
            trace: Trace::new(options.trace),
            marks: [KEY_MARK, TEXT_MARK, ANSWER_MARK].map(Finder::new),
            options,
            steps: 0,
            over: false,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        let knobs = self.knobs.clone();
        self.trace.note(Now::ZERO, || format!("{knobs:?}"));
        for role in [Role::Ingress, Role::Batcher, Role::Submitter] {
            for _ in 0..self.knobs.wanted(role) {
                let at = self.rng.millis(0, 500);
                self.queue.plan(at, Event::Start(role));
            }
        }
        match self.options.day {
            Some(day) => self.begin_day(day),
            None => self.plan_everybody(),
        }
        self.plan_fault();
        self.queue.plan(self.knobs.until, Event::Calm);
    }

    fn plan_everybody(&mut self) {
        for person in 0..self.people.persons.len() {
            let at = self.rng.millis(0, self.knobs.arrivals.as_millis() as u64);
            self.queue.plan(at, Event::Come(person));
        }
    }

    fn plan_fault(&mut self) {
        if let Some((after, kind)) = self.knobs.next(&mut self.rng) {
            self.queue.plan(self.now + after, Event::Fault(kind));
        }
    }

    /// Runs to the end, which is peace or a violation. Shows every hour how far it is.
    pub(crate) fn run(mut self, mut hourly: impl FnMut(&Report)) -> Report {
        let mut next = HOUR;
        while !self.over {
            self.step();
            if self.now >= next {
                next += HOUR;
                self.sum_up();
                hourly(&self.report);
            }
        }
        self.sum_up();
        self.report.answered = self.people.accounts.iter().map(|account| u64::from(account.answered)).sum();
        self.report.billed_twice = self.people.billed.values().filter(|times| **times > 1).count() as u64;
        self.report.trace = self.trace.into_lines();
        self.report
    }

    fn sum_up(&mut self) {
        self.report.virtual_time = self.now;
        self.report.persons = self.people.persons.len() as u64;
        self.report.requests = self.people.callers.len() as u64;
        self.report.jobs = self.provider.jobs() as u64;
        self.report.executed = self.people.billed.len() as u64;
    }

    pub(crate) fn violation(&mut self, what: String) {
        self.trace.note(self.now, || format!("VIOLATION: {what}"));
        self.report.violation.get_or_insert(what);
        self.over = true;
    }

    /// Ends the run in peace.
    pub(crate) fn end(&mut self) {
        self.over = true;
    }

    fn step(&mut self) {
        let wakes = self.living.iter().filter_map(|id| Some((self.processes[*id].wake_at()?, *id)));
        let wake = wakes.min();
        let planned = self.queue.next_at();
        let before = self.now;
        match (wake, planned) {
            (Some((at, id)), planned) if planned.is_none_or(|planned| at < planned) => {
                self.now = self.now.max(at);
                self.tick(id);
            }
            (_, Some(_)) => {
                if let Some((at, event)) = self.queue.take() {
                    self.now = self.now.max(at);
                    self.happen(event);
                }
            }
            _ => return self.violation("nothing will ever happen any more".into()),
        }
        self.steps = if self.now == before { self.steps + 1 } else { 0 };
        if self.steps > STEPS_AT_ONCE {
            self.violation("time does not pass any more".into());
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Mail(to, connection, mail) => self.mail(to, connection, mail),
            Event::Local(to, local) => self.local(to, local),
            Event::Come(person) => self.come(person),
            Event::Arrival(person) => self.arrival(person),
            Event::Kill => self.kill(),
            Event::Sample => self.sample(),
            Event::Leave(caller) => self.leave(caller),
            Event::Reach(from, call, ask, answer) => self.reach(from, call, ask, answer),
            Event::Provider(due) => {
                let what = format!("{due:?}");
                self.trace.note(self.now, || format!("provider: {what}"));
                self.provider.happen(self.now, due);
                self.settle_provider();
            }
            Event::Alone(by, rid, body) => self.execute_alone(by, rid, &body),
            Event::Fault(kind) => {
                self.fault(kind);
                self.plan_fault();
            }
            Event::Start(role) => self.start(role),
            Event::Wake(id) => self.wake(id),
            Event::Unsubscribe(id, connection) => self.unsubscribe(id, connection),
            Event::Disconnect(id, connection) => self.disconnect(id, connection),
            Event::Connect(id) => self.connect(id),
            Event::Heal(id) => self.heal(id),
            Event::Calm => self.stop_faults(),
            Event::Look => self.look(),
        }
    }

    /// Counts what happened into the run's fingerprint.
    pub(crate) fn mark(&mut self, parts: &[&[u8]]) {
        let now = self.now.as_nanos().to_be_bytes();
        self.report.fingerprint = hash(self.report.fingerprint, &[&now, &hash(1, parts).to_be_bytes()]);
    }

    /// Lets a process do something, and does what it wants done.
    pub(crate) fn with(&mut self, id: ProcId, act: impl FnOnce(&mut dyn Node, Now, &mut Effects)) {
        let Some(process) = self.processes.get_mut(id) else { return };
        let Some(node) = process.node.as_mut() else { return };
        let mut effects = Effects::new();
        act(node.as_mut(), self.now - process.born, &mut effects);
        process.wake = node.wake_at().map(|wake| process.born + wake);
        let finished = node.is_finished();
        self.perform(id, effects);
        if finished {
            self.finished(id);
        }
    }

    fn perform(&mut self, id: ProcId, effects: Effects) {
        for effect in effects {
            match effect {
                Effect::Publish { subject, reply, payload } => {
                    self.publish(id, &subject, reply.as_deref(), payload)
                }
                Effect::After(wait, local) => self.queue.plan(self.now + wait, Event::Local(id, local)),
                Effect::Ask(call, ask) => self.ask(id, call, ask),
                Effect::End(caller, ended) => self.ended(caller, &ended),
                Effect::GaveUp(pid) => self.given_up(id, pid),
                Effect::Solo(solo) => self.solo(id, &solo),
                Effect::Vanished(rids) => rids.into_iter().for_each(|rid| self.people.vanished(rid)),
            }
        }
    }

    fn tick(&mut self, id: ProcId) {
        self.with(id, |node, now, effects| node.tick(now, effects));
    }

    fn local(&mut self, to: ProcId, local: Local) {
        let process = &mut self.processes[to];
        if !process.is_alive() {
            return;
        }
        if process.paused_until.is_some() {
            return process.backlog.push_back(Waiting::Local(local));
        }
        let name = &self.processes[to].name;
        if !matches!(local, Local::SendAgain(..) | Local::PullOver(_)) {
            self.trace.note(self.now, || format!("{name}: {local:?}"));
        }
        self.with(to, |node, now, effects| node.local(now, local, effects));
    }

    pub(crate) fn given_up(&mut self, by: ProcId, ingress: Pid) {
        let found = self.processes.iter().position(|process| process.pid == ingress && process.is_alive());
        if let Some(found) = found {
            let by = &self.processes[by].name;
            self.trace.note(self.now, || format!("{by} gives up process {found}, which lives"));
        }
    }

    // ---- callers

    pub(crate) fn come(&mut self, person: usize) {
        let open = |p: &Process| p.role == Role::Ingress && !p.draining;
        let doors: Vec<ProcId> =
            self.living.iter().copied().filter(|id| open(&self.processes[*id])).collect();
        let same = self.people.last_at(person).filter(|id| doors.contains(id) && self.rng.chance(0.7));
        let Some(ingress) = same.or_else(|| self.rng.pick(&doors)) else {
            return self.queue.plan(self.now + Duration::from_secs(1), Event::Come(person));
        };
        let random = self.rng.next().to_be_bytes();
        let (caller, call, patience) = self.people.call(self.now, person, ingress, random);
        let rid = self.people.callers[caller].rid;
        let text = self.people.persons[person].text;
        self.trace.note(self.now, || {
            format!(
                "caller {caller} of person {person} sends text {text} as {} to process {ingress}",
                short_rid(&rid)
            )
        });
        self.mark(&[b"come", &rid.0]);
        let way = self.rng.millis(0, 2);
        self.queue.plan(self.now + way, Event::Local(ingress, Local::Hold(rid, Box::new(call), caller)));
        if let Some(patience) = patience.filter(|_| !self.calm) {
            self.queue.plan(self.now + patience, Event::Leave(caller));
        }
    }

    fn leave(&mut self, id: CallerId) {
        let caller = &self.people.callers[id];
        if caller.state != crate::people::CallerState::Waiting {
            return;
        }
        let (ingress, rid) = (caller.ingress, caller.rid);
        self.trace.note(self.now, || format!("caller {id} leaves"));
        self.queue.plan(self.now + Duration::from_millis(2), Event::Local(ingress, Local::Gone(rid)));
        self.depart(id);
    }

    /// A caller has no connection any more.
    pub(crate) fn depart(&mut self, id: CallerId) {
        let person = self.people.callers[id].person;
        let out_of_touch = self.people.came(person).is_some_and(|(ingress, at)| {
            self.processes[ingress].away.iter().any(|(from, until)| (*from..*until).contains(&at))
        });
        let then = self.people.leave(self.now, id, !out_of_touch, &mut self.rng);
        if let Then::Back(after) = then {
            self.queue.plan(self.now + after, Event::Come(person));
        }
    }

    fn ended(&mut self, id: CallerId, ended: &ingress::hold::Ended) {
        let caller = &self.people.callers[id];
        let (ingress, rid, person) = (caller.ingress, caller.rid, caller.person);
        let waits = caller.state == crate::people::CallerState::Waiting;
        self.trace.note(self.now, || format!("caller {id} is given {:?}", brief(ended)));
        if waits && self.rng.chance(self.knobs.broken_answer) {
            self.trace.note(self.now, || format!("caller {id} loses its connection"));
            self.queue.plan(self.now + Duration::from_millis(2), Event::Local(ingress, Local::Gone(rid)));
            return self.depart(id);
        }
        if let Some(text) = self.people.paid_for_nothing(id, ended)
            && !self.forgiven(text)
        {
            return self
                .violation(format!("caller {id}: it is paid, and what came back is {:?}", brief(ended)));
        }
        if waits && self.was_cancelled_for_others(ended) {
            return self.violation(format!("caller {id} is told that its batch was cancelled"));
        }
        if let Err(why) = self.people.came_by_its_way(id, ended) {
            return self.violation(format!("caller {id}: {why}"));
        }
        let then = match self.people.read(id, ended) {
            Ok(then) => then,
            Err(why) => return self.violation(format!("caller {id}: {why}")),
        };
        if waits {
            self.report.answers += 1;
            let text = self.people.persons[person].text;
            if let Err(why) = self.people.check_account(text)
                && !self.forgiven(text)
            {
                return self.violation(why);
            }
            self.queue.plan(self.now + Duration::from_millis(2), Event::Local(ingress, Local::Received(rid)));
        }
        if let Then::Back(after) = then {
            self.queue.plan(self.now + after, Event::Come(person));
        }
    }

    /// Whether a caller who waits is told that its batch was cancelled although everybody was always in reach. Nobody but the services
    /// cancels jobs here, and what they have cancelled since others did not wait goes into another batch, or alone.
    fn was_cancelled_for_others(&self, ended: &ingress::hold::Ended) -> bool {
        let cancelled = matches!(&*ended.outcome, common::outcome::Outcome::Fault(fault) if fault.code == "batch_cancelled");
        cancelled && self.processes.iter().all(|process| process.away.is_empty())
    }

    // ---- the provider

    /// Takes out what the provider did.
    pub(crate) fn settle_provider(&mut self) {
        for (at, due) in std::mem::take(&mut self.provider.due) {
            self.queue.plan(at, Event::Provider(due));
        }
        for (rid, body, owner) in std::mem::take(&mut self.provider.executed) {
            self.trace.note(self.now, || format!("provider: {} is executed", short_rid(&rid)));
            self.mark(&[b"bill", &rid.0]);
            self.pay(rid, &body, owner);
        }
        for rid in std::mem::take(&mut self.provider.entered) {
            if self.people.is_alone(rid) {
                self.violation(format!("{rid} is in a job although it was made alone"));
            }
        }
    }

    /// A request was executed, by whoever sent it.
    pub(crate) fn pay(&mut self, rid: Rid, body: &[u8], owner: ProcId) {
        if let Err(why) = self.people.bill(rid, body, owner)
            && !self.may_be_paid_again(rid)
        {
            self.violation(why);
        }
    }

    /// Whether an execution that is one too many is forgiven: of one request twice only where it is known why.
    fn may_be_paid_again(&mut self, rid: Rid) -> bool {
        let Some(text) = self.people.text_of(rid) else { return false };
        let twice = self.people.billed.get(&rid).is_some_and(|times| *times > 1);
        (!twice || self.excused(text)) && (self.people.check_account(text).is_ok() || self.forgiven(text))
    }

    /// Whether a text may cost once more since nobody could know whether it had been executed, or did not want to wait for that.
    fn excused(&mut self, text: usize) -> bool {
        let count = match self.people.excuse(text) {
            Some(Excuse::Vanished) => &mut self.report.vanished_again,
            Some(Excuse::Hard) => &mut self.report.hard_again,
            None => return false,
        };
        *count += 1;
        true
    }

    /// Whether a text may cost once more, since all who knew of its request were out of reach when it was repeated; or for the same
    /// reasons, which are kept for a request that is itself paid twice as long as there are others.
    fn forgiven(&mut self, text: usize) -> bool {
        let spells = |(id, p): (usize, &Process)| -> Vec<(ProcId, Role, Now)> {
            p.away.iter().map(|(_, until)| (id, p.role, *until)).collect()
        };
        let away = Away { spells: self.processes.iter().enumerate().flat_map(spells).collect() };
        let count = match self.people.forgive(text, &away) {
            Some(Forgiven::Batch) => &mut self.report.paid_again,
            Some(Forgiven::Alone) => &mut self.report.alone_again,
            None => return self.excused(text) && self.people.check_account(text).is_ok(),
        };
        *count += 1;
        self.people.check_account(text).is_ok()
    }

    // ---- the end

    fn stop_faults(&mut self) {
        self.trace.note(self.now, || "the faults stop".into());
        self.calm = true;
        self.knobs.calm();
        self.provider.moods = self.knobs.moods;
        for id in 0..self.processes.len() {
            if self.processes[id].paused_until.is_some() {
                self.wake(id);
            }
            if self.processes[id].cut {
                self.heal(id);
            }
        }
        for role in [Role::Ingress, Role::Batcher, Role::Submitter] {
            let works = |p: &&Process| p.is_alive() && p.role == role && !p.draining;
            if self.processes.iter().filter(works).count() == 0 {
                self.start(role);
            }
        }
        self.queue.plan(self.now + LOOK, Event::Look);
    }

    fn look(&mut self) {
        if let Some(caller) = self.people.waits_beyond_its_deadline(self.now, self.knobs.until) {
            return self.violation(format!("caller {caller} waits far beyond its deadline"));
        }
        let problems = self.problems();
        if problems.is_empty() {
            return self.end();
        }
        if self.now > self.knobs.until + PATIENCE {
            return self
                .violation(format!("no peace after two hours without faults: {}", problems.join("; ")));
        }
        self.queue.plan(self.now + LOOK, Event::Look);
    }
}

/// An outcome in a few words.
fn brief(ended: &ingress::hold::Ended) -> String {
    match &*ended.outcome {
        common::outcome::Outcome::Response(response) => format!("{} {:?}", response.status, response.body),
        common::outcome::Outcome::Fault(fault) => fault.code.clone(),
    }
}

/// Builds a process's node.
pub(crate) fn node(role: Role, pid: Pid, knobs: &Knobs, rng: &mut Rng, options: Options) -> Box<dyn Node> {
    let bug = options.bug;
    let keeping = Keeping {
        reattach_window: Duration::from_secs(30),
        answers_for: ANSWERS_FOR,
        answers_bytes: knobs.answers_bytes,
    };
    let policy = knobs.ladder.policy;
    let policy = Policy { hard: policy.hard || bug == Some(Bug::AloneTooEarly), ..policy };
    match role {
        Role::Batcher => Box::new(crate::batcher::Batcher::new(pid, knobs, rng.fork())),
        Role::Submitter => Box::new(crate::submitter::Submitter::new(pid, bug)),
        Role::Ingress | Role::Unspecified => {
            Box::new(crate::ingress::Ingress::new(pid, rng.next(), (keeping, policy), bug))
        }
    }
}

/// What a call of the provider's API comes to.
pub(crate) struct Fate {
    /// When it is executed, if at all.
    pub(crate) executed: Option<Duration>,
    /// What the caller gets instead of the provider's answer, and when.
    pub(crate) instead: Option<(Duration, Answer)>,
}
