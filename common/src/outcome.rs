//! What goes back to a caller: a provider's response verbatim, or a fault of ours.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::wire;

/// The end of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The provider's own answer, successful or not.
    Response(Response),
    /// There is no answer of the provider; why, and what to do.
    Fault(Fault),
}

/// A provider's answer. `Debug` does not show its body.
#[derive(Clone, PartialEq)]
pub struct Response {
    /// The provider's status for this request.
    pub status: StatusCode,
    /// Headers of the provider that the caller gets, as `x-request-id`.
    pub headers: HeaderMap,
    /// The job that answered; empty when none did.
    pub job: String,
    /// The body, byte for byte.
    pub body: Bytes,
    /// Whether the provider refused the batch with it, since this key or model has none: nothing was submitted.
    pub unbatchable: bool,
    /// How it was made.
    pub route: Route,
}

/// How a request is executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Route {
    /// With others, in a batch.
    #[default]
    Batch,
    /// Alone, at the price of a batch, when the provider has room (OpenAI, Gemini and Azure: service tier "flex").
    Flex,
    /// Alone, at the full price.
    Sync,
}

impl Route {
    /// The value of `x-llm-proxy-route`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::Flex => "flex",
            Self::Sync => "sync",
        }
    }

    fn to_wire(self) -> wire::Route {
        match self {
            Self::Batch => wire::Route::Batch,
            Self::Flex => wire::Route::Flex,
            Self::Sync => wire::Route::Sync,
        }
    }

    fn from_wire(route: wire::Route) -> Self {
        match route {
            wire::Route::Batch => Self::Batch,
            wire::Route::Flex => Self::Flex,
            wire::Route::Sync => Self::Sync,
        }
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("headers", &self.headers)
            .field("job", &self.job)
            .field("body_len", &self.body.len())
            .finish()
    }
}

/// The one error type that crosses the bus. Its class says who acts and when.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// Which HTTP status and error type it becomes.
    pub class: FaultClass,
    /// Machine readable, as the `code` of the provider's error objects.
    pub code: String,
    /// For the person who reads the error: what happened and what to do. Never a credential.
    pub message: String,
    /// When trying again makes sense.
    pub retry_after: Option<Duration>,
    /// The caller's SDK must not try again by itself.
    pub no_retry: bool,
    /// Whether the provider refused the batch, since this key or model has none: nothing was executed.
    pub unbatchable: bool,
    /// Whether the request may be put into a later batch: this one is over and has no answer to it. As far as the provider tells
    /// it was not executed, or failed for no reason of its own.
    pub again: bool,
    /// Whether the provider may have executed it nevertheless, and lost its answer: in a later batch it may be paid twice.
    pub perhaps_executed: bool,
    /// Whether the request was not submitted for want of room at the provider: into another batch with it, which counts as no try.
    pub requeue: bool,
    /// How it was tried last.
    pub route: Route,
}

/// The classes of [`Fault`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FaultClass {
    /// The request cannot be served as it is: 400.
    Invalid,
    /// No credential, or one that is not accepted: 401.
    Denied,
    /// The credential may not do this: 403.
    Forbidden,
    /// Over a size limit: 413.
    TooLarge,
    /// Over a limit of how much may wait: 429.
    Busy,
    /// Not now: 503.
    Unavailable,
    /// Not finished in time: 504.
    Expired,
    /// The caller left or the job was cancelled: 499.
    Cancelled,
    /// A mistake of ours: 500.
    Internal,
    /// There is no such model: 404.
    NotFound,
    /// Nobody can say whether the provider has it: 502.
    Ambiguous,
}

