//! Clients that keep no rule, against `llm-proxy serve` as a process of its own: ordinary callers get their answers all the
//! while, and the process's memory stays bounded.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, missing_docs)]

use std::env;
use std::time::Duration;

use futures_util::future::join_all;
use simulator::{Config, Identity, Simulator};
use tests::hostile::{MAX_BODY, Ordinary, Proxy, connections};
use tests::raw::{Came, exchange, rest};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// Connections that do nothing, `$LLM_PROXY_HOSTILE_IDLE`. Each is an open file here and there, and others need some too.
const IDLE: usize = 8_000;
/// Connections of the slow.
const SLOW: usize = 300;
/// Of those that send too much: at a time less than the proxy takes in altogether, where it would tell others to wait.
const OVERSIZED: usize = 20;
/// How often each malformed request is sent.
const REPEATS: usize = 5;
/// The proxy gives up a head, and a body that stops, after 30 s; this is for a machine that is busy elsewhere.
const GIVES_UP: Duration = Duration::from_secs(90);
/// What is answered at all is answered before.
const ANSWERS: Duration = Duration::from_secs(20);
/// The most memory that the process ever has, in MB: 8,000 idle connections, hundreds of slow ones and bodies up to
/// `--max-held-bytes` fit. It is a debug build's.
const MEMORY_MB: u64 = 500;
/// What is smuggled; nobody may ever answer it.
const SMUGGLED: &str =
    "GET /v1/echo/smuggled HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-smuggler\r\n\r\n";

fn idle() -> usize {
    env::var("LLM_PROXY_HOSTILE_IDLE").map_or(IDLE, |count| count.parse().unwrap())
}

/// Waits until the proxy has closed them all.
async fn all_closed(what: &str, streams: Vec<TcpStream>) {
    let (count, ended) = (
        streams.len(),
        streams.into_iter().map(|mut stream| async move { rest(&mut stream, GIVES_UP).await }),
    );
    let came = join_all(ended).await;
    let open = came.iter().filter(|came| !came.closed).count();
    println!("{count:6} {what}: {open} still open in the end");
    assert_eq!(open, 0, "{what}");
}

/// Sends the beginning of a request, then a byte now and then for as long as the other side listens.
async fn drip(mut stream: TcpStream, beginning: String, byte: &'static [u8]) -> TcpStream {
    let mut listens = stream.write_all(beginning.as_bytes()).await.is_ok();
    // Less than the time after which the proxy gives up; then it is silent.
    for _ in 0..5 {
        if !listens {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        listens = stream.write_all(byte).await.is_ok();
    }
    stream
}

/// A head of a call that is batched.
fn head(more: &str) -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-hostile\r\n\
         content-type: application/json\r\n{more}"
    )
}

async fn slow_and_idle(proxy: &Proxy, ordinary: &mut Ordinary) {
    let idle = connections(proxy.address, idle()).await.unwrap();
    let [heads, bodies] = [connections(proxy.address, SLOW).await, connections(proxy.address, SLOW).await];
    let heads = join_all(heads.unwrap().into_iter().map(|stream| drip(stream, head("x: "), b"y")));
    let announced = head("content-length: 1000\r\n\r\n{");
    let bodies = join_all(bodies.unwrap().into_iter().map(|stream| drip(stream, announced.clone(), b" ")));
    let (heads, bodies, round) = tokio::join!(heads, bodies, ordinary.a_new_round());
    round.unwrap();
    tokio::join!(
        all_closed("idle connections", idle),
        all_closed("slow heads", heads),
        all_closed("slow bodies", bodies)
    );
}

/// What is too large: refused with a status that says so, or closed while it is still being sent.
async fn oversized(proxy: &Proxy) {
    let line = format!("x-{}: {}\r\n", "n".repeat(100), "v".repeat(900));
    let body = vec![b' '; MAX_BODY + 1];
    let chunk = [format!("{:x}\r\n", body.len()).as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
    let kinds: [(&str, Vec<u8>, &[u16]); 6] = [
        ("header of 1 MB", head(&format!("x: {}\r\n\r\n", "v".repeat(1_000_000))).into(), &[400, 431]),
        ("headers of 1 MB", head(&format!("{}\r\n", line.repeat(1_000))).into(), &[400, 431]),
        ("1,000 headers", head(&format!("{}\r\n", "x: y\r\n".repeat(1_000))).into(), &[400, 431]),
        (
            "address of 1 MB",
            format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(1_000_000)).into(),
            &[400, 414, 431],
        ),
        (
            "announced body",
            [head(&format!("connection: close\r\ncontent-length: {}\r\n\r\n", body.len())).as_bytes(), &body]
                .concat(),
            &[413],
        ),
        (
            "chunked body",
            [head("connection: close\r\ntransfer-encoding: chunked\r\n\r\n").as_bytes(), &chunk].concat(),
            &[413],
        ),
    ];
    for (what, bytes, statuses) in kinds {
        let came = join_all((0..OVERSIZED).map(|_| exchange(proxy.address, &bytes, ANSWERS))).await;
        let came: Vec<Came> = came.into_iter().map(Result::unwrap).collect();
        for came in &came {
            let told = came.statuses();
            let as_it_should = told.len() <= 1 && told.iter().all(|status| statuses.contains(status));
            assert!(as_it_should && came.closed, "{what}: {told:?}, closed: {}", came.closed);
        }
        let told = came.iter().filter(|came| !came.statuses().is_empty()).count();
        println!("{OVERSIZED:6} {what}: {told} told so, the others closed");
    }
}

