//! Anthropic's error object, so that SDKs raise their proper exceptions.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode};
use serde::Serialize;

use crate::dialect::Problem;
use crate::dialect::answer::{headers, request_id};

const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

#[derive(Serialize)]
struct Envelope<'a> {
    r#type: &'static str,
    error: Object<'a>,
    request_id: &'a str,
}

/// Field order as Anthropic writes it.
#[derive(Serialize)]
struct Object<'a> {
    r#type: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details<'a>>,
}

/// What SDKs show as the error's code (SDK sources).
#[derive(Serialize)]
struct Details<'a> {
    error_code: &'a str,
}

/// Status, headers and body of an error answer of ours.
pub fn render(problem: &Problem) -> (StatusCode, HeaderMap, Bytes) {
    let id = request_id();
    let error = Object {
        r#type: kind(problem.status.as_u16()),
        message: &problem.message,
        details: problem.code.as_deref().map(|error_code| Details { error_code }),
    };
    // Strings always serialise.
    let body = serde_json::to_vec(&Envelope { r#type: "error", error, request_id: &id }).unwrap_or_default();
    (problem.status, headers(problem, REQUEST_ID, &id), body.into())
}

/// The `type` that Anthropic gives with a status (API documentation, "Errors").
pub(super) fn kind(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        409 => "conflict_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        529 => "overloaded_error",
        400..500 => "invalid_request_error",
        _ => "api_error",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use common::outcome::{Fault, FaultClass};

    use super::*;

    #[test]
    fn a_fault_becomes_anthropics_error_object() {
        let fault = Fault::new(FaultClass::Busy, "too_many_held", "say \"later\"")
            .retry_after(Duration::from_millis(1500))
            .no_retry();
        let (status, headers, body) = render(&fault.into());
        assert_eq!(status, 429);
        let id = headers["request-id"].to_str().unwrap();
        assert!(id.starts_with("llmp_"));
        let expected = format!(
            r#"{{"type":"error","error":{{"type":"rate_limit_error","message":"say \"later\"","details":{{"error_code":"too_many_held"}}}},"request_id":"{id}"}}"#
        );
        assert_eq!(body, expected);
        let lines = ["content-type", "retry-after", "retry-after-ms", "x-should-retry"];
        assert_eq!(lines.map(|name| &headers[name]), ["application/json", "2", "1500", "false"]);
    }

    #[test]
    fn types_follow_the_status_and_absent_things_stay_absent() {
        for (status, kind) in [
            (400, "invalid_request_error"),
            (401, "authentication_error"),
            (403, "permission_error"),
            (404, "not_found_error"),
            (405, "invalid_request_error"),
            (413, "request_too_large"),
            (500, "api_error"),
            (502, "api_error"),
            (503, "api_error"),
            (504, "timeout_error"),
        ] {
            let (_, headers, body) = render(&Problem::new(StatusCode::from_u16(status).unwrap(), "m"));
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(body["error"], serde_json::json!({"type": kind, "message": "m"}), "{status}");
            assert!(!headers.contains_key("retry-after") && !headers.contains_key("x-should-retry"));
        }
    }
}
