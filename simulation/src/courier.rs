//! Delivers outcomes to ingresses until each is acknowledged, as `submitter/src/shell/courier.rs` does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use common::ids::{Bid, Pid, Rid};
use common::outcome::Outcome;
use common::seal::result_aad;
use common::subjects::Subjects;
use common::timers::backoff;
use common::wire;
use prost::Message as _;
use submitter::core::Granted;

use crate::bugs::Bug;
use crate::node::{Effect, Effects, Local};
use crate::seal::seal;

/// Waits before a part that was not acknowledged is sent again.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_MAX: Duration = Duration::from_secs(10);

/// The results of one batch.
pub(crate) struct Courier {
    bid: Bid,
    submitter: Pid,
    lanes: BTreeMap<Pid, Lane>,
    by_rid: BTreeMap<Rid, Pid>,
    told: BTreeSet<Rid>,
    bug: Option<Bug>,
}

struct Lane {
    granted: Granted,
    key: u64,
    lost: bool,
    next: u64,
    unacknowledged: BTreeMap<u64, Parcel>,
}

struct Parcel {
    subject: String,
    payload: Bytes,
    attempt: u32,
}

impl Courier {
    pub(crate) fn new(bid: Bid, submitter: Pid, lanes: Vec<(Granted, u64)>, bug: Option<Bug>) -> Self {
        let by_rid = lanes.iter().flat_map(|(g, _)| g.rids.iter().map(|rid| (*rid, g.ingress))).collect();
        let lane = |(granted, key): (Granted, u64)| {
            (granted.ingress, Lane { granted, key, lost: false, next: 0, unacknowledged: BTreeMap::new() })
        };
        let lanes = lanes.into_iter().map(lane).collect();
        Self { bid, submitter, lanes, by_rid, told: BTreeSet::new(), bug }
    }

    /// The keys of the grants, by ingress.
    pub(crate) fn keys(&self) -> BTreeMap<Pid, u64> {
        self.lanes.iter().map(|(pid, lane)| (*pid, lane.key)).collect()
    }

    pub(crate) fn knows(&self, rid: Rid) -> bool {
        self.by_rid.contains_key(&rid)
    }

    /// Sends an outcome to the ingress of its request. Bodies are short here: one part is enough.
    pub(crate) fn tell(&mut self, rid: Rid, outcome: Outcome, effects: &mut Effects) {
        let rid = match self.bug {
            Some(Bug::WrongRequest) => self.neighbour(rid),
            _ => rid,
        };
        let Some(lane) = self.by_rid.get(&rid).and_then(|pid| self.lanes.get_mut(pid)) else { return };
        if !self.told.insert(rid) || lane.lost {
            return;
        }
        let (head, body) = outcome.into_wire();
        let epoch = lane.granted.epoch;
        let aad = result_aad(rid, self.bid, epoch, 0, true, &head.encode_to_vec());
        let seq = lane.next;
        lane.next += 1;
        let result = wire::Result {
            rid: rid.to_bytes(),
            bid: self.bid.to_bytes(),
            epoch,
            submitter: self.submitter.to_bytes(),
            seq,
            part: 0,
            last: true,
            head: Some(head),
            sealed_body: seal(lane.key, &aad, &body),
        };
        let subject = Subjects::result(&lane.granted.reply_prefix, rid);
        let payload: Bytes = result.encode_to_vec().into();
        effects.push(Effect::Publish { subject: subject.clone(), reply: None, payload: payload.clone() });
        effects.push(Effect::After(AGAIN, Local::SendAgain(self.bid, lane.granted.ingress, seq)));
        lane.unacknowledged.insert(seq, Parcel { subject, payload, attempt: 0 });
    }

    /// The next request of the same ingress.
    fn neighbour(&self, rid: Rid) -> Rid {
        let Some(lane) = self.by_rid.get(&rid).and_then(|pid| self.lanes.get(pid)) else { return rid };
        let rids = &lane.granted.rids;
        let at = rids.iter().position(|other| *other == rid).unwrap_or(0);
        rids.get((at + 1) % rids.len().max(1)).copied().unwrap_or(rid)
    }

    pub(crate) fn send_again(&mut self, ingress: Pid, seq: u64, effects: &mut Effects) {
        if self.bug == Some(Bug::NeverResent) {
            return;
        }
        let Some(lane) = self.lanes.get_mut(&ingress) else { return };
        let Some(parcel) = lane.unacknowledged.get_mut(&seq) else { return };
        parcel.attempt += 1;
        let (subject, payload) = (parcel.subject.clone(), parcel.payload.clone());
        effects.push(Effect::Publish { subject, reply: None, payload });
        let wait = backoff(AGAIN, AGAIN_MAX, parcel.attempt, seq);
        effects.push(Effect::After(wait, Local::SendAgain(self.bid, ingress, seq)));
    }

    pub(crate) fn acknowledged(&mut self, ingress: Pid, seqs: &[u64]) {
        if let Some(lane) = self.lanes.get_mut(&ingress) {
            seqs.iter().for_each(|seq| _ = lane.unacknowledged.remove(seq));
        }
    }

    pub(crate) fn lost(&mut self, ingress: Pid) {
        if let Some(lane) = self.lanes.get_mut(&ingress) {
            lane.lost = true;
            lane.unacknowledged.clear();
        }
    }

    /// Whether everything that was sent is acknowledged, or cannot be any more.
    pub(crate) fn is_flushed(&self) -> bool {
        self.lanes.values().all(|lane| lane.lost || lane.unacknowledged.is_empty())
    }
}