/// Requests of which two servers could see different ends, and other malformed ones. None is a request: it is refused, and
/// what follows on the connection is not read as one.
fn malformed() -> Vec<(&'static str, String)> {
    let call = |more: &str| head(&format!("{more}\r\n{SMUGGLED}"));
    let chunked = |body: &str| call(&format!("transfer-encoding: chunked\r\n\r\n{body}"));
    let mut cases: Vec<(&'static str, String)> = [
        ("both lengths", "content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n"),
        ("both lengths, the other way", "transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n"),
        ("two lengths", "content-length: 2\r\ncontent-length: 90\r\n\r\n{}"),
        ("lengths in one line", "content-length: 2, 90\r\n\r\n{}"),
        ("a length with a sign", "content-length: +2\r\n\r\n{}"),
        ("a negative length", "content-length: -2\r\n\r\n{}"),
        ("a length in hex", "content-length: 0x2\r\n\r\n{}"),
        ("a length beyond 64 bits", "content-length: 99999999999999999999\r\n\r\n{}"),
        ("an empty length", "content-length: \r\n\r\n{}"),
        ("chunked, but not last", "transfer-encoding: chunked, identity\r\n\r\n0\r\n"),
        ("an unknown coding", "transfer-encoding: xchunked\r\n\r\n0\r\n"),
        ("a folded line", "x: y\r\n z\r\ncontent-length: 2\r\n\r\n{}"),
        ("a folded length", "content-length:\r\n 2\r\n\r\n{}"),
        ("a space before the colon", "content-length : 2\r\n\r\n{}"),
        ("a line without a colon", "content-length 2\r\n\r\n{}"),
        ("NUL in a value", "x: a\0b\r\ncontent-length: 2\r\n\r\n{}"),
        ("CR in a value", "x: a\rb\r\ncontent-length: 2\r\n\r\n{}"),
        ("NUL in a name", "x\0y: a\r\ncontent-length: 2\r\n\r\n{}"),
    ]
    .map(|(what, more)| (what, call(more)))
    .into();
    cases.extend(
        [
            ("a chunk size that is none", "G\r\n{}\r\n0\r\n"),
            ("a negative chunk size", "-2\r\n{}\r\n0\r\n"),
            ("a chunk size in C's way", "0x2\r\n{}\r\n0\r\n"),
            ("a chunk size beyond 64 bits", "FFFFFFFFFFFFFFFFF\r\n{}\r\n0\r\n"),
            ("a chunk longer than its size", "2\r\n{}{}\r\n0\r\n"),
        ]
        .map(|(what, body)| (what, chunked(body))),
    );
    cases.extend([
        ("another protocol", "SSH-2.0-x\r\n\r\n".to_owned()),
        ("a version that is none", format!("GET / HTTP/9.9\r\nhost: x\r\n\r\n{SMUGGLED}")),
        ("no version", format!("GET /\r\n\r\n{SMUGGLED}")),
        ("bytes", (0..200u8).map(|byte| char::from(byte.wrapping_mul(37) | 128)).collect()),
    ]);
    cases
}

