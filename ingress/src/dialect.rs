//! Dialects: how each family of APIs names a model, asks for a stream and words an error.

mod answer;
pub mod anthropic;
pub mod gemini;
mod json;
pub mod openai;
mod out;
mod rename;
mod speech;
mod strip;

use std::time::Duration;

use common::outcome::Fault;
use http::StatusCode;
pub use providers::Dialect;

pub(crate) use answer::X_SHOULD_RETRY;
pub use rename::Edit;
pub(crate) use speech::{Endpoint, EventStream, Look, Speech, Streaming, meant, of};

/// How deeply arrays and objects may be nested in a batched body. Common JSON parsers stop at 128 levels, and a line
/// of a batch wraps the body in some more.
pub const MAX_DEPTH: usize = 100;
/// The longest name of a model in bytes that is batched. Names of fine-tuned models stay well below 200.
pub const MAX_MODEL: usize = 256;

/// Why a call of a batchable endpoint cannot wait for a batch and is relayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unbatchable {
    /// The caller asked for it with `x-llm-proxy-mode: sync`.
    Mode,
    /// Nothing is batched: what batches would save is only reported.
    Observed,
    /// The URL has a query string, which a line of a batch cannot carry.
    Query,
    /// The body is a form.
    Multipart,
    /// The body is compressed.
    ContentEncoding,
    /// The body asks for `stream: true`.
    Stream,
    /// The body asks for `background: true`.
    Background,
    /// The body names a `conversation` kept by the provider.
    Conversation,
    /// The body continues a response kept by the provider.
    PreviousResponse,
    /// The body asks for a `service_tier` of its own.
    ServiceTier,
    /// The body names no model and leaves the choice to the provider; a batch needs one.
    NoModel,
    /// The model's name is too long to be one that we know how to group.
    LongModel,
    /// The body is nested so deeply that other readers of a batch may not follow.
    Depth,
    /// The body has this member, or this value of it, which the provider's batches do not take.
    Member(&'static str),
}

impl Unbatchable {
    /// The value of the response header that says why a call was relayed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mode => "mode",
            Self::Observed => "observe",
            Self::Query => "query",
            Self::Multipart => "multipart",
            Self::ContentEncoding => "content-encoding",
            Self::Stream => "stream",
            Self::Background => "background",
            Self::Conversation => "conversation",
            Self::PreviousResponse => "previous_response_id",
            Self::ServiceTier => "service_tier",
            Self::NoModel => "no-model",
            Self::LongModel => "long-model",
            Self::Depth => "depth",
            Self::Member(name) => name,
        }
    }
}

/// An error answer of ours, before a dialect words it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The HTTP status.
    pub status: StatusCode,
    /// Machine readable; `None` becomes `null`.
    pub code: Option<String>,
    /// For the person who reads it. Never a credential, never a part of a body.
    pub message: String,
    /// When trying again makes sense.
    pub retry_after: Option<Duration>,
    /// Whether SDKs are to try again by themselves; `None` leaves it to them.
    pub should_retry: Option<bool>,
}

impl Problem {
    /// A problem without a code.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, code: None, message: message.into(), retry_after: None, should_retry: None }
    }

    /// A request that cannot be served as it is: 400.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// Adds a machine readable code.
    #[must_use]
    pub fn code(mut self, code: &str) -> Self {
        self.code = Some(code.to_owned());
        self
    }
}

/// Why an answer cannot be turned into events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unstreamable {
    /// It is not one JSON object in UTF-8.
    #[error("the answer is no JSON object")]
    NoObject,
    /// A member that the events are made of is missing or of another kind.
    #[error("the answer's `{0}` is not what the API reference says")]
    Shape(&'static str),
    /// The events would be more than 32 times as long as the answer and 64 KiB.
    #[error("the answer has too many parts for its length")]
    TooLong,
}

impl From<Unstreamable> for Problem {
    fn from(why: Unstreamable) -> Self {
        let message = format!(
            "The provider's answer cannot be given as a stream: {why}. Without `stream` it can be had."
        );
        let mut problem = Self::new(StatusCode::BAD_GATEWAY, message).code("unstreamable_answer");
        problem.should_retry = Some(false);
        problem
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        Self {
            status: fault.class.status(),
            code: Some(fault.code).filter(|code| !code.is_empty()),
            message: fault.message,
            retry_after: fault.retry_after,
            should_retry: fault.no_retry.then_some(false),
        }
    }
}
