//! Uploading an input file while it is still being put together, in the manner that the provider wants.

use bytes::Bytes;
use futures_util::Stream;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use providers::{Call, File, Upload};
use reqwest::multipart::{Form, Part};
use reqwest::{Body, Request, RequestBuilder, Response, Url};

use super::client::read;
use super::error::{ApiError, BoxError, Kind};
use super::feed::Feed;
use super::transport::Attempt;
use super::{Client, Credential};

const UPLOAD_COMMAND: HeaderName = HeaderName::from_static("x-goog-upload-command");
const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("x-goog-upload-header-content-length");
const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("x-goog-upload-offset");
const UPLOAD_URL: HeaderName = HeaderName::from_static("x-goog-upload-url");

impl Client {
    /// Uploads an input file of `length` bytes, read from `body` as fast as the provider takes them. Its bytes are sent once, on a
    /// connection of their own; `body` is dropped when this returns or is dropped. `file_name` must end in `.jsonl`.
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
    ) -> Result<File, ApiError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<BoxError> + Send + 'static,
    {
        let attempt = self.attempt("upload file", credential);
        let (feed, body) = Feed::new(body, length);
        match self.provider().upload(file_name) {
            Upload::Form { call, fields } => {
                let form = form(&fields, file_name, length, body)
                    .map_err(|error| attempt.error(Kind::NotSent, &error.to_string()))?;
                let request = self.with_form(&attempt, &call, form)?;
                feed.send(&attempt, self.send_bytes(&attempt, request)).await
            }
            Upload::Resumable { start } => {
                let mut request = self.prepare(&attempt, &start)?;
                request.headers_mut().insert(UPLOAD_LENGTH, HeaderValue::from(length));
                let answer = self.send(&attempt, &self.connections().pooled, request).await?;
                let place = self.place(&attempt, answer, &UPLOAD_URL, StatusCode::OK).await?.0;
                let request = self.finalize(&attempt, place, length, body);
                feed.send(&attempt, self.send_bytes(&attempt, request)).await
            }
            Upload::Presigned { start, file_id, finish } => {
                let request = self.prepare(&attempt, &start)?;
                let answer = self.send(&attempt, &self.connections().pooled, request).await?;
                let (place, answer) =
                    self.place(&attempt, answer, &header::LOCATION, StatusCode::FOUND).await?;
                let id = text(&answer, &HeaderName::from_static(file_id));
                let id =
                    id.ok_or_else(|| attempt.error(Kind::Ambiguous(None), "the answer names no file"))?;
                let mut put = self.request(&attempt, Method::PUT, place);
                // The place is a credential in itself, and may be somebody else's even at the provider's own address.
                for name in credential.headers().keys() {
                    put.headers_mut().remove(name);
                }
                put.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
                *put.body_mut() = Some(body);
                let sent = async {
                    let response = self.send(&attempt, &self.connections().single, put).await?;
                    self.success(&attempt, response).await.map(drop)
                };
                feed.send(&attempt, sent).await?;
                let done = Call::new(Method::POST, [finish.0, &id, finish.1]);
                let request = self.prepare(&attempt, &done)?;
                self.send_bytes(&attempt, request).await
            }
        }
    }

    /// Sends the request that ends an upload and reads the file that it made.
    async fn send_bytes(&self, attempt: &Attempt, request: Request) -> Result<File, ApiError> {
        let response = self.send(attempt, &self.connections().single, request).await?;
        let answer = self.success(attempt, response).await?;
        read(attempt, answer, |body| self.provider().read_file(body))
    }

    fn with_form(&self, attempt: &Attempt, call: &Call, form: Form) -> Result<Request, ApiError> {
        let mut request = self.prepare(attempt, call)?;
        request.headers_mut().remove(header::CONTENT_LENGTH);
        let builder = RequestBuilder::from_parts(self.connections().single.clone(), request);
        builder.multipart(form).build().map_err(|error| attempt.failed(error))
    }

    /// Where the bytes go, by a header of the first call's answer.
    async fn place(
        &self,
        attempt: &Attempt,
        answer: Response,
        name: &HeaderName,
        status: StatusCode,
    ) -> Result<(Url, Response), ApiError> {
        if answer.status() != status {
            return Err(attempt.refused(answer).await);
        }
        let safe =
            |url: &Url| url.scheme() == "https" || (url.scheme(), self.base().scheme()) == ("http", "http");
        let place = text(&answer, name).and_then(|place| self.base().join(&place).ok()).filter(safe);
        let place = place.ok_or_else(|| attempt.error(Kind::Ambiguous(None), "the answer names no place"))?;
        Ok((place, answer))
    }

    /// The one call of Google's protocol that sends all bytes.
    fn finalize(&self, attempt: &Attempt, place: Url, length: u64, body: Body) -> Request {
        let mut request = self.request(attempt, Method::POST, place);
        let headers = request.headers_mut();
        headers.insert(UPLOAD_COMMAND, HeaderValue::from_static("upload, finalize"));
        headers.insert(UPLOAD_OFFSET, HeaderValue::from_static("0"));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        *request.body_mut() = Some(body);
        request
    }
}

fn text(answer: &Response, name: &HeaderName) -> Option<String> {
    Some(answer.headers().get(name)?.to_str().ok()?.to_owned())
}

/// The fields of an upload, the file last, so that a server that reads them in order knows what it is to do with it.
fn form(
    fields: &[(&'static str, String)],
    file_name: &str,
    length: u64,
    file: Body,
) -> Result<Form, reqwest::Error> {
    let file = Part::stream_with_length(file, length)
        .file_name(file_name.to_owned())
        .mime_str("application/jsonl")?;
    let form = Form::new();
    let form = fields.iter().fold(form, |form, (name, value)| form.text(*name, value.clone()));
    Ok(form.part("file", file))
}
