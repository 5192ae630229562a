//! Google's Gemini API with batch mode: models, files with resumable upload, batches.
//!
//! [`Model`] is the state; everything under `routes` is HTTP around it.

mod answer;
mod assemble;
mod batch;
mod batches;
mod error;
mod examine;
mod files;
mod messages;
mod method;
mod model;
mod request;
mod routes;
mod schema;
mod stream;
mod time;
mod uploads;

#[cfg(test)]
mod tests;

/// The provider's name in the ledger and in summaries.
pub const NAME: &str = "gemini";

pub use batch::Batch;
pub use files::File;
pub use model::{Done, Model, Work};
pub(crate) use routes::{door, routes};