async fn malformed_requests(proxy: &Proxy) {
    let mut wrong = Vec::new();
    for (what, text) in malformed() {
        let mut answered = 0;
        for path in ["/v1/chat/completions", "/v1/echo/relayed"] {
            let text = text.replace("/v1/chat/completions", path);
            let came =
                join_all((0..REPEATS).map(|_| exchange(proxy.address, text.as_bytes(), ANSWERS))).await;
            for came in came.into_iter().map(Result::unwrap) {
                let told = came.statuses();
                let refused = told.iter().all(|status| (400..600).contains(status));
                answered += usize::from(!refused);
                let smuggled = String::from_utf8_lossy(&came.bytes).contains("smuggle");
                if !refused || smuggled || told.len() > 1 || !came.closed {
                    wrong.push((what, path, told, came.closed));
                }
            }
        }
        println!("{:6} {what}: {answered} answered, the others refused, all closed", 2 * REPEATS);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A call with this content, as raw JSON.
fn chat(content: &str) -> String {
    format!(r#"{{"model":"gpt-4o-mini","messages":[{{"role":"user","content":{content}}}]}}"#)
}

/// Bodies that are not what they should be, with the statuses that may be answered.
fn odd_bodies() -> Vec<(&'static str, Vec<u8>, &'static [u16])> {
    let nested =
        |open: &str, close: &str| chat(&[&open.repeat(100_000), "1", &close.repeat(100_000)].concat());
    let not_text = chat("\"@\"").bytes().map(|byte| if byte == b'@' { 0xff } else { byte }).collect();
    let text = |what, body: String, statuses: &'static [u16]| (what, body.into_bytes(), statuses);
    vec![
        ("empty", vec![], &[400]),
        ("zeros", vec![0; 1000], &[400]),
        ("invalid UTF-8", vec![0xff, 0xfe, 0xc0, 0x80], &[400]),
        ("invalid UTF-8 in a string", not_text, &[400]),
        text("half a pair of surrogates", chat(r#""\ud800""#), &[200, 400]),
        text("a byte order mark", format!("\u{feff}{}", chat("1")), &[400]),
        text("100,000 open arrays", nested("[", ""), &[400]),
        text("100,000 nested arrays", nested("[", "]"), &[200, 400]),
        text("100,000 nested objects", nested("{\"a\":", "}"), &[200, 400]),
        text("a number of 1,000,000 digits", chat(&"9".repeat(1_000_000)), &[200, 400]),
        text("an exponent of 1,000,000 digits", chat(&format!("1e{}", "9".repeat(1_000_000))), &[200, 400]),
        text("a name of 1 MB", chat(&format!("{{\"{}\":1}}", "n".repeat(1_000_000))), &[200, 400]),
        text("100,000 members", chat(&format!("{{{}\"z\":1}}", "\"a\":1,".repeat(100_000))), &[200, 400]),
        text("a model of 1 MB", chat("1").replace("gpt-4o-mini", &"m".repeat(1_000_000)), &[404]),
        text("two models", chat("1").replace("{\"model", "{\"model\":\"gpt-4o\",\"model"), &[200, 400]),
        text("an array", "[1]".to_owned(), &[400]),
        text("an end of the line in a string", chat(r#""a\u000a{\"custom_id\":\"x\"}\u2028""#), &[200]),
    ]
}

/// Well-formed requests with bodies that are not what they should be; each gets one answer, an error or its own. What is
/// nested too deeply for a batch is relayed, and the provider judges it.
async fn bodies(proxy: &Proxy) {
    for (what, body, statuses) in odd_bodies() {
        let mut got = Vec::new();
        for more in ["", "accept: text/event-stream\r\n"] {
            let head = head(&format!("connection: close\r\n{more}content-length: {}\r\n\r\n", body.len()));
            let bytes = [head.as_bytes(), &body].concat();
            let came = join_all((0..REPEATS).map(|_| exchange(proxy.address, &bytes, ANSWERS))).await;
            got.extend(came.into_iter().map(Result::unwrap));
        }
        for came in &got {
            let told = came.statuses();
            assert!(told.len() == 1 && statuses.contains(&told[0]), "{what}: {told:?}");
        }
        println!("{:6} {what}: {:?}", got.len(), got[0].statuses());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_clients_harm_nobody_else() {
    let simulator = Simulator::start(Config { keep_bodies: 0, ..Config::default() }).await.unwrap();
    let mut proxy = Proxy::start(&simulator.url()).await.unwrap();
    let mut ordinary = Ordinary::start(proxy.url());
    ordinary.a_new_round().await.unwrap();
    let before = proxy.memory_mb().unwrap();
    let others = async {
        malformed_requests(&proxy).await;
        bodies(&proxy).await;
        oversized(&proxy).await;
    };
    tokio::join!(slow_and_idle(&proxy, &mut ordinary), others);
    ordinary.a_new_round().await.unwrap();
    let answered = ordinary.stop().await.unwrap();
    println!("{answered} ordinary calls got their own answers meanwhile");
    let most = proxy.memory_mb().unwrap();
    println!("memory: {before} MB before, never more than {most} MB, of {MEMORY_MB} MB allowed");
    proxy.is_unharmed(MEMORY_MB).unwrap();
    // Hostile ones repeat themselves; their bodies have no marker.
    let twice = simulator.billed_twice();
    assert!(twice.iter().all(|twice| !matches!(twice.identity, Identity::Marker(_))), "{twice:?}");
}
