//! The requests held: what each batch consists of, and where each request is.

use std::collections::{BTreeMap, HashMap};

use common::ids::{Bid, ID_LEN, Pid, Rid};
use common::key::BatchKey;
use common::timers::Now;
use common::wire;

use super::limits::{self, Limits};

/// Number of a batch while it is here, counted in the order of first arrivals.
pub(super) type Id = u64;

/// An index that had room for more than this gives it back when nothing is held any more.
const KEPT_ROOM: usize = 4096;

/// Where announced requests wait.
#[derive(Clone, Copy)]
pub(super) struct Origin<'a> {
    pub(super) ingress: Pid,
    pub(super) reply: &'a str,
}

/// One announced request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) rid: Rid,
    /// Length of the body.
    pub(super) bytes: u32,
    pub(super) inputs: u32,
}

/// A batch that is being filled or offered.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) key: BatchKey,
    /// When its first request came.
    pub(super) first: Now,
    /// When its latest request came.
    pub(super) last: Now,
    pub(super) lines: usize,
    /// The bodies, together.
    pub(super) bytes: u64,
    pub(super) inputs: u64,
    /// Length of its offer on the bus, rounded up.
    encoded: usize,
    parts: Vec<Part>,
}

/// The requests of one batch that wait at one ingress. Parts stay where they are even when empty: places count on it.
#[derive(Debug)]
struct Part {
    ingress: Pid,
    reply: String,
    /// 16 bytes each, in the order of arrival. Withdrawn ones stay until they are the majority.
    rids: Vec<u8>,
    live: usize,
}

/// Where a request is, and what it adds to its batch.
#[derive(Debug, Clone, Copy)]
struct Place {
    batch: Id,
    part: u32,
    slot: u32,
    bytes: u32,
    inputs: u32,
}

/// All batches here. Each request is in exactly one of them.
#[derive(Debug, Default)]
pub(super) struct Batches {
    last: Id,
    all: BTreeMap<Id, Batch>,
    /// Only looked up, never walked through, so that its order does not matter.
    places: HashMap<Rid, Place>,
}

