//! The decisions of an ingress: which batcher hears of a request, who may submit it, which answer is its own.
//!
//! A request goes `New -> Announced -> Held -> Granted -> ended`. Until the grant nothing was paid and the request
//! can be announced again or dropped at any time; with the grant it belongs to one batch of one submitter.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bytes::Bytes;
use common::drive::Core as Machine;
use common::ids::{Bid, Pid, Rid};
use common::key::BatchKey;
use common::members::{Change, Members};
use common::outcome::{Fault, FaultClass, Outcome};
use common::subjects::Token;
use common::timers::{Now, Timers};
use common::wire::{self, Role};

use crate::hold::{Call, Ended};
use announce::Pack;
use grant::Batch;
use result::Partial;

mod announce;
mod grant;
mod result;
#[cfg(test)]
mod tests;

pub use grant::{CHUNK, GrantDraft, RECORD_HEAD};
pub use result::ResultPart;

/// How often requests are looked over that a batcher holds.
const LOOK_OVER: Duration = Duration::from_secs(5);
/// A request that nobody claimed for so long is announced again. The batcher ignores what it still has, so this only
/// matters for what was lost between batcher and submitter.
const ANNOUNCE_AGAIN: Duration = Duration::from_secs(15);

/// What can happen to an ingress. `W` is whatever waits for the end of a request.
#[derive(Debug)]
pub enum Input<W> {
    /// A caller's request was admitted.
    Hold(Rid, Call, W),
    /// Its caller went away.
    Gone(Rid),
    /// A submitter of this deployment asks for a grant; the shell has checked its proof.
    Claim(wire::Claim, String),
    /// A submitter wants to create a job from a file.
    Intent(wire::Intent, String),
    /// A provider accepted a batch.
    Submitted(wire::Submitted, String),
    /// News of a job.
    JobState(wire::JobState),
    /// A submitter asks for a chunk of bodies.
    Pull(wire::Pull, String),
    /// A part of an outcome, opened.
    Result(ResultPart),
    /// The answer to a token, or nobody was there to answer.
    Answer(Token, Option<wire::reply::Body>),
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
    /// Acknowledge results.
    ResultAck(Pid, wire::ResultAck),
    /// Tell the caller.
    End(W, Ended),
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
    waiter: W,
    held_at: Now,
    queued: Option<Duration>,
    phase: Phase,
    /// The caller went away after the grant.
    gone: bool,
    partial: Option<Box<Partial>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Waits to be announced.
    New,
    /// Announced, not acknowledged.
    Announced(Token),
    /// A batcher has it.
    Held { batcher: Pid, since: Now },
    /// In this batch.
    Granted(Bid),
}

#[derive(Debug)]
enum Timer {
    /// Announce what has gathered.
    Flush,
    /// No acknowledgement so far.
    Unacknowledged(Token),
    /// Look over what batchers hold.
    LookOver,
}

/// The state machine.
pub struct Core<W> {
    members: Members,
    /// Prefix of the reply subjects.
    reply_prefix: String,
    requests: HashMap<Rid, Request<W>>,
    /// Requests in phase `New`, by key, in order of arrival.
    unannounced: BTreeMap<BatchKey, Vec<Rid>>,
    flush_set: bool,
    packs: HashMap<Token, Pack>,
    next_token: Token,
    batches: HashMap<Bid, Batch>,
    acks: BTreeMap<(Pid, Bid), Vec<u64>>,
    withdrawals: BTreeMap<Pid, Vec<Bytes>>,
    timers: Timers<Timer>,
    given_up: bool,
}

