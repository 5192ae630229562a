//! HTTP in: admits calls, holds them, relays what cannot be batched, and answers.

mod args;
pub mod core;
pub mod dialect;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod hold;
pub mod http;
pub mod relay;
mod run;
mod shell;
pub mod stats;

pub use args::Args;
pub use run::{Bound, bind};
