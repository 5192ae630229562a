//! A submitter: its state machine and what its shell does between that, the bus and the provider.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use common::drive::Core as _;
use common::ids::{Bid, Pid};
use common::key::BatchKey;
use common::members::{Identity, Members};
use common::outcome::{Fault, FaultClass, Outcome, Response, Route};
use common::seal::grant_aad;
use common::subjects::{Subjects, Token};
use common::timers::Now;
use common::wire::{self, Role, to_submitter};
use prost::Message as _;
use providers::Upstreams;
use submitter::core::{
    Claimant, Core, Did, Gone, Granted, Input, Lines, Op, Output, Timing, Trouble, TroubleKind,
};

use crate::bugs::Bug;
use crate::courier::Courier;
use crate::ingress::box_key;
use crate::node::{CALLS, Effect, Effects, Local, Mail, Node, answer, send, send_reply};
use crate::provider::{Answer, Ask, Given, ResultLine, Said, unknown};
use crate::upload::{Next, PATIENCE, Upload};

/// How soon a download that was cut is taken up where it ended.
const RESUME_AFTER: Duration = Duration::from_millis(250);
/// How soon an operation ends that needs nobody.
const AT_ONCE: Duration = Duration::from_micros(100);

/// The state machine and its surroundings.
pub(crate) struct Submitter {
    core: Core,
    pid: Pid,
    public_key: Bytes,
    subjects: Subjects,
    out: Vec<Output>,
    works: BTreeMap<Bid, Work>,
    uploads: BTreeMap<Token, Upload>,
    /// Calls under way, by their number.
    calls: BTreeMap<u64, (Bid, Purpose)>,
    next: u64,
    bug: Option<Bug>,
}

/// The shell's side of a batch.
struct Work {
    courier: Courier,
    flushing: bool,
}

enum Purpose {
    Upload,
    Create,
    Find,
    Poll,
    Cancel,
    Delete(String),
    /// Files to keep.
    List(Vec<String>),
    /// Files still to be deleted, and how many were.
    Sweep(Vec<String>, usize),
    Download(Download),
}

struct Download {
    files: Vec<String>,
    job: String,
    from: usize,
    lines: Lines,
}

impl Submitter {
    pub(crate) fn new(pid: Pid, bug: Option<Bug>) -> Self {
        let public_key = Bytes::copy_from_slice(&[&pid.0[..], b"public"].concat());
        let auth = Bytes::from_static(b"member");
        let identity =
            Identity { pid, role: Role::Submitter, public_key: public_key.clone(), auth: auth.clone() };
        let settle = if bug == Some(Bug::NoSettling) { Duration::ZERO } else { Duration::from_secs(30) };
        let timing = Timing {
            // Longer than the services' own 20 s, so that everybody who comes back in a seed comes in time.
            linger: Duration::from_secs(900),
            poll_min: Some(Duration::from_secs(2)),
            poll_max: Duration::from_secs(10),
            settle,
            cancel_after: Some(Duration::from_secs(15)),
            recreate: false,
        };
        let core = Core::new(
            Members::new(identity),
            Claimant { public_key: public_key.clone(), auth },
            timing,
            Upstreams::default(),
        );
        Self {
            core,
            pid,
            public_key,
            subjects: Subjects::new("llmp"),
            out: Vec::new(),
            works: BTreeMap::new(),
            uploads: BTreeMap::new(),
            calls: BTreeMap::new(),
            next: CALLS,
            bug,
        }
    }

    fn give(&mut self, now: Now, input: Input, effects: &mut Effects) {
        self.core.handle(now, input, &mut self.out);
        self.tick(now, effects);
    }

