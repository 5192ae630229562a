//! Calls whose batch the provider refuses, since the key or the model has none: each is made alone, at the full price.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use common::key::BatchKey;
use common::outcome::Outcome;
use http::{HeaderMap, HeaderValue, Uri, header};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::hold::{Call, Ended, Instead};
use crate::relay::Relay;
use crate::stats::Stats;

/// Calls that are made alone at a time: a whole batch of them comes at once, and the provider has limits for such calls.
const AT_ONCE: usize = 32;
/// How often a call is made that the provider has no room for.
const TRIES: u32 = 5;
/// First wait before the next try; it doubles, unless the provider asks for another.
const AGAIN: Duration = Duration::from_secs(1);
/// The longest wait that a provider may ask for.
const ASKED_MAX: Duration = Duration::from_secs(60);
/// How long it is remembered that a key and model have no batches. An operator may have changed that meanwhile.
const REMEMBERED_FOR: Duration = Duration::from_secs(600);
/// Most that is remembered; beyond it nothing more is, and calls find out by their batch.
const MOST_REMEMBERED: usize = 10_000;

/// Makes calls alone.
pub(super) struct Soloist {
    relay: Arc<Relay>,
    stats: Arc<Stats>,
    turns: Semaphore,
    known: Mutex<HashMap<BatchKey, Instant>>,
}

impl Soloist {
    pub(super) fn new(relay: Arc<Relay>, stats: Arc<Stats>) -> Arc<Self> {
        Arc::new(Self { relay, stats, turns: Semaphore::new(AT_ONCE), known: Mutex::default() })
    }

    /// Whether batches of this key were refused lately.
    pub(super) fn knows(&self, key: &BatchKey) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get(key) {
            Some(until) if *until > Instant::now() => true,
            Some(_) => {
                known.remove(key);
                false
            }
            None => false,
        }
    }

    fn remember(&self, key: &BatchKey) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if known.len() >= MOST_REMEMBERED {
            known.retain(|_, until| *until > now);
        }
        if known.len() < MOST_REMEMBERED {
            known.insert(key.clone(), now + REMEMBERED_FOR);
        }
    }

    /// What is done with a call whose batch is refused.
    pub(super) fn instead(self: &Arc<Self>, call: &Call, uri: Uri) -> Instead {
        let soloist = self.clone();
        let (key, credential, body) = (call.key.clone(), call.credential.clone(), call.body.clone());
        Box::new(move |refused| {
            soloist.remember(&key);
            soloist.stats.made_alone();
            Box::pin(async move {
                tracing::info!(?key, "a batch was refused: its call is made alone");
                soloist.make(uri, headers(&key, &credential), body, refused).await
            })
        })
    }

    /// Makes the call until the provider has room for it. Where it cannot be reached at all, its refusal of the batch stands.
    async fn make(&self, uri: Uri, headers: HeaderMap, body: Bytes, refused: Ended) -> Ended {
        let mut wait = AGAIN;
        for attempt in 1.. {
            // The semaphore is never closed.
            let turn = self.turns.acquire().await;
            let answer = self.relay.whole(uri.clone(), headers.clone(), body.clone()).await;
            drop(turn);
            match answer {
                Ok(answer) if attempt < TRIES && matches!(answer.status.as_u16(), 429 | 503 | 529) => {
                    tokio::time::sleep(asked(&answer.headers).unwrap_or(wait)).await;
                    wait *= 2;
                }
                Ok(answer) => {
                    return Ended { outcome: Arc::new(Outcome::Response(answer)), alone: true, ..refused };
                }
                Err(_) => return refused,
            }
        }
        refused
    }
}

fn headers(key: &BatchKey, credential: &HeaderMap) -> HeaderMap {
    let mut headers = credential.clone();
    headers.extend(key.headers());
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers
}

fn asked(headers: &HeaderMap) -> Option<Duration> {
    let seconds: f64 = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::try_from_secs_f64(seconds).ok()?.min(ASKED_MAX))
}
