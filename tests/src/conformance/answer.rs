//! What an answer says, in each dialect.

use anyhow::{Context as _, Result, bail};
use providers::Dialect;
use serde_json::Value;

use super::subject::Subject;

/// What a caller got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Got {
    /// The answer to its own request.
    Own,
    /// The dialect's error object.
    Error {
        /// The answer's status.
        status: u16,
        /// Its code, in lower case; empty if there is none.
        code: String,
        /// Its message.
        message: String,
    },
}

/// Reads an answer to the call of a marker.
///
/// # Errors
/// It is neither the dialect's error object nor the answer to this call.
pub(super) fn read(subject: &Subject, status: u16, body: &[u8], marker: &str) -> Result<Got> {
    let answer: Value = serde_json::from_slice(body)
        .with_context(|| format!("{status} {}", String::from_utf8_lossy(body)))?;
    if status != 200 {
        let (code, message) = error(subject.dialect()?, status, &answer)
            .with_context(|| format!("no error of the dialect: {status} {answer}"))?;
        return Ok(Got::Error { status, code, message });
    }
    match answer.pointer(subject.text).and_then(Value::as_str) {
        Some(text) if text == marker => Ok(Got::Own),
        _ => bail!("the answer to {marker} is {answer}"),
    }
}

/// Code and message of an error object that is as the dialect's SDKs expect it.
fn error(dialect: Dialect, status: u16, answer: &Value) -> Option<(String, String)> {
    let error = match &answer["error"] {
        // Forms of APIs made after OpenAI's, which its SDKs raise as well: a text, a list of details, or the members alone.
        Value::String(text) if dialect == Dialect::OpenAi => return Some((String::new(), text.clone())),
        Value::Null if answer["detail"].is_array() => {
            return Some((String::new(), answer["detail"].to_string()));
        }
        Value::Null if dialect == Dialect::OpenAi => answer,
        error => error,
    };
    let message = error["message"].as_str()?.to_owned();
    let code = match dialect {
        Dialect::OpenAi => &error["code"],
        Dialect::Anthropic => {
            let typed = answer["type"] == "error" && error["type"] == kind(status);
            typed.then_some(&error["details"]["error_code"])?
        }
        Dialect::Gemini => {
            let numbered = error["code"] == status && error["status"].is_string();
            numbered.then_some(&error["details"][0]["reason"])?
        }
    };
    Some((code.as_str().unwrap_or_default().to_lowercase(), message))
}

/// The `type` that Anthropic documents for the statuses of the cases.
fn kind(status: u16) -> &'static str {
    match status {
        400 => "invalid_request_error",
        403 => "permission_error",
        429 => "rate_limit_error",
        504 => "timeout_error",
        _ => "api_error",
    }
}
