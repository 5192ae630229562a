//! Creating a job from requests that travel in the call, while they are still being put together.

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use http::{HeaderValue, header};
use providers::{Inline, Job};

use super::client::read;
use super::error::{ApiError, BoxError};
use super::feed::Feed;
use super::{Client, Credential};

impl Client {
    /// Creates a job from `elements`, which are `length` bytes with the commas between them. Sent exactly once, on a connection of
    /// its own, and never repeated below this call. `elements` is dropped when this returns or is dropped.
    ///
    /// # Errors
    /// [`Kind::Local`](super::Kind::Local) with the error of `elements`, or if it is not `length` bytes long: no provider takes what is
    /// not whole, so there is no job then. Of the others only [`Kind::Rejected`](super::Kind::Rejected) and
    /// [`Kind::NotSent`](super::Kind::NotSent) say that.
    pub async fn create_inline<S, E>(
        &self,
        credential: &Credential,
        frame: Inline,
        length: u64,
        elements: S,
    ) -> Result<Job, ApiError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<BoxError> + Send + 'static,
    {
        let attempt = self.attempt("create batch", credential);
        let Inline { call, head, tail } = frame;
        let whole = length.saturating_add((head.len() + tail.len()) as u64);
        let around = |bytes: Vec<u8>| stream::iter([Ok(Bytes::from(bytes))]);
        let (feed, body) = Feed::new(around(head).chain(elements).chain(around(tail)), whole);
        let mut request = self.prepare(&attempt, &call)?;
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(whole));
        *request.body_mut() = Some(body);
        let sent = async {
            let response = self.send(&attempt, &self.connections().single, request).await?;
            let answer = self.success(&attempt, response).await?;
            read(&attempt, answer, |body| self.provider().read_created(body))
        };
        feed.send(&attempt, sent).await
    }
}
