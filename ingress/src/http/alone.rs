//! Calls whose batch the provider refuses, since the key or the model has none: each is made alone, at the full price.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use common::key::BatchKey;
use common::outcome::{Fault, FaultClass, Outcome};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::dialect::{Edit, Problem};
use crate::hold::{Call, Ended, Instead};
use crate::relay::Relay;
use crate::stats::Stats;

/// Calls that are made alone at a time: a whole batch of them comes at once, and the provider has limits for such calls.
const AT_ONCE: usize = 32;
/// How long a call may take: as long as SDKs wait by default. One that takes longer must not keep others from their turn.
const ANSWERED_WITHIN: Duration = Duration::from_secs(600);
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

    /// What is done with a call whose batch is refused: its own model is asked, whatever the batch named in its place.
    pub(super) fn instead(self: &Arc<Self>, call: &Call, edit: Option<Edit>, uri: Uri) -> Instead {
        let soloist = self.clone();
        let (key, credential, body) = (call.key.clone(), call.credential.clone(), call.body.clone());
        Box::new(move |refused| {
            soloist.remember(&key);
            soloist.stats.made_alone();
            Box::pin(async move {
                tracing::info!(?key, "a batch was refused: its call is made alone");
                let body = edit.map_or_else(|| body.clone(), |edit| edit.undo(&body));
                soloist.make(uri, headers(&key, &credential), body, refused).await
            })
        })
    }

    /// Makes the call until the provider has room for it. That it broke off is told as it is: it may have been executed.
    async fn make(&self, uri: Uri, headers: HeaderMap, body: Bytes, refused: Ended) -> Ended {
        let mut wait = AGAIN;
        for attempt in 1.. {
            // The semaphore is never closed.
            let turn = self.turns.acquire().await;
            let call = self.relay.whole(uri.clone(), headers.clone(), body.clone());
            let answer = tokio::time::timeout(ANSWERED_WITHIN, call).await;
            drop(turn);
            let outcome = match answer {
                Ok(Ok(answer)) if attempt < TRIES && matches!(answer.status.as_u16(), 429 | 503 | 529) => {
                    tokio::time::sleep(asked(&answer.headers).unwrap_or(wait)).await;
                    wait *= 2;
                    continue;
                }
                Ok(Ok(answer)) => Outcome::Response(answer),
                Ok(Err(problem)) => broken(FaultClass::Ambiguous, problem),
                Err(_) => broken(FaultClass::Expired, too_late()),
            };
            return Ended { outcome: Arc::new(outcome), alone: true, ..refused };
        }
        refused
    }
}

/// Not to be made again by itself: that could be paid twice.
fn broken(class: FaultClass, problem: Problem) -> Outcome {
    let code = problem.code.unwrap_or_default();
    Outcome::Fault(Fault::new(class, &code, problem.message).no_retry())
}

fn too_late() -> Problem {
    let message =
        "The provider takes no batches of this key and model, and did not answer the call alone in time.";
    Problem::new(StatusCode::GATEWAY_TIMEOUT, message).code("provider_timeout")
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio_util::sync::CancellationToken;

    use super::super::tests::upstreams;
    use super::*;

    fn refused() -> Ended {
        let outcome = Outcome::Fault(Fault::new(FaultClass::Forbidden, "no_batches", "no").unbatchable());
        Ended { outcome: outcome.into(), queued: Duration::ZERO, replayed: false, alone: false }
    }

    /// What a call ends with whose provider gives these answers, one to each connection.
    async fn made(answers: &[&'static str]) -> Ended {
        let answers = answers.to_vec();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 4096]).await.unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let relay =
            Relay::new(&upstreams(&format!("http://{address}"), "/v1"), CancellationToken::new()).unwrap();
        let soloist = Soloist::new(Arc::new(relay), Arc::default());
        let uri = format!("http://{address}/v1/x").parse().unwrap();
        soloist.make(uri, HeaderMap::new(), Bytes::from_static(b"{}"), refused()).await
    }

    #[tokio::test]
    async fn a_provider_without_room_is_asked_again() {
        let busy = "HTTP/1.1 429 No\r\nretry-after: 0\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        let good = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
        let ended = made(&[busy, good]).await;
        let Outcome::Response(answer) = &*ended.outcome else { panic!("{ended:?}") };
        assert_eq!((answer.status.as_u16(), &answer.body[..], ended.alone), (200, &b"{}"[..], true));
    }

    #[tokio::test]
    async fn a_call_that_broke_off_is_not_said_to_be_refused() {
        let ended = made(&["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"]).await;
        let Outcome::Fault(fault) = &*ended.outcome else { panic!("{ended:?}") };
        assert_eq!((fault.class, fault.no_retry, fault.unbatchable), (FaultClass::Ambiguous, true, false));
    }
}
