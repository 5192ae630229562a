//! One copy of what many held calls share.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use common::ids::{BadId, Fingerprint};
use common::key::BatchKey;
use common::wire;
use http::{HeaderMap, Uri};

/// Entries of each table at most. Beyond it calls have copies of their own, until some entries are unused.
const MAX: usize = 4096;
/// Longer keys are not shared, in bytes: model and header lines are the caller's to choose, and those of honest ones stay below.
const MAX_KEY: usize = 1024;

/// Batch keys and credentials of calls, each kept once. A credential is forgotten with the last call that uses it.
#[derive(Debug, Default)]
pub(super) struct Interner {
    keys: Mutex<HashSet<BatchKey>>,
    credentials: Mutex<HashMap<Fingerprint, Weak<HeaderMap>>>,
    uris: Mutex<HashSet<Arc<Uri>>>,
    tags: Mutex<HashSet<Arc<str>>>,
}

impl Interner {
    /// The shared copy of a credential. Equal fingerprints mean equal credentials.
    pub(super) fn credential(&self, fingerprint: Fingerprint, lines: HeaderMap) -> Arc<HeaderMap> {
        let mut table = self.credentials.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = table.get(&fingerprint).and_then(Weak::upgrade) {
            return shared;
        }
        if table.len() >= MAX {
            table.retain(|_, lines| lines.strong_count() > 0);
        }
        let shared = Arc::new(lines);
        if table.len() < MAX {
            table.insert(fingerprint, Arc::downgrade(&shared));
        }
        shared
    }

    /// The shared copy of a URL. It may hold a caller's query, which is no secret where calls are held; the table is only emptied when
    /// it is full.
    pub(super) fn uri(&self, uri: Uri) -> Arc<Uri> {
        let length = uri.path_and_query().map_or(0, |path| path.as_str().len());
        let mut table = self.uris.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = table.get(&uri) {
            return shared.clone();
        }
        let shared = Arc::new(uri);
        if length <= MAX_KEY {
            if table.len() >= MAX {
                table.clear();
            }
            table.insert(shared.clone());
        }
        shared
    }

    /// The shared copy of a tag, which is short.
    pub(super) fn tag(&self, tag: &str) -> Arc<str> {
        let mut table = self.tags.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = table.get(tag) {
            return shared.clone();
        }
        if table.len() >= MAX {
            table.clear();
        }
        let shared: Arc<str> = tag.into();
        table.insert(shared.clone());
        shared
    }

    /// The shared copy of a key. Keys hold no secrets, so the table is only emptied when it is full.
    pub(super) fn key(&self, key: wire::BatchKey) -> Result<BatchKey, BadId> {
        let key = BatchKey::new(key)?;
        if key.encoded().len() > MAX_KEY {
            return Ok(key);
        }
        let mut table = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = table.get(&key) {
            return Ok(shared.clone());
        }
        if table.len() >= MAX {
            table.clear();
        }
        table.insert(key.clone());
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(key: usize) -> HeaderMap {
        HeaderMap::from_iter([(http::header::AUTHORIZATION, format!("Bearer {key}").parse().unwrap())])
    }

    fn wire(fingerprint: Fingerprint, model: &str) -> wire::BatchKey {
        wire::BatchKey {
            upstream: "openai".to_owned(),
            fingerprint: fingerprint.to_bytes(),
            endpoint: "/v1/embeddings".to_owned(),
            model: model.to_owned(),
            headers: Vec::new(),
            patience_s: 0,
        }
    }

    #[test]
    fn equal_things_are_one() {
        let interner = Interner::default();
        let (a, b) = (Fingerprint::random(), Fingerprint::random());
        let one = interner.credential(a, lines(1));
        assert!(Arc::ptr_eq(&one, &interner.credential(a, lines(1))));
        assert!(!Arc::ptr_eq(&one, &interner.credential(b, lines(2))));
        let key = |fingerprint, model| interner.key(wire(fingerprint, model)).unwrap();
        assert_eq!(key(a, "m"), key(a, "m"));
        assert!(key(a, "m") != key(a, "n") && key(a, "m") != key(b, "m"));
        let key = key(a, "m");
        assert_eq!(
            (key.upstream(), key.endpoint(), key.model(), key.fingerprint()),
            ("openai", "/v1/embeddings", "m", a)
        );
    }

    #[test]
    fn unused_credentials_are_forgotten_and_tables_bounded() {
        let interner = Interner::default();
        let kept = interner.credential(Fingerprint::random(), lines(0));
        for n in 0..2 * MAX {
            drop(interner.credential(Fingerprint::random(), lines(n)));
            interner.key(wire(Fingerprint::random(), "m")).unwrap();
        }
        let known = interner.keys.lock().unwrap().len();
        interner.key(wire(Fingerprint::random(), &"m".repeat(MAX_KEY))).unwrap();
        assert_eq!(interner.keys.lock().unwrap().len(), known);
        assert_eq!(Arc::weak_count(&kept), 1);
        assert!(
            interner.credentials.lock().unwrap().len() <= MAX && interner.keys.lock().unwrap().len() <= MAX
        );
    }
}
