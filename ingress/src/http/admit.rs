//! May a call of a batchable endpoint wait for a batch?

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use common::ids::{Fingerprint, Rid};
use common::key::BatchKey;
use common::outcome::{Fault, FaultClass};
use common::seal::Keyring;
use http::request::Parts;
use http::{HeaderMap, HeaderName, header};
use http_body::Body;

use super::body::Intake;
use super::credential;
use super::headers::{Mode, mode};
use super::intern::Interner;
use super::patience::retry_count;
use super::waiting::Streaming;
use crate::dialect::openai::{
    Events, Stripped, can_stream, model_is_optional, no_model, peek, strip_stream, wants_no_ops,
};
use crate::dialect::{Problem, Unbatchable};
use crate::hold::{Call, Pairing};

/// The configured name of the upstream whose dialect this is.
pub(super) const UPSTREAM: &str = "openai";

/// Names a request, whatever becomes of its caller.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Tells calls to hold from those to relay and those to refuse.
#[derive(Debug)]
pub(super) struct Admission {
    keyring: Arc<Keyring>,
    intake: Intake,
    interner: Interner,
}

/// What is to be done with a call.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It waits for its batch; and how it is given its answer, if it asked for a stream.
    Hold(Call, Option<Streaming>),
    /// It goes to the provider as it is; with its body, if that was read already.
    Relay(Unbatchable, Option<Bytes>),
}

impl Admission {
    pub(super) fn new(keyring: Arc<Keyring>, intake: Intake) -> Self {
        Self { keyring, intake, interner: Interner::default() }
    }

    /// Judges a call by its head and reads its body if the head allows.
    pub(super) async fn judge<B>(
        &self,
        endpoint: &'static str,
        head: &Parts,
        body: &mut B,
    ) -> Result<Verdict, Problem>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        if mode(&head.headers)? == Mode::Sync {
            return Ok(Verdict::Relay(Unbatchable::Mode, None));
        }
        if head.uri.query().is_some_and(|query| !query.is_empty()) {
            return Ok(Verdict::Relay(Unbatchable::Query, None));
        }
        let credential = self.credential(&head.headers)?;
        if let Some(reason) = form(&head.headers)? {
            return Ok(Verdict::Relay(reason, None));
        }
        let body = self.intake.read(credential.0, body).await?;
        self.weigh(endpoint, &head.headers, credential, body)
    }

    /// Whose call it is.
    pub(super) fn credential(&self, headers: &HeaderMap) -> Result<(Fingerprint, HeaderMap), Problem> {
        let credential = credential::openai(headers)?;
        Ok((self.fingerprint(&credential), credential))
    }

    /// Whose share a request counts against that is not held. Those without a key are one.
    pub(super) fn sharer(&self, headers: &HeaderMap) -> Fingerprint {
        self.fingerprint(&credential::openai(headers).unwrap_or_default())
    }

    fn fingerprint(&self, credential: &HeaderMap) -> Fingerprint {
        self.keyring.fingerprint(UPSTREAM, credential)
    }

    /// Judges a call by its body.
    pub(super) fn weigh(
        &self,
        endpoint: &'static str,
        headers: &HeaderMap,
        credential: (Fingerprint, HeaderMap),
        body: Bytes,
    ) -> Result<Verdict, Problem> {
        let peek = peek(&body)?;
        let no_stream = (peek.stream && !can_stream(endpoint)).then_some(Unbatchable::Stream);
        if let Some(reason) = peek.unbatchable.or(no_stream) {
            return Ok(Verdict::Relay(reason, Some(body)));
        }
        let Some(model) = &peek.model else {
            return match model_is_optional(endpoint, &peek) {
                true => Ok(Verdict::Relay(Unbatchable::NoModel, Some(body))),
                false => Err(no_model()),
            };
        };
        let inputs = if endpoint == "/v1/embeddings" { peek.inputs() } else { 1 };
        let (key, credential) = self.share(endpoint, model.clone().into_owned(), credential)?;
        let pairing = self.pairing(&key, headers, &body);
        let (streaming, body) = match peek.stream {
            true => streaming(&key, headers, &body),
            false => (None, body),
        };
        Ok(Verdict::Hold(Call { key, credential, body, inputs, pairing }, streaming))
    }

    /// What a repetition of this call has in common with it.
    fn pairing(&self, key: &BatchKey, headers: &HeaderMap, body: &[u8]) -> Pairing {
        let digest = |what: &[u8], value: &[u8]| {
            self.keyring.digest(key.fingerprint(), &[what, key.endpoint().as_bytes(), value])
        };
        let idempotency =
            headers.get(IDEMPOTENCY_KEY).map(|value| digest(b"idempotency key", value.as_bytes()));
        Pairing { digest: digest(b"body", body), idempotency, retry: retry_count(headers) > 0 }
    }

    fn share(
        &self,
        endpoint: &'static str,
        model: String,
        (fingerprint, credential): (Fingerprint, HeaderMap),
    ) -> Result<(BatchKey, Arc<HeaderMap>), Problem> {
        let key = self
            .interner
            .key(fingerprint, endpoint, model)
            .map_err(|error| Fault::new(FaultClass::Internal, "internal", error.to_string()))?;
        Ok((key, self.interner.credential(fingerprint, credential)))
    }
}

