//! What requests must have in common to share a batch.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use prost::Message;

use crate::ids::{BadId, Fingerprint};
use crate::wire;

/// Upstream, credential, endpoint, model and the headers that a provider takes once for a whole batch.
///
/// Cheap to clone and to compare: two keys are equal exactly when their encodings are.
#[derive(Clone)]
pub struct BatchKey(Arc<Inner>);

struct Inner {
    key: wire::BatchKey,
    fingerprint: Fingerprint,
    encoded: Bytes,
}

impl BatchKey {
    /// Checks and keeps a key.
    ///
    /// # Errors
    /// [`BadId`] if the fingerprint is not 16 bytes long.
    pub fn new(key: wire::BatchKey) -> Result<Self, BadId> {
        let fingerprint = Fingerprint::from_slice(&key.fingerprint)?;
        let encoded = key.encode_to_vec().into();
        Ok(Self(Arc::new(Inner { key, fingerprint, encoded })))
    }

    /// Name of the upstream in the configuration, as "openai".
    pub fn upstream(&self) -> &str {
        &self.0.key.upstream
    }

    /// The provider's path, as "/v1/chat/completions".
    pub fn endpoint(&self) -> &str {
        &self.0.key.endpoint
    }

    /// The model as the batch names it.
    pub fn model(&self) -> &str {
        &self.0.key.model
    }

    /// The headers that a provider takes once for a whole batch. What cannot stand in a header is left out.
    pub fn headers(&self) -> HeaderMap {
        let line = |header: &wire::Header| {
            let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
            Some((name, HeaderValue::from_bytes(&header.value).ok()?))
        };
        self.0.key.headers.iter().filter_map(line).collect()
    }

    /// Whether the two differ at most in how long their callers wait: a request's and its repetition's.
    pub fn is_like(&self, other: &Self) -> bool {
        let (one, other) = (&self.0.key, &other.0.key);
        self.0.fingerprint == Fingerprint::from_slice(&other.fingerprint).unwrap_or_default()
            && (&one.upstream, &one.endpoint, &one.model, &one.headers)
                == (&other.upstream, &other.endpoint, &other.model, &other.headers)
    }

    /// About how long its callers are ready to wait for a batch; `None` where they said nothing.
    pub fn patience(&self) -> Option<Duration> {
        let seconds = self.0.key.patience_s;
        (seconds > 0).then(|| Duration::from_secs(seconds.into()))
    }

    /// Whose requests these are.
    pub fn fingerprint(&self) -> Fingerprint {
        self.0.fingerprint
    }

    /// The key as it travels in messages.
    pub fn to_wire(&self) -> wire::BatchKey {
        self.0.key.clone()
    }

    /// The canonical encoding, which is the key's identity.
    pub fn encoded(&self) -> &Bytes {
        &self.0.encoded
    }
}

impl PartialEq for BatchKey {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.encoded == other.0.encoded
    }
}

impl Eq for BatchKey {}

impl PartialOrd for BatchKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for BatchKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.encoded.cmp(&other.0.encoded)
    }
}

impl std::hash::Hash for BatchKey {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.encoded.hash(state);
    }
}

impl fmt::Debug for BatchKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{} {} [{}]", self.upstream(), self.endpoint(), self.model(), self.fingerprint())
    }
}
