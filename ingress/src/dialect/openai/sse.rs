//! Streams in OpenAI's form for answers that came in one piece: from the raw bytes of a final answer to the
//! server-sent events that the provider would have sent for it.
//!
//! Values of the answer are copied as they are written, never decoded and encoded again. The shapes of the events
//! are those of the OpenAI API reference, "Streaming events" of the chat completions, completions and responses
//! endpoints, checked against the types and accumulators of OpenAI's SDKs for Python and Node.

mod chat;
mod chunks;
mod completions;
mod fail;
mod items;
mod responses;

use bytes::Bytes;
use common::ids::Rid;
use http::{HeaderMap, header};
use providers::StreamUsage;

use crate::dialect::out::Out;
use crate::dialect::{Unstreamable, json};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Chat,
    Completions,
    Responses,
}

impl Kind {
    fn of(endpoint: &str) -> Option<Self> {
        match endpoint {
            "/v1/chat/completions" => Some(Self::Chat),
            "/v1/completions" => Some(Self::Completions),
            "/v1/responses" => Some(Self::Responses),
            _ => None,
        }
    }
}

/// Whether the answers of an endpoint can be streamed (API reference: the endpoints with a `stream` parameter that
/// the Batch API takes too; images stream their own events, which a final answer does not hold).
pub fn can_stream(endpoint: &str) -> bool {
    Kind::of(endpoint).is_some()
}

/// Clients that need no [`Events::no_op`] and whose accumulators are better off without.
const WITHOUT_NO_OPS: [&str; 3] = ["OpenAI/Python", "OpenAI/JS", "ai/"];

/// Whether the caller is given [`Events::no_op`] while it waits. An empty line keeps every client's connection alive; but
/// LangChain's `astream` wants a parsed chunk every 120 s, and so may others that nobody has looked at.
///
/// A no-op is not free, see [`Events::no_op`], so those that are known not to need it get none. On the Responses endpoint
/// the client's own `responses.stream()` helper would even refuse the stream: there only LangChain gets it, which runs on
/// OpenAI's asynchronous Python client and differs from it by not setting a time limit.
pub fn wants_no_ops(endpoint: &str, headers: &HeaderMap) -> bool {
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    match Kind::of(endpoint) {
        Some(Kind::Responses) => {
            agent.starts_with("AsyncOpenAI/Python") && !headers.contains_key("x-stainless-read-timeout")
        }
        Some(Kind::Chat | Kind::Completions) => !WITHOUT_NO_OPS.iter().any(|known| agent.starts_with(known)),
        None => false,
    }
}

/// A stream in the making: what the events sent while waiting and those of the answer share. 56 bytes and the
/// model's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Events {
    id: Rid,
    model: Box<str>,
    created: u64,
    sequence: u32,
    kind: Kind,
    include_usage: bool,
    /// Where the usage is when it is not included so.
    usage: &'static StreamUsage,
}

impl Events {
    /// A stream for a call of `endpoint`; `None` where [`can_stream`] is false. `created` is in seconds since 1970.
    /// Id, model and time stand in the no-ops, and in the events of an answer that lacks them.
    pub fn new(
        endpoint: &str,
        model: impl Into<Box<str>>,
        include_usage: bool,
        id: Rid,
        created: u64,
    ) -> Option<Self> {
        let kind = Kind::of(endpoint)?;
        let usage = &StreamUsage::OnRequest;
        Some(Self { id, model: model.into(), created, sequence: 0, kind, include_usage, usage })
    }

    /// Has the usage where the provider's streams have it; at first that is as at OpenAI.
    pub fn tell_usage(&mut self, usage: &'static StreamUsage) {
        self.usage = usage;
    }

    /// An event that parses and changes nothing, for the wait; see [`wants_no_ops`].
    ///
    /// What stays different for the caller: Python's `chat.completions.stream()` keeps `id`, `created`, `model`,
    /// `service_tier` and unknown members of the first chunk that it sees, so its final object has the no-op's;
    /// choices, usage and fingerprint are the answer's. On the Responses endpoint the no-op is a
    /// `response.in_progress` with an id of ours before the true `response.created`; helpers that insist on
    /// `response.created` as the first event fail on it.
    pub fn no_op(&mut self) -> Bytes {
        let mut out = Out::new(self.model.len());
        match self.kind {
            Kind::Chat => chat::no_op(self, &mut out),
            Kind::Completions => completions::no_op(self, &mut out),
            Kind::Responses => {
                responses::no_op(self, &mut out);
                self.sequence = self.sequence.saturating_add(1);
            }
        }
        out.into_bytes()
    }

    /// The provider's own events for its final answer of status 200, the last one included. At most 32 times as
    /// long as the answer and 64 KiB more; for an answer that is mostly text it is about as long for chat
    /// completions and completions, and five times for responses, as with the provider.
    ///
    /// # Errors
    /// [`Unstreamable`]; nothing was sent then, and [`fail`](Self::fail) can say so.
    pub fn finish(&self, body: &[u8]) -> Result<Bytes, Unstreamable> {
        let text = std::str::from_utf8(body).map_err(|_| Unstreamable::NoObject)?;
        let answer = json::Object::parse(text).ok_or(Unstreamable::NoObject)?;
        let out = Out::new(body.len());
        match self.kind {
            Kind::Chat => chat::finish(self, &answer, out),
            Kind::Completions => completions::finish(self, &answer, out),
            Kind::Responses => responses::finish(self, &answer, out),
        }
    }

    /// An error as an event that SDKs raise, and the end of the stream. `body` is the provider's or our own error
    /// answer; where it holds no error object, one is made that names the status.
    pub fn fail(&self, status: u16, body: &[u8]) -> Bytes {
        let out = Out::new(body.len());
        match self.kind {
            Kind::Chat | Kind::Completions => fail::chunk(status, body, out),
            Kind::Responses => fail::event(status, body, self.sequence, out),
        }
    }
}

#[cfg(test)]
mod tests;
