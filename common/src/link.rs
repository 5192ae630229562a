//! A process's end of the bus: its own subjects, its outgoing queue, and calls that wait for their answer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, warn};

use crate::bus::{Bus, BusError, Message, Status, Subscription};
use crate::ids::Pid;
use crate::subjects::{Subjects, Token};
use crate::wire::{self, Role};

/// Messages that wait to be published. When full, a message is dropped like on any lossy bus: timers send again.
const OUTBOX: usize = 65_536;
/// Messages that wait on one subscription of ours.
pub const INBOX: usize = 65_536;
/// Tokens from here on belong to [`Link::call`], those below to the state machine.
const CALLS: Token = 1 << 63;
/// How long to wait between tries to subscribe while the bus is down.
const SUBSCRIBE_AGAIN: Duration = Duration::from_millis(200);

/// What a message turns out to be.
#[derive(Debug)]
pub enum Parsed<I> {
    /// An input of the state machine.
    Input(I),
    /// Something that was dealt with at once.
    Taken,
    /// Nothing that can be understood.
    Unknown,
}

impl<I> From<Option<I>> for Parsed<I> {
    fn from(input: Option<I>) -> Self {
        input.map_or(Self::Unknown, Self::Input)
    }
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Link(Arc<Inner>);

struct Inner {
    bus: Arc<dyn Bus>,
    subjects: Subjects,
    role: Role,
    pid: Pid,
    outbox: mpsc::Sender<Outgoing>,
    next_call: AtomicU64,
    calls: Mutex<HashMap<Token, oneshot::Sender<Option<Bytes>>>>,
}

impl Inner {
    /// Where the answer to an exchange comes back.
    fn reply(&self, token: Token) -> String {
        self.subjects.reply(self.role, self.pid, token)
    }
}

struct Outgoing {
    subject: String,
    reply: Option<String>,
    payload: Bytes,
}

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Nobody serves the subject: its process is gone.
    #[error("nobody listens")]
    NoResponders,
    /// No answer in time; the message or its answer may have been lost.
    #[error("no answer in time")]
    Timeout,
    /// The message was not sent.
    #[error(transparent)]
    Bus(#[from] BusError),
}

/// An answer to a token of the state machine: its content, or `None` when nobody listens.
pub type Answer = (Token, Option<wire::reply::Body>);

impl Link {
    /// Joins the bus as `pid`, which has this role: from here on answers arrive. Waits for as long as the bus is away.
    /// `answers` receives what is addressed to the state machine's tokens.
    pub async fn join<I, F>(
        bus: Arc<dyn Bus>,
        subjects: Subjects,
        (role, pid): (Role, Pid),
        inputs: mpsc::Sender<I>,
        answer: F,
    ) -> Self
    where
        I: Send + 'static,
        F: Fn(Answer) -> I + Send + 'static,
    {
        tracing::info!(%pid, ?role, "joining the bus under this name");
        let (outbox, outgoing) = mpsc::channel(OUTBOX);
        let next_call = AtomicU64::new(CALLS);
        let link =
            Self(Arc::new(Inner { bus, subjects, role, pid, outbox, next_call, calls: Mutex::default() }));
        let replies = link.subscribe(&link.subjects().replies(role, pid)).await;
        tokio::spawn(publish_all(link.bus().clone(), outgoing));
        // The tasks hold the inner parts weakly or not at all, so that dropping the last link ends them.
        tokio::spawn(take_replies(Arc::downgrade(&link.0), replies, inputs, answer));
        link
    }

    /// The bus itself.
    pub fn bus(&self) -> &Arc<dyn Bus> {
        &self.0.bus
    }

    /// The deployment's subjects.
    pub fn subjects(&self) -> &Subjects {
        &self.0.subjects
    }

    /// This process.
    pub fn pid(&self) -> Pid {
        self.0.pid
    }

    /// Subscribes, and waits for as long as that takes.
    pub async fn subscribe(&self, subject: &str) -> Subscription {
        loop {
            match self.0.bus.subscribe(subject, INBOX).await {
                Ok(subscription) => return subscription,
                Err(error) => debug!(%error, "cannot subscribe yet"),
            }
            tokio::time::sleep(SUBSCRIBE_AGAIN).await;
        }
    }

    /// Puts a message into the outgoing queue. With a token the answer comes back as an [`Answer`].
    pub fn send(&self, subject: String, token: Option<Token>, payload: Bytes) {
        let reply = token.map(|token| self.0.reply(token));
        let outgoing = Outgoing { subject, reply, payload };
        if let Err(mpsc::error::TrySendError::Full(_)) = self.0.outbox.try_send(outgoing) {
            warn!("the outgoing queue is full: a message is dropped and will be sent again");
        }
    }

    /// Sends a message to the inbox of a process.
    pub fn send_to(&self, role: Role, pid: Pid, token: Option<Token>, message: &impl prost::Message) {
        self.send(self.0.subjects.inbox(role, pid), token, message.encode_to_vec().into());
    }

    /// Answers a message that carried a reply subject.
    pub fn reply(&self, subject: String, body: wire::reply::Body) {
        self.send(subject, None, wire::Reply { body: Some(body) }.encode_to_vec().into());
    }

