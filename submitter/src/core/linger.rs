//! From acknowledged results to a batch that can be forgotten.
//!
//! What an ingress has acknowledged it may take with it when it dies, before its caller has received it; the caller then asks
//! again elsewhere. So the batch and its files stay until every caller has received its answer, which takes a moment,
//! and for answers whose callers went away a little longer.

use std::collections::BTreeSet;
use std::time::Duration;

use common::ids::{Bid, Pid};
use common::timers::{Now, backoff};
use common::wire::{self, to_ingress};

use super::{Core, ORPHANED, Output, Purpose, State};

/// First and longest wait before an ingress is asked again whether its callers have received their answers.
const ASK_AGAIN: Duration = Duration::from_millis(500);
const ASK_AGAIN_MAX: Duration = Duration::from_secs(30);

impl Core {
    /// Every ingress has acknowledged.
    pub(super) fn flushed(&mut self, now: Now, bid: Bid, out: &mut Vec<Output>) {
        let draining = self.members.is_draining();
        let Some(batch) = self.batches.get_mut(&bid).filter(|batch| batch.state == State::Flushing) else {
            return;
        };
        let ingresses: BTreeSet<Pid> = batch.grants.iter().map(|grant| grant.ingress).collect();
        if draining || batch.handed_over || batch.job.is_none() || ingresses.is_empty() {
            return self.finish(now, bid, out);
        }
        self.enter(now, bid, State::Lingering(ingresses.clone()), out);
        for ingress in ingresses {
            self.ask_whether_received(now, bid, ingress, 0, out);
        }
    }

    fn ask_whether_received(
        &mut self,
        now: Now,
        bid: Bid,
        ingress: Pid,
        attempt: u32,
        out: &mut Vec<Output>,
    ) {
        let patience = backoff(ASK_AGAIN, ASK_AGAIN_MAX, attempt, super::salt(bid));
        let token = self.token(now, Purpose::Delivered(bid, ingress, attempt), patience);
        let delivered = to_ingress::Body::Delivered(wire::Delivered { bid: bid.to_bytes() });
        out.push(Output::ToIngress(ingress, Some(token), delivered));
    }

    /// No answer so far, or some callers have not received theirs.
    pub(super) fn not_received(
        &mut self,
        now: Now,
        bid: Bid,
        ingress: Pid,
        attempt: u32,
        out: &mut Vec<Output>,
    ) {
        let Some(batch) = self.batches.get_mut(&bid) else { return };
        let State::Lingering(waiting) = &batch.state else { return };
        if now.saturating_sub(batch.since) >= self.timing.linger {
            return self.finish(now, bid, out);
        }
        if waiting.contains(&ingress) {
            self.ask_whether_received(now, bid, ingress, attempt + 1, out);
        }
    }

    /// Nobody at this ingress will ask again; or nobody is there, and others may.
    pub(super) fn received(&mut self, now: Now, bid: Bid, ingress: Pid, out: &mut Vec<Output>) {
        let Some(batch) = self.batches.get_mut(&bid) else { return };
        let State::Lingering(waiting) = &mut batch.state else { return };
        waiting.remove(&ingress);
        if waiting.is_empty() {
            self.finish(now, bid, out);
        }
    }

    /// The files may go, unless an ingress was lost whose callers may come for their part.
    pub(super) fn finish(&mut self, now: Now, bid: Bid, out: &mut Vec<Output>) {
        let draining = self.members.is_draining();
        let Some(batch) = self.batches.get_mut(&bid) else { return };
        let anothers = batch.recovery.is_some() && !batch.handed_over;
        batch.state = State::Done;
        batch.step += 1;
        let files: Vec<String> = match batch.handed_over {
            true => Vec::new(),
            false => batch.files.clone().into_iter().chain(batch.result_files()).collect(),
        };
        // Other ingresses have their parts recovered by themselves, from the same files.
        let due = if batch.is_whole() { now } else { now + ORPHANED };
        for file in files {
            self.delete_at(now, bid, &file, due);
        }
        if anothers {
            self.sweep_later(now, bid);
        }
        match draining {
            true => self.tidy_before_leaving(now, bid, out),
            false => self.chores(now, bid, out),
        }
    }
}
