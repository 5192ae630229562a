//! Cuts a downloaded file into its lines, whatever the chunks it arrives in.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;

/// The longest line that is accepted, in bytes: well above the largest answer (images in base64), and still a bound on
/// what one broken file can make us hold.
pub const MAX_LINE: usize = 512 << 20;

/// A file holds a line longer than the bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line at byte {offset} is longer than {limit} bytes")]
pub struct LineTooLong {
    /// Where the line begins in the file.
    pub offset: u64,
    /// The bound in bytes.
    pub limit: usize,
}

/// Splits on `\n` and nothing else: U+2028 and a lone `\r` may stand inside an answer.
///
/// Give it a chunk with [`push`](Self::push), then take lines until there are none. A line that lies within one chunk is a
/// slice of it; one that spans chunks is copied together. Holds at most one chunk and one unfinished line.
#[derive(Debug)]
pub struct LineSplitter {
    chunk: Bytes,
    /// The beginning of a line whose end is not in any chunk so far; never holds a newline.
    partial: BytesMut,
    /// The offset in the file of the first byte not yet yielded in a line.
    offset: u64,
    limit: usize,
}

impl Default for LineSplitter {
    fn default() -> Self {
        Self::with_limit(MAX_LINE)
    }
}

impl LineSplitter {
    /// A splitter at the beginning of a file, accepting lines up to `limit` bytes, newline not counted.
    pub fn with_limit(limit: usize) -> Self {
        Self { chunk: Bytes::new(), partial: BytesMut::new(), offset: 0, limit }
    }

    /// Takes the next bytes of the file. All lines of the chunk before should have been taken; if not, the two are joined.
    pub fn push(&mut self, chunk: Bytes) {
        if self.chunk.is_empty() {
            self.chunk = chunk;
        } else {
            self.chunk = [&self.chunk[..], &chunk[..]].concat().into();
        }
    }

    /// The next complete line without its newline, or `None` if more bytes are needed. Empty lines are yielded too.
    ///
    /// # Errors
    /// [`LineTooLong`], and again on every further call.
    pub fn next_line(&mut self) -> Result<Option<Bytes>, LineTooLong> {
        let Some(end) = memchr(b'\n', &self.chunk) else {
            self.check(self.chunk.len())?;
            self.partial.extend_from_slice(&self.chunk);
            self.chunk = Bytes::new();
            return Ok(None);
        };
        self.check(end)?;
        let rest = self.chunk.split_to(end);
        self.chunk.advance(1);
        let line = if self.partial.is_empty() {
            rest
        } else {
            self.partial.extend_from_slice(&rest);
            std::mem::take(&mut self.partial).freeze()
        };
        self.offset += line.len() as u64 + 1;
        Ok(Some(line))
    }

    /// The last line of a file that does not end in a newline. Call it when the file's end is known to be reached and
    /// [`next_line`](Self::next_line) has returned `None`.
    pub fn finish(&mut self) -> Option<Bytes> {
        let line = std::mem::take(&mut self.partial).freeze();
        self.offset += line.len() as u64;
        (!line.is_empty()).then_some(line)
    }

    /// The byte of the file after the last line yielded: where a cut download is to be resumed.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Forgets what was pushed but not yielded, before bytes from [`offset`](Self::offset) on are pushed again.
    pub fn rewind(&mut self) {
        self.chunk = Bytes::new();
        self.partial = BytesMut::new();
    }

    fn check(&self, more: usize) -> Result<(), LineTooLong> {
        if self.partial.len() + more > self.limit {
            return Err(LineTooLong { offset: self.offset, limit: self.limit });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(splitter: &mut LineSplitter) -> Vec<Bytes> {
        std::iter::from_fn(|| splitter.next_line().unwrap()).collect()
    }

    #[test]
    fn lines_within_a_chunk_are_slices_of_it() {
        let chunk = Bytes::from_static(b"one\ntwo\n\nthr");
        let mut splitter = LineSplitter::default();
        splitter.push(chunk.clone());
        let got = lines(&mut splitter);
        assert_eq!(got, ["one", "two", ""]);
        assert!(got[..2].iter().all(|line| chunk.as_ptr_range().contains(&line.as_ptr())));
        assert_eq!(splitter.offset(), 9);
        splitter.push("ee\nfour".into());
        assert_eq!(lines(&mut splitter), ["three"]);
        assert_eq!(splitter.finish().unwrap(), "four");
        assert_eq!(splitter.finish(), None);
        assert_eq!(splitter.offset(), 19);
    }

    #[test]
    fn a_cut_download_resumes_after_the_last_complete_line() {
        let mut splitter = LineSplitter::default();
        splitter.push("one\ntw".into());
        assert_eq!(lines(&mut splitter), ["one"]);
        splitter.rewind();
        assert_eq!(splitter.offset(), 4);
        splitter.push("two\n".into());
        assert_eq!(lines(&mut splitter), ["two"]);
    }

    #[test]
    fn a_line_may_be_as_long_as_the_limit_and_no_longer() {
        let mut splitter = LineSplitter::with_limit(4);
        splitter.push("a\n12".into());
        assert_eq!(lines(&mut splitter), ["a"]);
        splitter.push("34\n12345".into());
        assert_eq!(splitter.next_line().unwrap().unwrap(), "1234");
        let error = LineTooLong { offset: 7, limit: 4 };
        assert_eq!(splitter.next_line(), Err(error));
        assert_eq!(splitter.next_line(), Err(error));
        splitter.rewind();
        splitter.push("123".into());
        assert_eq!(splitter.next_line(), Ok(None));
        splitter.push("45".into());
        assert_eq!(splitter.next_line(), Err(error));
    }
}
