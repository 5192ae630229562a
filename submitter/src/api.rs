//! An HTTP client for Batch APIs, with no batching policy.
//!
//! What is sent, and what answers mean, is the provider's module's; which call to make, when, and what to do after a failure is
//! decided by the state machine. An [`ApiError`] only says whether the call was not sent, refused, or perhaps done.

mod client;
mod content;
mod credential;
mod error;
mod feed;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod inline;
mod listing;
mod split;
#[cfg(test)]
mod tests;
mod transport;
mod upload;

pub use client::Client;
pub use content::ContentStream;
pub use credential::Credential;
pub use error::{Answer, ApiError, Kind};
pub use listing::Found;
pub use split::{LineSplitter, LineTooLong, MAX_LINE};
pub use transport::{Http, SetupError};
