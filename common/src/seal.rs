//! Confidentiality on the bus: credentials in HPKE boxes, bodies and answers under a key per grant.
//!
//! A submitter makes an X25519 key pair at its start, in memory only, and proves by a MAC under the cluster secret
//! that it belongs to the deployment. With each grant an ingress seals the credential and a fresh symmetric key to
//! that submitter (HPKE, RFC 9180). Whoever reads the bus, the batcher included, sees cipher text only.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, hmac};
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use rustls::crypto::aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_256 as SUITE;
use rustls::crypto::hpke::{EncapsulatedSecret, Hpke, HpkePrivateKey, HpkePublicKey};
use secrecy::{ExposeSecret, SecretSlice};
use zeroize::{Zeroize as _, Zeroizing};

use crate::ids::{Bid, Digest, Fingerprint, ID_LEN, Pid, Rid, random_bytes};
use crate::wire::{self, Role};

/// Length of an X25519 public key and of its encapsulation in bytes.
const X25519_LEN: usize = 32;
/// What the box of a grant is for (HPKE's `info`).
const INFO: &[u8] = b"llm-proxy v1 grant";
/// The shortest cluster secret in bytes.
pub const MIN_SECRET: usize = 32;

/// Sealing or opening failed: a wrong key, a changed message or a message meant for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a sealed message could not be opened")]
pub struct SealError;

/// The cluster secret is too short to be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the cluster secret has {0} bytes; it needs at least {MIN_SECRET}")]
pub struct ShortSecret(usize);

/// The keys that all ingresses and submitters of a deployment derive from the cluster secret.
pub struct Keyring {
    fingerprint: hmac::Key,
    membership: hmac::Key,
    pairing: hmac::Key,
    /// Of this process alone; keys of grants come from it, so that none has to be remembered.
    grants: hkdf::Prk,
    /// Of the deployment; keys under which one ingress hands an outcome to another come from it.
    outcomes: hkdf::Prk,
    of_one_process: bool,
}

impl Keyring {
    /// Derives the keys. Processes with the same secret agree on fingerprints and accept each other.
    ///
    /// # Errors
    /// [`ShortSecret`] below 32 bytes.
    pub fn new(cluster_secret: &SecretSlice<u8>) -> Result<Self, ShortSecret> {
        let secret = cluster_secret.expose_secret();
        if secret.len() < MIN_SECRET {
            return Err(ShortSecret(secret.len()));
        }
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"llm-proxy v1").extract(secret);
        let own = Zeroizing::new(random_bytes::<32>());
        let own = hkdf::Salt::new(hkdf::HKDF_SHA256, b"llm-proxy v1 grants").extract(&own[..]);
        let key = |label: &[u8]| hmac::Key::new(hmac::HMAC_SHA256, &expand(&prk, &[label])[..]);
        Ok(Self {
            fingerprint: key(b"fingerprint"),
            membership: key(b"membership"),
            pairing: key(b"pairing"),
            grants: own,
            of_one_process: false,
            outcomes: hkdf::Salt::new(hkdf::HKDF_SHA256, b"llm-proxy v1 outcomes").extract(secret),
        })
    }

    /// Keys for a deployment of one process, from a secret that nobody else ever learns.
    pub fn for_one_process() -> Self {
        let secret = Zeroizing::new(random_bytes::<MIN_SECRET>());
        match Self::new(&secret.to_vec().into()) {
            Ok(keyring) => Self { of_one_process: true, ..keyring },
            Err(ShortSecret(_)) => unreachable!("the secret has the least length"),
        }
    }

    /// Whether nobody else can be in the deployment.
    pub fn is_of_one_process(&self) -> bool {
        self.of_one_process
    }

    /// Names a credential at an upstream without telling it: 16 bytes of HMAC-SHA256 over the header lines.
    pub fn fingerprint(&self, upstream: &str, credential: &HeaderMap) -> Fingerprint {
        let mut context = hmac::Context::with_key(&self.fingerprint);
        let mut field = |bytes: &[u8]| add_field(&mut context, bytes);
        field(upstream.as_bytes());
        // HeaderMap does not promise an order, and equal credentials must give equal fingerprints.
        let mut lines: Vec<_> = credential.iter().map(|(n, v)| (n.as_str(), v.as_bytes())).collect();
        lines.sort_unstable();
        for (name, value) in lines {
            field(name.as_bytes());
            field(value);
        }
        Fingerprint(leading(context.sign().as_ref()))
    }

    /// What calls of one credential have in common if all these parts of them are equal: 16 bytes of HMAC-SHA256. All
    /// processes of a deployment give equal calls equal digests.
    pub fn digest(&self, fingerprint: Fingerprint, parts: &[&[u8]]) -> Digest {
        let mut context = hmac::Context::with_key(&self.pairing);
        add_field(&mut context, &fingerprint.0);
        parts.iter().for_each(|part| add_field(&mut context, part));
        Digest(leading(context.sign().as_ref()))
    }

    /// Proof that a process with this public key belongs to the deployment.
    pub fn membership(&self, role: Role, pid: Pid, public_key: &[u8]) -> Bytes {
        let tag = hmac::sign(&self.membership, &membership_text(role, pid, public_key));
        Bytes::copy_from_slice(tag.as_ref())
    }

    /// Checks a proof in constant time.
    pub fn is_member(&self, role: Role, pid: Pid, public_key: &[u8], proof: &[u8]) -> bool {
        hmac::verify(&self.membership, &membership_text(role, pid, public_key), proof).is_ok()
    }

    /// The key of a grant of this process: the same at every call, different for every batch and epoch.
    pub fn grant_key(&self, bid: Bid, epoch: u32) -> GrantKey {
        GrantKey::from_bytes(expand(&self.grants, &[b"grant", &bid.0, &epoch.to_be_bytes()]))
    }

    /// The key under which an ingress hands a caller's outcome to the ingress where the caller waits.
    pub fn outcome_key(&self, caller: Rid) -> GrantKey {
        GrantKey::from_bytes(expand(&self.outcomes, &[b"outcome", &caller.0]))
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyring")
    }
}

