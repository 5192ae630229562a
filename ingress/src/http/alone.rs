//! Calls that are made alone: their batch is refused or takes too long, or they say so. Each is made whole, never as a stream.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use common::ids::Fingerprint;
use common::key::BatchKey;
use common::outcome::{Fault, FaultClass, Outcome, Response, Route};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::core::Solo;
use crate::dialect::{Problem, of};
use crate::plan::Reason;
use crate::relay::{Broken, Relay};
use providers::Upstreams;

/// Calls that are made alone at a time, all keys together, and with one key: a whole batch of them comes at once, the provider has
/// limits for such calls, and nobody may keep others from their turn.
const AT_ONCE: usize = 256;
const AT_ONCE_EACH: usize = 64;
/// How long a call may take: as long as SDKs wait by default. One that takes longer must not keep others from their turn.
const ANSWERED_WITHIN: Duration = Duration::from_secs(600);
/// How long one at the price of a batch may take, as the provider's documentation advises (OpenAI: flex processing).
const FLEX_WITHIN: Duration = Duration::from_secs(900);
/// How often a call is made that the provider has no room for.
const TRIES: u32 = 5;
/// How often at the price of a batch, before it is made at the full price.
const FLEX_TRIES: u32 = 3;
/// First wait before the next try; it doubles, unless the provider asks for another.
const AGAIN: Duration = Duration::from_secs(1);
/// The longest wait that a provider may ask for.
const ASKED_MAX: Duration = Duration::from_secs(60);
/// How long it is remembered that a key and model have no batches. An operator may have changed that meanwhile.
const REMEMBERED_FOR: Duration = Duration::from_secs(600);
/// Most that is remembered of keys; beyond it nothing more is, and calls find out by themselves.
const MOST_REMEMBERED: usize = 10_000;

/// Makes calls alone.
pub struct Soloist {
    relay: Arc<Relay>,
    upstreams: Upstreams,
    turns: Semaphore,
    /// Turns of each key that has calls here.
    each: Mutex<HashMap<Fingerprint, Weak<Semaphore>>>,
    /// Until when batches of a key, endpoint and model are taken to be refused.
    refused: Mutex<Until<(Fingerprint, String, String)>>,
    /// Until when a key has no room for calls of a model.
    full: Mutex<Until<(Fingerprint, String)>>,
}

const USER_AGENT: &str = concat!("llm-proxy/", env!("CARGO_PKG_VERSION"));

/// What is so for a time.
type Until<K> = HashMap<K, Instant>;

/// What is to be done after an answer.
enum Next {
    Give(Response),
    Wait(Duration),
    /// Not at the price of a batch.
    FullPrice,
}

impl Soloist {
    pub(crate) fn new(relay: Arc<Relay>, upstreams: Upstreams) -> Arc<Self> {
        let (refused, full, each) = (Mutex::default(), Mutex::default(), Mutex::default());
        Arc::new(Self { relay, upstreams, turns: Semaphore::new(AT_ONCE), each, refused, full })
    }

    /// Whether batches of this key were refused lately.
    pub(super) fn knows(&self, key: &BatchKey) -> bool {
        until(&self.refused, &whole(key)).is_some()
    }

