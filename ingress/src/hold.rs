//! The door between the HTTP side and the state machine: a call goes in, its outcome comes out.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use common::ids::Rid;
use common::key::BatchKey;
use common::outcome::{Fault, FaultClass, Outcome};
pub use common::pairing::Pairing;
use http::{HeaderMap, Uri};
use tokio::sync::{mpsc, oneshot};

use crate::accounts::Receipt;
use crate::core::Input;
use crate::dialect::Edit;
use crate::fair::{Amount, Refused};
use crate::gate::{Gate, Share};
use crate::plan::{Plan, Reason};

/// When a caller that found the house full should come back.
const COME_BACK: Duration = Duration::from_secs(5);

/// An admitted call, complete. `Debug` shows neither credential nor body.
#[derive(Clone)]
pub struct Call {
    /// What it may share a batch with.
    pub key: BatchKey,
    /// The header lines that authenticate it at the provider, marked sensitive.
    pub credential: Arc<HeaderMap>,
    /// The body as the caller sent it.
    pub body: Bytes,
    /// Embedding inputs in the body, else 1.
    pub inputs: u32,
    /// What a repetition of it has in common with it.
    pub pairing: Pairing,
    /// Where it is called alone.
    pub uri: Arc<Uri>,
    /// What was changed in its body for the batch; a call alone has it as it was.
    pub edit: Option<Arc<Edit>>,
    /// Which ways it may go.
    pub plan: Plan,
    /// What its caller calls it, for the books.
    pub tag: Option<Arc<str>>,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.credential.keys().collect();
        f.debug_struct("Call")
            .field("key", &self.key)
            .field("credential", &names)
            .field("body_len", &self.body.len())
            .field("inputs", &self.inputs)
            .field("pairing", &self.pairing)
            .field("plan", &self.plan)
            .finish()
    }
}

/// How a held call ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// What the caller gets.
    pub outcome: Arc<Outcome>,
    /// Time from admission to the grant of its batch; to the end if there was none.
    pub queued: Duration,
    /// Whether it had ended before the caller asked.
    pub replayed: bool,
    /// Why the call was made alone, if it was.
    pub reason: Option<Reason>,
    /// Whether a batch may have executed it too.
    pub perhaps_twice: bool,
    /// What it used and cost; not of errors, nor of what is told again.
    pub receipt: Option<Receipt>,
}

impl Ended {
    /// Without anything that needs to be said.
    pub fn new(outcome: Arc<Outcome>, queued: Duration) -> Self {
        Self { outcome, queued, replayed: false, reason: None, perhaps_twice: false, receipt: None }
    }
}

/// What waits for the end of a request inside the state machine, and its share of the limits.
#[derive(Debug)]
pub struct Waiter {
    caller: oneshot::Sender<Ended>,
    _share: Arc<Share>,
}

impl Waiter {
    /// Tells the caller, if it is still there.
    pub(crate) fn end(self, ended: Ended) {
        // A caller that went away meanwhile says so in a word of its own.
        let _ = self.caller.send(ended);
    }
}

/// Admits calls. Cheap to clone.
#[derive(Clone)]
pub struct Holder(Arc<Inner>);

struct Inner {
    inputs: mpsc::Sender<Input<Waiter>>,
    held: Arc<Gate>,
    ready: AtomicBool,
    draining: AtomicBool,
}

/// A caller that waits. Dropped without a word, it is gone without its answer.
pub struct Held {
    caller: Rid,
    inputs: mpsc::Sender<Input<Waiter>>,
    ended: oneshot::Receiver<Ended>,
    received: bool,
    /// Until its answer has left.
    _share: Arc<Share>,
}

impl Holder {
    /// A holder that feeds a state machine.
    pub(crate) fn new(inputs: mpsc::Sender<Input<Waiter>>, held: Arc<Gate>) -> Self {
        let (ready, draining) = (AtomicBool::new(false), AtomicBool::new(false));
        Self(Arc::new(Inner { inputs, held, ready, draining }))
    }

