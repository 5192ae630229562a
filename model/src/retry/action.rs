//! The steps.

use std::fmt;

use super::rules::Fault;
use super::state::Task;

/// A step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// A batch is offered to a submitter, which accepts and claims the request of this ingress.
    Offer(u8, u8),
    /// A claim is granted.
    Grant(Task),
    /// A claim is refused.
    Refuse(Task),
    /// A submitter goes on without an ingress that is silent.
    LeaveOut(Task),
    /// The line is uploaded, or dropped if its grant is another's.
    Upload(Task),
    /// The ingress registers a file.
    Register(u8),
    /// The submitter hears so and sends the creation.
    Registered(Task),
    /// The submitter hears that the file is not registered.
    NotRegistered(Task),
    /// The creation arrives.
    Create(u8),
    /// The job is executed and billed.
    Execute(u8),
    /// The job fails for its deleted file.
    Fail(u8),
    /// The file is deleted.
    Delete(u8),
    /// The creation is answered.
    Created(Task),
    /// A list has the job of this file or nothing.
    List(Task, Option<u8>),
    /// All files of the fence are deleted.
    Settled(Task),
    /// The job is seen to have failed.
    JobFailed(Task),
    /// The ingress hears that nothing was billed.
    Release(Task),
    /// The answer reaches the ingress.
    Deliver(Task),
    /// An ingress has nobody at work with its request: it takes it back, or has this submitter take it over.
    Regain(u8, Option<u8>),
    /// The first ingress sees that its caller is gone.
    Notice,
    /// The first ingress drops a request that nobody waits for.
    Forget,
    /// The caller leaves the first ingress.
    Leave,
    /// The caller comes to the other ingress.
    Arrive,
    /// The first ingress answers the other's question.
    OriginAnswers,
    /// The other ingress takes the first for dead.
    GiveUpOrigin,
    /// The other ingress hears that the first lives.
    Revive,
    /// A submitter answers.
    SubmitterAnswers(u8),
    /// The other ingress takes a submitter for dead.
    GiveUpSubmitter(u8),
    /// The other ingress waits at the first.
    Attach,
    /// The other ingress has a submitter deliver to it as well.
    Copy(u8, u8),
    /// The other ingress announces the repetition as a new request.
    Announce,
    /// The other ingress fetches the outcome from the first.
    Fetch,
    /// The first ingress says that it does not know the other's caller.
    Unknown,
    /// The first ingress no longer counts on the other's caller.
    Expire,
    /// The first ingress works again.
    Wake,
    /// A submitter works again.
    WakeSubmitter(u8),
    /// The first ingress looks what is still true, after it stood still.
    Look,
    /// Something goes wrong.
    Wrong(Wrong),
}

/// A step that uses up a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wrong {
    /// An ingress dies.
    IngressDies(u8),
    /// A submitter dies.
    SubmitterDies(u8),
    /// The first ingress stands still.
    Pause,
    /// The first ingress is cut off.
    Cut,
    /// A submitter stands still.
    PauseSubmitter(u8),
    /// The answer to a creation is lost.
    LoseAnswer(Task),
    /// A job fails.
    JobFails(u8),
    /// The other ingress no longer hears the first.
    LoseSight,
}

impl Wrong {
    /// Of which kind it is.
    pub fn kind(&self) -> Fault {
        match self {
            Self::IngressDies(_) => Fault::IngressCrash,
            Self::SubmitterDies(_) => Fault::SubmitterCrash,
            Self::Pause => Fault::IngressPause,
            Self::Cut => Fault::IngressCut,
            Self::PauseSubmitter(_) => Fault::SubmitterPause,
            Self::LoseAnswer(_) => Fault::AnswerLost,
            Self::JobFails(_) => Fault::JobFails,
            Self::LoseSight => Fault::LostSight,
        }
    }
}

/// `S0 for I1` for a task.
struct Who<'a>(&'a Task);

