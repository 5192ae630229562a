//! Answers as callers read them: signs of life are counted, the text after them is kept.

use anyhow::{Context as _, Result, bail, ensure};

/// Bytes of an answer's text at most; the simulator's are well below 2 KB.
const MAX_TEXT: usize = 64 * 1024;
/// Bytes of a line of the head at most.
const MAX_LINE: usize = 16 * 1024;

/// The body of an answer.
#[derive(Debug, Default)]
pub(crate) struct Text {
    bytes: Vec<u8>,
}

impl Text {
    /// Takes the next bytes and returns how many signs of life are among them: new lines before the text.
    ///
    /// # Errors
    /// If it gets too long.
    pub(crate) fn add(&mut self, piece: &[u8]) -> Result<u64> {
        let waiting = self.bytes.is_empty();
        let signs = piece.iter().take_while(|byte| waiting && **byte == b'\n').count();
        self.bytes.extend_from_slice(&piece[signs..]);
        ensure!(self.bytes.len() <= MAX_TEXT, "the answer has no end");
        Ok(signs as u64)
    }

    /// Whether this is the simulator's answer to the call that said `marker`. It says the marker and nothing else.
    pub(crate) fn is_own(&self, marker: &str) -> bool {
        let text = format!(r#""{marker}""#);
        self.bytes.windows(text.len()).any(|window| window == text.as_bytes())
    }

    pub(crate) fn lossy(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// An answer of HTTP/1.1, read piece by piece: eighteen thousand of them must not take the memory and the CPU that are
/// measured beside them.
#[derive(Debug, Default)]
pub(crate) struct Http1 {
    pub(crate) text: Text,
    status: String,
    /// A line that has not come in whole.
    line: Vec<u8>,
    length: Option<usize>,
    chunked: bool,
    next: Next,
}

/// What the next bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Next {
    #[default]
    Status,
    Header,
    ChunkSize,
    /// So many bytes of the text.
    Data(usize),
    ChunkEnd,
    Trailer,
    Nothing,
}

impl Http1 {
    /// Takes the next bytes and returns how many signs of life are among them.
    ///
    /// # Errors
    /// If they are no answer.
    pub(crate) fn add(&mut self, mut piece: &[u8]) -> Result<u64> {
        let mut signs = 0;
        while !piece.is_empty() {
            if let Next::Data(left) = self.next {
                let (data, rest) = piece.split_at(left.min(piece.len()));
                signs += self.text.add(data)?;
                piece = rest;
                self.next = match left - data.len() {
                    0 if self.chunked => Next::ChunkEnd,
                    0 => Next::Nothing,
                    left => Next::Data(left),
                };
                continue;
            }
            ensure!(self.next != Next::Nothing, "bytes after the answer");
            let end = piece.iter().position(|byte| *byte == b'\n').map_or(piece.len(), |at| at + 1);
            self.line.extend_from_slice(&piece[..end]);
            ensure!(self.line.len() <= MAX_LINE, "a line without end");
            piece = &piece[end..];
            if self.line.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                self.next = self.after(std::str::from_utf8(&line)?.trim())?;
            }
        }
        Ok(signs)
    }

    /// What follows a line.
    fn after(&mut self, line: &str) -> Result<Next> {
        Ok(match self.next {
            Next::Status => {
                self.status = line.to_owned();
                Next::Header
            }
            Next::Header if line.is_empty() => match self.length {
                _ if self.chunked => Next::ChunkSize,
                Some(0) => Next::Nothing,
                Some(length) => Next::Data(length),
                None => bail!("an answer without a length"),
            },
            Next::Header => {
                let (name, value) = line.split_once(':').context("not a header line")?;
                match name.to_ascii_lowercase().as_str() {
                    "content-length" => self.length = Some(value.trim().parse()?),
                    "transfer-encoding" => self.chunked = value.trim() == "chunked",
                    _ => {}
                }
                Next::Header
            }
            Next::ChunkSize => match usize::from_str_radix(line, 16)? {
                0 => Next::Trailer,
                size => Next::Data(size),
            },
            Next::ChunkEnd => Next::ChunkSize,
            Next::Trailer if line.is_empty() => Next::Nothing,
            Next::Trailer => Next::Trailer,
            Next::Data(_) | Next::Nothing => bail!("a line where none belongs"),
        })
    }

    /// Whether the head is there.
    pub(crate) fn has_begun(&self) -> bool {
        !matches!(self.next, Next::Status | Next::Header)
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.next == Next::Nothing
    }

    pub(crate) fn is_ok(&self) -> bool {
        self.status.starts_with("HTTP/1.1 200 ")
    }

    /// For people.
    pub(crate) fn lossy(&self) -> String {
        format!("{}: {}", self.status, self.text.lossy())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_the_same_however_it_is_cut() {
        let begun = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n\n\r\n2\r\n\n\n\r\nb\r\n\n{\"a\":\"\nb\"}\r\n0\r\n\r\n";
        let whole = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{\"a\":1}";
        for (bytes, text, signs) in [(begun, "{\"a\":\"\nb\"}", 4), (whole, "{\"a\":1}", 0)] {
            for size in 1..=bytes.len() {
                let mut answer = Http1::default();
                let mut seen = 0;
                for piece in bytes.as_bytes().chunks(size) {
                    assert!(!answer.is_complete());
                    seen += answer.add(piece).unwrap();
                }
                assert!(answer.has_begun() && answer.is_complete() && answer.is_ok(), "{size}");
                assert_eq!((answer.text.lossy().as_str(), seen), (text, signs), "{size}");
            }
        }
    }

    #[test]
    fn only_the_own_marker_counts() {
        let mut text = Text::default();
        text.add(b"\n{\"content\":\"call-1\"}").unwrap();
        assert!(text.is_own("call-1") && !text.is_own("call-"));
    }
}
