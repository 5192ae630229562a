//! Chance from one seed: the same on every machine and in every version of every crate.

use std::time::Duration;

use common::ids::ID_LEN;

/// splitmix64 (Steele, Lea, Flood 2014).
#[derive(Debug, Clone)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Another stream, independent of how much is drawn from this one later.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.next())
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Below `n`; 0 for none.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        // The bias of the remainder is far below anything that matters here.
        if n == 0 { 0 } else { self.next() % n }
    }

    pub(crate) fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// Both ends included.
    pub(crate) fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    /// True once in `1 / p`. Draws nothing for an impossible event.
    pub(crate) fn chance(&mut self, p: f64) -> bool {
        p > 0.0 && ((self.next() >> 11) as f64) < p * (1u64 << 53) as f64
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        if of.is_empty() { None } else { of.get(self.index(of.len())).copied() }
    }

    pub(crate) fn millis(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_micros(self.between(least * 1000, most * 1000))
    }

    pub(crate) fn id(&mut self) -> [u8; ID_LEN] {
        let mut id = [0; ID_LEN];
        id[..8].copy_from_slice(&self.next().to_be_bytes());
        id[8..].copy_from_slice(&self.next().to_be_bytes());
        id
    }
}

/// Spreads every bit over all bits.
pub(crate) fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A number for bytes (FNV-1a with a final mix).
pub(crate) fn hash(start: u64, parts: &[&[u8]]) -> u64 {
    let mut fnv = 0xcbf2_9ce4_8422_2325 ^ start;
    for part in parts {
        for byte in *part {
            fnv = (fnv ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        fnv = (fnv ^ part.len() as u64).wrapping_mul(0x0100_0000_01b3);
    }
    mix(fnv)
}
