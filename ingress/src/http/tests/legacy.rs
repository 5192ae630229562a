//! Calls by an older path, which names the model, and models that batches name otherwise.

use common::ids::Rid;
use common::outcome::Route as Way;

use super::desk::House;
use super::*;
use crate::core::{Input, Solo};
use crate::fair::Bounds;
use crate::hold::{Call, Waiter};
use crate::plan::Reason;

const OLD: &str = "/depot/old/of/m/chat/completions?as-of=2024-10-21";

async fn house(provider: SocketAddr) -> House {
    let most = Amount { count: 10, bytes: 100_000 };
    House::furnished(Bounds { most, most_each: usize::MAX }, &provider.to_string(), |_| {}).await
}

async fn held(house: &mut House) -> (Call, Waiter) {
    loop {
        match soon(house.inputs.recv()).await {
            Some(Input::Hold(_, call, waiter)) => return (call, waiter),
            Some(Input::Received(_) | Input::Gone(_)) => {}
            other => panic!("a call was expected: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_batch_has_the_model_that_the_operator_says() {
    let provider = Provider::start().await;
    let mut house = house(provider.address()).await;
    for (path, body, model, batched) in [
        (OLD, r#"{"model":"m","a":1}"#, "m-batch", r#"{"model":"m-batch","a":1}"#),
        (OLD, "{ \"a\":1e999 }", "m-batch", "{\"model\":\"m-batch\", \"a\":1e999 }"),
        // The path counts, whatever the body says.
        (OLD, r#"{"model":""}"#, "m-batch", r#"{"model":"m-batch"}"#),
        (OLD, r#"{"model":null}"#, "m-batch", r#"{"model":"m-batch"}"#),
        (OLD, r#"{"model":"n"}"#, "m-batch", r#"{"model":"m-batch"}"#),
        (
            OLD,
            r#"{"stream":true,"metadata":{"model":"m"}}"#,
            "m-batch",
            r#"{"model":"m-batch","metadata":{"model":"m"}}"#,
        ),
        ("/depot/old/of/other/chat/completions", "{}", "other", r#"{"model":"other"}"#),
        ("/depot/old/responses?as-of=1&at=2", r#"{"model":"n"}"#, "n-batch", r#"{"model":"n-batch"}"#),
        (
            "/depot/new/chat/completions?as-of=preview",
            r#"{"model":"m"}"#,
            "m-batch",
            r#"{"model":"m-batch"}"#,
        ),
        ("/depot/v1/chat/completions", r#"{"model":"other"}"#, "other", r#"{"model":"other"}"#),
        (
            "/depot/v1/chat/completions",
            r#"{"model":"o","model":"other"}"#,
            "other",
            r#"{"model":"o","model":"other"}"#,
        ),
    ] {
        let mut client = house.client().await;
        client.send(post(path, body)).await;
        let (call, _waiter) = held(&mut house).await;
        assert_eq!((call.key.model(), &call.body[..]), (model, batched.as_bytes()), "{path} {body}");
        assert_eq!(call.key.upstream(), "depot");
    }
}

#[tokio::test]
async fn a_body_with_two_models_cannot_be_given_another() {
    let proxy = Proxy::alone().await;
    for (path, body) in [
        (OLD, r#"{"model":"m","model":"m"}"#),
        ("/depot/v1/chat/completions", r#"{"model":"x","m\u006fdel":"m"}"#),
    ] {
        let (head, answer) = proxy.client().await.call(path, body).await;
        assert_eq!((status(&head), error(&answer).contains("more than once")), ("400", true), "{body}");
    }
}

#[tokio::test]
async fn a_repetition_is_known_by_what_the_caller_sent() {
    let mut house = house("127.0.0.1:9".parse().unwrap()).await;
    let mut digest = async |path: &str, body: &str| {
        let mut client = house.client().await;
        client.send(post(path, body)).await;
        held(&mut house).await.0.pairing.digest
    };
    let first = digest(OLD, r#"{"model":"m"}"#).await;
    assert_eq!(first, digest(OLD, r#"{"model":"m"}"#).await);
    assert_ne!(first, digest(OLD, r#"{"model":"m-batch"}"#).await);
    assert_ne!(first, digest(&OLD.replace("/m/", "/n/"), r#"{"model":"m"}"#).await);
}

#[tokio::test]
async fn what_is_relayed_keeps_its_path_its_query_and_its_model() {
    let provider = Provider::start().await;
    let proxy = Proxy::start(provider.address()).await;
    let body = r#"{"model":"m"}"#;
    for (lines, path, theirs, reason) in [
        ("x-llm-proxy-mode: sync\r\n", OLD, "/x/old/of/m/chat/completions?as-of=2024-10-21", Some("mode")),
        (
            "",
            "/depot/old/of/m/chat/completions?as-of=1&x=2",
            "/x/old/of/m/chat/completions?as-of=1&x=2",
            Some("query"),
        ),
        ("", "/depot/old/of/m/audio?as-of=1", "/x/old/of/m/audio?as-of=1", None),
        ("", "/depot/old/files/f", "/x/old/files/f", None),
        ("", "/depot/files/f?as-of=1", "/x/new/files/f?as-of=1", None),
    ] {
        let mut client = proxy.client().await;
        client.send(post(path, body).replacen("\r\n", &format!("\r\n{lines}"), 1)).await;
        let mut there = provider.accept().await;
        let (head, sent) = there.message().await;
        assert!(head.starts_with(&format!("POST {theirs} HTTP/1.1\r\n")), "{head}");
        assert_eq!(sent, body);
        there.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
        let (head, _) = client.message().await;
        assert_eq!(line(&head, "x-llm-proxy-relay-reason"), reason);
    }
}

/// A call whose batch was refused.
fn refused(call: Call) -> Solo {
    let Call { key, credential, body, edit, uri, .. } = call;
    Solo {
        rid: Rid::random(),
        key,
        credential,
        body,
        edit,
        uri,
        route: Way::Sync,
        reason: Reason::Refused,
        perhaps_twice: false,
    }
}

#[tokio::test]
async fn a_call_that_is_made_alone_asks_its_own_model() {
    let provider = Provider::start().await;
    let mut house = house(provider.address()).await;
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
    let empty = "{ \"model\" : \"\", \"n\":1e999}";
    for (path, body, alone) in [
        (OLD, empty, empty),
        // Without the wish for a stream, as in the batch.
        (
            "/depot/old/of/n/chat/completions?at=1",
            r#"{"stream":true,"model":"n","a":1}"#,
            r#"{"model":"n","a":1}"#,
        ),
        ("/depot/old/of/o/chat/completions", "{}", "{}"),
    ] {
        let mut client = house.client().await;
        client.send(post(path, body)).await;
        let (call, waiter) = held(&mut house).await;
        let soloist = house.soloist.clone();
        let ended = tokio::spawn(async move { soloist.make(refused(call)).await });
        let mut there = provider.accept().await;
        let (head, sent) = there.message().await;
        let theirs = path.replace("/depot/", "/x/");
        assert!(head.starts_with(&format!("POST {theirs} HTTP/1.1\r\n")), "{head}");
        assert_eq!(sent, alone);
        there.send(answer).await;
        waiter.end(Ended::new(ended.await.unwrap().into(), Duration::ZERO));
        client.head().await;
    }

    // It is remembered.
    let mut client = house.client().await;
    client.send(post(OLD, empty)).await;
    assert!(held(&mut house).await.0.plan.refused);
}
