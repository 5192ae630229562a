//! How many batches each credential may create: the provider's limit over a sliding time, and how sealing slows down
//! on the way to it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use common::ids::Fingerprint;
use common::timers::Now;
use providers::Caps;
use tracing::{info, warn};

use super::batches::Id;

/// Creations are counted by the minute, so that an account takes the same room however busy it is.
const BUCKET: Duration = Duration::from_secs(60);
/// A job is created some time after its batch was sealed; a creation counts for so much longer.
const SETTLE: Duration = Duration::from_secs(60);
/// However scarce creations are, a batch that is not full is held back for no longer than this while there are some.
const LONGEST: Duration = Duration::from_secs(600);
/// With more accounts than this, those that are far from their limit are forgotten.
const MAX_ACCOUNTS: usize = 131_072;

/// When the minute turns.
pub(super) fn next_minute(now: Now) -> Now {
    BUCKET * u32::try_from(now.as_secs() / BUCKET.as_secs() + 1).unwrap_or(u32::MAX)
}

/// Why a batch is to be sealed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ready {
    /// Nothing more fits, or nothing more will come.
    Full,
    /// Its window or idle gap is over.
    Due { since: Now },
}

/// The batches that one credential created lately, and those that it waits for.
#[derive(Debug)]
pub(super) struct Account {
    caps: Caps,
    /// This batcher's share of the creations.
    share: usize,
    /// Minutes with creations, and how many there were.
    buckets: VecDeque<(u64, usize)>,
    used: usize,
    /// Batches that are full, waiting for a creation.
    full: BTreeSet<Id>,
    /// Batches whose time is over, and since when. They still take arrivals.
    due: BTreeMap<Id, Now>,
    /// When one of the latter was sealed.
    paced: Option<Now>,
    /// When [`Accounts::take_ready`] will be called next.
    planned: Option<Now>,
    widened: bool,
    exhausted: bool,
}

impl Account {
    fn new(caps: Caps) -> Self {
        Self {
            caps,
            share: caps.max_creations,
            buckets: VecDeque::new(),
            used: 0,
            full: BTreeSet::new(),
            due: BTreeMap::new(),
            paced: None,
            planned: None,
            widened: false,
            exhausted: false,
        }
    }

    /// Creations left now.
    fn budget(&self) -> usize {
        self.share.saturating_sub(self.used)
    }

    /// When a batch that is not full may be sealed: at once while half of the creations are unused, and from there on
    /// spaced out, which widens windows and idle gaps. At first batches leave as far apart as the limit allows on
    /// average, then ever farther, so that what is left never quite runs out before the oldest creations leave the
    /// count; one that has waited for long enough goes anyway.
    fn due_at(&self, since: Now) -> Now {
        let half = self.share / 2;
        let Some(paced) = self.paced.filter(|_| self.used > half) else { return Now::ZERO };
        let average = self.caps.creations_window.as_secs_f64() / self.share as f64;
        let space = average * half.max(1) as f64 / self.budget().max(1) as f64;
        (paced + Duration::from_secs_f64(space)).min(since + LONGEST)
    }

    /// Takes out the oldest batch that may be sealed now: by age, so that busy keys do not starve others.
    fn next(&mut self, now: Now) -> Option<Id> {
        if self.budget() == 0 {
            return None;
        }
        let due =
            self.due.first_key_value().filter(|(_, since)| self.due_at(**since) <= now).map(|(id, _)| *id);
        let full = self.full.first().copied();
        let id = full.into_iter().chain(due).min()?;
        if !self.full.remove(&id) {
            self.due.remove(&id);
            self.paced = Some(now);
        }
        Some(id)
    }

    fn is_waiting(&self) -> bool {
        !self.full.is_empty() || !self.due.is_empty()
    }

    /// Counts a creation.
    fn count(&mut self, now: Now) {
        let minute = now.as_secs() / BUCKET.as_secs();
        match self.buckets.back_mut() {
            Some((last, count)) if *last == minute => *count += 1,
            _ => self.buckets.push_back((minute, 1)),
        }
        self.used += 1;
    }

