//! `OpenAI`: the Files and Batch API, and the plain endpoints.
//!
//! [`Model`] is the state; everything under `routes` is HTTP around it.

mod answer;
mod assemble;
mod batch;
mod batches;
mod endpoint;
mod error;
mod examine;
mod files;
mod model;
mod request;
mod routes;
mod stream;

#[cfg(test)]
mod tests;

pub use answer::embedding;
pub(crate) use answer::{AWKWARD, quote, tokens};
pub use batch::{Batch, Counts, Status};
pub use files::File;
pub use model::{Done, Model, Work};
pub(crate) use routes::routes;
pub(crate) use stream::pieces;
