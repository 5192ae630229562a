//! The ledger: one entry for every line and every synchronous call that was executed, billed or not.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use crate::credential::{Credential, hex};

/// The price class under which a call ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// A line of a batch, half price.
    Batch,
    /// A synchronous call at full price.
    Sync,
    /// A synchronous call with `service_tier: "flex"`, half price.
    Flex,
}

/// One executed line or call.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The provider, such as `openai`.
    pub provider: &'static str,
    /// Who pays.
    pub credential: Credential,
    /// The batch, if it was one.
    pub batch: Option<Arc<str>>,
    /// The line's `custom_id`, if it was in a batch.
    pub custom_id: Option<Box<str>>,
    /// The model that was asked for.
    pub model: Arc<str>,
    /// The endpoint's path, such as `/v1/chat/completions`.
    pub endpoint: &'static str,
    /// SHA-256 of the raw body.
    pub body_hash: [u8; 32],
    /// The raw body as received, if bodies are kept and it was not dropped since.
    pub body: Option<Bytes>,
    /// The `XYZ` of an `echo:XYZ` in the request's text.
    pub marker: Option<Box<str>>,
    /// Prompt tokens.
    pub input_tokens: u64,
    /// Completion tokens.
    pub output_tokens: u64,
    /// The price class.
    pub mode: Mode,
    /// HTTP status of the answer.
    pub status: u16,
    /// Whether it costs anything; only answers with status 200 do.
    pub billed: bool,
}

/// Why two entries are taken for the same work.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Identity {
    /// Both texts carried this `echo:` marker.
    Marker(String),
    /// Both bodies have this SHA-256 (hexadecimal) and no marker.
    Body(String),
    /// Both lines had this `custom_id`.
    CustomId(String),
}

/// Work that one credential was billed for more than once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BilledTwice {
    /// The provider.
    pub provider: &'static str,
    /// Fingerprint of who paid.
    pub credential: String,
    /// What makes it the same work.
    pub identity: Identity,
    /// How often it was billed.
    pub times: u64,
}

/// All entries, within bounds on their number and on the bytes of kept bodies.
#[derive(Debug)]
pub struct Ledger {
    entries: VecDeque<Entry>,
    max_entries: usize,
    dropped: u64,
    body_bytes: u64,
    max_body_bytes: u64,
    bodies_from: usize,
}

impl Ledger {
    /// An empty ledger that keeps at most `max_entries` entries and `max_body_bytes` bytes of bodies.
    pub fn new(max_entries: usize, max_body_bytes: u64) -> Self {
        let entries = VecDeque::new();
        Self { entries, max_entries, dropped: 0, body_bytes: 0, max_body_bytes, bodies_from: 0 }
    }

    /// Whether bodies are kept at all.
    pub fn keeps_bodies(&self) -> bool {
        self.max_body_bytes > 0
    }

    /// Writes an entry down; the oldest ones go when a bound is reached.
    pub fn record(&mut self, mut entry: Entry) {
        if self.keeps_bodies() {
            self.body_bytes += entry.body.as_ref().map_or(0, |body| body.len() as u64);
        } else {
            entry.body = None;
        }
        self.entries.push_back(entry);
        while self.body_bytes > self.max_body_bytes && self.bodies_from < self.entries.len() {
            if let Some(body) = self.entries[self.bodies_from].body.take() {
                self.body_bytes -= body.len() as u64;
            }
            self.bodies_from += 1;
        }
        while self.entries.len() > self.max_entries {
            let gone = self.entries.pop_front();
            self.body_bytes -= gone.and_then(|entry| entry.body).map_or(0, |body| body.len() as u64);
            self.bodies_from = self.bodies_from.saturating_sub(1);
            self.dropped += 1;
        }
    }

    /// The entries, oldest first.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// How many entries were dropped because of the bound.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// How many entries are billed.
    pub fn billed_count(&self) -> usize {
        self.entries.iter().filter(|entry| entry.billed).count()
    }

    /// The bodies received under a `custom_id`, oldest first, byte for byte.
    pub fn bodies(&self, custom_id: &str) -> Vec<Bytes> {
        let matching = self.entries.iter().filter(|entry| entry.custom_id.as_deref() == Some(custom_id));
        matching.filter_map(|entry| entry.body.clone()).collect()
    }

