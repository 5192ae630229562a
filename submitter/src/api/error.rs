//! What a failed call says: was it not sent, refused, or perhaps done.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use common::redact::redact;
use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};

use super::Credential;
use providers::json::{error_field, error_message};

/// The longest code or request id that is logged; those of providers have at most 40 bytes.
const MAX_NAME: usize = 64;

/// Any error, kept as the cause of another.
pub(super) type BoxError = Box<dyn StdError + Send + Sync>;

/// A call that did not succeed.
///
/// `Display` is for logs. It holds the provider's code and request id, and not its words, which may quote a key or a prompt. The
/// provider's own answer, unchanged, is in [`answer`](Self::answer), for the caller whose key and prompt those are.
pub struct ApiError(Box<Inner>);

struct Inner {
    operation: &'static str,
    kind: Kind,
    message: String,
    client_request_id: String,
}

/// How much is known about what the provider did.
#[derive(Debug)]
pub enum Kind {
    /// Nothing reached the provider: no connection, or a call that could not be built.
    NotSent,
    /// The provider refused: a 4xx answer (but 408 and 499, with which a gateway in between gives up waiting), or another that
    /// says so for certain.
    Rejected(Answer),
    /// The call may have been carried out or not: 3xx, 5xx, a timeout, a reset, an answer cut or unreadable.
    Ambiguous(Option<Answer>),
    /// Our own side could not send the body of an upload to its end, so the provider cannot have the whole file.
    Local(BoxError),
}

/// A provider's answer that is not the one hoped for.
#[derive(Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The provider's `x-request-id` or `request-id`.
    pub request_id: Option<String>,
    /// How long the provider asks to wait, from `retry-after-ms` or `retry-after` (seconds or a date).
    pub retry_after: Option<Duration>,
    /// The provider's word on retrying, from `x-should-retry`.
    pub should_retry: Option<bool>,
    /// The body, cut after 64 KiB. May quote a key: for the caller it belongs to, not for logs.
    pub body: Bytes,
}

impl ApiError {
    pub(super) fn new(
        operation: &'static str,
        kind: Kind,
        detail: &str,
        client_request_id: &str,
        credential: &Credential,
    ) -> Self {
        let said = match &kind {
            Kind::Rejected(answer) | Kind::Ambiguous(Some(answer)) => answer.names(),
            _ => String::new(),
        };
        let separator = if detail.is_empty() || said.is_empty() { "" } else { ": " };
        let message = redact(&format!("{detail}{separator}{said}"), credential.secrets());
        Self(Box::new(Inner { operation, kind, message, client_request_id: client_request_id.to_owned() }))
    }

    /// How much is known about what the provider did.
    pub fn kind(&self) -> &Kind {
        &self.0.kind
    }

    /// As [`kind`](Self::kind), owned: to get at the error of an upload's own body.
    pub fn into_kind(self) -> Kind {
        self.0.kind
    }

    /// The provider's answer, if there was one.
    pub fn answer(&self) -> Option<&Answer> {
        match &self.0.kind {
            Kind::Rejected(answer) | Kind::Ambiguous(Some(answer)) => Some(answer),
            _ => None,
        }
    }

    /// The status of the provider's answer, if there was one.
    pub fn status(&self) -> Option<u16> {
        self.answer().map(|answer| answer.status)
    }

    /// What went wrong, for logs; no longer than a screenful, without keys.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The `X-Client-Request-Id` that the call carried, which a provider's support can search for.
    pub fn client_request_id(&self) -> &str {
        &self.0.client_request_id
    }

    /// How long the provider asks to wait before the next try. Not bounded here.
    pub fn retry_after(&self) -> Option<Duration> {
        self.answer()?.retry_after
    }

    /// Whether the same call may succeed later. Says nothing about whether it is safe to make it again: after
    /// [`Kind::Ambiguous`], only calls that change nothing or may be repeated are.
    pub fn is_retryable(&self) -> bool {
        if let Some(word) = self.answer().and_then(|answer| answer.should_retry) {
            return word;
        }
        match &self.0.kind {
            Kind::Rejected(answer) => matches!(answer.status, 409 | 425 | 429 | 500..),
            Kind::Ambiguous(Some(answer)) => !(300..400).contains(&answer.status),
            Kind::NotSent | Kind::Ambiguous(None) | Kind::Local(_) => true,
        }
    }
}

impl Answer {
    pub(super) fn new(status: u16, headers: &HeaderMap, body: Bytes) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        Self {
            status,
            request_id: text("x-request-id").or_else(|| text("request-id")).map(str::to_owned),
            retry_after: retry_after(headers, jiff::Timestamp::now()),
            should_retry: text("x-should-retry").and_then(|word| word.parse().ok()),
            body,
        }
    }

    /// The message in the body's error object, else the beginning of the body if it is text. May quote a key.
    pub fn message(&self) -> String {
        error_message(&self.body).unwrap_or_else(|| String::from_utf8_lossy(&self.body).trim().to_owned())
    }

    /// Its code or kind of error, and its request id: what can be logged of it, where they look like names.
    fn names(&self) -> String {
        let is_name = |text: &String| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
            (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(plain)
        };
        let code = self.code().filter(is_name).or_else(|| error_field(&self.body, "type").filter(is_name));
        let request = self.request_id.clone().filter(is_name).map(|id| format!("request {id}"));
        code.into_iter().chain(request).collect::<Vec<_>>().join(", ")
    }

    /// The code in the body's error object.
    pub fn code(&self) -> Option<String> {
        error_field(&self.body, "code")
    }

    /// The field that the body's error object blames.
    pub fn param(&self) -> Option<String> {
        error_field(&self.body, "param")
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .field("request_id", &self.request_id)
            .field("retry_after", &self.retry_after)
            .field("should_retry", &self.should_retry)
            .field("body_len", &self.body.len())
            .finish()
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.0;
        let fate = match &inner.kind {
            Kind::NotSent => "not sent",
            Kind::Rejected(_) => "refused",
            Kind::Ambiguous(_) => "failed, outcome unknown",
            Kind::Local(_) => "given up on our side",
        };
        write!(f, "{} {fate}", inner.operation)?;
        if let Some(status) = self.status() {
            write!(f, " (status {status})")?;
        }
        if inner.message.is_empty() { Ok(()) } else { write!(f, ": {}", inner.message) }
    }
}

