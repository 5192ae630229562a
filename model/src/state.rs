//! One moment of the whole system.

use crate::rules::Bounds;
use crate::set::Set;

/// Everything that there is. Messages are not kept by themselves: what was sent follows from what its sender did, and it
/// may arrive at any later time, several times, or never.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// Ingresses.
    pub ingresses: Vec<Ingress>,
    /// Which submitters live.
    pub submitters: Set,
    /// Requests by id: first one for each caller, then the second ones of callers that found nobody who held the first.
    pub requests: Vec<Option<Request>>,
    /// Callers.
    pub callers: Vec<Caller>,
    /// Input files at the provider, with the jobs made from them, in the order of upload.
    pub files: Vec<File>,
    /// What submitters are at, in no order that means anything: kept sorted.
    pub tasks: Vec<Task>,
    /// Batches offered: submitter and batch, kept sorted.
    pub offers: Vec<(u8, u8)>,
    /// Number of batches so far.
    pub batches: u8,
    /// Faults that may still happen.
    pub faults: u8,
    /// Whether a list after settling was stale: that the second of two is as well is beyond what the protocol assumes.
    pub was_stale: bool,
}

/// An ingress.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ingress {
    /// Whether it lives.
    pub alive: bool,
    /// The last epoch that it gave, where none is given twice.
    pub epoch: u8,
    /// Its grants, by batch.
    pub grants: Vec<Grant>,
}

/// The requests of one ingress in one batch, as the ingress sees it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Grant {
    /// The batch.
    pub batch: u8,
    /// Who may submit them.
    pub submitter: u8,
    /// Under which epoch.
    pub epoch: u8,
    /// Files registered for them.
    pub files: Set,
}

/// A request as its ingress sees it. It is gone when its ingress dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Request {
    /// Its ingress.
    pub home: u8,
    /// How far it is.
    pub phase: Phase,
}

/// How far a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// In no batch.
    New,
    /// In this batch.
    Granted(u8),
    /// Answered by the job of this file; the answer is kept.
    Answered(u8),
    /// Ended with an error, that is kept.
    Failed,
}

/// A caller and what it waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Caller {
    /// The ingress that it talks or talked to.
    pub at: u8,
    /// The request that it waits for.
    pub request: u8,
    /// What it does.
    pub doing: Doing,
    /// Why it has a second request.
    pub excuse: Excuse,
}

/// What a caller does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Doing {
    /// It waits for the answer, also if its ingress does not hold the request itself.
    Waits,
    /// It has no connection.
    Away,
    /// It is back at an ingress, which asks the others for its request.
    Asks,
    /// It has an answer.
    Answered,
    /// It has an error.
    Failed,
    /// It lost its second request too.
    GaveUp,
}

/// Why a caller's ingress took its repetition for a new request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Excuse {
    /// It did not.
    None,
    /// Nobody held the request any more.
    NobodyHolds,
    /// Whoever held it said nothing in time.
    Silence,
}

/// An input file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct File {
    /// Who uploaded it.
    pub submitter: u8,
    /// For which batch.
    pub batch: u8,
    /// The epoch of each ingress with requests in it; 0 for none.
    pub epochs: [u8; 2],
    /// Its lines.
    pub requests: Set,
    /// The files that its submitter knew when it uploaded, itself included.
    pub known: Set,
    /// Ingresses that have registered it.
    pub registered: Set,
    /// What was made of it.
    pub job: Job,
    /// Whether the provider sees it.
    pub sight: Sight,
    /// A deletion is on its way or has happened.
    pub doomed: bool,
    /// The deletion has happened.
    pub deleted: bool,
}

/// Whether the provider sees a file: only then a job can be made from it, and only then can it be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sight {
    /// It does.
    Seen,
    /// It will.
    Unseen,
    /// It never will: the file is not there as a whole.
    Never,
}

/// What became of a file. A creation is sent once for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Job {
    /// No creation was sent.
    NotSent,
    /// The creation is on its way.
    OnItsWay,
    /// The creation was refused.
    Refused,
    /// There is a job that has not begun.
    Validating,
    /// The job was executed: all lines are billed.
    Billed,
    /// The job failed as a whole, nothing was executed.
    Failed,
}

/// A batch or a part of it in the hands of a submitter.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Task {
    /// Whose.
    pub submitter: u8,
    /// Of which batch.
    pub batch: u8,
    /// How far it is.
    pub stage: Stage,
    /// The grants that it has.
    pub parts: Vec<Part>,
    /// Files that are known to belong to these grants.
    pub known: Set,
    /// Files from which jobs may have been or may be created.
    pub fence: Set,
    /// Requests whose end was told.
    pub told: Set,
    /// Whether this began as a recovery.
    pub recovers: bool,
    /// Whether the job was found in a list.
    pub adopted: bool,
    /// Whether an upload was lost whose file is to be looked for by its name.
    pub sweeps: bool,
}

/// What a submitter knows of a grant.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Part {
    /// The ingress.
    pub ingress: u8,
    /// Its epoch.
    pub epoch: u8,
    /// Its requests.
    pub requests: Set,
}

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// These ingresses have not answered the claim.
    Claiming(Set),
    /// Looks for jobs of the fence's files.
    Finding,
    /// Deletes the fence's files; for those of the set it was told that they do not exist.
    Deleting(Set),
    /// Has seen so many lists without a job since the settling time.
    Proving(u8),
    /// Pulls and uploads.
    Uploading,
    /// This file is to be registered with these ingresses.
    Registering(u8, Set),
    /// The creation from this file was sent.
    Creating(u8),
    /// The job of this file is watched.
    Polling(u8),
    /// The ingress is told that nothing was or will be billed.
    Releasing,
    /// An error goes to all callers.
    Failing,
}