    /// Puts a request among the held ones.
    ///
    /// # Errors
    /// Busy over one of the limits, Unavailable while the process is draining.
    pub async fn hold(&self, call: Call) -> Result<Held, Fault> {
        if self.0.draining.load(Ordering::Relaxed) {
            let message = "llm-proxy is shutting down and takes no new requests; send it again.";
            return Err(Fault::new(FaultClass::Unavailable, "shutting_down", message)
                .retry_after(Duration::from_secs(1)));
        }
        let share = Arc::new(self.share(&call).map_err(too_many)?);
        let (caller, ended) = oneshot::channel();
        let id = call.pairing.rid();
        let inputs = self.0.inputs.clone();
        let held = Held { caller: id, inputs, ended, received: false, _share: share.clone() };
        // The state machine outlives the HTTP side; when it is gone, the missing answer says so.
        let _ = self.0.inputs.send(Input::Hold(id, call, Waiter { caller, _share: share })).await;
        Ok(held)
    }

    /// What the call takes of the limits. One that says that it is a repetition may exceed the limits of requests, up to twice
    /// of them: its original probably holds the room that it asks for.
    fn share(&self, call: &Call) -> Result<Share, Refused> {
        let amount = Amount { count: 1, bytes: call.body.len() as u64 };
        self.0.held.enter(call.key.fingerprint(), amount, if call.pairing.retry { 2 } else { 1 })
    }

    /// Held requests and the bytes of their bodies.
    pub fn gauge(&self) -> Amount {
        self.0.held.used()
    }

    /// Whether the bus is up and this process's subscriptions are in force.
    pub fn is_ready(&self) -> bool {
        self.0.ready.load(Ordering::Relaxed) && !self.0.draining.load(Ordering::Relaxed)
    }

    pub(crate) fn set_ready(&self, ready: bool) {
        self.0.ready.store(ready, Ordering::Relaxed);
    }

    pub(crate) fn drain(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
    }
}

impl Held {
    /// The id of the request, if it is not the repetition of another.
    pub fn id(&self) -> Rid {
        self.caller
    }

    /// Polls for the end. Once it has given it, it must not be polled again.
    pub fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        Pin::new(&mut self.ended).poll(cx).map(|ended| ended.unwrap_or_else(|_| stopped()))
    }

    /// Waits for the end, once. Can be dropped and called again before it has given it.
    pub async fn ended(&mut self) -> Ended {
        std::future::poll_fn(|cx| self.poll_ended(cx)).await
    }

    /// The caller has its answer.
    pub fn received(mut self) {
        self.received = true;
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Held").field(&self.caller).finish()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let word = if self.received { Input::Received(self.caller) } else { Input::Gone(self.caller) };
        if let Err(mpsc::error::TrySendError::Full(word)) = self.inputs.try_send(word) {
            // Rare, and it must not be lost: a request that nobody withdraws is paid for.
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                let inputs = self.inputs.clone();
                runtime.spawn(async move { inputs.send(word).await });
            }
        }
    }
}

fn too_many(why: Refused) -> Fault {
    let (code, message) = match why {
        Refused::Full => {
            ("too_many_held_requests", "As many requests wait here as may (--max-held, --max-held-bytes).")
        }
        Refused::Most => (
            "too_many_held_requests_of_key",
            "As many requests with your key wait here as may with one key (--max-held-per-key).",
        ),
        Refused::Share => (
            "too_many_held_requests_of_key",
            "Requests with your key have their share of the room here; what is left is for other keys.",
        ),
    };
    let message = format!("{message} Send it again later.");
    Fault::new(FaultClass::Busy, code, message).retry_after(COME_BACK)
}

fn stopped() -> Ended {
    let message = "llm-proxy stopped before the request was answered.";
    let fault = Fault::new(FaultClass::Unavailable, "stopped", message);
    Ended::new(Arc::new(Outcome::Fault(fault)), Duration::ZERO)
}
