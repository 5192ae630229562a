//! When a batch is sealed.

use common::ids::Fingerprint;
use common::timers::Now;
use common::wire::Role;
use tracing::{debug, info};

use super::batches::{Batch, Id};
use super::offers::Offering;
use super::rate::{self, Ready};
use super::{Core, Due, Output};

impl Core {
    /// When the time of a batch is over: its window since the first request, or earlier the idle gap since the latest.
    pub(super) fn seal_at(&self, id: Id) -> Option<Now> {
        let batch = self.batches.get(id)?;
        Some((batch.first + self.args.window).min(batch.last + self.args.idle))
    }

    /// The one timer of a batch that is filled. Arrivals do not touch it; it finds out here what they changed.
    pub(super) fn batch_due(&mut self, now: Now, id: Id, out: &mut Vec<Output>) {
        let is_open = |batch: &Batch| self.open.get(&batch.key) == Some(&id);
        if !self.batches.get(id).is_some_and(is_open) {
            return;
        }
        match self.seal_at(id) {
            Some(at) if at > now => self.timers.set(at, Due::Batch(id)),
            _ => self.ready(now, id, Ready::Due { since: now }, out),
        }
    }

    /// Nothing more fits.
    pub(super) fn batch_full(&mut self, now: Now, id: Id, out: &mut Vec<Output>) {
        if let Some(key) = self.batches.get(id).map(|batch| batch.key.clone()) {
            self.no_longer_open(&key, id);
            self.ready(now, id, Ready::Full, out);
        }
    }

    /// Seals a batch as soon as its credential may create one. Until then it takes arrivals if it has room.
    fn ready(&mut self, now: Now, id: Id, ready: Ready, out: &mut Vec<Output>) {
        let Some(batch) = self.batches.get(id) else { return };
        let credential = batch.key.fingerprint();
        self.accounts.ready(credential, self.upstreams.caps(batch.key.upstream()), id, ready);
        if !self.sweeping {
            self.sweeping = true;
            self.timers.set(rate::next_minute(now), Due::Sweep);
        }
        self.seal_ready(now, credential, out);
    }

    /// Seals what a credential may create now.
    pub(super) fn seal_ready(&mut self, now: Now, credential: Fingerprint, out: &mut Vec<Output>) {
        let (sealed, again) = self.accounts.take_ready(now, credential);
        if let Some(at) = again {
            self.timers.set(at, Due::Credential(credential));
        }
        for id in sealed {
            let Some(batch) = self.batches.get(id) else { continue };
            let (lines, bytes, key) = (batch.lines, batch.bytes, batch.key.clone());
            let bid = (self.bids)();
            debug!(%bid, ?key, lines, bytes, waited = ?now.saturating_sub(batch.first), "sealed");
            self.no_longer_open(&key, id);
            self.offers.insert(id, Offering::new(bid));
            self.offer(now, id, out);
        }
    }

    pub(super) fn sweep(&mut self, now: Now, out: &mut Vec<Output>) {
        self.accounts.share_among(self.members.count(Role::Batcher) + 1);
        self.accounts.sweep(now);
        for credential in self.accounts.waiting() {
            self.seal_ready(now, credential, out);
        }
        self.sweeping = !self.accounts.is_empty();
        if self.sweeping {
            self.timers.set(rate::next_minute(now), Due::Sweep);
        }
    }

    /// Seals everything. What a credential may not create now is let go: its ingresses announce it elsewhere when
    /// this batcher has said farewell.
    pub(super) fn drain(&mut self, now: Now, out: &mut Vec<Output>) {
        self.members.drain(now);
        for id in self.batches.ids().collect::<Vec<_>>() {
            if !self.offers.contains_key(&id) {
                self.ready(now, id, Ready::Full, out);
            }
        }
        let left: Vec<Id> = self.batches.ids().filter(|id| !self.offers.contains_key(id)).collect();
        for id in &left {
            self.discard(*id);
        }
        info!(offered = self.offers.len(), let_go = left.len(), "draining");
        self.beat(now, out);
    }
}
