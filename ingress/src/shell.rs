//! Runs the state machine on the bus: parses and opens what arrives, seals and publishes what it wants sent.

use std::sync::Arc;

use bytes::Bytes;
use common::bus::Message;
use common::drive::{Clock, drive};
use common::ids::{Bid, Pid, Rid};
use common::link::Link;
use common::members::{Identity, Members};
use common::outcome::{Fault, FaultClass, Outcome};
use common::seal::{GrantKey, Keyring, chunk_aad, fetched_aad, grant_aad, result_aad, seal_box, wipe};
use common::wire::{self, Role, reply, to_ingress};
use common::world::World;
use prost::Message as _;
use smallvec::SmallVec;
use tokio::sync::mpsc;
use tracing::{debug, warn};

use crate::accounts::{Account, Cashier};
use crate::core::{Core, FetchedPart, GrantDraft, Input, JobEvent, Keeping, OutcomePart, Output, ResultPart};
use crate::gate::Gate;
use crate::hold::{Ended, Holder, Waiter};
use crate::http::Soloist;
use crate::plan::Policy;

/// Inputs that wait for the state machine. Whoever feeds it waits when it is full.
const INPUTS: usize = 8_192;
/// Chunks that wait to be sealed; more are dropped and pulled again.
const CHUNKS: usize = 1_024;

/// A running state machine.
pub(crate) struct Running {
    /// The way in for calls.
    pub(crate) holder: Holder,
    /// Its queue.
    pub(crate) inputs: mpsc::Sender<Input<Waiter>>,
    /// Ends when the machine has finished.
    pub(crate) machine: tokio::task::JoinHandle<()>,
}

/// Starts the state machine without waiting for the bus. `on_job` is told of jobs.
pub(crate) fn start(
    world: &World,
    rules: (Keeping, Policy),
    held: Arc<Gate>,
    (soloist, cashier): (Arc<Soloist>, Arc<Cashier>),
    on_job: impl Fn(JobEvent) + Send + 'static,
) -> Running {
    let (inputs, queue) = mpsc::channel(INPUTS);
    let holder = Holder::new(inputs.clone(), held);
    let queues = (inputs.clone(), queue);
    let machine = tokio::spawn(run(world.clone(), rules, holder.clone(), queues, (soloist, cashier), on_job));
    Running { holder, inputs, machine }
}

async fn run(
    world: World,
    (keeping, policy): (Keeping, Policy),
    holder: Holder,
    (inputs, queue): (mpsc::Sender<Input<Waiter>>, mpsc::Receiver<Input<Waiter>>),
    (soloist, cashier): (Arc<Soloist>, Arc<Cashier>),
    on_job: impl Fn(JobEvent) + Send + 'static,
) {
    let pid = Pid::random();
    let keyring = world.keyring.clone();
    let answer = move |(token, body)| match body {
        Some(reply::Body::Fetched(fetched)) => match handed_over(&keyring, fetched) {
            Some(part) => Input::Fetched(part),
            // As if it had not come: it is asked for again.
            None => Input::Answer(token, None),
        },
        body => Input::Answer(token, body),
    };
    let link =
        Link::join(world.bus.clone(), world.subjects.clone(), (Role::Ingress, pid), inputs.clone(), answer)
            .await;
    subscribe(&link, &world.keyring, &inputs).await;
    let ready = holder.clone();
    link.watch_status(inputs.clone(), move |up| {
        ready.set_ready(up);
        Input::Bus(up)
    });
    let auth = world.keyring.membership(Role::Ingress, pid, &[]);
    let members = Members::new(Identity { pid, role: Role::Ingress, public_key: Bytes::new(), auth });
    let members = if world.keyring.is_of_one_process() { members.of_one_process() } else { members };
    let core = Core::new(members, world.subjects.results_prefix(pid), keeping, policy);
    let (ends, desk) = settle(cashier, on_job);
    let performer = Performer {
        link: link.clone(),
        keyring: world.keyring.clone(),
        chunks: seal_chunks(&link, &world.keyring),
        soloist,
        inputs,
        ends,
    };
    let core = drive(core, Clock::start(), queue, move |output| performer.perform(output)).await;
    link.beat(&core.farewell());
    // With the performer its queue has ended.
    let _ = desk.await;
}

