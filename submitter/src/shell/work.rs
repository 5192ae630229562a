//! What the shell knows of one batch beyond the state machine: its secrets and its results on their way.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use common::ids::{Bid, Pid, Rid};
use common::key::BatchKey;
use common::link::Link;
use common::outcome::headers_from_wire;
use common::seal::{BoxKeys, GrantKey, grant_aad, wipe};
use common::wire;
use prost::Message as _;
use providers::{Line, NewJob};

use super::courier::Courier;
use crate::api::{Client, Credential};
use crate::core::Granted;

/// The shell's side of a batch.
pub(super) struct Work {
    /// What authenticates it at the provider: the same for all grants, since the batch key names it.
    pub(super) credential: Credential,
    /// The provider's API.
    pub(super) client: Client,
    /// The endpoint and the model of its lines.
    pub(super) endpoint: String,
    pub(super) model: String,
    /// Grants whose boxes opened.
    pub(super) granted: Vec<Granted>,
    /// Delivers results.
    pub(super) courier: Courier,
    /// Lengths of bodies, known after the first pull: a later upload may leave lines out.
    pub(super) lengths: Mutex<HashMap<Rid, u32>>,
}

impl Work {
    /// Opens the boxes of a batch. A box that does not open counts as no grant. `None` where its upstream is not known here.
    pub(super) fn open(
        bid: Bid,
        boxes: Vec<(BatchKey, Granted, wire::Grant)>,
        keys: &BoxKeys,
        clients: &BTreeMap<String, Client>,
        link: &Link,
    ) -> Option<Self> {
        let key = boxes.first()?.0.clone();
        let Some(client) = clients.get(key.upstream()).cloned() else {
            tracing::error!(%bid, upstream = key.upstream(), "a batch for an upstream that is not configured here");
            return None;
        };
        let mut credential = None;
        let mut lanes: Vec<(Granted, GrantKey)> = Vec::new();
        for (key, granted, grant) in boxes {
            let aad = grant_aad(bid, granted.epoch, key.fingerprint(), link.pid());
            let opened = keys.open(&aad, &grant.sealed_credential).ok();
            let secret = opened.and_then(|plain| wire::GrantSecret::decode(&plain[..]).ok());
            let Some(secret) = secret else {
                tracing::warn!(%bid, ingress = %granted.ingress, "the box of a grant does not open");
                continue;
            };
            let grant_key = GrantKey::from_slice(&secret.key);
            let headers = headers_from_wire(&secret.credential);
            wipe(secret);
            let Ok(grant_key) = grant_key else { continue };
            credential.get_or_insert_with(|| Credential::new(headers).with(key.headers()));
            lanes.push((granted, grant_key));
        }
        let granted = lanes.iter().map(|(granted, _)| granted.clone()).collect();
        Some(Self {
            credential: credential.unwrap_or_default(),
            client,
            endpoint: key.endpoint().to_owned(),
            model: key.model().to_owned(),
            granted,
            courier: Courier::new(bid, lanes, link.clone()),
            lengths: Mutex::default(),
        })
    }

    /// What a job is created for.
    pub(super) fn new_job<'a>(&'a self, batch: &'a str) -> NewJob<'a> {
        NewJob { endpoint: &self.endpoint, model: &self.model, batch }
    }

    /// One of its lines.
    pub(super) fn line<'a>(&'a self, custom_id: &'a str, body: &'a [u8], inline: bool) -> Line<'a> {
        Line { custom_id, endpoint: &self.endpoint, inline, body }
    }

    /// The key of an ingress's grant.
    pub(super) fn key(&self, ingress: Pid) -> Option<&GrantKey> {
        self.courier.key(ingress)
    }
}
