//! From a batch to the next way: at the deadline, when it is refused, or into a later batch when its line failed.
//!
//! A request leaves a batch only when that is over and has no answer to it; with `--deadline-hard` earlier. Where the provider may
//! have executed it all the same, it goes on once, and that is counted.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::ids::{Bid, Pid, Rid};
use common::key::BatchKey;
use common::outcome::{Fault, FaultClass, Outcome, Route};
use common::timers::{Now, backoff};
use common::wire;
use http::{HeaderMap, Uri};

use super::grant::Batch;
use super::result::goes_again;
use super::{Core, Output, Phase, Request};
use crate::dialect::Edit;
use crate::hold::Call;
use crate::plan::{Reason, Ways};

/// How soon a request whose time is over is looked at again while others are asked about it.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// First wait before a later batch; it doubles up to the second. A provider in trouble needs more than a moment.
const REST: Duration = Duration::from_secs(5);
const REST_MAX: Duration = Duration::from_secs(600);

/// A call to be made alone.
pub struct Solo {
    /// Whose outcome it is.
    pub rid: Rid,
    /// What it is, and what stands beside its body.
    pub key: BatchKey,
    /// The header lines that authenticate it at the provider.
    pub credential: Arc<HeaderMap>,
    /// Without the wish for a stream.
    pub body: Bytes,
    /// What was changed in it for the batch.
    pub edit: Option<Arc<Edit>>,
    /// Where it is called.
    pub uri: Arc<Uri>,
    /// The first way to try.
    pub route: Route,
    /// Why.
    pub reason: Reason,
    /// Whether a batch may execute it too.
    pub perhaps_twice: bool,
}

/// Wait before another batch of a request that was given back for want of room: none the first time, and then longer each time up
/// to the second. Of all that a batch gives back it is about the same, so that it stays together.
const GIVEN_BACK: Duration = Duration::from_millis(100);
const GIVEN_BACK_MAX: Duration = Duration::from_secs(5);

/// When requests are to be looked at, since the time of their batches is over. Those that have ended are not in it.
#[derive(Debug, Default)]
pub(super) struct Deadlines(BTreeSet<(Now, Rid)>);

impl Deadlines {
    pub(super) fn next(&self) -> Option<Now> {
        self.0.first().map(|(at, _)| *at)
    }