    fn read(&mut self, mail: &Mail) -> Option<Input> {
        if mail.subject.contains(".re.") {
            return answer(mail).map(|(token, body)| Input::Answer(token, body));
        }
        if mail.subject.contains(".hb.") {
            return wire::Heartbeat::decode(mail.payload.clone()).ok().map(Input::Heartbeat);
        }
        match wire::ToSubmitter::decode(mail.payload.clone()).ok()?.body? {
            to_submitter::Body::Offer(offer) => {
                Some(Input::Offer(offer, mail.reply.as_deref().map(str::to_owned)?))
            }
            to_submitter::Body::Abandoned(abandoned) => Some(Input::Abandoned(abandoned)),
            to_submitter::Body::Sync(sync) => {
                Some(Input::Sync(sync, mail.reply.as_deref().map(str::to_owned)?))
            }
            to_submitter::Body::Whois(whois) => {
                Some(Input::Whois(whois, mail.reply.as_deref().map(str::to_owned)?))
            }
            to_submitter::Body::Recover(recover) => {
                Some(Input::Recover(*recover, mail.reply.as_deref().map(str::to_owned)?))
            }
            to_submitter::Body::ResultAck(ack) => {
                let (bid, ingress) = (Bid::from_slice(&ack.bid).ok()?, Pid::from_slice(&ack.ingress).ok()?);
                self.works.get_mut(&bid)?.courier.acknowledged(ingress, &ack.seqs);
                None
            }
        }
    }

    fn perform(&mut self, output: Output, effects: &mut Effects) {
        match output {
            Output::Beat(beat) => {
                send(effects, self.subjects.heartbeat(Role::Submitter, self.pid), None, &beat);
            }
            Output::ToIngress(pid, token, body) => {
                let reply = token.map(|token| self.subjects.reply(Role::Submitter, self.pid, token));
                let message = wire::ToIngress { body: Some(body) };
                send(effects, self.subjects.inbox(Role::Ingress, pid), reply, &message);
            }
            Output::Reply(reply, body) => send_reply(effects, reply, body),
            Output::Do(bid, Op::Open(boxes)) => {
                let opened = self.open(bid, boxes);
                did(effects, AT_ONCE, bid, Did::Opened(opened));
            }
            Output::Do(bid, op) => {
                if self.works.contains_key(&bid) {
                    self.start(bid, op, effects);
                }
            }
            Output::Forget(bid) => _ = self.works.remove(&bid),
            Output::IngressLost(pid) => {
                effects.push(Effect::GaveUp(pid));
                for work in self.works.values_mut() {
                    work.courier.lost(pid);
                }
            }
        }
    }

    fn open(&mut self, bid: Bid, boxes: Vec<(BatchKey, Granted, wire::Grant)>) -> Vec<Granted> {
        let mut lanes = Vec::new();
        for (key, granted, grant) in boxes {
            let aad = grant_aad(bid, granted.epoch, key.fingerprint(), self.pid);
            let opened = crate::seal::open(box_key(&self.public_key), &aad, &grant.sealed_credential);
            let secret = opened.and_then(|plain| wire::GrantSecret::decode(plain).ok());
            let key = secret.and_then(|secret| Some(u64::from_be_bytes(secret.key[..].try_into().ok()?)));
            lanes.extend(key.map(|key| (granted, key)));
        }
        let granted = lanes.iter().map(|(granted, _)| granted.clone()).collect();
        let courier = Courier::new(bid, self.pid, lanes, self.bug);
        self.works.insert(bid, Work { courier, flushing: false });
        granted
    }

