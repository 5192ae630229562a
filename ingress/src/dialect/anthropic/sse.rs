//! Streams in Anthropic's form for messages that came in one piece: from the raw bytes of a final message to the
//! server-sent events that the provider would have sent for it.
//!
//! Values of the message are copied as they are written, never decoded and encoded again; the input of a tool, which a stream
//! has as a text, is put in quotes. The shapes of the events are those of Anthropic's API documentation, "Streaming messages",
//! checked against the types and accumulators of its SDK for Python.

mod blocks;
mod fail;
mod message;

use bytes::Bytes;

use crate::dialect::Unstreamable;
use crate::dialect::json::Object;
use crate::dialect::out::Out;

/// A stream in the making. Nothing but pings is sent before the answer is there, so that it has no state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Events;

impl Events {
    /// An event that every client passes over, for the wait.
    pub fn no_op() -> Bytes {
        Bytes::from_static(PING.as_bytes())
    }

    /// The provider's own events for its final message of status 200, the last one included. At most 32 times as long as the
    /// message and 64 KiB more; for one that is mostly text it is about as long.
    ///
    /// # Errors
    /// [`Unstreamable`]; nothing was sent then, and [`fail`](Self::fail) can say so.
    pub fn finish(body: &[u8]) -> Result<Bytes, Unstreamable> {
        let text = std::str::from_utf8(body).map_err(|_| Unstreamable::NoObject)?;
        let message = Object::parse(text).ok_or(Unstreamable::NoObject)?;
        message::write(&message, Out::new(body.len()))
    }

    /// An error as an event that SDKs raise, and the end of the stream. `body` is the provider's or our own error answer;
    /// where it holds no error object, one is made that names the status.
    pub fn fail(status: u16, body: &[u8]) -> Bytes {
        fail::event(status, body, Out::new(body.len()))
    }
}

const PING: &str = "event: ping\ndata: {\"type\": \"ping\"}\n\n";

/// One event: its type twice, and what is written, which begins with a comma if it is anything.
fn event(name: &str, out: &mut Out, write: impl FnOnce(&mut Out)) {
    for text in ["event: ", name, "\ndata: {\"type\":\"", name, "\""] {
        out.text(text);
    }
    write(out);
    out.text("}\n\n");
}

/// A member of ours after others.
fn member(key: &str, raw: &str, out: &mut Out) {
    for text in [",\"", key, "\":"] {
        out.text(text);
    }
    out.raw(raw);
}

#[cfg(test)]
mod tests;
