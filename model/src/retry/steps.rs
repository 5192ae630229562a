//! Which steps are possible.

use super::FILES;
use super::action::{Action, Wrong};
use super::rules::{Bounds, Rules};
use super::state::{Ask, Grant, Health, Heard, ORIGIN, OTHER, Phase, Stage, State, Task};
use crate::state::Job;

/// Steps that need nothing to go wrong and nobody to decide anything. A state without any is an end.
pub fn progress(rules: &Rules, state: &State, out: &mut Vec<Action>) {
    for ingress in [ORIGIN, OTHER] {
        if state.is_up(ingress) {
            offers(state, ingress, out);
            if !(rules.doubt_all && state.ingress(ingress).doubts) {
                regain(state, ingress, out);
            }
        }
    }
    for task in state.tasks.iter().filter(|task| state.works(task.submitter)) {
        of_task(state, *task, out);
    }
    provider(rules, state, out);
    origin(state, out);
    other(rules, state, out);
}

/// Steps that may come or not.
pub fn free(state: &State, out: &mut Vec<Action>) {
    let origin = state.ingress(ORIGIN);
    match origin.health {
        Health::Paused | Health::Cut => {
            out.push(Action::Wake);
            // Its announcement is still with a batcher.
            offers(state, ORIGIN, out);
        }
        Health::Up if origin.phase == Phase::New && !origin.client && !origin.remote => {
            out.push(Action::Forget)
        }
        Health::Up if origin.doubts => {
            let claims =
                state.tasks.iter().filter(|task| (task.ingress, task.stage) == (ORIGIN, Stage::Claiming));
            out.extend(claims.map(|task| Action::Refuse(*task)));
        }
        _ => {}
    }
    if state.is_up(ORIGIN) && origin.remote && state.ingress(OTHER).phase == Phase::Remote {
        // The other ingress was not heard of for a while.
        out.push(Action::Expire);
    }
    let paused = |submitter: &u8| state.submitters[usize::from(*submitter)] == Health::Paused;
    out.extend(state.all_submitters().filter(paused).map(Action::WakeSubmitter));
    if state.caller == Some(ORIGIN) && !state.answered {
        out.push(Action::Leave);
    }
}

/// Faults.
pub fn faults(bounds: &Bounds, state: &State, out: &mut Vec<Action>) {
    if state.faults == 0 {
        return;
    }
    let mut wrong = Vec::new();
    for ingress in [ORIGIN, OTHER] {
        if state.ingress(ingress).health != Health::Dead {
            wrong.push(Wrong::IngressDies(ingress));
        }
    }
    if state.is_up(ORIGIN) {
        wrong.extend([Wrong::Pause, Wrong::Cut, Wrong::LoseSight]);
    }
    let busy = |submitter: &u8| state.tasks.iter().any(|task| task.submitter == *submitter);
    for submitter in state.all_submitters().filter(busy) {
        match state.submitters[usize::from(submitter)] {
            Health::Up => wrong.extend([Wrong::SubmitterDies(submitter), Wrong::PauseSubmitter(submitter)]),
            Health::Dead => {}
            _ => wrong.push(Wrong::SubmitterDies(submitter)),
        }
    }
    let creating = |task: &&Task| matches!(task.stage, Stage::Creating(_)) && state.works(task.submitter);
    wrong.extend(state.tasks.iter().filter(creating).map(|task| Wrong::LoseAnswer(*task)));
    for (number, file) in (0u8..).zip(&state.files) {
        if file.job == Job::Validating {
            wrong.push(Wrong::JobFails(number));
        }
    }
    out.extend(wrong.into_iter().filter(|wrong| bounds.kinds.contains(&wrong.kind())).map(Action::Wrong));
}