    fn start(&mut self, bid: Bid, op: Op, effects: &mut Effects) {
        let Some(work) = self.works.get_mut(&bid) else { return };
        match op {
            // The simulated provider takes files alone.
            Op::Open(_) | Op::CreateInline { .. } => {}
            Op::Upload { name, from, except } => {
                let upload = Upload::new(bid, name, from, except, work.courier.keys());
                self.pull(upload, effects);
            }
            Op::Create { file } => self.ask(bid, Purpose::Create, Ask::Create { file, bid }, effects),
            Op::Find { batch, age, .. } => {
                self.ask(bid, Purpose::Find, Ask::ListJobs { bid: batch, age }, effects);
            }
            Op::Poll { job } => self.ask(bid, Purpose::Poll, Ask::Retrieve { job }, effects),
            Op::Cancel { job } => self.ask(bid, Purpose::Cancel, Ask::Cancel { job }, effects),
            Op::Download { files, job } => {
                self.download(bid, Download { files, job, from: 0, lines: Lines::default() }, effects);
            }
            Op::Tell(rids, outcome) => {
                if is_vanished(&outcome) {
                    effects.push(Effect::Vanished(rids.clone()));
                }
                rids.into_iter().for_each(|rid| work.courier.tell(rid, outcome.clone(), effects));
            }
            Op::Flush => work.flushing = true,
            Op::Delete { file } if self.bug == Some(Bug::FilesKept) => {
                did(effects, AT_ONCE, bid, Did::Deleted(file, Ok(Gone::Deleted)));
            }
            Op::Delete { file } => {
                self.ask(bid, Purpose::Delete(file.clone()), Ask::Delete { file }, effects);
            }
            Op::Sweep { name, keep, age } => {
                self.ask(bid, Purpose::List(keep), Ask::ListFiles { name, age }, effects);
            }
        }
    }

    fn ask(&mut self, bid: Bid, purpose: Purpose, ask: Ask, effects: &mut Effects) {
        self.next += 1;
        self.calls.insert(self.next, (bid, purpose));
        effects.push(Effect::Ask(self.next, ask));
    }

    fn pull(&mut self, mut upload: Upload, effects: &mut Effects) {
        let bid = upload.bid;
        match upload.next() {
            Next::Pull(ingress, pull) => {
                self.next += 1;
                let reply = Some(self.subjects.reply(Role::Submitter, self.pid, self.next));
                send(effects, self.subjects.body(ingress), reply, &pull);
                effects.push(Effect::After(PATIENCE, Local::PullOver(self.next)));
                self.uploads.insert(self.next, upload);
            }
            Next::Send => {
                let Upload { name, lines, .. } = upload;
                self.ask(bid, Purpose::Upload, Ask::Upload { name, lines }, effects);
            }
            Next::Lost(ingress) => lost(effects, bid, ingress),
        }
    }

    /// A chunk, if this mail is one.
    fn pulled(&mut self, mail: &Mail, effects: &mut Effects) -> bool {
        let Some(token) = Subjects::token(&mail.subject).filter(|token| *token >= CALLS) else {
            return false;
        };
        if let Some(mut upload) = self.uploads.remove(&token) {
            match upload.take(mail) {
                Some(ingress) => lost(effects, upload.bid, ingress),
                None => self.pull(upload, effects),
            }
        }
        true
    }

    fn download(&mut self, bid: Bid, download: Download, effects: &mut Effects) {
        match download.files.first().cloned() {
            Some(file) => {
                let from = download.from;
                self.ask(bid, Purpose::Download(download), Ask::Content { file, from }, effects);
            }
            None => did(effects, AT_ONCE, bid, Did::Downloaded(Ok(download.lines))),
        }
    }

    fn answered(&mut self, call: u64, answer: Answer, effects: &mut Effects) -> Option<(Bid, Did)> {
        let (bid, purpose) = self.calls.remove(&call)?;
        let did = match (purpose, answer) {
            (Purpose::Upload, Ok(Given::File(file))) => Did::Uploaded(Ok(file)),
            (Purpose::Upload, answer) => Did::Uploaded(Err(trouble(answer))),
            (Purpose::Create, Ok(Given::Job(job))) => Did::Created(Ok(job)),
            (Purpose::Create, answer) => Did::Created(Err(self.not_created(trouble(answer)))),
            (Purpose::Find, Ok(Given::Jobs(jobs, complete))) => Did::Found(Ok((jobs, complete))),
            (Purpose::Find, answer) => Did::Found(Err(trouble(answer))),
            (Purpose::Poll, Ok(Given::Job(job))) => Did::Polled(Ok(job)),
            (Purpose::Poll, answer) => Did::Polled(Err(trouble(answer))),
            (Purpose::Cancel, answer) => Did::Cancelled(answer.map(drop)),
            (Purpose::Delete(file), Ok(Given::Gone(gone))) => Did::Deleted(file, Ok(self.believed(gone))),
            (Purpose::Delete(file), answer) => Did::Deleted(file, Err(trouble(answer))),
            (Purpose::List(keep), Ok(Given::Files(files))) => {
                let rest = files.into_iter().filter(|file| !keep.contains(file)).collect();
                return self.sweep(bid, rest, 0, effects);
            }
            (Purpose::Sweep(rest, deleted), Ok(_)) => return self.sweep(bid, rest, deleted + 1, effects),
            (Purpose::List(_) | Purpose::Sweep(..), answer) => Did::Swept(Err(trouble(answer))),
            (Purpose::Download(download), Ok(Given::Lines(lines, broken))) => {
                return self.downloaded(bid, download, lines, broken, effects);
            }
            (Purpose::Download(_), answer) => Did::Downloaded(Err(trouble(answer))),
        };
        Some((bid, did))
    }

