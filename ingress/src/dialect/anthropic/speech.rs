//! Anthropic's dialect as the HTTP side asks for it.

use std::borrow::Cow;

use bytes::Bytes;
use common::wire;
use http::request::Parts;
use http::{HeaderMap, StatusCode};

use super::{Events, credential, key, peek, render};
use crate::dialect::speech::{below_v1, beyond, is_at};
use crate::dialect::strip::strip;
use crate::dialect::{Endpoint, EventStream, Look, Problem, Speech, Streaming, Unstreamable};

/// Anthropic's dialect.
pub(crate) struct Anthropic;

impl Speech for Anthropic {
    fn home(&self) -> &'static str {
        "anthropic"
    }

    fn owns(&self, head: &Parts) -> bool {
        is_at(without_versions(head.uri.path()), "/messages")
    }

    /// Every SDK says its version.
    fn hinted(&self, head: &Parts) -> bool {
        head.headers.contains_key("anthropic-version")
    }

    /// SDKs add `/v1` to their base URL, which may end with it already; some add nothing.
    fn below<'a>(&self, base: &str, path: &'a str) -> Cow<'a, str> {
        let path = beyond(base, path);
        match without_versions(path) {
            rest if rest.len() < path.len() || is_at(rest, "/messages") => format!("/v1{rest}").into(),
            _ => path.into(),
        }
    }

    fn endpoint(&self, below: &str, batched: &[&'static str]) -> Option<Endpoint> {
        let path = below.strip_suffix('/').unwrap_or(below);
        batched.iter().find(|name| **name == path).map(|name| Endpoint::plain(name))
    }

    /// The SDKs' beta calls say so in the query too, and name what they want in a header.
    fn takes_query(&self, _endpoint: &Endpoint, query: &str) -> bool {
        matches!(query, "" | "beta=true")
    }

    fn credential(&self, head: &Parts) -> Result<HeaderMap, Problem> {
        credential::credential(&head.headers)
    }

    fn key_headers(&self, headers: &HeaderMap) -> Result<Vec<wire::Header>, Problem> {
        key::key_headers(headers)
    }

    fn look<'a>(&self, _endpoint: &Endpoint, body: &'a [u8]) -> Result<Look<'a>, Problem> {
        let peek = peek(body)?;
        Ok(match peek.unbatchable {
            Some(reason) => Look::Relay(reason),
            None => Look::Hold { model: peek.model, inputs: 1, streams: peek.stream },
        })
    }

    fn stream<'a>(
        &self,
        _endpoint: &Endpoint,
        _model: &str,
        _head: &Parts,
        body: &'a [u8],
    ) -> (Option<Streaming>, Cow<'a, [u8]>) {
        // Every client knows pings, which the provider sends too.
        (Some(Streaming { events: Box::new(Events), no_ops: true }), strip(body, &["stream"]))
    }

    fn render(&self, problem: &Problem) -> (StatusCode, HeaderMap, Bytes) {
        render(problem)
    }
}

/// A path without any `/v1` at its beginning.
fn without_versions(mut path: &str) -> &str {
    while below_v1(path).len() < path.len() {
        path = below_v1(path);
    }
    path
}

impl EventStream for Events {
    fn no_op(&mut self) -> Bytes {
        Events::no_op()
    }

    fn finish(&self, body: &[u8]) -> Result<Bytes, Unstreamable> {
        Events::finish(body)
    }

    fn fail(&self, status: u16, body: &[u8]) -> Bytes {
        Events::fail(status, body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_missing_or_repeated() {
        for (path, below) in [
            ("/v1/messages", "/v1/messages"),
            ("/v1/v1/messages", "/v1/messages"),
            ("/messages", "/v1/messages"),
            ("/messages/count_tokens", "/v1/messages/count_tokens"),
            ("/v1/v1/models", "/v1/models"),
            ("/v1/messages/batches/b/results", "/v1/messages/batches/b/results"),
            ("/messagesx", "/messagesx"),
            ("/api/x", "/api/x"),
            ("", ""),
        ] {
            assert_eq!(Anthropic.below("", path), below);
            assert_eq!(Anthropic.below("/base", &format!("/base{path}")), below);
        }
    }
}
