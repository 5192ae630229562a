//! Callers that remember when their answer came, and that try again as SDKs do.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use reqwest::{Client, Response};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::calls::{Call, ENDPOINTS, Got, judge};

/// No call takes as long, whatever is broken on purpose.
const PATIENCE: Duration = Duration::from_secs(240);

/// How callers behave.
#[derive(Debug, Clone)]
pub struct Manner {
    /// Base URLs, which take turns, as behind a load balancer; a call is sent again to the next one,
    pub urls: Vec<String>,
    /// or here.
    pub fallback: Option<String>,
    /// How the provider's clients tell what belongs together.
    pub mark: Mark,
    /// Nothing is sent again before this is true.
    pub gate: Option<watch::Receiver<bool>>,
    /// The calls are begun over this time, all at once if it is zero.
    pub over: Duration,
    /// How often a call is sent again after a reset connection or a status that SDKs try again.
    pub retries: u32,
    /// More words in the text of each request.
    pub words: &'static str,
}

/// What tells a call that is sent again from a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// `x-stainless-retry-count`, as the SDKs of OpenAI send it with every call.
    RetryCount,
    /// An `Idempotency-Key`, and nothing else.
    IdempotencyKey,
}

impl Manner {
    /// Everything is sent once.
    pub fn at(urls: Vec<String>) -> Self {
        let (over, retries, words) = (Duration::ZERO, 0, "");
        Self { urls, fallback: None, mark: Mark::RetryCount, gate: None, over, retries, words }
    }

    /// Everything is sent to the first of two, and again to the second.
    pub fn from_to(first: String, again: String) -> Self {
        Self { fallback: Some(again), retries: 2, ..Self::at(vec![first]) }
    }

    /// Where a call is sent, having been sent so often before.
    fn url(&self, turn: usize, sent: u32) -> &str {
        match &self.fallback {
            Some(fallback) if sent > 0 => fallback,
            _ => &self.urls[(turn + sent as usize) % self.urls.len()],
        }
    }
}

/// Where a call was sent, when, and until when it waited there.
pub type Sent = (String, Instant, Instant);

/// How a call ended.
#[derive(Debug)]
pub struct Answer {
    /// Marker of the call.
    pub marker: String,
    /// What it got in the end.
    pub got: Result<Got>,
    /// When.
    pub at: Instant,
    /// Each time it was sent.
    pub sent: Vec<Sent>,
    /// The provider's id of the answer, if it is one of its own.
    pub id: Option<String>,
}

/// Calls under way.
#[derive(Debug)]
pub struct Calls {
    under_way: JoinSet<Answer>,
    ended: Vec<Answer>,
    markers: Vec<String>,
}

impl Calls {
    /// Makes all calls at once, in turn at each base URL.
    ///
    /// # Errors
    /// There can be no HTTP client.
    pub fn make(calls: &[Call], manner: &Manner) -> Result<Self> {
        let client = Client::builder().no_proxy().timeout(PATIENCE).build()?;
        let mut under_way = JoinSet::new();
        for (i, call) in calls.iter().cloned().enumerate() {
            let (client, manner) = (client.clone(), manner.clone());
            let wait = manner.over.mul_f64(i as f64 / calls.len() as f64);
            under_way.spawn(async move {
                tokio::time::sleep(wait).await;
                ask(&client, &call, i, &manner).await
            });
        }
        let markers = calls.iter().map(|call| call.marker.clone()).collect();
        Ok(Self { under_way, ended: Vec::new(), markers })
    }

    /// Markers of all calls.
    pub fn markers(&self) -> &[String] {
        &self.markers
    }

    /// Waits until one more call has ended; false when there is none.
    pub async fn one_more(&mut self) -> bool {
        match self.under_way.join_next().await {
            Some(Ok(answer)) => self.ended.push(answer),
            Some(Err(crash)) => tracing::error!(%crash, "a caller crashed"),
            None => return false,
        }
        true
    }

    /// Waits for all, or until the time is over; what has not ended by then is missing.
    pub async fn all(mut self, within: Duration) -> Vec<Answer> {
        // The time being over is seen by what is missing.
        let _ = tokio::time::timeout(within, async { while self.one_more().await {} }).await;
        self.ended
    }
}

