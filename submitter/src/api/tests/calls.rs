use std::time::Duration;

use super::server::{Reply, Server, answer, ok, status};
use super::{KEY, client, credential};
use crate::openai::{Client, Credential, Http, Kind, NewBatch, SetupError, Status};

const BATCH: &str =
    r#"{"id":"batch_1","status":"validating","input_file_id":"file-1","created_at":1711471533}"#;

#[tokio::test]
async fn create_sends_what_the_api_reference_asks_for() {
    let server = Server::start(|_| ok(BATCH)).await;
    let new = NewBatch {
        input_file_id: "file-1",
        endpoint: "/v1/responses",
        metadata: &[("llmp_bid", "b"), ("llmp_epoch", "1")],
        outputs_expire_after: Some(Duration::from_secs(1)),
    };
    let batch = client(&server.base()).create(&credential(), &new).await.unwrap();
    assert_eq!((batch.id.as_str(), batch.status), ("batch_1", Status::Validating));
    let seen = &server.seen()[0];
    assert_eq!(seen.line, "POST /v1/batches");
    assert_eq!(
        serde_json::from_slice::<serde_json::Value>(&seen.body).unwrap(),
        serde_json::json!({
            "input_file_id": "file-1", "endpoint": "/v1/responses", "completion_window": "24h",
            "metadata": {"llmp_bid": "b", "llmp_epoch": "1"},
            "output_expires_after": {"anchor": "created_at", "seconds": 3600},
        })
    );
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert_eq!(seen.header("authorization"), Some(format!("Bearer {KEY}").as_str()));
    assert_eq!(seen.header("openai-project"), Some("proj_1"));
    assert_eq!(seen.header("user-agent"), Some(concat!("llm-proxy/", env!("CARGO_PKG_VERSION"))));
    let bare = NewBatch { metadata: &[], outputs_expire_after: None, ..new };
    client(&server.base()).create(&credential(), &bare).await.unwrap();
    assert!(!String::from_utf8_lossy(&server.seen()[1].body).contains("expires"));
}

#[tokio::test]
async fn each_call_has_an_id_of_its_own_and_the_base_urls_query() {
    let server = Server::start(|_| ok(BATCH)).await;
    let client = client(&format!("{}/openai/?api-version=1#x", server.origin));
    client.retrieve(&credential(), "batch_1").await.unwrap();
    client.cancel(&credential(), "batch 1/ü").await.unwrap();
    let seen = server.seen();
    assert_eq!(seen[0].line, "GET /openai/batches/batch_1?api-version=1");
    assert_eq!(seen[1].line, "POST /openai/batches/batch%201%2F%C3%BC/cancel?api-version=1");
    assert_eq!(seen[1].header("content-length"), Some("0"));
    let ids: Vec<_> = seen.iter().map(|seen| seen.header("x-client-request-id").unwrap()).collect();
    assert!(ids[0] != ids[1] && ids[0].starts_with("llmp-"), "{ids:?}");
    assert_eq!(seen[0].connection, seen[1].connection, "calls that may be repeated share connections");
}

#[tokio::test]
async fn ids_that_would_change_the_path_are_not_sent() {
    let server = Server::start(|_| ok(BATCH)).await;
    let client = client(&server.base());
    for id in ["", ".", "..", "a\nb", "x".repeat(257).as_str()] {
        let error = client.retrieve(&credential(), id).await.unwrap_err();
        assert!(matches!(error.kind(), Kind::NotSent), "{id:?}: {error}");
    }
    assert_eq!(server.seen().len(), 0);
}

