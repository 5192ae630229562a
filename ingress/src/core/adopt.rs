//! Requests of an ingress that is gone, whose callers have come here: a submitter still knows them by their ids.
//!
//! The call becomes the request that it repeats, under its id, in a batch that this ingress has taken over from the start:
//! from here on it is recovered like any batch. What the submitter has for the lost ingress stays as it is, so that nothing
//! is lost if that one was only out of reach.

use std::time::Duration;

use common::ids::{Bid, Pid, Rid};
use common::timers::Now;
use common::wire;

use super::grant::Batch;
use super::recover::next_id;
use super::{Core, Output, Phase};

impl<W> Core<W> {
    /// Takes over requests of a batch, for the callers that repeat them, and has a submitter deliver to this ingress.
    pub(super) fn adopt(
        &mut self,
        now: Now,
        submitter: Pid,
        held: &wire::HeldBatch,
        wanted: Vec<(Rid, Rid)>,
        out: &mut Vec<Output<W>>,
    ) {
        let Ok(origin) = Bid::from_slice(&held.origin) else { return };
        self.epochs = self.epochs.saturating_add(1);
        let bid = next_id(origin, self.members.pid(), self.epochs);
        let mut batch: Option<Batch> = None;
        for (caller, rid) in wanted {
            // It has its original's id where it was taken over once and came back.
            let known = self.requests.contains_key(&rid) || self.kept.outcome(rid).is_some();
            if known && caller != rid {
                // Taken over for another caller before.
                self.join(now, caller, rid, out);
                continue;
            }
            let Some(mut request) = self.take_request(caller) else { continue };
            self.questions.forget(caller);
            self.pairs.rename(request.place, rid);
            self.repetitions.extend(request.callers.ids().map(|id| (id, rid)));
            request.phase = Phase::Granted(bid);
            request.queued = Some(now.saturating_sub(request.held_at));
            let batch = batch.get_or_insert_with(|| {
                let mut batch =
                    Batch::new(now, submitter, self.epochs, origin, &request.key, &request.credential);
                batch.former.push(origin);
                batch.copied = true;
                batch.recovering = Some(0);
                (batch.files, batch.job) = (held.files.clone(), held.job.clone());
                batch.age_before = Duration::from_millis(held.age_ms);
                batch
            });
            batch.add(rid, std::mem::take(&mut request.body));
            self.requests.insert(rid, request);
            self.renew_deadline(now, rid);
        }
        if let Some(batch) = batch {
            tracing::info!(%bid, job = batch.job, requests = batch.waiting, "taking up requests of an ingress that is gone");
            self.batches.insert(bid, batch);
            self.ask_to_recover(now, bid, out);
        }
    }

    /// A request that was another's and came to nothing goes by the id of one of its callers from now on. Under the other id a
    /// submitter knows the lost ingress's part for as long as it keeps it, and a repetition may find that again when this request
    /// has been executed and forgotten.
    pub(super) fn with_own_id(&mut self, now: Now, rid: Rid) -> Rid {
        let Some(request) = self.take_request(rid) else { return rid };
        let own =
            request.callers.first_of_here().filter(|own| !self.requests.contains_key(own)).unwrap_or(rid);
        self.pairs.rename(request.place, own);
        // Its own too: of a caller at another ingress this tells what it waits for.
        self.repetitions.extend(request.callers.ids().map(|id| (id, own)));
        self.requests.insert(own, request);
        self.renew_deadline(now, own);
        own
    }

    /// The callers of one request join those of another that is the same.
    pub(super) fn join(&mut self, now: Now, caller: Rid, rid: Rid, out: &mut Vec<Output<W>>) {
        let Some(request) = self.take_request(caller) else { return };
        self.questions.forget(caller);
        self.pairs.remove(request.place);
        for (id, waiter) in request.callers.waiting() {
            self.attach(now, rid, id, waiter, out);
        }
    }
}
