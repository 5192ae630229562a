//! Which batches have the originals of calls that came to another ingress.
//!
//! An ingress that is gone cannot say what it held, but the ids of its requests tell which calls repeat them. Only what was
//! or may be submitted counts: a line that was left out of the input file can be sent anew.

use std::collections::{BTreeMap, BTreeSet};

use common::ids::{Bid, Pid, Rid, pack_rids, unpack_rids};
use common::key::BatchKey;
use common::pairing::{Kinship, Pairing, prefix};
use common::timers::Now;
use common::wire::{self, reply};

use super::batch::{Batch, State};
use super::{Core, Output};

/// What a batch means to somebody who repeats one of its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It was not submitted and, of an ingress that is gone, it will not be.
    Free,
    /// It may have been, or will be.
    Undecided,
    /// It is in a job.
    Submitted,
}

/// A request that a call could repeat.
struct Candidate {
    bid: Bid,
    ingress: Pid,
    undecided: bool,
    /// A live ingress waits for it.
    served: bool,
}

type Candidates = BTreeMap<Rid, Candidate>;

/// Callers, and for each of them its original.
type Matches = (Vec<Rid>, Vec<Rid>);

impl Batch {
    /// What it means that a request of this ingress is in this batch, which lives or is gone.
    fn standing(&self, ingress: Pid, lost: bool) -> Standing {
        match &self.state {
            State::Releasing { .. } => Standing::Free,
            // Lines of a lost ingress are left out of the file that is to come. One that is lost by somebody else's lights
            // may still be granted and submitted.
            State::Claiming | State::Opening | State::Queued | State::Uploading | State::Intending { .. }
                if lost =>
            {
                Standing::Free
            }
            State::Claiming
            | State::Opening
            | State::Queued
            | State::Uploading
            | State::Intending { .. }
            | State::Creating { .. }
            | State::Refused { .. }
            | State::Finding { .. }
            | State::Fencing { .. }
            | State::Settling { .. } => Standing::Undecided,
            // Its callers have received everything. While they have not, it may have died with their answers, which who asks can
            // know before this submitter does: an ingress that lives answers for itself.
            State::Lingering(waiting) if !lost && !waiting.contains(&ingress) => Standing::Free,
            State::Done if !lost => Standing::Free,
            State::Polling | State::Delivering | State::Flushing | State::Lingering(_) | State::Done => {
                match self.job {
                    Some(_) => Standing::Submitted,
                    None => Standing::Free,
                }
            }
        }
    }

    /// Its requests with their ingresses, and whether that is gone.
    fn requests(&self) -> impl Iterator<Item = (Pid, Rid, bool)> + '_ {
        let offered = self.parts.iter().filter_map(|part| {
            let ingress = Pid::from_slice(&part.ingress).ok()?;
            Some((ingress, unpack_rids(&part.rids).ok()?))
        });
        let offered =
            offered.flat_map(|(ingress, rids)| rids.into_iter().map(move |rid| (ingress, rid, false)));
        let boxed = self.boxes.iter().map(|(_, granted, _)| (granted, false));
        let granted = self.grants.iter().map(|granted| (granted, false));
        let lost = self.lost.iter().map(|granted| (granted, true));
        let granted = boxed.chain(granted).chain(lost);
        offered.chain(granted.flat_map(|(g, lost)| g.rids.iter().map(move |rid| (g.ingress, *rid, lost))))
    }
}

impl Core {
    /// Answers which requests in hand these calls repeat. Each call gets one of its own where there are enough.
    pub(super) fn whois(&self, now: Now, whois: &wire::Whois, reply: String, out: &mut Vec<Output>) {
        let mut holds = wire::Holds::default();
        let mut conflicts = Vec::new();
        for group in &whois.groups {
            let Some(key) = group.key.clone().and_then(|key| BatchKey::new(key).ok()) else { continue };
            let calls: Vec<(Rid, Pairing)> = group.calls.iter().filter_map(Pairing::from_wire).collect();
            let candidates = self.candidates(&key, &calls, &whois.heard);
            let mut found: BTreeMap<(Bid, Pid, bool), Matches> = BTreeMap::new();
            let mut taken = BTreeSet::new();
            for (caller, pairing) in calls {
                match choose(&candidates, &taken, pairing) {
                    Choice::Original(rid, candidate) => {
                        taken.insert(rid);
                        let place = (candidate.bid, candidate.ingress, candidate.undecided);
                        let (callers, rids) = found.entry(place).or_default();
                        callers.push(caller);
                        rids.push(rid);
                    }
                    Choice::Conflict => conflicts.push(caller),
                    Choice::None => {}
                }
            }
            let batches = found.into_iter().filter_map(|((bid, ingress, undecided), (callers, rids))| {
                self.held_batch(now, bid, ingress, undecided, &callers, &rids)
            });
            holds.batches.extend(batches);
        }
        holds.conflicts = pack_rids(&conflicts);
        out.push(Output::Reply(reply, reply::Body::Holds(holds)));
    }

