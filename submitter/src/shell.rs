//! Runs the state machine: the bus on one side, the provider's API on the other.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use common::bus::Message;
use common::drive::{Clock, drive};
use common::ids::{Bid, Pid};
use common::link::{Link, Parsed};
use common::members::{Identity, Members};
use common::seal::BoxKeys;
use common::wire::{self, Role, to_submitter};
use common::world::World;
use prost::Message as _;
use providers::Upstreams;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::api::{Client, Http};
use crate::args::{Args, OnAmbiguous, OnExit};
use crate::core::{Claimant, Core, Did, Input, Op, Output, Timing};
use work::Work;

mod calls;
mod candidates;
mod courier;
pub(crate) mod download;
pub(crate) mod pull;
mod work;

/// Inputs that wait for the state machine.
const INPUTS: usize = 8_192;
/// Transfers of files at a time: each takes a few megabytes of memory.
const TRANSFERS: usize = 8;
/// Small calls at a time.
const CALLS: usize = 64;

/// Runs until told to stop and everything in hand is over, or the time for that is.
///
/// # Errors
/// If the HTTP client or the keys cannot be made.
pub(crate) async fn run(
    args: Args,
    upstreams: Upstreams,
    world: World,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let clients = clients(&upstreams)?;
    let (inputs, queue) = mpsc::channel(INPUTS);
    let pid = Pid::random();
    let answer = |(token, body)| Input::Answer(token, body);
    let link =
        Link::join(world.bus.clone(), world.subjects.clone(), (Role::Submitter, pid), inputs.clone(), answer)
            .await;
    let keys = Arc::new(BoxKeys::generate()?);
    let batches = Batches::default();
    subscribe(&link, &batches, &inputs).await;
    link.watch_status(inputs.clone(), Input::Bus);
    let auth = world.keyring.membership(Role::Submitter, pid, keys.public());
    let public_key = keys.public().clone();
    let identity =
        Identity { pid, role: Role::Submitter, public_key: public_key.clone(), auth: auth.clone() };
    let cancel_after = (args.on_exit == OnExit::Cancel).then(|| world.drain_timeout / 2);
    let timing = Timing {
        linger: LINGER,
        poll_min: args.poll_min,
        poll_max: args.poll_max,
        settle: args.settle,
        cancel_after,
        recreate: args.on_ambiguous == OnAmbiguous::Recreate,
    };
    let core = Core::new(Members::new(identity), Claimant { public_key, auth }, timing, upstreams);
    stop_in_time(&world, inputs.clone(), shutdown);
    let performer = Performer {
        link: link.clone(),
        keys,
        clients,
        batches,
        inputs: inputs.downgrade(),
        transfers: Arc::new(Semaphore::new(TRANSFERS)),
        calls: Arc::new(Semaphore::new(CALLS)),
    };
    drop(inputs);
    let core = drive(core, Clock::start(), queue, move |output| performer.perform(output)).await;
    link.beat(&core.farewell());
    // The outgoing queue is emptied by its own task; the farewell is a courtesy that silence makes up for.
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    Ok(())
}

/// One client for each upstream; they share connections.
fn clients(upstreams: &Upstreams) -> anyhow::Result<BTreeMap<String, Client>> {
    let http = Http::new()?;
    upstreams.iter().map(|upstream| Ok((upstream.name.clone(), Client::new(&http, upstream)?))).collect()
}

fn stop_in_time(world: &World, inputs: mpsc::Sender<Input>, shutdown: CancellationToken) {
    let patience = world.drain_timeout;
    tokio::spawn(async move {
        shutdown.cancelled().await;
        // The machine may have ended by itself at either point.
        let _ = inputs.send(Input::Drain).await;
        tokio::time::sleep(patience).await;
        let _ = inputs.send(Input::GiveUp).await;
    });
}

/// An SDK whose connection broke comes back within this; a script that is run again finds its answers at its ingress.
const LINGER: std::time::Duration = std::time::Duration::from_secs(20);

async fn subscribe(link: &Link, batches: &Batches, inputs: &mpsc::Sender<Input>) {
    let batches = batches.clone();
    let parse = move |message: Message| addressed(&batches, message).unwrap_or(Parsed::Unknown);
    link.feed(&link.subjects().inbox(Role::Submitter, link.pid()), inputs.clone(), parse).await;
    link.feed_heartbeats(&[Role::Ingress, Role::Submitter], inputs, Input::Heartbeat).await;
}

