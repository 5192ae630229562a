//! The decisions of a submitter: each batch's way through a provider's Batch API.
//!
//! `Claiming -> Uploading -> Intending -> Creating [-> Finding [-> Fencing -> Settling]] -> Polling -> Delivering -> Flushing -> Done`.
//! What is between the brackets happens only when the answer to a creation was lost. A batch that is taken over from a dead
//! submitter goes `Claiming -> Finding` or, if its job is known, `Claiming -> Polling`; when there is no job it ends
//! with `Releasing`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use common::drive::Core as Machine;
use common::ids::{Bid, Pid, Rid};
use common::key::BatchKey;
use common::members::{Change, Members};
use common::outcome::{Fault, FaultClass, Outcome};
use common::subjects::Token;
use common::timers::{Now, Timers, backoff};
use common::wire::{self, Role, reply};

mod cancel;
mod chores;
mod claim;
mod deliver;
mod recover;
mod submit;
#[cfg(test)]
mod tests;
mod watch;

use cancel::Cancellation;
use chores::Chore;
use recover::Recovery;
use submit::Registration;

/// Most batches in hand; more offers are answered with busy.
const MAX_BATCHES: usize = 2_000;
/// A batch that is not over by then is given up: the longest completion window and a margin.
const LIFETIME: Duration = Duration::from_secs(26 * 3600);
/// How long what an ingress may still ask for is kept: results of one that was given up, and files of a job of which only
/// a part is served here.
const ORPHANED: Duration = Duration::from_secs(900);
/// How soon an upload that waits for a sweep is tried.
const SWEPT_SOON: Duration = Duration::from_millis(100);
/// Waits between tries of a call that failed.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_MAX: Duration = Duration::from_secs(60);

/// Times that tests and operators may want otherwise.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// First wait before a job is asked about.
    pub poll_min: Duration,
    /// Longest wait.
    pub poll_max: Duration,
    /// How long a provider may take to show a creation in its list after the input file was deleted.
    pub settle: Duration,
    /// When jobs are cancelled after the order to stop; `None` leaves them running.
    pub cancel_after: Option<Duration>,
}

/// What can happen to a submitter.
#[derive(Debug)]
pub enum Input {
    /// A batcher offers a batch.
    Offer(wire::Offer, String),
    /// An ingress asks whether its batches are still held for it.
    Sync(wire::Sync, String),
    /// An ingress asks to take over its part of a batch whose submitter is gone.
    Recover(wire::Recover, String),
    /// The answer to a token, or nobody was there.
    Answer(Token, Option<reply::Body>),
    /// An operation is over.
    Did(Bid, Did),
    /// Another process is there.
    Heartbeat(wire::Heartbeat),
    /// Nobody waits any more, at one ingress, for anything in a batch.
    Abandoned(wire::Abandoned),
    /// The bus came or went.
    Bus(bool),
    /// Take no more batches; give back what is not submitted, finish the rest.
    Drain,
    /// Stop at once.
    GiveUp,
}

/// What a submitter wants done.
#[derive(Debug)]
pub enum Output {
    /// Publish a heartbeat.
    Beat(wire::Heartbeat),
    /// Send to an ingress; with a token an answer is expected.
    ToIngress(Pid, Option<Token>, wire::to_ingress::Body),
    /// Answer an exchange.
    Reply(String, reply::Body),
    /// Start an operation for a batch; it ends with a [`Did`] unless it says otherwise.
    Do(Bid, Op),
    /// Forget everything about a batch.
    Forget(Bid),
    /// Nothing can be delivered to this ingress any more.
    IngressLost(Pid),
}

/// Operations on the outside world.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// Open the boxes of these grants. The first operation of a batch.
    Open(Vec<(BatchKey, Granted, wire::Grant)>),
    /// Pull the bodies, leaving out some, and upload them as a file of this name.
    Upload {
        /// Its name.
        name: String,
        /// From whom, in the order of the file.
        from: Vec<Granted>,
        /// Lines to leave out.
        except: BTreeSet<Rid>,
    },
    /// Create a job from a file. Sent once.
    Create {
        /// The input file.
        file: String,
    },
    /// Look for jobs that carry a batch's id.
    Find {
        /// The id.
        batch: Bid,
        /// None is older than this.
        age: Duration,
    },
    /// Ask about a job.
    Poll {
        /// The provider's id.
        job: String,
    },
    /// Cancel a job.
    Cancel {
        /// The provider's id.
        job: String,
    },
    /// Download the result files and deliver every line.
    Download {
        /// Both files, where there are any.
        files: Vec<String>,
        /// The job.
        job: String,
    },
    /// Deliver an outcome to some; no [`Did`].
    Tell(Vec<Rid>, Outcome),
    /// Wait until everything that was delivered is acknowledged.
    Flush,
    /// Delete a file.
    Delete {
        /// The provider's id.
        file: String,
    },
    /// Delete files of this name but those.
    Sweep {
        /// The name.
        name: String,
        /// Files to keep.
        keep: Vec<String>,
        /// None is older than this.
        age: Duration,
    },
}

