//! The same over HTTP/2, whose lines would mean something else in the HTTP/1 that a provider may speak.

use super::*;

const HEADERS: u8 = 1;
const DATA: u8 = 0;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Header lines as literals (RFC 7541, 6.2.2), which no encoder of a library would write.
fn lines(lines: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in lines {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// The kinds of the frames of stream 1 and of the connection that come until one ends either.
async fn ended_by(client: &mut Wire) -> (u8, Vec<u8>) {
    loop {
        let mut head = [0; 9];
        if soon(client.0.read_exact(&mut head)).await.is_err() {
            return (GOAWAY, Vec::new());
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        soon(client.0.read_exact(&mut payload)).await.unwrap();
        if matches!(head[3], HEADERS | RST_STREAM | GOAWAY) {
            return (head[3], payload);
        }
    }
}

#[tokio::test]
async fn lines_that_would_become_others_are_refused() {
    let provider = Provider::start().await;
    let proxy = Proxy::start(provider.address()).await;
    let honest = [(":method", "POST"), (":scheme", "http"), (":authority", "p"), (":path", "/v1/files")];
    let cases: [(&str, &[(&str, &str)]); 11] = [
        ("", &[("transfer-encoding", "chunked")]),
        ("", &[("connection", "x")]),
        ("", &[("te", "gzip")]),
        ("", &[("X-Upper", "y")]),
        ("", &[("x", "a\r\nhidden: b")]),
        ("", &[("x", "a\0b")]),
        ("", &[("x: y\r\nhidden", "b")]),
        ("", &[("content-length", "3"), ("content-length", "4")]),
        ("", &[("content-length", "3")]),
        ("/v1/files HTTP/1.1\r\nhidden: b", &[]),
        ("/v1/fi les", &[]),
    ];
    for (path, more) in cases {
        let mut head = honest.to_vec();
        if !path.is_empty() {
            head[3].1 = path;
        }
        head.extend_from_slice(more);
        let mut client = proxy.client().await;
        client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        client.send(frame(4, 0, 0, &[])).await;
        client.send(frame(HEADERS, END_HEADERS, 1, &lines(&head))).await;
        client.send(frame(DATA, END_STREAM, 1, b"hello")).await;
        let (kind, payload) = ended_by(&mut client).await;
        // A refusal in the answer's first line, with the status 400 or 502, is one too.
        let text = String::from_utf8_lossy(&payload).into_owned();
        assert!(
            matches!(kind, RST_STREAM | GOAWAY) || payload.starts_with(&[0x8c]),
            "{path:?} {more:?}: {kind} {text}"
        );
    }
    let mut client = proxy.client().await;
    client.send("GET /v1/last HTTP/1.1\r\nhost: p\r\nconnection: close\r\n\r\n").await;
    // Bodies stream: of the one with a wrong length the provider has heard the beginning, and then no more.
    loop {
        let mut theirs = provider.accept().await;
        let mut heard = vec![0; 1000];
        let read = soon(theirs.0.read(&mut heard)).await.unwrap();
        let heard = String::from_utf8_lossy(&heard[..read]).into_owned();
        if heard.starts_with("GET /v1/last ") {
            break;
        }
        assert!(heard.is_empty() || heard.contains("\r\ncontent-length: 3\r\n"), "{heard}");
        let mut rest = Vec::new();
        let _ = soon(theirs.0.read_to_end(&mut rest)).await;
        assert!(!heard.contains("hel") && rest.is_empty(), "{heard} {rest:?}");
    }
}