    /// Not what an ingress has answered for itself, by the ids in `heard`.
    fn candidates(&self, key: &BatchKey, calls: &[(Rid, Pairing)], heard: &[u8]) -> Candidates {
        let is_heard = |ingress: Pid| heard.chunks(ingress.0.len()).any(|pid| *pid == ingress.0);
        let mut told = BTreeSet::new();
        let prefixes: BTreeSet<_> = calls.iter().map(|(_, pairing)| pairing.prefix()).collect();
        let mut candidates = Candidates::new();
        for (bid, batch) in self.batches.iter().filter(|(_, batch)| batch.key.is_like(key)) {
            for (ingress, rid, lost) in
                batch.requests().filter(|(_, rid, _)| prefixes.contains(&prefix(*rid)))
            {
                let standing = batch.standing(ingress, lost);
                if standing == Standing::Free || batch.given_back.contains(&rid) {
                    continue;
                }
                if is_heard(ingress) {
                    told.insert(rid);
                    continue;
                }
                let undecided = standing == Standing::Undecided;
                let candidate = Candidate { bid: *bid, ingress, undecided, served: !lost };
                let better = |known: &Candidate| candidate.served && !known.served;
                if candidates.get(&rid).is_none_or(better) {
                    candidates.insert(rid, candidate);
                }
            }
        }
        candidates.retain(|rid, _| !told.contains(rid));
        candidates
    }

    fn held_batch(
        &self,
        now: Now,
        bid: Bid,
        ingress: Pid,
        undecided: bool,
        callers: &[Rid],
        rids: &[Rid],
    ) -> Option<wire::HeldBatch> {
        let batch = self.batches.get(&bid)?;
        Some(wire::HeldBatch {
            origin: batch.origin(bid).to_bytes(),
            ingress: ingress.to_bytes(),
            files: batch.files.clone(),
            job: batch.job_id(),
            age_ms: u64::try_from(batch.age(now).as_millis()).unwrap_or(u64::MAX),
            undecided,
            callers: pack_rids(callers),
            rids: pack_rids(rids),
        })
    }
}

enum Choice<'a> {
    Original(Rid, &'a Candidate),
    Conflict,
    None,
}

/// The request that a call repeats: one that nobody waits for and no other call has got, if there is such; else one that it
/// has to share.
fn choose<'a>(candidates: &'a Candidates, taken: &BTreeSet<Rid>, pairing: Pairing) -> Choice<'a> {
    let from = pairing.prefix();
    let mut conflict = false;
    let mut best: Option<(u8, Rid, &Candidate)> = None;
    for (rid, candidate) in candidates.range(first_of(from)..).take_while(|(rid, _)| prefix(**rid) == from) {
        match pairing.kinship(*rid) {
            Kinship::Repeats => {
                let cost = u8::from(candidate.served) + 2 * u8::from(taken.contains(rid));
                if best.is_none_or(|(least, ..)| cost < least) {
                    best = Some((cost, *rid, candidate));
                }
            }
            Kinship::Conflict => conflict = true,
            Kinship::None => {}
        }
    }
    match (best, conflict) {
        (Some((_, rid, candidate)), _) => Choice::Original(rid, candidate),
        (None, true) => Choice::Conflict,
        (None, false) => Choice::None,
    }
}

/// The first id with this prefix.
fn first_of(prefix: [u8; 8]) -> Rid {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&prefix);
    Rid(id)
}