    fn believed(&self, gone: Gone) -> Gone {
        if self.bug == Some(Bug::AbsentIsAFence) { Gone::Deleted } else { gone }
    }

    fn not_created(&self, trouble: Trouble) -> Trouble {
        match self.bug {
            Some(Bug::CreateAgain) => Trouble { kind: TroubleKind::NotDone, ..trouble },
            _ => trouble,
        }
    }

    fn sweep(
        &mut self,
        bid: Bid,
        mut rest: Vec<String>,
        deleted: usize,
        effects: &mut Effects,
    ) -> Option<(Bid, Did)> {
        let Some(file) = rest.pop() else { return Some((bid, Did::Swept(Ok(deleted)))) };
        self.ask(bid, Purpose::Sweep(rest, deleted), Ask::Delete { file }, effects);
        None
    }

    fn downloaded(
        &mut self,
        bid: Bid,
        mut download: Download,
        lines: Vec<ResultLine>,
        broken: bool,
        effects: &mut Effects,
    ) -> Option<(Bid, Did)> {
        let came = lines.len();
        for line in lines {
            self.take_line(bid, line, &mut download, effects);
        }
        if broken && came == 0 {
            return Some((bid, Did::Downloaded(Err(unknown(None)))));
        }
        if broken {
            download.from += came;
            self.next += 1;
            self.calls.insert(self.next, (bid, Purpose::Download(download)));
            effects.push(Effect::After(RESUME_AFTER, Local::Resume(self.next)));
            return None;
        }
        download.files.remove(0);
        download.from = 0;
        self.download(bid, download, effects);
        None
    }

    fn take_line(&mut self, bid: Bid, line: ResultLine, download: &mut Download, effects: &mut Effects) {
        if !download.lines.seen.insert(line.rid) {
            return;
        }
        match &line.said {
            Said::Response(200..300, _) => download.lines.succeeded += 1,
            Said::Error("batch_cancelled") => {}
            Said::Response(..) | Said::Error(_) => download.lines.failed += 1,
        }
        // Of a batch that was taken over, others may serve the rest.
        if let Some(work) = self.works.get_mut(&bid).filter(|work| work.courier.knows(line.rid)) {
            download.lines.answered.insert(line.rid);
            work.courier.tell(line.rid, outcome(line.said, &download.job), effects);
        }
    }

    fn resume(&mut self, call: u64, effects: &mut Effects) {
        if let Some((bid, Purpose::Download(download))) = self.calls.remove(&call) {
            self.download(bid, download, effects);
        }
    }

    /// Reports what is flushed by now.
    fn flush(&mut self, effects: &mut Effects) {
        for (bid, work) in &mut self.works {
            if work.flushing && work.courier.is_flushed() {
                work.flushing = false;
                did(effects, AT_ONCE, *bid, Did::Flushed);
            }
        }
    }
}

fn did(effects: &mut Effects, after: Duration, bid: Bid, did: Did) {
    effects.push(Effect::After(after, Local::Did(bid, Box::new(did))));
}

fn lost(effects: &mut Effects, bid: Bid, ingress: Pid) {
    let trouble = Trouble { kind: TroubleKind::IngressLost(ingress), ..unknown(None) };
    did(effects, AT_ONCE, bid, Did::Uploaded(Err(trouble)));
}

