//! How a provider's Batch API is spoken: what to send, and what the answers mean. Nothing in here does any IO, and nothing
//! decides when to call.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method};

use crate::about::About;
use crate::job::{File, Job, Page, Unreadable};
use crate::json;
use crate::result::{LineError, ResultLine};

/// One provider. Adding one takes a module with this and a line in [`crate::ALL`].
pub trait Provider: fmt::Debug + Send + Sync + 'static {
    /// Its facts.
    fn about(&self) -> &'static About;

    /// Appends a request as a line of an input file, with its newline; or as an element of a list, without a separator.
    fn encode_line(&self, out: &mut Vec<u8>, line: &Line<'_>);

    /// The length in bytes of what [`encode_line`](Self::encode_line) appends for a body of so many bytes.
    fn line_len(&self, line: &Line<'_>, body: usize) -> usize;

    /// How a file is uploaded. Not asked where everything travels inline.
    fn upload(&self, name: &str) -> Upload;

    /// The call that creates a job from an uploaded file.
    fn create(&self, new: &NewJob<'_>, file: &str) -> Call;

    /// The call that creates a job with the requests in it, and what stands around them in its body. Not asked where
    /// [`Caps::inline_bytes`](crate::Caps::inline_bytes) is 0.
    fn create_inline(&self, _new: &NewJob<'_>) -> Option<Inline> {
        None
    }

    /// Reads the answer to a creation.
    ///
    /// # Errors
    /// [`Unreadable`] if there is no job in it.
    fn read_created(&self, body: &[u8]) -> Result<Job, Unreadable> {
        self.read_job(body)
    }

    /// Asks how a job is doing.
    fn poll(&self, job: &str) -> Call;

    /// Reads the answer to [`poll`](Self::poll).
    ///
    /// # Errors
    /// [`Unreadable`] if there is no job in it.
    fn read_job(&self, body: &[u8]) -> Result<Job, Unreadable>;

    /// Cancels a job.
    fn cancel(&self, job: &str) -> Call;

    /// One page of the list of jobs, newest first where that can be asked for; `after` is what the page before named.
    fn list_jobs(&self, after: Option<&str>) -> Call;

    /// Reads the page that [`list_jobs`](Self::list_jobs) asked for with the same `after`.
    ///
    /// # Errors
    /// [`Unreadable`] if it is no list.
    fn read_jobs(&self, body: &[u8], after: Option<&str>) -> Result<Page<Job>, Unreadable>;

    /// One page of the list of files; `None` where there are no files.
    fn list_files(&self, after: Option<&str>) -> Option<Call>;

    /// Reads the page that [`list_files`](Self::list_files) asked for with the same `after`.
    ///
    /// # Errors
    /// [`Unreadable`] if it is no list.
    fn read_files(&self, body: &[u8], after: Option<&str>) -> Result<Page<File>, Unreadable>;

    /// Asks about an uploaded file, where no job can be created from it before an answer to this has said that it is
    /// [ready](File::ready); `None` where a file is ready when it is uploaded.
    fn file(&self, _id: &str) -> Option<Call> {
        None
    }

    /// Reads the answer to an upload, or to [`file`](Self::file).
    ///
    /// # Errors
    /// [`Unreadable`] if there is no file in it.
    fn read_file(&self, body: &[u8]) -> Result<File, Unreadable>;

    /// Deletes a file, or whatever else of a job is named in its `input`, `output` and `errors_in`; `None` where it cannot be
    /// deleted and goes by itself.
    fn delete(&self, artifact: &str) -> Option<Call>;

    /// Where results of this name are.
    fn results(&self, artifact: &str) -> Source;

    /// Reads one line of results, or one element of a [`Source::Document`].
    ///
    /// # Errors
    /// [`LineError`] if it cannot be joined to a request or holds no readable outcome.
    fn read_result<'a>(&self, line: &'a [u8]) -> Result<ResultLine<'a>, LineError>;

    /// The elements of the part of a [`Source::Document`] that this call asked for, and the call for the next part. Of a part that
    /// is broken, what can be told apart.
    ///
    /// # Errors
    /// [`Unreadable`] if it is none.
    fn read_document<'a>(&self, _asked: &Call, _body: &'a [u8]) -> Result<Document<'a>, Unreadable> {
        Err(Unreadable::NoId)
    }

    /// Whether an answer to a creation says that its file is not there, or not yet.
    fn is_missing_file(&self, status: u16, body: &[u8]) -> bool;

    /// Whether an answer to a creation says that too much is enqueued already, and not that calls come too fast; `told_when`
    /// where it says how soon to call again.
    fn is_queue_full(&self, _status: u16, body: &[u8], _told_when: bool) -> bool {
        json::error_field(body, "code").as_deref() == Some("token_limit_exceeded")
    }

    /// Whether an answer with a status beyond 4xx says for certain that nothing was done. After any other such answer the call may
    /// have had its effect.
    fn refuses(&self, _status: u16, _body: &[u8]) -> bool {
        false
    }

    /// Reads a path, below the upstream's name, of an older tree of its API beside the one below the base URL; `None` for a path
    /// of any other tree.
    fn legacy<'a>(&self, _path: &'a str) -> Option<Legacy<'a>> {
        None
    }

    /// Names in a query that do not change a call, beside those of its dialect: with no others it can be batched, though a batch
    /// has no query.
    fn neutral_query(&self) -> &'static [&'static str] {
        &[]
    }

    /// The header in which its answers name the request.
    fn request_id(&self) -> HeaderName {
        HeaderName::from_static("x-request-id")
    }
}