/// With its length, so that no two lists of fields read alike.
fn add_field(context: &mut hmac::Context, bytes: &[u8]) {
    context.update(&(bytes.len() as u64).to_be_bytes());
    context.update(bytes);
}

fn membership_text(role: Role, pid: Pid, public_key: &[u8]) -> Vec<u8> {
    [&[role as u8], &pid.0[..], public_key].concat()
}

fn expand(prk: &hkdf::Prk, info: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut out = Zeroizing::new([0; 32]);
    // 32 bytes are below HKDF's limit of 255 hashes, and the buffer has the length that was asked for.
    #[allow(clippy::expect_used)]
    prk.expand(info, hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut out[..]))
        .expect("32 bytes can be derived");
    out
}

fn leading(bytes: &[u8]) -> [u8; ID_LEN] {
    let mut out = [0; ID_LEN];
    out.copy_from_slice(&bytes[..ID_LEN]);
    out
}

/// A submitter's key pair, for boxes addressed to it. The private half is wiped when dropped.
pub struct BoxKeys {
    public: Bytes,
    private: HpkePrivateKey,
}

impl BoxKeys {
    /// A fresh pair.
    ///
    /// # Errors
    /// [`SealError`] if the cryptographic library refuses, for want of randomness.
    pub fn generate() -> Result<Self, SealError> {
        let (public, private) = SUITE.generate_key_pair().map_err(|_| SealError)?;
        Ok(Self { public: public.0.into(), private })
    }

    /// The half to publish.
    pub fn public(&self) -> &Bytes {
        &self.public
    }

    /// Opens what [`seal_box`] made.
    ///
    /// # Errors
    /// [`SealError`] unless box, keys and `aad` belong together.
    pub fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (encapsulated, text) = sealed.split_at_checked(X25519_LEN).ok_or(SealError)?;
        let encapsulated = EncapsulatedSecret(encapsulated.to_vec());
        SUITE.open(&encapsulated, INFO, aad, text, &self.private).map(Into::into).map_err(|_| SealError)
    }
}

impl fmt::Debug for BoxKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BoxKeys")
    }
}