#[tokio::test]
async fn a_refusal_carries_the_answer_and_hides_the_key() {
    let body =
        format!(r#"{{"error":{{"message":"Incorrect API key provided: {KEY}.","code":"invalid_api_key"}}}}"#);
    let reply = body.clone();
    let server = Server::start(move |_| {
        Reply::Keep(answer("401 No", "x-request-id: req_7\r\nretry-after-ms: 1500\r\n", reply.as_bytes()))
    })
    .await;
    let error = client(&server.base()).retrieve(&credential(), "b").await.unwrap_err();
    let Kind::Rejected(answer) = error.kind() else { panic!("{error}") };
    assert_eq!((answer.status, answer.request_id.as_deref()), (401, Some("req_7")));
    assert_eq!(answer.body, body);
    assert_eq!(answer.code().as_deref(), Some("invalid_api_key"));
    assert_eq!(error.retry_after(), Some(Duration::from_millis(1500)));
    for shown in [error.to_string(), format!("{error:?}")] {
        assert!(shown.contains("invalid_api_key") && !shown.contains("Incorrect"), "{shown}");
        assert!(!shown.contains(KEY), "{shown}");
    }
}

#[tokio::test]
async fn a_huge_error_body_is_cut() {
    let server = Server::start(|_| status("400 No", &"x".repeat(200_000))).await;
    let error = client(&server.base()).retrieve(&credential(), "b").await.unwrap_err();
    assert_eq!(error.answer().unwrap().body.len(), 64 << 10);
    assert!(error.message().len() < 3000);
}

#[tokio::test]
async fn a_refused_connection_means_not_sent() {
    // Bound but not listening: nobody else can take the port, and nobody accepts.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let client = client(&format!("http://{}", socket.local_addr().unwrap()));
    let error = client.retrieve(&credential(), "b").await.unwrap_err();
    assert!(matches!(error.kind(), Kind::NotSent) && error.is_retryable(), "{error:?}");
    assert!(error.message().contains("refused"), "{error}");
    let body = futures_util::stream::iter([Ok::<_, std::io::Error>("x".into())]);
    let error = client.upload(&credential(), "f.jsonl", 1, body).await.unwrap_err();
    assert!(matches!(error.kind(), Kind::NotSent), "{error:?}");
}

#[tokio::test]
async fn deleting_tells_whether_the_file_was_there() {
    let server = Server::start(|seen| match seen.number {
        0 => ok(r#"{"id":"f","object":"file","deleted":true}"#),
        1 => status("404 Not Found", r#"{"error":{"message":"No such File object"}}"#),
        2 => ok(r#"{"id":"f","object":"file","deleted":false}"#),
        3 => status("204 No Content", ""),
        _ => status("403 Forbidden", ""),
    })
    .await;
    let client = client(&server.base());
    assert!(client.delete_file(&credential(), "f").await.unwrap());
    assert!(!client.delete_file(&credential(), "f").await.unwrap());
    let error = client.delete_file(&credential(), "f").await.unwrap_err();
    assert!(matches!(error.kind(), Kind::Ambiguous(Some(_))), "{error}");
    assert!(client.delete_file(&credential(), "f").await.unwrap());
    assert_eq!(client.delete_file(&credential(), "f").await.unwrap_err().status(), Some(403));
    assert!(server.seen().iter().all(|seen| seen.line == "DELETE /v1/files/f"));
}

#[tokio::test]
async fn redirects_of_gets_are_followed_and_other_origins_get_no_credential() {
    let elsewhere = Server::start(|_| ok(BATCH)).await;
    let to = format!("location: {}/signed?x=1\r\n", elsewhere.origin);
    let server = Server::start(move |seen| match seen.number {
        0 => Reply::Keep(answer("307 Moved", "location: /v2/here\r\n", b"")),
        1 => Reply::Keep(answer("302 Found", &to, b"")),
        _ => Reply::Keep(answer("302 Found", "location: /v1/again\r\n", b"")),
    })
    .await;
    let client = client(&server.base());
    client.retrieve(&credential(), "b").await.unwrap();
    assert_eq!(server.seen()[1].line, "GET /v2/here");
    assert!(server.seen()[1].header("authorization").is_some());
    let seen = &elsewhere.seen()[0];
    assert_eq!(seen.line, "GET /signed?x=1");
    assert_eq!((seen.header("authorization"), seen.header("openai-project")), (None, None));
    let error = client.retrieve(&credential(), "b").await.unwrap_err();
    assert!(error.message().contains("too many redirects"), "{error}");
}

#[test]
fn a_base_url_must_be_one() {
    let http = Http::new().unwrap();
    for base in ["api.openai.com", "ftp://x/", ""] {
        assert!(matches!(Client::new(&http, base), Err(SetupError::BaseUrl(_))), "{base}");
    }
    let client = Client::new(&http, "https://user:pass@api.openai.com/v1?key=x").unwrap();
    assert_eq!(client.base_url(), "https://api.openai.com/v1");
    assert!(!format!("{:?}", Credential::bearer(KEY).unwrap()).contains(KEY));
    assert!(Credential::bearer("a\nb").is_none());
}
