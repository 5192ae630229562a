//! NATS alone: servers that are away, come back, hang, or want a login.

use std::time::{Duration, Instant};

use bytes::Bytes;
use common::bus::{Bus, BusError, NatsBus, NatsOptions, Status};
use tokio::time::timeout;

use crate::nats_server::NatsServer;
use crate::support::{LONG, connect, nats, next, number, payload, wait_for};

#[tokio::test]
async fn refuses_while_down_and_recovers_with_its_subscriptions() {
    let (mut server, here, there) = nats().await;
    let mut exact = here.subscribe("a.b", 64).await.unwrap();
    let mut star = here.subscribe("r.*", 64).await.unwrap();

    for round in 0..3 {
        server.kill().unwrap();
        wait_for(&*here, Status::Down).await;
        wait_for(&*there, Status::Down).await;
        for _ in 0..10 {
            assert_eq!(there.publish("a.b", None, payload(99)).await, Err(BusError::Down));
        }

        server.restart().unwrap();
        wait_for(&*here, Status::Up).await;
        wait_for(&*there, Status::Up).await;
        // In force only if those made before are again, too.
        let mut fresh = here.subscribe("fresh", 1).await.unwrap();
        for subject in ["a.b", "r.x", "fresh"] {
            there.publish(subject, None, payload(round)).await.unwrap();
        }
        for subscription in [&mut exact, &mut star, &mut fresh] {
            assert_eq!(number(&next(subscription).await), round, "nothing sent while down may come");
        }
    }
}

#[tokio::test]
async fn starts_without_a_server_and_finds_it_later() {
    let mut server = NatsServer::start().unwrap();
    server.kill().unwrap();
    let started = Instant::now();
    let bus = NatsBus::connect(NatsOptions::new(&server.url())).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(2), "connecting must not wait for the server");
    assert_eq!(*bus.status().borrow(), Status::Down);
    assert_eq!(bus.max_payload(), 1024 * 1024);
    assert_eq!(bus.publish("a", None, Bytes::new()).await, Err(BusError::Down));

    // A subscription that is asked for in time is made.
    let subscribing = tokio::spawn({
        let bus = bus.clone();
        async move {
            loop {
                match bus.subscribe("a", 1).await {
                    Err(BusError::Down) => {}
                    result => return result,
                }
            }
        }
    });
    server.restart().unwrap();
    let mut subscription = timeout(LONG, subscribing).await.unwrap().unwrap().unwrap();
    bus.publish("a", None, payload(1)).await.unwrap();
    assert_eq!(number(&next(&mut subscription).await), 1);
}

#[tokio::test]
async fn subscribing_without_a_server_ends_with_an_error() {
    let mut server = NatsServer::start().unwrap();
    let bus = connect(&server).await;
    server.kill().unwrap();
    wait_for(&*bus, Status::Down).await;
    let result = timeout(LONG, bus.subscribe("a", 1)).await.expect("an end");
    assert_eq!(result.err(), Some(BusError::Down));
}

/// Nothing tells a client that its server hangs; still no call may.
#[tokio::test]
async fn a_hanging_server_does_not_hang_its_clients() {
    let (server, here, there) = nats().await;
    let mut subscription = here.subscribe("a", 8).await.unwrap();
    server.pause().unwrap();
    let large = Bytes::from(vec![1; 1024 * 1024]);
    let refused = async {
        loop {
            match there.publish("b", None, large.clone()).await {
                Ok(()) => {}
                Err(error) => return error,
            }
        }
    };
    let error = timeout(LONG, refused).await.expect("a bounded queue");
    assert!(matches!(error, BusError::Timeout | BusError::Down), "{error}");
    assert_eq!(here.subscribe("c", 1).await.err(), Some(BusError::Down));

    server.resume().unwrap();
    let arrived = async {
        loop {
            if there.publish("a", None, payload(1)).await.is_ok()
                && let Ok(Some(message)) = timeout(Duration::from_secs(1), subscription.next()).await
            {
                return message;
            }
            tokio::task::yield_now().await;
        }
    };
    assert_eq!(number(&timeout(LONG, arrived).await.expect("recovery")), 1);
}

#[tokio::test]
async fn logs_in_with_the_user_of_the_url() {
    let login = "authorization { user: \"me\", password: \"p@ss/word\" }\n";
    let server = NatsServer::start_with(login).unwrap();
    let url = |login: &str| format!("nats://{login}127.0.0.1:{}", server.port());

    let bus = NatsBus::connect(NatsOptions::new(&url("me:p%40ss%2Fword@"))).await.unwrap();
    wait_for(&*bus, Status::Up).await;
    let mut subscription = bus.subscribe("a", 1).await.unwrap();
    bus.publish("a", None, payload(5)).await.unwrap();
    assert_eq!(number(&next(&mut subscription).await), 5);

    // A refused login is no reason to give up: the server's configuration may be behind.
    let refused = NatsBus::connect(NatsOptions::new(&url(""))).await.unwrap();
    assert_eq!(refused.subscribe("a", 1).await.err(), Some(BusError::Down));
    assert_eq!(refused.publish("a", None, Bytes::new()).await, Err(BusError::Down));
}

/// The server counts subscriptions per connection and refuses beyond its limit, so that a leak shows.
#[tokio::test]
async fn dropped_subscriptions_are_freed_at_the_server() {
    let server = NatsServer::start_with("max_subs: 50\n").unwrap();
    let bus = connect(&server).await;
    for i in 0..300 {
        let mut subscription = bus.subscribe("a", 1).await.unwrap();
        bus.publish("a", None, payload(i)).await.unwrap();
        assert_eq!(number(&next(&mut subscription).await), i);
    }
}

#[tokio::test]
async fn a_dropped_bus_closes_its_connection() {
    let server = NatsServer::start_with("max_connections: 2\n").unwrap();
    for _ in 0..10 {
        let bus = connect(&server).await;
        let subscription = bus.subscribe("a", 1).await.unwrap();
        drop((bus, subscription));
    }
}
