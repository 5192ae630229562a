//! The decisions of a submitter: each batch's way through a provider's Batch API.
//!
//! `Claiming -> Uploading -> Intending -> Creating [-> Finding [-> Fencing -> Settling]] -> Polling -> Delivering -> Flushing -> Done`.
//! What is between the brackets happens only when the answer to a creation was lost. A batch that is taken over from a dead
//! submitter goes `Claiming -> Finding` or, if its job is known, `Claiming -> Polling`; when there is no job it ends
//! with `Releasing`, and so does one that is not submitted yet when this submitter leaves and others are there.
//! A job that fails as a whole goes `Polling -> Refused`, and from there to a new upload or to its end.
//! Before each first upload, and after a refusal for too many enqueued tokens, a batch is `Queued` until there is room.
//! Where nothing is waited for any more, a batch that was another's is `Done` at once, and only its chores are left.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use common::drive::Core as Machine;
use common::ids::{Bid, Pid, Rid};
use common::members::{Change, Members};
use common::outcome::{Fault, FaultClass, Outcome};
use common::subjects::Token;
use common::timers::{Now, Timers, backoff};
use common::wire::{self, Role, reply};
use providers::Upstreams;

mod batch;
mod cancel;
mod chores;
mod claim;
mod deliver;
mod governor;
mod inline;
mod linger;
mod messages;
mod ops;
mod queue;
mod recover;
mod submit;
#[cfg(test)]
mod tests;
mod watch;
mod whois;

use batch::{Batch, State};
use governor::{Governor, Place};
pub use messages::{Claimant, Input, Output, Timing};
pub use ops::{Did, Gone, Granted, JobPhase, JobView, Lines, Op, Trouble, TroubleKind};

/// Most batches in hand; more offers are answered with busy.
const MAX_BATCHES: usize = 2_000;
/// How long what an ingress may still ask for is kept: results of one that was given up, and files of a job of which only
/// a part is served here.
const ORPHANED: Duration = Duration::from_secs(900);
/// How soon an upload that waits for a sweep is tried.
const SWEPT_SOON: Duration = Duration::from_millis(100);
/// Waits between tries of a call that failed.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_MAX: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy)]
enum Purpose {
    Claim(Bid, Pid),
    Intent(Bid, Pid),
    /// Submitted is news: without an acknowledgement it is sent again a few times.
    Submitted(Bid, Pid, u32),
    /// Have callers received what was acknowledged?
    Delivered(Bid, Pid, u32),
    /// So is that there is no job, sent for the so many-th time.
    Released(Bid, Pid, u32),
    /// That this submitter leaves a batch to whomever the ingress asks.
    Heir(Bid, Pid),
    /// And that nothing is left of a batch of this epoch, which is forgotten already.
    Tidy(Bid, u32, Pid, u32),
}

#[derive(Debug)]
enum Timer {
    /// Go on in this state, if the batch is still in it.
    Step(Bid, u64),
    /// No answer to a token so far.
    Unanswered(Token),
    /// Housekeeping of a batch.
    Chores(Bid),
    /// Cancel what still runs.
    CancelAll,
    /// Cancel a batch's job, if still nobody waits for it.
    Cancel(Bid),
    /// There may be room for batches that wait: what has happened is looked at after every timer.
    Room,
}

/// The state machine.
pub struct Core {
    members: Members,
    claimant: Claimant,
    timing: Timing,
    upstreams: Upstreams,
    batches: BTreeMap<Bid, Batch>,
    governor: Governor,
    /// Batches that wait for room.
    waiting: BTreeMap<Place, queue::Line>,
    tokens: HashMap<Token, Purpose>,
    next_token: Token,
    timers: Timers<Timer>,
    given_up: bool,
}

impl Core {
    /// A submitter without batches.
    pub fn new(members: Members, claimant: Claimant, timing: Timing, upstreams: Upstreams) -> Self {
        Self {
            members,
            claimant,
            timing,
            upstreams,
            batches: BTreeMap::new(),
            governor: Governor::default(),
            waiting: BTreeMap::new(),
            tokens: HashMap::new(),
            next_token: 0,
            timers: Timers::default(),
            given_up: false,
        }
    }

    /// Everything that grows with what is held, by name: all zero when nothing is.
    pub fn sizes(&self) -> Vec<(&'static str, usize)> {
        vec![
            ("batches", self.batches.len()),
            ("exchanges", self.tokens.len()),
            ("queues", self.waiting.len()),
        ]
    }

