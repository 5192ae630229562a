//! May a call of a batchable endpoint wait for a batch?

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::ids::Fingerprint;
use common::key::BatchKey;
use common::outcome::{Fault, FaultClass};
use common::seal::Keyring;
use common::wire;
use http::request::Parts;
use http::{HeaderMap, HeaderName, Uri, header};
use http_body::Body;

use super::body::Intake;
use super::headers::{plan, tag};
use super::intern::Interner;
use super::patience::retry_count;
use super::route::Place;
use crate::accounts::Relayed;
use crate::dialect::{Endpoint, Look, Problem, Streaming, Unbatchable, of};
use crate::hold::{Call, Pairing};
use crate::plan::Plan;

/// Names a request, whatever becomes of its caller.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Tells calls to hold from those to relay and those to refuse.
#[derive(Debug)]
pub(super) struct Admission {
    keyring: Arc<Keyring>,
    intake: Intake,
    interner: Interner,
    /// When the batch of a call is given up that says nothing else.
    deadline: Option<Duration>,
    /// Whether nothing is held.
    observes: bool,
}

/// What is to be done with a call.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It waits for its batch; how it is given its answer, if it asked for a stream; and what was changed in its body, if its
    /// batch names the model otherwise.
    Hold(Call, Option<Streaming>),
    /// It would wait, but goes to the provider as it is, with its body.
    Observe(wire::BatchKey, Bytes),
    /// It goes to the provider as it is; with its body, if that was read already.
    Relay(Unbatchable, Option<Bytes>),
}

/// Who calls, and what of the head decides about the batch.
pub(super) struct Caller {
    fingerprint: Fingerprint,
    credential: HeaderMap,
    key_headers: Vec<wire::Header>,
}

/// What a call says to llm-proxy.
pub(super) struct Wish {
    plan: Plan,
    tag: Option<Arc<str>>,
}

impl Admission {
    pub(super) fn new(
        keyring: Arc<Keyring>,
        intake: Intake,
        deadline: Option<Duration>,
        observes: bool,
    ) -> Self {
        Self { keyring, intake, interner: Interner::default(), deadline, observes }
    }

