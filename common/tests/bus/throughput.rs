//! How fast it is: printed for people (`--nocapture`), and nothing asserted about it.

use std::time::Instant;

use bytes::Bytes;
use common::bus::{Bus, MemoryBus};

use crate::support::{nats, next};

const MESSAGES: u32 = 20_000;
const BATCH: u32 = 200;

/// Publishes in batches that are read before the next one, as flow control does above the bus.
async fn rate(here: &dyn Bus, there: &dyn Bus) -> f64 {
    let mut subscription = here.subscribe("llmp.v1.ing.p1.r.*", BATCH as usize).await.expect("subscribed");
    let payload = Bytes::from(vec![1; 1024]);
    let started = Instant::now();
    for _ in 0..MESSAGES / BATCH {
        for _ in 0..BATCH {
            there.publish("llmp.v1.ing.p1.r.x", None, payload.clone()).await.expect("published");
        }
        for _ in 0..BATCH {
            next(&mut subscription).await;
        }
    }
    assert_eq!(subscription.dropped(), 0);
    f64::from(MESSAGES) / started.elapsed().as_secs_f64()
}

#[tokio::test]
async fn memory() {
    let bus = MemoryBus::new();
    println!("in-process bus: {:.0} messages of 1 KB a second", rate(&*bus, &*bus).await);
}

#[tokio::test]
async fn nats_server() {
    let (_server, one, two) = nats().await;
    println!("NATS bus: {:.0} messages of 1 KB a second", rate(&*one, &*two).await);
}
