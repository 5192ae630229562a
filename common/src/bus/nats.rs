//! The bus over a NATS server.
//!
//! The client library is kept on a short leash, because left alone it buffers while disconnected, blocks without a
//! limit, and hands out payloads that keep whole read buffers alive. Here every send needs a connection and has a
//! time limit, and every payload is copied out.

mod events;
mod exposure;
mod options;
mod probe;
mod tls;
mod trouble;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, StatusCode, Subscriber};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout, timeout_at};

use self::events::{Events, Feeds};
use self::probe::Prober;
use super::subject::{check_literal, check_pattern};
use super::{Bus, BusError, Feed, Message, Push, Status, Subscription};

pub use self::options::{NatsOptions, NatsOptionsError};
pub use self::tls::NatsTls;

/// How long the client library may take to accept one message; it is slower only if the connection is stuck.
const SEND_LIMIT: Duration = Duration::from_secs(2);

/// How long a subscription may take to be in force, waiting for a connection included.
const SUBSCRIBE_LIMIT: Duration = Duration::from_secs(5);

/// A [`Bus`] over a NATS server, to which it reconnects on its own for as long as it lives.
///
/// A subscription is in force when the server that this process is connected to knows of it. In a cluster the other
/// servers learn of it a moment later.
#[derive(Debug)]
pub struct NatsBus {
    client: Client,
    events: Events,
    prober: Prober,
}

impl NatsBus {
    /// Starts connecting, and returns without waiting for the connection: the bus is [`Status::Down`] until there
    /// is one. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// Whatever no retry can mend: bad URLs, files that cannot be read or used. Never that the server is away.
    pub async fn connect(options: NatsOptions) -> Result<Arc<Self>, NatsOptionsError> {
        let (servers, options) = options.check().await?;
        let (events, options) = Events::observe(options);
        let client =
            options.connect(servers).await.map_err(|error| NatsOptionsError::Url(error.to_string()))?;
        let prober = Prober::start(&client).await;
        Ok(Arc::new(Self { events: events.follow(&client), prober, client }))
    }

    /// The library's own state and not [`Events`]: an event reaches those a moment later.
    fn is_up(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    async fn subscriber(&self, subject: &str, deadline: Instant) -> Result<Subscriber, BusError> {
        let mut status = self.status();
        let subscriber = async {
            // Fails only with the sender gone, and `self` has it.
            let _ = status.wait_for(|status| *status == Status::Up).await;
            self.client.subscribe(subject.to_owned()).await
        };
        // The subject is checked already, so that an error is a client that has given up.
        timeout_at(deadline, subscriber).await.ok().and_then(Result::ok).ok_or(BusError::Down)
    }
}

#[async_trait]
impl Bus for NatsBus {
    async fn publish(&self, subject: &str, reply: Option<&str>, payload: Bytes) -> Result<(), BusError> {
        check_literal(subject)?;
        reply.map_or(Ok(()), check_literal)?;
        let limit = self.max_payload();
        if payload.len() > limit {
            return Err(BusError::TooLarge { bytes: payload.len(), limit });
        }
        if !self.is_up() {
            return Err(BusError::Down);
        }
        let subject = subject.to_owned();
        match reply {
            Some(reply) => sent(self.client.publish_with_reply(subject, reply.to_owned(), payload)).await,
            None => sent(self.client.publish(subject, payload)).await,
        }
    }

    async fn subscribe(&self, subject: &str, capacity: usize) -> Result<Subscription, BusError> {
        check_pattern(subject)?;
        let deadline = Instant::now() + SUBSCRIBE_LIMIT;
        let subscriber = self.subscriber(subject, deadline).await?;
        let subscription = Subscription::new(capacity, |feed| attach(subscriber, feed, self.events.feeds()));
        timeout_at(deadline, self.prober.round_trip(&self.client)).await.map_err(|_| BusError::Down)?;
        Ok(subscription)
    }

    fn status(&self) -> watch::Receiver<Status> {
        self.events.status()
    }

    /// What the server last announced, 1 MiB before the first connection.
    fn max_payload(&self) -> usize {
        self.client.max_payload()
    }
}

/// Waits until the library has taken a message. `Timeout` and `Down` both mean that it has not: dropping the future
/// gives up its place in the queue.
async fn sent<E>(send: impl Future<Output = Result<(), E>>) -> Result<(), BusError> {
    match timeout(SEND_LIMIT, send).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(BusError::Down),
        Err(_) => Err(BusError::Timeout),
    }
}

/// Moves what arrives into `feed` until what this returns is dropped. The library's own channel is the same size for
/// every subscription; here is where each has its own bound and exact count.
fn attach(subscriber: Subscriber, feed: Feed, feeds: &Arc<Feeds>) -> Box<dyn Send + Sync> {
    let registered = feeds.register(feed.clone());
    let forwarding = AbortOnDrop(tokio::spawn(forward(subscriber, feed)).abort_handle());
    Box::new((registered, forwarding))
}

async fn forward(mut subscriber: Subscriber, feed: Feed) {
    while let Some(message) = subscriber.next().await {
        if feed.push(owned(message)) == Push::Closed {
            return;
        }
    }
}

/// Copies a message out of the connection's read buffer, which lives for as long as any slice of it.
fn owned(message: async_nats::Message) -> Message {
    Message {
        subject: message.subject.as_str().to_owned(),
        reply: message.reply.map(|reply| reply.as_str().to_owned()),
        payload: Bytes::copy_from_slice(&message.payload),
        no_responders: message.status == Some(StatusCode::NO_RESPONDERS),
    }
}

/// Ends a task together with its owner.
#[derive(Debug)]
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_message_does_not_pin_the_read_buffer() {
        let read_buffer = Bytes::from(vec![7; 65_536]);
        let arrived = async_nats::Message {
            subject: "a".into(),
            reply: Some("b".into()),
            payload: read_buffer.slice(100..200),
            headers: None,
            status: None,
            description: None,
            length: 0,
        };
        let kept = owned(arrived);
        assert!(read_buffer.is_unique(), "somebody still holds the read buffer");
        assert_eq!(kept.payload, vec![7; 100]);
    }
}
