//! A create reaches the provider once, whatever breaks, and its error says what is known.

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::Duration;

use super::server::{Reply, Server, answer, ok, status};
use super::{client, credential};
use crate::openai::{ApiError, BatchObject, Client, Kind, NewBatch};

const BATCH: &str = r#"{"id":"batch_1","status":"validating"}"#;

async fn create(client: &Client) -> Result<BatchObject, ApiError> {
    let new = NewBatch {
        input_file_id: "file-1",
        endpoint: "/v1/responses",
        metadata: &[],
        outputs_expire_after: None,
    };
    client.create(&credential(), &new).await
}

type Broken = fn() -> Reply;

/// Replies to every create in one way; returns the error and how often the server was asked.
async fn error_after(reply: Broken) -> (ApiError, usize) {
    let server = Server::start(move |_| reply()).await;
    let error = create(&client(&server.base())).await.unwrap_err();
    (error, server.seen().len())
}

#[tokio::test]
async fn an_unknown_outcome_is_ambiguous_and_nothing_is_sent_twice() {
    let broken: [(&str, Broken); 9] = [
        ("closed without an answer", || Reply::Close(vec![])),
        ("reset", || Reply::Reset(vec![])),
        ("cut head", || Reply::Close(b"HTTP/1.1 200 OK\r\ncont".into())),
        ("cut body", || {
            Reply::Close(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"id\":\"batch_1\"}".into())
        }),
        ("no batch", || ok("<html>")),
        ("an error with status 200", || ok(r#"{"error":{"message":"no"}}"#)),
        ("503", || status("503 Unavailable", "busy")),
        ("408 of a gateway", || status("408 Timeout", "")),
        ("a redirect", || Reply::Keep(answer("307 Moved", "location: /v1/other\r\n", b""))),
    ];
    for (what, reply) in broken {
        let (error, asked) = error_after(reply).await;
        assert!(matches!(error.kind(), Kind::Ambiguous(_)), "{what}: {error:?}");
        assert_eq!(asked, 1, "{what}");
    }
}

#[tokio::test]
async fn a_clean_refusal_is_rejected() {
    for reply in [|| status("400 Bad", ""), || status("429 Slow", "{}")] {
        let (error, asked) = error_after(reply).await;
        assert!(matches!(error.kind(), Kind::Rejected(_)), "{error:?}");
        assert_eq!(asked, 1);
    }
}

#[tokio::test]
async fn a_create_never_meets_a_connection_that_is_just_being_closed() {
    // Every connection is kept after its first answer and breaks under the second request, or is closed at once.
    let used = Mutex::new(HashSet::new());
    let server = Server::start(move |seen| match used.lock().unwrap().insert(seen.connection) {
        true if seen.number % 3 == 0 => Reply::Close(answer("200 OK", "", BATCH.as_bytes())),
        true => ok(BATCH),
        false => Reply::Reset(vec![]),
    })
    .await;
    let client = client(&server.base());
    for _ in 0..60 {
        // May itself meet a broken connection; it is there to fill the pool.
        let _ = client.retrieve(&credential(), "batch_1").await;
        create(&client).await.unwrap();
    }
    let seen = server.seen();
    let posts: Vec<_> = seen.iter().filter(|seen| seen.line.starts_with("POST")).collect();
    assert_eq!(posts.len(), 60);
    let alone = |number| seen.iter().filter(|seen| seen.connection == number).count() == 1;
    assert!(posts.iter().all(|post| alone(post.connection)));
}

#[tokio::test]
async fn concurrent_creates_are_each_sent_once_on_a_server_that_resets_every_other() {
    let server = Server::start(|seen| match seen.number % 2 {
        0 => ok(BATCH),
        _ => Reply::Reset(vec![]),
    })
    .await;
    let client = client(&server.base());
    let results = futures_util::future::join_all((0..40).map(|_| create(&client))).await;
    assert_eq!(server.seen().len(), 40);
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 20);
    let ambiguous = |result: &Result<_, ApiError>| {
        result.as_ref().err().is_none_or(|error| matches!(error.kind(), Kind::Ambiguous(None)))
    };
    assert!(results.iter().all(ambiguous));
}

#[tokio::test]
async fn a_create_without_an_answer_ends_after_two_minutes() {
    let server = Server::start(|_| Reply::Hang).await;
    let client = client(&server.base());
    let call = tokio::spawn(async move { create(&client).await });
    server.wait_for(1).await;
    tokio::time::pause();
    let start = tokio::time::Instant::now();
    let error = call.await.unwrap().unwrap_err();
    assert!(matches!(error.kind(), Kind::Ambiguous(None)), "{error:?}");
    let waited = start.elapsed();
    assert!(waited > Duration::from_secs(60) && waited <= Duration::from_secs(121), "{waited:?}");
    assert_eq!(server.seen().len(), 1);
}