    /// Sends and waits for the raw answer.
    ///
    /// # Errors
    /// [`CallError`]; the message may have arrived unless it says [`CallError::Bus`].
    pub async fn call(&self, subject: &str, payload: Bytes, timeout: Duration) -> Result<Bytes, CallError> {
        let token = self.0.next_call.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        self.calls().insert(token, answer);
        let _forget = Forget(&self.0, token);
        let reply = self.0.reply(token);
        self.0.bus.publish(subject, Some(&reply), payload).await?;
        match tokio::time::timeout(timeout, answered).await {
            Ok(Ok(Some(bytes))) => Ok(bytes),
            Ok(Ok(None)) => Err(CallError::NoResponders),
            Ok(Err(_)) | Err(_) => Err(CallError::Timeout),
        }
    }

    fn calls(&self) -> std::sync::MutexGuard<'_, HashMap<Token, oneshot::Sender<Option<Bytes>>>> {
        self.0.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Feeds each change of the bus's state into a state machine.
    pub fn watch_status<I: Send + 'static>(
        &self,
        inputs: mpsc::Sender<I>,
        input: impl Fn(bool) -> I + Send + 'static,
    ) {
        let mut status = self.0.bus.status();
        tokio::spawn(async move {
            loop {
                let up = *status.borrow_and_update() == Status::Up;
                if inputs.send(input(up)).await.is_err() || status.changed().await.is_err() {
                    return;
                }
            }
        });
    }

    /// Feeds what arrives on a subject into a state machine; `parse` says what it is. What is not understood is counted, logged
    /// without its content, and ignored.
    pub async fn feed<I: Send + 'static, P: Into<Parsed<I>> + Send>(
        &self,
        subject: &str,
        inputs: mpsc::Sender<I>,
        mut parse: impl FnMut(Message) -> P + Send + 'static,
    ) {
        let mut messages = self.subscribe(subject).await;
        let subject = subject.to_owned();
        tokio::spawn(async move {
            let (mut dropped, mut ignored) = (0, 0u64);
            while let Some(message) = messages.next().await {
                if messages.dropped() > dropped {
                    dropped = messages.dropped();
                    warn!(
                        subject,
                        dropped, "messages came faster than they were taken; they will be sent again"
                    );
                }
                let input = match parse(message).into() {
                    Parsed::Input(input) => Some(input),
                    Parsed::Taken => continue,
                    Parsed::Unknown => None,
                };
                let Some(input) = input else {
                    // From another version, a replay, or somebody who does not belong here. Never with its content.
                    ignored += 1;
                    match ignored.is_power_of_two() {
                        true => warn!(subject, ignored, "messages that are not understood are ignored"),
                        false => debug!(subject, ignored, "a message was not understood"),
                    }
                    continue;
                };
                if inputs.send(input).await.is_err() {
                    return;
                }
            }
        });
    }

    /// Feeds the heartbeats of roles into a state machine.
    pub async fn feed_heartbeats<I: Send + 'static>(
        &self,
        roles: &[Role],
        inputs: &mpsc::Sender<I>,
        input: impl Fn(wire::Heartbeat) -> I + Clone + Send + 'static,
    ) {
        for role in roles {
            let input = input.clone();
            let parse = move |message: Message| wire::Heartbeat::decode(message.payload).ok().map(&input);
            self.feed(&self.0.subjects.heartbeats(*role), inputs.clone(), parse).await;
        }
    }

    /// Publishes a heartbeat of this process.
    pub fn beat(&self, beat: &wire::Heartbeat) {
        self.send(self.0.subjects.heartbeat(beat.role(), self.0.pid), None, beat.encode_to_vec().into());
    }
}

/// Removes a call's entry whether it was answered, timed out or was dropped.
struct Forget<'a>(&'a Inner, Token);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.0.calls.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}

async fn publish_all(bus: Arc<dyn Bus>, mut outgoing: mpsc::Receiver<Outgoing>) {
    while let Some(Outgoing { subject, reply, payload }) = outgoing.recv().await {
        if let Err(error) = bus.publish(&subject, reply.as_deref(), payload).await {
            debug!(subject, %error, "a message was not sent; it will be sent again");
        }
    }
}

async fn take_replies<I>(
    link: std::sync::Weak<Inner>,
    mut replies: Subscription,
    inputs: mpsc::Sender<I>,
    answer: impl Fn(Answer) -> I,
) {
    while let Some(message) = replies.next().await {
        let Some(token) = Subjects::token(&message.subject) else { continue };
        let Some(link) = link.upgrade() else { return };
        if token >= CALLS {
            let waiting = link.calls.lock().unwrap_or_else(PoisonError::into_inner).remove(&token);
            // A caller that no longer waits has no entry or a closed channel; the answer is not needed then.
            let _ = waiting.map(|caller| caller.send((!message.no_responders).then_some(message.payload)));
            continue;
        }
        let body = match message.no_responders {
            true => None,
            false => match wire::Reply::decode(message.payload).ok().and_then(|reply| reply.body) {
                Some(body) => Some(body),
                None => continue,
            },
        };
        if inputs.send(answer((token, body))).await.is_err() {
            return;
        }
    }
}
