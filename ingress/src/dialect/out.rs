//! Where events are written: lines of raw JSON, bounded.

use std::fmt::Display;
use std::io::Write as _;

use bytes::Bytes;

use crate::dialect::Unstreamable;
use crate::dialect::json::{Member, quoted};

/// The output may grow to this many times the answer and [`SLACK`]. Text is repeated five times in the Responses
/// API's own sequence; the rest is room for many small parts, each of which needs events of its own.
const GROWTH: usize = 32;
/// Room for the frame of a small answer, in bytes.
const SLACK: usize = 64 * 1024;

/// Bytes of a stream in the making.
pub(crate) struct Out {
    bytes: Vec<u8>,
    limit: usize,
    full: bool,
}

impl Out {
    /// For the events of an answer of so many bytes.
    pub fn new(answer: usize) -> Self {
        let limit = answer.saturating_mul(GROWTH).saturating_add(SLACK);
        Self { bytes: Vec::with_capacity(answer.saturating_mul(2).min(limit)), limit, full: false }
    }

    /// Text of ours.
    pub fn text(&mut self, text: &str) {
        if self.bytes.len().saturating_add(text.len()) > self.limit {
            self.full = true;
        } else {
            self.bytes.extend_from_slice(text.as_bytes());
        }
    }

    /// A number or an id.
    pub fn display(&mut self, value: impl Display) {
        // Writing to memory does not fail; a few digits may pass the limit.
        let _ = write!(self.bytes, "{value}");
    }

    /// JSON of the provider's. A line break in it is white space between tokens, never within a string, and would
    /// end the event's line.
    pub fn raw(&mut self, json: &str) {
        let start = self.bytes.len();
        self.text(json);
        for byte in &mut self.bytes[start..] {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
    }

    /// A text as a JSON string.
    pub fn quoted(&mut self, text: &str) {
        self.text(&quoted(text));
    }

    /// Members joined by commas, each as it is written.
    pub fn members<'a, 'b: 'a>(&mut self, members: impl IntoIterator<Item = &'a Member<'b>>) {
        for (at, member) in members.into_iter().enumerate() {
            if at > 0 {
                self.text(",");
            }
            self.raw(member.raw_key);
            self.text(":");
            self.raw(member.value);
        }
    }

    /// Members with a comma before each, some with another value.
    pub fn members_but<'a, 'b: 'a>(
        &mut self,
        members: impl IntoIterator<Item = &'a Member<'b>>,
        replace: impl Fn(&Member<'b>) -> Option<&'static str>,
    ) {
        for member in members {
            self.text(",");
            self.raw(member.raw_key);
            self.text(":");
            match replace(member) {
                Some(value) => self.text(value),
                None => self.raw(member.value),
            }
        }
    }

    /// What was written.
    ///
    /// # Errors
    /// [`Unstreamable::TooLong`] if it was more than the limit.
    pub fn finish(self) -> Result<Bytes, Unstreamable> {
        if self.full { Err(Unstreamable::TooLong) } else { Ok(self.bytes.into()) }
    }

    /// What was written, complete or not; for what is short by construction.
    pub fn into_bytes(self) -> Bytes {
        self.bytes.into()
    }
}
