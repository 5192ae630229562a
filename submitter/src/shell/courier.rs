//! Delivers outcomes to ingresses until each is acknowledged, with a bounded window for each ingress.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use common::ids::{Bid, Pid, Rid};
use common::link::Link;
use common::outcome::Outcome;
use common::seal::{GrantKey, result_aad};
use common::subjects::Subjects;
use common::timers::backoff;
use common::wire;
use prost::Message as _;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use crate::core::Granted;

/// Bytes on their way to one ingress.
const WINDOW: usize = 2 * 1024 * 1024;
/// Bytes of a body in one message, well under the bus's limit of 1 MB.
const PART: usize = 256 * 1024;
/// Waits before a part that was not acknowledged is sent again.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_MAX: Duration = Duration::from_secs(10);
/// How often that is looked for.
const LOOK: Duration = Duration::from_millis(250);

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct Courier(Arc<Inner>);

struct Inner {
    bid: Bid,
    link: Link,
    lanes: HashMap<Pid, Lane>,
    by_rid: HashMap<Rid, Pid>,
    told: Mutex<HashSet<Rid>>,
    /// Groups of outcomes that are being told.
    telling: AtomicUsize,
    /// Told when something was acknowledged or lost.
    less: Notify,
    /// Told when something was sent, and at the end.
    more: Arc<Notify>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.more.notify_one();
    }
}

struct Lane {
    granted: Granted,
    key: GrantKey,
    window: Semaphore,
    lost: AtomicBool,
    sent: Mutex<Sent>,
}

#[derive(Default)]
struct Sent {
    next: u64,
    unacknowledged: BTreeMap<u64, Parcel>,
}

struct Parcel {
    subject: String,
    payload: Bytes,
    again_at: Instant,
    attempt: u32,
    weight: u32,
}

impl Courier {
    pub(super) fn new(bid: Bid, lanes: Vec<(Granted, GrantKey)>, link: Link) -> Self {
        let by_rid = lanes.iter().flat_map(|(g, _)| g.rids.iter().map(|rid| (*rid, g.ingress))).collect();
        let lane = |(granted, key): (Granted, GrantKey)| {
            let (window, lost) = (Semaphore::new(WINDOW), AtomicBool::new(false));
            (granted.ingress, Lane { granted, key, window, lost, sent: Mutex::default() })
        };
        let lanes = lanes.into_iter().map(lane).collect();
        let more = Arc::new(Notify::new());
        let courier = Self(Arc::new(Inner {
            bid,
            link,
            lanes,
            by_rid,
            told: Mutex::default(),
            telling: AtomicUsize::new(0),
            less: Notify::new(),
            more: more.clone(),
        }));
        tokio::spawn(send_again(Arc::downgrade(&courier.0), more));
        courier
    }

    pub(super) fn key(&self, ingress: Pid) -> Option<&GrantKey> {
        self.0.lanes.get(&ingress).map(|lane| &lane.key)
    }

    /// The batch.
    pub(super) fn bid(&self) -> Bid {
        self.0.bid
    }

    /// Whether a request belongs to this batch.
    pub(super) fn knows(&self, rid: Rid) -> bool {
        self.0.by_rid.contains_key(&rid)
    }

