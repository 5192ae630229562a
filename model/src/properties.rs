//! What must hold always, and what must be possible so that the rest is not empty.

use stateright::Property;

use crate::state::{Doing, Excuse, Job, Stage, State, Task};
use crate::{FILES, Model};

/// The names of the properties.
pub mod names {
    /// No request is executed in two jobs.
    pub const BILLED_ONCE: &str = "no request is billed twice";
    /// An answer comes from an executed job with the caller's own request.
    pub const OWN_ANSWER: &str = "a caller gets its own answer";
    /// Who gets an error would buy again what is paid.
    pub const NO_PAID_ERROR: &str = "no caller gets an error for a request that is billed";
    /// The provider refuses nothing in this model.
    pub const NO_ERROR: &str = "no caller gets an error, since there is no cause for any";
    /// A caller's repetition does not buy again what somebody holds.
    pub const CALL_ONCE: &str = "a call that comes back is billed once while anybody holds it";
    /// Liveness: an end without an answer.
    pub const NOBODY_FORGOTTEN: &str =
        "when nothing can happen any more, every caller has an answer or an error";
    /// The model's own limits were not reached.
    pub const BOUNDS: &str = "the bounds of the model suffice";
    /// A plain answer.
    pub const ANSWERED: &str = "all are answered";
    /// A submitter that took over has an answer.
    pub const RECOVERED: &str = "a recoverer has an answer";
    /// A job is found whose creation had no answer.
    pub const ADOPTED: &str = "a job is found and adopted";
    /// A second job, after the first file was fenced.
    pub const FENCED: &str = "a file is fenced and its requests are billed by another";
    /// A creation that came after the fence.
    pub const TOO_LATE: &str = "a late creation meets its deleted file";
    /// A caller that came back has its answer.
    pub const CAME_BACK: &str = "a caller gets its answer at another ingress";

    /// What must never be violated.
    pub const SAFETY: [&str; 7] =
        [BILLED_ONCE, OWN_ANSWER, NO_PAID_ERROR, NO_ERROR, CALL_ONCE, NOBODY_FORGOTTEN, BOUNDS];
}

/// All of them.
pub(crate) fn all() -> Vec<Property<Model>> {
    vec![
        Property::always(names::BILLED_ONCE, |_, state: &State| {
            (0..state.requests.len() as u8).all(|request| state.bills(request) <= 1)
        }),
        Property::always(names::OWN_ANSWER, |_, state: &State| own_answers(state)),
        Property::always(names::NO_PAID_ERROR, |_, state: &State| {
            let paid = |request| state.bills(request) > 0;
            !state.callers.iter().any(|caller| caller.doing == Doing::Failed && paid(caller.request))
        }),
        Property::always(names::NO_ERROR, |_, state: &State| {
            !state.callers.iter().any(|caller| caller.doing == Doing::Failed)
        }),
        Property::always(names::CALL_ONCE, |model, state: &State| calls_once(model, state)),
        Property::always(names::NOBODY_FORGOTTEN, |model, state: &State| {
            is_settled(state) || !model.progress(state).is_empty()
        }),
        Property::always(names::BOUNDS, |_, state: &State| {
            let given_up = state.callers.iter().any(|caller| caller.doing == Doing::GaveUp);
            state.files.len() < FILES && state.batches < 8 && !given_up
        }),
        Property::sometimes(names::ANSWERED, |_, state: &State| {
            state.callers.iter().all(|caller| caller.doing == Doing::Answered)
        }),
        Property::sometimes(names::RECOVERED, |_, state: &State| has_task(state, |task| task.recovers)),
        Property::sometimes(names::ADOPTED, |_, state: &State| has_task(state, |task| task.adopted)),
        Property::sometimes(names::FENCED, |_, state: &State| {
            let fenced = |task: &Task, file: u8| {
                task.known.iter().any(|old| {
                    let old_file = state.file(old);
                    old < file && old_file.deleted && old_file.job != Job::NotSent
                })
            };
            state.tasks.iter().any(|task| {
                matches!(task.stage, Stage::Polling(file) if is_billed(state, file) && fenced(task, file))
            })
        }),
        Property::sometimes(names::TOO_LATE, |_, state: &State| {
            state.files.iter().any(|file| file.deleted && file.job == Job::Refused)
        }),
        Property::sometimes(names::CAME_BACK, |model, state: &State| {
            let elsewhere = |caller: u8| {
                let known = state.callers[usize::from(caller)];
                known.doing == Doing::Answered
                    && known.request == caller
                    && known.at != caller / model.bounds.requests
            };
            (0..state.callers.len() as u8).any(elsewhere)
        }),
    ]
}

fn is_billed(state: &State, file: u8) -> bool {
    state.file(file).job == Job::Billed
}

fn has_task(state: &State, which: impl Fn(&Task) -> bool) -> bool {
    let delivers = |task: &&Task| matches!(task.stage, Stage::Polling(file) if is_billed(state, file));
    state.tasks.iter().filter(delivers).any(which)
}

/// Its own request, the first or the second, was executed in some job.
fn own_answers(state: &State) -> bool {
    let callers = state.callers.len() as u8;
    state
        .callers
        .iter()
        .zip(0u8..)
        .filter(|(caller, _)| caller.doing == Doing::Answered)
        .all(|(caller, number)| caller.request % callers == number && state.bills(caller.request) > 0)
}

/// A call may be bought again only if whoever held it had died, both the ingress and the submitter.
fn calls_once(model: &Model, state: &State) -> bool {
    let deaths = state.submitters.len() < usize::from(model.bounds.submitters)
        && state.ingresses.iter().any(|ingress| !ingress.alive);
    let callers = state.callers.len() as u8;
    state.callers.iter().zip(0u8..).all(|(caller, number)| {
        let twice = state.bills(number) > 0 && state.bills(number + callers) > 0;
        !twice || caller.excuse == Excuse::NobodyHolds && deaths
    })
}

/// Whether nobody is left waiting who could be helped: by a live submitter, at a live ingress.
fn is_settled(state: &State) -> bool {
    let helpless = state.submitters.is_empty() || state.live_ingresses().next().is_none();
    let ended = |doing| matches!(doing, Doing::Answered | Doing::Failed | Doing::GaveUp);
    helpless || state.callers.iter().all(|caller| ended(caller.doing))
}
