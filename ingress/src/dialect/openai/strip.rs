//! Takes the wish for a stream out of a body, so that the call can go into a batch, whose answers never stream.
//!
//! The edit is one of raw bytes: everything else in the body, white space, odd numbers and repeated keys included,
//! stays as the caller wrote it.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

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
    let unchanged = |include_usage| Stripped { body: Cow::Borrowed(body), include_usage };
    let Some(members) = std::str::from_utf8(body).ok().and_then(members) else { return unchanged(false) };
    let include_usage = members
        .iter()
        .rfind(|member| member.kind == Kind::Options)
        .is_some_and(|member| includes_usage(&body[member.value_start..member.end]));
    let (Some(first), Some(last)) = (members.first(), members.last()) else { return unchanged(false) };
    if members.iter().all(|member| member.kind == Kind::Kept) {
        return unchanged(false);
    }
    let mut stripped = Vec::with_capacity(body.len());
    stripped.extend_from_slice(&body[..first.start]);
    let (mut before, mut any) = (first.start, false);
    for member in &members {
        if member.kind == Kind::Kept {
            // The separator that stood before this member, unless it is the first one now.
            let start = if any { before } else { member.start };
            stripped.extend_from_slice(&body[start..member.end]);
            any = true;
        }
        before = member.end;
    }
    stripped.extend_from_slice(&body[last.end..]);
    Stripped { body: Cow::Owned(stripped), include_usage }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Kept,
    Stream,
    Options,
}

/// Where a member stands in the body, in bytes.
struct Span {
    kind: Kind,
    start: usize,
    value_start: usize,
    end: usize,
}

fn members(text: &str) -> Option<Vec<Span>> {
    let mut parser = serde_json::Deserializer::from_str(text);
    let members = parser.deserialize_map(Spans(text)).ok()?;
    parser.end().ok()?;
    Some(members)
}

struct Spans<'a>(&'a str);

impl<'de> Visitor<'de> for Spans<'de> {
    type Value = Vec<Span>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        // Both are slices of the same text, so that the distance of their addresses is an offset.
        let offset = |part: &str| (part.as_ptr() as usize).saturating_sub(self.0.as_ptr() as usize);
        let mut spans = Vec::new();
        while let Some(key) = map.next_key::<&RawValue>()? {
            let value = map.next_value::<&RawValue>()?.get();
            spans.push(Span {
                kind: kind(key.get()),
                start: offset(key.get()),
                value_start: offset(value),
                end: offset(value) + value.len(),
            });
        }
        Ok(spans)
    }
}

/// What a key, given with its quotes, means here.
fn kind(raw: &str) -> Kind {
    let name = match raw.trim_matches('"') {
        plain if !plain.contains('\\') => Cow::Borrowed(plain),
        // A key that no decoder accepts, a lone surrogate for one, is none of ours.
        _ => serde_json::from_str::<String>(raw).map_or(Cow::Borrowed(""), Cow::Owned),
    };
    match &*name {
        STREAM => Kind::Stream,
        STREAM_OPTIONS => Kind::Options,
        _ => Kind::Kept,
    }
}

/// Whether `stream_options` are an object with `"include_usage": true`.
fn includes_usage(options: &[u8]) -> bool {
    std::str::from_utf8(options)
        .ok()
        .and_then(super::sse::json::Object::parse)
        .and_then(|options| options.get("include_usage"))
        == Some("true")
}

#[cfg(test)]
mod tests;