    /// The batches of which anything may be at the provider and whose credential is here, by their ids there, and
    /// whether they are this submitter's own. After others, all is tidied up that has the id.
    pub fn origins(&self) -> Vec<(Bid, bool)> {
        let opened = |batch: &Batch| !matches!(batch.state, State::Claiming | State::Opening);
        let origin = |(bid, batch): (&Bid, &Batch)| {
            opened(batch).then(|| (batch.origin(*bid), batch.recovery.is_none()))
        };
        self.batches.iter().filter_map(origin).collect()
    }

    /// The heartbeat that says farewell.
    pub fn farewell(&self) -> wire::Heartbeat {
        self.members.farewell()
    }

    fn token(&mut self, now: Now, purpose: Purpose, patience: Duration) -> Token {
        self.next_token += 1;
        self.expect(now, self.next_token, purpose, patience);
        self.next_token
    }

    /// Waits for an answer under a token; again, where the question is repeated and an answer to the first one is as good.
    fn expect(&mut self, now: Now, token: Token, purpose: Purpose, patience: Duration) {
        self.tokens.insert(token, purpose);
        self.timers.set(now + patience, Timer::Unanswered(token));
    }

    /// Moves a batch to its next state, from which it goes on at once.
    fn enter(&mut self, now: Now, bid: Bid, state: State, out: &mut Vec<Output>) {
        let Some(batch) = self.batches.get_mut(&bid) else { return };
        if state == State::Uploading {
            // A new file has no lines of ingresses that are gone.
            batch.lost.clear();
        }
        (batch.state, batch.attempt, batch.since) = (state, 0, now);
        self.go_on(now, bid, out);
    }

    /// Does what the state asks for.
    fn go_on(&mut self, now: Now, bid: Bid, out: &mut Vec<Output>) {
        let draining = self.members.is_draining();
        let Some(batch) = self.batches.get_mut(&bid) else { return };
        if batch.state == State::Uploading && draining {
            return self.leave_unsent(now, bid, out);
        }
        if batch.state == State::Uploading && batch.is_given_up(now) {
            return self.give_back(now, bid, deliver::cancelled().again(), out);
        }
        if batch.state == State::Uploading && batch.admission.is_none() {
            return self.wait_for_room(now, bid, out);
        }
        if batch.state == State::Uploading && batch.goes_inline() {
            return self.register_inline(now, bid, out);
        }
        if matches!(batch.state, State::Creating { .. }) && batch.attempt > 0 && batch.is_given_up(now) {
            // Each try so far was refused: nothing was created.
            return self.end_uncreated(now, bid, out);
        }
        let except = self.jobs_of_others(bid);
        let Some(batch) = self.batches.get_mut(&bid) else { return };
        batch.step += 1;
        if let State::Fencing { asked_at, .. } = &mut batch.state {
            *asked_at = now;
        }
        let op = match &batch.state {
            State::Claiming
            | State::Queued
            | State::Intending { .. }
            | State::Releasing { .. }
            | State::Lingering(_)
            | State::Done => return,
            State::Opening => Op::Open(batch.boxes.clone()),
            // A sweep tells files to keep by their ids, and this upload has none yet: they take turns.
            State::Uploading if batch.is_sweeping() => {
                self.timers.set(now + SWEPT_SOON, Timer::Step(bid, batch.step));
                return;
            }
            State::Uploading => {
                (batch.uploading, batch.uploading_of) = (true, batch.grants.len());
                let (name, except) = (batch.file_name.clone(), batch.told.clone());
                Op::Upload { name, from: batch.grants.clone(), except }
            }
            State::Creating { file } if inline::is_inline(file) => Op::CreateInline {
                file: file.clone(),
                from: batch.grants.clone(),
                except: batch.told.clone(),
            },
            State::Creating { file } => Op::Create { file: file.clone() },
            State::Finding { files } | State::Settling { files, .. } => {
                let files = files.clone();
                Op::Find { batch: batch.origin(bid), files, age: batch.age(now), except }
            }
            State::Fencing { files, gone, .. } => match files.get(*gone) {
                Some(file) => Op::Delete { file: file.clone() },
                None => return,
            },
            State::Refused { file, .. } => Op::Delete { file: file.clone() },
            State::Polling => Op::Poll { job: batch.job_id() },
            State::Delivering => Op::Download {
                files: batch.result_files(),
                job: batch.job_id(),
                given_up: batch.overdue.is_some(),
            },
            State::Flushing => Op::Flush,
        };
        out.push(Output::Do(bid, op));
    }

