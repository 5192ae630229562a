//! What the steps do.

mod callers;
mod ingress;
mod provider;
mod submitter;

use crate::action::{Action, Wrong};
use crate::rules::Rules;
use crate::state::{Sight, Stage, State, Task};

/// The state after a step.
pub fn after(rules: &Rules, state: &State, action: Action) -> State {
    let mut next = state.clone();
    next.apply(rules, action);
    next.tasks.sort();
    next
}

impl State {
    fn apply(&mut self, rules: &Rules, action: Action) {
        match action {
            Action::Offer(submitter) => self.offer(submitter, self.batches),
            Action::Claim(task, ingress) => {
                self.change(task, |state, task| state.claim(rules, task, ingress))
            }
            Action::LeaveOut(task, ingress) => {
                self.change(task, |state, task| state.leave_out(rules, task, ingress));
            }
            Action::Upload(task) => {
                self.change(task, |state, task| state.upload(rules, task, Sight::Seen));
            }
            Action::Register(file, ingress) => self.register(file, ingress),
            Action::Registered(task, ingress) => {
                self.change(task, |state, task| state.registered(rules, task, ingress));
            }
            Action::Refused(task, ingress) => {
                self.change(task, |state, task| state.refused(rules, task, ingress));
            }
            Action::Create(file, created) => self.create(file, created),
            Action::Execute(file) => self.execute(file),
            Action::FailJob(file) => self.fail_job(file),
            Action::Delete(file) => self.delete(file),
            Action::Appear(file) => self.file_mut(file).sight = Sight::Seen,
            Action::Absent(task, file) => self.change(task, |state, task| state.absent(task, file)),
            Action::Created(task) => self.change(task, |state, task| state.created(rules, task)),
            Action::List(task, found) => self.change(task, |state, task| state.listed(rules, task, found)),
            Action::Settled(task) => self.change(task, |_, task| task.stage = Stage::Proving(0)),
            Action::JobFailed(task) => self.change(task, |_, task| task.again(rules)),
            Action::Sweep(task) => self.change(task, |state, task| state.sweep(rules, task)),
            Action::Release(task) => self.change(task, Self::release),
            Action::Deliver(task, request) => {
                self.change(task, |state, task| state.deliver(rules, task, request));
            }
            Action::Regain(ingress, batch, to) => self.regain(rules, ingress, batch, to),
            Action::Return(caller, ingress) => self.come_back(caller, ingress),
            Action::Found(caller) => self.found(caller),
            Action::NotFound(caller) => self.ask_anew(caller, crate::state::Excuse::NobodyHolds),
            Action::Lost(caller) => self.ask(caller),
            Action::Wrong(wrong) => self.go_wrong(rules, wrong),
        }
    }

    fn go_wrong(&mut self, rules: &Rules, wrong: Wrong) {
        self.faults -= 1;
        match wrong {
            Wrong::SubmitterDies(submitter) => {
                self.submitters = self.submitters.without(submitter);
                self.tasks.retain(|task| task.submitter != submitter);
            }
            Wrong::IngressDies(ingress) => self.die(ingress),
            Wrong::Suspect(ingress, batch, to) => self.regain(rules, ingress, batch, to),
            Wrong::LeaveOut(task, ingress, granted) => {
                if granted {
                    self.give(rules, ingress, task.submitter, task.batch);
                }
                self.change(task, |state, task| state.leave_out(rules, task, ingress));
            }
            Wrong::Offer(submitter, batch) => self.offer(submitter, batch),
            Wrong::LateClaim(submitter, batch, ingress) => self.give(rules, ingress, submitter, batch),
            Wrong::LoseAnswer(task) => self.change(task, |_, task| task.doubt(rules)),
            Wrong::LoseUpload(task) => self.change(task, |_, task| task.sweeps = true),
            Wrong::StaleList(task) => {
                self.was_stale = true;
                self.change(task, |state, task| state.listed(rules, task, None));
            }
            Wrong::Unseen(task, sight) => {
                self.change(task, |state, task| state.upload(rules, task, sight));
            }
            Wrong::Leave(caller) => self.leave(caller),
            Wrong::Silence(caller) => self.ask_anew(caller, crate::state::Excuse::Silence),
        }
    }

    /// Takes a task out, changes it, and puts it back if there is anything left to do.
    fn change(&mut self, task: Task, how: impl FnOnce(&mut Self, &mut Task)) {
        let Some(at) = self.tasks.iter().position(|known| *known == task) else { return };
        let mut task = self.tasks.remove(at);
        how(self, &mut task);
        let claims = matches!(task.stage, Stage::Claiming(_));
        if claims || task.sweeps || !task.requests().minus(task.told).is_empty() {
            self.tasks.push(task);
        }
    }
}
