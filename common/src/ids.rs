//! Ids of processes, requests and batches: 128 random bits each, written as 22 characters of base64url.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Length of every id in bytes.
pub const ID_LEN: usize = 16;

/// The text or bytes given are not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id of 16 bytes")]
pub struct BadId;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub [u8; ID_LEN]);

        impl $name {
            /// A fresh id from the operating system's randomness.
            pub fn random() -> Self {
                Self(random_bytes())
            }

            /// Reads the 16 bytes of an id.
            ///
            /// # Errors
            /// [`BadId`] for any other length.
            pub fn from_slice(bytes: &[u8]) -> Result<Self, BadId> {
                bytes.try_into().map(Self).map_err(|_| BadId)
            }

            /// The bytes as they travel in messages.
            pub fn to_bytes(self) -> bytes::Bytes {
                bytes::Bytes::copy_from_slice(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0; 22];
                // 16 bytes are always 22 characters, all ASCII.
                let n = URL_SAFE_NO_PAD.encode_slice(self.0, &mut text).unwrap_or(0);
                f.write_str(std::str::from_utf8(&text[..n]).unwrap_or(""))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl std::str::FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                // Room for what 24 characters would decode to, so that a longer text is an error and not a panic.
                let mut bytes = [0; 18];
                match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
                    Ok(n) => Self::from_slice(&bytes[..n]),
                    Err(_) => Err(BadId),
                }
            }
        }
    };
}

id! {
    /// A process: fresh at every start, so that it names an incarnation and not a place.
    Pid
}
id! {
    /// A request. Its text form is the `custom_id` of its line, valid at every provider.
    Rid
}
id! {
    /// A batch of ours; what a provider makes of it is a job.
    Bid
}
id! {
    /// Tells credentials apart without naming them: a keyed hash over upstream and credential headers.
    Fingerprint
}
id! {
    /// What a request and its repetition have in common: a keyed hash that tells nothing of either.
    Digest
}

/// `N` bytes from the operating system.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // Without randomness no id is unique and no key is safe: nothing sensible can be done by going on.
    #[allow(clippy::expect_used)]
    getrandom::fill(&mut bytes).expect("the operating system provides randomness");
    bytes
}

/// Concatenates ids for the packed fields of the protocol.
pub fn pack_rids<'a>(rids: impl IntoIterator<Item = &'a Rid>) -> bytes::Bytes {
    let rids = rids.into_iter();
    let mut packed = Vec::with_capacity(rids.size_hint().0 * ID_LEN);
    for rid in rids {
        packed.extend_from_slice(&rid.0);
    }
    packed.into()
}

/// The same for batches.
pub fn pack_bids<'a>(bids: impl IntoIterator<Item = &'a Bid>) -> bytes::Bytes {
    bids.into_iter().flat_map(|bid| bid.0).collect()
}

/// Reads what [`pack_bids`] wrote.
///
/// # Errors
/// [`BadId`] when the length is not a multiple of 16.
pub fn unpack_bids(packed: &[u8]) -> Result<Vec<Bid>, BadId> {
    unpack_rids(packed).map(|ids| ids.into_iter().map(|id| Bid(id.0)).collect())
}

/// Reads the ids of a packed field.
///
/// # Errors
/// [`BadId`] when the length is not a multiple of 16.
pub fn unpack_rids(packed: &[u8]) -> Result<Vec<Rid>, BadId> {
    let (ids, rest) = packed.as_chunks::<ID_LEN>();
    if rest.is_empty() { Ok(ids.iter().copied().map(Rid).collect()) } else { Err(BadId) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips_and_is_a_portable_custom_id() {
        for _ in 0..1000 {
            let rid = Rid::random();
            let text = rid.to_string();
            assert_eq!(text.len(), 22);
            assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
            assert_eq!(text.parse::<Rid>(), Ok(rid));
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "a",
            "é",
            "AAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAA==",
        ] {
            assert_eq!(text.parse::<Rid>(), Err(BadId), "{text:?}");
        }
    }

    #[test]
    fn packed_ids_round_trip() {
        let rids: Vec<Rid> = (0..5).map(|_| Rid::random()).collect();
        assert_eq!(unpack_rids(&pack_rids(&rids)), Ok(rids));
        assert_eq!(unpack_rids(&[0; 17]), Err(BadId));
    }
}
