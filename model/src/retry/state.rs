//! One moment of the world of one request and its repetition.

use super::rules::Bounds;
use crate::set::Set;
use crate::state::Job;

/// The ingress that the request comes to first.
pub const ORIGIN: u8 = 0;
/// The ingress that its repetition comes to.
pub const OTHER: u8 = 1;

/// Everything that there is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// The two ingresses.
    pub ingresses: [Ingress; 2],
    /// Submitters.
    pub submitters: Vec<Health>,
    /// Where the caller is; nothing while it is on its way to the other ingress.
    pub caller: Option<u8>,
    /// Whether it has its answer.
    pub answered: bool,
    /// A second caller that stays at the first ingress: whether it has its answer.
    pub twin: Option<bool>,
    /// Whether the other ingress takes the first for dead.
    pub given_up: bool,
    /// What submitters are at, sorted.
    pub tasks: Vec<Task>,
    /// Input files at the provider.
    pub files: Vec<File>,
    /// Submitters that went down when they had registered a file of the request.
    pub lost_holders: Set,
    /// Why the repetition may be bought again.
    pub excuse: Excuse,
    /// Faults that may still happen.
    pub faults: u8,
}

/// How a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Health {
    /// It works.
    Up,
    /// It stands still; the others may take it for dead.
    Paused,
    /// Nothing reaches it and it reaches nobody.
    Cut,
    /// It is dead.
    Dead,
}

/// An ingress and what it knows of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ingress {
    /// How it is.
    pub health: Health,
    /// Whether it believes that a caller of its own waits.
    pub client: bool,
    /// Its caller went without a trace on its socket.
    pub half_open: bool,
    /// Whether it believes that a caller of the other ingress waits.
    pub remote: bool,
    /// Whether it stood still, and has not looked what is still true.
    pub doubts: bool,
    /// The last epoch that it gave.
    pub epoch: u8,
    /// How far the request is here.
    pub phase: Phase,
}

/// How far a request is at an ingress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// It is not known.
    Gone,
    /// Others are asked.
    Asking(Ask),
    /// It waits for what becomes of it at the first ingress.
    Remote,
    /// It is in no batch; it is announced if a caller waits.
    New,
    /// It is in a batch.
    Granted(Grant),
    /// Its answer is here, from the job of this file.
    Done(u8),
}

/// What was answered so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ask {
    /// By the first ingress.
    pub origin: Heard,
    /// By submitters.
    pub submitters: [Heard; 2],
}

/// An answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Heard {
    /// None yet.
    Nothing,
    /// It does not know the request.
    No,
    /// It was taken for dead.
    Dead,
    /// An ingress that has the request.
    Holds,
    /// A submitter that knows the job of this file.
    Knows(u8),
}

/// A grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Grant {
    /// Whose.
    pub submitter: u8,
    /// Under which epoch.
    pub epoch: u8,
    /// Registered files.
    pub files: Set,
    /// The file whose job is known.
    pub job: Option<u8>,
    /// Whether the request is a copy of the first ingress's.
    pub copy: bool,
}

/// The request of an ingress in the hands of a submitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Task {
    /// Whose.
    pub submitter: u8,
    /// From where.
    pub ingress: u8,
    /// Under which epoch; 0 before the grant.
    pub epoch: u8,
    /// How far.
    pub stage: Stage,
    /// Files of which jobs may have been made.
    pub fence: Set,
    /// Whether this was taken over.
    pub recovers: bool,
    /// Whether the answer was delivered.
    pub told: bool,
}

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// The claim is not answered.
    Claiming,
    /// The body is pulled and uploaded.
    Uploading,
    /// The file is to be registered.
    Registering(u8),
    /// The creation was sent.
    Creating(u8),
    /// The job is looked for.
    Finding,
    /// The files are deleted.
    Deleting,
    /// The list is settled.
    Proving,
    /// The job is watched.
    Polling(u8),
    /// The ingress is told that nothing was billed.
    Releasing,
    /// It was left out before the creation and is remembered, in a weaker variant.
    LeftOut,
}

