//! The steps of the model.

use std::fmt;

use crate::rules::Fault;
use crate::state::{Sight, Task};

/// A step. Tasks go by value, since their places change.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Action {
    /// A batcher offers all that waits as a new batch to a submitter, which accepts.
    Offer(u8),
    /// A claim reaches an ingress, and its answer the submitter.
    Claim(Task, u8),
    /// A submitter sees that an ingress is dead, and goes on without it.
    LeaveOut(Task, u8),
    /// A file with the requests of all ingresses that still let it have them, and the intents.
    Upload(Task),
    /// An intent reaches an ingress, which registers the file.
    Register(u8, u8),
    /// A registration is acknowledged; after the last one the creation is sent.
    Registered(Task, u8),
    /// An ingress refuses to register.
    Refused(Task, u8),
    /// The provider executes a creation, to a job or to an error.
    Create(u8, bool),
    /// The provider executes a job.
    Execute(u8),
    /// A job fails for its deleted file.
    FailJob(u8),
    /// The provider deletes a file.
    Delete(u8),
    /// The provider sees a file.
    Appear(u8),
    /// A deletion is answered with "no such file".
    Absent(Task, u8),
    /// The answer to a creation: a job, or an error.
    Created(Task),
    /// A list shows this file's job, or nothing that counts.
    List(Task, Option<u8>),
    /// All files of the fence are gone, and the settling time is over.
    Settled(Task),
    /// A poll says that the job has failed.
    JobFailed(Task),
    /// Files with the name of a lost upload are deleted.
    Sweep(Task),
    /// An ingress hears that its requests in a batch that was taken over are free.
    Release(Task),
    /// An answer or an error reaches its request's ingress, or the caller's.
    Deliver(Task, u8),
    /// An ingress finds that a grant of this batch is held by nobody; where files are registered, the last one takes over.
    Regain(u8, u8, Option<u8>),
    /// A caller is back at an ingress.
    Return(u8, u8),
    /// Somebody holds what a caller asks for.
    Found(u8),
    /// Nobody holds what a caller asks for: it is a new request.
    NotFound(u8),
    /// Nobody has any more what a caller waits for: it is looked for again.
    Lost(u8),
    /// Something goes wrong.
    Wrong(Wrong),
}

/// A step that uses up one of the faults.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Wrong {
    /// A submitter dies.
    SubmitterDies(u8),
    /// An ingress dies.
    IngressDies(u8),
    /// An ingress takes a live submitter for dead and regains a batch.
    Suspect(u8, u8, Option<u8>),
    /// A submitter leaves a live ingress out; it may have granted.
    LeaveOut(Task, u8, bool),
    /// A batch is offered, that may have been offered before.
    Offer(u8, u8),
    /// A claim of a submitter for a batch reaches an ingress late.
    LateClaim(u8, u8, u8),
    /// The answer to a creation does not arrive.
    LoseAnswer(Task),
    /// The answer to an upload does not arrive.
    LoseUpload(Task),
    /// A list after settling lacks a job.
    StaleList(Task),
    /// A file is uploaded that the provider does not see.
    Unseen(Task, Sight),
    /// A caller goes away.
    Leave(u8),
    /// Nobody answers in time who holds what a caller asks for.
    Silence(u8),
}

impl Wrong {
    /// Of which kind it is.
    pub fn kind(&self) -> Fault {
        match self {
            Self::SubmitterDies(_) => Fault::SubmitterCrash,
            Self::IngressDies(_) => Fault::IngressCrash,
            Self::Suspect(..) => Fault::Suspicion,
            Self::LeaveOut(..) => Fault::LeftOut,
            Self::Offer(..) => Fault::SecondOffer,
            Self::LateClaim(..) => Fault::LateClaim,
            Self::LoseAnswer(_) => Fault::AnswerLost,
            Self::LoseUpload(_) => Fault::UploadLost,
            Self::StaleList(_) => Fault::StaleList,
            Self::Unseen(..) => Fault::Unseen,
            Self::Leave(_) => Fault::CallerLeaves,
            Self::Silence(_) => Fault::Silence,
        }
    }
}

/// `S0 b1` for a task of the first submitter in the second batch.
struct Who<'a>(&'a Task);