/// Ends of operations.
#[derive(Debug)]
pub enum Did {
    /// The grants whose boxes could be opened.
    Opened(Vec<Granted>),
    /// The id of the uploaded file.
    Uploaded(Result<String, Trouble>),
    /// The job.
    Created(Result<JobView, Trouble>),
    /// The jobs found, and whether the list was complete.
    Found(Result<(Vec<JobView>, bool), Trouble>),
    /// The job.
    Polled(Result<JobView, Trouble>),
    /// Cancelling was asked for.
    Cancelled(Result<(), Trouble>),
    /// What was in the result files.
    Downloaded(Result<Lines, Trouble>),
    /// Everything is acknowledged.
    Flushed,
    /// The file is gone.
    Deleted(String, Result<(), Trouble>),
    /// How many files were deleted.
    Swept(Result<usize, Trouble>),
}

/// The lines of a job's result files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lines {
    /// Whose lines there were.
    pub seen: BTreeSet<Rid>,
    /// Those of them that are served here.
    pub answered: BTreeSet<Rid>,
    /// How many lines were executed with success.
    pub succeeded: u64,
    /// How many failed. The rest was not executed, since the job was cancelled.
    pub failed: u64,
}

/// Why a call came to nothing.
#[derive(Debug, Clone)]
pub struct Trouble {
    /// How much is known.
    pub kind: TroubleKind,
    /// How long the provider asks to wait.
    pub retry_after: Option<Duration>,
    /// Whether trying again may help.
    pub retryable: bool,
    /// The provider does not see an uploaded file yet.
    pub file_not_visible: bool,
    /// For logs, without keys.
    pub message: String,
    /// The provider's answer, for the caller.
    pub answer: Option<Outcome>,
    /// The HTTP status of that answer.
    pub status: Option<u16>,
}

/// How much is known about a call that came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TroubleKind {
    /// It did not happen.
    NotDone,
    /// Perhaps it happened.
    Ambiguous,
    /// The bodies of this ingress cannot be had any more.
    IngressLost(Pid),
}

/// A job as the provider describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobView {
    /// The provider's id.
    pub id: String,
    /// How far it is.
    pub phase: JobPhase,
    /// The provider's word for it.
    pub status: String,
    /// Input, output and error file.
    pub input_file: Option<String>,
    /// Answers.
    pub output_file: Option<String>,
    /// Failed lines.
    pub error_file: Option<String>,
    /// Lines, done, failed; `None` if the provider does not count.
    pub counts: Option<(u64, u64, u64)>,
    /// Why it failed as a whole: code, line counted from 1, message.
    pub errors: Vec<(String, Option<u64>, String)>,
}

/// The states of a job that make a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobPhase {
    /// Not over.
    Running,
    /// Over, every line was tried.
    Completed,
    /// Over, refused as a whole.
    Failed,
    /// Over, out of time.
    Expired,
    /// Over, cancelled.
    Cancelled,
}

/// The requests of a batch that one ingress has granted, in the order of its record stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Granted {
    /// The ingress.
    pub ingress: Pid,
    /// Epoch of its grant.
    pub epoch: u32,
    /// What may be submitted.
    pub rids: Vec<Rid>,
    /// Length of its record stream in bytes.
    pub body_bytes: u64,
    /// Prefix of its reply subjects.
    pub reply_prefix: String,
}

struct Batch {
    key: BatchKey,
    /// Ingresses that were asked for a grant, with what was offered.
    parts: Vec<wire::OfferPart>,
    grants: Vec<Granted>,
    boxes: Vec<(BatchKey, Granted, wire::Grant)>,
    /// Requests that have their answer or fault already.
    told: BTreeSet<Rid>,
    state: State,
    /// Counts state changes, so that timers of an earlier state find nothing to do.
    step: u64,
    attempt: u32,
    since: Now,
    offered_at: Now,
    /// Where the batch was another submitter's.
    recovery: Option<Recovery>,
    /// Another submitter goes on with its job.
    handed_over: bool,
    /// Files that were deleted as fences: a job made from one of them fails, and says nothing about its lines.
    fenced: Vec<String>,
    /// When an ingress was given up whose requests may be in the job.
    lost_at: Option<Now>,
    /// Tells whose file it is; every upload of the batch has this name.
    file_name: String,
    /// Every input file made for this batch.
    files: Vec<String>,
    job: Option<JobView>,
    /// Whether an upload is on its way.
    uploading: bool,
    /// Of so many grants.
    uploading_of: usize,
    downloads: u32,
    rounds: u32,
    chores: Vec<Chore>,
    /// When each ingress said last that nobody waits there; at most one entry for each grant.
    abandoned: BTreeMap<Pid, Now>,
    cancellation: Cancellation,
}

