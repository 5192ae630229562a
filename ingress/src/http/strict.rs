//! Refuses what two readers of HTTP/1 could take for different messages.
//!
//! A load balancer that sends the calls of many clients over one connection, and a server behind it, must agree on where
//! each message ends, or one client's bytes become another's request. The HTTP library accepts some messages that readers
//! disagree on: both length lines, several of one kind, codings before `chunked`, lines that end without a CR. Here they
//! are made unreadable on their way to it, so that it answers 400 and closes. What passes has one meaning only.

use memchr::memchr;

/// Bytes of a line that are looked at. Lines that matter fit in; a longer one of their names is refused.
const KEPT: usize = 128;
/// The longest line before a chunk: its size, and extensions, which nobody uses.
const MAX_CHUNK_LINE: usize = KEPT;
/// Digits of a chunk's size: below 2^60.
const MAX_CHUNK_DIGITS: usize = 15;

/// Follows one connection of HTTP/1 from its first byte.
#[derive(Debug, Default)]
pub(super) struct Strict {
    place: Place,
    /// The beginning of the line that is being read.
    line: Vec<u8>,
    /// How long it is so far.
    length: usize,
    /// Whether the last byte was a CR.
    cr: bool,
    head: Head,
}

/// What the next byte belongs to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The first line of a request, or empty lines before it.
    #[default]
    First,
    /// The lines after it.
    Field,
    /// A body, for so many bytes.
    Body(u64),
    /// The line before a chunk.
    ChunkLine,
    /// A chunk.
    Chunk(u64),
    /// The line end after a chunk.
    ChunkEnd,
    /// Lines after the last chunk.
    Trailer,
    /// It is no HTTP/1 any more.
    Free,
    /// Something was refused.
    Refused,
}

/// What a head says about its message.
#[derive(Debug, Default, Clone, Copy)]
struct Head {
    length: Option<u64>,
    chunked: bool,
    host: bool,
    upgrade: bool,
}

/// A line that could be understood in two ways.
struct Ambiguous;

impl Strict {
    /// The connection speaks something else: nothing is looked at any more.
    pub(super) fn free(&mut self) {
        *self = Self { place: Place::Free, ..Self::default() };
    }

    /// Whether there is nothing more to read.
    pub(super) fn has_refused(&self) -> bool {
        self.place == Place::Refused
    }

    /// Looks at the next bytes of the connection. From the first that is refused on they become zeros, which end no line.
    pub(super) fn pass(&mut self, bytes: &mut [u8]) {
        let mut at = 0;
        while at < bytes.len() {
            match self.place {
                Place::Free => return,
                Place::Refused => return bytes[at..].fill(0),
                Place::Body(left) | Place::Chunk(left) => {
                    // No more than the slice has.
                    let skipped = left.min((bytes.len() - at) as u64);
                    at += skipped as usize;
                    self.skip(left - skipped);
                }
                _ => match self.line(&bytes[at..]) {
                    Ok(taken) => at += taken,
                    Err(taken) => {
                        at += taken;
                        self.place = Place::Refused;
                    }
                },
            }
        }
    }

    fn skip(&mut self, left: u64) {
        self.place = match self.place {
            Place::Chunk(_) if left == 0 => Place::ChunkEnd,
            Place::Chunk(_) => Place::Chunk(left),
            _ if left == 0 => Place::First,
            _ => Place::Body(left),
        };
    }

    /// Takes bytes up to the end of the line, if it is there. How many there are before one that is refused is the error.
    fn line(&mut self, bytes: &[u8]) -> Result<usize, usize> {
        let end = memchr(b'\n', bytes);
        for (at, byte) in bytes[..end.unwrap_or(bytes.len())].iter().enumerate() {
            self.byte(*byte).map_err(|Ambiguous| at)?;
        }
        let Some(end) = end else { return Ok(bytes.len()) };
        if !std::mem::take(&mut self.cr) {
            return Err(end);
        }
        self.place = self.after_line().map_err(|Ambiguous| end)?;
        self.length = 0;
        self.line.clear();
        if !matches!(self.place, Place::Field | Place::Trailer) {
            // A connection may wait for hours now.
            self.line = Vec::new();
        }
        Ok(end + 1)
    }

