//! The two ends of a subscription: what a bus pushes into and what its user reads from.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::sync::{Semaphore, mpsc};

use super::Message;

/// The receiving end of [`Bus::subscribe`](super::Bus::subscribe); dropping it unsubscribes.
pub struct Subscription {
    // Declared before the guard, hence closed first: a message that comes while this is dropped meets a closed
    // channel and not one that nobody will read.
    messages: mpsc::Receiver<Message>,
    dropped: Arc<AtomicU64>,
    _unsubscribe: Box<dyn Send + Sync>,
}

impl Subscription {
    /// A subscription that holds up to `capacity` messages (at least 1). `attach` puts its feed where a bus finds it
    /// and returns what undoes that when dropped.
    pub fn new(capacity: usize, attach: impl FnOnce(Feed) -> Box<dyn Send + Sync>) -> Self {
        let (sender, messages) = mpsc::channel(capacity.clamp(1, Semaphore::MAX_PERMITS));
        let dropped = Arc::<AtomicU64>::default();
        let _unsubscribe = attach(Feed { sender, dropped: Arc::clone(&dropped) });
        Self { messages, dropped, _unsubscribe }
    }

    /// The next message; `None` once the bus is closed for good.
    pub async fn next(&mut self) -> Option<Message> {
        self.messages.recv().await
    }

    /// A message that has already arrived.
    pub fn try_next(&mut self) -> Option<Message> {
        self.messages.try_recv().ok()
    }

    /// How many messages were dropped so far because this subscription was full. On NATS it is a lower bound once
    /// the client's own queue overflows, and then every subscription of that connection counts at least one.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("waiting", &self.messages.len())
            .field("dropped", &self.dropped())
            .finish_non_exhaustive()
    }
}

/// The end of a [`Subscription`] that a bus pushes messages into.
#[derive(Debug, Clone)]
pub struct Feed {
    sender: mpsc::Sender<Message>,
    dropped: Arc<AtomicU64>,
}

/// What became of a pushed message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Push {
    /// It waits to be read.
    Taken,
    /// The subscription was full: the message is gone and counted.
    Dropped,
    /// Nobody listens any more.
    Closed,
}

impl Feed {
    /// Hands over a message without waiting.
    pub fn push(&self, message: Message) -> Push {
        match self.sender.try_send(message) {
            Ok(()) => Push::Taken,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.count_dropped(1);
                Push::Dropped
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Push::Closed,
        }
    }

    /// Counts messages that were lost on the way to this subscription.
    pub fn count_dropped(&self, messages: u64) {
        self.dropped.fetch_add(messages, Relaxed);
    }
}
