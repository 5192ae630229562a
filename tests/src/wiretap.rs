//! Hears every message on a nats-server, as somebody would who got into it: all subjects, headers and payloads, as bytes.
//!
//! It speaks NATS's own protocol, so that what it hears went through no library of the product.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use common::wire::{Reply, ToBatcher, ToIngress, ToSubmitter};
use prost::Message as _;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::processes::{LOOK, PATIENCE};

/// Lines to send that may wait.
const OUTGOING: usize = 64;
/// What a message that this sends itself to is called. Nobody else uses it.
const OWN: &str = "wiretap.own";

/// One message.
#[derive(Debug, Clone)]
pub struct Heard {
    /// Where it was published.
    pub subject: String,
    /// Where its answer goes, or empty.
    pub reply: String,
    /// As they came; empty without.
    pub headers: Bytes,
    /// As it came.
    pub payload: Bytes,
}

/// A running wiretap.
pub struct Wiretap {
    heard: Arc<Mutex<Vec<Heard>>>,
    outgoing: mpsc::Sender<Vec<u8>>,
    reading: JoinHandle<Result<()>>,
    own: usize,
}

impl Wiretap {
    /// Hears everything from now on.
    ///
    /// # Errors
    /// The server is not there, or does not let anybody hear everything.
    pub async fn start(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let (from, to) = stream.into_split();
        let (outgoing, lines) = mpsc::channel(OUTGOING);
        tokio::spawn(write(to, lines));
        let heard = Arc::<Mutex<Vec<Heard>>>::default();
        let reading = tokio::spawn(read(BufReader::new(from), heard.clone(), outgoing.clone()));
        let mut tap = Self { heard, outgoing, reading, own: 0 };
        tap.send(
            b"CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true}\r\nSUB > 1\r\n".to_vec(),
        )
        .await?;
        tap.catch_up().await?;
        Ok(tap)
    }

