//! Arbitrary bytes as each of the messages of the bus, read as the services read them.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use common::bus::Message;
use common::ids::{Bid, Pid, Rid, unpack_bids, unpack_rids};
use common::key::BatchKey;
use common::outcome::{Outcome, headers_from_wire};
use common::pairing::Pairing;
use common::seal::{BoxKeys, GrantKey, Keyring};
use common::subjects::Subjects;
use common::wire::{self, reply, to_batcher, to_ingress, to_submitter};
use ingress::core::Input;
use prost::Message as _;

static KEYRING: LazyLock<Arc<Keyring>> = LazyLock::new(|| Arc::new(Keyring::for_one_process()));

/// The first byte says which message it is.
pub(crate) fn envelopes(data: &[u8]) {
    let Some((kind, payload)) = data.split_first() else { return };
    let payload = Bytes::copy_from_slice(payload);
    match kind % 10 {
        0 => heartbeat(&payload),
        1 => to_ingress(payload),
        2 => to_submitter(payload),
        3 => to_batcher(&payload),
        4 => replied(payload),
        5 => result(&payload),
        6 => drop(again(&payload, wire::Pull::decode(payload.clone()))),
        7 => drop(again(&payload, wire::Chunk::decode(payload.clone()))),
        8 => secret(&payload),
        _ => ids(&payload),
    }
}

/// What was understood is understood again, and as the same.
fn again<M: prost::Message + PartialEq + Default>(
    payload: &[u8],
    decoded: Result<M, prost::DecodeError>,
) -> Option<M> {
    let message = decoded.ok()?;
    let encoded = message.encode_to_vec();
    // An empty submessage or a repeated field may be written shorter than it came, never longer than twice.
    assert!(encoded.len() <= 2 * payload.len() + 64);
    assert!(M::decode(&encoded[..]).is_ok_and(|read| read == message));
    Some(message)
}

fn heartbeat(payload: &Bytes) {
    let Some(beat) = again(payload, wire::Heartbeat::decode(payload.clone())) else { return };
    let _ = Pid::from_slice(&beat.pid);
    let member = KEYRING.is_member(
        beat.role(),
        Pid::from_slice(&beat.pid).unwrap_or_default(),
        &beat.public_key,
        &beat.auth,
    );
    assert!(!member, "nobody was given a proof");
}

fn message(payload: Bytes) -> Message {
    Message { subject: String::new(), reply: Some("r".into()), payload, no_responders: false }
}

fn to_ingress(payload: Bytes) {
    again(&payload, wire::ToIngress::decode(payload.clone()));
    let input: Option<Input<()>> = ingress::fuzzing::addressed(&KEYRING, message(payload.clone()));
    assert!(!matches!(input, Some(Input::Claim(..))), "a claim without a proof");
    let Some(to_ingress::Body::Whois(whois)) = wire::ToIngress::decode(payload).ok().and_then(|to| to.body)
    else {
        return;
    };
    for call in whois.groups.iter().flat_map(|group| &group.calls) {
        if let Some((caller, pairing)) = Pairing::from_wire(call) {
            assert_eq!(&pairing.to_wire(caller), call);
        }
    }
}

fn to_submitter(payload: Bytes) {
    submitter::fuzzing::addressed(message(payload.clone()));
    let Some(to) = again(&payload, wire::ToSubmitter::decode(payload.clone())) else { return };
    if let Some(to_submitter::Body::Offer(offer)) = to.body {
        key(offer.key);
    }
}

fn to_batcher(payload: &Bytes) {
    let Some(to) = again(payload, wire::ToBatcher::decode(payload.clone())) else { return };
    if let Some(to_batcher::Body::Announce(announce)) = to.body {
        announce.groups.into_iter().for_each(|group| key(group.key));
    }
}

fn key(key: Option<wire::BatchKey>) {
    if let Some(key) = key.and_then(|key| BatchKey::new(key).ok()) {
        assert_eq!(BatchKey::new(key.to_wire()).ok(), Some(key));
    }
}

fn replied(payload: Bytes) {
    let Some(reply::Body::Fetched(fetched)) =
        again(&payload, wire::Reply::decode(payload.clone())).and_then(|reply| reply.body)
    else {
        return;
    };
    let unknown = fetched.unknown;
    let part = ingress::fuzzing::handed_over(&KEYRING, fetched);
    assert!(unknown || part.is_none(), "an outcome that nobody sealed");
}

fn result(payload: &Bytes) {
    assert!(
        ingress::fuzzing::Opener::new(KEYRING.clone()).open(payload).is_none(),
        "a result that nobody sealed"
    );
    let Some(result) = again(payload, wire::Result::decode(payload.clone())) else { return };
    let Some(outcome) = result.head.and_then(|head| Outcome::from_wire(head, result.sealed_body)) else {
        return;
    };
    let (head, body) = outcome.clone().into_wire();
    assert_eq!(Outcome::from_wire(head, body), Some(outcome));
}

fn secret(payload: &Bytes) {
    static KEYS: LazyLock<Option<BoxKeys>> = LazyLock::new(|| BoxKeys::generate().ok());
    assert!(KEYS.as_ref().is_none_or(|keys| keys.open(b"", payload).is_err()), "a box that nobody sealed");
    let Some(secret) = again(payload, wire::GrantSecret::decode(payload.clone())) else { return };
    let headers = headers_from_wire(&secret.credential);
    assert!(headers.len() <= secret.credential.len());
    if let Ok(key) = GrantKey::from_slice(&secret.key) {
        assert!(key.open(b"", payload).is_err());
    }
}

fn ids(payload: &Bytes) {
    assert_eq!(unpack_rids(payload).is_ok(), payload.len().is_multiple_of(16));
    assert_eq!(unpack_bids(payload).is_ok(), payload.len().is_multiple_of(16));
    let Ok(text) = std::str::from_utf8(payload) else { return };
    Subjects::token(text);
    if let Ok(rid) = text.parse::<Rid>() {
        assert_eq!(rid.to_string(), text, "one id has one name");
    }
    let _ = text.parse::<Bid>();
}