    /// A byte within a line.
    fn byte(&mut self, byte: u8) -> Result<(), Ambiguous> {
        if self.cr || (self.place == Place::ChunkLine && self.length == MAX_CHUNK_LINE) {
            return Err(Ambiguous);
        }
        self.cr = byte == b'\r';
        if !self.cr {
            self.length += 1;
            if self.line.len() < KEPT {
                self.line.push(byte);
            }
        }
        Ok(())
    }

    fn after_line(&mut self) -> Result<Place, Ambiguous> {
        Ok(match self.place {
            Place::First if self.length == 0 => Place::First,
            Place::First => Place::Field,
            Place::Field if self.length == 0 => std::mem::take(&mut self.head).body(),
            Place::Field => {
                self.head.field(&self.line, self.length)?;
                Place::Field
            }
            Place::ChunkLine => match chunk_size(&self.line)? {
                0 => Place::Trailer,
                size => Place::Chunk(size),
            },
            Place::ChunkEnd if self.length > 0 => return Err(Ambiguous),
            Place::ChunkEnd => Place::ChunkLine,
            Place::Trailer if self.length == 0 => Place::First,
            place => place,
        })
    }
}

impl Head {
    fn field(&mut self, line: &[u8], length: usize) -> Result<(), Ambiguous> {
        let colon = memchr(b':', line).ok_or(Ambiguous).or_else(|error| {
            // A long name, which is none of these.
            if length > KEPT { Ok(line.len()) } else { Err(error) }
        })?;
        let value = line.get(colon + 1..).unwrap_or_default().trim_ascii();
        let is = |name: &str| line[..colon].eq_ignore_ascii_case(name.as_bytes());
        let once = |before: bool| if before || length > KEPT { Err(Ambiguous) } else { Ok(()) };
        if is("content-length") {
            once(self.length.is_some() || self.chunked)?;
            self.length = Some(decimal(value)?);
        } else if is("transfer-encoding") {
            once(self.length.is_some() || self.chunked)?;
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Ambiguous);
            }
            self.chunked = true;
        } else if is("host") {
            if std::mem::replace(&mut self.host, true) {
                return Err(Ambiguous);
            }
        } else if is("upgrade") {
            self.upgrade |= may_switch(value);
        }
        Ok(())
    }

    /// What follows the head.
    fn body(self) -> Place {
        match self {
            Self { upgrade: true, .. } => Place::Free,
            Self { chunked: true, .. } => Place::ChunkLine,
            Self { length: Some(length @ 1..), .. } => Place::Body(length),
            _ => Place::First,
        }
    }
}

/// Whether a connection may become another protocol's when a request asks for this one. `h2c` is never agreed to, and clients
/// ask for it with ordinary requests.
pub(super) fn may_switch(protocol: &[u8]) -> bool {
    !protocol.trim_ascii().eq_ignore_ascii_case(b"h2c")
}

fn decimal(digits: &[u8]) -> Result<u64, Ambiguous> {
    let number =
        std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    number.and_then(|text| text.parse().ok()).ok_or(Ambiguous)
}

/// The size before a chunk. The whole line is there, since it is no longer than what is kept.
fn chunk_size(line: &[u8]) -> Result<u64, Ambiguous> {
    if line.iter().any(u8::is_ascii_control) {
        return Err(Ambiguous);
    }
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let rest = line[digits..].trim_ascii_start();
    if !(1..=MAX_CHUNK_DIGITS).contains(&digits) || !(rest.is_empty() || rest.starts_with(b";")) {
        return Err(Ambiguous);
    }
    let text = std::str::from_utf8(&line[..digits]).map_err(|_| Ambiguous)?;
    u64::from_str_radix(text, 16).map_err(|_| Ambiguous)
}

#[cfg(test)]
mod tests;
