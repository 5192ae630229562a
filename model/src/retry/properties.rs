//! What must hold of a repetition, and what must be possible.

use stateright::Property;

use super::state::{Excuse, Health, ORIGIN, OTHER, Phase, State, Task};
use super::{FILES, Retry};
use crate::state::Job;

/// The names of the properties.
pub mod names {
    /// No request is executed in two jobs, unless its ingress and the submitter that had registered it were lost.
    pub const BILLED_ONCE: &str = "no request is billed twice";
    /// An answer comes from an executed job.
    pub const OWN_ANSWER: &str = "an answer is that of an executed job";
    /// Liveness: an end without an answer.
    pub const NOBODY_FORGOTTEN: &str = "when nothing can happen any more, every caller has an answer";
    /// The model's own limits were not reached.
    pub const BOUNDS: &str = "the bounds of the model suffice";
    /// The answer comes by way of the first ingress.
    pub const REMOTE: &str = "a caller gets its answer at another ingress from the first";
    /// A request that was withheld is granted for the other ingress's caller.
    pub const WITHHELD: &str = "a request is granted again for a caller at another ingress";
    /// The answer comes from the job of an ingress that is dead.
    pub const COPIED: &str = "a caller gets the answer that a dead ingress asked for";
    /// The answer comes to both.
    pub const BOTH: &str = "both ingresses get the answer of one job";
    /// Nobody knows it.
    pub const ANEW: &str = "what nobody knows is announced as new";
    /// The excuse is needed.
    pub const EXCUSED: &str = "a call is bought again when its ingress and its submitter had died";
    /// The excuse is needed for those that only stood still, too.
    pub const SILENT: &str = "a call is bought again when its ingress and its submitter were silent";
}

/// All of them.
pub(super) fn all() -> Vec<Property<Retry>> {
    vec![
        Property::always(names::BILLED_ONCE, |model: &Retry, state: &State| {
            // The twin may have its own.
            let callers = 1 + usize::from(model.bounds.twin);
            state.bills() <= callers || state.excuse != Excuse::None
        }),
        Property::always(names::OWN_ANSWER, |_, state: &State| {
            state.ingresses.iter().all(|ingress| match ingress.phase {
                Phase::Done(file) => state.file(file).job == Job::Billed,
                _ => true,
            })
        }),
        Property::always(names::NOBODY_FORGOTTEN, |model: &Retry, state: &State| {
            is_settled(state) || !model.progress(state).is_empty()
        }),
        Property::always(names::BOUNDS, |_, state: &State| state.files.len() < FILES),
        Property::sometimes(names::REMOTE, |_, state: &State| {
            let done = |ingress| matches!(state.ingress(ingress).phase, Phase::Done(_));
            let copied = state.tasks.iter().any(|task| task.ingress == OTHER);
            state.answered && done(ORIGIN) && done(OTHER) && !copied
        }),
        Property::sometimes(names::WITHHELD, |_, state: &State| {
            let origin = state.ingress(ORIGIN);
            origin.remote
                && !origin.client
                && matches!(origin.phase, Phase::Granted(grant) if grant.files.is_empty())
        }),
        Property::sometimes(names::COPIED, |_, state: &State| {
            let from_origin =
                matches!(state.ingress(OTHER).phase, Phase::Done(file) if state.file(file).ingress == ORIGIN);
            state.answered && from_origin && state.ingress(ORIGIN).health == Health::Dead
        }),
        Property::sometimes(names::BOTH, |_, state: &State| {
            let told = |ingress| {
                let told = |task: &Task| task.ingress == ingress && task.told;
                state.tasks.iter().any(told)
            };
            told(ORIGIN) && told(OTHER) && state.bills() == 1
        }),
        Property::sometimes(names::ANEW, |_, state: &State| {
            let done = |file: u8| state.file(file).ingress == OTHER;
            matches!(state.ingress(OTHER).phase, Phase::Done(file) if done(file)) && state.bills() == 1
        }),
        Property::sometimes(names::EXCUSED, |_, state: &State| {
            state.bills() == 2 && state.excuse == Excuse::BothDead
        }),
        Property::sometimes(names::SILENT, |_, state: &State| {
            state.bills() == 2 && state.excuse == Excuse::BothSilent
        }),
    ]
}

/// Whether nobody is left waiting who could be helped.
fn is_settled(state: &State) -> bool {
    let helpless = state.all_submitters().all(|submitter| !state.works(submitter));
    let lost = match state.caller {
        Some(at) => !state.is_up(at),
        None => !state.is_up(OTHER),
    };
    let twin = state.twin.is_none_or(|answered| answered || !state.is_up(ORIGIN));
    helpless || (state.answered || lost) && twin
}
