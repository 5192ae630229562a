//! Calls that wait longer than their callers would in silence.

use common::outcome::{Fault, FaultClass};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::desk::House;
use super::*;
use crate::core::Input;
use crate::hold::Waiter;

const CALL: &str = "{\"model\":\"m\"}";
const STREAM: &str = "{\"model\":\"m\",\"stream\":true}";
/// The most impatient caller that is heard: it gets a sign of life every 200 ms.
pub(super) const HURRY: &str = "x-stainless-read-timeout: 0.6\r\n";
pub(super) const CURL: &str = "user-agent: curl/8.5.0\r\n";

async fn house(hold_status: bool) -> House {
    House::with(false, hold_status, Amount { count: 10, bytes: 100_000_000 }).await
}

/// A call with header lines of its own.
pub(super) fn with(lines: &str, path: &str, body: &str) -> String {
    post(path, body).replacen("\r\n", &format!("\r\n{lines}"), 1)
}

pub(super) fn answer(waiter: Waiter, status: u16, body: impl Into<Bytes>) {
    let provided = Provided {
        status: StatusCode::from_u16(status).unwrap(),
        headers: HeaderMap::new(),
        job: "batch_1".into(),
        body: body.into(),
        unbatchable: false,
        route: Default::default(),
    };
    let outcome = Outcome::Response(provided).into();
    waiter.end(Ended::new(outcome, Duration::from_secs(1)));
}

pub(super) fn fail(waiter: Waiter) {
    let outcome = Outcome::Fault(Fault::new(FaultClass::Expired, "expired", "too late")).into();
    waiter.end(Ended::new(outcome, Duration::from_secs(1)));
}

