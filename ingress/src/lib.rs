//! HTTP in: admits calls, holds them, relays what cannot be batched, and answers.

pub mod accounts;
mod args;
pub mod core;
pub mod dialect;
mod fair;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod gate;
pub mod hold;
pub mod http;
pub mod plan;
pub mod relay;
mod reload;
mod run;
mod shell;
pub mod stats;
mod tokens;

pub use args::Args;
pub use fair::Amount;
pub use run::{Bound, bind};
