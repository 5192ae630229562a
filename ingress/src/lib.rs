//! HTTP in: admits calls, holds them, relays what cannot be batched, and answers.

pub mod args;
pub mod core;
pub mod hold;
mod shell;
