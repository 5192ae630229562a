//! Google's error object, so that SDKs raise their proper exceptions.

use bytes::Bytes;
use common::ids::Rid;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::dialect::Problem;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Who gives an [`ErrorInfo`](Detail::ErrorInfo)'s reason.
const DOMAIN: &str = "llm-proxy";

#[derive(Serialize)]
struct Envelope<'a> {
    error: Object<'a>,
}

/// Field order as Google writes it.
#[derive(Serialize)]
struct Object<'a> {
    code: u16,
    message: &'a str,
    status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<Detail>,
}

/// What Google adds for programs (`google/rpc/error_details.proto`).
#[derive(Serialize)]
#[serde(tag = "@type")]
enum Detail {
    #[serde(rename = "type.googleapis.com/google.rpc.ErrorInfo")]
    ErrorInfo { reason: String, domain: &'static str },
    #[serde(rename = "type.googleapis.com/google.rpc.RetryInfo", rename_all = "camelCase")]
    RetryInfo { retry_delay: String },
}

/// Status, headers and body of an error answer of ours. A problem's code is the `reason` of its details. Its `x-request-id`
/// begins with `llmp_`, so that nobody looks for it at the provider.
pub fn render(problem: &Problem) -> (StatusCode, HeaderMap, Bytes) {
    let object = Object {
        code: problem.status.as_u16(),
        message: &problem.message,
        status: name(problem.status.as_u16()),
        details: details(problem),
    };
    // Strings and numbers always serialise.
    let body = serde_json::to_vec(&Envelope { error: object }).unwrap_or_default();
    (problem.status, headers(problem), body.into())
}

fn details(problem: &Problem) -> Vec<Detail> {
    let info = |code: &String| Detail::ErrorInfo { reason: code.to_ascii_uppercase(), domain: DOMAIN };
    let retry = || Some(Detail::RetryInfo { retry_delay: format!("{}s", seconds(problem)?) });
    problem.code.as_ref().map(info).into_iter().chain(retry()).collect()
}

/// Whole seconds, rounded up: a caller that comes back early only waits again.
fn seconds(problem: &Problem) -> Option<u64> {
    let millis = problem.retry_after?.as_millis();
    Some(u64::try_from(millis.div_ceil(1000)).unwrap_or(u64::MAX))
}

fn headers(problem: &Problem) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(3);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=UTF-8"));
    if let Ok(id) = HeaderValue::try_from(format!("llmp_{}", Rid::random())) {
        headers.insert(X_REQUEST_ID, id);
    }
    if let Some(seconds) = seconds(problem) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    headers
}

/// The name that Google gives with an HTTP status (`google/rpc/code.proto`; where several share a status, the one that the
/// Gemini API's troubleshooting guide names), or with the nearest that it has.
pub(super) fn name(status: u16) -> &'static str {
    match status {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        408 | 504 => "DEADLINE_EXCEEDED",
        409 => "ABORTED",
        412 => "FAILED_PRECONDITION",
        429 => "RESOURCE_EXHAUSTED",
        499 => "CANCELLED",
        501 => "UNIMPLEMENTED",
        502 | 503 => "UNAVAILABLE",
        400..=499 => "INVALID_ARGUMENT",
        _ => "INTERNAL",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use common::outcome::{Fault, FaultClass};

    use super::*;

    #[test]
    fn a_fault_becomes_googles_error_object() {
        let fault = Fault::new(FaultClass::Busy, "too_many_held", "say \"later\"")
            .retry_after(Duration::from_millis(1500));
        let (status, headers, body) = render(&fault.into());
        assert_eq!(status, 429);
        assert_eq!(
            body,
            r#"{"error":{"code":429,"message":"say \"later\"","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"TOO_MANY_HELD","domain":"llm-proxy"},{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"2s"}]}}"#
        );
        assert_eq!(headers["content-type"], "application/json; charset=UTF-8");
        assert_eq!(headers["retry-after"], "2");
        assert!(headers["x-request-id"].to_str().unwrap().starts_with("llmp_"));
    }

    #[test]
    fn names_follow_the_status_and_absent_things_stay_absent() {
        for (status, name) in [
            (400, "INVALID_ARGUMENT"),
            (401, "UNAUTHENTICATED"),
            (403, "PERMISSION_DENIED"),
            (404, "NOT_FOUND"),
            (413, "INVALID_ARGUMENT"),
            (429, "RESOURCE_EXHAUSTED"),
            (500, "INTERNAL"),
            (502, "UNAVAILABLE"),
            (503, "UNAVAILABLE"),
            (504, "DEADLINE_EXCEEDED"),
        ] {
            let problem = Problem::new(StatusCode::from_u16(status).unwrap(), "m");
            let (_, headers, body) = render(&problem);
            assert_eq!(body, format!(r#"{{"error":{{"code":{status},"message":"m","status":"{name}"}}}}"#));
            assert!(!headers.contains_key("retry-after"));
        }
    }
}