#[derive(Debug, Clone, PartialEq)]
enum State {
    Claiming,
    Opening,
    Uploading,
    Intending {
        file: String,
        waiting: BTreeMap<Pid, Registration>,
    },
    Creating {
        file: String,
    },
    /// Looking for a job made from one of these files.
    Finding {
        files: Vec<String>,
    },
    /// Deleting them, the first so many of which are gone.
    Fencing {
        files: Vec<String>,
        gone: usize,
    },
    /// Waiting for the provider's list, so many of which were complete and without the job.
    Settling {
        files: Vec<String>,
        lists: u32,
    },
    /// Telling the ingress that there is no job.
    Releasing,
    Polling,
    Delivering,
    Flushing,
    Done,
}

#[derive(Debug, Clone, Copy)]
enum Purpose {
    Claim(Bid, Pid),
    Intent(Bid, Pid),
    /// Submitted is news: without an acknowledgement it is sent again a few times.
    Submitted(Bid, Pid, u32),
    /// So is that there is no job.
    Released(Bid, u32),
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
}

/// The state machine.
pub struct Core {
    members: Members,
    claimant: Claimant,
    timing: Timing,
    batches: BTreeMap<Bid, Batch>,
    tokens: HashMap<Token, Purpose>,
    next_token: Token,
    timers: Timers<Timer>,
    given_up: bool,
}

/// What a submitter shows with its claims.
#[derive(Debug, Clone)]
pub struct Claimant {
    /// X25519 public key.
    pub public_key: bytes::Bytes,
    /// Proof of membership.
    pub auth: bytes::Bytes,
}

impl Core {
    /// A submitter without batches.
    pub fn new(members: Members, claimant: Claimant, timing: Timing) -> Self {
        Self {
            members,
            claimant,
            timing,
            batches: BTreeMap::new(),
            tokens: HashMap::new(),
            next_token: 0,
            timers: Timers::default(),
            given_up: false,
        }
    }

    /// Everything that grows with what is held, by name: all zero when nothing is.
    pub fn sizes(&self) -> Vec<(&'static str, usize)> {
        vec![("batches", self.batches.len()), ("exchanges", self.tokens.len())]
    }

    /// The heartbeat that says farewell.
    pub fn farewell(&self) -> wire::Heartbeat {
        self.members.farewell()
    }

    fn token(&mut self, now: Now, purpose: Purpose, patience: Duration) -> Token {
        self.next_token += 1;
        self.tokens.insert(self.next_token, purpose);
        self.timers.set(now + patience, Timer::Unanswered(self.next_token));
        self.next_token
    }

    /// Moves a batch to its next state, from which it goes on at once.
    fn enter(&mut self, now: Now, bid: Bid, state: State, out: &mut Vec<Output>) {
        let Some(batch) = self.batches.get_mut(&bid) else { return };
        (batch.state, batch.attempt, batch.since) = (state, 0, now);
        self.go_on(now, bid, out);
    }

