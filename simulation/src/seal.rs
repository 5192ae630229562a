//! Stands in for the real sealing: bound to key and context just as that is, unreadable without the key, and without
//! the cost and the randomness. It keeps no secret from anybody.

use bytes::Bytes;

use crate::rng::{hash, mix};

const TAG: usize = 8;

/// Seals what `parts` hold one after the other.
pub(crate) fn seal(key: u64, aad: &[u8], plain: &[u8]) -> Bytes {
    let tag = hash(key, &[aad, plain]);
    let mut sealed = Vec::with_capacity(TAG + plain.len());
    sealed.extend_from_slice(&tag.to_be_bytes());
    sealed.extend_from_slice(plain);
    cover(key ^ tag, &mut sealed[TAG..]);
    sealed.into()
}

/// Opens it; `None` unless key, context and message belong together.
pub(crate) fn open(key: u64, aad: &[u8], sealed: &[u8]) -> Option<Bytes> {
    let (tag, text) = sealed.split_first_chunk::<TAG>()?;
    let tag = u64::from_be_bytes(*tag);
    let mut plain = text.to_vec();
    cover(key ^ tag, &mut plain);
    (hash(key, &[aad, &plain]) == tag).then(|| plain.into())
}

fn cover(key: u64, text: &mut [u8]) {
    for (n, piece) in text.chunks_mut(8).enumerate() {
        let stream = mix(key.wrapping_add(n as u64)).to_be_bytes();
        piece.iter_mut().zip(stream).for_each(|(byte, cover)| *byte ^= cover);
    }
}