    /// Makes a call until the provider has room for it. That it broke off is told as it is: it may have been executed.
    pub(crate) async fn make(&self, solo: Solo) -> Outcome {
        let (key, mut by) = (&solo.key, solo.route);
        tracing::info!(?key, route = by.as_str(), reason = solo.reason.as_str(), "a call is made alone");
        if solo.reason == Reason::Refused {
            remember(&self.refused, whole(key), REMEMBERED_FOR);
        }
        let lines = headers(key, &solo.credential);
        // The caller's own model is asked, whatever the batch named in its place.
        let own = solo.edit.as_ref().map_or_else(|| solo.body.clone(), |edit| edit.undo(&solo.body));
        let flex = (by == Route::Flex).then(|| self.flex(key, &own)).flatten();
        let each = self.turns_of(key.fingerprint());
        let mut attempt = 0;
        loop {
            let (body, within) = match flex.as_ref().filter(|_| by == Route::Flex) {
                Some(body) => (body, FLEX_WITHIN),
                None => {
                    by = Route::Sync;
                    (&own, ANSWERED_WITHIN)
                }
            };
            self.until_room(key).await;
            // The semaphores are never closed.
            let turn = (each.acquire().await, self.turns.acquire().await);
            let call = self.relay.whole((*solo.uri).clone(), lines.clone(), body.clone());
            let answer = tokio::time::timeout(within, call).await;
            drop(turn);
            attempt += 1;
            match answer {
                Ok(Ok(answer)) => match next(answer, by, attempt) {
                    Next::Give(answer) => return Outcome::Response(Response { route: by, ..answer }),
                    Next::FullPrice => (by, attempt) = (Route::Sync, 0),
                    Next::Wait(wait) => {
                        let name = (key.fingerprint(), key.model().to_owned());
                        remember(&self.full, name, wait);
                        tokio::time::sleep(wait).await;
                    }
                },
                // Not sent: it can be tried again.
                Ok(Err(Broken { problem, sent: false })) if attempt >= TRIES => {
                    let fault = Fault::new(FaultClass::Unavailable, "provider_unreachable", problem.message);
                    return Outcome::Fault(fault.by(by));
                }
                Ok(Err(Broken { sent: false, .. })) => {
                    tokio::time::sleep(AGAIN * 2u32.saturating_pow(attempt - 1)).await;
                }
                Ok(Err(Broken { problem, .. })) => return broken(FaultClass::Ambiguous, problem, by),
                Err(_) => return broken(FaultClass::Expired, too_late(), by),
            }
        }
    }

    fn turns_of(&self, key: Fingerprint) -> Arc<Semaphore> {
        let mut each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turns) = each.get(&key).and_then(Weak::upgrade) {
            return turns;
        }
        if each.len() >= MOST_REMEMBERED {
            each.retain(|_, turns| turns.strong_count() > 0);
        }
        let turns = Arc::new(Semaphore::new(AT_ONCE_EACH));
        each.insert(key, Arc::downgrade(&turns));
        turns
    }

    /// The body that asks for the price of a batch.
    fn flex(&self, key: &BatchKey, body: &Bytes) -> Option<Bytes> {
        let upstream = self.upstreams.get(key.upstream())?;
        Some(of(upstream.provider.about().dialect).flex(body).into())
    }

    /// Waits while a key has no room for a model, as others were told.
    async fn until_room(&self, key: &BatchKey) {
        let name = (key.fingerprint(), key.model().to_owned());
        if let Some(until) = until(&self.full, &name) {
            tokio::time::sleep_until(until).await;
        }
    }
}

fn next(answer: Response, by: Route, attempt: u32) -> Next {
    let wait = || asked(&answer.headers).unwrap_or(AGAIN * 2u32.saturating_pow(attempt - 1));
    match (by, answer.status.as_u16()) {
        // Without room for it; 498 is Groq's word for that.
        (Route::Flex, 429 | 498 | 503) if attempt < FLEX_TRIES => Next::Wait(wait()),
        // The model, or this key, has no such price; or nothing is wrong with it, which the next call shows.
        (Route::Flex, 400 | 403 | 404 | 422 | 429 | 498 | 503 | 529) => Next::FullPrice,
        (_, 429 | 503 | 529) if attempt < TRIES => Next::Wait(wait()),
        _ => Next::Give(answer),
    }
}

/// What is refused together.
fn whole(key: &BatchKey) -> (Fingerprint, String, String) {
    (key.fingerprint(), key.endpoint().to_owned(), key.model().to_owned())
}

fn until<K: std::hash::Hash + Eq>(table: &Mutex<Until<K>>, key: &K) -> Option<Instant> {
    let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
    match table.get(key) {
        Some(until) if *until > Instant::now() => Some(*until),
        Some(_) => {
            table.remove(key);
            None
        }
        None => None,
    }
}

fn remember<K: std::hash::Hash + Eq>(table: &Mutex<Until<K>>, key: K, wait: Duration) {
    let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
    let now = Instant::now();
    if table.len() >= MOST_REMEMBERED {
        table.retain(|_, until| *until > now);
    }
    if table.len() < MOST_REMEMBERED {
        table.insert(key, now + wait);
    }
}

