//! OpenAI's dialect as the HTTP side asks for it. Many other providers speak it.

use std::borrow::Cow;
use std::time::SystemTime;

use bytes::Bytes;
use common::ids::Rid;
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use providers::StreamUsage;
use providers::openai::ENDPOINTS;

use super::peek::peek_beside;
use super::{
    Events, Stripped, can_stream, credential, model_is_optional, peek, render, strip_stream, wants_no_ops,
};
use crate::dialect::speech::{below_v1, beyond};
use crate::dialect::{Endpoint, EventStream, Look, Problem, Speech, Streaming, Unbatchable, Unstreamable};

/// OpenAI's dialect.
pub(crate) struct OpenAi;

impl Speech for OpenAi {
    fn home(&self) -> &'static str {
        "openai"
    }

    fn owns(&self, head: &Parts) -> bool {
        head.method == Method::POST && self.endpoint(below_v1(head.uri.path()), &ENDPOINTS).is_some()
    }

    fn hinted(&self, _head: &Parts) -> bool {
        false
    }

    /// SDKs do not add `/v1` to their base URL, and a provider's ends with its version.
    fn below<'a>(&self, base: &str, path: &'a str) -> Cow<'a, str> {
        match beyond(base, path) {
            rest if rest.len() < path.len() => rest.into(),
            _ => below_v1(path).into(),
        }
    }

    fn endpoint(&self, below: &str, batched: &[&'static str]) -> Option<Endpoint> {
        // One slash at the end of an endpoint does no harm.
        let path = below.strip_suffix('/').unwrap_or(below);
        let name = batched.iter().find(|name| below_v1(name) == path)?;
        Some(Endpoint::plain(name))
    }

    fn takes_query(&self, _endpoint: &Endpoint, query: &str) -> bool {
        query.is_empty()
    }

    fn credential(&self, head: &Parts) -> Result<HeaderMap, Problem> {
        credential::credential(&head.headers)
    }

    fn look<'a>(&self, endpoint: &Endpoint, body: &'a [u8]) -> Result<Look<'a>, Problem> {
        let peek = match &endpoint.model {
            Some(model) => peek_beside(model, body)?,
            None => peek(body)?,
        };
        let no_stream = (peek.stream && !can_stream(endpoint.name)).then_some(Unbatchable::Stream);
        if let Some(reason) = peek.unbatchable.or(no_stream) {
            return Ok(Look::Relay(reason));
        }
        let inputs = if endpoint.name == "/v1/embeddings" { peek.inputs() } else { 1 };
        let is_optional = model_is_optional(endpoint.name, &peek);
        match peek.model {
            Some(model) => Ok(Look::Hold { model, inputs, streams: peek.stream }),
            None if is_optional => Ok(Look::Relay(Unbatchable::NoModel)),
            None => Err(super::peek::no_model()),
        }
    }

    fn stream<'a>(
        &self,
        endpoint: &Endpoint,
        model: &str,
        head: &Parts,
        body: &'a [u8],
    ) -> (Option<Streaming>, Cow<'a, [u8]>) {
        let Stripped { body, include_usage } = strip_stream(body);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let created = now.map_or(0, |since| since.as_secs());
        let events = Events::new(endpoint.name, model, include_usage, Rid::random(), created);
        let no_ops = wants_no_ops(endpoint.name, &head.headers);
        (events.map(|events| Streaming { events: Box::new(events), no_ops }), body)
    }

    fn render(&self, problem: &Problem) -> (StatusCode, HeaderMap, Bytes) {
        render(problem)
    }
}

impl EventStream for Events {
    fn tell_usage(&mut self, usage: &'static StreamUsage) {
        self.tell_usage(usage);
    }

    fn no_op(&mut self) -> Bytes {
        self.no_op()
    }

    fn finish(&self, body: &[u8]) -> Result<Bytes, Unstreamable> {
        self.finish(body)
    }

    fn fail(&self, status: u16, body: &[u8]) -> Bytes {
        self.fail(status, body)
    }
}
