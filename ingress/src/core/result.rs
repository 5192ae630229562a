//! Results: parts put together, the first whole outcome wins, everything is acknowledged.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use common::ids::{Bid, Pid, Rid};
use common::outcome::{Fault, FaultClass, Outcome};
use common::timers::Now;
use common::wire;

use super::{Core, Output, Phase, Request};

/// The longest answer that is put together, in bytes. An OpenAI result file holds 200 MB of requests at most, so no
/// sane answer comes near.
pub(super) const MAX_ANSWER: usize = 512 * 1024 * 1024;

/// A part of an outcome whose seal was opened.
#[derive(Debug)]
pub struct ResultPart {
    /// Of this request,
    pub rid: Rid,
    /// in this batch,
    pub bid: Bid,
    /// from this submitter,
    pub submitter: Pid,
    /// to be acknowledged by this number.
    pub seq: u64,
    /// Number of the part, from 0.
    pub part: u32,
    /// Whether it is the last.
    pub last: bool,
    /// Comes with part 0.
    pub head: Option<wire::OutcomeHead>,
    /// The body's next piece.
    pub body: Bytes,
}

/// Outcomes of which some parts have arrived, in any order: one for each submitter and batch that delivers it, since a
/// submitter that was thought dead may deliver beside the one that took over.
pub(super) type Partials = BTreeMap<(Pid, Bid), Partial>;

/// One of them.
#[derive(Debug, Default)]
pub(super) struct Partial {
    head: Option<wire::OutcomeHead>,
    parts: BTreeMap<u32, Bytes>,
    /// Number of parts, once known.
    total: Option<usize>,
    bytes: usize,
}

impl Partial {
    /// Takes a part in, and the whole out when it was the last one missing.
    fn add(&mut self, part: ResultPart) -> Option<Option<Outcome>> {
        if part.last {
            self.total = Some(part.part as usize + 1);
        }
        self.head = self.head.take().or(part.head);
        let bytes = part.body.len();
        if self.parts.insert(part.part, part.body).is_none() {
            self.bytes += bytes;
        }
        if self.bytes > MAX_ANSWER {
            return Some(None);
        }
        if self.total != Some(self.parts.len()) {
            return None;
        }
        let mut body = BytesMut::with_capacity(self.bytes);
        self.parts.values().for_each(|piece| body.extend_from_slice(piece));
        Some(self.head.take().and_then(|head| Outcome::from_wire(head, body.freeze())))
    }
}

impl<W> Core<W> {
    pub(super) fn result(&mut self, now: Now, part: ResultPart, out: &mut Vec<Output<W>>) {
        let (rid, bid) = (part.rid, part.bid);
        if self.members.is_draining() && !self.requests.contains_key(&rid) && self.kept.outcome(rid).is_none()
        {
            // Dropped at the end: with the submitter it can be found by its caller, who may come to another ingress.
            return;
        }
        self.acks.entry((part.submitter, bid)).or_default().push(part.seq);
        // Acknowledged all the same when it is not awaited: a repeated part, or a request that has ended.
        let told = bid;
        let Some((request, bid)) = self.awaited(rid, bid) else { return };
        let former = told != bid;
        let whole = match (part.part, part.last) {
            (0, true) => Some(part.head.and_then(|head| Outcome::from_wire(head, part.body))),
            _ => request
                .partials
                .get_or_insert_default()
                .entry((part.submitter, part.bid))
                .or_default()
                .add(part),
        };
        if let Some(outcome) = whole {
            let outcome = outcome.unwrap_or_else(|| Outcome::Fault(unreadable()));
            if former && matches!(outcome, Outcome::Fault(_)) {
                // One that was given up knows less than who has taken its batch over.
                return;
            }
            // Not where somebody else cancelled it, who had his reasons. Of a batch that was taken over, that cannot be told.
            let ours =
                |batch: &super::grant::Batch| batch.abandoned || batch.overdue || !batch.former.is_empty();
            // Or another ingress's callers did not wait, who share the batch.
            let ours = goes_again(&outcome) || self.batches.get(&bid).is_some_and(ours);
            if ours && is_cancelled(&outcome) || self.is_left_over(now, rid, &outcome) {
                self.doubt(rid, &outcome);
                self.goes_again(now, rid, bid, Duration::ZERO, out);
            } else if is_given_back(&outcome) {
                self.requeue(now, rid, bid, out);
            } else if self.may_go_alone(rid, &outcome) {
                self.refused_batch(now, rid, bid, out);
            } else if self.may_go_again(rid, &outcome) {
                self.retry_line(now, rid, bid, outcome, out);
            } else {
                self.end_granted(now, rid, bid, outcome, out);
            }
        }
    }
}

impl<W> Core<W> {
    /// A request that waits for results of a batch, and the batch's id of today: a submitter that was thought dead still
    /// delivers under the old one.
    fn awaited(&mut self, rid: Rid, bid: Bid) -> Option<(&mut Request<W>, Bid)> {
        let request = self.requests.get_mut(&rid)?;
        let Phase::Granted(today) = request.phase else { return None };
        let same = today == bid || self.batches.get(&today).is_some_and(|batch| batch.former.contains(&bid));
        same.then_some((request, today))
    }
}

/// Whether the line was not executed because its job was cancelled.
fn is_cancelled(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Fault(fault) if fault.code == "batch_cancelled")
}

/// Whether it was not submitted, since its provider had no room for all of the batch.
fn is_given_back(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Fault(fault) if fault.requeue)
}

/// Whether there is no answer, and the request may be put into another batch.
pub(super) fn goes_again(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Fault(fault) if fault.again)
}

fn unreadable() -> Fault {
    Fault::new(FaultClass::Internal, "unreadable_result", "The answer of the request could not be read.")
        .no_retry()
}
