//! The decisions of an ingress: which batcher hears of a request, who may submit it, which answer is its own.
//!
//! A request goes `New -> Announced -> Held -> Granted -> ended`. Until the grant nothing was paid and the request
//! can be announced again or dropped at any time; with the grant it belongs to one batch of one submitter. A request whose
//! callers all went away before the grant is `Withheld` until a repetition takes it up. One whose line failed is `Resting` before it
//! goes into a later batch; one whose batch is refused or takes too long is made `Alone`.
//!
//! A call that may be the repetition of a request at another process is `Asking` first. Then it is `New`, or waits
//! `Elsewhere`, or becomes a request that was `Granted` at an ingress that is gone.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bytes::Bytes;
use common::drive::Core as Machine;
use common::ids::{Bid, Pid, Rid};
use common::key::BatchKey;
use common::members::{Change, Members, SUSPECT};
use common::outcome::{Fault, FaultClass, Outcome};
use common::subjects::Token;
use common::timers::{Now, Timers};
use common::wire::{self, Role};
use smallvec::SmallVec;

use crate::accounts::Account;
use crate::hold::{Call, Ended};
use crate::plan::Policy;
use announce::Pack;
use callers::Callers;
use elsewhere::Elsewhere;
use estimate::Estimates;
use grant::Batch;
use kept::Kept;
use ladder::{Deadlines, Steps};
use pair::{Pairs, Place};
use remote::{Lost, Remotes};
use result::Partials;
use waiting::Unannounced;
use whois::Questions;

mod adopt;
mod announce;
mod callers;
mod elsewhere;
mod estimate;
mod grant;
mod kept;
mod ladder;
mod pair;
mod recover;
mod relics;
mod remote;
mod result;
#[cfg(test)]
mod tests;
mod waiting;
mod whois;

pub use elsewhere::FetchedPart;
pub use grant::GrantDraft;
pub use kept::Keeping;
pub use ladder::Solo;
pub use remote::OutcomePart;
pub use result::ResultPart;

/// How often requests are looked over that a batcher holds.
const LOOK_OVER: Duration = Duration::from_secs(5);
/// After how many of them submitters are asked whether they still hold what was granted to them.
const LOOKS_PER_SYNC: u32 = 3;
/// A request that nobody claimed for so long is announced again. The batcher ignores what it still has, so this only
/// matters for what was lost between batcher and submitter.
const ANNOUNCE_AGAIN: Duration = Duration::from_secs(15);
/// After having stood still for so long that others may have given it up, an ingress grants nothing for a moment, until it
/// has seen which of its callers are gone.
const LOOK_AROUND: Duration = Duration::from_secs(2);

/// What can happen to an ingress. `W` is whatever waits for the end of a request.
#[derive(Debug)]
pub enum Input<W> {
    /// A caller's request was admitted. The id names the caller from now on, and its request if that is a new one.
    Hold(Rid, Call, W),
    /// A caller went away without its answer.
    Gone(Rid),
    /// A caller has its answer.
    Received(Rid),
    /// A submitter of this deployment asks for a grant; the shell has checked its proof.
    Claim(wire::Claim, String),
    /// A submitter wants to create a job from a file.
    Intent(wire::Intent, String),
    /// A provider accepted a batch.
    Submitted(wire::Submitted, String),
    /// News of a job.
    JobState(wire::JobState),
    /// A batch that was taken over turns out not to exist at the provider.
    Released(wire::Released, String),
    /// A submitter asks whether callers have received the answers of a batch.
    Delivered(wire::Delivered, String),
    /// A submitter asks for a chunk of bodies.
    Pull(wire::Pull, String),
    /// Another ingress asks whether requests are here.
    Whois(wire::Whois, String),
    /// Callers wait at another ingress for requests that are here.
    Attach(wire::Attach, String),
    /// Requests that are at another ingress have ended.
    Ended(wire::Ended),
    /// Another ingress asks for a part of an outcome.
    Fetch(wire::Fetch, String),
    /// A part of an outcome that was asked for, opened.
    Fetched(FetchedPart),
    /// A part of an outcome, opened.
    Result(ResultPart),
    /// The answer to a token, or nobody was there to answer.
    Answer(Token, Option<wire::reply::Body>),
    /// A call that was made alone has ended.
    Alone(Rid, Outcome),
    /// Another process is there.
    Heartbeat(wire::Heartbeat),
    /// The bus came or went.
    Bus(bool),
    /// Take nothing new, give back what nobody has claimed, finish the rest.
    Drain,
    /// End what is left.
    GiveUp,
}

