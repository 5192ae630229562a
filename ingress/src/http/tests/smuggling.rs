//! Messages that two readers could understand differently, on real sockets: none gets through, nor what is hidden behind it.

use super::desk::House;
use super::*;
use crate::fair::Bounds;

/// What an attacker hides behind a message.
const HIDDEN: &str = "GET /v1/hidden HTTP/1.1\r\nhost: p\r\nauthorization: Bearer k\r\n\r\n";
const CALL: &str = "{\"model\":\"m\"}";

/// A path that is batched, one that is relayed, and one that is relayed on demand.
const PATHS: [&str; 3] = ["POST /v1/responses", "POST /v1/files", "POST /v1/embeddings?sync"];

/// A provider that only listens.
async fn listening(provider: Provider) -> tokio::task::JoinHandle<Vec<u8>> {
    tokio::spawn(async move {
        let mut heard = Vec::new();
        while let Ok((mut stream, _)) = provider.0.accept().await {
            let _ = stream.read_to_end(&mut heard).await;
            if heard.ends_with(b"the end") {
                return heard;
            }
        }
        heard
    })
}

/// Sends these bytes to a house of its own, and gives all that it answers and all that its provider hears.
async fn tried(request: &str) -> (String, String) {
    let provider = Provider::start().await;
    let address = provider.address();
    let bounds = Bounds { most: Amount { count: 10, bytes: 100_000 }, most_each: 10 };
    let mut house = House::furnished(bounds, &address.to_string(), |_| {}).await;
    let heard = listening(provider).await;
    let mut client = house.client().await;
    client.send(request).await;
    let mut answer = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(25), client.0.read_to_end(&mut answer)).await;
    assert!(closed.is_ok(), "{request:?}: {}", String::from_utf8_lossy(&answer));
    assert!(house.inputs.try_recv().is_err(), "{request:?} is held");
    // Connections are made and ended in order.
    soon(TcpStream::connect(address)).await.unwrap().write_all(b"the end").await.unwrap();
    let heard = soon(heard).await.unwrap();
    let heard = heard.strip_suffix(b"the end").unwrap();
    (String::from_utf8_lossy(&answer).into_owned(), String::from_utf8_lossy(heard).into_owned())
}

fn request(path: &str, lines: &str, body: &str) -> String {
    let (path, sync) = match path.strip_suffix("?sync") {
        Some(path) => (path, "x-llm-proxy-mode: sync\r\n"),
        None => (path, ""),
    };
    format!("{path} HTTP/1.1\r\nauthorization: Bearer k\r\n{sync}{lines}\r\n{body}{HIDDEN}")
}

#[tokio::test]
async fn heads_that_have_two_meanings_are_refused() {
    let long = format!("content-length:{}13\r\n", " ".repeat(200));
    let cases = [
        // Both lengths, in either order.
        "host: p\r\ncontent-length: 13\r\ntransfer-encoding: chunked\r\n",
        "host: p\r\ntransfer-encoding: chunked\r\ncontent-length: 13\r\n",
        "host: p\r\ntransfer-encoding: chunked\r\nx: y\r\nContent-Length: 0\r\n",
        // Lengths.
        "host: p\r\ncontent-length: 13\r\ncontent-length: 14\r\n",
        "host: p\r\ncontent-length: 13\r\ncontent-length: 13\r\n",
        "host: p\r\ncontent-length: 13, 13\r\n",
        "host: p\r\ncontent-length: +13\r\n",
        "host: p\r\ncontent-length: -1\r\n",
        "host: p\r\ncontent-length: 0xd\r\n",
        "host: p\r\ncontent-length: 1 3\r\n",
        "host: p\r\ncontent-length:\r\n",
        "host: p\r\ncontent-length: 18446744073709551629\r\n",
        &long,
        // Codings.
        "host: p\r\ntransfer-encoding: gzip, chunked\r\n",
        "host: p\r\ntransfer-encoding: chunked, gzip\r\n",
        "host: p\r\ntransfer-encoding: chunked, chunked\r\n",
        "host: p\r\ntransfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n",
        "host: p\r\ntransfer-encoding: identity\r\n",
        "host: p\r\ntransfer-encoding: xchunked\r\n",
        "host: p\r\ntransfer-encoding: \u{b}chunked\r\n",
        "host: p\r\ntransfer-encoding:\r\n",
        // Space where there must be none, and obsolete folding.
        "host: p\r\ncontent-length : 13\r\n",
        "host: p\r\n content-length: 13\r\n",
        "host: p\r\ntransfer-encoding : chunked\r\n",
        "host: p\r\ntransfer-encoding:\r\n chunked\r\n",
        "host: p\r\nx: y\r\n\tcontent-length: 13\r\n",
        "host : p\r\ncontent-length: 13\r\n",
        // Line ends and control characters.
        "host: p\ncontent-length: 13\r\n",
        "host: p\r\nx: y\ncontent-length: 13\r\n",
        "host: p\r\nx: y\rcontent-length: 13\r\n",
        "host: p\r\nx: y\r\r\ncontent-length: 13\r\n",
        "host: p\r\ncontent-length: 13\n",
        "host: p\r\nx: a\0b\r\ncontent-length: 13\r\n",
        "host: p\r\nx\0: ab\r\ncontent-length: 13\r\n",
        "host: p\r\nx: a\u{7f}b\r\ncontent-length: 13\r\n",
        // Names.
        "host: p\r\ncontent-length\r\n",
        "host: p\r\n: 13\r\n",
        "host: p\r\nc\u{f6}ntent: 1\r\ncontent-length: 13\r\n",
        "host: p\r\nx(y): 1\r\ncontent-length: 13\r\n",
        // Whom it is for.
        "host: p\r\nhost: q\r\ncontent-length: 13\r\n",
    ];
    for path in PATHS {
        for lines in cases {
            // As good a body as can be, so that nothing but the head is wrong.
            let chunks = lines.contains("transfer-encoding");
            let body = if chunks { format!("d\r\n{CALL}\r\n0\r\n\r\n") } else { CALL.to_owned() };
            let (answer, heard) = tried(&request(path, lines, &body)).await;
            assert!(answer.starts_with("HTTP/1.1 400 "), "{path} {lines:?}: {answer}");
            assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{path} {lines:?}: {answer}");
            assert_eq!(heard, "", "{path} {lines:?}");
        }
    }
}

