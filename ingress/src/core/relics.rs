//! Batches of which nothing waits here any more, while something of theirs may be at the provider: an upload of a submitter
//! that is gone, or files that are still to be deleted. Nothing is on disk, so whoever remembers has to see to it.
//!
//! While its submitter lives, that one tidies up, and a relic is forgotten as soon as it says so. When it is gone, another is
//! asked, in the same way as for a batch with requests (`recover.rs`).

use std::time::Duration;

use common::ids::Bid;
use common::timers::Now;

use super::Core;
use super::grant::Batch;

/// Most of them, about a kilobyte each. Of more, only their submitters know.
const MOST: usize = 2_000;
/// How long one is kept that no submitter says it holds: somebody to tidy up was looked for all the time.
const KEPT_FOR: Duration = Duration::from_secs(3600);

impl Batch {
    /// Whether nothing of it waits here.
    pub(super) fn is_relic(&self) -> bool {
        self.waiting == 0
    }
}

impl<W> Core<W> {
    /// Number of relics.
    pub(super) fn relics(&self) -> usize {
        self.batches.values().filter(|batch| batch.is_relic()).count()
    }

    /// Nothing of a batch waits any more.
    pub(super) fn keep_relic(&mut self, now: Now, bid: Bid) {
        let room = self.relics() < MOST;
        let Some(batch) = self.batches.get_mut(&bid).filter(|_| room) else {
            self.batches.remove(&bid);
            return;
        };
        (batch.bodies, batch.ends) = (Vec::new(), Vec::new());
        (batch.waiting, batch.attended, batch.alone_since, batch.abandoned) = (0, 0, None, false);
        batch.used_at = now;
    }

    /// Whoever took it over has left nothing at the provider.
    pub(super) fn forget_relic(&mut self, bid: Bid) {
        if self.batches.get(&bid).is_some_and(Batch::is_relic) {
            self.batches.remove(&bid);
        }
    }

    /// Forgets those that nobody could be found for.
    pub(super) fn forget_relics(&mut self, now: Now) {
        self.batches.retain(|bid, batch| {
            let over = batch.is_relic() && now.saturating_sub(batch.used_at) >= KEPT_FOR;
            if over {
                tracing::warn!(%bid, "nobody was found to tidy up after a submitter: files may be left at the provider");
            }
            !over
        });
    }
}