impl fmt::Display for Who<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S{} b{} {:?}", self.0.submitter, self.0.batch, self.0.requests())
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offer(submitter) => write!(f, "a new batch is offered to S{submitter}, which accepts"),
            Self::Claim(task, ingress) => write!(f, "{} claims from I{ingress} and hears", Who(task)),
            Self::LeaveOut(task, ingress) => {
                write!(f, "{} goes on without I{ingress}, which is dead", Who(task))
            }
            Self::Upload(task) => write!(f, "{} uploads a file and sends intents", Who(task)),
            Self::Register(file, ingress) => write!(f, "I{ingress} registers file {file}"),
            Self::Registered(task, ingress) => write!(f, "{} hears that I{ingress} registered", Who(task)),
            Self::Refused(task, ingress) => {
                write!(f, "{} hears that I{ingress} refuses to register", Who(task))
            }
            Self::Create(file, true) => write!(f, "provider creates the job of file {file}"),
            Self::Create(file, false) => {
                write!(f, "provider refuses to create a job from the deleted file {file}")
            }
            Self::Execute(file) => write!(f, "provider executes and bills the job of file {file}"),
            Self::FailJob(file) => write!(f, "provider fails the job of the deleted file {file}"),
            Self::Delete(file) => write!(f, "provider deletes file {file}"),
            Self::Appear(file) => write!(f, "provider sees file {file}"),
            Self::Absent(task, file) => write!(f, "{} is told that file {file} does not exist", Who(task)),
            Self::Created(task) => write!(f, "{} hears what became of its creation", Who(task)),
            Self::List(task, Some(file)) => write!(f, "{} lists and finds the job of file {file}", Who(task)),
            Self::List(task, None) => write!(f, "{} lists and finds nothing", Who(task)),
            Self::Settled(task) => {
                write!(f, "{} takes {:?} for deleted, and waits", Who(task), task.fence)
            }
            Self::JobFailed(task) => write!(f, "{} polls: the job has failed", Who(task)),
            Self::Sweep(task) => write!(f, "{} deletes files of its name", Who(task)),
            Self::Release(task) => write!(f, "{} gives back what was not billed", Who(task)),
            Self::Deliver(task, request) => write!(f, "{} delivers the end of r{request}", Who(task)),
            Self::Regain(ingress, batch, to) => regain(f, *ingress, *batch, *to),
            Self::Return(caller, ingress) => write!(f, "caller {caller} is back at I{ingress}"),
            Self::Found(caller) => write!(f, "what caller {caller} asks for is found"),
            Self::NotFound(caller) => write!(f, "nobody holds what caller {caller} asks for: a new request"),
            Self::Lost(caller) => write!(f, "what caller {caller} waits for is gone: its ingress asks"),
            Self::Wrong(wrong) => write!(f, "! {wrong}"),
        }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SubmitterDies(submitter) => write!(f, "S{submitter} dies"),
            Self::IngressDies(ingress) => write!(f, "I{ingress} dies"),
            Self::Suspect(ingress, batch, to) => {
                write!(f, "(the submitter is alive) ")?;
                regain(f, *ingress, *batch, *to)
            }
            Self::LeaveOut(task, ingress, granted) => {
                let after = if *granted { ", which has granted" } else { "" };
                write!(f, "{} leaves out the live I{ingress}{after}", Who(task))
            }
            Self::Offer(submitter, batch) => write!(f, "b{batch} is offered to S{submitter} beside or again"),
            Self::LateClaim(submitter, batch, ingress) => {
                write!(f, "an old claim of S{submitter} for b{batch} reaches I{ingress}, which grants")
            }
            Self::LoseAnswer(task) => write!(f, "{} gets no answer to its creation", Who(task)),
            Self::LoseUpload(task) => write!(f, "{} gets no answer to an upload", Who(task)),
            Self::StaleList(task) => write!(f, "{} gets a list after settling that lacks a job", Who(task)),
            Self::Unseen(task, Sight::Never) => {
                write!(f, "{} uploads a file that the provider will never see, and sends intents", Who(task))
            }
            Self::Unseen(task, _) => {
                write!(
                    f,
                    "{} uploads a file that the provider does not see yet, and sends intents",
                    Who(task)
                )
            }
            Self::Leave(caller) => write!(f, "caller {caller} goes away"),
            Self::Silence(caller) => {
                write!(f, "no answer from whoever holds the request of caller {caller}: a new one")
            }
        }
    }
}

fn regain(f: &mut fmt::Formatter<'_>, ingress: u8, batch: u8, to: Option<u8>) -> fmt::Result {
    match to {
        Some(submitter) => write!(f, "I{ingress} has b{batch} recovered by S{submitter}"),
        None => write!(f, "I{ingress} takes back b{batch}"),
    }
}