impl fmt::Debug for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiError")
            .field("operation", &self.0.operation)
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("client_request_id", &self.0.client_request_id)
            .finish()
    }
}

impl StdError for ApiError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.0.kind {
            Kind::Local(error) => Some(error.as_ref()),
            _ => None,
        }
    }
}

/// The wait that an answer asks for: `retry-after-ms`, else `retry-after` in seconds or as a date. A date is compared with
/// the answer's own `date` where there is one, so that our clock does not matter.
fn retry_after(headers: &HeaderMap, now: jiff::Timestamp) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok().map(str::trim);
    let positive = |seconds: f64| Duration::try_from_secs_f64(seconds.max(0.0)).ok();
    if let Some(millis) =
        headers.get("retry-after-ms").and_then(|value| value.to_str().ok()?.trim().parse().ok())
    {
        let millis: f64 = millis;
        return positive(millis / 1000.0);
    }
    let value = text(RETRY_AFTER)?;
    if let Ok(seconds) = value.parse::<f64>() {
        return positive(seconds);
    }
    let until = http_date(value)?;
    let now = text(DATE).and_then(http_date).unwrap_or(now);
    Some(Duration::try_from(until.duration_since(now)).unwrap_or_default())
}

fn http_date(text: &str) -> Option<jiff::Timestamp> {
    jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        list.iter()
            .map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    fn refused(status: u16, headers: &HeaderMap, body: &'static str) -> ApiError {
        let answer = Answer::new(status, headers, Bytes::from_static(body.as_bytes()));
        ApiError::new("create", Kind::Rejected(answer), "", "id", &Credential::default())
    }

    #[test]
    fn retry_after_is_read_in_all_its_forms() {
        let now = jiff::Timestamp::UNIX_EPOCH;
        let wait = |list: &[_]| retry_after(&headers(list), now).map(|wait| wait.as_millis());
        assert_eq!(wait(&[("retry-after-ms", "1500.5"), ("retry-after", "9")]), Some(1500));
        assert_eq!(wait(&[("retry-after-ms", "soon"), ("retry-after", "9")]), Some(9000));
        assert_eq!(wait(&[("retry-after", "0.25")]), Some(250));
        assert_eq!(wait(&[("retry-after", "-3")]), Some(0));
        assert_eq!(wait(&[("retry-after", "Thu, 01 Jan 1970 00:01:00 GMT")]), Some(60_000));
        let dates =
            [("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT"), ("date", "Wed, 21 Oct 2026 07:27:50 GMT")];
        assert_eq!(wait(&dates), Some(10_000));
        let past =
            [("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT"), ("date", "Wed, 21 Oct 2026 07:28:50 GMT")];
        assert_eq!(wait(&past), Some(0));
        for odd in ["", "inf", "NaN", "1e300", "tomorrow"] {
            assert!(matches!(wait(&[("retry-after", odd)]), None | Some(0)), "{odd}");
        }
    }

    #[test]
    fn the_providers_word_on_retrying_counts_most() {
        let none = HeaderMap::new();
        assert!(refused(429, &none, "").is_retryable());
        assert!(!refused(401, &none, "").is_retryable());
        assert!(!refused(429, &headers(&[("x-should-retry", "false")]), "").is_retryable());
        assert!(refused(401, &headers(&[("x-should-retry", "true")]), "").is_retryable());
    }

    #[test]
    fn no_key_is_shown() {
        let credential = Credential::bearer("0123456789abcdef").unwrap();
        let body = r#"{"error":{"message":"Incorrect API key provided: 0123456789abcdef, sk-abc***def.","code":"invalid_api_key"}}"#;
        let answer = Answer::new(401, &headers(&[("x-request-id", "req_1")]), body.into());
        let error = ApiError::new("upload", Kind::Rejected(answer), "", "id", &credential);
        assert_eq!(error.to_string(), "upload refused (status 401): invalid_api_key, request req_1");
        for shown in [format!("{error:?}"), format!("{credential:?}")] {
            assert!(!shown.contains("0123456789") && !shown.contains("sk-abc"), "{shown}");
        }
        assert!(error.answer().unwrap().message().contains("0123456789abcdef"));
    }

    #[test]
    fn what_a_provider_quotes_is_not_shown() {
        for body in [
            r#"{"error":{"message":"Invalid value: my secret plan","type":"invalid_request_error"}}"#,
            r#"{"error":{"message":"x","code":"my secret plan","type":"invalid_request_error"}}"#,
            r#"{"error":"my secret plan"}"#,
            "my secret plan",
        ] {
            let error = refused(400, &headers(&[("x-request-id", "my secret plan")]), body);
            assert!(!error.to_string().contains("secret"), "{error}");
            assert!(error.answer().unwrap().message().contains("my secret plan") || body.contains("code"));
        }
    }
}
