//! Errors as chunks. Google's client for Python raises one whose object begins with `error`, the one for Node also wants a
//! `code` that is an HTTP status of an error (their sources, and measured). Their older versions take the chunk for an answer without candidates; but they fail on what is
//! left when the stream ends, even if it is a comment, which other readers pass over.

use super::out::Out;
use crate::dialect::gemini::error::name;
use crate::dialect::gemini::json::{self, Object, text};

pub(super) fn write(status: u16, body: &[u8], out: &mut Out) {
    let body = std::str::from_utf8(body).unwrap_or_default();
    // Google wraps the error of a stream that is an array into an array.
    let answer = json::array(body).and_then(|all| all.first().copied()).unwrap_or(body);
    let answer = Object::parse(answer).unwrap_or_default();
    let error = answer.get("error").and_then(Object::parse).unwrap_or_default();
    let status = if is_error(status) { status } else { 500 };
    let code = error.get("code").and_then(|code| code.parse().ok()).filter(|&code| is_error(code));
    let code = code.unwrap_or(status);
    out.chunk(|out| {
        out.text("\"error\":{\"code\":");
        out.text(&code.to_string());
        out.text(",\"message\":");
        match [error.get("message"), answer.get("error"), answer.get("message")].into_iter().find_map(string)
        {
            Some(message) => out.raw(message),
            None => out.text(&format!("\"The provider answered with status {status} and no error object.\"")),
        }
        out.text(",\"status\":");
        match error.get("status").and_then(|status| string(Some(status))) {
            Some(status) => out.raw(status),
            None => out.text(&format!("\"{}\"", name(code))),
        }
        if let Some(details) = error.get("details") {
            out.text(",\"details\":");
            out.raw(details);
        }
        out.text("}");
    });
    out.comment("the stream ended with an error");
}

/// The value if it is a string that says something.
fn string(raw: Option<&str>) -> Option<&str> {
    raw.filter(|raw| text(raw).is_some_and(|text| !text.is_empty()))
}

fn is_error(status: u16) -> bool {
    (400..600).contains(&status)
}
