//! Streams in Google's form for answers that came in one piece: from the raw bytes of a final `GenerateContentResponse` to
//! the chunks that `streamGenerateContent` would have sent, each a response of the same shape.
//!
//! Values of the answer are copied as they are written, never decoded and encoded again. The shapes are those of the Gemini
//! API reference, checked against Google's SDKs for Python and Node.

mod chunks;
mod fail;
mod out;
mod pieces;

use bytes::Bytes;

use super::json::Object;
use crate::dialect::openai::Unstreamable;
use out::Out;

/// How a stream is written, which the caller chooses with `alt`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Server-sent events: `alt=sse`, which Google's SDKs always ask for.
    Sse,
    /// One JSON array of chunks, where `alt` says nothing.
    Array,
}

impl Form {
    /// The stream's media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Sse => "text/event-stream",
            Self::Array => "application/json; charset=UTF-8",
        }
    }
}

/// A stream in the making. Nothing of it is sent before the answer is there, so that it has no state: an array that had
/// begun could only end as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Events {
    form: Form,
}

impl Events {
    /// A stream of a form.
    pub fn new(form: Form) -> Self {
        Self { form }
    }

    /// Whether it is server-sent events or an array.
    pub fn form(&self) -> Form {
        self.form
    }

    /// A line break, for the wait: nothing between events, and white space before an array. Google's own client for Python
    /// fails on a comment, and a chunk without candidates would reach the caller's code.
    pub fn no_op(&mut self) -> Bytes {
        Bytes::from_static(b"\n")
    }

    /// The whole stream for a final answer of status 200. At most 32 times as long as the answer and 64 KiB more; for an
    /// answer that is mostly text it is about as long.
    ///
    /// # Errors
    /// [`Unstreamable`]; nothing was sent then, and [`fail`](Self::fail) can say so.
    pub fn finish(&self, body: &[u8]) -> Result<Bytes, Unstreamable> {
        let text = std::str::from_utf8(body).map_err(|_| Unstreamable::NoObject)?;
        let answer = Object::parse(text).ok_or(Unstreamable::NoObject)?;
        let mut out = Out::new(self.form, body.len());
        chunks::write(&answer, &mut out);
        out.finish()
    }

    /// An error as the only chunk of the stream. Google's SDKs raise it from an event; who reads the array finds it as the
    /// element that Google's own arrays have for an error. `body` is the provider's or our own error answer; where it holds
    /// no error object, one is made that names the status.
    pub fn fail(&self, status: u16, body: &[u8]) -> Bytes {
        let mut out = Out::new(self.form, body.len());
        fail::write(status, body, &mut out);
        out.into_bytes()
    }
}

#[cfg(test)]
mod tests;