/// Not to be made again by itself: that could be paid twice.
fn broken(class: FaultClass, problem: Problem, by: Route) -> Outcome {
    let code = problem.code.unwrap_or_default();
    Outcome::Fault(Fault::new(class, &code, problem.message).no_retry().by(by))
}

fn too_late() -> Problem {
    let message = "The call was not batched, and the provider did not answer it alone in time.";
    Problem::new(StatusCode::GATEWAY_TIMEOUT, message).code("provider_timeout")
}

fn headers(key: &BatchKey, credential: &HeaderMap) -> HeaderMap {
    let mut headers = credential.clone();
    headers.extend(key.headers());
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // Its bytes are the caller's answer, and are read for what was used.
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    headers
}

fn asked(headers: &HeaderMap) -> Option<Duration> {
    let seconds: f64 = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::try_from_secs_f64(seconds).ok()?.min(ASKED_MAX))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use common::ids::Rid;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio_util::sync::CancellationToken;

    use super::super::tests::upstreams;
    use super::*;

    const GOOD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
    const BUSY: &str = "HTTP/1.1 429 No\r\nretry-after: 0\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    const BAD: &str = "HTTP/1.1 400 Bad\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";

    /// What a call ends with whose provider gives these answers, one to each connection; and how many of the calls asked for flex.
    async fn made(route: Route, answers: &[&'static str]) -> (Outcome, usize) {
        let answers = answers.to_vec();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"}") {
                    assert!(stream.read_buf(&mut request).await.unwrap() > 0);
                }
                let flex = request.ends_with(br#"{"service_tier":"flex","model":"m"}"#);
                assert!(flex || request.ends_with(br#"{"model":"m"}"#));
                counted.fetch_add(usize::from(flex), Ordering::Relaxed);
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let upstreams = upstreams(&format!("http://{address}"), "/v1");
        let relay = Relay::new(&upstreams, CancellationToken::new()).unwrap();
        let soloist = Soloist::new(Arc::new(relay), upstreams);
        let key = common::wire::BatchKey {
            upstream: "openai".into(),
            fingerprint: Bytes::from_static(&[1; 16]),
            ..Default::default()
        };
        let solo = Solo {
            rid: Rid::random(),
            key: BatchKey::new(key).unwrap(),
            credential: Arc::default(),
            body: Bytes::from_static(br#"{"model":"m"}"#),
            edit: None,
            uri: Arc::new(format!("http://{address}/v1/x").parse().unwrap()),
            route,
            reason: Reason::Deadline,
            perhaps_twice: false,
        };
        (soloist.make(solo).await, asked.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn a_provider_without_room_is_asked_again() {
        let (Outcome::Response(answer), 0) = made(Route::Sync, &[BUSY, GOOD]).await else { panic!() };
        assert_eq!((answer.status.as_u16(), &answer.body[..], answer.route), (200, &b"{}"[..], Route::Sync));
    }

    #[tokio::test]
    async fn flex_without_room_or_price_becomes_sync() {
        let (Outcome::Response(answer), 2) = made(Route::Flex, &[BUSY, GOOD]).await else { panic!() };
        assert_eq!((answer.status.as_u16(), answer.route), (200, Route::Flex));
        let (Outcome::Response(answer), 3) = made(Route::Flex, &[BUSY, BUSY, BUSY, GOOD]).await else {
            panic!()
        };
        assert_eq!((answer.status.as_u16(), answer.route), (200, Route::Sync));
        let (Outcome::Response(answer), 1) = made(Route::Flex, &[BAD, BAD]).await else { panic!() };
        assert_eq!((answer.status.as_u16(), answer.route), (400, Route::Sync));
    }

    #[tokio::test]
    async fn a_call_that_broke_off_may_have_been_executed() {
        let cut = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{";
        let (Outcome::Fault(fault), _) = made(Route::Flex, &[cut]).await else { panic!() };
        assert_eq!((fault.class, fault.no_retry, fault.route), (FaultClass::Ambiguous, true, Route::Flex));
    }
}