    /// Sends one outcome to several. What this will send is waited for by [`Courier::flushed`] from now on, even while
    /// the returned future has not run.
    pub(super) fn tell_all(
        &self,
        rids: Vec<Rid>,
        outcome: Outcome,
    ) -> impl Future<Output = ()> + Send + 'static {
        self.0.telling.fetch_add(1, Ordering::AcqRel);
        let courier = self.clone();
        async move {
            for rid in rids {
                courier.tell(rid, outcome.clone()).await;
            }
            courier.0.telling.fetch_sub(1, Ordering::AcqRel);
            courier.0.less.notify_waiters();
        }
    }

    /// Sends an outcome to the ingress of its request; waits while the window is full. Only the first outcome of a
    /// request is sent.
    pub(super) async fn tell(&self, rid: Rid, outcome: Outcome) {
        let Some(lane) = self.0.by_rid.get(&rid).and_then(|pid| self.0.lanes.get(pid)) else { return };
        if !lock(&self.0.told).insert(rid) {
            return;
        }
        let (head, body) = outcome.into_wire();
        let parts = body.len().div_ceil(PART).max(1);
        for part in 0..parts {
            let piece = body.slice(part * PART..body.len().min((part + 1) * PART));
            let head = (part == 0).then(|| head.clone());
            self.send(lane, rid, part as u32, part + 1 == parts, head, &piece).await;
        }
    }

    async fn send(
        &self,
        lane: &Lane,
        rid: Rid,
        part: u32,
        last: bool,
        head: Option<wire::OutcomeHead>,
        piece: &[u8],
    ) {
        let weight = (piece.len() + 256).min(WINDOW) as u32;
        // The window is closed when its ingress is lost: then nobody waits for the answer.
        let Ok(permit) = lane.window.acquire_many(weight).await else { return };
        permit.forget();
        let epoch = lane.granted.epoch;
        let encoded = head.as_ref().map(prost::Message::encode_to_vec).unwrap_or_default();
        let aad = result_aad(rid, self.0.bid, epoch, part, last, &encoded);
        let Ok(sealed_body) = lane.key.seal(&aad, &[piece]) else { return };
        let subject = Subjects::result(&lane.granted.reply_prefix, rid);
        let submitter = self.0.link.pid().to_bytes();
        let mut sent = lock(&lane.sent);
        let seq = sent.next;
        sent.next += 1;
        let (rid, bid) = (rid.to_bytes(), self.0.bid.to_bytes());
        let result = wire::Result { rid, bid, epoch, submitter, seq, part, last, head, sealed_body };
        let payload: Bytes = result.encode_to_vec().into();
        let parcel = Parcel {
            subject: subject.clone(),
            payload: payload.clone(),
            again_at: Instant::now() + AGAIN,
            attempt: 0,
            weight,
        };
        sent.unacknowledged.insert(seq, parcel);
        drop(sent);
        self.0.more.notify_one();
        self.0.link.send(subject, None, payload);
    }

    /// Takes acknowledgements in.
    pub(super) fn acknowledged(&self, ingress: Pid, seqs: &[u64]) {
        let Some(lane) = self.0.lanes.get(&ingress) else { return };
        let mut sent = lock(&lane.sent);
        let weight: usize =
            seqs.iter().filter_map(|seq| sent.unacknowledged.remove(seq)).map(|p| p.weight as usize).sum();
        lane.window.add_permits(weight);
        if sent.unacknowledged.is_empty() {
            self.0.less.notify_waiters();
        }
    }

    /// An ingress is gone: nothing is sent to it any more.
    pub(super) fn lost(&self, ingress: Pid) {
        let Some(lane) = self.0.lanes.get(&ingress) else { return };
        lane.lost.store(true, Ordering::Relaxed);
        lane.window.close();
        lock(&lane.sent).unacknowledged.clear();
        self.0.less.notify_waiters();
    }

    /// Waits until everything that was sent is acknowledged. Nothing may be told meanwhile that has to be waited for.
    pub(super) async fn flushed(&self) {
        loop {
            let less = self.0.less.notified();
            tokio::pin!(less);
            // Registered before looking, so that no change in between is missed.
            less.as_mut().enable();
            let none_on_its_way = self.0.telling.load(Ordering::Acquire) == 0;
            if none_on_its_way && self.0.lanes.values().all(Lane::is_empty) {
                return;
            }
            less.await;
        }
    }
}

impl Lane {
    fn is_empty(&self) -> bool {
        self.lost.load(Ordering::Relaxed) || lock(&self.sent).unacknowledged.is_empty()
    }

    fn due(&self, now: Instant) -> Vec<(String, Bytes)> {
        let mut sent = lock(&self.sent);
        let due = sent.unacknowledged.iter_mut().filter(|(_, parcel)| parcel.again_at <= now);
        let take = |(seq, parcel): (&u64, &mut Parcel)| {
            parcel.attempt += 1;
            parcel.again_at = now + backoff(AGAIN, AGAIN_MAX, parcel.attempt, *seq);
            (parcel.subject.clone(), parcel.payload.clone())
        };
        due.map(take).collect()
    }
}

/// Looks for what was not acknowledged while something is on its way. A batch that runs for hours costs nothing.
async fn send_again(courier: Weak<Inner>, more: Arc<Notify>) {
    loop {
        more.notified().await;
        loop {
            tokio::time::sleep(LOOK).await;
            let Some(courier) = courier.upgrade() else { return };
            let now = Instant::now();
            for (subject, payload) in courier.lanes.values().flat_map(|lane| lane.due(now)) {
                courier.link.send(subject, None, payload);
            }
            if courier.lanes.values().all(Lane::is_empty) {
                break;
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
