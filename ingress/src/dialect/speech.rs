//! What all dialects have in common: the seam between the HTTP side, which knows none, and each dialect's module.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use common::wire;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use providers::StreamUsage;

use super::rename::{Edit, Unnamed, rename};
use super::strip::with_member;
use super::{Dialect, Problem, Unbatchable, Unstreamable, anthropic, gemini, openai};

/// How callers of one family of APIs speak. Paths begin with a slash, unless they are empty.
pub(crate) trait Speech: Sync {
    /// The upstream of paths that name none.
    fn home(&self) -> &'static str;

    /// Whether a request whose path names no upstream can only be meant for this dialect, by method and path.
    fn owns(&self, head: &Parts) -> bool;

    /// Whether a request whose path others have too is meant for this dialect, by its other lines.
    fn hinted(&self, head: &Parts) -> bool;

    /// What stands below the base URL, whose path is `base`, for a path that may repeat a part of that, and lack its version or
    /// have it twice.
    fn below<'a>(&self, base: &str, path: &'a str) -> Cow<'a, str>;

    /// The endpoint that a POST of a path below the base URL calls, if it is one of those that are batched.
    fn endpoint(&self, below: &str, batched: &[&'static str]) -> Option<Endpoint>;

    /// Whether a call with this query can be batched.
    fn takes_query(&self, endpoint: &Endpoint, query: &str) -> bool;

    /// Copies of the lines that authenticate a request, marked sensitive. They stand alone: a value as received would keep its
    /// whole read buffer in memory.
    ///
    /// # Errors
    /// A [`Problem`] in the provider's words if there is no credential, or more than one.
    fn credential(&self, head: &Parts) -> Result<HeaderMap, Problem>;

    /// The lines that a provider takes once for a whole batch: lower-case names, sorted.
    ///
    /// # Errors
    /// A [`Problem`] in the provider's words if one is missing.
    fn key_headers(&self, _headers: &HeaderMap) -> Result<Vec<wire::Header>, Problem> {
        Ok(Vec::new())
    }

    /// Reads what matters in a body.
    ///
    /// # Errors
    /// A [`Problem`] with status 400 in the provider's words for a body that the provider would certainly refuse.
    fn look<'a>(&self, endpoint: &Endpoint, body: &'a [u8]) -> Result<Look<'a>, Problem>;

    /// The stream for a call that asked for one, and its body without the wish for it: batches do not stream.
    fn stream<'a>(
        &self,
        endpoint: &Endpoint,
        model: &str,
        head: &Parts,
        body: &'a [u8],
    ) -> (Option<Streaming>, Cow<'a, [u8]>);

    /// Whether a body in a batch has to name its model, also where a path did.
    fn bodies_name_model(&self) -> bool {
        true
    }

    /// The body with another model, if it does not name it already, and what was changed.
    ///
    /// # Errors
    /// A [`Problem`] with status 400 for a body that names its model more than once.
    fn rename(&self, body: &[u8], model: &str) -> Result<Option<(Bytes, Edit)>, Problem> {
        rename(body, model, Unnamed::Names)
    }

    /// Path and query of the same call without a stream, for one that is made alone.
    fn alone<'a>(&self, below: &'a str, query: Option<&'a str>) -> (Cow<'a, str>, Option<&'a str>) {
        (below.into(), query)
    }

    /// The body of a call that asks for the price of a batch: the service tier "flex" in place of any other, all else as it was.
    fn flex(&self, body: &[u8]) -> Vec<u8> {
        with_member(body, "service_tier", "flex")
    }

    /// Status, headers and body of an error answer of ours.
    fn render(&self, problem: &Problem) -> (StatusCode, HeaderMap, Bytes);
}

/// How a dialect is spoken.
pub(crate) fn of(dialect: Dialect) -> &'static dyn Speech {
    match dialect {
        Dialect::OpenAi => &openai::OpenAi,
        Dialect::Anthropic => &anthropic::Anthropic,
        Dialect::Gemini => &gemini::Gemini,
    }
}

/// Who is meant by a request whose path names no upstream.
pub(crate) fn meant(head: &Parts) -> Dialect {
    let all = [Dialect::Anthropic, Dialect::Gemini, Dialect::OpenAi];
    let find =
        |test: fn(&dyn Speech, &Parts) -> bool| all.into_iter().find(|dialect| test(of(*dialect), head));
    // What is nobody's own goes where most callers are at home.
    find(|speech, head| speech.owns(head))
        .or_else(|| find(|speech, head| speech.hinted(head)))
        .unwrap_or(Dialect::OpenAi)
}

