//! Requests that go through as they are.

use super::*;

/// A proxy before a provider, and a client's connection.
async fn relay() -> (Provider, Proxy, Wire) {
    let provider = Provider::start().await;
    let proxy = Proxy::start(provider.address()).await;
    let client = proxy.client().await;
    (provider, proxy, client)
}

#[tokio::test]
async fn lines_go_both_ways_in_order() {
    let (provider, _proxy, mut client) = relay().await;
    client.send("POST /v1/files?a=b&c=%2F HTTP/1.1\r\nhost: proxy\r\nz-last: 1\r\nauthorization: Bearer k\r\nx-llm-proxy-tag: t\r\na-first: 2\r\nconnection: keep-alive, x-hop\r\nx-hop: 3\r\ncontent-length: 3\r\n\r\nabc").await;
    let mut theirs = provider.accept().await;
    let (head, body) = theirs.message().await;
    let host = provider.address();
    let expected = format!(
        "POST /v1/files?a=b&c=%2F HTTP/1.1\r\nz-last: 1\r\nauthorization: Bearer k\r\na-first: 2\r\ncontent-length: 3\r\nhost: {host}\r\n\r\n"
    );
    assert_eq!((head.as_str(), body), (expected.as_str(), "abc".into()));
    theirs.send("HTTP/1.1 201 Made\r\nset-cookie: b=2\r\nset-cookie: a=1\r\nx-request-id: req_1\r\nkeep-alive: timeout=5\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\ncontent-length: 2\r\n\r\nok").await;
    let (head, body) = client.message().await;
    assert_eq!(
        head,
        "HTTP/1.1 201 Made\r\nset-cookie: b=2\r\nset-cookie: a=1\r\nx-request-id: req_1\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\ncontent-length: 2\r\nx-llm-proxy-route: relay\r\n\r\n"
    );
    assert_eq!(body, "ok");
}

#[tokio::test]
async fn answers_without_a_body_are_left_so() {
    let (provider, _proxy, mut client) = relay().await;
    client.send("HEAD /v1/models HTTP/1.1\r\nhost: p\r\n\r\n").await;
    let mut theirs = provider.accept().await;
    assert!(theirs.head().await.starts_with("HEAD /v1/models HTTP/1.1\r\n"));
    theirs.send("HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n").await;
    assert_eq!(line(&client.head().await, "content-length"), Some("1234"));
    for answer in ["204 No Content", "304 Not Modified"] {
        client.send("DELETE /v1/files/f HTTP/1.1\r\nhost: p\r\n\r\n").await;
        theirs.head().await;
        theirs.send(format!("HTTP/1.1 {answer}\r\netag: x\r\n\r\n")).await;
        let head = client.head().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {answer}\r\n")), "{head}");
        assert!(line(&head, "transfer-encoding").is_none() && line(&head, "etag") == Some("x"), "{head}");
    }
    // Redirects are the client's business.
    client.send("GET /v1/x HTTP/1.1\r\nhost: p\r\n\r\n").await;
    theirs.head().await;
    theirs
        .send("HTTP/1.1 307 Temporary Redirect\r\nlocation: http://elsewhere/\r\ncontent-length: 0\r\n\r\n")
        .await;
    assert_eq!(line(&client.head().await, "location"), Some("http://elsewhere/"));
}

#[tokio::test]
async fn bodies_stream_both_ways_with_their_trailers() {
    let (provider, _proxy, mut client) = relay().await;
    client.send("POST /v1/audio/speech HTTP/1.1\r\nhost: p\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\nte: trailers\r\nconnection: te\r\n\r\n3\r\none\r\n").await;
    let mut theirs = provider.accept().await;
    let head = theirs.head().await;
    assert_eq!((line(&head, "transfer-encoding"), line(&head, "te")), (Some("chunked"), Some("trailers")));
    // The provider has the first chunk before the client sends the second.
    assert_eq!(theirs.until("one\r\n").await, "3\r\none\r\n");
    client.send("3\r\ntwo\r\n0\r\nx-sum: 7\r\n\r\n").await;
    assert_eq!(theirs.until("\r\n\r\n").await, "3\r\ntwo\r\n0\r\nx-sum: 7\r\n\r\n");
    theirs
        .send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-end\r\n\r\n5\r\nfirst\r\n")
        .await;
    assert_eq!(line(&client.head().await, "transfer-encoding"), Some("chunked"));
    assert_eq!(client.until("first\r\n").await, "5\r\nfirst\r\n");
    theirs.send("4\r\nlast\r\n0\r\nx-end: 1\r\n\r\n").await;
    assert_eq!(client.until("\r\n\r\n").await, "4\r\nlast\r\n0\r\nx-end: 1\r\n\r\n");
}