/// What happens at the end of requests, in its order.
enum End {
    Request(SmallVec<[Waiter; 1]>, Ended, Option<Account>),
    Job(JobEvent),
}

/// Reads what answers used, and tells the callers: on a task of its own, so that large answers do not hold up decisions. What waits
/// there is bounded by what is held.
fn settle(
    cashier: Arc<Cashier>,
    on_job: impl Fn(JobEvent) + Send + 'static,
) -> (mpsc::UnboundedSender<End>, tokio::task::JoinHandle<()>) {
    let (sender, mut queue) = mpsc::unbounded_channel();
    let desk = tokio::spawn(async move {
        while let Some(end) = queue.recv().await {
            match end {
                End::Job(event) => on_job(event),
                End::Request(waiters, ended, account) => {
                    let receipt = account.and_then(|account| cashier.settle(&account, &ended));
                    for waiter in waiters {
                        waiter.end(Ended { receipt, ..ended.clone() });
                    }
                }
            }
        }
    });
    (sender, desk)
}

async fn subscribe(link: &Link, keyring: &Arc<Keyring>, inputs: &mpsc::Sender<Input<Waiter>>) {
    let (subjects, pid) = (link.subjects(), link.pid());
    let members = keyring.clone();
    let parse = move |message: Message| addressed(&members, message);
    link.feed(&subjects.inbox(Role::Ingress, pid), inputs.clone(), parse).await;
    let parse = |message: Message| {
        let pull = wire::Pull::decode(message.payload).ok()?;
        Some(Input::Pull(pull, message.reply?))
    };
    link.feed(&subjects.body(pid), inputs.clone(), parse).await;
    let mut opener = Opener::new(keyring.clone());
    link.feed(&subjects.results(pid), inputs.clone(), move |message| {
        opener.open(&message.payload).map(Input::Result)
    })
    .await;
    let roles = [Role::Ingress, Role::Batcher, Role::Submitter];
    link.feed_heartbeats(&roles, inputs, Input::Heartbeat).await;
}

/// What submitters and other ingresses send. A claim is taken only with the proof that its sender belongs to the deployment.
pub fn addressed<W>(keyring: &Keyring, message: Message) -> Option<Input<W>> {
    let body = wire::ToIngress::decode(message.payload).ok()?.body?;
    let reply = message.reply;
    Some(match body {
        to_ingress::Body::Claim(claim) => {
            let submitter = Pid::from_slice(&claim.submitter).ok()?;
            if !keyring.is_member(Role::Submitter, submitter, &claim.public_key, &claim.auth) {
                warn!(%submitter, "a claim without a valid proof of membership: do all share one cluster secret?");
                return None;
            }
            Input::Claim(claim, reply?)
        }
        to_ingress::Body::Intent(intent) => Input::Intent(intent, reply?),
        to_ingress::Body::Submitted(submitted) => Input::Submitted(submitted, reply?),
        to_ingress::Body::JobState(state) => Input::JobState(state),
        to_ingress::Body::Released(released) => Input::Released(released, reply?),
        to_ingress::Body::Delivered(delivered) => Input::Delivered(delivered, reply?),
        to_ingress::Body::Whois(whois) => Input::Whois(whois, reply?),
        to_ingress::Body::Attach(attach) => Input::Attach(attach, reply?),
        to_ingress::Body::Ended(ended) => Input::Ended(ended),
        to_ingress::Body::Fetch(fetch) => Input::Fetch(fetch, reply?),
    })
}