impl<W> Core<W> {
    /// An ingress that holds nothing and knows nobody.
    pub fn new(members: Members, reply_prefix: String) -> Self {
        let mut timers = Timers::default();
        timers.set(LOOK_OVER, Timer::LookOver);
        Self {
            members,
            reply_prefix,
            requests: HashMap::new(),
            unannounced: BTreeMap::new(),
            flush_set: false,
            packs: HashMap::new(),
            next_token: 0,
            batches: HashMap::new(),
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

    /// The heartbeat that says farewell.
    pub fn farewell(&self) -> wire::Heartbeat {
        self.members.farewell()
    }

    fn hold(&mut self, now: Now, rid: Rid, call: Call, waiter: W, out: &mut Vec<Output<W>>) {
        if self.members.is_draining() {
            let ended = Ended { outcome: Outcome::Fault(stopping()), queued: Duration::ZERO };
            return out.push(Output::End(waiter, ended));
        }
        let Call { key, credential, body, inputs } = call;
        let request = Request {
            key,
            inputs,
            body,
            credential,
            waiter,
            held_at: now,
            queued: None,
            phase: Phase::New,
            gone: false,
            partial: None,
        };
        self.unannounced.entry(request.key.clone()).or_default().push(rid);
        self.requests.insert(rid, request);
        self.flush_soon(now);
    }

    /// Before the grant the request is withdrawn and nothing is paid; after it the answer is on its way anyhow.
    fn gone(&mut self, rid: Rid) {
        let Some(request) = self.requests.get_mut(&rid) else { return };
        let batcher = match request.phase {
            Phase::Granted(_) => {
                request.gone = true;
                return;
            }
            Phase::New => None,
            Phase::Announced(token) => self.packs.get(&token).map(|pack| pack.batcher),
            Phase::Held { batcher, .. } => Some(batcher),
        };
        self.requests.remove(&rid);
        if let Some(batcher) = batcher {
            self.withdrawals.entry(batcher).or_default().push(rid.to_bytes());
        }
    }

    fn end(&mut self, now: Now, rid: Rid, outcome: Outcome, out: &mut Vec<Output<W>>) {
        let Some(request) = self.requests.remove(&rid) else { return };
        let queued = request.queued.unwrap_or(now.saturating_sub(request.held_at));
        out.push(Output::End(request.waiter, Ended { outcome, queued }));
    }

    fn drain(&mut self, now: Now, out: &mut Vec<Output<W>>) {
        self.members.drain(now);
        let unclaimed = |(rid, request): (&Rid, &Request<W>)| match request.phase {
            Phase::Granted(_) => None,
            _ => Some(*rid),
        };
        for rid in sorted(self.requests.iter().filter_map(unclaimed)) {
            let phase = self.requests.get(&rid).map(|request| request.phase);
            if let Some(Phase::Held { batcher, .. }) = phase {
                self.withdrawals.entry(batcher).or_default().push(rid.to_bytes());
            }
            self.end(now, rid, Outcome::Fault(stopping()), out);
        }
    }

    fn give_up(&mut self, now: Now, out: &mut Vec<Output<W>>) {
        self.given_up = true;
        for rid in sorted(self.requests.keys().copied()) {
            self.end(now, rid, Outcome::Fault(stopped()), out);
        }
        self.batches.clear();
    }

    fn changed(&mut self, now: Now, change: Change, out: &mut Vec<Output<W>>) {
        match change {
            Change::Joined(_, Role::Batcher) => self.flush_soon(now),
            Change::Left(pid, Role::Batcher) => self.batcher_left(now, pid),
            Change::Left(pid, Role::Submitter) => self.submitter_left(now, pid, out),
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
            Timer::LookOver => {
                self.look_over(now);
                self.take_back_idle(now);
                self.timers.set(now + LOOK_OVER, Timer::LookOver);
            }
        }
    }

    fn send_gathered(&mut self, out: &mut Vec<Output<W>>) {
        for ((submitter, bid), seqs) in std::mem::take(&mut self.acks) {
            let ingress = self.members.pid().to_bytes();
            out.push(Output::ResultAck(submitter, wire::ResultAck { bid: bid.to_bytes(), ingress, seqs }));
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
            Input::Gone(rid) => self.gone(rid),
            Input::Claim(claim, reply) => self.claim(now, &claim, reply, out),
            Input::Intent(intent, reply) => self.intent(now, &intent, reply, out),
            Input::Submitted(submitted, reply) => self.submitted(submitted, reply, out),
            Input::JobState(state) => self.job_state(state, out),
            Input::Pull(pull, reply) => self.pull(now, &pull, reply, out),
            Input::Result(part) => self.result(now, part, out),
            Input::Answer(token, answer) => self.announce_answered(now, token, answer, out),
            Input::Heartbeat(beat) => {
                if let Some(change) = self.members.hear(now, &beat) {
                    self.changed(now, change, out);
                }
            }
            Input::Bus(up) => self.members.bus(now, up),
            Input::Drain => self.drain(now, out),
            Input::GiveUp => self.give_up(now, out),
        }
    }

    fn tick(&mut self, now: Now, out: &mut Vec<Output<W>>) {
        for change in self.members.expire(now) {
            self.changed(now, change, out);
        }
        while let Some(timer) = self.timers.pop(now) {
            self.fire(now, timer, out);
        }
        self.send_gathered(out);
        out.extend(self.members.beat(now, self.requests.len()).map(Output::Beat));
    }

    fn wake_at(&self) -> Option<Now> {
        let beat = self.members.next_beat();
        Some(self.timers.next().map_or(beat, |timer| timer.min(beat)))
    }

    fn is_finished(&self) -> bool {
        self.given_up || self.members.is_draining() && self.requests.is_empty()
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
fn stopped() -> Fault {
    let message = "llm-proxy was shut down while the request's batch was at the provider. The provider may finish and bill it.";
    Fault::new(FaultClass::Unavailable, "shut_down", message).no_retry()
}