    /// Judges a call by its head and reads its body if the head allows.
    pub(super) async fn judge<B>(
        &self,
        place: &Place,
        endpoint: &Endpoint,
        head: &Parts,
        body: &mut B,
    ) -> Result<Verdict, Problem>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let Some(wish) = self.wish(&head.headers)? else {
            return Ok(Verdict::Relay(Unbatchable::Mode, None));
        };
        let speech = of(place.dialect());
        if head
            .uri
            .query()
            .is_some_and(|query| !speech.takes_query(endpoint, query) && !is_neutral(place, query))
        {
            return Ok(Verdict::Relay(Unbatchable::Query, None));
        }
        let caller = self.caller(place, head)?;
        if let Some(reason) = form(&head.headers)? {
            return Ok(Verdict::Relay(reason, None));
        }
        let body = self.intake.read(caller.fingerprint, body).await?;
        self.weigh(place, endpoint, head, (caller, wish), body)
    }

    /// One copy of a URL that many calls are made to.
    pub(super) fn shared_uri(&self, uri: Uri) -> Arc<Uri> {
        self.interner.uri(uri)
    }

    /// What a call says about its way and its name; `None` where it is to be made at once and as it is.
    pub(super) fn wish(&self, headers: &HeaderMap) -> Result<Option<Wish>, Problem> {
        let tag = tag(headers)?.map(|tag| self.interner.tag(tag));
        Ok(plan(headers, self.deadline)?.map(|plan| Wish { plan, tag }))
    }

    /// Whose call it is.
    pub(super) fn caller(&self, place: &Place, head: &Parts) -> Result<Caller, Problem> {
        let speech = of(place.dialect());
        let credential = speech.credential(head)?;
        let key_headers = speech.key_headers(&head.headers)?;
        Ok(Caller { fingerprint: self.fingerprint(place, &credential), credential, key_headers })
    }

    /// Whose share a request counts against that is not held. Those without a key are one at each upstream.
    pub(super) fn sharer(&self, place: &Place, head: &Parts) -> Fingerprint {
        self.fingerprint(place, &of(place.dialect()).credential(head).unwrap_or_default())
    }

    /// Whose call it is that is relayed, as far as its head tells.
    pub(super) fn relayed(&self, place: &Place, endpoint: &Endpoint, head: &Parts) -> Relayed {
        let key = wire::BatchKey {
            upstream: place.upstream.name.clone(),
            fingerprint: self.sharer(place, head).to_bytes(),
            endpoint: endpoint.name.to_owned(),
            model: endpoint.model.as_deref().unwrap_or_default().to_owned(),
            ..Default::default()
        };
        Relayed { key, tag: self.shared_tag(head), observed: false }
    }

    /// One copy of a tag.
    pub(super) fn shared_tag(&self, head: &Parts) -> Option<Arc<str>> {
        tag(&head.headers).ok().flatten().map(|tag| self.interner.tag(tag))
    }

    fn fingerprint(&self, place: &Place, credential: &HeaderMap) -> Fingerprint {
        self.keyring.fingerprint(&place.upstream.name, credential)
    }

    /// Judges a call by its body. Of a call to hold, where it is called alone, whether it can be at the price of a batch, and whether its
    /// batch would be refused is left open.
    pub(super) fn weigh(
        &self,
        place: &Place,
        endpoint: &Endpoint,
        head: &Parts,
        (caller, wish): (Caller, Wish),
        body: Bytes,
    ) -> Result<Verdict, Problem> {
        let speech = of(place.dialect());
        let (model, inputs, streams) = match speech.look(endpoint, &body)? {
            Look::Relay(reason) => return Ok(Verdict::Relay(reason, Some(body))),
            Look::Hold { model, inputs, streams } => (model.into_owned(), inputs, streams),
        };
        let Wish { plan, tag } = wish;
        let Caller { fingerprint, credential, key_headers } = caller;
        let key = wire::BatchKey {
            upstream: place.upstream.name.clone(),
            fingerprint: fingerprint.to_bytes(),
            endpoint: endpoint.name.to_owned(),
            model: place.upstream.batched_model(&model).to_owned(),
            headers: key_headers,
            patience_s: plan.class_s(),
        };
        if self.observes {
            return Ok(Verdict::Observe(key, body));
        }
        let internal =
            |error: common::ids::BadId| Fault::new(FaultClass::Internal, "internal", error.to_string());
        let key = self.interner.key(key).map_err(internal)?;
        let credential = self.interner.credential(fingerprint, credential);
        let pairing = self.pairing(&key, endpoint, &head.headers, &body);
        let (streaming, body) = match streams {
            true => {
                let (mut streaming, stripped) = speech.stream(endpoint, &model, head, &body);
                if let Some(streaming) = &mut streaming {
                    streaming.events.tell_usage(&place.upstream.provider.about().stream_usage);
                }
                (streaming, Bytes::from(stripped.into_owned()))
            }
            false => (None, body),
        };
        let unsaid = endpoint.model.is_some() && speech.bodies_name_model();
        let renamed = match unsaid || key.model() != model {
            true => speech.rename(&body, key.model())?,
            // The body says what it is to say, and stays as it is.
            false => None,
        };
        let (body, edit) = renamed.map_or((body, None), |(body, edit)| (body, Some(Arc::new(edit))));
        let call = Call { key, credential, body, inputs, pairing, uri: Arc::default(), edit, plan, tag };
        Ok(Verdict::Hold(call, streaming))
    }

    /// What a repetition of this call has in common with it: the body, and what of the key stands beside it.
    fn pairing(&self, key: &BatchKey, endpoint: &Endpoint, headers: &HeaderMap, body: &[u8]) -> Pairing {
        let digest = |parts: &[&[u8]]| self.keyring.digest(key.fingerprint(), parts);
        let called = key.endpoint().as_bytes();
        let name = headers.get(IDEMPOTENCY_KEY);
        let idempotency = name.map(|name| digest(&[b"idempotency key", called, name.as_bytes()]));
        let beside = key.to_wire().headers;
        let lines = beside.iter().flat_map(|line| [line.name.as_bytes(), &line.value[..]]);
        let model = endpoint.model.as_deref().map(str::as_bytes);
        let parts: Vec<&[u8]> = [&b"body"[..], called, body].into_iter().chain(model).chain(lines).collect();
        Pairing { digest: digest(&parts), idempotency, retry: retry_count(headers) > 0 }
    }
}

