//! Keeping a caller that waits, for as long as its batch takes.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

use super::answer::{batched, refusal};
use super::headers::ROUTE;
use super::patience::{Patience, Then};
use super::payload::Payload;
use super::socket::Socket;
use super::waiting::Waiting;
use crate::dialect::{Dialect, Problem, Streaming};
use crate::hold::{Ended, Held};
use crate::stats::Ongoing;

/// Keeps nginx from collecting an answer before it hands it on.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// How soon a caller that was sent away should be back. Its request waits for it.
const SOON: Duration = Duration::from_millis(200);

/// How a caller gets its answer.
#[derive(Debug)]
pub(super) struct Manner {
    /// How errors are told.
    pub(super) dialect: Dialect,
    /// How it is kept waiting.
    pub(super) patience: Patience,
    /// What it gets where it asked for a stream.
    pub(super) streaming: Option<Streaming>,
    /// The connection, of HTTP/1.
    pub(super) socket: Option<Arc<Socket>>,
}

/// Waits for the end of a held call and answers it; or begins the answer when waiting in silence would be too long.
pub(super) async fn keep(mut held: Held, manner: Manner, ongoing: Ongoing) -> Response<Payload> {
    let waited = wait_open(&mut held, &manner).await;
    if let Waited::Ended(ended) = waited {
        let (response, how) =
            batched(manner.dialect, &ended, manner.streaming.as_ref().map(|streaming| &*streaming.events));
        ongoing.answered(how);
        let to_the_end = manner.socket.is_none();
        return response.map(|body| Payload::delivery(body, held, to_the_end));
    }
    if let Waited::Lost(error) = waited {
        tracing::debug!(%error, "a caller's connection has gone");
        return send_away(manner.dialect, &come_back(), ongoing);
    }
    match manner.patience.then {
        Then::Begin => begin(held, manner, ongoing),
        Then::ComeBack => send_away(manner.dialect, &come_back(), ongoing),
        Then::Explain => send_away(manner.dialect, &explain(), ongoing),
    }
}

/// How waiting with an open status ended.
enum Waited {
    /// With the outcome.
    Ended(Ended),
    /// It cannot stay open any longer.
    Open,
    /// The connection cannot be written to. The library does not always notice: not while it holds bytes of a next request.
    Lost(std::io::Error),
}

async fn wait_open(held: &mut Held, manner: &Manner) -> Waited {
    let Patience { open, beat, processing, .. } = manner.patience;
    let mut waited = Duration::ZERO;
    loop {
        let left = open.map_or(Duration::MAX, |open| open.saturating_sub(waited));
        let pause = if processing { beat.min(left) } else { left };
        if let Ok(ended) = tokio::time::timeout(pause, held.ended()).await {
            return Waited::Ended(ended);
        }
        waited += pause;
        if open.is_some_and(|open| waited >= open) {
            return Waited::Open;
        }
        if let Some(Err(error)) = manner.socket.as_ref().map(|socket| socket.processing()) {
            return Waited::Lost(error);
        }
    }
}

fn begin(held: Held, manner: Manner, ongoing: Ongoing) -> Response<Payload> {
    let Manner { dialect, patience, streaming, socket } = manner;
    let json = || HeaderValue::from_static("application/json");
    let kind = streaming.as_ref().map_or_else(json, |streaming| streaming.events.content_type());
    let mut headers = HeaderMap::with_capacity(4);
    headers.insert(header::CONTENT_TYPE, kind);
    // An intermediary that compressed the answer would collect it.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    headers.insert(ROUTE, HeaderValue::from_static("batch"));
    let waiting = Waiting::new(held, ongoing, dialect, streaming, socket, patience.beat);
    let mut response = Response::new(Payload::Waiting(Box::new(waiting)));
    *response.headers_mut() = headers;
    response
}

/// Dropping the caller keeps its request for the time in which it comes back.
fn send_away(dialect: Dialect, problem: &Problem, ongoing: Ongoing) -> Response<Payload> {
    ongoing.forget();
    let mut response = refusal(dialect, problem);
    response.headers_mut().insert(ROUTE, HeaderValue::from_static("batch"));
    response.map(Payload::from)
}

/// For a client that gives up at a fixed time, whatever it hears: a new attempt gives it more.
fn come_back() -> Problem {
    let message = "The request is still waiting for its batch. Sending it again takes it up where it is; it is not paid again.";
    let mut problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, message).code("still_waiting");
    (problem.retry_after, problem.should_retry) = (Some(SOON), Some(true));
    problem
}

/// For the last attempt of such a client.
fn explain() -> Problem {
    let message = "The request is still waiting for its batch, and this version of the SDK gives up after a fixed time. Set `timeout: 86400000` on the client or the call, or use `stream: true`; sending the same request again soon takes it up where it is, and it is not paid again.";
    let mut problem = Problem::new(StatusCode::GATEWAY_TIMEOUT, message).code("client_timeout_too_short");
    problem.should_retry = Some(false);
    problem
}
