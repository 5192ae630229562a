//! The batcher on the bus: what arrives is fed to the core, and what the core wants is sent.

use std::sync::Arc;
use std::time::Duration;

use common::bus::{Bus, Message};
use common::drive::{Clock, drive};
use common::ids::{Bid, Pid};
use common::link::Link;
use common::members::{Identity, Members};
use common::wire::{self, AnnounceAck, Role, reply, to_batcher};
use common::world::World;
use prost::Message as _;
use providers::Upstreams;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::Args;
use crate::core::{Core, Input, Output};

/// Inputs that wait for the core. When full, messages wait on their subscription, which has a bound of its own.
const INPUTS: usize = 1024;
/// How long the farewell may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// Runs a batcher until `shutdown`, and then until every batch is accepted by a submitter, for at most the drain
/// timeout. Waits for the bus for as long as that takes, at the start and later.
///
/// # Errors
/// None so far; what goes wrong on the bus is tried again.
pub async fn run(
    args: Args,
    upstreams: Upstreams,
    world: World,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let identity = Identity {
        pid: Pid::random(),
        role: Role::Batcher,
        public_key: Default::default(),
        auth: Default::default(),
    };
    let (inputs, queue) = mpsc::channel(INPUTS);
    let Some(link) = shutdown.run_until_cancelled(join(&world, identity.pid, &inputs)).await else {
        return Ok(());
    };
    info!(pid = %identity.pid, "batcher on the bus");
    let core = Core::new(args, upstreams, identity.clone(), world.bus.max_payload(), Box::new(Bid::random));
    let work = drive(core, Clock::start(), queue, |output| perform(&link, output));
    tokio::pin!(work);
    tokio::select! {
        _ = &mut work => {}
        () = shutdown.cancelled() => {
            let drained = tokio::time::timeout(world.drain_timeout, async {
                let (_, _) = tokio::join!(inputs.send(Input::Drain), &mut work);
            });
            if drained.await.is_err() {
                warn!("some batches found no submitter in time; their requests are announced elsewhere");
            }
        }
    }
    farewell(&link, &world, identity).await;
    Ok(())
}

/// Subscribes to everything that a batcher listens to.
async fn join(world: &World, pid: Pid, inputs: &mpsc::Sender<Input>) -> Link {
    let (bus, subjects) = (world.bus.clone(), world.subjects.clone());
    let link = Link::join(bus, subjects, (Role::Batcher, pid), inputs.clone(), Input::Answer).await;
    let roles = [Role::Submitter, Role::Batcher, Role::Ingress];
    link.feed_heartbeats(&roles, inputs, Input::Heartbeat).await;
    link.feed(&link.subjects().inbox(Role::Batcher, pid), inputs.clone(), read).await;
    // Last, because the first word that the bus is up brings the first heartbeat: by then all ears are open.
    let bus: Arc<dyn Bus> = world.bus.clone();
    link.watch_status(inputs.clone(), move |up| Input::Bus { up, max_payload: bus.max_payload() });
    link
}

fn read(message: Message) -> Option<Input> {
    let reply = message.reply;
    match wire::ToBatcher::decode(message.payload).ok()?.body? {
        to_batcher::Body::Announce(announce) => Some(Input::Announce { announce, reply }),
        to_batcher::Body::Withdraw(withdraw) => Some(Input::Withdraw(withdraw)),
    }
}

fn perform(link: &Link, output: Output) {
    match output {
        Output::Ack { reply, busy } => link.reply(reply, reply::Body::AnnounceAck(AnnounceAck { busy })),
        Output::Offer { to, token, offer } => link.send_to(Role::Submitter, to, Some(token), &offer),
        Output::Beat(beat) => link.beat(&beat),
    }
}

/// Says that this batcher is gone. It does not pass through the outgoing queue, which may outlive this process.
async fn farewell(link: &Link, world: &World, identity: Identity) {
    let subject = link.subjects().heartbeat(identity.role, identity.pid);
    let beat = Members::new(identity).farewell().encode_to_vec();
    // Lost or late, it is not needed: silence says the same after a while.
    let _ = tokio::time::timeout(FAREWELL, world.bus.publish(&subject, None, beat.into())).await;
}

#[cfg(test)]
mod tests;
