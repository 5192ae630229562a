//! Values made out of a fuzzer's bytes.

use bytes::Bytes;

/// Numbers at which arithmetic goes wrong.
const EDGES: [u64; 8] = [
    u8::MAX as u64,
    u16::MAX as u64,
    i32::MAX as u64,
    u32::MAX as u64,
    1 << 32,
    i64::MAX as u64,
    u64::MAX - 1,
    u64::MAX,
];
/// Texts that mean something somewhere.
const TEXTS: [&str; 14] = [
    "file-1",
    "file-2",
    "file-3",
    "batch_1",
    "batch_2",
    "completed",
    "in_progress",
    "failed",
    "token_limit_exceeded",
    "llmp.v1.ing.x.r",
    "req_1",
    "",
    "é\u{2028}\n",
    ".",
];

/// Reads values until the bytes are used up; after that all are zero.
pub(crate) struct Source<'a>(&'a [u8]);

impl<'a> Source<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next byte, if there is one.
    pub(crate) fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.next().unwrap_or_default()
    }

    pub(crate) fn yes(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// A number below `n`, which must not be zero.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        usize::from(self.byte()) % n
    }

    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        let at = usize::from(self.byte());
        from.get(at % from.len().max(1)).cloned()
    }

    /// Mostly small, sometimes an edge.
    pub(crate) fn number(&mut self) -> u64 {
        match self.byte() {
            small @ 0..200 => u64::from(small),
            edge => EDGES[usize::from(edge) % EDGES.len()],
        }
    }

    pub(crate) fn short(&mut self) -> u32 {
        u32::try_from(self.number()).unwrap_or(u32::MAX)
    }

    pub(crate) fn text(&mut self) -> String {
        match self.byte() {
            odd @ 240.. => String::from_utf8_lossy(self.take(usize::from(odd - 239))).into_owned(),
            known => TEXTS[usize::from(known) % TEXTS.len()].to_owned(),
        }
    }

    /// Some bytes of any length up to 40.
    pub(crate) fn odd_bytes(&mut self) -> Bytes {
        let length = self.below(41);
        Bytes::copy_from_slice(self.take(length))
    }

    /// A few values.
    pub(crate) fn some<T>(&mut self, most: usize, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| make(self)).collect()
    }

    pub(crate) fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }
}
