//! The bus inside one process.

mod index;

use std::sync::{Arc, PoisonError, RwLock, Weak};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

use super::subject::{check_literal, check_pattern};
use super::{Bus, BusError, Message, Push, Status, Subscription};
use index::Index;

/// As large as NATS carries by default, so that nothing works on this bus alone.
const MAX_PAYLOAD: usize = 1024 * 1024;

/// A [`Bus`] inside one process: always [`Status::Up`], payloads are handed over without copying.
///
/// Its subscriptions end once the last handle to it is dropped.
#[derive(Debug)]
pub struct MemoryBus {
    // Nothing in a critical section waits or panics half-way, hence a poisoned lock guards a sound index.
    index: Arc<RwLock<Index>>,
    status: watch::Sender<Status>,
}

impl MemoryBus {
    /// An empty bus. Buses do not know of each other: everybody who shall meet needs a clone of this handle.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { index: Arc::default(), status: watch::Sender::new(Status::Up) })
    }

    /// True if somebody listened, even if with a full subscription.
    fn deliver(&self, message: &Message) -> bool {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let mut heard = false;
        index.for_each(&message.subject, |feed| heard |= feed.push(message.clone()) != Push::Closed);
        heard
    }
}

#[async_trait]
impl Bus for MemoryBus {
    async fn publish(&self, subject: &str, reply: Option<&str>, payload: Bytes) -> Result<(), BusError> {
        check_literal(subject)?;
        reply.map_or(Ok(()), check_literal)?;
        if payload.len() > MAX_PAYLOAD {
            return Err(BusError::TooLarge { bytes: payload.len(), limit: MAX_PAYLOAD });
        }
        let message =
            Message { subject: subject.into(), reply: reply.map(Into::into), payload, no_responders: false };
        if !self.deliver(&message)
            && let Some(reply) = message.reply
        {
            let nobody = Message { subject: reply, reply: None, payload: Bytes::new(), no_responders: true };
            self.deliver(&nobody);
        }
        Ok(())
    }

    async fn subscribe(&self, subject: &str, capacity: usize) -> Result<Subscription, BusError> {
        check_pattern(subject)?;
        Ok(Subscription::new(capacity, |feed| {
            let id = self.index.write().unwrap_or_else(PoisonError::into_inner).insert(subject, feed);
            Box::new(Unsubscribe { index: Arc::downgrade(&self.index), subject: subject.into(), id })
        }))
    }

    fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    fn max_payload(&self) -> usize {
        MAX_PAYLOAD
    }
}

struct Unsubscribe {
    index: Weak<RwLock<Index>>,
    subject: Box<str>,
    id: u64,
}

impl Drop for Unsubscribe {
    fn drop(&mut self) {
        if let Some(index) = self.index.upgrade() {
            index.write().unwrap_or_else(PoisonError::into_inner).remove(&self.subject, self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dropped_subscription_leaves_nothing_behind() {
        let bus = MemoryBus::new();
        let mut held = Vec::new();
        for i in 0..1000 {
            held.push(bus.subscribe(&format!("a.{i}"), 1).await.unwrap());
            held.push(bus.subscribe(&format!("a.{i}.*"), 1).await.unwrap());
            held.push(bus.subscribe(&format!("*.{i}"), 1).await.unwrap());
            held.push(bus.subscribe("shared", 1).await.unwrap());
        }
        assert!(!bus.index.read().unwrap().is_empty());
        held.clear();
        assert!(bus.index.read().unwrap().is_empty());
    }

    #[tokio::test]
    async fn dropping_the_bus_ends_its_subscriptions() {
        let bus = MemoryBus::new();
        let mut subscription = bus.subscribe("a", 1).await.unwrap();
        drop(bus);
        assert!(subscription.next().await.is_none());
    }

    #[tokio::test]
    async fn payloads_are_handed_over_without_copying() {
        let bus = MemoryBus::new();
        let mut subscription = bus.subscribe("a", 1).await.unwrap();
        let payload = Bytes::from(vec![7; 1000]);
        bus.publish("a", None, payload.clone()).await.unwrap();
        assert_eq!(subscription.next().await.unwrap().payload.as_ptr(), payload.as_ptr());
    }
}
