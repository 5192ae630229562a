//! The bus: one trait over bytes, as thin as core NATS, with an in-process and a NATS implementation.
//!
//! The bus may lose messages; it never blocks for long and never grows without bound. What has to arrive is
//! acknowledged and sent again by the layers above, which therefore are the same on both implementations.
//! The contract that both must keep is the conformance suite in `tests/` of this crate:
//!
//! * delivery is at most once, in order per publisher and subscription;
//! * a full subscription drops the newest messages and says so ([`Subscription::dropped`]);
//! * a message with a reply subject that nobody listens for comes back on that reply subject as
//!   [`Message::no_responders`];
//! * a payload over [`Bus::max_payload`] is refused with [`BusError::TooLarge`];
//! * while the bus is not connected, publishing fails at once with [`BusError::Down`]: nothing is buffered.

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

mod memory;
mod nats;
mod subject;
mod subscription;

pub use memory::MemoryBus;
pub use nats::{NatsBus, NatsOptions, NatsOptionsError, NatsTls};
pub use subscription::{Feed, Push, Subscription};

/// Publish and subscribe over bytes. Subjects are those of NATS: tokens of visible ASCII separated by dots, where
/// `*` as a whole token of a subscription matches any one token. There is no `>`. A subject has at most 64 tokens
/// and 1,024 bytes.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Sends `payload` to whoever is subscribed to `subject` now.
    ///
    /// # Errors
    /// [`BusError`] if the message was certainly not sent. `Ok` promises nothing about its arrival.
    async fn publish(&self, subject: &str, reply: Option<&str>, payload: Bytes) -> Result<(), BusError>;

    /// Receives what is published to `subject` from now on: when this returns, the subscription is in force.
    /// At most `capacity` messages wait; a message that finds it full is dropped and counted.
    ///
    /// # Errors
    /// [`BusError::Down`] if the bus cannot say within its time limit that the subscription is in force.
    async fn subscribe(&self, subject: &str, capacity: usize) -> Result<Subscription, BusError>;

    /// Whether the bus can be used, now and as it changes.
    fn status(&self) -> watch::Receiver<Status>;

    /// The longest payload in bytes that [`Bus::publish`] takes.
    fn max_payload(&self) -> usize;
}

/// Whether messages can be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Connected.
    Up,
    /// Not connected yet or not any more; the implementation keeps trying on its own.
    Down,
}

/// One message as it arrived.
#[derive(Debug, Clone)]
pub struct Message {
    /// The subject that it was published to.
    pub subject: String,
    /// Where an answer is expected, if one is.
    pub reply: Option<String>,
    /// The content. It does not share memory with a larger read buffer: NATS payloads are copied out of it. The
    /// in-process bus hands over the publisher's own bytes.
    pub payload: Bytes,
    /// True for the bus's own answer that nobody listens on the subject of a message sent with a reply subject.
    pub no_responders: bool,
}

/// Why a message was not sent or a subscription not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// Not connected; try again when [`Bus::status`] says [`Status::Up`].
    #[error("the bus is down")]
    Down,
    /// The payload is longer than the bus carries.
    #[error("a message of {bytes} bytes is over the bus's limit of {limit}")]
    TooLarge {
        /// Length of the refused payload in bytes.
        bytes: usize,
        /// [`Bus::max_payload`].
        limit: usize,
    },
    /// Not a subject that can be published or subscribed to.
    #[error("bad subject {0:?}")]
    BadSubject(String),
    /// The bus did not take the message within its time limit.
    #[error("the bus did not take the message in time")]
    Timeout,
}
