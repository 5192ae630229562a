//! `OpenAI`: the Files and Batch API, and the plain endpoints.
//!
//! [`Model`] is the state; everything under `routes` is HTTP around it.

pub(crate) mod answer;
mod assemble;
pub(crate) mod batch;
pub(crate) mod batches;
pub(crate) mod endpoint;
pub(crate) mod error;
mod examine;
pub(crate) mod files;
mod model;
pub mod profile;
pub(crate) mod request;
pub(crate) mod routes;
mod stream;

#[cfg(test)]
mod tests;

pub use answer::embedding;
pub use batch::{Batch, Counts, Status};
pub use files::File;
pub use model::{Done, Model, Work};
pub use profile::Profile;
pub(crate) use routes::routes;
