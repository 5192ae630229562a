//! Sending a body while it is still being put together.

use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use reqwest::Body;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::error::{ApiError, BoxError, Kind};
use super::transport::Attempt;

/// A transfer ends when for so long no byte has moved, nor an answer come after the last one.
const STALL_TIMEOUT: Duration = Duration::from_secs(120);

/// A body on its way to the provider; whatever it comes from is dropped with this.
pub(super) struct Feed {
    progress: Arc<Progress>,
    _stop_when_done: DropGuard,
}

impl Feed {
    /// Reads `length` bytes from `body` as fast as the provider takes them: no more than a few chunks are in memory.
    pub(super) fn new<S, E>(body: S, length: u64) -> (Self, Body)
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<BoxError> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let progress = Arc::new(Progress::new());
        let feed = feed(body.take_until(stop.clone().cancelled_owned()), length, progress.clone());
        (Self { progress, _stop_when_done: stop.drop_guard() }, Body::wrap_stream(feed))
    }

    /// Makes the call that sends the body, for as long as the body moves.
    ///
    /// # Errors
    /// [`Kind::Local`] with the error of the body, or if it is not as long as announced; else the call's.
    pub(super) async fn send<T>(
        self,
        attempt: &Attempt,
        call: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, ApiError> {
        let result = self.progress.watch(attempt, call).await;
        match self.progress.take_failure() {
            Some(error) => {
                let detail = error.to_string();
                Err(attempt.error(Kind::Local(error), &detail))
            }
            None => result,
        }
    }
}

/// Passes a body on, noting progress; an error of it, or another length than announced, ends the transfer before its last
/// byte, so that no provider takes it for whole.
fn feed<S, E>(
    body: S,
    length: u64,
    progress: Arc<Progress>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static
where
    S: Stream<Item = Result<Bytes, E>> + Send + 'static,
    E: Into<BoxError> + Send + 'static,
{
    let body = Some((Box::pin(body), length));
    stream::unfold((body, progress), |(body, progress)| async move {
        let (mut body, left) = body?;
        let item = body.next().await;
        let failure: BoxError = match item {
            Some(Ok(chunk)) if chunk.len() as u64 <= left => {
                progress.touch();
                let left = left - chunk.len() as u64;
                return Some((Ok(chunk), (Some((body, left)), progress)));
            }
            None if left == 0 => return None,
            None => format!("the body ended {left} bytes early").into(),
            Some(Ok(_)) => "the body is longer than announced".into(),
            Some(Err(error)) => error.into(),
        };
        progress.fail(failure);
        Some((Err(io::Error::other("the body failed")), (None, progress)))
    })
}

/// What the call and the body it streams know of each other.
struct Progress(Mutex<State>);

struct State {
    last: Instant,
    failure: Option<BoxError>,
}

impl Progress {
    fn new() -> Self {
        Self(Mutex::new(State { last: Instant::now(), failure: None }))
    }

    fn touch(&self) {
        self.state().last = Instant::now();
    }

    fn fail(&self, failure: BoxError) {
        self.state().failure = Some(failure);
    }

    fn take_failure(&self) -> Option<BoxError> {
        self.state().failure.take()
    }

    /// Runs `work` for as long as the body moves.
    async fn watch<T>(
        &self,
        attempt: &Attempt,
        work: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, ApiError> {
        let mut work = pin!(work);
        loop {
            let deadline = self.state().last + STALL_TIMEOUT;
            tokio::select! {
                result = &mut work => return result,
                () = tokio::time::sleep_until(deadline) => {}
            }
            if self.state().last + STALL_TIMEOUT <= Instant::now() {
                return Err(attempt.error(Kind::Ambiguous(None), &format!("stalled for {STALL_TIMEOUT:?}")));
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
