//! Steps in which something goes wrong.

use crate::FILES;
use crate::action::{Action, Wrong};
use crate::progress::heirs;
use crate::rules::{Bounds, Rules};
use crate::state::{Doing, Sight, Stage, State, Task};

/// All faults that can happen now, of the kinds that may.
pub fn steps(rules: &Rules, bounds: &Bounds, state: &State, out: &mut Vec<Action>) {
    if state.faults == 0 {
        return;
    }
    let mut wrong = Vec::new();
    deaths(state, &mut wrong);
    suspicions(rules, state, &mut wrong);
    offers(state, &mut wrong);
    for task in &state.tasks {
        of_task(rules, state, task, &mut wrong);
    }
    for (number, caller) in (0u8..).zip(&state.callers) {
        match caller.doing {
            Doing::Waits => wrong.push(Wrong::Leave(number)),
            Doing::Asks if state.is_held(caller.request) => wrong.push(Wrong::Silence(number)),
            _ => {}
        }
    }
    out.extend(wrong.into_iter().filter(|wrong| bounds.kinds.contains(&wrong.kind())).map(Action::Wrong));
}

fn deaths(state: &State, wrong: &mut Vec<Wrong>) {
    // The death of one that has done nothing is like its absence, and every submitter may be the one that has not.
    let busy = |submitter: &u8| state.tasks.iter().any(|task| task.submitter == *submitter);
    wrong.extend(state.submitters.iter().filter(busy).map(Wrong::SubmitterDies));
    wrong.extend(state.live_ingresses().map(Wrong::IngressDies));
}

fn suspicions(rules: &Rules, state: &State, wrong: &mut Vec<Wrong>) {
    for ingress in state.live_ingresses() {
        for grant in &state.ingress(ingress).grants {
            if state.submitters.has(grant.submitter) && state.is_worked_on(ingress, grant) {
                let heirs = if rules.recover { heirs(state, grant) } else { vec![None] };
                wrong.extend(heirs.into_iter().map(|to| Wrong::Suspect(ingress, grant.batch, to)));
            }
        }
    }
}

fn offers(state: &State, wrong: &mut Vec<Wrong>) {
    let waits = |ingress| !state.grantable(ingress).is_empty();
    let claiming = state.tasks.iter().any(|task| matches!(task.stage, Stage::Claiming(_)));
    for submitter in state.submitters.iter() {
        // The newest number is a further batch with the same requests.
        for batch in 0..=state.batches {
            let known = state.tasks.iter().any(|task| (task.submitter, task.batch) == (submitter, batch));
            let further = batch == state.batches;
            let useful = match further {
                true => claiming && state.live_ingresses().any(waits),
                false => state
                    .live_ingresses()
                    .any(|ingress| waits(ingress) || state.grant(ingress, batch).is_some()),
            };
            if useful && !known {
                wrong.push(Wrong::Offer(submitter, batch));
            }
        }
    }
    for (submitter, batch) in &state.offers {
        for ingress in state.live_ingresses().filter(|ingress| waits(*ingress)) {
            if state.grant(ingress, *batch).is_none() {
                wrong.push(Wrong::LateClaim(*submitter, *batch, ingress));
            }
        }
    }
}

fn of_task(rules: &Rules, state: &State, task: &Task, wrong: &mut Vec<Wrong>) {
    match task.stage {
        Stage::Claiming(asked) => {
            for ingress in asked.iter().filter(|ingress| state.ingress(*ingress).alive) {
                let grants =
                    state.grant(ingress, task.batch).is_none() && !state.grantable(ingress).is_empty();
                wrong.push(Wrong::LeaveOut(task.clone(), ingress, false));
                if grants {
                    wrong.push(Wrong::LeaveOut(task.clone(), ingress, true));
                }
            }
        }
        Stage::Registering(_, waits) => {
            let live = waits.iter().filter(|ingress| state.ingress(*ingress).alive);
            wrong.extend(live.map(|ingress| Wrong::LeaveOut(task.clone(), ingress, false)));
        }
        Stage::Uploading if state.files.len() < FILES => {
            let unseen = [Sight::Unseen, Sight::Never].into_iter();
            wrong.extend(unseen.map(|sight| Wrong::Unseen(task.clone(), sight)));
            if !task.sweeps {
                wrong.push(Wrong::LoseUpload(task.clone()));
            }
        }
        Stage::Creating(_) => {
            wrong.push(Wrong::LoseAnswer(task.clone()));
            forgets(rules, state, task, wrong);
        }
        Stage::Polling(_) => forgets(rules, state, task, wrong),
        Stage::Proving(_)
            if !state.was_stale && task.fence.iter().any(|file| state.file(file).job.is_listed()) =>
        {
            wrong.push(Wrong::StaleList(task.clone()));
        }
        _ => {}
    }
}

fn forgets(rules: &Rules, state: &State, task: &Task, wrong: &mut Vec<Wrong>) {
    let live = task.parts.iter().filter(|part| state.ingress(part.ingress).alive && !rules.hold_for_lost);
    wrong.extend(live.map(|part| Wrong::LeaveOut(task.clone(), part.ingress, false)));
}
