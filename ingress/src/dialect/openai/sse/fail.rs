//! Errors as events. What each SDK raises for which shape was measured against OpenAI's, LangChain's and Vercel's.

use bytes::Bytes;

use super::chunks::DONE;
use crate::dialect::json::{Object, quoted};
use crate::dialect::out::Out;

/// For chat completions and completions: a chunk that is an error object, and the end.
pub(super) fn chunk(status: u16, body: &[u8], mut out: Out) -> Bytes {
    let error = Error::of(status, body);
    out.text("data: {\"error\":");
    out.raw(&error.object);
    out.text("}\n\n");
    out.text(DONE);
    out.into_bytes()
}

/// For responses (API reference, the `error` event). The members that the reference names stand beside the nested
/// object that the Python and Node clients look for.
pub(super) fn event(status: u16, body: &[u8], sequence: u32, mut out: Out) -> Bytes {
    let error = Error::of(status, body);
    out.text("event: error\ndata: {\"type\":\"error\",\"sequence_number\":");
    out.display(sequence);
    for (key, value) in [("code", &error.code), ("message", &error.message), ("param", &error.param)] {
        out.text(",\"");
        out.text(key);
        out.text("\":");
        out.raw(value);
    }
    out.text(",\"error\":");
    out.raw(&error.object);
    out.text("}\n\n");
    out.into_bytes()
}

/// An error object as it is written, and its parts; strings with their quotes, or `null`.
struct Error {
    object: String,
    code: String,
    message: String,
    param: String,
}

impl Error {
    fn of(status: u16, body: &[u8]) -> Self {
        let body = std::str::from_utf8(body).ok().and_then(Object::parse).unwrap_or_default();
        let nested = body.get("error").and_then(|error| Some((error, Object::parse(error)?)));
        match nested {
            // SDKs show the message, so that an object without one would raise an error that says nothing.
            Some((raw, error)) if error.string("message").is_some() => {
                let part = |key| error.string(key).unwrap_or("null").to_owned();
                Self {
                    object: raw.to_owned(),
                    code: part("code"),
                    message: part("message"),
                    param: part("param"),
                }
            }
            // Some compatible providers put the text in one of these places.
            _ => {
                Self::made(status, body.string("error").or(body.string("message")).or(body.string("detail")))
            }
        }
    }

    /// An error object of ours.
    fn made(status: u16, message: Option<&str>) -> Self {
        let unknown = || quoted(&format!("The provider answered with status {status} and no error object."));
        let message = message.map_or_else(unknown, str::to_owned);
        let kind = match status {
            429 => "rate_limit_error",
            400..500 => "invalid_request_error",
            _ => "server_error",
        };
        let object = format!("{{\"message\":{message},\"type\":\"{kind}\",\"param\":null,\"code\":null}}");
        Self { object, code: "null".to_owned(), message, param: "null".to_owned() }
    }
}
