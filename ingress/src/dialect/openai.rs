//! OpenAI's dialect.

mod credential;
mod error;
mod peek;
mod speech;
mod sse;
mod strip;

pub use crate::dialect::Unstreamable;
pub use error::render;
pub use peek::{Peek, peek};
pub(crate) use speech::OpenAi;
pub use sse::{Events, can_stream, wants_no_ops};
pub use strip::{Stripped, strip_stream};

/// Whether the provider chooses a model when the body names none (API reference). A batch has no such default, so
/// those calls are relayed; elsewhere a missing model is the caller's mistake.
pub fn model_is_optional(endpoint: &str, peek: &Peek<'_>) -> bool {
    match endpoint {
        "/v1/moderations" | "/v1/images/generations" | "/v1/images/edits" => true,
        // A stored prompt brings its model along.
        "/v1/responses" => peek.has_prompt,
        _ => false,
    }
}