    /// Goes on with the same state later.
    fn later(&mut self, now: Now, bid: Bid, wait: Duration) {
        let Some(batch) = self.batches.get_mut(&bid) else { return };
        batch.attempt += 1;
        self.timers.set(now + wait, Timer::Step(bid, batch.step));
    }

    /// Waits as long as the provider asks, else longer each time; gives the batch up when its lifetime is over.
    fn again(&mut self, now: Now, bid: Bid, trouble: &Trouble, out: &mut Vec<Output>) {
        let Some(batch) = self.batches.get(&bid) else { return };
        if now.saturating_sub(batch.offered_at) > batch.lifetime() {
            return self.fail(now, bid, too_late(), out);
        }
        let wait = backoff(AGAIN, AGAIN_MAX, batch.attempt, salt(bid));
        let wait = trouble.retry_after.map_or(wait, |asked| asked.max(wait)).min(Duration::from_secs(3600));
        tracing::info!(%bid, attempt = batch.attempt, ?wait, "the provider's answer: {}; trying again", trouble.message);
        self.later(now, bid, wait);
    }

    /// Ends every request of a batch that has no outcome yet.
    fn fail(&mut self, now: Now, bid: Bid, outcome: Outcome, out: &mut Vec<Output>) {
        self.tell_rest(bid, outcome, out);
        self.enter(now, bid, State::Flushing, out);
    }

    fn tell_rest(&mut self, bid: Bid, outcome: Outcome, out: &mut Vec<Output>) {
        let Some(batch) = self.batches.get_mut(&bid) else { return };
        let rest: Vec<Rid> = batch.untold().collect();
        batch.told.extend(&rest);
        if !rest.is_empty() {
            out.push(Output::Do(bid, Op::Tell(rest, outcome)));
        }
    }

    fn did(&mut self, now: Now, bid: Bid, did: Did, out: &mut Vec<Output>) {
        match did {
            Did::Opened(opened) => self.opened(now, bid, &opened, out),
            Did::Uploaded(result) => self.uploaded(now, bid, result, out),
            Did::Created(result) => self.created(now, bid, result, out),
            Did::Found(result) => self.found(now, bid, result, out),
            Did::Polled(result) => self.polled(now, bid, result, out),
            Did::Cancelled(result) => self.cancelled(now, bid, &result),
            Did::Downloaded(result) => self.downloaded(now, bid, result, out),
            Did::Flushed => self.flushed(now, bid, out),
            Did::Deleted(file, result) => self.deleted(now, bid, &file, result, out),
            Did::Swept(result) => self.swept(now, bid, &result, out),
        }
    }

    fn forget(&mut self, bid: Bid, out: &mut Vec<Output>) {
        if self.batches.remove(&bid).is_some() {
            out.push(Output::Forget(bid));
        }
    }

    /// An ingress that says farewell tells how many answers its callers have not received.
    fn changed(&mut self, now: Now, change: Change, farewell: Option<u32>, out: &mut Vec<Output>) {
        let Change::Left(pid, Role::Ingress) = change else { return };
        let nobody_returns = farewell.is_some_and(|unread| unread == 0 || self.members.is_draining());
        out.push(Output::IngressLost(pid));
        for bid in self.batches.keys().copied().collect::<Vec<_>>() {
            let before = self.batches.get(&bid).and_then(|batch| batch.lost_at);
            if nobody_returns {
                self.received(now, bid, pid, out);
            }
            self.ingress_left(now, bid, pid, out);
            if let Some(batch) = self.batches.get_mut(&bid).filter(|_| nobody_returns) {
                batch.lost_at = before;
            }
        }
    }

    fn answered(&mut self, now: Now, token: Token, answer: Option<reply::Body>, out: &mut Vec<Output>) {
        match (self.tokens.remove(&token), answer) {
            (Some(Purpose::Claim(bid, ingress)), Some(reply::Body::Grant(grant))) => {
                self.granted(now, bid, ingress, Some(grant), out);
            }
            (Some(Purpose::Claim(bid, ingress)), None) => self.granted(now, bid, ingress, None, out),
            (Some(Purpose::Intent(bid, ingress)), Some(reply::Body::IntentReply(reply))) => {
                self.registered(now, bid, ingress, reply.accepted, out);
            }
            (Some(Purpose::Intent(bid, ingress)), None) => self.ingress_left(now, bid, ingress, out),
            // Acknowledged, or there is nobody who needs to know.
            (Some(Purpose::Heir(bid, ingress)), None) => self.ingress_left(now, bid, ingress, out),
            (Some(Purpose::Heir(bid, _)), Some(_)) => self.inherited(now, bid, out),
            (Some(Purpose::Released(bid, ingress, _)), _) => self.release_heard(now, bid, ingress, out),
            (Some(Purpose::Delivered(bid, ingress, _)), None) => self.ingress_left(now, bid, ingress, out),
            (Some(Purpose::Delivered(bid, ingress, attempt)), Some(reply::Body::DeliveredReply(reply))) => {
                match reply.unread {
                    0 => self.received(now, bid, ingress, out),
                    // Asked again when its time is over, as if it had not answered.
                    _ => drop(self.tokens.insert(token, Purpose::Delivered(bid, ingress, attempt))),
                }
            }
            _ => {}
        }
    }

