//! Sending requests and reading answers: connections, time limits, redirects, and what a failure means.

use std::collections::hash_map::RandomState;
use std::error::Error as StdError;
use std::future::Future;
use std::hash::{BuildHasher, Hasher};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue, Method, header};
use reqwest::{Request, Response, Url};

use super::error::{Answer, ApiError, Kind};
use super::{Client, Credential};
use providers::{Call, Provider, Unreadable};

/// How long name lookup, TCP and TLS may take together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Idle connections are dropped before the usual server does, so that few calls meet a connection just closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Idle connections kept per host; polls of many batches share one HTTP/2 connection anyway.
const IDLE_CONNECTIONS: usize = 32;
const KEEPALIVE: Duration = Duration::from_secs(20);
/// An answer that should be an object or a page of a list is read up to this many bytes.
pub(super) const LONGEST_ANSWER: usize = 16 << 20;
/// Of an error's body, so many bytes are kept.
const LONGEST_ERROR: usize = 64 << 10;
/// How long an error's body is waited for; its status is known already.
const ERROR_BODY_TIMEOUT: Duration = Duration::from_secs(30);
const MOST_REDIRECTS: usize = 5;

const CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("x-client-request-id");

/// The connections that all clients share. Cheap to clone. Honours the usual proxy variables of the environment, but goes
/// straight to this machine's own addresses.
#[derive(Debug, Clone)]
pub struct Http {
    outside: Connections,
    loopback: Arc<OnceLock<Connections>>,
}

/// The two ways to send a call to one kind of host.
#[derive(Debug, Clone)]
pub(super) struct Connections {
    /// For calls that may be repeated.
    pub(super) pooled: reqwest::Client,
    /// For calls that must go out once: each has a connection of its own.
    pub(super) single: reqwest::Client,
}

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// TLS could not be set up; typically there are no root certificates on the machine.
    #[error("cannot set up HTTP: {0}")]
    Http(#[from] reqwest::Error),
    /// The base URL is none, or not of http or https.
    #[error("bad base URL: {0}")]
    BaseUrl(String),
}

impl Http {
    /// Sets up TLS and empty connection pools.
    ///
    /// # Errors
    /// [`SetupError::Http`].
    pub fn new() -> Result<Self, SetupError> {
        let outside = Connections::new(reqwest::Client::builder)?;
        Ok(Self { outside, loopback: Arc::default() })
    }

    pub(super) fn connections(&self, base: &Url) -> Result<Connections, SetupError> {
        let host = base.host_str().unwrap_or_default();
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        let loopback = address.map_or(host == "localhost", |address| address.is_loopback());
        if !loopback {
            return Ok(self.outside.clone());
        }
        if let Some(connections) = self.loopback.get() {
            return Ok(connections.clone());
        }
        let connections = Connections::new(|| reqwest::Client::builder().no_proxy())?;
        Ok(self.loopback.get_or_init(|| connections).clone())
    }
}

