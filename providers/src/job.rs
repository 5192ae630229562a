//! Jobs and files as providers describe them, read leniently.

/// A batch that a provider has accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The provider's id of the job; never empty.
    pub id: String,
    /// How far it is.
    pub phase: Phase,
    /// The provider's word for it.
    pub status: String,
    /// The input file that it was created from, if it was.
    pub input: Option<String>,
    /// Where its answers are, as [`Provider::results`](crate::Provider::results) takes it.
    pub output: Option<String>,
    /// Where its failed lines are, if they are elsewhere.
    pub errors_in: Option<String>,
    /// How many lines are done, where the provider counts them; need not add up.
    pub counts: Option<Counts>,
    /// Why it failed as a whole.
    pub errors: Vec<JobError>,
    /// The id of our batch that it carries.
    pub batch: Option<String>,
    /// When it was created, in unix seconds.
    pub created_at: Option<i64>,
}

/// The states of a job that make a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not over, or of a status that nobody knows.
    Running,
    /// Over: every line was tried. Says nothing about their success.
    Completed,
    /// Over: refused as a whole, nothing was executed.
    Failed,
    /// Over: out of time, perhaps with some lines done.
    Expired,
    /// Over: cancelled, perhaps with some lines done.
    Cancelled,
}

/// The lines of a job, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// All lines; 0 where they are not counted yet.
    pub total: u64,
    /// Lines that succeeded.
    pub completed: u64,
    /// Lines that failed.
    pub failed: u64,
}

/// One reason for which a job failed as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobError {
    /// Such as `invalid_json_line` or `token_limit_exceeded`; an open set, empty if there was none.
    pub code: String,
    /// The line of the input file, counted from 1.
    pub line: Option<u64>,
    /// For people.
    pub message: String,
}

/// A file as the provider describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// The provider's id of the file; never empty.
    pub id: String,
    /// The name given at upload, empty if the provider does not tell.
    pub name: String,
    /// When it was uploaded, in unix seconds.
    pub created_at: Option<i64>,
    /// Whether a job can be created from it already.
    pub ready: bool,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// What names the next page, if there is more.
    pub next: Option<String>,
}

/// What lists are made of.
pub trait Dated {
    /// When it was made, in unix seconds.
    fn created_at(&self) -> Option<i64>;
}

impl Dated for Job {
    fn created_at(&self) -> Option<i64> {
        self.created_at
    }
}

impl Dated for File {
    fn created_at(&self) -> Option<i64> {
        self.created_at
    }
}

/// Why an answer is not the object it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Not JSON, or JSON cut off.
    #[error("the answer is not JSON")]
    NotJson,
    /// An error where an object was due, with a success status.
    #[error("the answer is an error: {0}")]
    Error(String),
    /// An object with no id, or no object.
    #[error("the answer has no id")]
    NoId,
}
