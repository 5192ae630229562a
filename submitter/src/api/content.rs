//! Downloading a result file, from any byte on.

use std::time::Duration;

use bytes::{Buf, Bytes};
use http::header::{CONTENT_ENCODING, CONTENT_RANGE};
use http::{HeaderMap, HeaderValue};
use providers::Call;
use reqwest::Response;

use super::error::{ApiError, Kind};
use super::transport::Attempt;
use super::{Client, Credential};

/// How long the beginning of an answer is waited for: the provider may have to fetch the file from afar.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the next bytes are waited for.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

impl Client {
    /// Downloads a file of results from byte `offset` on. Asks for that range; a server that knows no ranges sends the whole file, of
    /// which the beginning is then skipped.
    ///
    /// # Errors
    /// [`ApiError`]; safe to repeat.
    pub async fn content(
        &self,
        credential: &Credential,
        call: &Call,
        offset: u64,
    ) -> Result<ContentStream, ApiError> {
        let attempt = self.attempt("download file", credential);
        let mut response = self.get_content(&attempt, call, offset).await?;
        if response.status() == http::StatusCode::RANGE_NOT_SATISFIABLE && offset > 0 {
            let range = ContentRange::parse(response.headers());
            if range.is_some_and(|range| range.total == Some(offset)) {
                return Ok(ContentStream { attempt, response: None, skip: 0, position: offset, end: None });
            }
            response = self.get_content(&attempt, call, 0).await?;
        }
        ContentStream::new(attempt, response, offset).await
    }

    async fn get_content(&self, attempt: &Attempt, call: &Call, offset: u64) -> Result<Response, ApiError> {
        let url = self.url(attempt, call)?;
        let range = (offset > 0).then(|| HeaderValue::try_from(format!("bytes={offset}-"))).transpose();
        let range = range.map_err(|error| attempt.error(Kind::NotSent, &error.to_string()))?;
        attempt.within(ANSWER_TIMEOUT, self.get(attempt, url, range)).await
    }
}

/// A download under way. A transfer that ends early is an error, not an end: resume from where it was.
#[derive(Debug)]
pub struct ContentStream {
    attempt: Attempt,
    /// `None` once the file's end was reached.
    response: Option<Response>,
    /// Bytes before the offset asked for that are still to come.
    skip: u64,
    /// The offset in the file of the next byte to be yielded.
    position: u64,
    /// The length of the file, if the answer tells.
    end: Option<u64>,
}

impl ContentStream {
    async fn new(attempt: Attempt, response: Response, offset: u64) -> Result<Self, ApiError> {
        if !response.status().is_success() {
            return Err(attempt.refused(response).await);
        }
        let broken = |detail| Err(attempt.error(Kind::Ambiguous(None), detail));
        let headers = response.headers();
        if headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
            return broken("the file came compressed, which was not asked for");
        }
        let (start, end) = match response.status().as_u16() {
            206 => match ContentRange::parse(headers) {
                Some(ContentRange { start: Some(start), total }) if start <= offset => (start, total),
                _ => return broken("the answer's range is not the one asked for"),
            },
            _ => (0, response.content_length()),
        };
        Ok(Self { attempt, response: Some(response), skip: offset - start, position: offset, end })
    }

    /// The next bytes, never empty; `None` at the end of the file.
    ///
    /// # Errors
    /// [`ApiError`] if the transfer broke off, stalled, or ended before the length that was announced; then, and after the
    /// end, further calls return `None`.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ApiError> {
        let Some(mut response) = self.response.take() else { return Ok(None) };
        loop {
            let chunk = match tokio::time::timeout(STALL_TIMEOUT, response.chunk()).await {
                Ok(Ok(Some(chunk))) => chunk,
                Ok(Ok(None)) => return self.at_end(),
                Ok(Err(error)) => return Err(self.attempt.failed(error)),
                Err(_) => return Err(self.cut(&format!("stalled for {STALL_TIMEOUT:?}"))),
            };
            let chunk = self.after_skip(chunk);
            if !chunk.is_empty() {
                self.position += chunk.len() as u64;
                self.response = Some(response);
                return Ok(Some(chunk));
            }
        }
    }

    /// The offset in the file of the next byte: where to resume after an error.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The length of the whole file in bytes, if the provider said so.
    pub fn total(&self) -> Option<u64> {
        self.end
    }

    fn after_skip(&mut self, mut chunk: Bytes) -> Bytes {
        let skipped = self.skip.min(chunk.len() as u64);
        self.skip -= skipped;
        chunk.advance(usize::try_from(skipped).unwrap_or(chunk.len()));
        chunk
    }

    fn at_end(&self) -> Result<Option<Bytes>, ApiError> {
        if self.skip > 0 {
            return Err(self.cut("the file is shorter than it was"));
        }
        match self.end {
            Some(end) if end != self.position => {
                Err(self.cut(&format!("ended at byte {} of {end}", self.position)))
            }
            _ => Ok(None),
        }
    }

    fn cut(&self, detail: &str) -> ApiError {
        self.attempt.error(Kind::Ambiguous(None), detail)
    }
}

/// `bytes START-END/TOTAL`, `bytes */TOTAL` (RFC 9110, section 14.4).
struct ContentRange {
    start: Option<u64>,
    total: Option<u64>,
}

impl ContentRange {
    fn parse(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(CONTENT_RANGE)?.to_str().ok()?;
        let (range, total) = value.trim().strip_prefix("bytes")?.trim().split_once('/')?;
        let start = range.split_once('-').and_then(|(start, _)| start.trim().parse().ok());
        Some(Self { start, total: total.trim().parse().ok() })
    }
}
