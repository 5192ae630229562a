//! OpenAI's dialect.

mod error;
mod peek;
mod sse;
mod strip;

pub(crate) use error::X_SHOULD_RETRY;
pub use error::render;
pub(crate) use peek::no_model;
pub use peek::{Peek, peek};
pub use sse::{Events, Unstreamable, can_stream, wants_no_ops};
pub use strip::{Stripped, strip_stream};

/// The endpoints that OpenAI's Batch API takes and whose bodies are JSON (API reference, `endpoint` of a batch).
pub const ENDPOINTS: [&str; 7] = [
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/embeddings",
    "/v1/completions",
    "/v1/moderations",
    "/v1/images/generations",
    "/v1/images/edits",
];

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
