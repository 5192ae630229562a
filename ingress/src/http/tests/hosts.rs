//! Requests go to the configured provider, whatever host they name, and no credential goes anywhere else.

use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::*;

/// Answers what the provider was asked with nothing, and gives the head.
async fn asked(provider: &Provider) -> String {
    let mut theirs = provider.accept().await;
    let head = theirs.head().await;
    theirs.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").await;
    head
}

async fn is_untouched(elsewhere: Provider) {
    let touched = tokio::time::timeout(Duration::from_millis(50), elsewhere.0.accept()).await;
    assert!(touched.is_err(), "somebody else was asked");
}

#[tokio::test]
async fn a_host_in_the_request_is_not_where_it_goes() {
    let (provider, elsewhere) = (Provider::start().await, Provider::start().await);
    let evil = elsewhere.address();
    let proxy = Proxy::start(provider.address()).await;
    for (target, path) in [
        (format!("http://{evil}/v1/models"), "/v1/models"),
        (format!("http://{evil}/models?a=b"), "/v1/models?a=b"),
        (format!("//{evil}/models"), &*format!("/v1//{evil}/models")),
        (format!("/@{evil}/"), &format!("/v1/@{evil}/")),
        (format!("/v1/http://{evil}/"), &format!("/v1/http://{evil}/")),
        (format!("/v1@{evil}/"), &format!("/v1/v1@{evil}/")),
        (format!("/v1/../../@{evil}"), &format!("/v1/../../@{evil}")),
        (format!("/v1/models?host={evil}"), &format!("/v1/models?host={evil}")),
    ] {
        let mut client = proxy.client().await;
        client
            .send(format!(
                "GET {target} HTTP/1.1\r\nhost: {evil}\r\nx-forwarded-host: {evil}\r\nforwarded: host={evil}\r\nauthorization: Bearer k\r\n\r\n"
            ))
            .await;
        let head = asked(&provider).await;
        let host = provider.address().to_string();
        assert_eq!((head.split(' ').nth(1), line(&head, "host")), (Some(path), Some(&*host)), "{target}");
        assert_eq!(status(&client.message().await.0), "200", "{target}");
    }
    is_untouched(elsewhere).await;
}

#[tokio::test]
async fn nor_is_an_authority_of_http_2() {
    let (provider, elsewhere) = (Provider::start().await, Provider::start().await);
    let proxy = Proxy::start(provider.address()).await;
    let io = TokioIo::new(TcpStream::connect(proxy.address).await.unwrap());
    let (mut client, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get(format!("http://{}/v1/models", elsewhere.address()));
    let answer =
        tokio::spawn(client.send_request(request.body(http_body_util::Empty::<Bytes>::new()).unwrap()));
    let head = asked(&provider).await;
    assert_eq!(line(&head, "host"), Some(&*provider.address().to_string()));
    assert_eq!(soon(answer).await.unwrap().unwrap().status(), 200);
    is_untouched(elsewhere).await;
}

#[tokio::test]
async fn this_is_no_forward_proxy() {
    let (provider, elsewhere) = (Provider::start().await, Provider::start().await);
    let proxy = Proxy::start(provider.address()).await;
    let evil = elsewhere.address();
    let mut client = proxy.client().await;
    client.send(format!("CONNECT {evil} HTTP/1.1\r\nhost: {evil}\r\n\r\n")).await;
    assert_eq!(status(&client.message().await.0), "405");
    is_untouched(elsewhere).await;
    is_untouched(provider).await;
}

#[tokio::test]
async fn redirects_are_passed_on_and_never_followed() {
    let (provider, elsewhere) = (Provider::start().await, Provider::start().await);
    let proxy = Proxy::start(provider.address()).await;
    let location = format!("http://{}/v1/files", elsewhere.address());
    for code in [301, 302, 303, 307, 308] {
        let mut client = proxy.client().await;
        client.send(post("/v1/files", "the body")).await;
        let mut theirs = provider.accept().await;
        theirs.message().await;
        theirs
            .send(format!(
                "HTTP/1.1 {code} Elsewhere\r\nlocation: {location}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            ))
            .await;
        let head = client.head().await;
        assert_eq!((status(&head), line(&head, "location")), (&*code.to_string(), Some(&*location)));
    }
    is_untouched(elsewhere).await;
}