#[tokio::test]
async fn first_lines_that_have_two_meanings_are_refused() {
    for line in [
        "GET /v1/models HTTP/1.1\n",
        "GET  /v1/models HTTP/1.1\r\n",
        "GET /v1/models  HTTP/1.1\r\n",
        "GET /v1/mo dels HTTP/1.1\r\n",
        "GET /v1/models\0 HTTP/1.1\r\n",
        "GET /v1/models\r HTTP/1.1\r\n",
        "GET\t/v1/models\tHTTP/1.1\r\n",
        "GET /v1/models HTTP/1.1 x\r\n",
        "GET /v1/models HTTP/1.2\r\n",
        "GET /v1/models\r\n",
        "G@T /v1/models HTTP/1.1\r\n",
        "GET v1/models HTTP/1.1\r\n",
        "GET * HTTP/1.1\r\n",
    ] {
        let (answer, heard) =
            tried(&format!("{line}host: p\r\nconnection: close\r\nauthorization: Bearer k\r\n\r\n")).await;
        let status = answer.split(' ').nth(1).unwrap_or("none");
        assert!(matches!(status, "400" | "none"), "{line:?}: {answer}");
        assert_eq!(heard, "", "{line:?}");
    }
}

#[tokio::test]
async fn http_1_0_has_no_chunks() {
    for path in PATHS {
        let request = request(path, "transfer-encoding: chunked\r\n", "0\r\n\r\n");
        let (answer, heard) = tried(&request.replacen("HTTP/1.1", "HTTP/1.0", 1)).await;
        assert!(answer.contains(" 400 ") && heard.is_empty(), "{path}: {answer} {heard}");
    }
}

#[tokio::test]
async fn bad_chunks_end_the_connection_and_never_the_request() {
    let long = format!("1;{}\r\nx\r\n0\r\n\r\n", "e".repeat(200));
    let trailers = format!("0\r\n{}\r\n", "a: b\r\n".repeat(10_000));
    let cases = [
        "x\r\n0\r\n\r\n",
        "-1\r\nx\r\n0\r\n\r\n",
        "0x1\r\nx\r\n0\r\n\r\n",
        "1 1\r\nx\r\n0\r\n\r\n",
        "1\nx\n0\n\n",
        "1;a\nx\r\n0\r\n\r\n",
        "1;a\rb\r\nx\r\n0\r\n\r\n",
        "1\r\nxy\r\n0\r\n\r\n",
        "1\r\nx0\r\n\r\n",
        "10000000000000001\r\nx\r\n0\r\n\r\n",
        "ffffffffffffffff\r\nx\r\n0\r\n\r\n",
        "0\r\na: b\n\r\n",
        "0\r\na : b\r\n\r\n",
        "0\r\n b\r\n\r\n",
        &long,
        &trailers,
    ];
    let head = "host: p\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n";
    for path in PATHS {
        for body in cases {
            let (answer, heard) = tried(&request(path, head, body)).await;
            assert!(
                !answer.contains(" 200 ") && answer.matches("HTTP/1.1").count() <= 1,
                "{path} {body:?}: {answer}"
            );
            // Bodies that are relayed stream: their beginning may have gone on, their end never.
            assert!(!heard.contains("\r\n0\r\n") && !heard.contains("hidden"), "{path} {body:?}: {heard}");
        }
    }
}

