//! Anthropic: the Message Batches API, messages and the counting of tokens.
//!
//! [`Model`] is the state; everything under `routes` is HTTP around it.

mod answer;
mod assemble;
mod batch;
mod create;
mod error;
mod examine;
mod model;
mod request;
mod routes;
mod stream;

#[cfg(test)]
mod tests;

/// The provider's name in the ledger and in summaries.
pub const NAME: &str = "anthropic";

/// The endpoint of all lines and calls.
pub const ENDPOINT: &str = "/v1/messages";

pub use batch::{Batch, Ends};
pub use model::{Done, Model, Work};
pub(crate) use routes::{is_meant, model, models, routes, unknown};
