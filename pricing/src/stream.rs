//! Usage out of a stream of events.

use memchr::{memchr2, memmem};

use crate::answer::{Answer, Dialect, Reading};

/// Bytes of one event that are kept, at most. A longer one is passed over: of those with usage only the last event of OpenAI's
/// responses, which repeats the whole answer, can be long.
const LONGEST: usize = 1 << 20;

/// Reads the usage of an answer that comes as server-sent events, in whatever pieces.
///
/// The last usage counts: each of Gemini's chunks says what was used so far, Anthropic's last event brings its first up to
/// date, OpenAI has one, if it was asked for. At most a megabyte is kept, of one event.
#[derive(Debug)]
pub struct StreamUsage {
    reading: Reading,
    /// The data of the event that is being read, as far as its lines have ended, each with its end.
    data: Vec<u8>,
    /// The line that is being read.
    line: Vec<u8>,
    /// Whether the event is too long and so passed over.
    skipped: bool,
    /// Whether the line has begun; it is not kept of an event that is passed over.
    begun: bool,
    /// Whether the last byte was a carriage return, of which a newline may be a part.
    returned: bool,
}

impl StreamUsage {
    /// Before the first byte.
    pub fn new(dialect: Dialect) -> Self {
        let reading = Reading::new(dialect);
        Self { reading, data: Vec::new(), line: Vec::new(), skipped: false, begun: false, returned: false }
    }

    /// Takes in the next piece of the body.
    pub fn feed(&mut self, mut piece: &[u8]) {
        if !piece.is_empty() && std::mem::take(&mut self.returned) {
            piece = piece.strip_prefix(b"\n").unwrap_or(piece);
        }
        while let Some(end) = memchr2(b'\r', b'\n', piece) {
            let (line, rest) = piece.split_at(end);
            self.push(line);
            self.end_line();
            piece = match rest {
                [b'\r', b'\n', rest @ ..] => rest,
                [b'\r'] => {
                    self.returned = true;
                    &[]
                }
                [_, rest @ ..] => rest,
                [] => &[],
            };
        }
        self.push(piece);
    }

    /// What the stream said, which the caller has seen to its proper end: of one that broke off the usage is not known.
    pub fn finish(mut self) -> Option<Answer> {
        self.end_line();
        self.end_event();
        self.reading.answer()
    }

    fn push(&mut self, part: &[u8]) {
        self.begun |= !part.is_empty();
        if self.skipped || self.data.len() + self.line.len() + part.len() > LONGEST {
            self.skipped = true;
            self.line = Vec::new();
            self.data = Vec::new();
        } else {
            self.line.extend_from_slice(part);
        }
    }

    fn end_line(&mut self) {
        if !std::mem::take(&mut self.begun) {
            return self.end_event();
        }
        if let Some(data) = self.line.strip_prefix(b"data:") {
            self.data.extend_from_slice(data);
            self.data.push(b'\n');
        }
        self.line.clear();
    }

    fn end_event(&mut self) {
        // Most events are pieces of the text.
        if !self.skipped && memmem::find(&self.data, b"usage").is_some() {
            self.reading.event(&self.data);
        }
        self.skipped = false;
        self.data.clear();
    }
}