/// An answer of the wrong kind does not occur.
fn trouble(answer: Answer) -> Trouble {
    answer.err().unwrap_or_else(|| unknown(None))
}

/// As `submitter/src/shell/download.rs` reads a line.
fn outcome(said: Said, job: &str) -> Outcome {
    match said {
        Said::Response(status, body) => Outcome::Response(Response {
            status: http::StatusCode::from_u16(status).unwrap_or_default(),
            headers: http::HeaderMap::new(),
            job: job.to_owned(),
            body,
            unbatchable: false,
            route: Route::Batch,
        }),
        Said::Error(code @ "batch_cancelled") => {
            let fault = Fault::new(FaultClass::Unavailable, code, "The line was not executed.");
            Outcome::Fault(fault.retry_after(Duration::from_secs(1)))
        }
        Said::Error(code) => {
            Outcome::Fault(Fault::new(FaultClass::Expired, code, "Out of time.").no_retry().again())
        }
    }
}

/// Whether nobody knows what became of a line that is told so.
fn is_vanished(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Fault(fault) if fault.code == "no_result_line")
}

impl Node for Submitter {
    fn subscriptions(&self) -> Vec<String> {
        let (subjects, pid) = (&self.subjects, self.pid);
        vec![
            subjects.replies(Role::Submitter, pid),
            subjects.inbox(Role::Submitter, pid),
            subjects.heartbeats(Role::Ingress),
            subjects.heartbeats(Role::Submitter),
        ]
    }

    fn mail(&mut self, now: Now, mail: &Mail, effects: &mut Effects) {
        if mail.subject.contains(".re.") && self.pulled(mail, effects) {
            return;
        }
        match self.read(mail) {
            Some(input) => self.give(now, input, effects),
            None => self.flush(effects),
        }
    }

    fn local(&mut self, now: Now, local: Local, effects: &mut Effects) {
        let input = match local {
            Local::Did(bid, did) => Input::Did(bid, *did),
            Local::Bus(up) => Input::Bus(up),
            Local::Drain => Input::Drain,
            Local::GiveUp => Input::GiveUp,
            Local::Answered(call, answer) => match self.answered(call, *answer, effects) {
                Some((bid, did)) => Input::Did(bid, did),
                None => return,
            },
            Local::PullOver(token) => {
                if let Some(upload) = self.uploads.remove(&token) {
                    self.pull(upload, effects);
                }
                return;
            }
            Local::Resume(call) => return self.resume(call, effects),
            Local::SendAgain(bid, ingress, seq) => {
                if let Some(work) = self.works.get_mut(&bid) {
                    work.courier.send_again(ingress, seq, effects);
                }
                return;
            }
            // Only ingresses have such.
            Local::Hold(..) | Local::Gone(_) | Local::Received(_) | Local::Alone(..) => return,
        };
        self.give(now, input, effects);
    }

    fn tick(&mut self, now: Now, effects: &mut Effects) {
        self.core.tick(now, &mut self.out);
        for output in std::mem::take(&mut self.out) {
            self.perform(output, effects);
        }
        self.flush(effects);
    }

    fn wake_at(&self) -> Option<Now> {
        self.core.wake_at()
    }

    fn is_finished(&self) -> bool {
        self.core.is_finished()
    }

    fn farewell(&mut self, effects: &mut Effects) {
        self.perform(Output::Beat(self.core.farewell()), effects);
    }

    fn knows(&self) -> Vec<(Bid, Option<Pid>)> {
        let known = self.core.origins().into_iter();
        known.map(|(bid, own)| (bid, own.then_some(self.pid))).collect()
    }

    fn sizes(&self) -> Vec<(&'static str, usize)> {
        let mut sizes = self.core.sizes();
        sizes.extend([
            ("opened batches", self.works.len()),
            ("uploads", self.uploads.len()),
            ("calls", self.calls.len()),
        ]);
        sizes
    }
}
