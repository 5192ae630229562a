//! Calls in other dialects than OpenAI's.

use super::desk::House;
use super::keeping::{HURRY, answer, fail, with};
use super::*;

const CLAUDE: &str = r#"{"model":"claude-x","max_tokens":1,"messages":[]}"#;
const CLAUDE_STREAM: &str = r#"{"model":"claude-x","max_tokens":1,"messages":[],"stream":true}"#;
const VERSION: &str = "anthropic-version: 2023-06-01\r\n";
const MESSAGE: &str =
    r#"{"id":"msg_1","content":[{"type":"text","text":"h\u00e9"}],"stop_reason":"end_turn"}"#;

async fn house() -> House {
    House::with(false, false, Amount { count: 10, bytes: 100_000 }).await
}

fn kind(body: &[u8]) -> (String, String) {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    (text(&body["error"]["type"]), text(&body["error"]["status"]))
}

#[tokio::test]
async fn a_message_gets_its_answer_with_the_providers_request_id() {
    let mut house = house().await;
    let mut client = house.client().await;
    client.send(with(VERSION, "/v1/messages", CLAUDE)).await;
    let waiter = house.held().await;
    let provided = Provided {
        status: StatusCode::OK,
        headers: HeaderMap::from_iter([("request-id".parse().unwrap(), "req_1".parse().unwrap())]),
        job: "msgbatch_1".into(),
        body: MESSAGE.into(),
        unbatchable: false,
        route: Default::default(),
    };
    let outcome = Outcome::Response(provided).into();
    waiter.end(Ended::new(outcome, Duration::from_secs(1)));
    let (head, body) = client.message().await;
    assert_eq!((status(&head), line(&head, "request-id"), body), ("200", Some("req_1"), MESSAGE.into()));
    assert_eq!(line(&head, "x-llm-proxy-job"), Some("msgbatch_1"));
}

