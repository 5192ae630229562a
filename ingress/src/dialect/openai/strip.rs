//! Takes the wish for a stream out of a body, so that the call can go into a batch, whose answers never stream.

use std::borrow::Cow;

use crate::dialect::json::Object;
use crate::dialect::strip::strip;

/// The members that ask for a stream and say how (OpenAI API reference, create chat completion, create response).
const STREAM: &str = "stream";
const STREAM_OPTIONS: &str = "stream_options";

/// A body without its wish for a stream.
#[derive(Debug, PartialEq, Eq)]
pub struct Stripped<'a> {
    /// The body without any top-level `stream` and `stream_options`; borrowed where it had none.
    pub body: Cow<'a, [u8]>,
    /// Whether the last `stream_options` asks for a chunk with the usage.
    pub include_usage: bool,
}

/// Removes every top-level member named `stream` or `stream_options`, however the name is written and however often
/// it is there. What is no JSON object in UTF-8 comes back as it is.
pub fn strip_stream(body: &[u8]) -> Stripped<'_> {
    Stripped {
        body: strip(body, &[STREAM, STREAM_OPTIONS]),
        include_usage: includes_usage(body).unwrap_or(false),
    }
}

/// Whether the last `stream_options` are an object with `"include_usage": true`.
fn includes_usage(body: &[u8]) -> Option<bool> {
    let options = Object::parse(std::str::from_utf8(body).ok()?)?.get(STREAM_OPTIONS)?;
    Some(Object::parse(options)?.get("include_usage")? == "true")
}

#[cfg(test)]
mod tests;