impl FaultClass {
    /// The HTTP status.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Invalid => StatusCode::BAD_REQUEST,
            Self::Denied => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Busy => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Expired => StatusCode::GATEWAY_TIMEOUT,
            // 499 is nginx's "client closed request"; it has no name in the registry but is a valid status.
            Self::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::SERVICE_UNAVAILABLE),
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Ambiguous => StatusCode::BAD_GATEWAY,
        }
    }

    fn to_wire(self) -> wire::FaultClass {
        match self {
            Self::Invalid => wire::FaultClass::Invalid,
            Self::Denied => wire::FaultClass::Denied,
            Self::Forbidden => wire::FaultClass::Forbidden,
            Self::TooLarge => wire::FaultClass::TooLarge,
            Self::Busy => wire::FaultClass::Busy,
            Self::Unavailable => wire::FaultClass::Unavailable,
            Self::Expired => wire::FaultClass::Expired,
            Self::Cancelled => wire::FaultClass::Cancelled,
            Self::Internal => wire::FaultClass::Internal,
            Self::NotFound => wire::FaultClass::NotFound,
            Self::Ambiguous => wire::FaultClass::Ambiguous,
        }
    }

    fn from_wire(class: wire::FaultClass) -> Self {
        match class {
            wire::FaultClass::Invalid => Self::Invalid,
            wire::FaultClass::Denied => Self::Denied,
            wire::FaultClass::Forbidden => Self::Forbidden,
            wire::FaultClass::TooLarge => Self::TooLarge,
            wire::FaultClass::Busy => Self::Busy,
            wire::FaultClass::Unavailable => Self::Unavailable,
            wire::FaultClass::Expired => Self::Expired,
            wire::FaultClass::Cancelled => Self::Cancelled,
            wire::FaultClass::NotFound => Self::NotFound,
            wire::FaultClass::Ambiguous => Self::Ambiguous,
            // A class that a newer version knows is at least an error.
            wire::FaultClass::Unspecified | wire::FaultClass::Internal => Self::Internal,
        }
    }
}

impl Fault {
    /// A fault with a message, to be refined with the other methods.
    pub fn new(class: FaultClass, code: &str, message: impl Into<String>) -> Self {
        Self {
            class,
            code: code.to_owned(),
            message: message.into(),
            retry_after: None,
            no_retry: false,
            unbatchable: false,
            again: false,
            perhaps_executed: false,
            requeue: false,
            route: Route::Batch,
        }
    }

    /// Says that the request may be put into a later batch.
    #[must_use]
    pub fn again(mut self) -> Self {
        self.again = true;
        self
    }

    /// Says that the request was not submitted, for want of room.
    #[must_use]
    pub fn requeue(mut self) -> Self {
        self.requeue = true;
        self
    }

    /// Says that the provider may have executed it.
    #[must_use]
    pub fn perhaps_executed(mut self) -> Self {
        self.perhaps_executed = true;
        self
    }

    /// Says how it was tried.
    #[must_use]
    pub fn by(mut self, route: Route) -> Self {
        self.route = route;
        self
    }

    /// Adds when trying again makes sense.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// Says that the provider refused the batch.
    #[must_use]
    pub fn unbatchable(mut self) -> Self {
        self.unbatchable = true;
        self
    }

    /// Tells SDKs not to try again by themselves.
    #[must_use]
    pub fn no_retry(mut self) -> Self {
        self.no_retry = true;
        self
    }
}

impl Outcome {
    /// Whether the provider refused the batch of the request, since its key or model has none: it can be called alone.
    pub fn is_unbatchable(&self) -> bool {
        match self {
            Self::Response(response) => response.unbatchable,
            Self::Fault(fault) => fault.unbatchable,
        }
    }

    /// How the request was executed, or tried last.
    pub fn route(&self) -> Route {
        match self {
            Self::Response(response) => response.route,
            Self::Fault(fault) => fault.route,
        }
    }

    /// Splits an outcome into what travels in the clear and what is sealed.
    pub fn into_wire(self) -> (wire::OutcomeHead, Bytes) {
        use wire::outcome_head::Kind;
        let (kind, sealed) = match self {
            Self::Response(response) => {
                let headers = headers_to_wire(&response.headers);
                let status = u32::from(response.status.as_u16());
                (
                    Kind::Response(wire::ResponseHead {
                        status,
                        headers,
                        job: response.job,
                        unbatchable: response.unbatchable,
                        route: response.route.to_wire().into(),
                    }),
                    response.body,
                )
            }
            Self::Fault(fault) => {
                let head = wire::FaultHead {
                    class: fault.class.to_wire().into(),
                    code: fault.code,
                    // Rounded up: a caller that comes back early only waits again.
                    retry_after_s: fault
                        .retry_after
                        .map_or(0, |d| d.as_millis().div_ceil(1000).min(u128::from(u32::MAX)) as u32),
                    no_retry: fault.no_retry,
                    unbatchable: fault.unbatchable,
                    route: fault.route.to_wire().into(),
                    again: fault.again,
                    perhaps_executed: fault.perhaps_executed,
                    requeue: fault.requeue,
                };
                (Kind::Fault(head), fault.message.into())
            }
        };
        (wire::OutcomeHead { kind: Some(kind) }, sealed)
    }