impl Batches {
    /// Requests in all batches together.
    pub(super) fn requests(&self) -> usize {
        self.places.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn get(&self, id: Id) -> Option<&Batch> {
        self.all.get(&id)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = Id> {
        self.all.keys().copied()
    }

    pub(super) fn holds(&self, rid: &Rid) -> bool {
        self.places.contains_key(rid)
    }

    /// Starts an empty batch.
    pub(super) fn open(&mut self, now: Now, key: BatchKey) -> Id {
        self.last += 1;
        let encoded = limits::offer_len(&key);
        let batch =
            Batch { key, first: now, last: now, lines: 0, bytes: 0, inputs: 0, encoded, parts: Vec::new() };
        self.all.insert(self.last, batch);
        self.last
    }

    /// Whether a batch stays within its limits with one more line. A line that no batch could take fits an empty one.
    pub(super) fn fits(&self, id: Id, from: Origin<'_>, line: &Line, limits: &Limits) -> bool {
        let Some(batch) = self.all.get(&id) else { return false };
        let part = if batch.part_of(from.ingress).is_some() { 0 } else { limits::part_len(from.reply) };
        batch.lines == 0
            || batch.lines < limits.lines
                && batch.line_bytes(limits) + u64::from(line.bytes) + limits.overhead <= limits.bytes
                && batch.inputs + u64::from(line.inputs) <= limits.inputs
                && batch.encoded + part + ID_LEN <= limits.payload
    }

    /// Whether no further line can fit.
    pub(super) fn is_full(&self, id: Id, limits: &Limits) -> bool {
        self.all.get(&id).is_some_and(|batch| {
            batch.lines >= limits.lines
                || batch.line_bytes(limits) + limits.overhead >= limits.bytes
                || batch.inputs >= limits.inputs
                || batch.encoded + ID_LEN > limits.payload
        })
    }

    /// Adds a line whose request is not held yet.
    pub(super) fn push(&mut self, now: Now, id: Id, from: Origin<'_>, line: Line) {
        let Some(batch) = self.all.get_mut(&id) else { return };
        let index = batch.part_of(from.ingress).unwrap_or_else(|| batch.add_part(from));
        let part = &mut batch.parts[index];
        let slot = part.rids.len() / ID_LEN;
        part.rids.extend_from_slice(&line.rid.0);
        part.live += 1;
        batch.last = now;
        batch.lines += 1;
        batch.bytes += u64::from(line.bytes);
        batch.inputs += u64::from(line.inputs);
        batch.encoded += ID_LEN;
        // Both are far below 2^32: the number of requests held is bounded.
        let (part, slot) = (index as u32, slot as u32);
        self.places.insert(line.rid, Place { batch: id, part, slot, bytes: line.bytes, inputs: line.inputs });
    }

    /// Takes a request out. Returns its batch, which may be empty now.
    pub(super) fn remove(&mut self, rid: &Rid) -> Option<Id> {
        let place = self.places.remove(rid)?;
        let batch = self.all.get_mut(&place.batch)?;
        batch.lines -= 1;
        batch.bytes -= u64::from(place.bytes);
        batch.inputs -= u64::from(place.inputs);
        let part = &mut batch.parts[place.part as usize];
        part.live -= 1;
        if part.live * 2 < part.rids.len() / ID_LEN {
            batch.encoded -= part.compact(place.batch, place.part, &mut self.places);
        }
        self.give_back_room();
        Some(place.batch)
    }

    /// Takes out all requests of an ingress. Returns the batches that had some.
    pub(super) fn remove_ingress(&mut self, ingress: Pid) -> Vec<Id> {
        let mut touched = Vec::new();
        for (id, batch) in &self.all {
            let of_ingress = batch.parts.iter().enumerate().filter(|(_, part)| part.ingress == ingress);
            touched.extend(
                of_ingress.map(|(index, part)| (*id, part.live_rids(*id, index as u32, &self.places))),
            );
        }
        for rid in touched.iter().flat_map(|(_, rids)| rids_of(rids)) {
            self.remove(&rid);
        }
        touched.into_iter().map(|(id, _)| id).collect()
    }

    /// Forgets a batch and its requests.
    pub(super) fn close(&mut self, id: Id) -> Option<Batch> {
        let batch = self.all.remove(&id)?;
        for rid in batch.parts.iter().flat_map(|part| rids_of(&part.rids)) {
            // A request that was withdrawn may be in another batch by now.
            if self.places.get(&rid).is_some_and(|place| place.batch == id) {
                self.places.remove(&rid);
            }
        }
        self.give_back_room();
        Some(batch)
    }

    /// What a submitter is told of a batch.
    pub(super) fn offer(&self, id: Id, bid: Bid) -> Option<wire::Offer> {
        let batch = self.all.get(&id)?;
        let parts = batch.parts.iter().enumerate().filter(|(_, part)| part.live > 0);
        let parts = parts.map(|(index, part)| wire::OfferPart {
            ingress: part.ingress.to_bytes(),
            reply: part.reply.clone(),
            rids: part.live_rids(id, index as u32, &self.places).into(),
        });
        let parts = parts.collect();
        Some(wire::Offer { bid: bid.to_bytes(), key: Some(batch.key.to_wire()), parts, bytes: batch.bytes })
    }

    fn give_back_room(&mut self) {
        if self.places.is_empty() && self.places.capacity() > KEPT_ROOM {
            self.places = HashMap::new();
        }
    }
}

impl Batch {
    /// Bytes of the bodies and what the provider's format has around them.
    fn line_bytes(&self, limits: &Limits) -> u64 {
        self.bytes + self.lines as u64 * limits.overhead
    }

    /// The latest parts are looked at first: announcements of one ingress come in packs.
    fn part_of(&self, ingress: Pid) -> Option<usize> {
        self.parts.iter().rposition(|part| part.ingress == ingress)
    }

    fn add_part(&mut self, from: Origin<'_>) -> usize {
        self.encoded += limits::part_len(from.reply);
        self.parts.push(Part {
            ingress: from.ingress,
            reply: from.reply.to_owned(),
            rids: Vec::new(),
            live: 0,
        });
        self.parts.len() - 1
    }
}

impl Part {
    /// The requests that were not withdrawn.
    fn live_rids(&self, batch: Id, part: u32, places: &HashMap<Rid, Place>) -> Vec<u8> {
        if self.live * ID_LEN == self.rids.len() {
            return self.rids.clone();
        }
        let mut live = Vec::with_capacity(self.live * ID_LEN);
        for (slot, rid) in rids_of(&self.rids).enumerate() {
            let here = |place: &Place| (place.batch, place.part, place.slot as usize) == (batch, part, slot);
            if places.get(&rid).is_some_and(here) {
                live.extend_from_slice(&rid.0);
            }
        }
        live
    }

    /// Leaves out those that were withdrawn. Returns how many bytes that saved.
    fn compact(&mut self, batch: Id, part: u32, places: &mut HashMap<Rid, Place>) -> usize {
        let live = self.live_rids(batch, part, places);
        for (slot, rid) in rids_of(&live).enumerate() {
            if let Some(place) = places.get_mut(&rid) {
                place.slot = slot as u32;
            }
        }
        let saved = self.rids.len() - live.len();
        self.rids = live;
        saved
    }
}

fn rids_of(packed: &[u8]) -> impl Iterator<Item = Rid> {
    packed.as_chunks::<ID_LEN>().0.iter().copied().map(Rid)
}