/// Opens a part of an outcome that another ingress hands over.
pub fn handed_over(keyring: &Keyring, fetched: wire::Fetched) -> Option<FetchedPart> {
    let wire::Fetched { part, last, unknown, head, .. } = fetched;
    let caller = Rid::from_slice(&fetched.caller).ok()?;
    let encoded = head.as_ref().map(prost::Message::encode_to_vec).unwrap_or_default();
    let aad = fetched_aad(caller, part, last, &encoded);
    let body = match unknown {
        true => Bytes::new(),
        false => keyring.outcome_key(caller).open(&aad, &fetched.sealed_body).ok()?,
    };
    Some(FetchedPart { caller, part, last, unknown, head, body })
}

/// Opens results. Those of one batch come together, so the last key is kept.
pub struct Opener {
    keyring: Arc<Keyring>,
    last: Option<(Bid, u32, GrantKey)>,
}

impl Opener {
    /// For the results of grants of this process.
    pub fn new(keyring: Arc<Keyring>) -> Self {
        Self { keyring, last: None }
    }

    /// Opens a result; `None` for what is none, or does not open.
    pub fn open(&mut self, payload: &[u8]) -> Option<ResultPart> {
        let result = wire::Result::decode(payload).ok()?;
        let (rid, bid) = (Rid::from_slice(&result.rid).ok()?, Bid::from_slice(&result.bid).ok()?);
        let head = result.head.as_ref().map(prost::Message::encode_to_vec).unwrap_or_default();
        let aad = result_aad(rid, bid, result.epoch, result.part, result.last, &head);
        let Ok(body) = self.key(bid, result.epoch).open(&aad, &result.sealed_body) else {
            warn!(%rid, "a result that does not open under its grant's key");
            return None;
        };
        let submitter = Pid::from_slice(&result.submitter).ok()?;
        let wire::Result { seq, part, last, head, .. } = result;
        Some(ResultPart { rid, bid, submitter, seq, part, last, head, body })
    }

    fn key(&mut self, bid: Bid, epoch: u32) -> &GrantKey {
        let keyring = &self.keyring;
        // Forgets the key of another grant.
        drop(self.last.take_if(|(b, e, _)| (*b, *e) != (bid, epoch)));
        &self.last.get_or_insert_with(|| (bid, epoch, keyring.grant_key(bid, epoch))).2
    }
}

struct ToSeal {
    reply: String,
    bid: Bid,
    epoch: u32,
    seq: u64,
    last: bool,
    slices: Option<Vec<Bytes>>,
}

/// Seals chunks on a task of its own, so that large bodies do not hold up decisions.
fn seal_chunks(link: &Link, keyring: &Arc<Keyring>) -> mpsc::Sender<ToSeal> {
    let (sender, mut queue) = mpsc::channel::<ToSeal>(CHUNKS);
    let (link, keyring) = (link.clone(), keyring.clone());
    tokio::spawn(async move {
        while let Some(ToSeal { reply, bid, epoch, seq, last, slices }) = queue.recv().await {
            let parts: Option<Vec<&[u8]>> =
                slices.as_ref().map(|slices| slices.iter().map(|s| &s[..]).collect());
            let aad = chunk_aad(bid, epoch, seq, last);
            let sealed = parts.and_then(|parts| keyring.grant_key(bid, epoch).seal(&aad, &parts).ok());
            let unknown = sealed.is_none();
            let chunk = wire::Chunk { seq, last, sealed: sealed.unwrap_or_default(), unknown };
            link.send(reply, None, chunk.encode_to_vec().into());
        }
    });
    sender
}

struct Performer {
    link: Link,
    keyring: Arc<Keyring>,
    chunks: mpsc::Sender<ToSeal>,
    soloist: Arc<Soloist>,
    inputs: mpsc::Sender<Input<Waiter>>,
    ends: mpsc::UnboundedSender<End>,
}