/// Whether a query has nothing in it that a batch could not do without.
fn is_neutral(place: &Place, query: &str) -> bool {
    let names = place.upstream.provider.neutral_query();
    query.split('&').all(|pair| names.contains(&pair.split('=').next().unwrap_or_default()))
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

    use super::super::route::{Route, Routes};
    use super::super::tests::upstreams;
    use super::*;
    use crate::fair::Amount;

    const CHAT: &str = "/v1/chat/completions";

    fn admission() -> Admission {
        Admission::new(
            Arc::new(Keyring::for_one_process()),
            Intake::new(1000, Amount { count: 10, bytes: 10_000 }),
            None,
            false,
        )
    }

    async fn judge(uri: &str, lines: &[(&str, &str)], body: &'static str) -> Result<Verdict, Problem> {
        judged(&admission(), uri, lines, body).await
    }

    async fn judged(
        admission: &Admission,
        uri: &str,
        lines: &[(&str, &str)],
        body: &'static str,
    ) -> Result<Verdict, Problem> {
        let mut request = Request::post(uri);
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        let Route::Batch(place, endpoint) = Routes::new(&upstreams("http://h", "/v1")).route(&head) else {
            panic!("{uri}")
        };
        let mut body = Full::new(Bytes::from_static(body.as_bytes()));
        admission.judge(&place, &endpoint, &head, &mut body).await
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
            let Ok(Verdict::Hold(call, None)) = judge(CHAT, &lines, BODY).await else {
                panic!("{content_type}")
            };
            assert_eq!(call.body, BODY);
            assert_eq!(
                (call.key.upstream(), call.key.endpoint(), call.key.model(), call.inputs),
                ("openai", CHAT, "m", 1)
            );
            assert_eq!(call.credential.len(), 2);
        }
        assert!(matches!(judge(CHAT, &[KEY], BODY).await, Ok(Verdict::Hold(..))));
    }

    #[tokio::test]
    async fn inputs_are_counted_for_embeddings_only() {
        let body = r#"{"model":"m","input":["a","b"]}"#;
        for (endpoint, inputs) in [("/v1/embeddings", 2), ("/v1/responses", 1)] {
            let Ok(Verdict::Hold(call, None)) = judge(endpoint, &[KEY, JSON], body).await else { panic!() };
            assert_eq!(call.inputs, inputs);
        }
    }

    #[tokio::test]
    async fn refusals_come_in_order() {
        let status =
            async |lines: &[(&str, &str)], body| judge(CHAT, lines, body).await.unwrap_err().status.as_u16();
        assert_eq!(status(&[("x-llm-proxy-mode", "fast"), JSON], BODY).await, 400);
        assert_eq!(status(&[JSON], "nonsense").await, 401);
        assert_eq!(status(&[KEY, ("content-type", "text/plain")], BODY).await, 400);
        assert_eq!(status(&[KEY, JSON], "nonsense").await, 400);
        assert_eq!(status(&[KEY, JSON], "{}").await, 400);
        let large = Box::leak(format!("{{\"model\":\"{}\"}}", "m".repeat(1000)).into_boxed_str());
        assert_eq!(status(&[KEY, JSON], large).await, 413);
    }

    #[tokio::test]
    async fn what_cannot_be_batched_is_relayed() {
        let relay = async |uri, lines: &[(&str, &str)], body| match judge(uri, lines, body).await {
            Ok(Verdict::Relay(reason, read)) => (reason.as_str(), read.is_some()),
            other => panic!("{other:?}"),
        };
        assert_eq!(relay(CHAT, &[("x-llm-proxy-mode", "sync")], "").await, ("mode", false));
        assert_eq!(relay("/v1/chat/completions?a=1", &[], "").await, ("query", false));
        assert_eq!(
            relay(CHAT, &[KEY, ("content-type", "multipart/form-data; boundary=x")], "").await,
            ("multipart", false)
        );
        assert_eq!(
            relay(CHAT, &[KEY, JSON, ("content-encoding", "gzip")], "").await,
            ("content-encoding", false)
        );
        let images = "/v1/images/generations";
        assert_eq!(relay(images, &[KEY, JSON], r#"{"model":"m","stream":true}"#).await, ("stream", true));
        assert_eq!(relay("/moderations", &[KEY, JSON], r#"{"input":"x"}"#).await, ("no-model", true));
        assert_eq!(relay("/responses", &[KEY, JSON], r#"{"prompt":{"id":"p"}}"#).await, ("no-model", true));
    }

    #[tokio::test]
    async fn a_stream_is_batched_without_the_wish_for_it() {
        let body =
            r#"{ "stream" : true, "model":"m", "n": 1e999, "stream_options": {"include_usage": true} }"#;
        let Ok(Verdict::Hold(call, Some(_))) = judge(CHAT, &[KEY, JSON], body).await else { panic!() };
        assert_eq!(call.body, r#"{ "model":"m", "n": 1e999 }"#);
    }

    #[tokio::test]
    async fn repetitions_are_recognised_by_body_endpoint_and_credential() {
        let admission = admission();
        let pairing = async |endpoint: &'static str, key: &str, more: &[(&str, &str)], body: &'static str| {
            let lines = [&[("authorization", key)], more].concat();
            match judged(&admission, endpoint, &lines, body).await {
                Ok(Verdict::Hold(call, ..)) => call.pairing,
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
    const CLAUDE: &str = r#"{"model":"claude-x","max_tokens":1,"messages":[],"stream":true}"#;

    #[tokio::test]
    async fn a_message_is_batched_with_the_lines_of_its_batch() {
        let lines = [
            ("x-api-key", "k"),
            JSON,
            ("anthropic-version", "2023-06-01"),
            ("anthropic-beta", "b,a"),
            ("anthropic-beta", "a"),
        ];
        let Ok(Verdict::Hold(call, Some(_))) = judge("/v1/v1/messages?beta=true", &lines, CLAUDE).await
        else {
            panic!()
        };
        let key = call.key.to_wire();
        assert_eq!((&*key.upstream, &*key.endpoint, &*key.model), ("anthropic", "/v1/messages", "claude-x"));
        let headers: Vec<_> = key.headers.iter().map(|line| (&*line.name, &*line.value)).collect();
        assert_eq!(headers, [("anthropic-beta", &b"a,b"[..]), ("anthropic-version", b"2023-06-01")]);
        assert_eq!(call.body, r#"{"model":"claude-x","max_tokens":1,"messages":[]}"#);
        assert_eq!(call.credential.keys().collect::<Vec<_>>(), ["x-api-key"]);

        let refused = async |lines: &[(&str, &str)]| judge("/messages", lines, CLAUDE).await.unwrap_err();
        assert_eq!(refused(&lines[1..]).await.status, 401);
        assert_eq!(refused(&lines[..2]).await.message, "anthropic-version: header is required");
        let Ok(Verdict::Relay(reason, None)) = judge("/v1/messages?x=1", &lines, CLAUDE).await else {
            panic!()
        };
        assert_eq!(reason, Unbatchable::Query);
    }

    #[tokio::test]
    async fn what_stands_beside_the_body_tells_calls_apart() {
        let admission = admission();
        let digest = async |version: &'static str| {
            let lines = [("x-api-key", "k"), ("anthropic-version", version)];
            match judged(&admission, "/v1/messages", &lines, CLAUDE).await {
                Ok(Verdict::Hold(call, ..)) => (call.pairing.digest, call.key),
                other => panic!("{other:?}"),
            }
        };
        let (one, other) = (digest("2023-06-01").await, digest("2026-10-21").await);
        assert!(one.0 != other.0 && one.1 != other.1);
        assert_eq!(one, digest("2023-06-01").await);
    }

    #[tokio::test]
    async fn a_body_that_has_its_model_in_its_path_stays_as_it_is() {
        let lines = [("x-goog-api-key", "k"), JSON];
        let body = r#"{"model":"gemini-x","model" : "gemini-x"}"#;
        let judged = judge("/v1beta/models/gemini-x:generateContent", &lines, body).await;
        let Ok(Verdict::Hold(call, None)) = judged else { panic!() };
        assert_eq!(call.body, body);
    }

    #[tokio::test]
    async fn a_key_in_a_query_becomes_a_line_and_is_nowhere_else() {
        let path = "/v1beta/models/gemini-x:streamGenerateContent?alt=sse&key=key-marker-0123456789";
        let Ok(Verdict::Hold(call, Some(streaming))) = judge(path, &[JSON], r#"{"contents":[]}"#).await
        else {
            panic!()
        };
        assert_eq!(call.credential["x-goog-api-key"], "key-marker-0123456789");
        assert!(call.credential.values().all(http::HeaderValue::is_sensitive));
        let shown = format!("{call:?} {streaming:?} {:?}", call.key.to_wire());
        assert!(!shown.contains("marker"), "{shown}");
        assert_eq!((call.key.upstream(), call.key.model()), ("gemini", "gemini-x"));
        assert!(call.key.endpoint().ends_with(":generateContent"));
    }
}