/// An endpoint that is batched, as a path calls it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// As its dialect names it.
    pub(crate) name: &'static str,
    /// The model, where the path names it; then it is not asked for in the body.
    pub(crate) model: Option<Box<str>>,
    /// Whether the path asks for a stream.
    pub(crate) streams: bool,
}

impl Endpoint {
    /// One whose bodies name the model and ask for a stream.
    pub(crate) fn plain(name: &'static str) -> Self {
        Self { name, model: None, streams: false }
    }
}

/// What a body tells.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Look<'a> {
    /// It cannot be batched.
    Relay(Unbatchable),
    /// It can.
    Hold {
        /// The model.
        model: Cow<'a, str>,
        /// Embedding inputs, else 1.
        inputs: u32,
        /// Whether the answer is to be streamed.
        streams: bool,
    },
}

/// What a caller gets that asked for a stream.
#[derive(Debug)]
pub(crate) struct Streaming {
    /// Its events.
    pub(crate) events: Box<dyn EventStream>,
    /// Whether it is given some while it waits.
    pub(crate) no_ops: bool,
}

/// A stream in the making for an answer that comes in one piece.
pub(crate) trait EventStream: fmt::Debug + Send + Sync {
    /// Its media type.
    fn content_type(&self) -> HeaderValue {
        // HTML standard, server-sent events.
        HeaderValue::from_static("text/event-stream; charset=utf-8")
    }

    /// Says where the provider's streams have the usage, where that differs within a dialect.
    fn tell_usage(&mut self, _usage: &'static StreamUsage) {}

    /// Bytes that mean nothing, which keep connections alive: white space is nothing to JSON, and an empty line is nothing to a
    /// reader of server-sent events.
    fn sign_of_life(&mut self) -> Bytes {
        Bytes::from_static(b"\n")
    }

    /// An event that parses and changes nothing, for the wait.
    fn no_op(&mut self) -> Bytes;

    /// The provider's own events for its final answer of status 200, the last one included.
    ///
    /// # Errors
    /// [`Unstreamable`]; nothing was sent then, and [`fail`](Self::fail) can say so.
    fn finish(&self, body: &[u8]) -> Result<Bytes, Unstreamable>;

    /// An error as an event that SDKs raise, and the end of the stream. `body` is the provider's or our own error answer.
    fn fail(&self, status: u16, body: &[u8]) -> Bytes;
}

/// A copy that stands alone and is never shown.
pub(super) fn secret(value: &HeaderValue) -> Option<HeaderValue> {
    let mut copy = HeaderValue::from_bytes(value.as_bytes()).ok()?;
    copy.set_sensitive(true);
    Some(copy)
}

/// Whether an `authorization` line holds a bearer token.
pub(super) fn is_bearer(value: &[u8]) -> bool {
    match value.split_at_checked(b"bearer ".len()) {
        Some((scheme, token)) => scheme.eq_ignore_ascii_case(b"bearer ") && !token.trim_ascii().is_empty(),
        None => false,
    }
}

/// A path without `/v1` at its beginning: `/v1/models` and `/models` are the same, `/v1beta` is another.
pub(super) fn below_v1(path: &str) -> &str {
    match path.strip_prefix("/v1") {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
        _ => path,
    }
}

/// A path without the longest tail of the base's path that it begins with: below `/openai/v1`, the paths `/openai/v1/x`,
/// `/v1/x` and `/x` are the same.
pub(super) fn beyond<'a>(base: &str, path: &'a str) -> &'a str {
    let rest = |(at, _)| {
        path.strip_prefix(&base[at..]).filter(|rest: &&str| rest.is_empty() || rest.starts_with('/'))
    };
    base.match_indices('/').find_map(rest).unwrap_or(path)
}

/// Whether a path is one, or goes on below it.
pub(super) fn is_at(path: &str, at: &str) -> bool {
    path.strip_prefix(at).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below() {
        let cases = [
            ("/v1/models", "/models"),
            ("/models", "/models"),
            ("/v1", ""),
            ("/v1beta/x", "/v1beta/x"),
            ("/v1//x", "//x"),
        ];
        assert!(cases.iter().all(|(path, below)| below_v1(path) == *below));
        for (path, rest) in [
            ("/openai/v1/x", "/x"),
            ("/v1/x", "/x"),
            ("/x", "/x"),
            ("/v1", ""),
            ("/v1x", "/v1x"),
            ("/openai/x", "/openai/x"),
            ("", ""),
        ] {
            assert_eq!(beyond("/openai/v1", path), rest, "{path}");
            assert_eq!(beyond("", path), path);
        }
    }
}
