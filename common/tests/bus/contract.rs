//! The contract. Each case gets two ends of one bus; on NATS these are two connections.

use std::time::Instant;

use bytes::Bytes;
use common::bus::{Bus, BusError, MemoryBus, Status};

use crate::support::{LONG, nats, next, number, payload, settle};

macro_rules! contract {
    ($($case:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $case() {
                let bus = super::MemoryBus::new();
                super::$case(&*bus, &*bus).await;
            })*
        }

        mod nats {
            $(#[tokio::test]
            async fn $case() {
                let (_server, one, two) = super::nats().await;
                super::$case(&*one, &*two).await;
            })*
        }
    };
}

contract![
    carries_subject_reply_and_payload,
    keeps_the_order_of_a_publisher,
    reaches_every_subscription,
    a_star_matches_one_token,
    tells_when_nobody_listens,
    is_silent_when_somebody_listens,
    is_silent_without_a_reply_subject,
    a_full_subscription_drops_the_newest_and_counts,
    refuses_a_payload_over_the_limit,
    refuses_bad_subjects,
    a_subscription_is_in_force_when_it_is_returned,
    a_dropped_subscription_is_gone,
    is_up,
];

async fn carries_subject_reply_and_payload(here: &dyn Bus, there: &dyn Bus) {
    let mut subscription = here.subscribe("a.b", 8).await.expect("subscribed");
    there.publish("a.b", Some("c.d"), Bytes::from_static(b"\0\r\n\xff")).await.expect("published");
    there.publish("a.b", None, Bytes::new()).await.expect("published");

    let first = next(&mut subscription).await;
    assert_eq!((first.subject.as_str(), first.reply.as_deref()), ("a.b", Some("c.d")));
    assert_eq!(first.payload.as_ref(), b"\0\r\n\xff");
    assert!(!first.no_responders);
    let second = next(&mut subscription).await;
    assert_eq!((second.reply, second.payload.len(), second.no_responders), (None, 0, false));
}

async fn keeps_the_order_of_a_publisher(here: &dyn Bus, there: &dyn Bus) {
    const MESSAGES: u64 = 5000;
    let mut subscription = here.subscribe("order", 100).await.expect("subscribed");
    let publishing = async {
        for i in 0..MESSAGES {
            there.publish("order", None, payload(i)).await.expect("published");
            tokio::task::yield_now().await;
        }
    };
    let reading = async {
        let (mut seen, mut last) = (0, None);
        while seen + subscription.dropped() < MESSAGES {
            let Some(message) = subscription.try_next() else {
                tokio::task::yield_now().await;
                continue;
            };
            let number = number(&message);
            assert!(last.is_none_or(|last| last < number), "{number} after {last:?}");
            (seen, last) = (seen + 1, Some(number));
        }
    };
    let both = async { tokio::join!(publishing, reading) };
    tokio::time::timeout(LONG, both).await.expect("each message is seen or counted");
}

async fn reaches_every_subscription(here: &dyn Bus, there: &dyn Bus) {
    let mut subscriptions = Vec::new();
    for (bus, subject) in [(here, "x.y"), (here, "x.y"), (there, "x.y"), (here, "x.*"), (there, "*.y")] {
        subscriptions.push(bus.subscribe(subject, 8).await.expect("subscribed"));
    }
    there.publish("x.y", None, payload(7)).await.expect("published");
    for subscription in &mut subscriptions {
        let message = next(subscription).await;
        assert_eq!((message.subject.as_str(), number(&message)), ("x.y", 7));
    }
}

async fn a_star_matches_one_token(here: &dyn Bus, there: &dyn Bus) {
    let mut last = here.subscribe("llmp.v1.ing.p1.r.*", 8).await.expect("subscribed");
    let mut two = here.subscribe("llmp.v1.hb.*.*", 8).await.expect("subscribed");
    for subject in [
        "llmp.v1.ing.p1.r",
        "llmp.v1.ing.p1.r.a.b",
        "llmp.v1.ing.p2.r.a",
        "llmp.v1.ing.p1.r.a",
        "llmp.v1.hb.batcher",
        "llmp.v1.hb.batcher.p3",
        "llmp.v1.ing.p1.r.last",
    ] {
        there.publish(subject, None, Bytes::new()).await.expect("published");
    }
    assert_eq!(next(&mut last).await.subject, "llmp.v1.ing.p1.r.a");
    assert_eq!(next(&mut last).await.subject, "llmp.v1.ing.p1.r.last");
    assert_eq!(next(&mut two).await.subject, "llmp.v1.hb.batcher.p3");
    assert!(two.try_next().is_none());
}

async fn tells_when_nobody_listens(here: &dyn Bus, _: &dyn Bus) {
    let mut inbox = here.subscribe("_R.me.*", 8).await.expect("subscribed");
    here.publish("nobody", Some("_R.me.1"), payload(1)).await.expect("published");
    let message = next(&mut inbox).await;
    assert_eq!((message.subject.as_str(), message.no_responders), ("_R.me.1", true));
    assert!(message.payload.is_empty());
    assert_eq!(message.reply, None);
}

