//! Uploading an input file while it is still being put together.

use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::Method;
use reqwest::multipart::{Form, Part};
use reqwest::{Body, RequestBuilder};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::batch::FileObject;
use super::client::object;
use super::error::{ApiError, BoxError, Kind};
use super::transport::Call;
use super::{Client, Credential};

/// How long the provider keeps an input file that we did not come to delete: longer than any batch lives.
pub const INPUT_EXPIRES_AFTER: Duration = Duration::from_secs(2 * 24 * 3600);
/// An upload ends when for so long no byte has moved, nor an answer come after the last one.
const STALL_TIMEOUT: Duration = Duration::from_secs(120);

impl Client {
    /// Uploads an input file of `length` bytes, read from `body` as fast as the provider takes them: no more than a few
    /// chunks are in memory. Sent once, on a connection of its own; `body` is dropped when this returns or is dropped.
    /// `file_name` must end in `.jsonl`.
    ///
    /// # Errors
    /// [`Kind::Local`] with the error of `body`, or if it is not `length` bytes long. After [`Kind::Ambiguous`] the file may
    /// be there: find it by its name.
    pub async fn upload<S, E>(
        &self,
        credential: &Credential,
        file_name: &str,
        length: u64,
        body: S,
    ) -> Result<FileObject, ApiError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        let call = self.call("upload file", credential);
        let url = self.url(&call, &["files"])?;
        let stop = CancellationToken::new();
        let _stop_when_done = stop.clone().drop_guard();
        let progress = Arc::new(Progress::new());
        let feed = feed(body.take_until(stop.cancelled_owned()), length, progress.clone());
        let form = form(file_name, length, Body::wrap_stream(feed))
            .map_err(|error| call.error(Kind::NotSent, &error.to_string()))?;
        let request = self.request(&call, Method::POST, url);
        let request = RequestBuilder::from_parts(self.connections().single.clone(), request)
            .multipart(form)
            .build()
            .map_err(|error| call.failed(error))?;
        let work = async {
            let response = self.send(&call, &self.connections().single, request).await?;
            object(&call, self.success(&call, response).await?)
        };
        let result = progress.watch(&call, work).await;
        match progress.take_failure() {
            Some(error) => {
                let detail = error.to_string();
                Err(call.error(Kind::Local(error), &detail))
            }
            None => result,
        }
    }
}

/// The fields of an upload (`OpenAI` API reference, "Upload file"), the file last, so that a server that reads them in order
/// knows what it is to do with it.
fn form(file_name: &str, length: u64, file: Body) -> Result<Form, reqwest::Error> {
    let file = Part::stream_with_length(file, length)
        .file_name(file_name.to_owned())
        .mime_str("application/jsonl")?;
    Ok(Form::new()
        .text("purpose", "batch")
        .text("expires_after[anchor]", "created_at")
        .text("expires_after[seconds]", INPUT_EXPIRES_AFTER.as_secs().to_string())
        .part("file", file))
}

/// Passes a body on, noting progress; an error of it, or another length than announced, ends the upload before its last
/// boundary, so that no provider takes the file for whole.
fn feed<S, E>(
    body: S,
    length: u64,
    progress: Arc<Progress>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static
where
    S: Stream<Item = Result<Bytes, E>> + Send + 'static,
    E: Into<BoxError> + 'static,
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
        call: &Call,
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
                return Err(call.error(Kind::Ambiguous(None), &format!("stalled for {STALL_TIMEOUT:?}")));
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
