//! Where chunks are written: raw JSON, framed as the caller asked for, bounded.

use bytes::Bytes;

use super::Form;
use crate::dialect::gemini::json::Member;
use crate::dialect::openai::Unstreamable;

/// The output may grow to this many times the answer and [`SLACK`]. Text is written once; the rest is room for many small
/// parts, each of which is a chunk of its own.
const GROWTH: usize = 32;
/// Room for the frame of a small answer, in bytes.
const SLACK: usize = 64 * 1024;

/// Bytes of a stream in the making.
pub(super) struct Out {
    bytes: Vec<u8>,
    limit: usize,
    full: bool,
    form: Form,
    /// Whether the first event has begun already.
    begun: bool,
    chunks: usize,
}

impl Out {
    /// For the chunks of an answer of so many bytes, after `data: ` if the first event has `begun`.
    pub fn new(form: Form, begun: bool, answer: usize) -> Self {
        let limit = answer.saturating_mul(GROWTH).saturating_add(SLACK);
        let bytes = Vec::with_capacity(answer.saturating_mul(2).min(limit));
        Self { bytes, limit, full: false, form, begun, chunks: 0 }
    }

    /// One chunk: an object, whose members are written.
    pub fn chunk(&mut self, write: impl FnOnce(&mut Self)) {
        self.text(match (self.form, self.chunks) {
            (Form::Sse, 0) if self.begun => "{",
            (Form::Sse, _) => "data: {",
            (Form::Array, 0) => "[{",
            (Form::Array, _) => "\n,\r\n{",
        });
        write(self);
        self.text(match self.form {
            Form::Sse => "}\r\n\r\n",
            Form::Array => "}",
        });
        self.chunks += 1;
    }

    /// Text of ours.
    pub fn text(&mut self, text: &str) {
        if self.bytes.len().saturating_add(text.len()) > self.limit {
            self.full = true;
        } else {
            self.bytes.extend_from_slice(text.as_bytes());
        }
    }

    /// JSON of the provider's. A line break in it is white space between tokens, never within a string, and would end the
    /// event's line.
    pub fn raw(&mut self, json: &str) {
        let start = self.bytes.len();
        self.text(json);
        for byte in &mut self.bytes[start..] {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
    }

    /// Members joined by commas, each as it is written or as `write` does it, which tells whether it did.
    pub fn members<'a, 'b: 'a>(
        &mut self,
        members: impl IntoIterator<Item = &'a Member<'b>>,
        mut write: impl FnMut(&Member<'b>, &mut Self) -> bool,
    ) {
        for (at, member) in members.into_iter().enumerate() {
            if at > 0 {
                self.text(",");
            }
            self.raw(member.raw_key);
            self.text(":");
            if !write(member, self) {
                self.raw(member.value);
            }
        }
    }

    /// After an event: a comment that is not ended.
    pub fn comment(&mut self, text: &str) {
        if self.form == Form::Sse {
            self.text(": ");
            self.text(text);
        }
    }

    /// What was written.
    ///
    /// # Errors
    /// [`Unstreamable::TooLong`] if it was more than the limit.
    pub fn finish(self) -> Result<Bytes, Unstreamable> {
        if self.full { Err(Unstreamable::TooLong) } else { Ok(self.into_bytes()) }
    }

    /// What was written, complete or not; for what is short by construction.
    pub fn into_bytes(mut self) -> Bytes {
        if self.form == Form::Array {
            self.bytes.extend_from_slice(if self.chunks == 0 { b"[]\n" } else { b"\n]\n" });
        }
        self.bytes.into()
    }
}
