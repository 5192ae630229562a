//! Access tokens of our own.

use super::desk::House;
use super::*;
use crate::fair::Bounds;
use crate::tokens::Tokens;

const TOKEN: &str = "a-token-0123456789abcdef";
const CALL: &str = "{\"model\":\"m\"}";

async fn house(provider: SocketAddr) -> House {
    let bounds = Bounds { most: Amount { count: 10, bytes: 1000 }, most_each: 10 };
    let tokens = Tokens::of_test(TOKEN);
    House::furnished(bounds, &provider.to_string(), |config| config.tokens = Some(tokens)).await
}

fn with_token(request: &str, token: &str) -> String {
    request.replacen("\r\n", &format!("\r\nX-LLM-Proxy-Token: {token}\r\n"), 1)
}

#[tokio::test]
async fn nobody_gets_in_without_one() {
    let provider = Provider::start().await;
    let house = house(provider.address()).await;
    let relayed = "GET /v1/models HTTP/1.1\r\nhost: p\r\nauthorization: Bearer k\r\n\r\n".to_owned();
    let stats = "GET /stats HTTP/1.1\r\nhost: p\r\n\r\n".to_owned();
    let sync = post("/v1/embeddings", CALL).replacen("\r\n", "\r\nx-llm-proxy-mode: sync\r\n", 1);
    for request in [post("/v1/responses", CALL), sync, relayed, stats] {
        let wrong = with_token(&request, "a-token-0123456789abcdeF");
        let twice = with_token(&with_token(&request, TOKEN), TOKEN);
        for request in [request, wrong, twice] {
            let mut client = house.client().await;
            client.send(&request).await;
            let (head, body) = client.message().await;
            assert_eq!((status(&head), line(&head, "x-should-retry")), ("401", Some("false")), "{request}");
            assert!(error(&body).contains("x-llm-proxy-token") && !error(&body).contains(TOKEN), "{body:?}");
        }
    }
    // Nothing has reached the provider.
    let reached = tokio::time::timeout(Duration::from_millis(50), provider.0.accept()).await;
    assert!(reached.is_err());
    for path in ["/healthz", "/readyz"] {
        let mut client = house.client().await;
        client.send(format!("GET {path} HTTP/1.1\r\nhost: p\r\n\r\n")).await;
        assert_ne!(status(&client.message().await.0), "401", "{path}");
    }
}

#[tokio::test]
async fn it_opens_every_route_and_goes_no_further() {
    let provider = Provider::start().await;
    let mut house = house(provider.address()).await;
    let mut client = house.client().await;
    client.send(with_token("GET /stats HTTP/1.1\r\nhost: p\r\n\r\n", TOKEN)).await;
    assert_eq!(status(&client.message().await.0), "200");
    client
        .send(with_token("GET /v1/models HTTP/1.1\r\nhost: p\r\nauthorization: Bearer k\r\n\r\n", TOKEN))
        .await;
    let mut theirs = provider.accept().await;
    let head = theirs.head().await;
    assert!(
        !head.to_lowercase().contains("token") && line(&head, "authorization") == Some("Bearer k"),
        "{head}"
    );
    theirs.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(status(&client.message().await.0), "200");
    client.send(with_token(&post("/v1/responses", CALL), TOKEN)).await;
    house.held().await;
}
