//! How a call and its repetition find each other, be it at another process.
//!
//! SDKs send a request again byte for byte, so a keyed digest of it names it anywhere in the deployment. The first half of
//! every request's id comes from that digest: whoever knows only the ids of requests, as a submitter does whose ingress
//! is gone, can still tell which of them a repetition means.

use crate::ids::{Digest, ID_LEN, Rid, random_bytes};
use crate::wire;

/// Bytes of an id that come from the digest of the request, or of its `Idempotency-Key` where it has one. With 64 bits and
/// the batch key, which has to be equal too, a hundred thousand held requests of one credential and model meet
/// a false match with a chance of one in a billion.
const OF_DIGEST: usize = 8;
/// Bytes after them that come from the body's digest, where the first come from an `Idempotency-Key`.
const OF_BODY: usize = 4;

/// What a call and its repetition have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pairing {
    /// Of credential, endpoint and body as the caller sent it.
    pub digest: Digest,
    /// Of credential and `Idempotency-Key`, where there is one.
    pub idempotency: Option<Digest>,
    /// The caller says that it sends this again.
    pub retry: bool,
}

/// What the id of a request tells about a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kinship {
    /// It is another request.
    None,
    /// The call repeats it.
    Repeats,
    /// The call has its `Idempotency-Key` and another body.
    Conflict,
}

impl Pairing {
    /// A fresh id for a request with this pairing.
    pub fn rid(&self) -> Rid {
        self.rid_from(random_bytes())
    }

    /// The id with this for its random part. Of a request with an `Idempotency-Key` only the last four bytes are used.
    pub fn rid_from(&self, random: [u8; OF_DIGEST]) -> Rid {
        let mut id = [0; ID_LEN];
        let (first, rest) = id.split_at_mut(OF_DIGEST);
        first.copy_from_slice(&self.idempotency.unwrap_or(self.digest).0[..OF_DIGEST]);
        rest.copy_from_slice(&random);
        if self.idempotency.is_some() {
            rest[..OF_BODY].copy_from_slice(&self.digest.0[..OF_BODY]);
        }
        Rid(id)
    }

    /// What all ids of requests have in common that a call with this pairing could repeat.
    pub fn prefix(&self) -> [u8; OF_DIGEST] {
        prefix(self.rid_from([0; OF_DIGEST]))
    }

    /// Whether a call with this pairing repeats a request, by its id. The caller has to know that both have one batch key.
    pub fn kinship(&self, rid: Rid) -> Kinship {
        if prefix(rid) != self.prefix() {
            return Kinship::None;
        }
        let body = |bytes: &[u8; ID_LEN], from: usize| bytes[from..from + OF_BODY].to_vec();
        match self.idempotency.is_some() && body(&rid.0, OF_DIGEST) != body(&self.digest.0, 0) {
            true => Kinship::Conflict,
            false => Kinship::Repeats,
        }
    }

    /// Whether the call's original may be at another process: it says that it is sent again, or has an `Idempotency-Key`.
    /// Everything else is a new sample.
    pub fn may_be_elsewhere(&self) -> bool {
        self.retry || self.idempotency.is_some()
    }

    /// As it travels in messages.
    pub fn to_wire(&self, caller: Rid) -> wire::Call {
        wire::Call {
            caller: caller.to_bytes(),
            digest: self.digest.to_bytes(),
            name: self.idempotency.map(Digest::to_bytes).unwrap_or_default(),
            retry: self.retry,
        }
    }

    /// Reads what [`Pairing::to_wire`] made; `None` for anything else.
    pub fn from_wire(call: &wire::Call) -> Option<(Rid, Self)> {
        let caller = Rid::from_slice(&call.caller).ok()?;
        let digest = Digest::from_slice(&call.digest).ok()?;
        let idempotency = match call.name.is_empty() {
            true => None,
            false => Some(Digest::from_slice(&call.name).ok()?),
        };
        Some((caller, Self { digest, idempotency, retry: call.retry }))
    }
}

/// The part of an id that comes from a digest alone.
pub fn prefix(rid: Rid) -> [u8; OF_DIGEST] {
    let mut prefix = [0; OF_DIGEST];
    prefix.copy_from_slice(&rid.0[..OF_DIGEST]);
    prefix
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairing(body: u8, key: Option<u8>) -> Pairing {
        let idempotency = key.map(|key| Digest([key; ID_LEN]));
        Pairing { digest: Digest([body; ID_LEN]), idempotency, retry: true }
    }

    #[test]
    fn ids_tell_what_repeats_them() {
        let plain = pairing(1, None);
        let rid = plain.rid();
        assert_eq!(plain.kinship(rid), Kinship::Repeats);
        assert_ne!(rid, plain.rid(), "equal requests stay different requests");
        assert_eq!(pairing(2, None).kinship(rid), Kinship::None);
        let named = pairing(1, Some(9));
        assert_eq!(named.kinship(rid), Kinship::None);
        assert_eq!(named.kinship(named.rid()), Kinship::Repeats);
        assert_eq!(pairing(2, Some(9)).kinship(named.rid()), Kinship::Conflict);
        assert_eq!(pairing(1, Some(8)).kinship(named.rid()), Kinship::None);
    }

    #[test]
    fn pairings_survive_the_wire() {
        for pairing in [pairing(1, None), pairing(1, Some(3)), Pairing { retry: false, ..pairing(4, None) }] {
            let caller = Rid::random();
            assert_eq!(Pairing::from_wire(&pairing.to_wire(caller)), Some((caller, pairing)));
        }
        let bad =
            wire::Call { name: bytes::Bytes::from_static(b"x"), ..pairing(1, None).to_wire(Rid::random()) };
        assert_eq!(Pairing::from_wire(&bad), None);
        assert_eq!(Pairing::from_wire(&wire::Call::default()), None);
    }
}
