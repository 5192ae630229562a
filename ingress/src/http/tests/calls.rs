//! Calls of batchable endpoints.

use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::*;

const CHAT: &str = "/v1/chat/completions";

#[tokio::test]
async fn calls_are_held_and_answered_on_one_connection() {
    let proxy = Proxy::alone().await;
    let mut client = proxy.client().await;
    for path in [CHAT, "/embeddings"] {
        let body = "{\"model\": \"m\",\n \"n\": 1e999, \"model\": \"m\"}";
        let (head, answer) = client.call(path, body).await;
        assert_eq!((status(&head), answer), ("200", Bytes::from(body)));
        assert_eq!(line(&head, "x-llm-proxy-route"), Some("batch"));
        assert_eq!(line(&head, "x-llm-proxy-job"), Some("batch_1"));
        assert_eq!(line(&head, "x-llm-proxy-queued-ms"), Some("1000"));
        assert_eq!(line(&head, "content-type"), Some("application/json"));
    }
}

#[tokio::test]
async fn bodies_that_come_in_pieces_stay_whole() {
    let proxy = Proxy::alone().await;
    let mut client = proxy.client().await;
    let body = format!("{{\"model\":\"m\",\"text\":\"{}\"}}", "é".repeat(700_000));
    let (_, answer) = client.call(CHAT, &body).await;
    assert!(answer == body);
    client.send("POST /v1/responses HTTP/1.1\r\nhost: p\r\nauthorization: Bearer k\r\ntransfer-encoding: chunked\r\n\r\n").await;
    client.send("9\r\n{\"model\":\r\n").await;
    client.send("4\r\n\"m\"}\r\n0\r\n\r\n").await;
    assert_eq!(client.message().await.1, "{\"model\":\"m\"}");
}

#[tokio::test]
async fn mistakes_are_told_in_openais_words() {
    let proxy = Proxy::alone().await;
    for (body, words) in [
        ("nonsense", "We could not parse the JSON body"),
        ("\u{feff}{\"model\":\"m\"}", "byte order mark"),
        ("{\"messages\":[]}", "you must provide a model parameter"),
        ("[]", "must be a JSON object"),
    ] {
        let (head, answer) = proxy.client().await.call(CHAT, body).await;
        assert_eq!(status(&head), "400");
        assert!(error(&answer).contains(words), "{answer:?}");
        assert!(line(&head, "x-request-id").unwrap().starts_with("llmp_"));
    }
    let mut client = proxy.client().await;
    client.send(format!("POST {CHAT} HTTP/1.1\r\nhost: p\r\ncontent-length: 2\r\n\r\n{{}}")).await;
    let (head, answer) = client.message().await;
    assert_eq!(status(&head), "401");
    assert!(error(&answer).contains("You didn't provide an API key"));
}

#[tokio::test]
async fn too_large_is_told_before_anything_is_sent() {
    let proxy = Proxy::alone().await;
    let mut client = proxy.client().await;
    let length = MAX_BODY + 1;
    client
        .send(format!(
            "POST {CHAT} HTTP/1.1\r\nhost: p\r\nauthorization: Bearer k\r\ncontent-length: {length}\r\n\r\n"
        ))
        .await;
    let (head, answer) = client.message().await;
    assert_eq!(status(&head), "413");
    assert!(error(&answer).contains("--max-body"));
}

#[tokio::test]
async fn too_large_is_told_while_it_comes() {
    let proxy = Proxy::alone().await;
    let mut client = proxy.client().await;
    client
        .send(format!(
            "POST {CHAT} HTTP/1.1\r\nhost: p\r\nauthorization: Bearer k\r\ntransfer-encoding: chunked\r\n\r\n"
        ))
        .await;
    let chunk = vec![b' '; 1_000_000];
    for _ in 0..12 {
        client.send("f4240\r\n").await;
        client.send(&chunk).await;
        client.send("\r\n").await;
    }
    assert_eq!(status(&client.message().await.0), "413");
}

