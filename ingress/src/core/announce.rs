//! Telling batchers of requests until one has acknowledged.

use std::collections::BTreeMap;
use std::time::Duration;

use common::ids::{Pid, Rid};
use common::key::BatchKey;
use common::subjects::Token;
use common::timers::{Now, backoff};
use common::wire::{self, Role, reply};

use super::{ANNOUNCE_AGAIN, Core, Output, Phase, Timer, sorted};

/// How long requests gather before they are announced together.
const GATHER: Duration = Duration::from_millis(1);
/// Most requests in one announcement: about 40 bytes each, so that it stays under 64 KB.
const PACK: usize = 1_500;
/// First wait for an acknowledgement; it doubles up to [`PATIENCE_MAX`].
const PATIENCE: Duration = Duration::from_millis(500);
const PATIENCE_MAX: Duration = Duration::from_secs(5);

/// An announcement that is not acknowledged yet.
pub(super) struct Pack {
    pub(super) batcher: Pid,
    rids: Vec<Rid>,
    attempt: u32,
}

impl<W> Core<W> {
    pub(super) fn flush_soon(&mut self, now: Now) {
        if !self.flush_set && !self.unannounced.is_empty() {
            self.flush_set = true;
            self.timers.set(now + GATHER, Timer::Flush);
        }
    }

    /// Announces everything new to the batchers that it belongs to. Without a batcher in sight it waits for one.
    pub(super) fn flush(&mut self, now: Now, out: &mut Vec<Output<W>>) {
        if self.members.count(Role::Batcher) == 0 {
            return;
        }
        let mut by_batcher: BTreeMap<Pid, Vec<(BatchKey, Vec<Rid>)>> = BTreeMap::new();
        for (key, rids) in self.unannounced.take() {
            if let Some(batcher) = self.members.choose(Role::Batcher, key.encoded(), 0) {
                by_batcher.entry(batcher).or_default().push((key, rids));
            }
        }
        for (batcher, groups) in by_batcher {
            self.announce(now, batcher, groups, 0, out);
        }
    }

    fn announce(
        &mut self,
        now: Now,
        batcher: Pid,
        groups: Vec<(BatchKey, Vec<Rid>)>,
        attempt: u32,
        out: &mut Vec<Output<W>>,
    ) {
        let mut packed = PackBuilder::default();
        for (key, rids) in groups {
            for chunk in rids.chunks(PACK) {
                if packed.rids.len() + chunk.len() > PACK {
                    self.send_pack(now, batcher, std::mem::take(&mut packed), attempt, out);
                }
                let (rids, items): (Vec<Rid>, Vec<_>) =
                    chunk.iter().filter_map(|rid| Some((*rid, self.item(*rid)?))).unzip();
                packed.rids.extend(rids);
                packed.groups.push(wire::AnnounceGroup { key: Some(key.to_wire()), items });
            }
        }
        self.send_pack(now, batcher, packed, attempt, out);
    }

    fn send_pack(
        &mut self,
        now: Now,
        batcher: Pid,
        pack: PackBuilder,
        attempt: u32,
        out: &mut Vec<Output<W>>,
    ) {
        if pack.groups.iter().all(|group| group.items.is_empty()) {
            return;
        }
        let token = self.token();
        for rid in &pack.rids {
            if let Some(request) = self.requests.get_mut(rid) {
                request.phase = Phase::Announced(token);
            }
        }
        let announce = wire::Announce {
            ingress: self.members.pid().to_bytes(),
            reply: self.reply_prefix.clone(),
            groups: pack.groups,
        };
        out.push(Output::ToBatcher(batcher, Some(token), wire::to_batcher::Body::Announce(announce)));
        self.packs.insert(token, Pack { batcher, rids: pack.rids, attempt });
        let patience = backoff(PATIENCE, PATIENCE_MAX, attempt, token);
        self.timers.set(now + patience, Timer::Unacknowledged(token));
    }

    fn item(&self, rid: Rid) -> Option<wire::AnnounceItem> {
        let request = self.requests.get(&rid).filter(|request| request.phase == Phase::New)?;
        Some(wire::AnnounceItem {
            rid: rid.to_bytes(),
            bytes: request.body.len() as u64,
            inputs: request.inputs,
            deadline_ms: 0,
        })
    }

