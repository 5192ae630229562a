//! The callers: many at once, each of which knows its own answer.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::answer::{Http1, Text};

/// Connections that are being opened at a time, fewer than a listener's backlog.
const OPENING: usize = 256;
/// HTTP/2 connections that the calls share.
const SHARED: usize = 8;
/// Bytes that are read at a time.
const PIECE: usize = 4096;

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
    /// How long a call may take.
    pub(crate) patience: Duration,
}

impl Load {
    /// Kilobytes for each call beyond its body, of `resident` bytes while all are held.
    pub(crate) fn beyond(&self, resident: u64, idle: u64) -> f64 {
        (resident.saturating_sub(idle) as f64 / self.requests as f64 - self.body as f64) / 1024.0
    }
}

/// How calls travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// A connection for each call.
    Http1,
    /// A few connections for all, without TLS.
    Http2,
}

/// What all callers together have got so far.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    begun: AtomicUsize,
    signs: AtomicU64,
    ended: AtomicUsize,
}

impl Progress {
    /// Answers whose head has come.
    pub(crate) fn begun(&self) -> usize {
        self.begun.load(Ordering::Relaxed)
    }

    /// Signs of life before answers.
    pub(crate) fn signs(&self) -> u64 {
        self.signs.load(Ordering::Relaxed)
    }

    /// Calls that have ended, well or not.
    pub(crate) fn ended(&self) -> usize {
        self.ended.load(Ordering::Relaxed)
    }

    fn begin(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
    }

    fn hear(&self, signs: u64) {
        self.signs.fetch_add(signs, Ordering::Relaxed);
    }
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
pub(crate) async fn run(
    load: Load,
    address: SocketAddr,
    progress: Arc<Progress>,
) -> Result<(Vec<Answered>, Vec<String>)> {
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
        let caller = Caller {
            address,
            marker: format!("call-{number:08}"),
            key: format!("sk-bench-{}", number as u32 % load.keys),
            progress: progress.clone(),
        };
        let client = clients.get(number % SHARED).cloned();
        let gate = gate.clone();
        calls.spawn(async move {
            let call = async {
                match client {
                    Some(client) => caller.over_http2(client, load.body).await,
                    None => caller.over_http1(&gate, load.body).await,
                }
            };
            let ended = tokio::time::timeout(load.patience, call).await;
            caller.progress.ended.fetch_add(1, Ordering::Relaxed);
            ended.context("no answer in time")?
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

/// Makes one call.
struct Caller {
    address: SocketAddr,
    marker: String,
    key: String,
    progress: Arc<Progress>,
}

impl Caller {
    async fn over_http2(&self, client: reqwest::Client, bytes: usize) -> Result<Answered> {
        let began = now();
        let request =
            client.post(format!("http://{}/v1/chat/completions", self.address)).bearer_auth(&self.key);
        let request = request.header("content-type", "application/json").body(body(&self.marker, bytes));
        let mut response = request.send().await?;
        self.progress.begin();
        let mut text = Text::default();
        while let Some(piece) = response.chunk().await? {
            self.progress.hear(text.add(&piece)?);
        }
        let ended = now();
        let (status, own) = (response.status(), text.is_own(&self.marker));
        ensure!(status.is_success() && own, "status {status}: {}", text.lossy());
        Ok(Answered { began, ended })
    }

    /// By hand: ten thousand callers must not take the CPU that is measured beside them.
    async fn over_http1(&self, gate: &Semaphore, bytes: usize) -> Result<Answered> {
        let permit = gate.acquire().await?;
        let began = now();
        let mut stream = TcpStream::connect(self.address).await.context("cannot connect")?;
        stream.set_nodelay(true)?;
        stream.write_all(self.http1_request(bytes).as_bytes()).await?;
        drop(permit);
        let mut answer = Http1::default();
        while !answer.is_complete() {
            stream.readable().await?;
            let had_begun = answer.has_begun();
            self.progress.hear(read(&stream, &mut answer)?);
            if !had_begun && answer.has_begun() {
                self.progress.begin();
            }
        }
        let ended = now();
        ensure!(answer.is_ok() && answer.text.is_own(&self.marker), "{}", answer.lossy());
        Ok(Answered { began, ended })
    }

    fn http1_request(&self, bytes: usize) -> String {
        let body = body(&self.marker, bytes);
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.address,
            self.key,
            body.len()
        )
    }
}

/// Reads what there is and returns how many signs of life are in it. A call has no buffer of its own while it waits.
fn read(stream: &TcpStream, answer: &mut Http1) -> Result<u64> {
    let mut piece = [0; PIECE];
    match stream.try_read(&mut piece) {
        Ok(0) => bail!("the connection ended after {:?}", answer.lossy()),
        Ok(read) => answer.add(&piece[..read]),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        Err(error) => Err(error.into()),
    }
}