    fn unanswered(&mut self, now: Now, token: Token, out: &mut Vec<Output>) {
        match self.tokens.remove(&token) {
            Some(Purpose::Claim(bid, ingress)) => self.claim_again(now, bid, ingress, token, out),
            Some(Purpose::Intent(bid, ingress)) => self.intent_again(now, bid, ingress, out),
            Some(Purpose::Submitted(bid, ingress, attempt)) => {
                self.submitted_again(now, bid, ingress, attempt, out)
            }
            Some(Purpose::Released(bid, ingress, attempt)) => {
                self.release_again(now, bid, ingress, attempt, out);
            }
            Some(Purpose::Delivered(bid, ingress, attempt)) => {
                self.not_received(now, bid, ingress, attempt, out);
            }
            Some(Purpose::Heir(bid, ingress)) => self.ask_heir(now, bid, ingress, out),
            Some(Purpose::Tidy(bid, epoch, ingress, attempt)) => {
                self.tidy_again(now, (bid, epoch), ingress, attempt, out)
            }
            None => {}
        }
    }

    fn fire(&mut self, now: Now, timer: Timer, out: &mut Vec<Output>) {
        match timer {
            Timer::Step(bid, step) => {
                if self.batches.get(&bid).is_some_and(|batch| batch.step == step) {
                    self.go_on(now, bid, out);
                }
            }
            Timer::Unanswered(token) => self.unanswered(now, token, out),
            Timer::Chores(bid) => self.chores(now, bid, out),
            Timer::CancelAll => self.cancel_all(out),
            Timer::Cancel(bid) => self.end_if_given_up(now, bid, out),
            Timer::Room => {}
        }
    }
}

impl Machine for Core {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Offer(offer, reply) => self.offer(now, offer, reply, out),
            Input::Recover(recover, reply) => self.recover(now, recover, reply, out),
            Input::Sync(sync, reply) => self.sync(&sync, reply, out),
            Input::Whois(whois, reply) => self.whois(now, &whois, reply, out),
            Input::Answer(token, answer) => self.answered(now, token, answer, out),
            Input::Did(bid, did) => self.did(now, bid, did, out),
            Input::Heartbeat(beat) => {
                if let Some(change) = self.members.hear(now, &beat) {
                    self.changed(now, change, beat.leaving.then_some(beat.load), out);
                }
            }
            Input::Abandoned(word) => self.abandoned(now, &word, out),
            Input::Bus(up) => self.members.bus(now, up),
            Input::Drain => self.drain(now, out),
            Input::GiveUp => self.given_up = true,
        }
        self.let_all_in(now, out);
    }

    fn tick(&mut self, now: Now, out: &mut Vec<Output>) {
        for change in self.members.expire(now) {
            self.changed(now, change, None, out);
        }
        while let Some(timer) = self.timers.pop(now) {
            self.fire(now, timer, out);
        }
        self.let_all_in(now, out);
        out.extend(self.members.beat(now, self.batches.len()).map(Output::Beat));
    }

    fn wake_at(&self) -> Option<Now> {
        let beat = self.members.next_beat();
        Some(self.timers.next().map_or(beat, |timer| timer.min(beat)))
    }

    fn is_finished(&self) -> bool {
        let others = self.members.count(Role::Submitter) > 0;
        let left = |batch: &Batch| batch.is_left_untidy() || others && batch.may_be_left();
        self.given_up || self.members.is_draining() && self.batches.values().all(left)
    }
}

fn salt(bid: Bid) -> u64 {
    u64::from_be_bytes([bid.0[0], bid.0[1], bid.0[2], bid.0[3], bid.0[4], bid.0[5], bid.0[6], bid.0[7]])
}

fn too_late() -> Outcome {
    let message = "The provider did not finish the request's batch within its completion window.";
    Outcome::Fault(Fault::new(FaultClass::Expired, "batch_expired", message).no_retry())
}