/// Seals `plain` to the owner of a public key.
///
/// # Errors
/// [`SealError`] if `public` is not an X25519 public key.
pub fn seal_box(public: &[u8], aad: &[u8], plain: &[u8]) -> Result<Bytes, SealError> {
    if public.len() != X25519_LEN {
        return Err(SealError);
    }
    let public = HpkePublicKey(public.to_vec());
    let (encapsulated, text) = SUITE.seal(INFO, aad, plain, &public).map_err(|_| SealError)?;
    Ok([encapsulated.0, text].concat().into())
}

/// What the box of a grant is bound to.
pub fn grant_aad(bid: Bid, epoch: u32, fingerprint: Fingerprint, submitter: Pid) -> Vec<u8> {
    [&bid.0[..], &epoch.to_be_bytes(), &fingerprint.0, &submitter.0].concat()
}

/// What a chunk of bodies is bound to.
pub fn chunk_aad(bid: Bid, epoch: u32, seq: u64, last: bool) -> Vec<u8> {
    [b"chunk", &bid.0[..], &epoch.to_be_bytes(), &seq.to_be_bytes(), &[u8::from(last)]].concat()
}

/// What a part of an outcome is bound to; `head` is the encoded head where the part has one.
pub fn result_aad(rid: Rid, bid: Bid, epoch: u32, part: u32, last: bool, head: &[u8]) -> Vec<u8> {
    let fixed = [&rid.0[..], &bid.0, &epoch.to_be_bytes(), &part.to_be_bytes(), &[u8::from(last)]].concat();
    [b"result", &fixed[..], head].concat()
}

/// What a part of an outcome is bound to that one ingress hands to another.
pub fn fetched_aad(caller: Rid, part: u32, last: bool, head: &[u8]) -> Vec<u8> {
    [b"fetched", &caller.0[..], &part.to_be_bytes(), &[u8::from(last)], head].concat()
}

/// Wipes what was inside the box of a grant, as far as nobody else holds it: encoding and decoding copy, so nobody does.
pub fn wipe(secret: wire::GrantSecret) {
    let values = secret.credential.into_iter().map(|line| line.value);
    for mut value in values.chain([secret.key]).filter_map(|value| value.try_into_mut().ok()) {
        value.zeroize();
    }
}

/// A symmetric key (AES-256-GCM): of one grant, or of one caller's outcome on its way between ingresses.
pub struct GrantKey {
    key: LessSafeKey,
    bytes: Zeroizing<[u8; 32]>,
}

impl GrantKey {
    /// The key itself, for the box.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..]
    }

    /// A key from a box.
    ///
    /// # Errors
    /// [`SealError`] unless it has 32 bytes.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, SealError> {
        bytes.try_into().map(|bytes| Self::from_bytes(Zeroizing::new(bytes))).map_err(|_| SealError)
    }

    fn from_bytes(bytes: Zeroizing<[u8; 32]>) -> Self {
        // The only failure is a wrong length.
        #[allow(clippy::expect_used)]
        let key = UnboundKey::new(&AES_256_GCM, &bytes[..]).expect("a key of 32 bytes");
        Self { key: LessSafeKey::new(key), bytes }
    }

    /// Seals what `parts` hold one after the other: a random nonce, the cipher text, the tag.
    ///
    /// # Errors
    /// [`SealError`] beyond what AES-GCM takes in one message (64 GB).
    pub fn seal(&self, aad: &[u8], parts: &[&[u8]]) -> Result<Bytes, SealError> {
        let nonce = random_bytes::<NONCE_LEN>();
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let mut sealed = BytesMut::with_capacity(NONCE_LEN + length + AES_256_GCM.tag_len());
        sealed.extend_from_slice(&nonce);
        parts.iter().for_each(|part| sealed.extend_from_slice(part));
        let nonce = Nonce::assume_unique_for_key(nonce);
        let text = &mut sealed[NONCE_LEN..];
        let tag = self.key.seal_in_place_separate_tag(nonce, Aad::from(aad), text).map_err(|_| SealError)?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed.freeze())
    }

    /// Opens what [`GrantKey::seal`] made.
    ///
    /// # Errors
    /// [`SealError`] unless key, `aad` and message belong together.
    pub fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<Bytes, SealError> {
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN).ok_or(SealError)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError)?;
        let mut text = text.to_vec();
        let length = self.key.open_in_place(nonce, Aad::from(aad), &mut text).map_err(|_| SealError)?.len();
        text.truncate(length);
        // Cut to size: the answer may be kept for long.
        text.shrink_to_fit();
        Ok(text.into())
    }
}