/// What an ingress wants done.
#[derive(Debug)]
pub enum Output<W> {
    /// Publish a heartbeat.
    Beat(wire::Heartbeat),
    /// Send to a batcher; with a token an answer is expected.
    ToBatcher(Pid, Option<Token>, wire::to_batcher::Body),
    /// Seal a grant and answer with it.
    Grant(String, GrantDraft),
    /// Answer an exchange.
    Reply(String, wire::reply::Body),
    /// Seal slices of bodies and answer with them.
    Chunk {
        /// Reply subject.
        reply: String,
        /// The batch of the grant.
        bid: Bid,
        /// Its epoch.
        epoch: u32,
        /// Number of the chunk.
        seq: u64,
        /// Whether it is the last one.
        last: bool,
        /// The content, in order; `None` when there is no such grant or chunk.
        slices: Option<Vec<Bytes>>,
    },
    /// Send to a submitter; with a token an answer is expected.
    ToSubmitter(Pid, Option<Token>, wire::to_submitter::Body),
    /// Send to another ingress; with a token an answer is expected.
    ToIngress(Pid, Option<Token>, wire::to_ingress::Body),
    /// Seal a part of an outcome and answer with it.
    Fetched(String, OutcomePart),
    /// Tell callers; and enter the request into the books, if it is one of this process's.
    End {
        /// Those who wait here.
        waiters: SmallVec<[W; 1]>,
        /// What they are told.
        ended: Ended,
        /// Whose it was.
        account: Option<Account>,
    },
    /// Make a call alone and say how it ended with [`Input::Alone`].
    Alone(Solo),
    /// Something happened to a job.
    Job(JobEvent),
}

/// What is worth knowing about jobs from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobEvent {
    /// A provider accepted a batch with so many requests of this ingress.
    Submitted {
        /// Our batch.
        bid: Bid,
        /// The provider's id.
        job: String,
        /// Requests of this ingress in it.
        requests: usize,
    },
    /// Its state at the provider.
    State {
        /// Our batch.
        bid: Bid,
        /// The provider's id.
        job: String,
        /// The provider's word.
        status: String,
        /// Lines in it, done and failed, over all ingresses.
        counts: (u64, u64, u64),
    },
    /// It is taken over under another id.
    Renamed {
        /// So far.
        from: Bid,
        /// From now on.
        to: Bid,
    },
    /// All its requests here have ended.
    Ended {
        /// Our batch.
        bid: Bid,
        /// Whether a provider answered any of them.
        answered: bool,
    },
}

struct Request<W> {
    key: BatchKey,
    inputs: u32,
    /// Until the grant; then the batch has it.
    body: Bytes,
    credential: std::sync::Arc<http::HeaderMap>,
    callers: Callers<W>,
    place: Place,
    held_at: Now,
    queued: Option<Duration>,
    phase: Phase,
    /// Its caller may have been at another ingress meanwhile: others are asked before it is announced again.
    doubtful: bool,
    partials: Option<Box<Partials>>,
    steps: Steps,
    /// What its caller calls it.
    tag: Option<std::sync::Arc<str>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Others are asked whether they have its original, in this round.
    Asking(u64),
    /// Its original is at another ingress.
    Elsewhere,
    /// Waits to be announced.
    New,
    /// Announced, not acknowledged.
    Announced(Token),
    /// A batcher has it.
    Held { batcher: Pid, since: Now },
    /// Nobody waits for it: it must not get into a batch.
    Withheld,
    /// In this batch.
    Granted(Bid),
    /// Waits to be announced for a later batch.
    Resting,
    /// Is executed outside of any batch. Whoever waits or not, it is paid.
    Alone,
}