    /// Forgets the creations that no longer count, and takes its share of the limit.
    fn refresh(&mut self, now: Now, batchers: usize) {
        self.share = (self.caps.max_creations / batchers.max(1)).max(1);
        while let Some((minute, count)) = self.buckets.front().copied() {
            if now < self.leaves_at(minute) {
                break;
            }
            self.used -= count;
            self.buckets.pop_front();
        }
    }

    /// A creation counts until the whole of its minute is older than the provider's time.
    fn leaves_at(&self, minute: u64) -> Now {
        Duration::from_secs((minute + 1) * BUCKET.as_secs()) + self.caps.creations_window + SETTLE
    }

    fn is_idle(&self) -> bool {
        self.buckets.is_empty() && !self.is_waiting()
    }

    /// Says what changed, once, and not again at each small step around the limits.
    fn log(&mut self, credential: Fingerprint) {
        let (used, share) = (self.used, self.share);
        if !self.widened && used > share / 2 {
            self.widened = true;
            warn!(%credential, used, share, "many batches within the hour: sealing less often, with larger batches");
        } else if self.widened && used * 8 <= share * 3 {
            self.widened = false;
            info!(%credential, used, share, "sealing as often as configured again");
        }
        let exhausted = self.budget() == 0 && self.is_waiting();
        if exhausted && !self.exhausted {
            warn!(%credential, used, share, "no more batches may be created within the hour: requests wait");
        }
        self.exhausted = exhausted;
    }
}

/// The accounts of all credentials that created batches lately.
#[derive(Debug)]
pub(super) struct Accounts {
    // A fingerprint is made over the upstream too, so it alone names an account.
    all: BTreeMap<Fingerprint, Account>,
    /// Live batchers, this one included: they share each credential's limit.
    batchers: usize,
}

impl Accounts {
    pub(super) fn new() -> Self {
        Self { all: BTreeMap::new(), batchers: 1 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The credentials that have batches waiting for a creation.
    pub(super) fn waiting(&self) -> Vec<Fingerprint> {
        self.all
            .iter()
            .filter(|(_, account)| account.is_waiting())
            .map(|(credential, _)| *credential)
            .collect()
    }

    pub(super) fn share_among(&mut self, batchers: usize) {
        self.batchers = batchers;
    }

    /// Lets a batch wait for a creation, because it is full or because its time is over.
    pub(super) fn ready(&mut self, credential: Fingerprint, caps: Caps, id: Id, ready: Ready) {
        if self.all.len() >= MAX_ACCOUNTS && !self.all.contains_key(&credential) {
            self.all.retain(|_, account| account.widened || account.is_waiting());
        }
        let account = self.all.entry(credential).or_insert_with(|| Account::new(caps));
        account.due.remove(&id);
        match ready {
            Ready::Full => _ = account.full.insert(id),
            Ready::Due { since } => _ = account.due.insert(id, since),
        }
    }

    /// A batch waits no more.
    pub(super) fn not_ready(&mut self, credential: Fingerprint, id: Id) {
        if let Some(account) = self.all.get_mut(&credential) {
            account.full.remove(&id);
            account.due.remove(&id);
        }
    }

    /// Takes the batches out that may be sealed now, and counts them as created. Also returns when to look again,
    /// unless that is planned already; with no creations left it is the next [`Accounts::sweep`].
    pub(super) fn take_ready(&mut self, now: Now, credential: Fingerprint) -> (Vec<Id>, Option<Now>) {
        let Some(account) = self.all.get_mut(&credential) else { return (Vec::new(), None) };
        account.refresh(now, self.batchers);
        let mut taken = Vec::new();
        while let Some(id) = account.next(now) {
            account.count(now);
            taken.push(id);
        }
        account.log(credential);
        account.planned = account.planned.filter(|at| *at > now);
        let next = account.due.first_key_value().filter(|_| account.budget() > 0);
        let again = next
            .map(|(_, since)| account.due_at(*since))
            .filter(|at| account.planned.is_none_or(|p| *at < p));
        account.planned = again.or(account.planned);
        (taken, again)
    }

    /// Brings all accounts up to date and forgets those without recent creations.
    pub(super) fn sweep(&mut self, now: Now) {
        for (credential, account) in &mut self.all {
            account.refresh(now, self.batchers);
            account.log(*credential);
        }
        self.all.retain(|_, account| !account.is_idle());
    }
}