#[tokio::test]
async fn a_stream_of_a_message_has_its_events_and_errors() {
    let mut house = house().await;
    let mut client = house.client().await;
    client.send(with(&format!("{VERSION}{HURRY}"), "/v1/messages", CLAUDE_STREAM)).await;
    let waiter = house.held().await;
    let head = client.head().await;
    assert_eq!(line(&head, "content-type"), Some("text/event-stream; charset=utf-8"));
    answer(waiter, 200, MESSAGE);
    let events = client.after_beats().await;
    assert!(events.starts_with("event: message_start\n"), "{events}");
    assert!(events.ends_with("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"), "{events}");
    assert!(events.contains(r#""text":"h\u00e9""#));

    let mut client = house.client().await;
    client.send(with(&format!("{VERSION}{HURRY}"), "/v1/messages", CLAUDE_STREAM)).await;
    let waiter = house.held().await;
    client.head().await;
    fail(waiter);
    let events = client.after_beats().await;
    let expected = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"timeout_error\",\"message\":\"too late\"";
    assert!(events.starts_with(expected), "{events}");
}

#[tokio::test]
async fn a_stream_of_chunks_is_an_array_unless_events_are_asked_for() {
    let mut house = house().await;
    let body = r#"{"contents":[]}"#;
    let answered =
        r#"{"candidates":[{"content":{"parts":[{"text":"x"}],"role":"model"},"finishReason":"STOP"}]}"#;
    for (query, kind, begin) in
        [("", "application/json; charset=UTF-8", "[{"), ("?alt=sse&key=AIza", "text/event-stream", "data: {")]
    {
        let mut client = house.client().await;
        let path = format!("/v1beta/models/gemini-x:streamGenerateContent{query}");
        let call = with("x-goog-api-key: AIza\r\n", &path, body).replace("authorization: Bearer k\r\n", "");
        client.send(call).await;
        answer(house.held().await, 200, answered);
        let (head, body) = client.message().await;
        assert_eq!((status(&head), line(&head, "content-type")), ("200", Some(kind)));
        assert!(body.starts_with(begin.as_bytes()), "{body:?}");
    }
}

#[tokio::test]
async fn errors_of_ours_speak_as_the_caller_does() {
    let house = house().await;
    let nothing = |path: &str| format!("POST {path} HTTP/1.1\r\nhost: p\r\ncontent-length: 0\r\n\r\n");
    for (path, expected, error) in [
        ("/v1/messages", "401", ("authentication_error", "")),
        ("/v1beta/models/m:generateContent", "403", ("", "PERMISSION_DENIED")),
        ("/v1/responses", "401", ("invalid_request_error", "")),
        // There is no provider to relay to.
        ("/v1/messages/count_tokens", "502", ("api_error", "")),
        ("/v1beta/files", "502", ("", "UNAVAILABLE")),
        ("/v1/files", "502", ("server_error", "")),
    ] {
        let mut client = house.client().await;
        client.send(nothing(path)).await;
        let (head, body) = client.message().await;
        assert_eq!(status(&head), expected, "{path}");
        assert_eq!(kind(&body), (error.0.to_owned(), error.1.to_owned()), "{path}");
    }
    let mut client = house.client().await;
    let large = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: p\r\nx-api-key: k\r\n{VERSION}content-length: 20000000\r\n\r\n"
    );
    client.send(large).await;
    let (head, body) = client.message().await;
    assert_eq!((status(&head), kind(&body).0.as_str()), ("413", "request_too_large"));
    assert!(line(&head, "request-id").is_some_and(|id| id.starts_with("llmp_")));
}

#[tokio::test]
async fn what_is_relayed_keeps_its_credential_and_goes_below_the_right_base() {
    let provider = Provider::start().await;
    let proxy = Proxy::start(provider.address()).await;
    let mut client = proxy.client().await;
    let mut theirs = None;
    for (request, first, credential) in [
        (
            "GET /v1/models HTTP/1.1\r\nanthropic-version: v\r\nx-api-key: k",
            "GET /v1/models HTTP/1.1",
            ("x-api-key", "k"),
        ),
        (
            "GET /anthropic/v1/v1/models HTTP/1.1\r\nauthorization: Bearer k",
            "GET /v1/models HTTP/1.1",
            ("authorization", "Bearer k"),
        ),
        (
            "GET /v1beta/models?key=k&a=b HTTP/1.1\r\nx-y: z",
            "GET /v1beta/models?key=k&a=b HTTP/1.1",
            ("x-y", "z"),
        ),
        (
            "POST /v1beta/models/m:generateContent?fields=a&key=k HTTP/1.1\r\nx-y: z",
            "POST /v1beta/models/m:generateContent?fields=a&key=k HTTP/1.1",
            ("x-y", "z"),
        ),
        (
            "POST /messages/count_tokens HTTP/1.1\r\nx-api-key: k",
            "POST /v1/messages/count_tokens HTTP/1.1",
            ("x-api-key", "k"),
        ),
        (
            "GET /openai/files HTTP/1.1\r\nauthorization: Bearer k",
            "GET /v1/files HTTP/1.1",
            ("authorization", "Bearer k"),
        ),
    ] {
        client.send(format!("{request}\r\nhost: p\r\ncontent-length: 0\r\n\r\n")).await;
        if theirs.is_none() {
            theirs = Some(provider.accept().await);
        }
        let theirs = theirs.as_mut().unwrap();
        let head = theirs.head().await;
        assert_eq!(head.lines().next(), Some(first));
        assert_eq!(line(&head, credential.0), Some(credential.1), "{head}");
        theirs.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        assert_eq!(status(&client.head().await), "200");
    }
}

#[tokio::test]
async fn a_relayed_message_says_why() {
    let provider = Provider::start().await;
    let proxy = Proxy::start(provider.address()).await;
    let mut client = proxy.client().await;
    let body = r#"{"model":"claude-x","max_tokens":1,"messages":[],"speed":"fast"}"#;
    client.send(with(VERSION, "/messages", body)).await;
    let mut theirs = provider.accept().await;
    let (head, sent) = theirs.message().await;
    assert!(head.starts_with("POST /v1/messages HTTP/1.1\r\n"), "{head}");
    assert_eq!(sent, body);
    theirs.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(line(&client.head().await, "x-llm-proxy-relay-reason"), Some("speed"));
}
