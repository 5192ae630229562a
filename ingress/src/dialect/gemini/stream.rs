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
use http::{HeaderMap, header};

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

/// Whether the caller must be given [`Events::padded`]: Google's clients for Node lose a stream of events that begins with
/// anything but `data: `, `@google/generative-ai` in all versions, `@google/genai` before 1.30 (their sources, and measured).
pub fn wants_padding(headers: &HeaderMap) -> bool {
    let line = |name: &str| headers.get(name).and_then(|line| line.to_str().ok()).unwrap_or_default();
    let agent = line(header::USER_AGENT.as_str());
    line("x-goog-api-client").starts_with("genai-js/")
        || agent.starts_with("google-genai-sdk/1.") && agent.contains("gl-node")
}

/// A stream in the making. Nothing of the answer is sent before it is there, so that there is little to remember: an array
/// that had begun could only end as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Events {
    form: Form,
    padded: bool,
    /// Whether the first event has begun.
    begun: bool,
}

impl Events {
    /// A stream of a form.
    pub fn new(form: Form) -> Self {
        Self { form, padded: false, begun: false }
    }

    /// A stream of a form whose [`no_op`](Self::no_op) is the beginning of the first event and then white space within it. All
    /// clients read that, but nothing else may be sent meanwhile: a line break would end the event.
    pub fn padded(form: Form) -> Self {
        Self { padded: form == Form::Sse, ..Self::new(form) }
    }

    /// Whether it is server-sent events or an array.
    pub fn form(&self) -> Form {
        self.form
    }

    /// For the wait: a line break, which is nothing between events and white space before an array, or what
    /// [`padded`](Self::padded) says. Google's own client for Python fails on a comment, and a chunk without candidates would
    /// reach the caller's code.
    pub fn no_op(&mut self) -> Bytes {
        Bytes::from_static(match (self.padded, std::mem::replace(&mut self.begun, self.padded)) {
            (false, _) => b"\n",
            (true, false) => b"data: ",
            (true, true) => b" ",
        })
    }

    /// The whole stream for a final answer of status 200. At most 32 times as long as the answer and 64 KiB more; for an
    /// answer that is mostly text it is about as long.
    ///
    /// # Errors
    /// [`Unstreamable`]; nothing was sent then, and [`fail`](Self::fail) can say so.
    pub fn finish(&self, body: &[u8]) -> Result<Bytes, Unstreamable> {
        let text = std::str::from_utf8(body).map_err(|_| Unstreamable::NoObject)?;
        let answer = Object::parse(text).ok_or(Unstreamable::NoObject)?;
        let mut out = Out::new(self.form, self.begun, body.len());
        chunks::write(&answer, &mut out);
        out.finish()
    }

    /// An error as the only chunk of the stream. Google's SDKs raise it from an event; who reads the array finds it as the
    /// element that Google's own arrays have for an error. `body` is the provider's or our own error answer; where it holds
    /// no error object, one is made that names the status.
    pub fn fail(&self, status: u16, body: &[u8]) -> Bytes {
        let mut out = Out::new(self.form, self.begun, body.len());
        fail::write(status, body, &mut out);
        out.into_bytes()
    }
}

#[cfg(test)]
mod tests;
