//! Shutting down, and connections that never get anywhere.

use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::*;

#[tokio::test]
async fn draining_closes_what_idles_and_finishes_what_runs() {
    let provider = Provider::start().await;
    let proxy = Proxy::start(provider.address()).await;
    let (mut idle, mut fresh, mut busy) = (proxy.client().await, proxy.client().await, proxy.client().await);
    idle.call("/v1/embeddings", "{\"model\":\"m\"}").await;
    busy.send("GET /v1/models HTTP/1.1\r\nhost: p\r\n\r\n").await;
    let mut theirs = provider.accept().await;
    theirs.head().await;
    proxy.drain.cancel();
    idle.closed().await;
    fresh.closed().await;
    theirs.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    assert_eq!(busy.message().await.1, "ok");
    busy.closed().await;
    soon(proxy.served).await.unwrap();
    assert!(TcpStream::connect(proxy.address).await.is_err());
}

#[tokio::test]
async fn aborting_closes_everything() {
    let mut proxy = Proxy::alone().await;
    let mut client = proxy.client().await;
    client.send(post("/v1/responses", "{\"model\":\"wait\"}")).await;
    assert_eq!(proxy.event().await, Event::Held);
    proxy.drain.cancel();
    proxy.abort.cancel();
    client.closed().await;
    assert_eq!(proxy.event().await, Event::Gone);
    soon(proxy.served).await.unwrap();
}

#[tokio::test]
async fn aborting_ends_http_2_calls_too() {
    let mut proxy = Proxy::alone().await;
    let io = TokioIo::new(TcpStream::connect(proxy.address).await.unwrap());
    let (mut client, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let connection = tokio::spawn(connection);
    let body = Full::new(Bytes::from("{\"model\":\"wait\"}"));
    let call =
        Request::post("http://proxy/v1/responses").header("authorization", "Bearer k").body(body).unwrap();
    let call = tokio::spawn(client.send_request(call));
    assert_eq!(proxy.event().await, Event::Held);
    proxy.drain.cancel();
    proxy.abort.cancel();
    assert_eq!(proxy.event().await, Event::Gone);
    soon(proxy.served).await.unwrap();
    assert!(soon(call).await.unwrap().is_err());
    let _ = soon(connection).await.unwrap();
}

#[tokio::test]
async fn a_full_house_lets_the_next_one_wait() {
    let proxy = Proxy::alone().await;
    let mut inside = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        let mut client = proxy.client().await;
        assert_eq!(status(&client.call("/v1/responses", "{\"model\":\"m\"}").await.0), "200");
        inside.push(client);
    }
    let mut outside = proxy.client().await;
    outside.send(post("/v1/responses", "{\"model\":\"m\"}")).await;
    assert!(tokio::time::timeout(Duration::from_millis(50), outside.0.read_u8()).await.is_err());
    inside.pop();
    assert_eq!(status(&outside.message().await.0), "200");
}

#[tokio::test(start_paused = true)]
async fn heads_that_do_not_come_are_not_waited_for() {
    let proxy = Proxy::alone().await;
    for beginning in ["", "PRI * HT", "POST /v1/", "GET / HTTP/1.1\r\nhost: p\r\n"] {
        let mut client = proxy.client().await;
        client.0.write_all(beginning.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        let _ = client.0.read_to_end(&mut rest).await;
        assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 408"), "{beginning:?}");
    }
}
