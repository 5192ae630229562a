//! What the cases share.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::bus::{Bus, Message, NatsBus, NatsOptions, Status, Subscription};
use tokio::time::timeout;

use crate::nats_server::NatsServer;

/// Far longer than anything takes that happens at all.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// A server, and two connections to it that are up.
pub(crate) async fn nats() -> (NatsServer, Arc<NatsBus>, Arc<NatsBus>) {
    let server = NatsServer::start().expect("nats-server starts");
    let (one, two) = (connect(&server).await, connect(&server).await);
    (server, one, two)
}

/// A connection that is up.
pub(crate) async fn connect(server: &NatsServer) -> Arc<NatsBus> {
    let bus = NatsBus::connect(NatsOptions::new(&server.url())).await.expect("good options");
    wait_for(&*bus, Status::Up).await;
    bus
}

pub(crate) async fn wait_for(bus: &dyn Bus, wanted: Status) {
    let mut status = bus.status();
    let reached = timeout(LONG, status.wait_for(|status| *status == wanted)).await;
    reached.expect("the status in time").expect("the bus lives");
}

/// The next message, which has to come.
pub(crate) async fn next(subscription: &mut Subscription) -> Message {
    timeout(LONG, subscription.next()).await.expect("a message in time").expect("the bus lives")
}

/// A number as a payload.
pub(crate) fn payload(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

/// The number in a payload.
pub(crate) fn number(message: &Message) -> u64 {
    u64::from_be_bytes(message.payload.as_ref().try_into().expect("eight bytes"))
}

/// Subscribes to `subject` on `receiver`, lets `sender` publish to it, and waits until that has arrived. Whatever
/// `sender` published before to subscriptions of `receiver` has then been delivered or dropped, except that it may
/// still be on its way from the connection to its subscription.
pub(crate) async fn settle(sender: &dyn Bus, receiver: &dyn Bus) {
    let mut marker = receiver.subscribe("settle", 1).await.expect("subscribed");
    sender.publish("settle", None, Bytes::new()).await.expect("published");
    next(&mut marker).await;
}