/// What ingresses and batchers send. Acknowledgements are for the couriers and take no turn of the state machine.
pub(crate) fn addressed(batches: &Batches, message: Message) -> Option<Parsed<Input>> {
    let reply = message.reply;
    Some(Parsed::Input(match wire::ToSubmitter::decode(message.payload).ok()?.body? {
        to_submitter::Body::Offer(offer) => Input::Offer(offer, reply?),
        to_submitter::Body::Recover(recover) => Input::Recover(*recover, reply?),
        to_submitter::Body::Sync(sync) => Input::Sync(sync, reply?),
        to_submitter::Body::Whois(whois) => Input::Whois(whois, reply?),
        to_submitter::Body::Abandoned(abandoned) => Input::Abandoned(abandoned),
        to_submitter::Body::ResultAck(ack) => {
            batches.acknowledge(&ack);
            return Some(Parsed::Taken);
        }
    }))
}

/// What the shell keeps for each batch: opened boxes and results on their way.
#[derive(Clone, Default)]
pub(crate) struct Batches(Arc<Mutex<HashMap<Bid, Arc<Work>>>>);

impl Batches {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Bid, Arc<Work>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, bid: Bid) -> Option<Arc<Work>> {
        self.lock().get(&bid).cloned()
    }

    fn acknowledge(&self, ack: &wire::ResultAck) {
        let (Ok(bid), Ok(ingress)) = (Bid::from_slice(&ack.bid), Pid::from_slice(&ack.ingress)) else {
            return;
        };
        if let Some(work) = self.get(bid) {
            work.courier.acknowledged(ingress, &ack.seqs);
        }
    }
}

struct Performer {
    link: Link,
    keys: Arc<BoxKeys>,
    clients: BTreeMap<String, Client>,
    batches: Batches,
    /// Weak, so that the machine's queue closes when everybody else has gone.
    inputs: mpsc::WeakSender<Input>,
    transfers: Arc<Semaphore>,
    calls: Arc<Semaphore>,
}

impl Performer {
    fn perform(&self, output: Output) {
        match output {
            Output::Beat(beat) => self.link.beat(&beat),
            Output::ToIngress(pid, token, body) => {
                self.link.send_to(Role::Ingress, pid, token, &wire::ToIngress { body: Some(body) });
            }
            Output::Reply(reply, body) => self.link.reply(reply, body),
            Output::Do(bid, Op::Open(boxes)) => {
                let work = Work::open(bid, boxes, &self.keys, &self.clients, &self.link);
                let granted = work.as_ref().map(|work| work.granted.clone()).unwrap_or_default();
                self.batches.lock().extend(work.map(|work| (bid, Arc::new(work))));
                self.report(bid, async move { Did::Opened(granted) });
            }
            Output::Do(bid, op) => {
                if let Some(work) = self.batches.get(bid) {
                    self.start(bid, work, op);
                }
            }
            Output::Forget(bid) => {
                self.batches.lock().remove(&bid);
            }
            Output::IngressLost(pid) => {
                for work in self.batches.lock().values() {
                    work.courier.lost(pid);
                }
            }
        }
    }

    fn start(&self, bid: Bid, work: Arc<Work>, op: Op) {
        let calls = self.calls.clone();
        match op {
            Op::Open(_) => {}
            Op::Upload { name, from, except } => {
                let (link, transfers) = (self.link.clone(), self.transfers.clone());
                self.report(bid, async move {
                    let _turn = transfers.acquire().await;
                    Did::Uploaded(pull::upload(&link, &work, &name, from, except).await)
                });
            }
            Op::CreateInline { from, except, .. } => {
                let (link, transfers) = (self.link.clone(), self.transfers.clone());
                self.report(bid, async move {
                    let _turn = transfers.acquire().await;
                    Did::Created(pull::create(&link, bid, &work, from, except).await)
                });
            }
            Op::Download { files, job, given_up } => {
                let transfers = self.transfers.clone();
                self.report(bid, async move {
                    let _turn = transfers.acquire().await;
                    let of = download::Of { job: &job, given_up };
                    Did::Downloaded(download::deliver(&work, &files, of).await)
                });
            }
            Op::Tell(rids, outcome) => {
                tokio::spawn(work.courier.tell_all(rids, outcome));
            }
            Op::Flush => self.report(bid, async move {
                work.courier.flushed().await;
                Did::Flushed
            }),
            op => self.report(bid, async move {
                let _turn = calls.acquire().await;
                calls::call(bid, &work, op).await
            }),
        }
    }

    fn report(&self, bid: Bid, operation: impl Future<Output = Did> + Send + 'static) {
        let inputs = self.inputs.clone();
        tokio::spawn(async move {
            let did = operation.await;
            if let Some(inputs) = inputs.upgrade() {
                // A machine that has ended needs no news.
                let _ = inputs.send(Input::Did(bid, did)).await;
            }
        });
    }
}
