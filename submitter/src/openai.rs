//! The wire format of `OpenAI`'s Batch API and an HTTP client for it, with no batching policy.
//!
//! What is encoded and decoded here follows `OpenAI`'s API reference (Files, Batch) and what compatible providers are
//! known to send instead; reading is lenient, writing is strict. Which call to make, when, and what to do after a
//! failure is decided elsewhere: an [`ApiError`] only says whether the call was not sent, refused, or perhaps done.

mod batch;
mod client;
mod content;
mod credential;
mod error;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod line;
mod listing;
mod result;
mod split;
#[cfg(test)]
mod tests;
mod transport;
mod upload;

pub use batch::{BatchError, BatchObject, Counts, FileObject, ObjectError, Status};
pub use client::{Client, NewBatch};
pub use content::ContentStream;
pub use credential::Credential;
pub use error::{Answer, ApiError, Kind};
pub use line::{encode_line, line_len};
pub use listing::Found;
pub use result::{LineError, LineOutcome, ResultLine, parse_result_line};
pub use split::{LineSplitter, LineTooLong, MAX_LINE};
pub use transport::{Http, SetupError};
pub use upload::INPUT_EXPIRES_AFTER;