#[derive(Debug)]
enum Timer {
    /// Announce what has gathered.
    Flush,
    /// No acknowledgement so far.
    Unacknowledged(Token),
    /// Look over what batchers hold and what nobody waits for.
    LookOver,
    /// Ask others about calls that may be repetitions.
    Ask,
    /// No answer to a question about calls so far.
    Unheard(Token),
    /// Has nobody taken up this withheld request?
    Alone(Rid),
    /// It has waited long enough for a later batch.
    Rested(Rid),
    /// Has nobody claimed the batch that this was about?
    Unclaimed(Token),
}

/// The state machine.
pub struct Core<W> {
    members: Members,
    /// Prefix of the reply subjects.
    reply_prefix: String,
    keeping: Keeping,
    policy: Policy,
    estimates: Estimates,
    deadlines: Deadlines,
    requests: HashMap<Rid, Request<W>>,
    /// The request that a caller repeats, where it is not its own.
    repetitions: HashMap<Rid, Rid>,
    pairs: Pairs,
    kept: Kept,
    /// Requests in phase `New`.
    unannounced: Unannounced,
    /// Requests that came back while this process stops taking any.
    stranded: Vec<Rid>,
    flush_set: bool,
    packs: HashMap<Token, Pack>,
    next_token: Token,
    batches: HashMap<Bid, Batch>,
    /// The last epoch of a grant.
    epochs: u32,
    /// Batches that submitters were asked to take over.
    recoveries: HashMap<Token, Bid>,
    /// Submitters that were asked what they hold, the last time.
    syncs: HashMap<Token, (Pid, Vec<Bid>)>,
    looks: u32,
    questions: Questions,
    elsewhere: Elsewhere,
    remotes: Remotes,
    /// Requests that were dropped at the end although their answers are on their way: callers may come for them to others.
    left_behind: u32,
    /// When the passing of time was last noticed, and when it was after a long gap.
    looked: Now,
    /// When silent submitters were last asked whether they are there.
    probed: Now,
    awake_since: Option<Now>,
    acks: BTreeMap<(Pid, Bid), Vec<u64>>,
    withdrawals: BTreeMap<Pid, Vec<Bytes>>,
    timers: Timers<Timer>,
    given_up: bool,
}

impl<W> Core<W> {
    /// An ingress that holds nothing and knows nobody.
    pub fn new(members: Members, reply_prefix: String, keeping: Keeping, policy: Policy) -> Self {
        let mut timers = Timers::default();
        timers.set(LOOK_OVER, Timer::LookOver);
        Self {
            members,
            reply_prefix,
            keeping,
            policy,
            estimates: Estimates::default(),
            deadlines: Deadlines::default(),
            requests: HashMap::new(),
            repetitions: HashMap::new(),
            pairs: Pairs::default(),
            kept: Kept::new(keeping),
            unannounced: Unannounced::default(),
            stranded: Vec::new(),
            flush_set: false,
            packs: HashMap::new(),
            next_token: 0,
            batches: HashMap::new(),
            epochs: 0,
            recoveries: HashMap::new(),
            syncs: HashMap::new(),
            looks: 0,
            questions: Questions::default(),
            elsewhere: Elsewhere::default(),
            remotes: Remotes::default(),
            left_behind: 0,
            looked: Now::ZERO,
            probed: Now::ZERO,
            awake_since: None,
            acks: BTreeMap::new(),
            withdrawals: BTreeMap::new(),
            timers,
            given_up: false,
        }
    }

