//! Google's dialect as the HTTP side asks for it.

use std::borrow::Cow;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::{Action, Events, Form, credential, model_of, peek, render, rest, wants_padding};
use crate::dialect::rename::{Unnamed, rename};
use crate::dialect::speech::{below_v1, beyond, is_at};
use crate::dialect::strip::{strip, with_member};
use crate::dialect::{
    Edit, Endpoint, EventStream, Look, Problem, Speech, Streaming, Unbatchable, Unstreamable,
};

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

    fn endpoint(&self, below: &str, batched: &[&'static str]) -> Option<Endpoint> {
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
        let form = Form::of(head.uri.query());
        let events = if wants_padding(&head.headers) { Events::padded(form) } else { Events::new(form) };
        (Some(Streaming { events: Box::new(events), no_ops: false }), body.into())
    }

    fn bodies_name_model(&self) -> bool {
        false
    }

    /// Where a body names the model it is by its full name.
    fn rename(&self, body: &[u8], model: &str) -> Result<Option<(Bytes, Edit)>, Problem> {
        rename(body, &format!("models/{model}"), Unnamed::Stays)
    }

    /// The query has nothing but the key, which travels as a line, and the form of a stream.
    fn alone<'a>(&self, below: &'a str, _query: Option<&'a str>) -> (Cow<'a, str>, Option<&'a str>) {
        (below.replace(":streamGenerateContent", ":generateContent").into(), None)
    }

    fn flex(&self, body: &[u8]) -> Vec<u8> {
        // The API takes members in both spellings.
        with_member(&strip(body, &["service_tier"]), "serviceTier", "flex")
    }

    fn render(&self, problem: &Problem) -> (StatusCode, HeaderMap, Bytes) {
        render(problem)
    }
}

impl EventStream for Events {
    fn content_type(&self) -> HeaderValue {
        HeaderValue::from_static(self.form().content_type())
    }

    fn sign_of_life(&mut self) -> Bytes {
        self.no_op()
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

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    const BATCHED: &[&str] = &["/v1beta/models/*:generateContent", "/v1beta/models/*:embedContent"];

    fn endpoint(method: &str) -> Endpoint {
        Gemini.endpoint(&format!("/v1/models/gemini-x:{method}"), BATCHED).unwrap()
    }

    #[test]
    fn paths_name_model_and_endpoint() {
        let stream = endpoint("streamGenerateContent");
        assert_eq!((stream.name, stream.streams), (BATCHED[0], true));
        assert_eq!((endpoint("embedContent").name, endpoint("embedContent").streams), (BATCHED[1], false));
        assert_eq!(endpoint("generateContent").model.as_deref(), Some("gemini-x"));
        for below in
            ["/v1beta/models/gemini-x:countTokens", "/v1beta/models", "/v1beta/models/a/b:generateContent"]
        {
            assert_eq!(Gemini.endpoint(below, BATCHED), None);
        }
        assert_eq!(Gemini.endpoint("/v1/models/gemini-x:embedContent", &BATCHED[..1]), None);
    }

    #[test]
    fn queries_that_a_batch_cannot_honour_are_told_apart() {
        for (method, query, takes) in [
            ("generateContent", "key=k", true),
            ("generateContent", "alt=json", true),
            ("generateContent", "alt=sse", false),
            ("streamGenerateContent", "alt=sse&key=k", true),
            ("streamGenerateContent", "fields=a", false),
        ] {
            assert_eq!(Gemini.takes_query(&endpoint(method), query), takes, "{method} {query}");
        }
    }

    #[test]
    fn a_model_in_the_body_must_be_the_one_in_the_path() {
        let look = |body: &'static str| Gemini.look(&endpoint("embedContent"), body.as_bytes()).unwrap();
        for body in ["{}", r#"{"model":"models/gemini-x"}"#] {
            let Look::Hold { model, inputs: 1, streams: false } = look(body) else { panic!("{body}") };
            assert_eq!(model, "gemini-x");
        }
        assert_eq!(look(r#"{"model":"models/other"}"#), Look::Relay(Unbatchable::Member("model")));
    }

    #[test]
    fn another_model_stands_in_a_body_only_where_one_stood() {
        assert_eq!(Gemini.rename(b"{}", "gemini-y"), Ok(None));
        let (body, _) = Gemini.rename(br#"{"model": "models/gemini-x"}"#, "gemini-y").unwrap().unwrap();
        assert_eq!(body, r#"{"model": "models/gemini-y"}"#);
    }

    #[test]
    fn some_clients_wait_within_an_event() {
        let signs = |agent: &str| {
            let request = Request::post("/x?alt=sse").header("user-agent", agent);
            let (head, ()) = request.body(()).unwrap().into_parts();
            let (streaming, _) = Gemini.stream(&endpoint("streamGenerateContent"), "m", &head, b"{}");
            let mut events = streaming.unwrap().events;
            [events.sign_of_life(), events.sign_of_life()]
        };
        assert_eq!(signs("google-genai-sdk/1.29.0 gl-node/20"), ["data: ", " "]);
        assert_eq!(signs("google-genai-sdk/3.4.0 gl-node/20"), ["\n", "\n"]);
    }
}