fn offers(state: &State, ingress: u8, out: &mut Vec<Action>) {
    let claimed =
        |task: &Task| (task.ingress, task.stage) == (ingress, Stage::Claiming) && state.works(task.submitter);
    if !state.is_announced(ingress) || state.tasks.iter().any(claimed) {
        return;
    }
    // Submitters are alike before the first batch.
    let fresh = state.tasks.is_empty() && state.files.is_empty();
    let free = state.all_submitters().filter(|submitter| state.works(*submitter));
    out.extend(free.take(if fresh { 1 } else { 2 }).map(|submitter| Action::Offer(submitter, ingress)));
}

/// Who holds a grant is dead or still, or does not know of it.
fn regain(state: &State, ingress: u8, out: &mut Vec<Action>) {
    let Some(grant) = state.grant(ingress) else { return };
    let has = |task: &Task| {
        (task.submitter, task.ingress, task.epoch) == (grant.submitter, ingress, grant.epoch)
            && task.stage != Stage::LeftOut
    };
    if state.works(grant.submitter) && state.tasks.iter().any(has) {
        return;
    }
    if grant.files.is_empty() {
        return out.push(Action::Regain(ingress, None));
    }
    let others = state.all_submitters().filter(|other| *other != grant.submitter && state.works(*other));
    let same = Some(grant.submitter).filter(|same| state.works(*same));
    let heir = others.into_iter().next().or(same);
    out.extend(heir.map(|heir| Action::Regain(ingress, Some(heir))));
}

fn of_task(state: &State, task: Task, out: &mut Vec<Action>) {
    let up = state.is_up(task.ingress);
    if !up && matches!(task.stage, Stage::Claiming | Stage::Uploading | Stage::Registering(_)) {
        out.push(Action::LeaveOut(task));
    }
    let listed = || task.fence.iter().filter(|file| state.file(*file).job.is_listed());
    match task.stage {
        Stage::Claiming if !up => {}
        Stage::Claiming if !state.is_announced(task.ingress) => out.push(Action::Refuse(task)),
        Stage::Claiming if !state.ingress(task.ingress).doubts => out.push(Action::Grant(task)),
        Stage::Uploading if up && state.files.len() < FILES => out.push(Action::Upload(task)),
        Stage::Registering(file) if state.file(file).registered => out.push(Action::Registered(task)),
        Stage::Registering(_) if up && !state.is_current(&task) => out.push(Action::NotRegistered(task)),
        Stage::Creating(file) if state.file(file).job != Job::OnItsWay => out.push(Action::Created(task)),
        Stage::Finding => {
            out.extend(listed().map(|file| Action::List(task, Some(file))));
            out.push(Action::List(task, None));
        }
        Stage::Deleting if task.fence.iter().all(|file| state.file(file).deleted) => {
            out.push(Action::Settled(task));
        }
        Stage::Proving if listed().next().is_none() => out.push(Action::List(task, None)),
        Stage::Proving => out.extend(listed().map(|file| Action::List(task, Some(file)))),
        Stage::Polling(file) => match state.file(file).job {
            Job::Billed if up && !task.told => out.push(Action::Deliver(task)),
            Job::Failed => out.push(Action::JobFailed(task)),
            _ => {}
        },
        Stage::Releasing => out.push(Action::Release(task)),
        _ => {}
    }
}

fn provider(rules: &Rules, state: &State, out: &mut Vec<Action>) {
    for (number, file) in (0u8..).zip(&state.files) {
        match file.job {
            Job::OnItsWay => out.push(Action::Create(number)),
            Job::Validating => out.push(Action::Execute(number)),
            _ => {}
        }
        if file.job == Job::Validating && file.deleted {
            out.push(Action::Fail(number));
        }
        if file.doomed && !file.deleted {
            out.push(Action::Delete(number));
        }
        let takes = |grant: Grant| grant.epoch == file.epoch;
        let doubts = rules.doubt_all && state.ingress(file.ingress).doubts;
        let sure = state.is_up(file.ingress) && !doubts;
        if !file.registered && sure && state.grant(file.ingress).is_some_and(takes) {
            out.push(Action::Register(number));
        }
    }
}