#[tokio::test]
async fn what_is_in_a_body_is_no_request() {
    let provider = Provider::start().await;
    let proxy = Proxy::start(provider.address()).await;
    let mut client = proxy.client().await;
    // Two honest requests, of which the first holds what looks like others, and a third.
    let json = "{\"model\":\"m\",\r\n\r\n\n\"x\":\"Content-Length: 5, Transfer-Encoding: chunked\"}\n\n";
    for _ in 0..2 {
        let (head, answer) = client.call("/v1/embeddings", json).await;
        assert_eq!((status(&head), answer), ("200", Bytes::from(json)));
    }
    let body =
        format!("a\nb\r\n\r\n{HIDDEN}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    client.send(post("/v1/files", &body)).await;
    let mut theirs = provider.accept().await;
    assert_eq!(theirs.message().await.1, body);
    theirs.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    client.message().await;
    let chunked = "POST /v1/files HTTP/1.1\r\nhost: p\r\ntransfer-encoding: chunked\r\n\r\n";
    client.send(format!("{chunked}{:x}\r\n{body}\r\n0\r\n\r\n", body.len())).await;
    theirs.until(&format!("{body}\r\n0\r\n\r\n")).await;
    theirs.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    client.message().await;
    assert_eq!(status(&client.call("/v1/embeddings", CALL).await.0), "200");
}

#[tokio::test]
async fn nothing_follows_a_request_for_another_protocol() {
    let (provider, mut answers) = (Provider::start().await, 0);
    let proxy = Proxy::start(provider.address()).await;
    let mut client = proxy.client().await;
    client
        .send("GET /v1/realtime HTTP/1.1\r\nhost: p\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
        .await;
    let mut theirs = provider.accept().await;
    theirs.head().await;
    client.send(HIDDEN).await;
    theirs.send("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").await;
    let mut answer = Vec::new();
    let _ = soon(client.0.read_to_end(&mut answer)).await;
    answers += String::from_utf8_lossy(&answer).matches("HTTP/1.1").count();
    assert_eq!(answers, 1);
    let more = tokio::time::timeout(Duration::from_millis(50), theirs.0.read_u8()).await;
    assert!(!matches!(more, Ok(Ok(_))), "a hidden request was relayed");
}

#[tokio::test]
async fn invalid_utf_8_goes_through_as_it_is_or_is_refused() {
    let bytes = |text: &str| {
        // Stands for bytes that are no UTF-8.
        let mut bytes = Vec::new();
        for part in text.split_inclusive('@') {
            bytes.extend_from_slice(part.trim_end_matches('@').as_bytes());
            if part.ends_with('@') {
                bytes.extend_from_slice(b"\xff\xc0\x80");
            }
        }
        bytes
    };
    let provider = Provider::start().await;
    let proxy = Proxy::start(provider.address()).await;
    for (lines, expected) in [
        ("authorization: Bearer @\r\n", "200"),
        ("authorization: @\r\n", "401"),
        ("authorization: Bearer k\r\nopenai-project: @\r\n", "200"),
        ("authorization: Bearer k\r\nidempotency-key: @\r\n", "200"),
        (
            "authorization: Bearer k\r\nuser-agent: @\r\nx-stainless-retry-count: @\r\nx-stainless-read-timeout: @\r\n",
            "200",
        ),
        ("authorization: Bearer k\r\ncontent-type: application/@\r\n", "400"),
        ("authorization: Bearer k\r\nx-llm-proxy-mode: @\r\n", "400"),
        ("authorization: Bearer k\r\nx-@: 1\r\n", "400"),
    ] {
        let mut client = proxy.client().await;
        client
            .send(bytes(&format!(
                "POST /v1/responses HTTP/1.1\r\nhost: p\r\n{lines}content-length: 13\r\n\r\n{CALL}"
            )))
            .await;
        assert_eq!(status(&client.message().await.0), expected, "{lines:?}");
    }
    for path in ["/v1/@", "/v1/models?x=@"] {
        let mut client = proxy.client().await;
        client.send(bytes(&format!("GET {path} HTTP/1.1\r\nhost: p\r\nconnection: close\r\n\r\n"))).await;
        assert_eq!(status(&client.head().await), "400", "{path:?}");
    }
    let mut client = proxy.client().await;
    client.send(bytes("GET /v1/models HTTP/1.1\r\nhost: p\r\nauthorization: Bearer @\r\nx: @\r\n\r\n")).await;
    let mut theirs = provider.accept().await;
    let mut head = vec![0; bytes("GET /v1/models HTTP/1.1\r\nauthorization: Bearer @\r\nx: @\r\n").len()];
    soon(theirs.0.read_exact(&mut head)).await.unwrap();
    assert_eq!(head, bytes("GET /v1/models HTTP/1.1\r\nauthorization: Bearer @\r\nx: @\r\n"));
}