    /// The inverse of [`Outcome::into_wire`]; `None` for a head that says nothing or a status that is none.
    pub fn from_wire(head: wire::OutcomeHead, opened: Bytes) -> Option<Self> {
        use wire::outcome_head::Kind;
        Some(match head.kind? {
            Kind::Response(head) => Self::Response(Response {
                status: StatusCode::from_u16(u16::try_from(head.status).ok()?).ok()?,
                headers: headers_from_wire(&head.headers),
                route: Route::from_wire(head.route()),
                job: head.job,
                body: opened,
                unbatchable: head.unbatchable,
            }),
            Kind::Fault(head) => Self::Fault(Fault {
                class: FaultClass::from_wire(head.class()),
                route: Route::from_wire(head.route()),
                code: head.code,
                message: String::from_utf8_lossy(&opened).into_owned(),
                retry_after: (head.retry_after_s > 0).then(|| Duration::from_secs(head.retry_after_s.into())),
                no_retry: head.no_retry,
                unbatchable: head.unbatchable,
                again: head.again,
                perhaps_executed: head.perhaps_executed,
                requeue: head.requeue,
            }),
        })
    }
}

/// Headers as they travel in messages.
pub fn headers_to_wire(headers: &HeaderMap) -> Vec<wire::Header> {
    let line = |(name, value): (&http::HeaderName, &http::HeaderValue)| wire::Header {
        name: name.as_str().to_owned(),
        value: Bytes::copy_from_slice(value.as_bytes()),
    };
    headers.iter().map(line).collect()
}

/// Headers from a message; what is not a header is left out.
pub fn headers_from_wire(lines: &[wire::Header]) -> HeaderMap {
    let parse = |line: &wire::Header| {
        let name = http::HeaderName::from_bytes(line.name.as_bytes()).ok()?;
        Some((name, http::HeaderValue::from_bytes(&line.value).ok()?))
    };
    let mut headers = HeaderMap::with_capacity(lines.len());
    for (name, value) in lines.iter().filter_map(parse) {
        headers.append(name, value);
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_survive_the_wire() {
        let mut headers = HeaderMap::new();
        headers.insert("x-request-id", "req_1".parse().unwrap());
        let response = Outcome::Response(Response {
            status: StatusCode::IM_A_TEAPOT,
            headers,
            job: "batch_1".into(),
            body: Bytes::from_static(b"{\"a\": 1e999}"),
            unbatchable: true,
            route: Route::Flex,
        });
        let classes = [
            FaultClass::Invalid,
            FaultClass::Denied,
            FaultClass::Forbidden,
            FaultClass::TooLarge,
            FaultClass::Busy,
            FaultClass::Unavailable,
            FaultClass::Expired,
            FaultClass::Cancelled,
            FaultClass::Internal,
            FaultClass::NotFound,
            FaultClass::Ambiguous,
        ];
        let faults = classes.map(|class| {
            Outcome::Fault(
                Fault::new(class, "code", "words")
                    .retry_after(Duration::from_secs(7))
                    .no_retry()
                    .again()
                    .perhaps_executed()
                    .requeue()
                    .by(Route::Sync)
                    .unbatchable(),
            )
        });
        for outcome in faults.into_iter().chain([response]) {
            let (head, body) = outcome.clone().into_wire();
            assert_eq!(Outcome::from_wire(head, body), Some(outcome));
        }
    }

    #[test]
    fn an_impossible_status_is_refused() {
        let head = wire::ResponseHead { status: 70_000, ..Default::default() };
        let head = wire::OutcomeHead { kind: Some(wire::outcome_head::Kind::Response(head)) };
        assert_eq!(Outcome::from_wire(head, Bytes::new()), None);
        assert_eq!(Outcome::from_wire(wire::OutcomeHead { kind: None }, Bytes::new()), None);
    }
}