impl State {
    /// All requests have just arrived.
    pub fn start(bounds: &Bounds) -> Self {
        let callers = bounds.callers();
        let home = |request| request / bounds.requests;
        let caller =
            |request| Caller { at: home(request), request, doing: Doing::Waits, excuse: Excuse::None };
        let first = (0..callers).map(|request| Some(Request { home: home(request), phase: Phase::New }));
        let ingress = Ingress { alive: true, epoch: 0, grants: Vec::new() };
        Self {
            ingresses: vec![ingress; usize::from(bounds.ingresses)],
            submitters: (0..bounds.submitters).collect(),
            requests: first.chain((0..callers).map(|_| None)).collect(),
            callers: (0..callers).map(caller).collect(),
            files: Vec::new(),
            tasks: Vec::new(),
            offers: Vec::new(),
            batches: 0,
            faults: bounds.faults,
            was_stale: false,
        }
    }

    /// An ingress by its number.
    pub fn ingress(&self, ingress: u8) -> &Ingress {
        &self.ingresses[usize::from(ingress)]
    }

    /// The numbers of the ingresses that live.
    pub fn live_ingresses(&self) -> impl Iterator<Item = u8> + '_ {
        (0u8..).zip(&self.ingresses).filter(|(_, ingress)| ingress.alive).map(|(number, _)| number)
    }

    /// The grant of a batch at an ingress.
    pub fn grant(&self, ingress: u8, batch: u8) -> Option<&Grant> {
        self.ingress(ingress).grants.iter().find(|grant| grant.batch == batch)
    }

    /// A file by its number.
    pub fn file(&self, file: u8) -> &File {
        &self.files[usize::from(file)]
    }

    /// The phase of a request whose ingress lives.
    pub fn phase(&self, request: u8) -> Option<Phase> {
        self.requests.get(usize::from(request)).copied().flatten().map(|request| request.phase)
    }

    /// Whether a caller waits for it.
    pub fn is_awaited(&self, request: u8) -> bool {
        self.callers.iter().any(|caller| caller.doing == Doing::Waits && caller.request == request)
    }

    /// Requests at an ingress that may be granted: in no batch, with a caller who waits.
    pub fn grantable(&self, ingress: u8) -> Set {
        let ready = |request: &u8| {
            self.requests[usize::from(*request)]
                .is_some_and(|known| known.home == ingress && known.phase == Phase::New)
                && self.is_awaited(*request)
        };
        (0..self.requests.len() as u8).filter(ready).collect()
    }

    /// Requests of an ingress in a batch that have not ended.
    pub fn granted(&self, ingress: u8, batch: u8) -> Set {
        let inside = |request: &u8| {
            self.requests[usize::from(*request)]
                .is_some_and(|known| known.home == ingress && known.phase == Phase::Granted(batch))
        };
        (0..self.requests.len() as u8).filter(inside).collect()
    }

    /// In how many executed jobs a request is.
    pub fn bills(&self, request: u8) -> usize {
        self.files.iter().filter(|file| file.job == Job::Billed && file.requests.has(request)).count()
    }

    /// Whether a submitter knows what becomes of a request.
    pub fn is_in_hand(&self, request: u8) -> bool {
        self.tasks.iter().any(|task| task.parts.iter().any(|part| part.requests.has(request)))
    }

    /// Whether a caller has received an answer to it.
    pub fn is_received(&self, request: u8) -> bool {
        self.callers.iter().any(|caller| caller.doing == Doing::Answered && caller.request == request)
    }

    /// Whether anybody alive can say what becomes of a request.
    pub fn is_held(&self, request: u8) -> bool {
        self.phase(request).is_some() || self.is_in_hand(request)
    }

    /// Whether the submitter of a grant is at work with it.
    pub fn is_worked_on(&self, ingress: u8, grant: &Grant) -> bool {
        self.tasks.iter().any(|task| {
            let claims = matches!(task.stage, Stage::Claiming(asked) if asked.has(ingress));
            let has = |part: &Part| part.ingress == ingress && part.epoch == grant.epoch;
            (task.submitter, task.batch) == (grant.submitter, grant.batch)
                && (claims || task.parts.iter().any(has))
        })
    }
}

impl Task {
    /// All requests of its grants.
    pub fn requests(&self) -> Set {
        self.parts.iter().fold(Set::empty(), |all, part| all.or(part.requests))
    }

    /// Whether a request in this phase has its answer from here.
    pub fn has_answered(&self, phase: Option<Phase>) -> bool {
        matches!((self.stage, phase), (Stage::Polling(file), Some(Phase::Answered(from))) if from == file)
    }

    /// The ingress of a request in it.
    pub fn ingress_of(&self, request: u8) -> Option<&Part> {
        self.parts.iter().find(|part| part.requests.has(request))
    }
}

impl Job {
    /// Whether a list shows a job that counts.
    pub fn is_listed(self) -> bool {
        matches!(self, Self::Validating | Self::Billed)
    }
}