    pub(super) fn announce_answered(
        &mut self,
        now: Now,
        token: Token,
        answer: Option<reply::Body>,
        out: &mut Vec<Output<W>>,
    ) {
        let Some(pack) = self.packs.remove(&token) else { return };
        match answer {
            Some(reply::Body::AnnounceAck(ack)) if !ack.busy => {
                for rid in &pack.rids {
                    self.set_phase(*rid, token, Phase::Held { batcher: pack.batcher, since: now });
                }
            }
            // Busy: as if it had not answered, which waits longer each time.
            Some(_) => {
                self.packs.insert(token, pack);
            }
            None => {
                self.renew(token, &pack.rids);
                if let Some(change) = self.members.lost(pack.batcher) {
                    self.changed(now, change, out);
                }
                self.flush_soon(now);
            }
        }
    }

    /// Nobody acknowledged in time: announce to the next batcher. A second holder is harmless, since only the first
    /// claim is granted.
    pub(super) fn unacknowledged(&mut self, now: Now, token: Token, out: &mut Vec<Output<W>>) {
        let Some(pack) = self.packs.remove(&token) else { return };
        let attempt = pack.attempt + 1;
        let mut by_batcher: BTreeMap<Pid, BTreeMap<BatchKey, Vec<Rid>>> = BTreeMap::new();
        for rid in &pack.rids {
            self.set_phase(*rid, token, Phase::New);
            let Some(request) = self.requests.get(rid).filter(|request| request.phase == Phase::New) else {
                continue;
            };
            match self.members.choose(Role::Batcher, request.key.encoded(), attempt as usize) {
                Some(pid) => {
                    by_batcher.entry(pid).or_default().entry(request.key.clone()).or_default().push(*rid)
                }
                None => self.unannounced.add(&request.key, request.place, *rid),
            }
        }
        for (batcher, groups) in by_batcher {
            self.announce(now, batcher, groups.into_iter().collect(), attempt, out);
        }
    }

    /// Moves a request on if it is still where this announcement left it.
    fn set_phase(&mut self, rid: Rid, token: Token, phase: Phase) {
        if let Some(request) = self.requests.get_mut(&rid)
            && request.phase == Phase::Announced(token)
        {
            request.phase = phase;
        }
    }

    /// Puts requests of an announcement back among the new ones.
    fn renew(&mut self, token: Token, rids: &[Rid]) {
        for rid in rids {
            let Some(request) = self.requests.get_mut(rid) else { continue };
            if request.phase == Phase::Announced(token) {
                request.phase = Phase::New;
                self.unannounced.add(&request.key, request.place, *rid);
            }
        }
    }

    /// What a dead batcher held is new again: it had promised nothing and nothing was paid.
    pub(super) fn batcher_left(&mut self, now: Now, gone: Pid) {
        let mut tokens: Vec<Token> =
            self.packs.iter().filter(|(_, pack)| pack.batcher == gone).map(|(token, _)| *token).collect();
        tokens.sort_unstable();
        for token in tokens {
            if let Some(pack) = self.packs.remove(&token) {
                self.renew(token, &pack.rids);
            }
        }
        self.announce_again(now, |phase| matches!(phase, Phase::Held { batcher, .. } if batcher == gone));
        self.flush_soon(now);
    }

    pub(super) fn look_over(&mut self, now: Now) {
        let overdue = |since: Now| now.saturating_sub(since) >= ANNOUNCE_AGAIN;
        self.announce_again(now, |phase| matches!(phase, Phase::Held { since, .. } if overdue(since)));
    }

    fn announce_again(&mut self, now: Now, which: impl Fn(Phase) -> bool) {
        let rids =
            sorted(self.requests.iter().filter(|(_, request)| which(request.phase)).map(|(rid, _)| *rid));
        for rid in rids {
            self.announce_anew(now, rid);
        }
    }
}

#[derive(Default)]
struct PackBuilder {
    groups: Vec<wire::AnnounceGroup>,
    rids: Vec<Rid>,
}
