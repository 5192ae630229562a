//! Anthropic's dialect.

mod credential;
mod error;
mod key;
mod peek;
mod speech;
mod sse;

pub use error::render;
pub use peek::{Peek, peek};
pub(crate) use speech::Anthropic;
pub use sse::Events;