impl House {
    /// What the next caller that is done says: whether it has its answer.
    pub(super) async fn received(&mut self) -> bool {
        match soon(self.inputs.recv()).await {
            Some(Input::Received(_)) => true,
            Some(Input::Gone(_)) => false,
            _ => panic!("a caller was expected to be done"),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Reads one chunk of a chunked body; empty is the last.
    async fn chunk(&mut self) -> String {
        let length = usize::from_str_radix(self.until("\r\n").await.trim(), 16).unwrap();
        let mut data = vec![0; length + 2];
        soon(self.0.read_exact(&mut data)).await.unwrap();
        data.truncate(length);
        String::from_utf8(data).unwrap()
    }

    /// Reads signs of life, and then what is none.
    pub(super) async fn after_beats(&mut self) -> String {
        loop {
            match self.chunk().await {
                beat if beat == "\n" => {}
                other => return other,
            }
        }
    }

    pub(super) async fn rest(&mut self) -> std::io::Result<String> {
        let mut rest = String::new();
        soon(self.0.read_to_string(&mut rest)).await.map(|_| rest)
    }
}

#[tokio::test]
async fn an_answer_begins_late_and_goes_on_until_it_is_there() {
    let mut house = house(false).await;
    let mut client = house.client().await;
    for _ in 0..2 {
        client.send(with(HURRY, "/v1/chat/completions", CALL)).await;
        let waiter = house.held().await;
        let head = client.head().await;
        let lines =
            ["content-type", "transfer-encoding", "x-accel-buffering", "cache-control", "x-llm-proxy-route"];
        assert_eq!(
            lines.map(|name| line(&head, name).unwrap_or("")),
            ["application/json", "chunked", "no", "no-cache, no-transform", "batch"]
        );
        for _ in 0..3 {
            assert_eq!(client.chunk().await, "\n");
        }
        answer(waiter, 200, "{\"n\": 1e400}");
        assert_eq!(client.after_beats().await, "{\"n\": 1e400}");
        assert_eq!(client.chunk().await, "", "nothing follows the answer");
        assert!(house.received().await);
    }
}

#[tokio::test]
async fn a_large_answer_is_never_cut_by_a_sign_of_life() {
    let mut house = house(false).await;
    let mut client = house.client().await;
    client.send(with(HURRY, "/v1/responses", CALL)).await;
    let waiter = house.held().await;
    client.head().await;
    let body = "x".repeat(20_000_000);
    answer(waiter, 200, body.clone());
    // Nobody reads for several beats, so the answer waits half written.
    tokio::time::sleep(Duration::from_millis(700)).await;
    let mut got = client.after_beats().await;
    loop {
        match client.chunk().await {
            end if end.is_empty() => break,
            piece => got.push_str(&piece),
        }
    }
    assert!(got == body);
    assert!(house.received().await);
}

#[tokio::test]
async fn an_error_after_the_beginning_breaks_the_connection() {
    for version in ["HTTP/1.1", "HTTP/1.0"] {
        let mut house = house(false).await;
        let mut client = house.client().await;
        client.send(with(HURRY, "/v1/responses", CALL).replacen("HTTP/1.1", version, 1)).await;
        let waiter = house.held().await;
        let head = client.head().await;
        assert_eq!((status(&head), line(&head, "content-length")), ("200", None));
        fail(waiter);
        let error =
            client.rest().await.expect_err("no orderly end, which HTTP/1.0 takes for the end of the answer");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{version}");
        assert!(!house.received().await, "kept for the next try");
    }
}

#[tokio::test]
async fn http_1_0_gets_its_answer_up_to_the_end_of_the_connection() {
    let mut house = house(false).await;
    let mut client = house.client().await;
    client.send(with(HURRY, "/v1/responses", CALL).replacen("HTTP/1.1", "HTTP/1.0", 1)).await;
    let waiter = house.held().await;
    assert_eq!(line(&client.head().await, "transfer-encoding"), None);
    answer(waiter, 200, "{}");
    assert_eq!(client.rest().await.unwrap().trim_start_matches('\n'), "{}");
}

#[tokio::test]
async fn on_http_2_only_the_call_itself_breaks() {
    let mut house = house(false).await;
    let io = TokioIo::new(TcpStream::connect(house.address).await.unwrap());
    let (client, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let call = || {
        let request = Request::post("http://proxy/v1/responses")
            .header("authorization", "Bearer k")
            .header("x-stainless-read-timeout", "0.6")
            .body(Full::new(Bytes::from(CALL)))
            .unwrap();
        tokio::spawn(client.clone().send_request(request))
    };
    let first = call();
    let wrong = house.held().await;
    let second = call();
    let right = house.held().await;
    let (first, second) = (soon(first).await.unwrap().unwrap(), soon(second).await.unwrap().unwrap());
    fail(wrong);
    assert!(soon(first.into_body().collect()).await.is_err());
    assert!(!house.received().await);
    answer(right, 200, "{}");
    let body = soon(second.into_body().collect()).await.unwrap().to_bytes();
    assert_eq!(body.trim_ascii(), b"{}");
}

#[tokio::test]
async fn a_stream_gets_events_and_errors_as_events() {
    let mut house = house(false).await;
    let mut client = house.client().await;
    let final_answer = r#"{"id":"c1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"h\u00e9"},"finish_reason":"stop"}]}"#;
    client.send(with(HURRY, "/v1/chat/completions", STREAM)).await;
    let waiter = house.held().await;
    let head = client.head().await;
    assert_eq!(line(&head, "content-type"), Some("text/event-stream; charset=utf-8"));
    answer(waiter, 200, final_answer);
    let events = client.after_beats().await;
    assert!(events.starts_with("data: {") && events.ends_with("data: [DONE]\n\n"), "{events}");
    assert!(events.contains(r#""content":"h\u00e9""#));
    assert_eq!(client.chunk().await, "");
    assert!(house.received().await);

    client.send(with(HURRY, "/v1/chat/completions", STREAM)).await;
    let waiter = house.held().await;
    client.head().await;
    answer(
        waiter,
        400,
        r#"{"error":{"message":"no","type":"invalid_request_error","param":null,"code":"bad"}}"#,
    );
    let events = client.after_beats().await;
    assert!(events.starts_with(r#"data: {"error":{"message":"no""#), "{events}");
    assert!(events.ends_with("data: [DONE]\n\n"));
    assert_eq!(client.chunk().await, "");
    assert!(house.received().await, "it was told");

    client.send(post("/v1/chat/completions", STREAM)).await;
    answer(house.held().await, 200, final_answer);
    let (head, body) = client.message().await;
    assert_eq!((line(&head, "x-llm-proxy-job"), body.ends_with(b"[DONE]\n\n")), (Some("batch_1"), true));
}

#[tokio::test]
async fn interim_responses_keep_the_status_open() {
    let mut house = house(true).await;
    let mut client = house.client().await;
    client.send(with(&format!("{HURRY}{CURL}"), "/v1/responses", CALL)).await;
    let waiter = house.held().await;
    for _ in 0..4 {
        assert_eq!(client.head().await, "HTTP/1.1 102 Processing\r\n\r\n");
    }
    fail(waiter);
    let head = loop {
        match client.head().await {
            interim if status(&interim) == "102" => {}
            head => break head,
        }
    };
    assert_eq!(status(&head), "504");
    assert!(house.received().await);
}

#[tokio::test]
async fn interim_responses_never_stand_in_the_middle_of_an_answer() {
    let mut house = house(true).await;
    let mut client = house.client().await;
    let call = with(&format!("{HURRY}{CURL}"), "/v1/responses", CALL);
    client.send(format!("{call}{call}")).await;
    let body = "y".repeat(20_000_000);
    answer(house.held().await, 200, body.clone());
    // The second call is held once the first answer has left for the most part, and gets its signs of life; while nobody
    // reads, nothing may come between.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let head = loop {
        match client.head().await {
            interim if status(&interim) == "102" => {}
            head => break head,
        }
    };
    let mut got = vec![0; line(&head, "content-length").unwrap().parse().unwrap()];
    let reading = soon(client.0.read_exact(&mut got));
    let (read, waiter) = tokio::join!(reading, async {
        assert!(house.received().await);
        house.held().await
    });
    read.unwrap();
    assert!(got == body.as_bytes());
    assert_eq!(client.head().await, "HTTP/1.1 102 Processing\r\n\r\n");
    answer(waiter, 200, "{}");
    let head = loop {
        match client.head().await {
            interim if status(&interim) == "102" => {}
            head => break head,
        }
    };
    assert_eq!(line(&head, "content-length"), Some("2"));
}

#[tokio::test]
async fn a_caller_that_leaves_while_its_answer_goes_on_is_noticed() {
    let mut house = house(false).await;
    let mut client = house.client().await;
    client.send(with(HURRY, "/v1/responses", CALL)).await;
    let _waiter = house.held().await;
    client.head().await;
    drop(client);
    assert!(!house.received().await);
}

#[tokio::test]
async fn a_client_that_never_reads_is_cut_off() {
    let mut house = house(false).await;
    let mut client = house.client().await;
    client.send(post("/v1/responses", CALL)).await;
    answer(house.held().await, 200, "z".repeat(50_000_000));
    // The connection stays open and is never read: the answer must not stay in memory.
    assert!(!house.received().await);
}

#[tokio::test]
async fn a_client_with_a_limit_of_its_own_is_asked_back() {
    let mut house = house(false).await;
    let mut client = house.client().await;
    let node = "user-agent: OpenAI/JS 7.57.0\r\nx-stainless-timeout: 0.5\r\n";
    client.send(with(node, "/v1/responses", CALL)).await;
    let _first = house.held().await;
    let (head, body) = client.message().await;
    let lines = ["x-should-retry", "retry-after-ms", "x-llm-proxy-route"];
    assert_eq!(lines.map(|name| line(&head, name)), [Some("true"), Some("200"), Some("batch")]);
    assert_eq!(status(&head), "503");
    assert!(error(&body).contains("not paid again"));
    assert!(!house.received().await, "its request waits for it");
    client.send(with(&format!("{node}x-stainless-retry-count: 2\r\n"), "/v1/responses", CALL)).await;
    let _last = house.held().await;
    let (head, body) = client.message().await;
    assert_eq!((status(&head), line(&head, "x-should-retry")), ("504", Some("false")));
    assert!(error(&body).contains("timeout: 86400000"));
}
