//! Who a provider is, for all roles.

use crate::caps::Caps;

/// How callers of a provider speak: paths, errors, streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// OpenAI's chat completions, responses, embeddings and so on.
    OpenAi,
    /// Anthropic's messages.
    Anthropic,
    /// Google's generateContent.
    Gemini,
}

/// Where a stream of chat completions has the usage for callers who do not ask for it. With `stream_options` it has a chunk of
/// its own instead, as at OpenAI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamUsage {
    /// Nowhere.
    OnRequest,
    /// In the last chunk of the last choice.
    LastChunk,
    /// There too, in this member.
    Within(&'static str),
}

/// How a key is given to a provider.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The variables in which its own SDKs look for one, the one that goes first first; none where there are no such.
    pub variables: &'static [&'static str],
    /// The header that it travels in, in lower case.
    pub header: &'static str,
    /// What stands before it there.
    pub scheme: &'static str,
    /// Headers that every call needs besides, in lower case.
    pub along: &'static [(&'static str, &'static str)],
}

impl Key {
    /// One that travels as a bearer token.
    pub const fn bearer(variables: &'static [&'static str]) -> Self {
        Self { variables, header: "authorization", scheme: "Bearer ", along: &[] }
    }

    /// One that has a header of its own.
    pub const fn in_header(header: &'static str, variables: &'static [&'static str]) -> Self {
        Self { variables, header, scheme: "", along: &[] }
    }
}

/// A provider's facts.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// Its name in configurations, URLs and batch keys: lower case letters, digits, `-`.
    pub name: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// How its callers speak.
    pub dialect: Dialect,
    /// Where it is, ending in the path below which its API lies; empty where every customer has an address of its own.
    pub base_url: &'static str,
    /// How its key is given.
    pub key: Key,
    /// The endpoints that its Batch API takes, as its dialect names them.
    pub endpoints: &'static [&'static str],
    /// Where its streams have the usage.
    pub stream_usage: StreamUsage,
    /// What it takes and promises.
    pub caps: Caps,
}