/// What a path of an older tree means. It is called where it stands when it is not batched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Legacy<'a> {
    /// The end of the base URL's path that the older tree does not have.
    pub replaces: &'static str,
    /// The same call's path below the base URL.
    pub below: &'a str,
    /// The model, where the path names it; then it is this one, whatever the body says.
    pub model: Option<&'a str>,
}

/// A request on its way into a batch.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// Its id.
    pub custom_id: &'a str,
    /// The endpoint, as its dialect names it.
    pub endpoint: &'a str,
    /// Whether it travels in the call that creates the job.
    pub inline: bool,
    /// The caller's body, one JSON value.
    pub body: &'a [u8],
}

/// What a job is created for.
#[derive(Debug, Clone, Copy)]
pub struct NewJob<'a> {
    /// The endpoint of all its lines, as its dialect names it.
    pub endpoint: &'a str,
    /// The model of all its lines.
    pub model: &'a str,
    /// The id of our batch, to be found again by.
    pub batch: &'a str,
}

/// An HTTP call below the base URL. The headers of the credential and of the batch key come on top.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Its method.
    pub method: Method,
    /// Segments of its path, to be percent-encoded.
    pub path: Vec<String>,
    /// Its query.
    pub query: Vec<(&'static str, String)>,
    /// Headers of its own.
    pub headers: HeaderMap,
    /// Its body, of the type `application/json`; empty for none.
    pub body: Bytes,
}

impl Call {
    /// A call without a body.
    pub fn new<S: Into<String>>(method: Method, path: impl IntoIterator<Item = S>) -> Self {
        let path = path.into_iter().map(Into::into).collect();
        Self { method, path, query: Vec::new(), headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// A GET.
    pub fn get<S: Into<String>>(path: impl IntoIterator<Item = S>) -> Self {
        Self::new(Method::GET, path)
    }

    /// A POST of JSON.
    pub fn post<S: Into<String>>(path: impl IntoIterator<Item = S>, body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..Self::new(Method::POST, path) }
    }

    /// Adds to the query.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }
}

/// How a file gets to a provider.
#[derive(Debug, Clone, PartialEq)]
pub enum Upload {
    /// One `multipart/form-data` POST, the file as its last part, named `file`.
    Form {
        /// The call, without its body.
        call: Call,
        /// The parts before the file.
        fields: Vec<(&'static str, String)>,
    },
    /// Google's resumable protocol: the first call names the length, its answer where the bytes go.
    Resumable {
        /// The call that begins it; its `x-goog-upload-header-content-length` is added when it is sent.
        start: Call,
    },
    /// A call that is answered with a redirect to a place for the bytes, and one that says that they are there.
    Presigned {
        /// The call that asks for the place.
        start: Call,
        /// The header of its answer that names the file.
        file_id: &'static str,
        /// Segments before and after the file's id of the path of the last call.
        finish: (&'static str, &'static str),
    },
}

/// A creation with its requests in it: `head`, the elements with commas between them, `tail`.
#[derive(Debug, Clone, PartialEq)]
pub struct Inline {
    /// The call, without its body.
    pub call: Call,
    /// Before the first element.
    pub head: Vec<u8>,
    /// After the last one.
    pub tail: Vec<u8>,
}

/// Where results are.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// A file of lines.
    Lines(Call),
    /// One JSON document, or several that follow each other.
    Document(Call),
}

/// A part of a [`Source::Document`].
#[derive(Debug)]
pub struct Document<'a> {
    /// The elements, raw.
    pub elements: Vec<Cow<'a, [u8]>>,
    /// The call for the next part, if there is one.
    pub next: Option<Call>,
    /// It is no JSON as a whole: something may be missing.
    pub broken: bool,
}

#[cfg(test)]
pub(crate) mod tests {
    //! What the tests of all providers use.

    use super::*;

    /// A job for chat completions.
    pub(crate) const NEW: NewJob<'_> = NewJob { endpoint: "/v1/chat/completions", model: "m", batch: "bid" };

    /// The body of a call.
    pub(crate) fn json_body(call: &Call) -> serde_json::Value {
        serde_json::from_slice(&call.body).unwrap()
    }

    /// A line of the id `c`, as long as it was said to be.
    pub(crate) fn line(provider: &dyn Provider, endpoint: &str, inline: bool) -> String {
        let line = Line { custom_id: "c", endpoint, inline, body: b"{\"n\":1}" };
        let mut out = Vec::new();
        provider.encode_line(&mut out, &line);
        assert_eq!(out.len(), provider.line_len(&line, line.body.len()));
        String::from_utf8(out).unwrap()
    }
}
