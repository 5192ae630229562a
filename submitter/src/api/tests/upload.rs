use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};

use super::server::{Reply, Server, answer, ok};
use super::{client, credential};
use crate::openai::Kind;

const FILE: &str =
    r#"{"id":"file-1","object":"file","bytes":3,"created_at":1711471533,"filename":"f.jsonl"}"#;
const CHUNK: usize = 64 << 10;

/// So many chunks, each of another byte, counted as they are taken.
fn chunks(count: usize, taken: Arc<AtomicUsize>) -> impl Stream<Item = Result<Bytes, io::Error>> + Send {
    stream::iter(0..count).map(move |i| {
        taken.fetch_add(1, Ordering::Relaxed);
        Ok(Bytes::from(vec![b'a' + (i % 26) as u8; CHUNK]))
    })
}

#[tokio::test]
async fn the_file_arrives_byte_for_byte_in_a_form_of_known_length() {
    let server = Server::start(|_| ok(FILE)).await;
    let body = chunks(100, Arc::default());
    let sent: Vec<u8> = chunks(100, Arc::default()).map(Result::unwrap).collect::<Vec<_>>().await.concat();
    let file =
        client(&server.base()).upload(&credential(), "llmp-1.jsonl", sent.len() as u64, body).await.unwrap();
    assert_eq!((file.id.as_str(), file.bytes, file.filename.as_str()), ("file-1", Some(3), "f.jsonl"));
    let seen = &server.seen()[0];
    assert_eq!(seen.line, "POST /v1/files");
    let boundary =
        seen.header("content-type").unwrap().strip_prefix("multipart/form-data; boundary=").unwrap();
    let field = |name: &str, value: &str| {
        format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let head = [
        field("purpose", "batch"),
        field("expires_after[anchor]", "created_at"),
        field("expires_after[seconds]", "172800"),
        format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"llmp-1.jsonl\"\r\n\
             Content-Type: application/jsonl\r\n\r\n"
        ),
    ]
    .concat();
    let expected = [head.as_bytes(), &sent, format!("\r\n--{boundary}--\r\n").as_bytes()].concat();
    let got = String::from_utf8_lossy(&seen.body[..head.len().min(seen.body.len())]).into_owned();
    assert!(seen.body == expected, "form begins with {got}");
}

#[tokio::test]
async fn no_more_is_read_than_the_provider_takes_and_a_stall_ends_it() {
    let server = Server::start_early(|_| Reply::Hang).await;
    let taken = Arc::new(AtomicUsize::new(0));
    // 256 MiB, of which the sockets' buffers may take some.
    let (count, body) = (4096, chunks(4096, taken.clone()));
    let client = client(&server.base());
    let length = (count * CHUNK) as u64;
    let call = tokio::spawn(async move { client.upload(&credential(), "f.jsonl", length, body).await });
    server.wait_for(1).await;
    let mut before = usize::MAX;
    while before != taken.load(Ordering::Relaxed) {
        before = taken.load(Ordering::Relaxed);
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    assert!(before < count / 4, "{before} chunks were read");
    tokio::time::pause();
    let error = call.await.unwrap().unwrap_err();
    assert!(matches!(error.kind(), Kind::Ambiguous(None)), "{error:?}");
    assert!(error.message().contains("stalled"), "{error}");
}

#[tokio::test]
async fn an_error_of_the_body_comes_back_as_it_was_and_no_whole_form_was_sent() {
    #[derive(Debug, thiserror::Error, PartialEq)]
    #[error("ingress went away")]
    struct Gone;
    let server = Server::start(|_| ok(FILE)).await;
    let body = stream::iter([Ok(Bytes::from_static(b"abc")), Err(Gone)]);
    let error = client(&server.base()).upload(&credential(), "f.jsonl", 6, body).await.unwrap_err();
    assert_eq!(error.to_string(), "upload file given up on our side: ingress went away");
    let Kind::Local(cause) = error.into_kind() else { panic!("not local") };
    assert_eq!(*cause.downcast::<Gone>().unwrap(), Gone);
    assert_eq!(server.seen().len(), 0);
    assert!(!server.received().ends_with(b"--\r\n"));
}

#[tokio::test]
async fn a_body_of_another_length_than_announced_is_no_file() {
    for (length, problem) in [(2, "longer than announced"), (4, "ended 1 bytes early"), (0, "longer")] {
        let server = Server::start(|_| ok(FILE)).await;
        let body = stream::iter([Ok::<_, io::Error>(Bytes::from_static(b"ab")), Ok("c".into())]);
        let error = client(&server.base()).upload(&credential(), "f.jsonl", length, body).await.unwrap_err();
        assert!(matches!(error.kind(), Kind::Local(_)), "{length}: {error:?}");
        assert!(error.message().contains(problem), "{error}");
        assert_eq!(server.seen().len(), 0, "{length}");
    }
}

#[tokio::test]
async fn a_refusal_in_mid_upload_is_heard_and_ends_the_body() {
    let refusal = r#"{"error":{"message":"File is too large."}}"#;
    let server = Server::start_early(move |_| {
        Reply::Close(answer("413 Too Large", "connection: close\r\n", refusal.as_bytes()))
    })
    .await;
    let alive = Arc::new(());
    let held = alive.clone();
    // The second chunk never comes.
    let body = stream::once(async { Ok::<_, io::Error>(Bytes::from_static(b"abc")) })
        .chain(stream::pending())
        .map(move |item| (item, held.clone()).0);
    let error = client(&server.base()).upload(&credential(), "f.jsonl", 1 << 40, body).await.unwrap_err();
    let said = error.answer().unwrap().message();
    assert_eq!((error.status(), &*said), (Some(413), "File is too large."), "{error:?}");
    assert!(matches!(error.kind(), Kind::Rejected(_)));
    dropped(&alive).await;
}

#[tokio::test]
async fn giving_up_the_call_gives_up_the_body() {
    let server = Server::start_early(|_| Reply::Hang).await;
    let alive = Arc::new(());
    let held = alive.clone();
    let body = stream::pending::<Result<Bytes, io::Error>>().map(move |item| (item, held.clone()).0);
    let client = client(&server.base());
    let call = tokio::spawn(async move { client.upload(&credential(), "f.jsonl", 9, body).await });
    server.wait_for(1).await;
    call.abort();
    dropped(&alive).await;
}

async fn dropped(alive: &Arc<()>) {
    for _ in 0..6000 {
        if Arc::strong_count(alive) == 1 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("the body is still held");
}

#[tokio::test]
async fn a_reset_upload_is_ambiguous() {
    let server = Server::start(|_| Reply::Reset(vec![])).await;
    let body = chunks(3, Arc::default());
    let result = client(&server.base()).upload(&credential(), "f.jsonl", 3 * CHUNK as u64, body).await;
    let error = result.unwrap_err();
    assert!(matches!(error.kind(), Kind::Ambiguous(None)), "{error:?}");
    assert_eq!(server.seen().len(), 1);
}
