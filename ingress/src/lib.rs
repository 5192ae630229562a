//! HTTP in: admits calls, holds them, relays what cannot be batched, and answers.

pub mod hold;
