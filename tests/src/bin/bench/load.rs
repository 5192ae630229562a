//! The callers: many at once, each of which knows its own answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Connections that are being opened at a time, fewer than a listener's backlog.
const OPENING: usize = 256;
/// HTTP/2 connections that the calls share.
const SHARED: usize = 8;
/// Bytes of an answer at most; the simulator's are well below 2 KB.
const MAX_ANSWER: usize = 64 * 1024;
/// Longer than any run takes.
const PATIENCE: Duration = Duration::from_secs(300);

/// What is called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// Calls at once.
    pub(crate) requests: usize,
    /// Keys that they are spread over.
    pub(crate) keys: u32,
    /// Bytes of a body.
    pub(crate) body: usize,
    pub(crate) protocol: Protocol,
}

/// How calls travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// A connection for each call.
    Http1,
    /// A few connections for all, without TLS.
    Http2,
}

/// A call that got its own answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answered {
    /// When the call began, in milliseconds since the epoch.
    pub(crate) began: f64,
    /// When its answer was complete, in milliseconds since the epoch.
    pub(crate) ended: f64,
}

/// Milliseconds since the epoch, comparable with the simulator's times.
pub(crate) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1000.0
}

/// Makes all calls at once and waits for their answers; and the first few reasons why some got none.
///
/// # Errors
/// If no client can be made.
pub(crate) async fn run(load: Load, address: SocketAddr) -> Result<(Vec<Answered>, Vec<String>)> {
    let gate = Arc::new(Semaphore::new(OPENING));
    let clients: Vec<reqwest::Client> = match load.protocol {
        Protocol::Http1 => Vec::new(),
        Protocol::Http2 => {
            let client = || reqwest::Client::builder().no_proxy().http2_prior_knowledge().build();
            (0..SHARED).map(|_| client()).collect::<Result<_, _>>()?
        }
    };
    let mut calls = JoinSet::new();
    for number in 0..load.requests {
        let marker = format!("call-{number:08}");
        let key = format!("sk-bench-{}", number as u32 % load.keys);
        let body = body(&marker, load.body);
        let client = clients.get(number % SHARED).cloned();
        let gate = gate.clone();
        calls.spawn(async move {
            let call = async {
                match client {
                    Some(client) => over_http2(client, address, &key, body, &marker).await,
                    None => over_http1(&gate, address, &key, &body, &marker).await,
                }
            };
            tokio::time::timeout(PATIENCE, call).await.context("no answer in time")?
        });
    }
    let (mut answered, mut failures) = (Vec::with_capacity(load.requests), Vec::new());
    while let Some(ended) = calls.join_next().await {
        match ended.context("a call crashed").flatten() {
            Ok(call) => answered.push(call),
            Err(error) if failures.len() < 5 => failures.push(format!("{error:#}")),
            Err(_) => {}
        }
    }
    Ok((answered, failures))
}

/// A chat completion of exactly `bytes` bytes, or the shortest one if that is longer.
fn body(marker: &str, bytes: usize) -> String {
    let head = format!(r#"{{"model":"gpt-4o-mini","messages":[{{"role":"user","content":"echo:{marker} "#);
    let tail = r#""}]}"#;
    let filling = bytes.saturating_sub(head.len() + tail.len());
    [head, "x".repeat(filling), tail.into()].concat()
}

async fn over_http2(
    client: reqwest::Client,
    address: SocketAddr,
    key: &str,
    body: String,
    marker: &str,
) -> Result<Answered> {
    let began = now();
    let request = client.post(format!("http://{address}/v1/chat/completions")).bearer_auth(key);
    let response = request.header("content-type", "application/json").body(body).send().await?;
    let status = response.status();
    let answer = response.bytes().await?;
    let ended = now();
    ensure!(status.is_success() && is_own(&answer, marker), "status {status}: {answer:?}");
    Ok(Answered { began, ended })
}

/// By hand: ten thousand callers must not take the CPU that is measured beside them.
async fn over_http1(
    gate: &Semaphore,
    address: SocketAddr,
    key: &str,
    body: &str,
    marker: &str,
) -> Result<Answered> {
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let permit = gate.acquire().await?;
    let began = now();
    let mut stream = TcpStream::connect(address).await.context("cannot connect")?;
    stream.set_nodelay(true)?;
    stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await?;
    drop(permit);
    // No buffer before there is something to read.
    stream.readable().await?;
    let mut answer = Vec::with_capacity(2048);
    while !is_complete(&answer)? {
        ensure!(answer.len() <= MAX_ANSWER, "the answer has no end");
        if stream.read_buf(&mut answer).await? == 0 {
            bail!("the connection ended after {} bytes", answer.len());
        }
    }
    let ended = now();
    let own = answer.starts_with(b"HTTP/1.1 200 ") && is_own(&answer, marker);
    ensure!(own, "{}", String::from_utf8_lossy(&answer));
    Ok(Answered { began, ended })
}

/// Whether an answer has come in whole; the proxy tells the length of every answer.
fn is_complete(answer: &[u8]) -> Result<bool> {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(false) };
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.context("an answer without content-length")?.trim().parse()?;
    Ok(answer.len() >= end + 4 + length)
}

/// The simulator's answer says the marker and nothing else.
fn is_own(answer: &[u8], marker: &str) -> bool {
    let text = format!(r#""{marker}""#);
    answer.windows(text.len()).any(|window| window == text.as_bytes())
}