    pub(super) fn pop(&mut self, now: Now) -> Option<Rid> {
        let (_, rid) = *self.0.first().filter(|(at, _)| *at <= now)?;
        self.0.pop_first();
        Some(rid)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// How far a request has come on its way.
pub(super) struct Steps {
    pub(super) ways: Ways,
    pub(super) flex: bool,
    /// When its batch is given up.
    pub(super) due: Option<Now>,
    /// When it is looked at for that.
    watched: Option<Now>,
    pub(super) reason: Reason,
    /// Whether a batch that it left may have executed it.
    pub(super) perhaps_twice: bool,
    /// How its line failed last.
    last: Option<Box<Outcome>>,
    /// Later batches that it was put into.
    pub(super) retries: u32,
    /// How often it was given back.
    pub(super) given_back: u32,
    /// Where it is called alone.
    pub(super) uri: Arc<Uri>,
    /// What was changed in its body for the batch.
    pub(super) edit: Option<Arc<Edit>>,
}

impl Steps {
    pub(super) fn new(now: Now, call: &Call) -> Self {
        let plan = call.plan;
        let (due, reason) = match plan.ways {
            Ways::Alone => (Some(now), Reason::Mode),
            Ways::Any if plan.refused => (Some(now), Reason::Refused),
            Ways::Any | Ways::Batch => {
                (plan.deadline.map(|after| now.saturating_add(after)), Reason::Deadline)
            }
        };
        Self {
            ways: plan.ways,
            flex: plan.flex && !plan.refused,
            due,
            watched: None,
            reason,
            perhaps_twice: false,
            last: None,
            retries: 0,
            given_back: 0,
            uri: call.uri.clone(),
            edit: call.edit.clone(),
        }
    }

    pub(super) fn is_due(&self, now: Now) -> bool {
        self.due.is_some_and(|due| due <= now)
    }
}

impl<W> Core<W> {
    /// A request is there. Where batches take too long of late it is not put into one.
    pub(super) fn watch_deadline(&mut self, now: Now, rid: Rid) {
        let Some(request) = self.requests.get_mut(&rid) else { return };
        if request.steps.due.is_none() {
            return;
        }
        let hopeless = |due: Now| self.estimates.exceeds(now, &request.key, due.saturating_sub(now));
        let later = request.steps.due.filter(|due| request.steps.ways == Ways::Any && *due > now);
        if later.is_some_and(hopeless) {
            (request.steps.due, request.steps.reason) = (Some(now), Reason::Estimate);
        }
        self.renew_deadline(now, rid);
    }

    /// Looks at a request at this time, and not at another.
    pub(super) fn watch(&mut self, at: Now, rid: Rid) {
        let Some(request) = self.requests.get_mut(&rid) else { return };
        if let Some(before) = request.steps.watched.replace(at) {
            self.deadlines.0.remove(&(before, rid));
        }
        self.deadlines.0.insert((at, rid));
    }

    /// Takes a request out, with its deadline.
    pub(super) fn take_request(&mut self, rid: Rid) -> Option<Request<W>> {
        let mut request = self.requests.remove(&rid)?;
        if let Some(at) = request.steps.watched.take() {
            self.deadlines.0.remove(&(at, rid));
        }
        Some(request)
    }

    /// A caller came for a request that would not wait as long as it does.
    pub(super) fn hurry(&mut self, now: Now, rid: Rid, steps: &Steps) {
        let Some(request) = self.requests.get_mut(&rid) else { return };
        let Some(due) = steps.due.filter(|_| request.steps.ways != Ways::Batch) else { return };
        if request.steps.due.is_none_or(|known| due < known) {
            (request.steps.due, request.steps.reason) = (Some(due), steps.reason);
            self.renew_deadline(now, rid);
        }
    }

    /// A request goes by this id from now on, and so does its deadline.
    pub(super) fn renew_deadline(&mut self, now: Now, rid: Rid) {
        if let Some(due) = self.requests.get(&rid).and_then(|request| request.steps.due) {
            self.watch(due.max(now), rid);
        }
    }

    /// The time of a request's batch is over.
    pub(super) fn due(&mut self, now: Now, rid: Rid, out: &mut Vec<Output<W>>) {
        let Some(request) = self.requests.get(&rid).filter(|request| request.steps.is_due(now)) else {
            return;
        };
        if self.has_stood_still(now) {
            // Its caller may be served elsewhere by now.
            return self.watch(now + ASK_AGAIN, rid);
        }
        if request.callers.alone_since().is_some() {
            // Who takes it up is in a hurry then.
            return;
        }
        match request.phase {
            Phase::New | Phase::Announced(_) | Phase::Held { .. } | Phase::Resting => {
                self.leave_batcher(rid);
                self.step_down(now, rid, out);
            }
            Phase::Asking(_) => self.watch(now + ASK_AGAIN, rid),
            // The plan of its original counts; or nobody waits; or it is on its way already.
            Phase::Elsewhere | Phase::Withheld | Phase::Alone => {}
            Phase::Granted(bid) => match self.policy.hard && request.steps.ways != Ways::Batch {
                true => self.leave_batch(now, rid, bid, out),
                false => self.give_up_batch(now, bid, out),
            },
        }
    }

    /// Takes the next way, or ends.
    fn step_down(&mut self, now: Now, rid: Rid, out: &mut Vec<Output<W>>) {
        let Some(request) = self.requests.get(&rid) else { return };
        match request.steps.ways {
            Ways::Batch => {
                let steps = self.requests.get_mut(&rid).map(|request| &mut request.steps);
                let last = steps.and_then(|steps| steps.last.take());
                self.end(now, rid, last.map_or_else(|| Outcome::Fault(too_late()), |last| *last), out);
            }
            Ways::Any | Ways::Alone => {
                let route = if request.steps.flex { Route::Flex } else { Route::Sync };
                let body = request.body.clone();
                self.make_alone(rid, body, route, request.steps.reason, out);
            }
        }
    }

    fn make_alone(&mut self, rid: Rid, body: Bytes, route: Route, reason: Reason, out: &mut Vec<Output<W>>) {
        let Some(request) = self.requests.get_mut(&rid) else { return };
        (request.phase, request.partials) = (Phase::Alone, None);
        (request.body, request.steps.reason) = (body.clone(), reason);
        let (key, credential) = (request.key.clone(), request.credential.clone());
        let (uri, edit) = (request.steps.uri.clone(), request.steps.edit.clone());
        let perhaps_twice = request.steps.perhaps_twice;
        out.push(Output::Alone(Solo { rid, key, credential, body, edit, uri, route, reason, perhaps_twice }));
    }

    /// A call that was made alone has ended.
    pub(super) fn made_alone(&mut self, now: Now, rid: Rid, outcome: Outcome, out: &mut Vec<Output<W>>) {
        if self.requests.get(&rid).is_some_and(|request| request.phase == Phase::Alone) {
            self.end(now, rid, outcome, out);
        }
    }

    /// Some request of a batch will not wait for it any longer: its job is cancelled. What it has finished comes back, and for the
    /// rest that it was not executed.
    fn give_up_batch(&mut self, now: Now, bid: Bid, out: &mut Vec<Output<W>>) {
        let Some(batch) = self.batches.get_mut(&bid).filter(|batch| !batch.is_relic()) else { return };
        if !std::mem::replace(&mut batch.overdue, true) {
            self.estimates.record(now, &batch.key, batch.age(now), true);
        }
        out.push(overdue_to(batch.submitter, bid, self.members.pid()));
    }

    /// Says so again where it was not heard.
    pub(super) fn give_up_again(&mut self, out: &mut Vec<Output<W>>) {
        let overdue = |(bid, batch): (&Bid, &Batch)| {
            (batch.overdue && !batch.is_relic()).then_some((*bid, batch.submitter))
        };
        let mut bids: Vec<_> = self.batches.iter().filter_map(overdue).collect();
        bids.sort_unstable();
        out.extend(bids.into_iter().map(|(bid, submitter)| overdue_to(submitter, bid, self.members.pid())));
    }

    /// A request goes on alone although its batch may still execute it.
    fn leave_batch(&mut self, now: Now, rid: Rid, bid: Bid, out: &mut Vec<Output<W>>) {
        self.give_up_batch(now, bid, out);
        let Some(body) = self.body_in(bid, rid) else { return };
        if let Some(request) = self.requests.get_mut(&rid) {
            (request.body, request.steps.perhaps_twice) = (body, true);
        }
        self.step_down(now, rid, out);
        self.batch_answered(now, bid, true, false, out);
    }

    /// The provider takes no batch of a request's key or model.
    pub(super) fn refused_batch(&mut self, now: Now, rid: Rid, bid: Bid, out: &mut Vec<Output<W>>) {
        let attended = self.requests.get(&rid).is_some_and(|request| request.callers.alone_since().is_none());
        match self.body_in(bid, rid).filter(|_| attended) {
            Some(body) => self.make_alone(rid, body, Route::Sync, Reason::Refused, out),
            // Who comes for it finds out anew.
            None => self.drop_request(rid),
        }
        self.batch_answered(now, bid, attended, false, out);
    }

    /// Puts a request into a later batch, after a while that grows.
    pub(super) fn retry_line(
        &mut self,
        now: Now,
        rid: Rid,
        bid: Bid,
        outcome: Outcome,
        out: &mut Vec<Output<W>>,
    ) {
        self.doubt(rid, &outcome);
        let Some(request) = self.requests.get_mut(&rid) else { return };
        request.steps.retries += 1;
        request.steps.last = Some(Box::new(outcome));
        let salt = u64::from_le_bytes(rid.0.first_chunk().copied().unwrap_or_default());
        let wait = backoff(REST, REST_MAX, request.steps.retries - 1, salt);
        tracing::info!(%rid, retry = request.steps.retries, ?wait, "a line failed; its request goes into a later batch");
        self.goes_again(now, rid, bid, wait, out);
    }

    /// Puts a request into another batch that its batch has given back for want of room at the provider. It was not tried: that counts
    /// for nothing, and goes on for as long as somebody waits. Each time some other request of its batch was submitted.
    pub(super) fn requeue(&mut self, now: Now, rid: Rid, bid: Bid, out: &mut Vec<Output<W>>) {
        let Some(request) = self.requests.get_mut(&rid) else { return };
        let wait = GIVEN_BACK.saturating_mul(request.steps.given_back).min(GIVEN_BACK_MAX);
        request.steps.given_back = request.steps.given_back.saturating_add(1);
        self.goes_again(now, rid, bid, wait, out);
    }

    /// Whether a request is made alone since its batch is refused.
    pub(super) fn may_go_alone(&self, rid: Rid, outcome: &Outcome) -> bool {
        let allows = |request: &Request<W>| request.steps.ways != Ways::Batch;
        self.policy.alone_if_refused
            && outcome.is_unbatchable()
            && self.requests.get(&rid).is_some_and(allows)
    }

    /// Whether a batch that was given up has no answer to a request that is to have another way.
    pub(super) fn is_left_over(&self, now: Now, rid: Rid, outcome: &Outcome) -> bool {
        let is_due = |request: &Request<W>| request.steps.is_due(now);
        goes_again(outcome) && self.may_risk(rid, outcome) && self.requests.get(&rid).is_some_and(is_due)
    }

    /// Whether the batch may not have executed a request, or it is the first one that may.
    fn may_risk(&self, rid: Rid, outcome: &Outcome) -> bool {
        !is_doubtful(outcome) || self.requests.get(&rid).is_some_and(|request| !request.steps.perhaps_twice)
    }

    /// Remembers that a batch may have executed a request.
    pub(super) fn doubt(&mut self, rid: Rid, outcome: &Outcome) {
        if let Some(request) = self.requests.get_mut(&rid) {
            request.steps.perhaps_twice |= is_doubtful(outcome);
        }
    }

    /// Whether a line's end is none for its request.
    pub(super) fn may_go_again(&self, rid: Rid, outcome: &Outcome) -> bool {
        let left = |request: &Request<W>| request.steps.retries < self.policy.line_retries;
        let passing = is_passing(outcome) && !self.members.is_draining();
        passing && self.may_risk(rid, outcome) && self.requests.get(&rid).is_some_and(left)
    }

    /// A request may be announced again.
    pub(super) fn rested(&mut self, now: Now, rid: Rid) {
        if self.requests.get(&rid).is_some_and(|request| request.phase == Phase::Resting) {
            self.announce_anew(now, rid);
        }
    }

    pub(super) fn body_in(&mut self, bid: Bid, rid: Rid) -> Option<Bytes> {
        self.batches.get_mut(&bid)?.body_of(rid)
    }
}

/// Whether a request whose batch ended so may have better luck in a later one: the provider had no room or broke down, or has no
/// answer to it.
fn is_passing(outcome: &Outcome) -> bool {
    match outcome {
        // Without a job it is an answer to a call of ours, which says nothing about the line.
        Outcome::Response(response) => {
            let status = response.status;
            !response.job.is_empty() && (status.as_u16() == 429 || status.is_server_error())
        }
        Outcome::Fault(_) => goes_again(outcome),
    }
}

fn is_doubtful(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Fault(fault) if fault.perhaps_executed)
}

fn too_late() -> Fault {
    let message = "The request's batch did not finish within its deadline and was given up. The call allows batches only (x-llm-proxy-mode: batch).";
    Fault::new(FaultClass::Expired, "deadline_exceeded", message).no_retry()
}

/// Tells a submitter that a batch takes too long.
fn overdue_to<W>(submitter: Pid, bid: Bid, ingress: Pid) -> Output<W> {
    let word = wire::Abandoned { bid: bid.to_bytes(), ingress: ingress.to_bytes(), overdue: true };
    Output::ToSubmitter(submitter, None, wire::to_submitter::Body::Abandoned(word))
}

impl std::fmt::Debug for Solo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Solo")
            .field("rid", &self.rid)
            .field("key", &self.key)
            .field("body_len", &self.body.len())
            .field("route", &self.route)
            .field("reason", &self.reason)
            .finish()
    }
}