async fn is_silent_when_somebody_listens(here: &dyn Bus, there: &dyn Bus) {
    let mut inbox = here.subscribe("_R.me.*", 8).await.expect("subscribed");
    // A full subscription is somebody, too.
    let _listening = there.subscribe("somebody.*", 1).await.expect("subscribed");
    for i in 0..3 {
        here.publish("somebody.x", Some("_R.me.1"), payload(i)).await.expect("published");
    }
    here.publish("_R.me.2", None, payload(2)).await.expect("published");
    let message = next(&mut inbox).await;
    assert_eq!((message.subject.as_str(), message.no_responders), ("_R.me.2", false));
}

async fn is_silent_without_a_reply_subject(here: &dyn Bus, _: &dyn Bus) {
    let mut inbox = here.subscribe("_R.me.*", 8).await.expect("subscribed");
    here.publish("nobody", None, payload(1)).await.expect("published");
    here.publish("_R.me.2", None, payload(2)).await.expect("published");
    let message = next(&mut inbox).await;
    assert_eq!((message.subject.as_str(), message.no_responders), ("_R.me.2", false));
}

async fn a_full_subscription_drops_the_newest_and_counts(here: &dyn Bus, there: &dyn Bus) {
    const CAPACITY: u64 = 10;
    const MESSAGES: u64 = 1000;
    let mut slow = here.subscribe("slow", CAPACITY as usize).await.expect("subscribed");
    let mut quick = here.subscribe("slow", MESSAGES as usize).await.expect("subscribed");
    for i in 0..MESSAGES {
        there.publish("slow", None, payload(i)).await.expect("published");
    }
    for i in 0..MESSAGES {
        assert_eq!(number(&next(&mut quick).await), i, "a neighbour must not suffer");
    }
    let started = Instant::now();
    while slow.dropped() < MESSAGES - CAPACITY && started.elapsed() < LONG {
        tokio::task::yield_now().await;
    }
    assert_eq!((slow.dropped(), quick.dropped()), (MESSAGES - CAPACITY, 0));
    for i in 0..CAPACITY {
        assert_eq!(number(&next(&mut slow).await), i, "the oldest stay");
    }
    assert!(slow.try_next().is_none());
    there.publish("slow", None, payload(MESSAGES)).await.expect("published");
    assert_eq!(number(&next(&mut slow).await), MESSAGES, "there is room again");
}

async fn refuses_a_payload_over_the_limit(here: &dyn Bus, there: &dyn Bus) {
    let mut subscription = here.subscribe("large", 8).await.expect("subscribed");
    let limit = there.max_payload();
    assert_eq!(limit, 1024 * 1024);
    let largest = Bytes::from(vec![1; limit]);
    let over = Bytes::from(vec![1; limit + 1]);
    assert_eq!(there.publish("large", None, over).await, Err(BusError::TooLarge { bytes: limit + 1, limit }));
    there.publish("large", None, largest.clone()).await.expect("published");
    assert_eq!(next(&mut subscription).await.payload, largest);
}

async fn refuses_bad_subjects(here: &dyn Bus, _: &dyn Bus) {
    let bad = || BusError::BadSubject("a b".into());
    assert_eq!(here.publish("a b", None, Bytes::new()).await, Err(bad()));
    assert_eq!(here.publish("a", Some("a b"), Bytes::new()).await, Err(bad()));
    assert_eq!(here.subscribe("a b", 1).await.err(), Some(bad()));
    for subject in ["", "a..b", "a.\r\nPUB x 0", "a.>", "a.*x"] {
        assert!(matches!(here.subscribe(subject, 1).await, Err(BusError::BadSubject(_))), "{subject:?}");
        assert!(matches!(here.publish(subject, None, Bytes::new()).await, Err(BusError::BadSubject(_))));
    }
    assert!(matches!(here.publish("a.*", None, Bytes::new()).await, Err(BusError::BadSubject(_))));
}

async fn a_subscription_is_in_force_when_it_is_returned(here: &dyn Bus, there: &dyn Bus) {
    for i in 0..200 {
        let subject = format!("force.{i}");
        let mut subscription = here.subscribe(&subject, 1).await.expect("subscribed");
        there.publish(&subject, None, payload(i)).await.expect("published");
        assert_eq!(number(&next(&mut subscription).await), i);
    }
}

async fn a_dropped_subscription_is_gone(here: &dyn Bus, there: &dyn Bus) {
    let subscription = here.subscribe("gone", 1).await.expect("subscribed");
    let mut inbox = there.subscribe("_R.me.*", 8).await.expect("subscribed");
    drop(subscription);
    // The bus may take a moment to notice; until then a message is taken and no answer comes.
    let noticed = async {
        for attempt in 0.. {
            let reply = format!("_R.me.{attempt}");
            there.publish("gone", Some(&reply), Bytes::new()).await.expect("published");
            settle(here, there).await;
            settle(there, there).await;
            if inbox.try_next().is_some_and(|message| message.no_responders) {
                return;
            }
        }
    };
    tokio::time::timeout(LONG, noticed).await.expect("nobody listens after a while");
}

async fn is_up(here: &dyn Bus, there: &dyn Bus) {
    assert_eq!((*here.status().borrow(), *there.status().borrow()), (Status::Up, Status::Up));
}
