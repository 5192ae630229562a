//! Operations on the outside world and how they end.

use std::collections::BTreeSet;
use std::time::Duration;

use common::ids::{Bid, Pid, Rid};
use common::key::BatchKey;
use common::outcome::Outcome;
use common::wire;
pub use providers::Phase as JobPhase;

/// Operations on the outside world.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// Open the boxes of these grants. The first operation of a batch.
    Open(Vec<(BatchKey, Granted, wire::Grant)>),
    /// Pull the bodies, leaving out some, and upload them as a file of this name.
    Upload {
        /// Its name.
        name: String,
        /// From whom, in the order of the file.
        from: Vec<Granted>,
        /// Lines to leave out.
        except: BTreeSet<Rid>,
    },
    /// Create a job from a file. Sent once.
    Create {
        /// The input file.
        file: String,
    },
    /// Pull the bodies, leaving out some, and create a job with them in the call. Sent once.
    CreateInline {
        /// The name under which it is registered.
        file: String,
        /// From whom, in the order of the list.
        from: Vec<Granted>,
        /// Lines to leave out.
        except: BTreeSet<Rid>,
    },
    /// Look for jobs of a batch.
    Find {
        /// Its id.
        batch: Bid,
        /// Its input files, of which each was made for it alone.
        files: Vec<String>,
        /// None is older than this.
        age: Duration,
        /// Jobs of other batches.
        except: Vec<String>,
    },
    /// Ask about a job.
    Poll {
        /// The provider's id.
        job: String,
    },
    /// Cancel a job.
    Cancel {
        /// The provider's id.
        job: String,
    },
    /// Download the result files and deliver every line.
    Download {
        /// Both files, where there are any.
        files: Vec<String>,
        /// The job.
        job: String,
        /// Whether it was cancelled since some callers did not wait for it any longer: what it has not executed goes another way.
        given_up: bool,
    },
    /// Deliver an outcome to some; no [`Did`].
    Tell(Vec<Rid>, Outcome),
    /// Wait until everything that was delivered is acknowledged.
    Flush,
    /// Delete a file.
    Delete {
        /// The provider's id.
        file: String,
    },
    /// Delete files whose names begin like this but those.
    Sweep {
        /// How.
        name: String,
        /// Files to keep.
        keep: Vec<String>,
        /// None is older than this.
        age: Duration,
    },
}

/// Ends of operations.
#[derive(Debug)]
pub enum Did {
    /// The grants whose boxes could be opened.
    Opened(Vec<Granted>),
    /// The id of the uploaded file.
    Uploaded(Result<String, Trouble>),
    /// The job.
    Created(Result<JobView, Trouble>),
    /// The jobs found, and whether the list was complete.
    Found(Result<(Vec<JobView>, bool), Trouble>),
    /// The job.
    Polled(Result<JobView, Trouble>),
    /// Cancelling was asked for.
    Cancelled(Result<(), Trouble>),
    /// What was in the result files.
    Downloaded(Result<Lines, Trouble>),
    /// Everything is acknowledged.
    Flushed,
    /// The file is not there any more; see [`Gone`].
    Deleted(String, Result<Gone, Trouble>),
    /// How many files were deleted.
    Swept(Result<usize, Trouble>),
}

/// What a deletion met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// The file was there until now.
    Deleted,
    /// There was none: somebody has deleted it before, or the provider does not see it yet.
    Absent,
}

/// The lines of a job's result files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lines {
    /// Whose lines there were.
    pub seen: BTreeSet<Rid>,
    /// Those of them that are served here.
    pub answered: BTreeSet<Rid>,
    /// How many lines were executed with success.
    pub succeeded: u64,
    /// How many failed. The rest was not executed, since the job was cancelled.
    pub failed: u64,
    /// How many lines, or parts of a document with an unknown number of them, could not be read.
    pub unreadable: u64,
}

/// Why a call came to nothing.
#[derive(Debug, Clone)]
pub struct Trouble {
    /// How much is known.
    pub kind: TroubleKind,
    /// How long the provider asks to wait.
    pub retry_after: Option<Duration>,
    /// Whether trying again may help.
    pub retryable: bool,
    /// The provider does not see an uploaded file yet.
    pub file_not_visible: bool,
    /// The provider refuses since too much is enqueued: nothing was created, and will not be before that is less.
    pub queue_full: bool,
    /// For logs, without keys.
    pub message: String,
    /// The provider's answer, for the caller.
    pub answer: Option<Outcome>,
    /// The HTTP status of that answer.
    pub status: Option<u16>,
}

/// How much is known about a call that came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TroubleKind {
    /// It did not happen.
    NotDone,
    /// Perhaps it happened.
    Ambiguous,
    /// The bodies of this ingress cannot be had any more.
    IngressLost(Pid),
}

/// A job as the provider describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobView {
    /// The provider's id.
    pub id: String,
    /// How far it is.
    pub phase: JobPhase,
    /// The provider's word for it.
    pub status: String,
    /// Input, output and error file.
    pub input_file: Option<String>,
    /// Answers.
    pub output_file: Option<String>,
    /// Failed lines.
    pub error_file: Option<String>,
    /// Lines, done, failed; `None` if the provider does not count.
    pub counts: Option<(u64, u64, u64)>,
    /// Why it failed as a whole: code, line counted from 1, message.
    pub errors: Vec<(String, Option<u64>, String)>,
}

/// The requests of a batch that one ingress has granted, in the order of its record stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Granted {
    /// The ingress.
    pub ingress: Pid,
    /// Epoch of its grant.
    pub epoch: u32,
    /// What may be submitted.
    pub rids: Vec<Rid>,
    /// Length of its record stream in bytes.
    pub body_bytes: u64,
    /// Lengths of the bodies in bytes, in the same order; empty if the ingress does not tell.
    pub lengths: Vec<u32>,
    /// Prefix of its reply subjects.
    pub reply_prefix: String,
}
