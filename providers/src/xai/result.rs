//! One result: `{"batch_request_id", "batch_result": {"response": {KIND: BODY} | "error": {"code", "message"}}}`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::openai::{http_status, text};
use crate::result::{LineError, LineOutcome, ResultLine};

/// Reads one result. A response has no status, it is a success; its body is the one member of an object that is named for the
/// endpoint.
pub(super) fn read(line: &[u8]) -> Result<ResultLine<'_>, LineError> {
    // serde would take an array for a struct whose fields come in order.
    if line.trim_ascii_start().first().is_some_and(|byte| *byte != b'{') {
        return Err(LineError::Malformed { problem: "not an object", column: 1 });
    }
    let raw: Raw<'_> = serde_json::from_slice(line).map_err(|error| LineError::from_json(&error, line))?;
    let custom_id = raw.batch_request_id.map(text).filter(|id| !id.is_empty()).ok_or(LineError::NoId)?;
    let result = raw.batch_result.unwrap_or_default();
    let body = result.response.unwrap_or_default().into_values().find(|body| body.get() != "null");
    let outcome = match body {
        Some(body) => LineOutcome::Response {
            status: 200,
            request_id: None,
            body: Cow::Borrowed(body.get().as_bytes()),
        },
        None => failure(result.error.unwrap_or_default()),
    };
    Ok(ResultLine { custom_id, outcome })
}

#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow, default)]
    batch_request_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    batch_result: Option<RawResult<'a>>,
}

#[derive(Deserialize, Default)]
struct RawResult<'a> {
    #[serde(borrow, default)]
    response: Option<BTreeMap<Cow<'a, str>, &'a RawValue>>,
    #[serde(borrow, default)]
    error: Option<RawError<'a>>,
}

#[derive(Deserialize, Default)]
struct RawError<'a> {
    #[serde(borrow, default)]
    code: Option<&'a RawValue>,
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
}

/// An error says no HTTP status. Its code is one, or gRPC's, or a word; what is none of these, or says that the request was not
/// executed, stays an error of the line. The others get a body in the form that callers of this dialect read.
fn failure<'a>(error: RawError<'a>) -> LineOutcome<'a> {
    let code = error.code.map(text).unwrap_or_default();
    let message = error.message.map(text).unwrap_or_default();
    match error.code.and_then(http_status).filter(|status| *status >= 400).or_else(|| of_grpc(&code)) {
        Some(status) => LineOutcome::Response {
            status,
            request_id: None,
            body: Cow::Owned(error_body(status, &code, &message)),
        },
        None => {
            let code = match code.to_ascii_lowercase().as_str() {
                "1" | "cancelled" | "canceled" => Cow::Borrowed("batch_cancelled"),
                "4" | "deadline_exceeded" => Cow::Borrowed("batch_expired"),
                _ => code,
            };
            LineOutcome::Error { status: None, code, message }
        }
    }
}

/// The HTTP status for a gRPC status, as google.rpc.Code maps them; none for those that say that a request was not executed.
fn of_grpc(code: &str) -> Option<u16> {
    let status = match code.to_ascii_lowercase().as_str() {
        "3" | "invalid_argument" | "9" | "failed_precondition" | "11" | "out_of_range" => 400,
        "16" | "unauthenticated" => 401,
        "7" | "permission_denied" => 403,
        "5" | "not_found" => 404,
        "6" | "already_exists" | "10" | "aborted" => 409,
        "8" | "resource_exhausted" => 429,
        "2" | "unknown" | "13" | "internal" | "15" | "data_loss" => 500,
        "12" | "unimplemented" => 501,
        "14" | "unavailable" => 503,
        _ => return None,
    };
    Some(status)
}

fn error_body(status: u16, code: &str, message: &str) -> Vec<u8> {
    let kind = match status {
        401 => "authentication_error",
        403 => "permission_error",
        429 => "rate_limit_error",
        500.. => "server_error",
        _ => "invalid_request_error",
    };
    json!({"error": {"message": message, "type": kind, "param": null, "code": code}}).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(result: &str) -> LineOutcome<'static> {
        let line = format!(r#"{{"batch_request_id":"c","batch_result":{result}}}"#);
        let line: &'static str = Box::leak(line.into_boxed_str());
        let line = read(line.as_bytes()).unwrap();
        assert_eq!(line.custom_id, "c");
        line.outcome
    }

    #[test]
    fn a_response_is_the_members_bytes() {
        let LineOutcome::Response { status, body, .. } = outcome(
            r#"{"response":{"chat_get_completion": {"n":9007199254740993,"a":1,"a":"\ud800"} },"error":null}"#,
        ) else {
            panic!("no response")
        };
        assert_eq!(status, 200);
        assert!(matches!(body, Cow::Borrowed(br#"{"n":9007199254740993,"a":1,"a":"\ud800"}"#)));
    }

    #[test]
    fn errors_get_a_status_and_a_body() {
        for (code, expected) in
            [("400", 400), ("\"429\"", 429), ("3", 400), ("8", 429), ("\"INTERNAL\"", 500)]
        {
            let LineOutcome::Response { status, body, .. } =
                outcome(&format!(r#"{{"error":{{"code":{code},"message":"why \"so\""}}}}"#))
            else {
                panic!("{code}")
            };
            assert_eq!(status, expected, "{code}");
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(body["error"]["message"], "why \"so\"");
        }
    }

    #[test]
    fn what_was_not_executed_stays_an_error() {
        for (result, expected) in [
            (r#"{"error":{"code":"batch_expired","message":"late"}}"#, "batch_expired"),
            (r#"{"error":{"code":1,"message":"late"}}"#, "batch_cancelled"),
            (r#"{"error":{"code":4,"message":"late"}}"#, "batch_expired"),
            (r#"{"error":{"code":"odd","message":"late"}}"#, "odd"),
            (r#"{"response":{"chat_get_completion":null},"error":{"code":"odd"}}"#, "odd"),
            ("null", ""),
            ("{}", ""),
        ] {
            let LineOutcome::Error { status: None, code, .. } = outcome(result) else { panic!("{result}") };
            assert_eq!(code, expected);
        }
    }

    #[test]
    fn what_is_no_result_is_refused() {
        assert_eq!(read(b"{}"), Err(LineError::NoId));
        assert_eq!(read(b"{\"batch_request_id\":\"c\",\"batch"), Err(LineError::Cut(30)));
        assert!(matches!(read(b"[\"c\",null]"), Err(LineError::Malformed { .. })));
    }
}
