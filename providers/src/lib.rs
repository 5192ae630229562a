//! What each provider's Batch API takes and how it is spoken: data and pure encoding and decoding.
//!
//! A provider is one module that implements [`Provider`], and one line in [`ALL`]. Who makes the calls, and when, is the submitter's
//! business; how callers of a provider speak is the ingress's, by [`Dialect`].

mod about;
pub mod anthropic;
pub mod azure;
mod broken;
mod caps;
pub mod compatible;
pub mod gemini;
pub mod groq;
mod job;
pub mod json;
pub mod mistral;
pub mod openai;
pub mod openrouter;
mod provider;
mod result;
pub mod together;
mod upstreams;
pub mod xai;

pub use about::{About, Dialect, Key, StreamUsage};
pub use caps::{Caps, Marks};
pub use job::{Counts, Dated, File, Job, JobError, Page, Phase, Unreadable};
pub use provider::{Call, Document, Inline, Legacy, Line, NewJob, Provider, Source, Upload};
pub use result::{LineError, LineOutcome, ResultLine};
pub use upstreams::{ConfigArgs, Upstream, UpstreamArgs, Upstreams};

/// Every provider.
pub static ALL: &[&dyn Provider] = &[
    &openai::OpenAi,
    &anthropic::Anthropic,
    &gemini::Gemini,
    &azure::Azure,
    &groq::GROQ,
    &mistral::Mistral,
    &xai::XAi,
    &together::Together,
    &openrouter::OpenRouter,
    &compatible::COMPATIBLE,
];

/// A provider by its name.
pub fn by_name(name: &str) -> Option<&'static dyn Provider> {
    ALL.iter().copied().find(|provider| provider.about().name == name)
}

/// The key under which a job's metadata holds the id of the batch that it was made from.
pub const BATCH_ID: &str = "llmp_bid";
