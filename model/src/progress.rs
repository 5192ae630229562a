//! Steps that need nothing to go wrong. Each of them changes something, so that a state without any is an end.

use crate::action::Action;
use crate::rules::{Absent, Rules};
use crate::set::Set;
use crate::state::{Doing, File, Grant, Job, Sight, Stage, State, Task};

/// All such steps, in an order that depends on the state alone.
pub fn steps(rules: &Rules, state: &State, bounds_files: usize, out: &mut Vec<Action>) {
    offers(state, out);
    for task in &state.tasks {
        of_task(rules, state, task, bounds_files, out);
    }
    provider(rules, state, out);
    ingresses(rules, state, out);
    callers(state, out);
}

/// Whether an ingress registers a file: compare and set.
pub fn registers(rules: &Rules, grant: Option<&Grant>, file: &File, ingress: u8, number: u8) -> bool {
    let epoch = file.epochs[usize::from(ingress)];
    let Some(grant) = grant else { return !rules.check_epoch };
    let known = grant.files.minus(file.known.with(number)).is_empty();
    (!rules.check_epoch || grant.epoch == epoch) && (!rules.check_files || known)
}

/// Who takes over a grant with files: another submitter, or the same one if there is no other. `None` is nobody, which
/// is right where there are no files.
pub fn heirs(state: &State, grant: &Grant) -> Vec<Option<u8>> {
    if grant.files.is_empty() {
        return vec![None];
    }
    let others: Vec<_> = state.submitters.without(grant.submitter).iter().map(Some).collect();
    match others.is_empty() {
        true => state.submitters.iter().map(Some).collect(),
        false => others,
    }
}

fn offers(state: &State, out: &mut Vec<Action>) {
    let claiming = state.tasks.iter().any(|task| matches!(task.stage, Stage::Claiming(_)));
    if claiming || state.live_ingresses().all(|ingress| state.grantable(ingress).is_empty()) {
        return;
    }
    // Submitters are alike before the first batch.
    let fresh = state.batches == 0 && state.submitters.len() == 2;
    out.extend(state.submitters.iter().take(if fresh { 1 } else { 2 }).map(Action::Offer));
}

fn of_task(rules: &Rules, state: &State, task: &Task, files: usize, out: &mut Vec<Action>) {
    if task.sweeps {
        out.push(Action::Sweep(task.clone()));
    }
    let dead = |ingress: &u8| !state.ingress(*ingress).alive;
    match task.stage {
        Stage::Claiming(asked) => out.extend(asked.iter().map(|ingress| match dead(&ingress) {
            true => Action::LeaveOut(task.clone(), ingress),
            false => Action::Claim(task.clone(), ingress),
        })),
        Stage::Finding => {
            out.extend(listed(state, task).map(|file| Action::List(task.clone(), Some(file))));
            // The list lags.
            out.push(Action::List(task.clone(), None));
        }
        Stage::Deleting(missing) => {
            if task.fence.iter().all(|file| is_fenced(rules, state.file(file), missing.has(file))) {
                out.push(Action::Settled(task.clone()));
            }
            let believes = matches!(rules.absent, Absent::Trusted | Absent::Waited);
            for file in task.fence.minus(missing).iter().filter(|_| believes) {
                let known = state.file(file);
                if known.sight != Sight::Seen && known.doomed {
                    out.push(Action::Absent(task.clone(), file));
                }
            }
        }
        Stage::Proving(_) => {
            let found: Vec<u8> = listed(state, task).collect();
            out.extend(found.iter().map(|file| Action::List(task.clone(), Some(*file))));
            if found.is_empty() || !rules.settle {
                out.push(Action::List(task.clone(), None));
            }
        }
        Stage::Uploading if state.files.len() < files => out.push(Action::Upload(task.clone())),
        Stage::Uploading => {}
        Stage::Registering(file, waits) => registering(rules, state, task, file, waits, out),
        Stage::Creating(file) => {
            if !matches!(state.file(file).job, Job::NotSent | Job::OnItsWay) {
                out.push(Action::Created(task.clone()));
            }
        }
        Stage::Polling(file) => match state.file(file).job {
            Job::Billed => deliveries(rules, state, task, out),
            Job::Failed => out.push(Action::JobFailed(task.clone())),
            _ => {}
        },
        Stage::Releasing => out.push(Action::Release(task.clone())),
        Stage::Failing => deliveries(rules, state, task, out),
    }
}