    /// Number of requests that have not ended.
    pub fn held(&self) -> usize {
        self.requests.len()
    }

    /// Everything that grows with what is held, by name: all zero when nothing is.
    pub fn sizes(&self) -> Vec<(&'static str, usize)> {
        vec![
            ("requests", self.requests.len()),
            ("repetitions", self.repetitions.len()),
            ("deadlines", self.deadlines.len()),
            ("pairs", self.pairs.len()),
            ("kept answers", self.kept.len()),
            ("unannounced", self.unannounced.len()),
            ("announcements", self.packs.len()),
            ("batches", self.batches.len() - self.relics()),
            ("batches to be tidied up", self.relics()),
            ("acknowledgements", self.acks.len()),
            ("withdrawals", self.withdrawals.len()),
            ("questions", self.questions.len()),
            ("calls elsewhere", self.elsewhere.len()),
            ("remote callers", self.remotes.len()),
        ]
    }

    /// The batches of which anything may be at the provider as far as is known here, by their ids there, and whose they were.
    pub fn origins(&self) -> Vec<(Bid, Pid)> {
        self.batches.values().map(|batch| (batch.origin, batch.first)).collect()
    }

    /// The heartbeat that says farewell, with the number of answers that callers may still come for, to others.
    pub fn farewell(&self) -> wire::Heartbeat {
        let load = self.kept.all_unread().saturating_add(self.left_behind);
        wire::Heartbeat { load, ..self.members.farewell() }
    }

    fn drain(&mut self, now: Now, out: &mut Vec<Output<W>>) {
        self.members.drain(now);
        self.abandon_at_once(out);
        for rid in sorted(self.requests.keys().copied()) {
            let Some(request) = self.requests.get(&rid) else { continue };
            match (request.phase, request.callers.alone_since().is_some()) {
                (Phase::Granted(_) | Phase::Elsewhere | Phase::Alone, false) | (Phase::Alone, true) => {}
                (Phase::Granted(bid), true) => {
                    // What nobody waits for now will not be asked for here.
                    self.drop_request(rid);
                    self.left_behind = self.left_behind.saturating_add(1);
                    self.batch_answered(now, bid, false, false, out);
                }
                (_, true) => self.drop_request(rid),
                // Nobody knows yet whether its original was submitted.
                (Phase::Asking(_), false) => self.end(now, rid, Outcome::Fault(self.stopped()), out),
                (phase, false) => {
                    if let Phase::Held { batcher, .. } = phase {
                        self.withdrawals.entry(batcher).or_default().push(rid.to_bytes());
                    }
                    self.end(now, rid, Outcome::Fault(stopping()), out);
                }
            }
        }
    }

    /// For requests whose batch did not finish in time. Another ingress takes them up, if there is one.
    fn stopped(&self) -> Fault {
        match self.members.count(Role::Ingress) {
            0 => stopped_alone(),
            _ => stopped_among_others(),
        }
    }

    fn give_up(&mut self, now: Now, out: &mut Vec<Output<W>>) {
        self.given_up = true;
        for rid in sorted(self.requests.keys().copied()) {
            let alone = self.requests.get(&rid).is_some_and(|request| request.phase == Phase::Alone);
            let fault = if alone { stopped_while_alone() } else { self.stopped() };
            self.end(now, rid, Outcome::Fault(fault), out);
        }
    }

    fn changed(&mut self, now: Now, change: Change, out: &mut Vec<Output<W>>) {
        match change {
            Change::Joined(_, Role::Batcher) => self.flush_soon(now),
            Change::Joined(_, Role::Submitter) => self.submitter_joined(now, out),
            Change::Left(pid, Role::Batcher) => self.batcher_left(now, pid),
            Change::Left(pid, Role::Submitter) => {
                self.submitter_left(now, pid, out);
            }
            Change::Left(pid, Role::Ingress) => {
                self.expire_remotes(now, Lost::One(pid));
                self.ask_anew_of(now, pid);
            }
            Change::Joined(..) | Change::Left(..) | Change::Draining(..) => {}
        }
    }

