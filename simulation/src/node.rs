//! What a process is to the world: a state machine in its shell, without the shell's tasks and sockets.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use common::ids::{Bid, Pid, Rid};
use common::outcome::Outcome;
use common::subjects::{Subjects, Token};
use common::timers::Now;
use common::wire::{self, reply};
use ingress::core::Solo;
use ingress::hold::{Call, Ended};
use prost::Message as _;
use submitter::core::Did;

use crate::provider::{Answer, Ask};

/// Number of a process in the world; never used again.
pub(crate) type ProcId = usize;
/// Number of a caller in the world; one for each time that a request is sent.
pub(crate) type CallerId = usize;

/// Tokens from here on belong to the shell, those below to the state machine, as in `common::link`.
pub(crate) const CALLS: Token = 1 << 63;

/// A message as it arrives.
#[derive(Debug, Clone)]
pub(crate) struct Mail {
    pub(crate) subject: Rc<str>,
    pub(crate) reply: Option<Rc<str>>,
    pub(crate) payload: Bytes,
    pub(crate) no_responders: bool,
}

/// Something that happens to a process beside the bus.
#[derive(Debug)]
pub(crate) enum Local {
    /// A caller's request arrived at an ingress.
    Hold(Rid, Box<Call>, CallerId),
    /// A caller went away.
    Gone(Rid),
    /// A caller has its answer.
    Received(Rid),
    /// A call that an ingress made alone has ended.
    Alone(Rid, Box<Outcome>),
    /// The provider's answer to a call.
    Answered(u64, Box<Answer>),
    /// An operation of a shell that needs no provider is over.
    Did(Bid, Box<Did>),
    /// A pull has waited long enough.
    PullOver(Token),
    /// A download that was cut goes on.
    Resume(u64),
    /// A result may have to be sent again.
    SendAgain(Bid, Pid, u64),
    /// The bus came or went.
    Bus(bool),
    /// The order to stop.
    Drain,
    /// The patience with that is over.
    GiveUp,
}

/// What a process does.
#[derive(Debug)]
pub(crate) enum Effect {
    Publish {
        subject: String,
        reply: Option<String>,
        payload: Bytes,
    },
    /// Something for itself, later.
    After(Duration, Local),
    /// A call of the provider's API, with its number.
    Ask(u64, Ask),
    /// A caller's answer.
    End(CallerId, Ended),
    /// A submitter stops delivering to an ingress.
    GaveUp(Pid),
    /// An ingress makes a call alone.
    Solo(Box<Solo>),
    /// A submitter finds no answer to these in the results of their job.
    Vanished(Vec<Rid>),
}

/// Effects in their order.
pub(crate) type Effects = Vec<Effect>;

/// A process. Its moments are counted from its own start.
pub(crate) trait Node {
    /// What it subscribes to. A wildcard is the last token.
    fn subscriptions(&self) -> Vec<String>;
    fn mail(&mut self, now: Now, mail: &Mail, effects: &mut Effects);
    fn local(&mut self, now: Now, local: Local, effects: &mut Effects);
    fn tick(&mut self, now: Now, effects: &mut Effects);
    fn wake_at(&self) -> Option<Now>;
    fn is_finished(&self) -> bool;
    /// The last words of a process that ends in peace.
    fn farewell(&mut self, effects: &mut Effects);
    /// Batches of which it could say, if asked, that something may be at the provider, by their ids there;
    /// and of which submitter, if not of all.
    fn knows(&self) -> Vec<(Bid, Option<Pid>)> {
        Vec::new()
    }
    /// Everything that may grow, and has to be empty when nothing is to be done.
    fn sizes(&self) -> Vec<(&'static str, usize)>;
}

/// A caller inside an ingress. Not copied: what ends it once cannot end it twice.
#[derive(Debug)]
pub(crate) struct Waiter(pub(crate) CallerId);

/// Publishes a message to a subject.
pub(crate) fn send(
    effects: &mut Effects,
    subject: String,
    reply: Option<String>,
    message: &impl prost::Message,
) {
    effects.push(Effect::Publish { subject, reply, payload: message.encode_to_vec().into() });
}

/// Answers an exchange.
pub(crate) fn send_reply(effects: &mut Effects, subject: String, body: reply::Body) {
    send(effects, subject, None, &wire::Reply { body: Some(body) });
}

/// The answer to a token of the state machine, if this mail is one.
pub(crate) fn answer(mail: &Mail) -> Option<(Token, Option<reply::Body>)> {
    let token = Subjects::token(&mail.subject)?;
    match mail.no_responders {
        true => Some((token, None)),
        false => Some((token, Some(wire::Reply::decode(mail.payload.clone()).ok()?.body?))),
    }
}