/// Whether a submitter takes a file for gone, which may have been told that there is none.
fn is_fenced(rules: &Rules, file: &File, was_absent: bool) -> bool {
    let lag_has_passed = file.sight != Sight::Unseen;
    file.deleted
        || match rules.absent {
            Absent::Trusted => was_absent,
            Absent::Waited => was_absent && lag_has_passed,
            // The last deletion finds every file that was uploaded.
            Absent::Repeated => file.sight == Sight::Never,
            Absent::Doubted => false,
        }
}

fn listed<'a>(state: &'a State, task: &Task) -> impl Iterator<Item = u8> + 'a {
    task.fence.iter().filter(|file| state.file(*file).job.is_listed()).collect::<Vec<_>>().into_iter()
}

fn registering(rules: &Rules, state: &State, task: &Task, file: u8, waits: Set, out: &mut Vec<Action>) {
    for ingress in waits.iter() {
        if !state.ingress(ingress).alive {
            out.push(Action::LeaveOut(task.clone(), ingress));
        }
        if state.file(file).registered.has(ingress) {
            out.push(Action::Registered(task.clone(), ingress));
        } else if state.ingress(ingress).alive
            && !registers(rules, state.grant(ingress, task.batch), state.file(file), ingress, file)
        {
            out.push(Action::Refused(task.clone(), ingress));
        }
    }
}

fn deliveries(rules: &Rules, state: &State, task: &Task, out: &mut Vec<Action>) {
    for part in &task.parts {
        let alive = state.ingress(part.ingress).alive;
        let untold = part.requests.minus(task.told).iter();
        // What waits at its ingress for a caller is only kept here.
        let kept = |request| rules.keep_unreceived && task.has_answered(state.phase(request));
        let reachable =
            untold.filter(|request| if alive { !kept(*request) } else { state.is_awaited(*request) });
        out.extend(reachable.map(|request| Action::Deliver(task.clone(), request)));
    }
}

fn provider(rules: &Rules, state: &State, out: &mut Vec<Action>) {
    for (number, file) in (0u8..).zip(&state.files) {
        match (file.job, file.deleted) {
            (Job::OnItsWay, _) if file.sight != Sight::Seen => out.push(Action::Create(number, false)),
            (Job::OnItsWay, true) => {
                out.extend([Action::Create(number, false), Action::Create(number, true)])
            }
            (Job::OnItsWay, false) => out.push(Action::Create(number, true)),
            (Job::Validating, true) => out.extend([Action::Execute(number), Action::FailJob(number)]),
            (Job::Validating, false) => out.push(Action::Execute(number)),
            _ => {}
        }
        if file.doomed && !file.deleted && file.sight == Sight::Seen {
            out.push(Action::Delete(number));
        }
        if file.sight == Sight::Unseen {
            out.push(Action::Appear(number));
        }
        let live = |ingress: &u8| state.ingress(*ingress).alive && file.epochs[usize::from(*ingress)] > 0;
        for ingress in (0..state.ingresses.len() as u8).filter(live) {
            let grant = state.grant(ingress, file.batch);
            let takes = registers(rules, grant, file, ingress, number);
            let news = !file.registered.has(ingress) || grant.is_some_and(|grant| !grant.files.has(number));
            if takes && news && rules.register && (grant.is_some() || !file.registered.has(ingress)) {
                out.push(Action::Register(number, ingress));
            }
        }
    }
}

fn ingresses(rules: &Rules, state: &State, out: &mut Vec<Action>) {
    for ingress in state.live_ingresses() {
        for grant in &state.ingress(ingress).grants {
            let dead = !state.submitters.has(grant.submitter);
            let idle = !state.is_worked_on(ingress, grant) && (rules.sync || grant.files.is_empty());
            if dead || idle {
                let heirs = heirs(state, grant).into_iter();
                let heirs = heirs.take(if rules.recover || grant.files.is_empty() { 2 } else { 0 });
                out.extend(heirs.map(|to| Action::Regain(ingress, grant.batch, to)));
            }
            if dead && !rules.recover && !grant.files.is_empty() {
                out.push(Action::Regain(ingress, grant.batch, None));
            }
        }
    }
}

fn callers(state: &State, out: &mut Vec<Action>) {
    for (number, caller) in (0u8..).zip(&state.callers) {
        match caller.doing {
            Doing::Away => out.extend(state.live_ingresses().map(|ingress| Action::Return(number, ingress))),
            Doing::Asks if state.is_held(caller.request) => out.push(Action::Found(number)),
            Doing::Asks => out.push(Action::NotFound(number)),
            Doing::Waits if !state.is_held(caller.request) => out.push(Action::Lost(number)),
            _ => {}
        }
    }
}