    fn token(&mut self) -> Token {
        self.next_token += 1;
        self.next_token
    }

    fn fire(&mut self, now: Now, timer: Timer, out: &mut Vec<Output<W>>) {
        match timer {
            Timer::Flush => {
                self.flush_set = false;
                self.flush(now, out);
            }
            Timer::Unacknowledged(token) => self.unacknowledged(now, token, out),
            Timer::Ask => self.ask(now, out),
            Timer::Unheard(token) => self.unheard(now, token, out),
            Timer::Alone(rid) => self.still_alone(now, rid),
            Timer::Rested(rid) => self.rested(now, rid),
            Timer::Unclaimed(token) => self.unclaimed(now, token, out),
            Timer::LookOver => {
                self.look_over(now);
                self.take_back_idle(now);
                self.forget_relics(now);
                self.abandon(now, out);
                self.give_up_again(out);
                self.looks = self.looks.wrapping_add(1);
                if self.looks.is_multiple_of(LOOKS_PER_SYNC) {
                    self.sync(now, out);
                }
                self.expire_remotes(now, Lost::None);
                self.renew_elsewhere();
                self.tidy_kept(now);
                self.timers.set(now + LOOK_OVER, Timer::LookOver);
            }
        }
    }

    /// Whether this process may have missed that callers went away.
    fn has_stood_still(&self, now: Now) -> bool {
        now.saturating_sub(self.looked) > SUSPECT
            || self.awake_since.is_some_and(|since| now.saturating_sub(since) < LOOK_AROUND)
    }

    /// Whether the bus was away since then or shortly before, or this process stood still.
    fn was_out_of_touch_since(&self, then: Now) -> bool {
        self.awake_since.max(self.members.up_since()).is_none_or(|since| since + LOOK_AROUND >= then)
    }

    fn send_gathered(&mut self, out: &mut Vec<Output<W>>) {
        self.tell_ended(out);
        self.send_words(out);
        for ((submitter, bid), seqs) in std::mem::take(&mut self.acks) {
            let ingress = self.members.pid().to_bytes();
            let ack = wire::ResultAck { bid: bid.to_bytes(), ingress, seqs };
            out.push(Output::ToSubmitter(submitter, None, wire::to_submitter::Body::ResultAck(ack)));
        }
        for (batcher, rids) in std::mem::take(&mut self.withdrawals) {
            let body = wire::to_batcher::Body::Withdraw(wire::Withdraw { rids });
            out.push(Output::ToBatcher(batcher, None, body));
        }
    }
}

impl<W> Machine for Core<W> {
    type Input = Input<W>;
    type Output = Output<W>;

    fn handle(&mut self, now: Now, input: Input<W>, out: &mut Vec<Output<W>>) {
        match input {
            Input::Hold(rid, call, waiter) => self.hold(now, rid, call, waiter, out),
            Input::Gone(caller) => self.gone(now, caller),
            Input::Received(caller) => self.received(now, caller),
            Input::Claim(claim, reply) => self.claim(now, &claim, reply, out),
            Input::Intent(intent, reply) => self.intent(now, &intent, reply, out),
            Input::Submitted(submitted, reply) => self.submitted(submitted, reply, out),
            Input::JobState(state) => self.job_state(state, out),
            Input::Released(released, reply) => self.released(now, &released, reply, out),
            Input::Delivered(delivered, reply) => self.delivered(&delivered, reply, out),
            Input::Pull(pull, reply) => self.pull(now, &pull, reply, out),
            Input::Result(part) => self.result(now, part, out),
            Input::Whois(whois, reply) => self.whois(&whois, reply, out),
            Input::Attach(attach, reply) => self.attach_remote(now, &attach, reply, out),
            Input::Ended(ended) => self.ended_elsewhere(now, &ended, out),
            Input::Fetch(fetch, reply) => self.fetch(&fetch, reply, out),
            Input::Fetched(part) => self.fetched(now, part, out),
            Input::Answer(token, answer) => {
                let taken = self.recovery_answered(now, token, answer.as_ref(), out)
                    || self.synced(now, token, answer.as_ref(), out)
                    || self.whois_answered(now, token, answer.as_ref(), out)
                    || self.attached(now, token, answer.as_ref(), out);
                if !taken {
                    self.announce_answered(now, token, answer, out);
                }
            }
            Input::Alone(rid, outcome) => self.made_alone(now, rid, outcome, out),
            Input::Heartbeat(beat) => {
                if let Some(change) = self.members.hear(now, &beat) {
                    self.changed(now, change, out);
                    if let Change::Left(pid, _) = change {
                        self.will_not_answer(now, pid, out);
                    }
                }
            }
            Input::Bus(up) => {
                self.members.bus(now, up);
                self.expire_remotes(now, Lost::All);
            }
            Input::Drain => self.drain(now, out),
            Input::GiveUp => self.give_up(now, out),
        }
    }

