//! How many batches each credential may create: the provider's limit over a sliding time, and how sealing slows down
//! on the way to it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use common::caps::Caps;
use common::ids::Fingerprint;
use common::timers::Now;
use tracing::{info, warn};

use super::batches::Id;

/// Creations are counted by the minute, so that an account takes the same room however busy it is.
pub(super) const BUCKET: Duration = Duration::from_secs(60);
/// A job is created some time after its batch was sealed; a creation counts for so much longer.
const SETTLE: Duration = Duration::from_secs(60);
/// However scarce creations are, a batch is not filled for longer than this while there are some.
const LONGEST: Duration = Duration::from_secs(600);
/// With more accounts than this, those that are far from their limit are forgotten.
const MAX_ACCOUNTS: usize = 131_072;

/// When the minute turns.
pub(super) fn next_minute(now: Now) -> Now {
    BUCKET * u32::try_from(now.as_secs() / BUCKET.as_secs() + 1).unwrap_or(u32::MAX)
}

/// The batches that one credential created lately, and those that it waits for.
#[derive(Debug)]
pub(super) struct Account {
    caps: &'static Caps,
    /// This batcher's share of the creations.
    share: usize,
    /// Minutes with creations, and how many there were.
    buckets: VecDeque<(u64, usize)>,
    used: usize,
    /// Batches that are to be sealed as soon as there is a creation for them. The oldest comes first, so that busy
    /// keys do not starve others of the same credential.
    ready: BTreeSet<Id>,
    widened: bool,
    exhausted: bool,
}

impl Account {
    fn new(caps: &'static Caps) -> Self {
        Self {
            caps,
            share: caps.max_creations,
            buckets: VecDeque::new(),
            used: 0,
            ready: BTreeSet::new(),
            widened: false,
            exhausted: false,
        }
    }

    /// Creations left now.
    fn budget(&self) -> usize {
        self.share.saturating_sub(self.used)
    }

    /// `wait` while half of the creations are unused. From there on it grows as the rest shrinks: the fewer are left,
    /// the longer batches are filled, so that a steady flow settles below the limit.
    pub(super) fn widen(&self, wait: Duration) -> Duration {
        let half = self.share / 2;
        match self.used > half {
            true => wait.mul_f64(half.max(1) as f64 / self.budget().max(1) as f64).min(wait.max(LONGEST)),
            false => wait,
        }
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
        self.buckets.is_empty() && self.ready.is_empty()
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
        let exhausted = self.budget() == 0 && !self.ready.is_empty();
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

    pub(super) fn get(&self, credential: Fingerprint) -> Option<&Account> {
        self.all.get(&credential)
    }

    /// The credentials that have batches waiting for a creation.
    pub(super) fn waiting(&self) -> Vec<Fingerprint> {
        self.all.iter().filter(|(_, account)| !account.ready.is_empty()).map(|(credential, _)| *credential).collect()
    }

    pub(super) fn share_among(&mut self, batchers: usize) {
        self.batchers = batchers;
    }

    /// Lets a batch wait for a creation.
    pub(super) fn ready(&mut self, credential: Fingerprint, caps: &'static Caps, id: Id) {
        if self.all.len() >= MAX_ACCOUNTS && !self.all.contains_key(&credential) {
            self.all.retain(|_, account| account.widened || !account.ready.is_empty());
        }
        self.all.entry(credential).or_insert_with(|| Account::new(caps)).ready.insert(id);
    }

    /// Whether a batch waits for a creation.
    pub(super) fn is_ready(&self, credential: Fingerprint, id: Id) -> bool {
        self.all.get(&credential).is_some_and(|account| account.ready.contains(&id))
    }

    /// A batch waits no more.
    pub(super) fn not_ready(&mut self, credential: Fingerprint, id: Id) {
        self.all.get_mut(&credential).map(|account| account.ready.remove(&id));
    }

    /// Takes the batches out that may be sealed now, oldest first, and counts them as created.
    pub(super) fn take_ready(&mut self, now: Now, credential: Fingerprint) -> Vec<Id> {
        let Some(account) = self.all.get_mut(&credential) else { return Vec::new() };
        account.refresh(now, self.batchers);
        let mut taken = Vec::new();
        while account.budget() > 0
            && let Some(id) = account.ready.pop_first()
        {
            account.count(now);
            taken.push(id);
        }
        account.log(credential);
        taken
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