    /// Publishes a message of its own.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn publish(&self, subject: &str, headers: &str, payload: &[u8]) -> Result<()> {
        let head = match headers.is_empty() {
            true => format!("PUB {subject} {}\r\n", payload.len()),
            false => {
                let headers = format!("NATS/1.0\r\n{headers}\r\n\r\n");
                let all = headers.len() + payload.len();
                format!("HPUB {subject} {} {all}\r\n{headers}", headers.len())
            }
        };
        self.send([head.as_bytes(), payload, b"\r\n"].concat()).await
    }

    /// Waits until it has heard a message that it sends now, and with it what reached the server before.
    ///
    /// # Errors
    /// It hears nothing.
    pub async fn catch_up(&mut self) -> Result<()> {
        self.own += 1;
        let text = self.own.to_string();
        self.publish(OWN, "", text.as_bytes()).await?;
        let came = async {
            while !self.heard().iter().any(|heard| heard.subject == OWN && heard.payload == text) {
                ensure!(!self.reading.is_finished(), "the server has closed the wiretap's connection");
                tokio::time::sleep(LOOK).await;
            }
            Ok(())
        };
        tokio::time::timeout(PATIENCE, came).await.context("the wiretap hears nothing")?
    }

    /// Waits until it has heard a message of a kind.
    ///
    /// # Errors
    /// There is none.
    pub async fn until(&self, kind: &str) -> Result<()> {
        let came = async {
            while !kinds(&self.heard()).contains_key(kind) {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(PATIENCE, came).await.with_context(|| format!("the wiretap hears no {kind}"))
    }

    /// Everything so far.
    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn send(&self, lines: Vec<u8>) -> Result<()> {
        self.outgoing.send(lines).await.context("the wiretap's connection is gone")
    }
}

impl Drop for Wiretap {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

async fn write(mut to: OwnedWriteHalf, mut lines: mpsc::Receiver<Vec<u8>>) {
    while let Some(lines) = lines.recv().await {
        if to.write_all(&lines).await.is_err() {
            return;
        }
    }
}

async fn read(
    mut from: BufReader<OwnedReadHalf>,
    heard: Arc<Mutex<Vec<Heard>>>,
    outgoing: mpsc::Sender<Vec<u8>>,
) -> Result<()> {
    loop {
        let mut line = String::new();
        ensure!(from.read_line(&mut line).await? > 0, "closed");
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let (subject, reply, head, all) = match words.as_slice() {
            ["MSG", subject, _, all] => (*subject, "", "0", *all),
            ["MSG", subject, _, reply, all] => (*subject, *reply, "0", *all),
            ["HMSG", subject, _, head, all] => (*subject, "", *head, *all),
            ["HMSG", subject, _, reply, head, all] => (*subject, *reply, *head, *all),
            ["PING"] => {
                outgoing.send(b"PONG\r\n".to_vec()).await?;
                continue;
            }
            ["INFO" | "PONG" | "+OK", ..] => continue,
            _ => bail!("the server says {line:?}"),
        };
        let (head, all) = (head.parse()?, all.parse::<usize>()?);
        let mut bytes = vec![0; all + 2];
        from.read_exact(&mut bytes).await?;
        bytes.truncate(all);
        let mut headers = Bytes::from(bytes);
        let payload = headers.split_off(head);
        let message = Heard { subject: subject.into(), reply: reply.into(), headers, payload };
        heard.lock().unwrap_or_else(PoisonError::into_inner).push(message);
    }
}

/// Messages by kind, each with its number and bytes; those of no kind of the product's under their subjects.
pub fn kinds(heard: &[Heard]) -> BTreeMap<String, (usize, usize)> {
    // Answers to pulls are the only ones that are told by what asked for them.
    let pulls = heard.iter().filter(|heard| heard.subject.ends_with(".body"));
    let pulls: BTreeSet<&str> = pulls.map(|heard| heard.reply.as_str()).collect();
    let mut kinds = BTreeMap::new();
    for heard in heard.iter().filter(|heard| heard.subject != OWN) {
        let kind = match pulls.contains(heard.subject.as_str()) {
            true => "Chunk".to_owned(),
            false => heard.kind().unwrap_or_else(|| format!("unknown: {}", heard.subject)),
        };
        let (number, bytes) = kinds.entry(kind).or_insert((0, 0));
        *number += 1;
        *bytes += heard.payload.len();
    }
    kinds
}

impl Heard {
    /// What kind of message it is, by its subject and the protocol.
    fn kind(&self) -> Option<String> {
        let tokens: Vec<&str> = self.subject.split('.').collect();
        let payload = self.payload.clone();
        Some(match tokens.as_slice() {
            ["llmp", "v1", "hb", role, _] => format!("Heartbeat of {role}"),
            ["llmp", "v1", "bat", _, "in"] => name(&ToBatcher::decode(payload).ok()?.body?),
            ["llmp", "v1", "sub", _, "in"] => name(&ToSubmitter::decode(payload).ok()?.body?),
            ["llmp", "v1", "ing", _, "in"] => name(&ToIngress::decode(payload).ok()?.body?),
            ["llmp", "v1", "ing", _, "body"] => "Pull".into(),
            ["llmp", "v1", "ing", _, "r", _] => "Result".into(),
            ["llmp", "v1", "ing" | "bat" | "sub", _, "re", _] => name(&Reply::decode(payload).ok()?.body?),
            // What a client of ours sends itself to learn that a subscription is in force.
            ["_R", ..] if payload.is_empty() => "Probe".into(),
            _ => return None,
        })
    }

    /// Everything of it that could hold something.
    pub fn bytes(&self) -> Vec<u8> {
        let parts = [self.subject.as_bytes(), self.reply.as_bytes(), &self.headers, &self.payload];
        parts.join(&0)
    }
}

/// The name of an enum's variant, as `Debug` prints it.
fn name(body: &impl std::fmt::Debug) -> String {
    let text = format!("{body:?}");
    text.split('(').next().unwrap_or_default().to_owned()
}
