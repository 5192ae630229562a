//! Errors as events. An SDK that does not find `event: error` passes over what it reads.

use bytes::Bytes;

use super::member;
use crate::dialect::anthropic::error::kind;
use crate::dialect::json::{Object, quoted};
use crate::dialect::out::Out;

/// An error object, and the request's id with its quotes.
fn read(status: u16, body: &[u8]) -> (String, Option<String>) {
    let body = std::str::from_utf8(body).ok().and_then(Object::parse).unwrap_or_default();
    let id = body.string("request_id").map(str::to_owned);
    let nested = body.get("error").and_then(|error| Some((error, Object::parse(error)?)));
    let object = match nested {
        // SDKs choose the exception by the type and show the message.
        Some((raw, error)) if error.string("type").is_some() && error.string("message").is_some() => {
            raw.to_owned()
        }
        nested => {
            let inner = nested.as_ref().and_then(|(_, error)| error.string("message"));
            made(status, inner.or(body.string("error")).or(body.string("message")))
        }
    };
    (object, id)
}

/// The last event of a stream that failed.
pub(super) fn event(status: u16, body: &[u8], mut out: Out) -> Bytes {
    let (object, id) = read(status, body);
    super::event("error", &mut out, |out| {
        member("error", &object, out);
        if let Some(id) = id {
            member("request_id", &id, out);
        }
    });
    out.into_bytes()
}

/// An error object of ours.
fn made(status: u16, message: Option<&str>) -> String {
    let unknown = || quoted(&format!("The provider answered with status {status} and no error object."));
    let message = message.map_or_else(unknown, str::to_owned);
    format!("{{\"type\":\"{}\",\"message\":{message}}}", kind(status))
}