async fn ask(client: &Client, call: &Call, turn: usize, manner: &Manner) -> Answer {
    let mut sent = Vec::new();
    loop {
        let times = u32::try_from(sent.len()).unwrap_or(u32::MAX);
        let (url, began) = (manner.url(turn, times), Instant::now());
        let got = once(client, call, url, manner, times).await;
        sent.push((url.to_owned(), began, Instant::now()));
        let again = match &got {
            Ok(reply) => reply.again,
            Err(_) => Some(Duration::ZERO),
        };
        match again.filter(|_| times < manner.retries) {
            // SDKs wait 0.5 s, doubling, with jitter; here it follows from the marker.
            Some(asked) => tokio::time::sleep(asked.max(pause(&call.marker, times + 1))).await,
            None => {
                let (got, id) = match got {
                    Ok(reply) => (Ok(reply.got), reply.id),
                    Err(error) => (Err(error), None),
                };
                return Answer { marker: call.marker.clone(), got, at: Instant::now(), sent, id };
            }
        }
        if let Some(mut gate) = manner.gate.clone() {
            // A gate that is gone stays as it was last.
            let _ = gate.wait_for(|open| *open).await;
        }
    }
}

/// Between 0.4 s and 2 s.
fn pause(marker: &str, sent: u32) -> Duration {
    let salt = marker.bytes().fold(u64::from(sent), |sum, byte| sum.wrapping_mul(31) + u64::from(byte));
    Duration::from_millis(400 + salt.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 1600)
}

/// What one sending came to.
struct Reply {
    got: Got,
    id: Option<String>,
    /// How long to wait before it is sent again, if an SDK would.
    again: Option<Duration>,
}

async fn once(client: &Client, call: &Call, url: &str, manner: &Manner, retry: u32) -> Result<Reply> {
    let body = call.body().replace(" now", &format!(" {} now", manner.words));
    let mark = match manner.mark {
        Mark::RetryCount => ("x-stainless-retry-count", retry.to_string()),
        Mark::IdempotencyKey => ("idempotency-key", call.marker.clone()),
    };
    let answer = client
        .post(format!("{url}/{}", ENDPOINTS[call.endpoint].0))
        .bearer_auth(&call.key)
        .header("content-type", "application/json")
        .header(mark.0, mark.1)
        .body(body)
        .send()
        .await?;
    let (status, again) = (answer.status().as_u16(), again(&answer));
    let body = answer.bytes().await.context("the answer was cut")?;
    let got = judge(status, &body, &call.marker)?;
    let answer: Option<Value> = serde_json::from_slice(&body).ok();
    let id = answer.and_then(|answer| answer["id"].as_str().map(str::to_owned));
    Ok(Reply { got, id, again })
}

/// What the SDKs of OpenAI do: `x-should-retry` decides, else the status.
fn again(answer: &Response) -> Option<Duration> {
    let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
    let status = answer.status().as_u16();
    let retried = match header("x-should-retry") {
        Some("true") => true,
        Some("false") => false,
        _ => matches!(status, 408 | 409 | 429 | 500..),
    };
    let asked =
        header("retry-after").and_then(|seconds| seconds.parse().ok()).filter(|seconds| *seconds <= 60);
    retried.then(|| Duration::from_secs(asked.unwrap_or(0)))
}

impl Answer {
    /// Why it is not its own answer.
    pub fn wrong(&self) -> Option<String> {
        match &self.got {
            Ok(Got::Own) => None,
            Ok(Got::Error { status, code, .. }) => Some(format!("{status} {code}")),
            Err(error) => Some(short(&anyhow!("{error:#}"))),
        }
    }
}

/// The kind of failure without addresses and markers, so that equal ones count as equal.
fn short(error: &anyhow::Error) -> String {
    let text = error.to_string();
    match ["the answer was cut", "is 200", "timed out"].iter().find(|kind| text.contains(**kind)) {
        Some(kind) => (*kind).to_owned(),
        None if text.contains("error sending request") => "connection lost".to_owned(),
        None => text.chars().take(120).collect(),
    }
}