/// Batches do not stream: the wish is taken out of the body, and the answer is turned into a stream here.
fn streaming(key: &BatchKey, headers: &HeaderMap, body: &[u8]) -> (Option<Streaming>, Bytes) {
    let Stripped { body, include_usage } = strip_stream(body);
    let created = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let events = Events::new(key.endpoint(), key.model(), include_usage, Rid::random(), created);
    let no_ops = wants_no_ops(key.endpoint(), headers);
    (events.map(|events| Streaming { events, no_ops }), Bytes::from(body.into_owned()))
}

/// Whether the body is JSON as such, by its head; a reason to relay if it is a form or compressed.
pub(super) fn form(headers: &HeaderMap) -> Result<Option<Unbatchable>, Problem> {
    if let Some(value) = headers.get(header::CONTENT_TYPE) {
        let media_type = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
        if media_type.to_ascii_lowercase().starts_with("multipart/") {
            return Ok(Some(Unbatchable::Multipart));
        }
        if !media_type.eq_ignore_ascii_case("application/json") {
            let message = format!(
                "Unsupported content type: '{}'. This API method only accepts 'application/json' requests, but you specified the header 'Content-Type: {}'.",
                media_type.escape_default(),
                media_type.escape_default()
            );
            return Err(Problem::invalid(message).code("unsupported_content_type"));
        }
    }
    let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
    let plain = codings.all(|coding| coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity"));
    Ok((!plain).then_some(Unbatchable::ContentEncoding))
}

#[cfg(test)]
mod tests {
    use http::Request;
    use http_body_util::Full;

    use super::*;
    use crate::fair::Amount;

    const CHAT: &str = "/v1/chat/completions";

    fn admission() -> Admission {
        Admission::new(
            Arc::new(Keyring::for_one_process()),
            Intake::new(1000, Amount { count: 10, bytes: 10_000 }),
        )
    }

    async fn judge(
        endpoint: &'static str,
        uri: &str,
        lines: &[(&str, &str)],
        body: &'static str,
    ) -> Result<Verdict, Problem> {
        let mut request = Request::post(uri);
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        admission().judge(endpoint, &head, &mut Full::new(Bytes::from_static(body.as_bytes()))).await
    }

    const KEY: (&str, &str) = ("authorization", "Bearer sk-1");
    const JSON: (&str, &str) = ("content-type", "application/json");
    const BODY: &str = "{\"model\": \"m\",\r\n\"n\": 1e999}";

    #[tokio::test]
    async fn a_call_is_held_as_it_came() {
        for content_type in ["application/json", "Application/JSON; charset=utf-8"] {
            let lines = [
                KEY,
                ("content-type", content_type),
                ("openai-project", "p"),
                ("content-encoding", "identity"),
                ("cookie", "c"),
            ];
            let Ok(Verdict::Hold(call, None)) = judge(CHAT, CHAT, &lines, BODY).await else {
                panic!("{content_type}")
            };
            assert_eq!(call.body, BODY);
            assert_eq!(
                (call.key.upstream(), call.key.endpoint(), call.key.model(), call.inputs),
                ("openai", CHAT, "m", 1)
            );
            assert_eq!(call.credential.len(), 2);
        }
        assert!(matches!(judge(CHAT, CHAT, &[KEY], BODY).await, Ok(Verdict::Hold(..))));
    }

    #[tokio::test]
    async fn inputs_are_counted_for_embeddings_only() {
        let body = r#"{"model":"m","input":["a","b"]}"#;
        for (endpoint, inputs) in [("/v1/embeddings", 2), ("/v1/responses", 1)] {
            let Ok(Verdict::Hold(call, None)) = judge(endpoint, endpoint, &[KEY, JSON], body).await else {
                panic!()
            };
            assert_eq!(call.inputs, inputs);
        }
    }

    #[tokio::test]
    async fn refusals_come_in_order() {
        let status = async |lines: &[(&str, &str)], body| {
            judge(CHAT, CHAT, lines, body).await.unwrap_err().status.as_u16()
        };
        assert_eq!(status(&[("x-llm-proxy-mode", "flex"), JSON], BODY).await, 400);
        assert_eq!(status(&[JSON], "nonsense").await, 401);
        assert_eq!(status(&[KEY, ("content-type", "text/plain")], BODY).await, 400);
        assert_eq!(status(&[KEY, JSON], "nonsense").await, 400);
        assert_eq!(status(&[KEY, JSON], "{}").await, 400);
        let large = Box::leak(format!("{{\"model\":\"{}\"}}", "m".repeat(1000)).into_boxed_str());
        assert_eq!(status(&[KEY, JSON], large).await, 413);
    }

    #[tokio::test]
    async fn what_cannot_be_batched_is_relayed() {
        let relay =
            async |endpoint, uri, lines: &[(&str, &str)], body| match judge(endpoint, uri, lines, body).await
            {
                Ok(Verdict::Relay(reason, read)) => (reason.as_str(), read.is_some()),
                other => panic!("{other:?}"),
            };
        assert_eq!(relay(CHAT, CHAT, &[("x-llm-proxy-mode", "sync")], "").await, ("mode", false));
        assert_eq!(relay(CHAT, "/v1/chat/completions?a=1", &[], "").await, ("query", false));
        assert_eq!(
            relay(CHAT, CHAT, &[KEY, ("content-type", "multipart/form-data; boundary=x")], "").await,
            ("multipart", false)
        );
        assert_eq!(
            relay(CHAT, CHAT, &[KEY, JSON, ("content-encoding", "gzip")], "").await,
            ("content-encoding", false)
        );
        let images = "/v1/images/generations";
        assert_eq!(
            relay(images, images, &[KEY, JSON], r#"{"model":"m","stream":true}"#).await,
            ("stream", true)
        );
        assert_eq!(
            relay("/v1/moderations", "/moderations", &[KEY, JSON], r#"{"input":"x"}"#).await,
            ("no-model", true)
        );
        assert_eq!(
            relay("/v1/responses", "/responses", &[KEY, JSON], r#"{"prompt":{"id":"p"}}"#).await,
            ("no-model", true)
        );
    }

    #[tokio::test]
    async fn a_stream_is_batched_without_the_wish_for_it() {
        let body =
            r#"{ "stream" : true, "model":"m", "n": 1e999, "stream_options": {"include_usage": true} }"#;
        let Ok(Verdict::Hold(call, Some(_))) = judge(CHAT, CHAT, &[KEY, JSON], body).await else { panic!() };
        assert_eq!(call.body, r#"{ "model":"m", "n": 1e999 }"#);
    }

    #[tokio::test]
    async fn repetitions_are_recognised_by_body_endpoint_and_credential() {
        let admission = admission();
        let pairing = async |endpoint: &'static str, key: &str, more: &[(&str, &str)], body: &'static str| {
            let mut request = Request::post(endpoint).header("authorization", key);
            for (name, value) in more {
                request = request.header(*name, *value);
            }
            let (head, ()) = request.body(()).unwrap().into_parts();
            let mut body = Full::new(Bytes::from_static(body.as_bytes()));
            match admission.judge(endpoint, &head, &mut body).await {
                Ok(Verdict::Hold(call, _)) => call.pairing,
                other => panic!("{other:?}"),
            }
        };
        let body = r#"{"model":"m"}"#;
        let first = pairing(CHAT, "Bearer a", &[], body).await;
        assert_eq!(first, pairing(CHAT, "Bearer a", &[("user-agent", "other")], body).await);
        assert_ne!(first.digest, pairing(CHAT, "Bearer b", &[], body).await.digest);
        assert_ne!(first.digest, pairing("/v1/responses", "Bearer a", &[], body).await.digest);
        assert_ne!(first.digest, pairing(CHAT, "Bearer a", &[], r#"{"model":"m" }"#).await.digest);
        let streamed = pairing(CHAT, "Bearer a", &[], r#"{"model":"m","stream":true}"#).await;
        assert_ne!(first.digest, streamed.digest);
        let retry = pairing(CHAT, "Bearer a", &[("x-stainless-retry-count", "1")], body).await;
        assert!(retry.retry && !first.retry && retry.digest == first.digest);
        let name = ("idempotency-key", "k");
        let (mine, theirs) =
            (pairing(CHAT, "Bearer a", &[name], body).await, pairing(CHAT, "Bearer b", &[name], body).await);
        assert!(mine.idempotency.is_some() && mine.idempotency != theirs.idempotency);
    }
}