#[tokio::test]
async fn upgrades_are_joined() {
    let (provider, proxy, mut client) = relay().await;
    client.send("GET /v1/realtime?model=m HTTP/1.1\r\nhost: p\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: k\r\n\r\n").await;
    let mut theirs = provider.accept().await;
    let head = theirs.head().await;
    assert!(head.starts_with("GET /v1/realtime?model=m HTTP/1.1\r\n"));
    assert_eq!(
        (line(&head, "connection"), line(&head, "upgrade"), line(&head, "sec-websocket-key")),
        (Some("upgrade"), Some("websocket"), Some("k"))
    );
    theirs.send("HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: a\r\n\r\nhello").await;
    let head = client.head().await;
    assert_eq!(
        (status(&head), line(&head, "upgrade"), line(&head, "sec-websocket-accept")),
        ("101", Some("websocket"), Some("a"))
    );
    assert_eq!(client.until("hello").await, "hello");
    client.send("ping").await;
    assert_eq!(theirs.until("ping").await, "ping");
    // A tunnel outlives its HTTP connection, but not an abort.
    proxy.abort.cancel();
    client.closed().await;
    theirs.closed().await;
}

#[tokio::test]
async fn an_upgrade_may_be_declined() {
    let (provider, _proxy, mut client) = relay().await;
    client
        .send("GET /v1/realtime HTTP/1.1\r\nhost: p\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
        .await;
    let mut theirs = provider.accept().await;
    theirs.head().await;
    theirs.send("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno").await;
    let (head, body) = client.message().await;
    assert_eq!((status(&head), body), ("403", "no".into()));
}

#[tokio::test]
async fn calls_that_cannot_be_batched_say_why() {
    let (provider, _proxy, mut client) = relay().await;
    let body = "{\"model\":\"m\", \"stream\":true}";
    client.send(post("/images/generations", body)).await;
    let mut theirs = provider.accept().await;
    let (head, sent) = theirs.message().await;
    assert!(head.starts_with("POST /v1/images/generations HTTP/1.1\r\n"));
    assert_eq!((line(&head, "authorization"), sent), (Some("Bearer k"), body.into()));
    theirs.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 0\r\n\r\n").await;
    let head = client.head().await;
    assert_eq!(
        (line(&head, "x-llm-proxy-route"), line(&head, "x-llm-proxy-relay-reason")),
        (Some("relay"), Some("stream"))
    );
    client.send("POST /v1/embeddings HTTP/1.1\r\nhost: p\r\nx-llm-proxy-mode: sync\r\ncontent-length: 2\r\n\r\n{}").await;
    let (head, sent) = theirs.message().await;
    assert_eq!((line(&head, "x-llm-proxy-mode"), sent), (None, "{}".into()));
    theirs.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(line(&client.head().await, "x-llm-proxy-route"), Some("sync"));
}

#[tokio::test]
async fn http_1_0_gets_what_it_can_read() {
    let (provider, _proxy, mut client) = relay().await;
    client.send("GET /v1/models HTTP/1.0\r\n\r\n").await;
    let mut theirs = provider.accept().await;
    assert!(theirs.head().await.starts_with("GET /v1/models HTTP/1.1\r\n"));
    theirs.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n").await;
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.0 200 OK\r\n") && line(&head, "transfer-encoding").is_none(), "{head}");
    assert_eq!(client.until("body").await, "body");
    client.closed().await;
}

#[tokio::test]
async fn a_provider_that_is_not_there() {
    let gone = Provider::start().await.address();
    let proxy = Proxy::start(gone).await;
    let mut client = proxy.client().await;
    client.send("GET /v1/models HTTP/1.1\r\nhost: p\r\n\r\n").await;
    let (head, body) = client.message().await;
    assert_eq!((status(&head), line(&head, "x-llm-proxy-route")), ("502", Some("relay")));
    assert!(error(&body).contains("cannot be reached"), "{body:?}");
}

#[tokio::test]
async fn a_provider_that_breaks_off() {
    let (provider, _proxy, mut client) = relay().await;
    client.send("GET /v1/models HTTP/1.1\r\nhost: p\r\n\r\n").await;
    let mut theirs = provider.accept().await;
    theirs.head().await;
    drop(theirs);
    let (head, body) = client.message().await;
    assert_eq!(status(&head), "502");
    assert!(error(&body).contains("broke off"), "{body:?}");
    // In the middle of an answer nothing can be said but by breaking off too.
    client.send("GET /v1/models HTTP/1.1\r\nhost: p\r\n\r\n").await;
    let mut theirs = provider.accept().await;
    theirs.head().await;
    theirs.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await;
    drop(theirs);
    client.head().await;
    let mut rest = Vec::new();
    let _ = soon(client.0.read_to_end(&mut rest)).await;
    assert_eq!(rest, b"half");
}

#[tokio::test]
async fn a_client_that_leaves_takes_the_providers_side_along() {
    // Before the answer, while the answer streams, and in the middle of its own body.
    let (provider, proxy, mut client) = relay().await;
    client.send("GET /v1/a HTTP/1.1\r\nhost: p\r\n\r\n").await;
    let mut theirs = provider.accept().await;
    theirs.head().await;
    drop(client);
    theirs.closed().await;

    let mut client = proxy.client().await;
    client.send("GET /v1/b HTTP/1.1\r\nhost: p\r\n\r\n").await;
    let mut theirs = provider.accept().await;
    theirs.head().await;
    theirs.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n").await;
    client.until("a\r\n").await;
    drop(client);
    theirs.closed().await;

    let mut client = proxy.client().await;
    client.send("POST /v1/c HTTP/1.1\r\nhost: p\r\ncontent-length: 100\r\n\r\nhalf").await;
    let mut theirs = provider.accept().await;
    theirs.until("half").await;
    drop(client);
    theirs.closed().await;
}

#[tokio::test]
async fn a_slow_reader_slows_the_provider() {
    let (provider, _proxy, mut client) = relay().await;
    client.send("GET /v1/large HTTP/1.1\r\nhost: p\r\n\r\n").await;
    let mut theirs = provider.accept().await;
    theirs.head().await;
    let total = 512 * 1024 * 1024_u64;
    theirs.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {total}\r\n\r\n")).await;
    let chunk = vec![0; 1024 * 1024];
    let mut sent = 0;
    // Socket buffers take a few megabytes; then writing stands still although nothing is full but the path.
    while let Ok(written) = tokio::time::timeout(Duration::from_secs(1), theirs.0.write(&chunk)).await {
        sent += written.unwrap() as u64;
        assert!(sent < total / 2, "the answer piles up in memory");
    }
    client.head().await;
    assert_eq!(soon(client.0.read_u8()).await.unwrap(), 0);
}

#[tokio::test]
async fn one_key_leaves_room_for_another() {
    let (provider, proxy, _client) = relay().await;
    let get = |key| format!("GET /v1/models HTTP/1.1\r\nhost: p\r\nauthorization: Bearer {key}\r\n\r\n");
    let mut greedy = Vec::new();
    // Seven eighths of all.
    for _ in 0..18 {
        let mut client = proxy.client().await;
        client.send(get("a")).await;
        let mut theirs = provider.accept().await;
        theirs.head().await;
        greedy.push((client, theirs));
    }
    let mut client = proxy.client().await;
    client.send(get("a")).await;
    let (head, body) = client.message().await;
    assert_eq!((status(&head), line(&head, "retry-after")), ("429", Some("2")));
    assert!(error(&body).contains("with your key"), "{body:?}");
    client.send(get("b")).await;
    let mut theirs = provider.accept().await;
    theirs.head().await;
    theirs.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    assert_eq!(status(&client.message().await.0), "200");
    // A share ends with its answer.
    let (mut first, mut theirs) = greedy.remove(0);
    theirs.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    assert_eq!(first.message().await.1, "ok");
    first.send(get("a")).await;
    theirs.head().await;
}