    /// Does what the state asks for.
    fn go_on(&mut self, now: Now, bid: Bid, out: &mut Vec<Output>) {
        let draining = self.members.is_draining();
        let Some(batch) = self.batches.get_mut(&bid) else { return };
        if batch.state == State::Uploading && (draining || batch.is_abandoned(now)) {
            let why = if draining { cancel::shutting_down() } else { deliver::cancelled() };
            return self.give_back(now, bid, why, out);
        }
        batch.step += 1;
        let op = match &batch.state {
            State::Claiming | State::Intending { .. } | State::Releasing | State::Done => return,
            State::Opening => Op::Open(std::mem::take(&mut batch.boxes)),
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
            State::Creating { file } => Op::Create { file: file.clone() },
            State::Finding { .. } | State::Settling { .. } => {
                let batch_id = batch.recovery.as_ref().map_or(bid, |recovery| recovery.origin);
                Op::Find { batch: batch_id, age: batch.age(now) }
            }
            State::Fencing { files, gone } => match files.get(*gone) {
                Some(file) => Op::Delete { file: file.clone() },
                None => return,
            },
            State::Polling => Op::Poll { job: batch.job_id() },
            State::Delivering => Op::Download { files: batch.result_files(), job: batch.job_id() },
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
        if now.saturating_sub(batch.offered_at) > LIFETIME {
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
            Did::Deleted(file, result) => self.deleted(now, bid, &file, &result, out),
            Did::Swept(result) => self.swept(now, bid, &result, out),
        }
    }

    fn forget(&mut self, bid: Bid, out: &mut Vec<Output>) {
        if self.batches.remove(&bid).is_some() {
            out.push(Output::Forget(bid));
        }
    }

    /// `farewell` says that it has nobody left who waits.
    fn changed(&mut self, now: Now, change: Change, farewell: bool, out: &mut Vec<Output>) {
        let Change::Left(pid, Role::Ingress) = change else { return };
        out.push(Output::IngressLost(pid));
        for bid in self.batches.keys().copied().collect::<Vec<_>>() {
            let before = self.batches.get(&bid).and_then(|batch| batch.lost_at);
            self.ingress_left(now, bid, pid, out);
            if let Some(batch) = self.batches.get_mut(&bid).filter(|_| farewell) {
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
            (Some(Purpose::Released(bid, _)), _) => self.release_heard(now, bid, out),
            _ => {}
        }
    }

    fn unanswered(&mut self, now: Now, token: Token, out: &mut Vec<Output>) {
        match self.tokens.remove(&token) {
            Some(Purpose::Claim(bid, ingress)) => self.claim_again(now, bid, ingress, out),
            Some(Purpose::Intent(bid, ingress)) => self.intent_again(now, bid, ingress, out),
            Some(Purpose::Submitted(bid, ingress, attempt)) => {
                self.submitted_again(now, bid, ingress, attempt, out)
            }
            Some(Purpose::Released(bid, attempt)) => self.release_again(now, bid, attempt, out),
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
            Timer::Cancel(bid) => self.end_if_abandoned(now, bid, out),
        }
    }
}

impl Batch {
    /// A batch that claims its parts next.
    fn new(now: Now, key: BatchKey, parts: Vec<wire::OfferPart>) -> Self {
        Self {
            key,
            parts,
            grants: Vec::new(),
            boxes: Vec::new(),
            told: BTreeSet::new(),
            state: State::Claiming,
            step: 0,
            attempt: 0,
            since: now,
            offered_at: now,
            recovery: None,
            handed_over: false,
            fenced: Vec::new(),
            lost_at: None,
            file_name: String::new(),
            files: Vec::new(),
            job: None,
            uploading: false,
            uploading_of: 0,
            downloads: 0,
            rounds: 0,
            chores: Vec::new(),
            abandoned: BTreeMap::new(),
            cancellation: Cancellation::default(),
        }
    }

    /// How long ago it may have begun at the provider.
    fn age(&self, now: Now) -> Duration {
        let before = self.recovery.as_ref().map_or(Duration::ZERO, |recovery| recovery.age);
        now.saturating_sub(self.offered_at) + before
    }

    fn untold(&self) -> impl Iterator<Item = Rid> + '_ {
        self.grants.iter().flat_map(|grant| grant.rids.iter().copied()).filter(|rid| !self.told.contains(rid))
    }

    fn job_id(&self) -> String {
        self.job.as_ref().map(|job| job.id.clone()).unwrap_or_default()
    }

    fn result_files(&self) -> Vec<String> {
        let files = self.job.iter().flat_map(|job| [job.output_file.clone(), job.error_file.clone()]);
        files.flatten().collect()
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
            Input::Answer(token, answer) => self.answered(now, token, answer, out),
            Input::Did(bid, did) => self.did(now, bid, did, out),
            Input::Heartbeat(beat) => {
                if let Some(change) = self.members.hear(now, &beat) {
                    self.changed(now, change, beat.leaving, out);
                }
            }
            Input::Abandoned(word) => self.abandoned(now, &word, out),
            Input::Bus(up) => self.members.bus(now, up),
            Input::Drain => self.drain(now, out),
            Input::GiveUp => self.given_up = true,
        }
    }

    fn tick(&mut self, now: Now, out: &mut Vec<Output>) {
        for change in self.members.expire(now) {
            self.changed(now, change, false, out);
        }
        while let Some(timer) = self.timers.pop(now) {
            self.fire(now, timer, out);
        }
        out.extend(self.members.beat(now, self.batches.len()).map(Output::Beat));
    }

    fn wake_at(&self) -> Option<Now> {
        let beat = self.members.next_beat();
        Some(self.timers.next().map_or(beat, |timer| timer.min(beat)))
    }

    fn is_finished(&self) -> bool {
        self.given_up || self.members.is_draining() && self.batches.is_empty()
    }
}

fn salt(bid: Bid) -> u64 {
    u64::from_be_bytes([bid.0[0], bid.0[1], bid.0[2], bid.0[3], bid.0[4], bid.0[5], bid.0[6], bid.0[7]])
}

fn too_late() -> Outcome {
    let message = "The provider did not finish the request's batch within its completion window.";
    Outcome::Fault(Fault::new(FaultClass::Expired, "batch_expired", message).no_retry())
}