    fn tick(&mut self, now: Now, out: &mut Vec<Output<W>>) {
        if now.saturating_sub(std::mem::replace(&mut self.looked, now)) > SUSPECT {
            self.awake_since = Some(now);
            self.expire_remotes(now, Lost::All);
        }
        for change in self.members.expire(now) {
            self.changed(now, change, out);
        }
        self.probe(now, out);
        // Before anything is announced: what is withdrawn may be announced again.
        self.send_gathered(out);
        loop {
            if let Some(timer) = self.timers.pop(now) {
                self.fire(now, timer, out);
            } else if let Some(rid) = self.deadlines.pop(now) {
                self.due(now, rid, out);
            } else {
                break;
            }
        }
        for rid in std::mem::take(&mut self.stranded) {
            self.end(now, rid, Outcome::Fault(stopping()), out);
        }
        self.send_gathered(out);
        out.extend(self.members.beat(now, self.requests.len()).map(Output::Beat));
    }

    fn wake_at(&self) -> Option<Now> {
        let beat = self.members.next_beat();
        [self.timers.next(), self.deadlines.next(), Some(beat)].into_iter().flatten().min()
    }

    fn is_finished(&self) -> bool {
        self.given_up || self.members.is_draining() && self.requests.is_empty() && self.remotes.len() == 0
    }
}

/// Whatever a map's order is, what follows from it is the same.
fn sorted(rids: impl Iterator<Item = Rid>) -> Vec<Rid> {
    let mut rids: Vec<Rid> = rids.collect();
    rids.sort_unstable();
    rids
}

/// For requests that nobody claimed: nothing was sent to a provider.
fn stopping() -> Fault {
    let message = "llm-proxy is shutting down. The request was not sent to the provider; send it again.";
    Fault::new(FaultClass::Unavailable, "shutting_down", message).retry_after(Duration::from_secs(1))
}

/// For requests whose batch did not finish in time.
fn stopped_alone() -> Fault {
    let message = "llm-proxy was shut down while the request's batch was at the provider. The provider may finish and bill it.";
    Fault::new(FaultClass::Unavailable, "shut_down", message).no_retry()
}

/// For requests that are being made alone: nobody else knows of them.
fn stopped_while_alone() -> Fault {
    let message = "llm-proxy was shut down while the request was made outside of a batch. The provider may finish and bill it.";
    Fault::new(FaultClass::Unavailable, "shut_down_alone", message).no_retry()
}

/// The same where other ingresses go on.
fn stopped_among_others() -> Fault {
    let message = "This ingress of llm-proxy was shut down while the request's batch was at the provider. Sent again as SDKs do, the request is taken up by another one and not paid again.";
    Fault::new(FaultClass::Unavailable, "shut_down", message).retry_after(Duration::from_secs(1))
}
