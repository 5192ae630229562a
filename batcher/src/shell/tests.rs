//! A whole batcher on the in-process bus, at paused time.

use common::bus::{MemoryBus, Subscription};
use common::ids::{Fingerprint, ID_LEN, Rid};
use common::seal::Keyring;
use common::subjects::Subjects;
use common::wire::{Heartbeat, OfferReply, to_submitter};
use tokio::task::JoinHandle;

use super::*;

const INGRESS: Pid = Pid([1; ID_LEN]);
const SUBMITTER: Pid = Pid([2; ID_LEN]);

/// A running batcher, and the ears of its peers.
struct Stage {
    world: World,
    shutdown: CancellationToken,
    running: JoinHandle<anyhow::Result<()>>,
    beats: Subscription,
    batcher: Pid,
    acks: Subscription,
}

impl Stage {
    async fn new() -> Self {
        let (subjects, keyring) = (Subjects::new("test"), Arc::new(Keyring::for_one_process()));
        let world =
            World { bus: MemoryBus::new(), subjects, keyring, drain_timeout: Duration::from_secs(30) };
        let mut beats = subscribe(&world, &world.subjects.heartbeats(Role::Batcher)).await;
        let acks = subscribe(&world, &world.subjects.replies(Role::Ingress, INGRESS)).await;
        let shutdown = CancellationToken::new();
        let args = Args {
            window: Duration::from_secs(4),
            idle: Duration::from_secs(1),
            max_requests: 1000,
            max_bytes: 25_000_000,
        };
        let running = tokio::spawn(run(args, Upstreams::default(), world.clone(), shutdown.clone()));
        let hello: Heartbeat = next(&mut beats).await;
        assert!(hello.hello && hello.role() == Role::Batcher);
        let batcher = Pid::from_slice(&hello.pid).unwrap();
        Self { world, shutdown, running, beats, batcher, acks }
    }

    async fn send(&self, subject: &str, reply: Option<&str>, message: impl prost::Message) {
        self.world.bus.publish(subject, reply, message.encode_to_vec().into()).await.unwrap();
    }

    async fn submitter_lives(&self) {
        let beat =
            Heartbeat { pid: SUBMITTER.to_bytes(), role: Role::Submitter.into(), ..Default::default() };
        self.send(&self.world.subjects.heartbeat(Role::Submitter, SUBMITTER), None, beat).await;
    }

    /// Announces requests and returns whether the batcher was busy.
    async fn announce(&mut self, rids: &[Rid]) -> bool {
        let item =
            |rid: &Rid| wire::AnnounceItem { rid: rid.to_bytes(), bytes: 100, inputs: 1, deadline_ms: 0 };
        let fingerprint = Fingerprint([7; ID_LEN]).0.to_vec().into();
        let key = wire::BatchKey { upstream: "openai".into(), fingerprint, ..Default::default() };
        let group = wire::AnnounceGroup { key: Some(key), items: rids.iter().map(item).collect() };
        let announce = wire::Announce {
            ingress: INGRESS.to_bytes(),
            reply: "test.v1.ing.x.r".into(),
            groups: vec![group],
        };
        let message = wire::ToBatcher { body: Some(to_batcher::Body::Announce(announce)) };
        let reply = self.world.subjects.reply(Role::Ingress, INGRESS, 1);
        self.send(&self.world.subjects.inbox(Role::Batcher, self.batcher), Some(&reply), message).await;
        match next::<wire::Reply>(&mut self.acks).await.body {
            Some(reply::Body::AnnounceAck(ack)) => ack.busy,
            other => panic!("{other:?}"),
        }
    }
}

async fn subscribe(world: &World, subject: &str) -> Subscription {
    world.bus.subscribe(subject, 100).await.unwrap()
}

async fn message(from: &mut Subscription) -> Message {
    tokio::time::timeout(Duration::from_secs(60), from.next())
        .await
        .expect("within a minute")
        .expect("bus open")
}

async fn next<M: prost::Message + Default>(from: &mut Subscription) -> M {
    M::decode(message(from).await.payload).unwrap()
}

/// Takes an offer and accepts it.
async fn accept(stage: &Stage, inbox: &mut Subscription) -> wire::Offer {
    let offered = message(inbox).await;
    let reply = wire::Reply { body: Some(reply::Body::OfferReply(OfferReply { accepted: true })) };
    stage.send(&offered.reply.expect("an offer is answered"), None, reply).await;
    match wire::ToSubmitter::decode(offered.payload).unwrap().body {
        Some(to_submitter::Body::Offer(offer)) => offer,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn requests_announced_are_offered_and_the_batcher_says_farewell() {
    let mut stage = Stage::new().await;
    let mut inbox = subscribe(&stage.world, &stage.world.subjects.inbox(Role::Submitter, SUBMITTER)).await;
    stage.submitter_lives().await;
    assert!(!stage.announce(&[Rid([1; 16]), Rid([2; 16])]).await);
    let offer = accept(&stage, &mut inbox).await;
    assert_eq!(offer.parts.len(), 1);
    assert_eq!((&offer.parts[0].ingress, offer.parts[0].rids.len()), (&INGRESS.to_bytes(), 32));

    assert!(!stage.announce(&[Rid([3; 16])]).await);
    stage.shutdown.cancel();
    assert_eq!(accept(&stage, &mut inbox).await.bytes, 100, "sealed without waiting for more");
    stage.running.await.unwrap().unwrap();
    let mut last = Heartbeat::default();
    while let Some(beat) = stage.beats.try_next() {
        last = Heartbeat::decode(beat.payload).unwrap();
    }
    assert!(last.leaving && last.draining);
}

#[tokio::test(start_paused = true)]
async fn what_is_malformed_does_not_end_it() {
    let mut stage = Stage::new().await;
    let inbox = stage.world.subjects.inbox(Role::Batcher, stage.batcher);
    for garbage in [&b"\xff\xff\xff"[..], b"", b"{}"] {
        stage.world.bus.publish(&inbox, None, garbage.to_vec().into()).await.unwrap();
        let heartbeats = stage.world.subjects.heartbeat(Role::Submitter, SUBMITTER);
        stage.world.bus.publish(&heartbeats, None, garbage.to_vec().into()).await.unwrap();
    }
    assert!(!stage.announce(&[Rid([1; 16])]).await);
}

#[tokio::test(start_paused = true)]
async fn without_a_submitter_it_gives_up_draining_in_time() {
    let mut stage = Stage::new().await;
    assert!(!stage.announce(&[Rid([1; 16])]).await);
    // It is believed to live, but nobody listens there: the offers come back at once.
    stage.submitter_lives().await;
    let since = tokio::time::Instant::now();
    stage.shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(5), async {
        while !next::<Heartbeat>(&mut stage.beats).await.draining {}
    })
    .await
    .expect("it says that it drains");
    assert!(stage.announce(&[Rid([2; 16])]).await, "busy while it drains");
    stage.running.await.unwrap().unwrap();
    assert_eq!(since.elapsed().as_secs(), 30);
}
