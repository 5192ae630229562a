//! What is known of one batch, and where it stands.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use common::ids::{Bid, Pid, Rid};
use common::key::BatchKey;
use common::timers::Now;
use common::wire;
use providers::Caps;

use super::cancel::Cancellation;
use super::chores::Chore;
use super::queue::Admission;
use super::recover::Recovery;
use super::submit::Registration;
use super::{Granted, JobView};

/// How long a batch may take beyond its provider's completion window.
const MARGIN: Duration = Duration::from_secs(2 * 3600);

/// A batch in hand.
pub(super) struct Batch {
    pub(super) key: BatchKey,
    /// What its provider takes and promises.
    pub(super) caps: Caps,
    /// Ingresses that were asked for a grant, with what was offered.
    pub(super) parts: Vec<wire::OfferPart>,
    pub(super) grants: Vec<Granted>,
    /// Those of ingresses that were given up since their requests went into the input file.
    pub(super) lost: Vec<Granted>,
    /// Grants until they are opened.
    pub(super) boxes: Vec<(BatchKey, Granted, wire::Grant)>,
    /// Requests that have their answer or fault already.
    pub(super) told: BTreeSet<Rid>,
    /// Those of them that were given back before any job had them.
    pub(super) given_back: BTreeSet<Rid>,
    pub(super) state: State,
    /// Counts state changes, so that timers of an earlier state find nothing to do.
    pub(super) step: u64,
    pub(super) attempt: u32,
    pub(super) since: Now,
    pub(super) offered_at: Now,
    /// How long it has waited for room at its provider.
    pub(super) queued: Duration,
    /// Once there was room for it.
    pub(super) admission: Option<Admission>,
    /// Where the batch was another submitter's.
    pub(super) recovery: Option<Recovery>,
    /// This submitter leaves, and an ingress is there that has another go on with it: it stays only so that this can be said.
    pub(super) handed_over: bool,
    /// Files that were deleted as fences: a job made from one of them fails, and says nothing about its lines.
    pub(super) fenced: Vec<String>,
    /// When an ingress was given up whose requests may be in the job.
    pub(super) lost_at: Option<Now>,
    /// Tells whose file it is; every upload of the batch has this name, or begins with it.
    pub(super) file_name: String,
    /// Every input file made for this batch.
    pub(super) files: Vec<String>,
    /// When the latest of them was heard of: all are at least that old.
    pub(super) files_known_at: Now,
    pub(super) job: Option<JobView>,
    /// Whether an upload is on its way.
    pub(super) uploading: bool,
    /// Of so many grants.
    pub(super) uploading_of: usize,
    pub(super) downloads: u32,
    /// How often in a row its results were not there.
    pub(super) absent: u32,
    /// How often in a row its job was answered with what cannot be read.
    pub(super) unreadable: u32,
    pub(super) rounds: u32,
    pub(super) chores: Vec<Chore>,
    /// Files may appear at the provider that were looked for too early, since this submitter leaves.
    pub(super) untidy: bool,
    /// When each ingress said last that nobody waits there; at most one entry for each grant.
    pub(super) abandoned: BTreeMap<Pid, Now>,
    /// When an ingress said last that callers do not wait for it any longer.
    pub(super) overdue: Option<Now>,
    pub(super) cancellation: Cancellation,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum State {
    Claiming,
    Opening,
    /// Until the provider has room for its tokens.
    Queued,
    Uploading,
    Intending {
        file: String,
        waiting: BTreeMap<Pid, Registration>,
    },
    Creating {
        file: String,
    },
    /// Looking for a job made from one of these files.
    Finding {
        files: Vec<String>,
    },
    /// Deleting them, the first so many of which are gone.
    Fencing {
        files: Vec<String>,
        gone: usize,
        /// When the next one's deletion was asked for last.
        asked_at: Now,
    },
    /// Waiting for the provider's list, so many of which were complete and without the job.
    Settling {
        files: Vec<String>,
        lists: u32,
    },
    /// Telling these ingresses that there is no job and will be none.
    Releasing {
        waiting: BTreeSet<Pid>,
    },
    Polling,
    /// The job failed as a whole. Deleting its file tells whether that is the provider's refusal, or another submitter's fence.
    Refused {
        file: String,
        job: JobView,
    },
    Delivering,
    Flushing,
    /// Everything is acknowledged, but callers of these ingresses may not have received it.
    Lingering(BTreeSet<Pid>),
    Done,
}

impl Batch {
    /// A batch that claims its parts next.
    pub(super) fn new(now: Now, key: BatchKey, caps: Caps, parts: Vec<wire::OfferPart>) -> Self {
        Self {
            key,
            caps,
            parts,
            grants: Vec::new(),
            lost: Vec::new(),
            boxes: Vec::new(),
            told: BTreeSet::new(),
            given_back: BTreeSet::new(),
            state: State::Claiming,
            step: 0,
            attempt: 0,
            since: now,
            offered_at: now,
            queued: Duration::ZERO,
            admission: None,
            recovery: None,
            handed_over: false,
            fenced: Vec::new(),
            lost_at: None,
            file_name: String::new(),
            files: Vec::new(),
            files_known_at: now,
            job: None,
            uploading: false,
            uploading_of: 0,
            downloads: 0,
            absent: 0,
            unreadable: 0,
            rounds: 0,
            chores: Vec::new(),
            untidy: false,
            abandoned: BTreeMap::new(),
            overdue: None,
            cancellation: Cancellation::default(),
        }
    }

    /// Its id at the provider.
    pub(super) fn origin(&self, bid: Bid) -> Bid {
        self.recovery.as_ref().map_or(bid, |recovery| recovery.origin)
    }

    /// How long ago it may have begun at the provider.
    pub(super) fn age(&self, now: Now) -> Duration {
        let before = self.recovery.as_ref().map_or(Duration::ZERO, |recovery| recovery.age);
        now.saturating_sub(self.offered_at) + before
    }

    /// How long it may take in all: its provider's completion window, a margin, and however long it waited for room.
    pub(super) fn lifetime(&self) -> Duration {
        self.caps.window + MARGIN + self.queued
    }

    pub(super) fn untold(&self) -> impl Iterator<Item = Rid> + '_ {
        self.grants.iter().flat_map(|grant| grant.rids.iter().copied()).filter(|rid| !self.told.contains(rid))
    }

    pub(super) fn job_id(&self) -> String {
        self.job.as_ref().map(|job| job.id.clone()).unwrap_or_default()
    }

    pub(super) fn result_files(&self) -> Vec<String> {
        let files = self.job.iter().flat_map(|job| [job.output_file.clone(), job.error_file.clone()]);
        files.flatten().collect()
    }
}