impl fmt::Debug for GrantKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GrantKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_open_only_for_their_owner_and_context() {
        let (keys, other) = (BoxKeys::generate().unwrap(), BoxKeys::generate().unwrap());
        let sealed = seal_box(keys.public(), b"context", b"sk-secret").unwrap();
        assert_eq!(&keys.open(b"context", &sealed).unwrap()[..], b"sk-secret");
        assert!(!sealed.windows(9).any(|w| w == b"sk-secret"));
        assert_eq!(other.open(b"context", &sealed), Err(SealError));
        assert_eq!(keys.open(b"another", &sealed), Err(SealError));
        assert_eq!(keys.open(b"context", &sealed[..20]), Err(SealError));
        assert_eq!(seal_box(b"short", b"", b""), Err(SealError));
    }

    #[test]
    fn grant_keys_are_stable_and_distinct() {
        let keyring = Keyring::for_one_process();
        let (bid, other) = (Bid::random(), Bid::random());
        assert_eq!(keyring.grant_key(bid, 1).bytes(), keyring.grant_key(bid, 1).bytes());
        assert_ne!(keyring.grant_key(bid, 1).bytes(), keyring.grant_key(bid, 2).bytes());
        assert_ne!(keyring.grant_key(bid, 1).bytes(), keyring.grant_key(other, 1).bytes());
        assert_eq!(keyring.outcome_key(Rid(bid.0)).bytes(), keyring.outcome_key(Rid(bid.0)).bytes());
        assert_ne!(keyring.outcome_key(Rid(bid.0)).bytes(), keyring.outcome_key(Rid(other.0)).bytes());
        let key = GrantKey::from_slice(keyring.grant_key(bid, 1).bytes()).unwrap();
        let sealed = key.seal(b"aad", &[b"one ", b"", b"two"]).unwrap();
        assert_eq!(keyring.grant_key(bid, 1).open(b"aad", &sealed).unwrap(), "one two");
        assert_eq!(key.open(b"other", &sealed), Err(SealError));
        let mut changed = sealed.to_vec();
        *changed.last_mut().unwrap() ^= 1;
        assert_eq!(key.open(b"aad", &changed), Err(SealError));
    }

    #[test]
    fn membership_needs_the_same_secret_and_the_same_words() {
        let secret = |byte: u8| SecretSlice::from(vec![byte; 32]);
        let (a, b, c) = (
            Keyring::new(&secret(1)).unwrap(),
            Keyring::new(&secret(1)).unwrap(),
            Keyring::new(&secret(2)).unwrap(),
        );
        let pid = Pid::random();
        let proof = a.membership(Role::Submitter, pid, b"key");
        assert!(b.is_member(Role::Submitter, pid, b"key", &proof));
        assert!(!b.is_member(Role::Ingress, pid, b"key", &proof));
        assert!(!b.is_member(Role::Submitter, Pid::random(), b"key", &proof));
        assert!(!c.is_member(Role::Submitter, pid, b"key", &proof));
        assert_eq!(Keyring::new(&vec![0; 31].into()).unwrap_err(), ShortSecret(31));
    }

    #[test]
    fn fingerprints_tell_credentials_and_upstreams_apart() {
        let keyring = Keyring::new(&vec![7; 40].into()).unwrap();
        let headers = |lines: &[(&'static str, &'static str)]| -> HeaderMap {
            lines.iter().map(|(n, v)| (n.parse::<http::HeaderName>().unwrap(), v.parse().unwrap())).collect()
        };
        let one = headers(&[("authorization", "Bearer a"), ("openai-project", "p")]);
        let reordered = headers(&[("openai-project", "p"), ("authorization", "Bearer a")]);
        let other = headers(&[("authorization", "Bearer ap")]);
        assert_eq!(keyring.fingerprint("openai", &one), keyring.fingerprint("openai", &reordered));
        assert_ne!(keyring.fingerprint("openai", &one), keyring.fingerprint("openai", &other));
        assert_ne!(keyring.fingerprint("openai", &one), keyring.fingerprint("azure", &one));
    }
}