    /// Everything one credential paid one provider for more than once: the same marker (else the same body) at the same endpoint,
    /// or the same `custom_id`. Sorted by identity.
    pub fn billed_twice(&self) -> Vec<BilledTwice> {
        let mut work: HashMap<(&'static str, &Credential, &str, WorkKey<'_>), u64> = HashMap::new();
        for entry in self.entries.iter().filter(|entry| entry.billed) {
            let key = match &entry.marker {
                Some(marker) => WorkKey::Marker(marker),
                None => WorkKey::Body(&entry.body_hash),
            };
            *work.entry((entry.provider, &entry.credential, entry.endpoint, key)).or_default() += 1;
            if let Some(id) = &entry.custom_id {
                *work.entry((entry.provider, &entry.credential, "", WorkKey::CustomId(id))).or_default() += 1;
            }
        }
        let twice = work.into_iter().filter(|(_, times)| *times > 1);
        let mut list: Vec<_> = twice
            .map(|((provider, credential, _, key), times)| BilledTwice {
                provider,
                credential: credential.to_string(),
                identity: key.into(),
                times,
            })
            .collect();
        list.sort_by(|a, b| {
            (&a.identity, a.provider, &a.credential).cmp(&(&b.identity, b.provider, &b.credential))
        });
        list
    }
}

#[derive(PartialEq, Eq, Hash)]
enum WorkKey<'a> {
    Marker(&'a str),
    Body(&'a [u8; 32]),
    CustomId(&'a str),
}

impl From<WorkKey<'_>> for Identity {
    fn from(key: WorkKey<'_>) -> Self {
        match key {
            WorkKey::Marker(marker) => Identity::Marker(marker.to_owned()),
            WorkKey::Body(hash) => Identity::Body(hex(hash)),
            WorkKey::CustomId(id) => Identity::CustomId(id.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::sha256;

    fn entry(key: &str, custom_id: &str, body: &'static str) -> Entry {
        Entry {
            provider: "openai",
            credential: Credential::of_key(key),
            batch: Some("batch_1".into()),
            custom_id: Some(custom_id.into()),
            model: "gpt-4o".into(),
            endpoint: "/v1/chat/completions",
            body_hash: sha256(body.as_bytes()),
            body: Some(Bytes::from_static(body.as_bytes())),
            marker: None,
            input_tokens: 1,
            output_tokens: 1,
            mode: Mode::Batch,
            status: 200,
            billed: true,
        }
    }

    #[test]
    fn the_same_body_twice_is_seen_per_credential() {
        let mut ledger = Ledger::new(10, 1000);
        ledger.record(entry("sk-a", "1", "{}"));
        ledger.record(entry("sk-b", "2", "{}"));
        assert!(ledger.billed_twice().is_empty());
        ledger.record(entry("sk-a", "3", "{}"));
        assert_eq!(ledger.billed_twice()[0].times, 2);
        ledger.record(entry("sk-b", "2", "{ }"));
        assert_eq!(ledger.billed_twice().len(), 2);
        assert_eq!(ledger.billed_twice()[1].identity, Identity::CustomId("2".into()));
    }

    #[test]
    fn providers_bill_apart() {
        let mut ledger = Ledger::new(10, 1000);
        ledger.record(entry("sk-a", "1", "{}"));
        ledger.record(Entry { provider: "anthropic", ..entry("sk-a", "1", "{}") });
        assert!(ledger.billed_twice().is_empty());
    }

    #[test]
    fn unbilled_entries_do_not_count() {
        let mut ledger = Ledger::new(10, 1000);
        ledger.record(entry("sk-a", "1", "{}"));
        ledger.record(Entry { billed: false, status: 500, ..entry("sk-a", "1", "{}") });
        assert!(ledger.billed_twice().is_empty());
        assert_eq!(ledger.billed_count(), 1);
    }

    #[test]
    fn bounds_drop_the_oldest() {
        let mut ledger = Ledger::new(3, 5);
        for id in ["1", "2", "3", "4", "5"] {
            ledger.record(entry("sk-a", id, "{}"));
        }
        assert_eq!((ledger.entries().count(), ledger.dropped()), (3, 2));
        assert!(ledger.bodies("3").is_empty());
        assert_eq!(ledger.bodies("5"), [Bytes::from_static(b"{}")]);
    }
}