#[tokio::test]
async fn a_refusal_is_heard_by_who_still_sends() {
    let proxy = Proxy::alone().await;
    let mut client = proxy.client().await;
    let body = vec![b' '; 9_000_000];
    client.send(format!("POST {CHAT} HTTP/1.1\r\nhost: p\r\ncontent-length: {}\r\n\r\n", body.len())).await;
    client.send(&body).await;
    assert_eq!(status(&client.message().await.0), "401");
    // And the connection goes on.
    assert_eq!(status(&client.call(CHAT, "{\"model\":\"m\"}").await.0), "200");
}

#[tokio::test]
async fn who_asks_before_sending_is_answered() {
    let proxy = Proxy::alone().await;
    let ask = |extra: &str| {
        format!(
            "POST {CHAT} HTTP/1.1\r\nhost: p\r\nexpect: 100-continue\r\ncontent-length: 13\r\n{extra}\r\n"
        )
    };
    let mut client = proxy.client().await;
    client.send(ask("authorization: Bearer k\r\n")).await;
    assert_eq!(client.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("{\"model\":\"m\"}").await;
    assert_eq!(status(&client.message().await.0), "200");
    let mut client = proxy.client().await;
    client.send(ask("")).await;
    assert_eq!(status(&client.message().await.0), "401");
}

#[tokio::test]
async fn http_1_0() {
    let proxy = Proxy::alone().await;
    let mut client = proxy.client().await;
    client.send(post(CHAT, "{\"model\":\"m\"}").replace("HTTP/1.1", "HTTP/1.0")).await;
    let (head, answer) = client.message().await;
    assert!(head.starts_with("HTTP/1.0 200 OK\r\n"), "{head}");
    assert_eq!(answer, "{\"model\":\"m\"}");
    client.closed().await;
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed() {
    let mut proxy = Proxy::alone().await;
    let mut client = proxy.client().await;
    client.send(post(CHAT, "{\"model\":\"wait\"}")).await;
    assert_eq!(proxy.event().await, Event::Held);
    drop(client);
    assert_eq!(proxy.event().await, Event::Gone);
}

#[tokio::test]
async fn http_2_with_prior_knowledge() {
    let mut proxy = Proxy::alone().await;
    let io = TokioIo::new(TcpStream::connect(proxy.address).await.unwrap());
    let (mut client, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let request = |body: &'static str| {
        let url = "http://proxy/v1/chat/completions";
        Request::post(url).header("authorization", "Bearer k").body(Full::new(Bytes::from(body))).unwrap()
    };
    // One that waits does not stop the others, and its reset is noticed.
    let waiting = tokio::spawn(client.send_request(request("{\"model\":\"wait\"}")));
    assert_eq!(proxy.event().await, Event::Held);
    let answer = soon(client.send_request(request("{\"model\":\"m\"}"))).await.unwrap();
    assert_eq!((answer.status(), answer.version()), (StatusCode::OK, http::Version::HTTP_2));
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "{\"model\":\"m\"}");
    waiting.abort();
    assert_eq!(proxy.event().await, Event::Gone);
}

#[tokio::test]
async fn nonsense_does_no_harm() {
    let proxy = Proxy::alone().await;
    for bytes in [
        "\r\n\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        "GET\r\n\r\n",
        "\0\0\0\0\0\0\0\0",
        "GET / HTTP/9.9\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0garbage",
    ] {
        let mut client = proxy.client().await;
        client.send(bytes).await;
        soon(client.0.shutdown()).await.unwrap();
        client.closed().await;
    }
    let mut client = proxy.client().await;
    client.send(format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(20_000))).await;
    assert_eq!(status(&client.head().await), "431");
    assert_eq!(status(&proxy.client().await.call(CHAT, "{\"model\":\"m\"}").await.0), "200");
}