/// An input file with one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct File {
    /// From where its line came.
    pub ingress: u8,
    /// Under which epoch.
    pub epoch: u8,
    /// Files that its submitter knew, itself included.
    pub known: Set,
    /// Whether its ingress has registered it.
    pub registered: bool,
    /// What was made of it.
    pub job: Job,
    /// A deletion is on its way.
    pub doomed: bool,
    /// It is deleted.
    pub deleted: bool,
}

/// Why a request may be billed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Excuse {
    /// It may not.
    None,
    /// Its ingress and the submitter that had registered its file had died.
    BothDead,
    /// One or both of them were only stopped or cut off for as long as if they had died.
    BothSilent,
}

impl State {
    /// The request has just arrived.
    pub fn start(bounds: &Bounds) -> Self {
        let ingress = |client, phase| Ingress {
            health: Health::Up,
            client,
            half_open: false,
            remote: false,
            doubts: false,
            epoch: 0,
            phase,
        };
        Self {
            ingresses: [ingress(true, Phase::New), ingress(false, Phase::Gone)],
            submitters: vec![Health::Up; usize::from(bounds.submitters)],
            caller: Some(ORIGIN),
            answered: false,
            twin: bounds.twin.then_some(false),
            given_up: false,
            tasks: Vec::new(),
            files: Vec::new(),
            lost_holders: Set::empty(),
            excuse: Excuse::None,
            faults: bounds.faults,
        }
    }

    /// An ingress.
    pub fn ingress(&self, ingress: u8) -> &Ingress {
        &self.ingresses[usize::from(ingress)]
    }

    /// Whether an ingress works and can be reached.
    pub fn is_up(&self, ingress: u8) -> bool {
        self.ingress(ingress).health == Health::Up
    }

    /// Whether a submitter works.
    pub fn works(&self, submitter: u8) -> bool {
        self.submitters[usize::from(submitter)] == Health::Up
    }

    /// The numbers of all submitters.
    pub fn all_submitters(&self) -> impl Iterator<Item = u8> + use<> {
        0..self.submitters.len() as u8
    }

    /// A file.
    pub fn file(&self, file: u8) -> &File {
        &self.files[usize::from(file)]
    }

    /// The grant of an ingress.
    pub fn grant(&self, ingress: u8) -> Option<Grant> {
        match self.ingress(ingress).phase {
            Phase::Granted(grant) => Some(grant),
            _ => None,
        }
    }

    /// Whether a task's grant is still its own.
    pub fn is_current(&self, task: &Task) -> bool {
        let own = |grant: Grant| (grant.submitter, grant.epoch) == (task.submitter, task.epoch);
        self.grant(task.ingress).is_some_and(own)
    }

    /// Whether a submitter may have created a job, or may yet without asking anybody.
    pub fn may_create(&self, submitter: u8) -> bool {
        let registered = |stage| match stage {
            Stage::Registering(file) => self.file(file).registered,
            Stage::Claiming | Stage::Uploading | Stage::Releasing | Stage::LeftOut => false,
            _ => true,
        };
        self.tasks.iter().any(|task| task.submitter == submitter && registered(task.stage))
    }

    /// Whether an ingress announces the request, as far as it knows.
    pub fn is_announced(&self, ingress: u8) -> bool {
        let here = self.ingress(ingress);
        here.phase == Phase::New && (here.client || here.remote)
    }

    /// Whether the first ingress has a caller.
    pub fn has_caller(&self) -> bool {
        self.caller == Some(ORIGIN) || self.twin.is_some()
    }

    /// In how many executed jobs the request is.
    pub fn bills(&self) -> usize {
        self.files.iter().filter(|file| file.job == Job::Billed).count()
    }
}

impl Ask {
    /// Nobody has answered.
    pub const FRESH: Self = Self { origin: Heard::Nothing, submitters: [Heard::Nothing; 2] };
}
