//! Google's dialect as the HTTP side asks for it.

use std::borrow::Cow;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::{Action, Events, Form, credential, model_of, peek, render, rest};
use crate::dialect::speech::{below_v1, beyond, is_at};
use crate::dialect::{Endpoint, EventStream, Look, Problem, Speech, Streaming, Unbatchable, Unstreamable};

/// Google's dialect.
pub(crate) struct Gemini;

/// Where only Google's paths begin (Gemini API reference; uploads and downloads of its Files API).
const OWN: [&str; 4] = ["/v1beta", "/v1alpha", "/upload", "/download"];

impl Speech for Gemini {
    fn home(&self) -> &'static str {
        "gemini"
    }

    fn owns(&self, head: &Parts) -> bool {
        let path = head.uri.path();
        let method_of_model =
            || below_v1(path).strip_prefix("/models/").is_some_and(|rest| rest.contains(':'));
        OWN.iter().any(|own| is_at(path, own)) || (head.method == Method::POST && method_of_model())
    }

    fn hinted(&self, head: &Parts) -> bool {
        let query = head.uri.query().unwrap_or_default();
        head.headers.contains_key("x-goog-api-key") || query.split('&').any(|pair| pair.starts_with("key="))
    }

    /// One client leaves the version to its base URL.
    fn below<'a>(&self, base: &str, path: &'a str) -> Cow<'a, str> {
        match beyond(base, path) {
            rest if is_at(rest, "/models") => format!("/v1beta{rest}").into(),
            rest => rest.into(),
        }
    }

    fn endpoint(&self, below: &str, batched: &'static [&'static str]) -> Option<Endpoint> {
        let (model, action) = model_of(below)?;
        let method = if action == Action::Embed { ":embedContent" } else { ":generateContent" };
        let name = batched.iter().find(|name| name.ends_with(method))?;
        Some(Endpoint { name, model: Some(model.into()), streams: action == Action::StreamGenerate })
    }

    fn takes_query(&self, endpoint: &Endpoint, query: &str) -> bool {
        rest(Some(query)).is_none() && (endpoint.streams || Form::of(Some(query)) != Form::Sse)
    }

    fn credential(&self, head: &Parts) -> Result<HeaderMap, Problem> {
        credential(&head.headers, head.uri.query()).map(|(lines, _)| lines)
    }

    fn look<'a>(&self, endpoint: &Endpoint, body: &'a [u8]) -> Result<Look<'a>, Problem> {
        let peek = peek(body)?;
        let model = endpoint.model.as_deref().unwrap_or_default();
        // A batch has its model in its path, and could not tell which one was meant.
        let other = peek.model.is_some_and(|named| named != model).then_some(Unbatchable::Member("model"));
        Ok(match peek.unbatchable.or(other) {
            Some(reason) => Look::Relay(reason),
            None => Look::Hold { model: model.to_owned().into(), inputs: 1, streams: endpoint.streams },
        })
    }

    fn stream<'a>(
        &self,
        _endpoint: &Endpoint,
        _model: &str,
        head: &Parts,
        body: &'a [u8],
    ) -> (Option<Streaming>, Cow<'a, [u8]>) {
        let events = Events::new(Form::of(head.uri.query()));
        (Some(Streaming { events: Box::new(events), no_ops: false }), body.into())
    }

    fn render(&self, problem: &Problem) -> (StatusCode, HeaderMap, Bytes) {
        render(problem)
    }
}

impl EventStream for Events {
    fn content_type(&self) -> HeaderValue {
        HeaderValue::from_static(self.form().content_type())
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
