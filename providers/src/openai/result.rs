//! One line of a batch's output or error file.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::result::{LineError, LineOutcome, ResultLine};

/// Reads one result line (with or without its newline) without copying its body.
///
/// # Errors
/// [`LineError`] if the line cannot be joined to a request or holds no readable outcome.
pub fn parse_result_line(line: &[u8]) -> Result<ResultLine<'_>, LineError> {
    // serde would take an array for a struct whose fields come in order.
    if line.trim_ascii_start().first().is_some_and(|byte| *byte != b'{') {
        return Err(LineError::Malformed { problem: "not an object", column: 1 });
    }
    let raw: RawLine<'_> = serde_json::from_slice(line).map_err(|e| LineError::from_json(&e, line))?;
    let custom_id = raw.custom_id.filter(|id| !id.0.is_empty()).ok_or(LineError::NoId)?.0;
    let outcome = match raw.response {
        Some(RawResponse { status_code, request_id, body: Some(body) }) => LineOutcome::Response {
            status: status_code.and_then(status).ok_or(LineError::BadStatus)?,
            request_id: request_id.map(text).filter(|id| !id.is_empty()),
            body: body.get().as_bytes().into(),
        },
        response => {
            let error = raw.error.map(RawError::from).unwrap_or_default();
            LineOutcome::Error {
                status: response.and_then(|response| response.status_code).and_then(status),
                code: error.code.map(text).unwrap_or_default(),
                message: error.message.map(text).unwrap_or_default(),
            }
        }
    };
    Ok(ResultLine { custom_id, outcome })
}

#[derive(Deserialize)]
struct RawLine<'a> {
    #[serde(borrow, default)]
    custom_id: Option<Text<'a>>,
    #[serde(borrow, default)]
    response: Option<RawResponse<'a>>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct RawResponse<'a> {
    #[serde(borrow, default)]
    status_code: Option<&'a RawValue>,
    #[serde(borrow, default)]
    request_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    body: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
struct RawError<'a> {
    #[serde(borrow, default)]
    code: Option<&'a RawValue>,
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
}

impl<'a> From<&'a RawValue> for RawError<'a> {
    /// An error that is no object is its own message.
    fn from(raw: &'a RawValue) -> Self {
        serde_json::from_str(raw.get()).unwrap_or(RawError { code: None, message: Some(raw) })
    }
}

/// A string that is borrowed if it holds no escape. (`Option<Cow<str>>` would always copy.)
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A string's text; for anything else, or a string that is no valid Unicode, the raw JSON.
pub(crate) fn text(raw: &RawValue) -> Cow<'_, str> {
    serde_json::from_str::<Text<'_>>(raw.get()).map_or(Cow::Borrowed(raw.get()), |text| text.0)
}

/// A status as a number, or as a number in a string.
pub(crate) fn status(raw: &RawValue) -> Option<u16> {
    let status: u16 = raw.get().trim_matches('"').parse().ok()?;
    (100..600).contains(&status).then_some(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(line: &str) -> LineOutcome<'_> {
        let line = parse_result_line(line.as_bytes()).unwrap();
        assert_eq!(line.custom_id, "c");
        line.outcome
    }

    #[test]
    fn a_success_is_borrowed_byte_for_byte() {
        let line = "{\"id\":\"batch_req_1\",\"custom_id\":\"c\",\"response\":{\"status_code\":200,\"request_id\":\"r\",\
                    \"body\": {\"n\":9007199254740993,\"a\":1,\"a\":\"\\ud800\u{2028}\"} },\"error\":null,\"new\":[]}\n";
        let LineOutcome::Response { status, request_id, body } = outcome(line) else { panic!("no response") };
        assert_eq!((status, request_id), (200, Some(Cow::Borrowed("r"))));
        assert_eq!(body, "{\"n\":9007199254740993,\"a\":1,\"a\":\"\\ud800\u{2028}\"}".as_bytes());
        assert!(matches!(body, Cow::Borrowed(_)) && line.as_bytes().as_ptr_range().contains(&body.as_ptr()));
    }

    #[test]
    fn an_http_error_of_a_line_is_a_response_although_error_is_null() {
        let line = r#"{"custom_id":"c","response":{"status_code":"429","request_id":"","body":{"error":{}}},"error":null}"#;
        assert_eq!(
            outcome(line),
            LineOutcome::Response { status: 429, request_id: None, body: b"{\"error\":{}}"[..].into() }
        );
    }

    #[test]
    fn lines_without_a_response_body_are_errors() {
        let error = |status, code, message| LineOutcome::Error {
            status,
            code: Cow::Borrowed(code),
            message: Cow::Borrowed(message),
        };
        let expired =
            r#"{"custom_id":"c","response":null,"error":{"code":"batch_expired","message":"too late"}}"#;
        assert_eq!(outcome(expired), error(None, "batch_expired", "too late"));
        let vllm = r#"{"custom_id":"c","response":{"status_code":400,"body":null},"error":{"code":7,"message":"bad"}}"#;
        assert_eq!(outcome(vllm), error(Some(400), "7", "bad"));
        assert_eq!(outcome(r#"{"custom_id":"c","error":{"code":null}}"#), error(None, "", ""));
        assert_eq!(outcome(r#"{"custom_id":"c","error":"killed"}"#), error(None, "", "killed"));
        assert_eq!(outcome(r#"{"custom_id":"c","response":null,"error":null}"#), error(None, "", ""));
    }

    #[test]
    fn what_cannot_be_joined_or_read_is_refused_without_quoting_it() {
        let line = br#"{"custom_id":"c","response":{"status_code":200,"body":{"secret":"#;
        assert_eq!(parse_result_line(line), Err(LineError::Cut(line.len())));
        assert_eq!(parse_result_line(b"{}"), Err(LineError::NoId));
        assert_eq!(parse_result_line(br#"{"custom_id":""}"#), Err(LineError::NoId));
        let bad_status = br#"{"custom_id":"c","response":{"status_code":99,"body":1}}"#;
        assert_eq!(parse_result_line(bad_status), Err(LineError::BadStatus));
        for line in
            [&br#"["secret"]"#[..], br#"{"custom_id":{"a":"secret"}}"#, b"secret", b"{\"a\":\"\xff\"}"]
        {
            let error = parse_result_line(line).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
