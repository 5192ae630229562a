//! Knowing that a subscription is in force.
//!
//! The library's `subscribe` returns before the server has heard of it, and its flush only means that the kernel has
//! the bytes. But a server handles one connection's commands in order: a message to ourselves that comes back has
//! every earlier subscription of this connection in front of it, those made again after a reconnection included.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::{Client, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::AbortOnDrop;

/// After how long a probe counts as lost with its connection.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct Prober {
    prefix: String,
    waiting: Arc<Mutex<Waiting>>,
    _returning: Option<AbortOnDrop>,
}

/// As many entries as there are `subscribe` calls under way.
#[derive(Debug, Default)]
struct Waiting {
    last: u64,
    senders: HashMap<u64, oneshot::Sender<()>>,
}

impl Prober {
    /// Subscribes below `_R`, where every role may publish and subscribe.
    pub(super) async fn start(client: &Client) -> Self {
        let prefix = format!("_R.{}.", client.new_inbox().replace('.', "-"));
        let waiting = Arc::default();
        // Cannot fail with a client that has just been made; without it no subscription would ever be confirmed.
        let subscriber = client.subscribe(format!("{prefix}*")).await.ok();
        let returning = subscriber.map(|subscriber| tokio::spawn(returned(subscriber, Arc::clone(&waiting))));
        Self { prefix, waiting, _returning: returning.map(|task| AbortOnDrop(task.abort_handle())) }
    }

    /// Returns once everything that `client` has sent so far is in force at the server. Never returns while there
    /// is no connection: give it a time limit.
    pub(super) async fn round_trip(&self, client: &Client) {
        loop {
            let (number, returned) = self.next();
            let _forget = Forget { waiting: &self.waiting, number };
            let once = async {
                let sent = client.publish(format!("{}{number}", self.prefix), Bytes::new()).await;
                sent.is_ok() && returned.await.is_ok()
            };
            let started = tokio::time::Instant::now();
            if timeout(AGAIN_AFTER, once).await == Ok(true) {
                return;
            }
            tokio::time::sleep_until(started + AGAIN_AFTER).await;
        }
    }

    fn next(&self) -> (u64, oneshot::Receiver<()>) {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = lock(&self.waiting);
        waiting.last += 1;
        let number = waiting.last;
        waiting.senders.insert(number, sender);
        (number, receiver)
    }
}

async fn returned(mut subscriber: Subscriber, waiting: Arc<Mutex<Waiting>>) {
    while let Some(message) = subscriber.next().await {
        let number = message.subject.rsplit('.').next().and_then(|token| token.parse().ok());
        if let Some(sender) = number.and_then(|number: u64| lock(&waiting).senders.remove(&number)) {
            // Its receiver may have given up.
            let _ = sender.send(());
        }
    }
}

struct Forget<'a> {
    waiting: &'a Mutex<Waiting>,
    number: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        lock(self.waiting).senders.remove(&self.number);
    }
}

/// Nothing under the lock can panic half-way, hence a poisoned one guards sound data.
fn lock(waiting: &Mutex<Waiting>) -> std::sync::MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}
