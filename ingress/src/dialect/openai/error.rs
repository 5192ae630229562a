//! OpenAI's error object, so that SDKs raise their proper exceptions.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode};
use serde::Serialize;

use crate::dialect::Problem;
use crate::dialect::answer::{headers, request_id};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

#[derive(Serialize)]
struct Envelope<'a> {
    error: Object<'a>,
}

/// Field order as OpenAI writes it.
#[derive(Serialize)]
struct Object<'a> {
    message: &'a str,
    r#type: &'static str,
    param: Option<&'a str>,
    code: Option<&'a str>,
}

/// Status, headers and body of an error answer of ours.
pub fn render(problem: &Problem) -> (StatusCode, HeaderMap, Bytes) {
    let object = Object {
        message: &problem.message,
        r#type: kind(problem.status),
        param: None,
        code: problem.code.as_deref(),
    };
    // Strings and nulls always serialise.
    let body = serde_json::to_vec(&Envelope { error: object }).unwrap_or_default();
    (problem.status, headers(problem, X_REQUEST_ID, &request_id()), body.into())
}

/// The `type` that OpenAI gives with a status. A missing or wrong key is an `invalid_request_error` there too.
fn kind(status: StatusCode) -> &'static str {
    match status {
        StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
        status if status.is_server_error() => "server_error",
        _ => "invalid_request_error",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use common::outcome::{Fault, FaultClass};

    use super::*;

    #[test]
    fn a_fault_becomes_openais_error_object() {
        let fault = Fault::new(FaultClass::Busy, "too_many_held", "say \"later\"")
            .retry_after(Duration::from_millis(1500))
            .no_retry();
        let (status, headers, body) = render(&fault.into());
        assert_eq!(status, 429);
        assert_eq!(
            body,
            r#"{"error":{"message":"say \"later\"","type":"rate_limit_error","param":null,"code":"too_many_held"}}"#
        );
        assert_eq!(headers["content-type"], "application/json");
        assert_eq!(headers["retry-after"], "2");
        assert_eq!(headers["x-should-retry"], "false");
        assert!(headers["x-request-id"].to_str().unwrap().starts_with("llmp_"));
    }

    #[test]
    fn types_follow_the_status_and_absent_things_stay_absent() {
        for (status, r#type) in [
            (400, "invalid_request_error"),
            (401, "invalid_request_error"),
            (413, "invalid_request_error"),
            (503, "server_error"),
            (504, "server_error"),
        ] {
            let (_, headers, body) = render(&Problem::new(StatusCode::from_u16(status).unwrap(), "m"));
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(body["error"]["type"], r#type);
            assert!(body["error"]["code"].is_null());
            assert!(!headers.contains_key("retry-after") && !headers.contains_key("x-should-retry"));
        }
    }
}