fn origin(state: &State, out: &mut Vec<Action>) {
    let here = state.ingress(ORIGIN);
    if here.health != Health::Up {
        return;
    }
    if here.client && !state.has_caller() {
        out.push(Action::Notice);
    }
    if here.doubts {
        out.push(Action::Look);
    }
    if here.remote && state.ingress(OTHER).phase != Phase::Remote {
        out.push(Action::Expire);
    }
    if state.given_up && state.is_up(OTHER) {
        out.push(Action::Revive);
    }
}

fn other(rules: &Rules, state: &State, out: &mut Vec<Action>) {
    if !state.is_up(OTHER) {
        return;
    }
    let origin = state.ingress(ORIGIN);
    let (up, given_up) = (state.is_up(ORIGIN), !state.is_up(ORIGIN) || state.given_up);
    match state.ingress(OTHER).phase {
        Phase::Gone if state.caller.is_none() => out.push(Action::Arrive),
        Phase::Remote => {
            if given_up {
                out.push(Action::GiveUpOrigin);
            }
            if up && matches!(origin.phase, Phase::Done(_)) {
                out.push(Action::Fetch);
            } else if up && !origin.remote {
                out.push(Action::Unknown);
            }
        }
        Phase::Asking(ask) => asking(rules, state, ask, given_up, out),
        _ => {}
    }
}

fn asking(rules: &Rules, state: &State, ask: Ask, given_up: bool, out: &mut Vec<Action>) {
    if ask.origin == Heard::Nothing && state.is_up(ORIGIN) {
        out.push(Action::OriginAnswers);
    }
    if matches!(ask.origin, Heard::Nothing | Heard::Holds) && given_up {
        out.push(Action::GiveUpOrigin);
    }
    if ask.origin == Heard::Holds {
        if state.is_up(ORIGIN) {
            out.push(Action::Attach);
        }
        return;
    }
    let may_ask = rules.ask_submitters && (!rules.origin_first || ask.origin != Heard::Nothing);
    let mut open = ask.origin == Heard::Nothing;
    for submitter in state.all_submitters() {
        let heard = ask.submitters[usize::from(submitter)];
        if let Heard::Knows(file) = heard
            && !open
        {
            out.push(Action::Copy(submitter, file));
        }
        if heard == Heard::Nothing && may_ask {
            if !state.works(submitter) {
                out.push(Action::GiveUpSubmitter(submitter));
            } else if answer(rules, state, submitter).is_some() {
                out.push(Action::SubmitterAnswers(submitter));
            }
        }
    }
    open |= rules.ask_submitters
        && state.all_submitters().any(|submitter| ask.submitters[usize::from(submitter)] == Heard::Nothing);
    let known = ask.submitters.iter().any(|heard| matches!(heard, Heard::Knows(_)));
    if !known && (!open || !rules.all_answer) {
        out.push(Action::Announce);
    }
}

/// What a submitter says of the request; nothing if it says that it cannot tell yet.
pub fn answer(rules: &Rules, state: &State, submitter: u8) -> Option<Heard> {
    let mut heard = Some(Heard::No);
    for task in state.tasks.iter().filter(|task| (task.submitter, task.ingress) == (submitter, ORIGIN)) {
        let waits = match task.stage {
            // A job that has failed is none to copy: what becomes of the request is not known yet.
            Stage::Polling(file) if state.file(file).job == Job::Failed => rules.wait_creating,
            Stage::Polling(file) => return Some(Heard::Knows(file)),
            Stage::Claiming | Stage::Uploading | Stage::Registering(_) => rules.wait_claiming,
            Stage::Creating(_) | Stage::Finding | Stage::Deleting | Stage::Proving => rules.wait_creating,
            Stage::LeftOut => true,
            Stage::Releasing => false,
        };
        if waits {
            heard = None;
        }
    }
    heard
}