impl fmt::Display for Who<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S{} for I{}", self.0.submitter, self.0.ingress)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offer(submitter, ingress) => {
                write!(f, "a batch with I{ingress}'s request is offered to S{submitter}, which claims it")
            }
            Self::Grant(task) => write!(f, "I{} grants to S{}", task.ingress, task.submitter),
            Self::Refuse(task) => write!(f, "I{} refuses the claim of S{}", task.ingress, task.submitter),
            Self::LeaveOut(task) => write!(f, "{} leaves it out, which is silent", Who(task)),
            Self::Upload(task) => {
                write!(f, "{} pulls the body and uploads a file, or sees that it lost its grant", Who(task))
            }
            Self::Register(file) => write!(f, "file {file} is registered"),
            Self::Registered(task) => write!(f, "{} hears so and sends the creation", Who(task)),
            Self::NotRegistered(task) => write!(f, "{} hears that its file is not registered", Who(task)),
            Self::Create(file) => write!(f, "provider has the creation from file {file}"),
            Self::Execute(file) => write!(f, "provider executes and bills the job of file {file}"),
            Self::Fail(file) => write!(f, "provider fails the job of the deleted file {file}"),
            Self::Delete(file) => write!(f, "provider deletes file {file}"),
            Self::Created(task) => write!(f, "{} hears what became of its creation", Who(task)),
            Self::List(task, Some(file)) => write!(f, "{} lists and finds the job of file {file}", Who(task)),
            Self::List(task, None) => write!(f, "{} lists and finds nothing", Who(task)),
            Self::Settled(task) => {
                write!(f, "{} knows that {:?} are deleted, and waits", Who(task), task.fence)
            }
            Self::JobFailed(task) => write!(f, "{} polls: the job has failed", Who(task)),
            Self::Release(task) => write!(f, "{} says that nothing was billed", Who(task)),
            Self::Deliver(task) => write!(f, "{} delivers the answer", Who(task)),
            Self::Regain(ingress, None) => write!(f, "I{ingress} takes its request back"),
            Self::Regain(ingress, Some(heir)) => write!(f, "I{ingress} has its request recovered by S{heir}"),
            Self::Wrong(wrong) => write!(f, "! {wrong}"),
            _ => self.of_callers(f),
        }
    }
}

impl Action {
    fn of_callers(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Notice => write!(f, "I0 sees that its caller is gone"),
            Self::Forget => write!(f, "I0 drops the request that nobody waits for"),
            Self::Leave => write!(f, "the caller leaves I0"),
            Self::Arrive => write!(f, "the caller comes to I1, which asks around"),
            Self::OriginAnswers => write!(f, "I0 answers I1"),
            Self::GiveUpOrigin => write!(f, "I1 takes I0 for dead"),
            Self::Revive => write!(f, "I1 hears that I0 lives"),
            Self::SubmitterAnswers(submitter) => write!(f, "S{submitter} answers I1"),
            Self::GiveUpSubmitter(submitter) => write!(f, "I1 takes S{submitter} for dead"),
            Self::Attach => write!(f, "I1 waits at I0"),
            Self::Copy(submitter, file) => {
                write!(f, "I1 has S{submitter} deliver the answer of file {file} to it as well")
            }
            Self::Announce => write!(f, "I1 announces the repetition as a new request"),
            Self::Fetch => write!(f, "I1 fetches the outcome from I0"),
            Self::Unknown => write!(f, "I0 says that it does not know I1's caller"),
            Self::Expire => write!(f, "I0 no longer counts on I1's caller"),
            Self::Wake => write!(f, "I0 works again"),
            Self::WakeSubmitter(submitter) => write!(f, "S{submitter} works again"),
            Self::Look => write!(f, "I0 looks what is still true"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IngressDies(ingress) => write!(f, "I{ingress} dies"),
            Self::SubmitterDies(submitter) => write!(f, "S{submitter} dies"),
            Self::Pause => write!(f, "I0 stands still"),
            Self::LoseSight => write!(f, "I1 no longer hears I0, which works"),
            Self::Cut => write!(f, "I0 is cut off, from its caller too"),
            Self::PauseSubmitter(submitter) => write!(f, "S{submitter} stands still"),
            Self::LoseAnswer(task) => write!(f, "{} gets no answer to its creation", Who(task)),
            Self::JobFails(file) => {
                write!(f, "provider fails the job of file {file}, such as for a full queue")
            }
        }
    }
}