impl Connections {
    fn new(builder: impl Fn() -> reqwest::ClientBuilder) -> Result<Self, SetupError> {
        // reqwest would follow redirects with some credential headers still on, and repeat calls that it takes for
        // unprocessed; both are decided here instead.
        let builder = || {
            builder()
                .user_agent(concat!("llm-proxy/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(CONNECT_TIMEOUT)
                .tcp_keepalive(KEEPALIVE)
                .redirect(reqwest::redirect::Policy::none())
                .referer(false)
                .retry(reqwest::retry::never())
        };
        let pooled = builder()
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .http2_keep_alive_interval(KEEPALIVE)
            .http2_keep_alive_timeout(KEEPALIVE)
            .build()?;
        // hyper sends a call again when the idle connection it was queued on turns out closed, with no switch for it in
        // reqwest. Without a pool there is no such connection, nor one that dies of old age under a call whose fate
        // then nobody knows.
        let single = builder().pool_max_idle_per_host(0).http1_only().build()?;
        Ok(Self { pooled, single })
    }
}

/// Gives each call an id of its own; random per process, then counted.
#[derive(Debug)]
pub(super) struct Ids {
    prefix: u64,
    next: AtomicU64,
}

impl Ids {
    pub(super) fn new() -> Self {
        Self { prefix: RandomState::new().build_hasher().finish(), next: AtomicU64::new(0) }
    }

    fn next(&self) -> String {
        format!("llmp-{:016x}-{}", self.prefix, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

/// What every error of one call has in common.
#[derive(Debug)]
pub(super) struct Attempt {
    operation: &'static str,
    credential: Credential,
    id: String,
    provider: &'static dyn Provider,
}

impl Attempt {
    pub(super) fn error(&self, kind: Kind, detail: &str) -> ApiError {
        ApiError::new(self.operation, kind, detail, &self.id, &self.credential)
    }

    /// A failure with no answer.
    pub(super) fn failed(&self, error: reqwest::Error) -> ApiError {
        let not_sent = error.is_connect() || error.is_builder();
        let kind = if not_sent { Kind::NotSent } else { Kind::Ambiguous(None) };
        // The URL may hold a signature or a password.
        self.error(kind, &chain(&error.without_url()))
    }

    /// A success status with something else than the object that belongs to it.
    pub(super) fn unreadable(&self, answer: Answer, problem: &Unreadable) -> ApiError {
        self.error(Kind::Ambiguous(Some(answer)), &problem.to_string())
    }

    /// An answer that is no success. Waits for its body, within bounds.
    pub(super) async fn refused(&self, response: Response) -> ApiError {
        let answer = read_answer(response, LONGEST_ERROR, Some(ERROR_BODY_TIMEOUT)).await.answer;
        let status = answer.status;
        let refusal = match status {
            408 | 499 => false,
            400..500 => true,
            _ => self.provider.refuses(status, &answer.body),
        };
        let kind = if refusal { Kind::Rejected(answer) } else { Kind::Ambiguous(Some(answer)) };
        let detail = if (300..400).contains(&status) { "redirected, is the base URL right?" } else { "" };
        self.error(kind, detail)
    }

    /// Runs a whole call under a time limit.
    pub(super) async fn within<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, ApiError> {
        match tokio::time::timeout(limit, work).await {
            Ok(result) => result,
            Err(_) => Err(self.error(Kind::Ambiguous(None), &format!("no answer within {limit:?}"))),
        }
    }
}

impl Client {
    pub(super) fn attempt(&self, operation: &'static str, credential: &Credential) -> Attempt {
        Attempt {
            operation,
            credential: credential.clone(),
            id: self.ids().next(),
            provider: self.provider(),
        }
    }

    /// `base/segment/segment..?query`, each segment percent-encoded. Ids come from the provider: one that could change the path
    /// in spite of that, or is absurd, is refused.
    pub(super) fn url(&self, attempt: &Attempt, call: &Call) -> Result<Url, ApiError> {
        let odd = |segment: &str| {
            segment.is_empty()
                || segment.len() > 256
                || matches!(segment, "." | "..")
                || segment.chars().any(char::is_control)
        };
        if call.path.iter().any(|segment| odd(segment)) {
            return Err(attempt.error(Kind::NotSent, "the provider's id cannot stand in a URL"));
        }
        let mut url = self.base().clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(&call.path);
        }
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&call.query);
        }
        Ok(url)
    }

    /// A request with the call's headers on it. The credential goes to the base URL's origin only.
    pub(super) fn request(&self, attempt: &Attempt, method: Method, url: Url) -> Request {
        let with_credential = url.origin() == self.base().origin();
        let mut request = Request::new(method, url);
        let headers = request.headers_mut();
        if with_credential {
            headers.extend(attempt.credential.headers().clone());
        }
        headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        if let Ok(id) = HeaderValue::try_from(&attempt.id) {
            headers.insert(CLIENT_REQUEST_ID, id);
        }
        request
    }

    /// The request of a provider's call, complete. A POST without a body says its length: some gateways answer 411 without.
    pub(super) fn prepare(&self, attempt: &Attempt, call: &Call) -> Result<Request, ApiError> {
        let mut request = self.request(attempt, call.method.clone(), self.url(attempt, call)?);
        let headers = request.headers_mut();
        match (call.body.is_empty(), &call.method) {
            (true, &Method::POST) => {
                drop(headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0")))
            }
            (true, _) => {}
            (false, _) => {
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            }
        }
        headers.extend(call.headers.clone());
        if !call.body.is_empty() {
            *request.body_mut() = Some(call.body.clone().into());
        }
        Ok(request)
    }

    /// Sends one request, as it is, whatever is answered.
    pub(super) async fn send(
        &self,
        attempt: &Attempt,
        http: &reqwest::Client,
        request: Request,
    ) -> Result<Response, ApiError> {
        let result = http.execute(request).await.map_err(|error| attempt.failed(error));
        match &result {
            Ok(response) => {
                tracing::debug!(
                    operation = attempt.operation,
                    id = attempt.id,
                    status = response.status().as_u16()
                );
            }
            Err(error) => tracing::debug!(operation = attempt.operation, id = attempt.id, %error),
        }
        result
    }

    /// Sends a GET and follows redirects; to another origin without the credential, never from https to http.
    pub(super) async fn get(
        &self,
        attempt: &Attempt,
        mut url: Url,
        range: Option<HeaderValue>,
    ) -> Result<Response, ApiError> {
        for _ in 0..=MOST_REDIRECTS {
            let mut request = self.request(attempt, Method::GET, url.clone());
            if let Some(range) = &range {
                request.headers_mut().insert(header::RANGE, range.clone());
            }
            let response = self.send(attempt, &self.connections().pooled, request).await?;
            let Some(next) = redirect(&response, &url) else { return Ok(response) };
            url = next;
        }
        Err(attempt.error(Kind::Ambiguous(None), "too many redirects"))
    }

    /// Reads a success's body; any other answer is an error.
    pub(super) async fn success(&self, attempt: &Attempt, response: Response) -> Result<Answer, ApiError> {
        self.success_within(attempt, response, LONGEST_ANSWER).await
    }

    /// The same with a bound of its own, in bytes.
    pub(super) async fn success_within(
        &self,
        attempt: &Attempt,
        response: Response,
        longest: usize,
    ) -> Result<Answer, ApiError> {
        if !response.status().is_success() {
            return Err(attempt.refused(response).await);
        }
        let read = read_answer(response, longest, None).await;
        match read.problem {
            None => Ok(read.answer),
            Some(problem) => Err(attempt.error(Kind::Ambiguous(Some(read.answer.shortened())), &problem)),
        }
    }
}

/// Where a GET is redirected to, if it is and may be.
fn redirect(response: &Response, from: &Url) -> Option<Url> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = response.headers().get(header::LOCATION)?.to_str().ok()?;
    let to = from.join(location).ok()?;
    let safe = to.scheme() == "https" || (to.scheme() == "http" && from.scheme() == "http");
    safe.then_some(to)
}

struct ReadAnswer {
    answer: Answer,
    /// Why the body is not whole.
    problem: Option<String>,
}

/// Reads an answer's body up to `longest` bytes. The body so far is kept when reading fails.
async fn read_answer(mut response: Response, longest: usize, patience: Option<Duration>) -> ReadAnswer {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let mut body = BytesMut::new();
    let mut problem = None;
    let read = async {
        while body.len() < longest {
            match response.chunk().await {
                Ok(Some(chunk)) => {
                    body.extend_from_slice(&chunk[..chunk.len().min(longest + 1 - body.len())])
                }
                Ok(None) => return,
                Err(error) => return problem = Some(chain(&error.without_url())),
            }
        }
    };
    match patience {
        Some(patience) => drop(tokio::time::timeout(patience, read).await),
        None => read.await,
    }
    if body.len() > longest {
        body.truncate(longest);
        problem = Some(format!("the answer is longer than {longest} bytes"));
    }
    ReadAnswer { answer: Answer::new(status, &headers, body.freeze()), problem }
}

impl Answer {
    /// With no more of the body than an error keeps.
    fn shortened(self) -> Self {
        Self { body: Bytes::copy_from_slice(&self.body[..self.body.len().min(LONGEST_ERROR)]), ..self }
    }
}

/// An error with all its causes: `error sending request: connection reset by peer`.
fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}