impl Performer {
    fn perform(&self, output: Output<Waiter>) {
        match output {
            Output::Beat(beat) => self.link.beat(&beat),
            Output::ToBatcher(pid, token, body) => {
                self.link.send_to(Role::Batcher, pid, token, &wire::ToBatcher { body: Some(body) });
            }
            Output::Grant(reply, draft) => match self.grant(draft) {
                Some(grant) => self.link.reply(reply, reply::Body::Grant(grant)),
                None => warn!("a grant could not be sealed to its submitter"),
            },
            Output::Reply(reply, body) => self.link.reply(reply, body),
            Output::Chunk { reply, bid, epoch, seq, last, slices } => {
                if self.chunks.try_send(ToSeal { reply, bid, epoch, seq, last, slices }).is_err() {
                    debug!("a chunk is dropped and will be pulled again");
                }
            }
            Output::ToSubmitter(pid, token, body) => {
                self.link.send_to(Role::Submitter, pid, token, &wire::ToSubmitter { body: Some(body) });
            }
            Output::ToIngress(pid, token, body) => {
                self.link.send_to(Role::Ingress, pid, token, &wire::ToIngress { body: Some(body) });
            }
            Output::Fetched(reply, part) => match self.hand_over(part) {
                Some(fetched) => self.link.reply(reply, reply::Body::Fetched(fetched)),
                None => warn!("an outcome could not be sealed for another ingress"),
            },
            Output::End { waiters, ended, account } => {
                // The desk ends after this.
                let _ = self.ends.send(End::Request(waiters, ended, account));
            }
            Output::Alone(solo) => {
                let (soloist, inputs) = (self.soloist.clone(), self.inputs.clone());
                // As many as there are requests held; few of them call at a time.
                tokio::spawn(async move {
                    let rid = solo.rid;
                    let made = tokio::spawn(async move { soloist.make(solo).await }).await;
                    let outcome = made.unwrap_or_else(|_| Outcome::Fault(broken_here()));
                    // A machine that has finished needs none.
                    let _ = inputs.send(Input::Alone(rid, outcome)).await;
                });
            }
            Output::Job(event) => drop(self.ends.send(End::Job(event))),
        }
    }

    fn hand_over(&self, piece: OutcomePart) -> Option<wire::Fetched> {
        let OutcomePart { caller, part, last, head, body } = piece;
        let encoded = head.as_ref().map(prost::Message::encode_to_vec).unwrap_or_default();
        let aad = fetched_aad(caller, part, last, &encoded);
        let sealed_body = self.keyring.outcome_key(caller).seal(&aad, &[&body]).ok()?;
        Some(wire::Fetched { caller: caller.to_bytes(), part, last, unknown: false, head, sealed_body })
    }

    fn grant(&self, draft: GrantDraft) -> Option<wire::Grant> {
        let GrantDraft {
            bid,
            epoch,
            rids,
            body_bytes,
            lengths,
            fence_files,
            submitter,
            public_key,
            fingerprint,
            credential,
        } = draft;
        let key = self.keyring.grant_key(bid, epoch);
        let credential = common::outcome::headers_to_wire(&credential);
        let secret = wire::GrantSecret { credential, key: Bytes::copy_from_slice(key.bytes()) };
        let plain = zeroize::Zeroizing::new(secret.encode_to_vec());
        wipe(secret);
        let sealed_credential =
            seal_box(&public_key, &grant_aad(bid, epoch, fingerprint, submitter), &plain).ok()?;
        let granted = common::ids::pack_rids(&rids);
        Some(wire::Grant {
            bid: bid.to_bytes(),
            epoch,
            granted,
            fence_files,
            sealed_credential,
            body_bytes,
            lengths,
        })
    }
}

/// A mistake of ours in the middle of a call.
fn broken_here() -> Fault {
    Fault::new(FaultClass::Internal, "internal", "The call broke off. The provider may have executed it.")
        .no_retry()
}
