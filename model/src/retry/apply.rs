//! What the steps do.

use super::action::{Action, Wrong};
use super::rules::{Look, Rules};
use super::state::{
    Ask, Excuse, File, Grant, Health, Heard, Ingress, ORIGIN, OTHER, Phase, Stage, State, Task,
};
use super::steps;
use crate::set::Set;
use crate::state::Job;

/// The state after a step.
pub fn after(rules: &Rules, state: &State, action: Action) -> State {
    let mut next = state.clone();
    match action {
        Action::Wrong(wrong) => next.go_wrong(wrong),
        _ => next.apply(rules, action),
    }
    next.tasks.sort();
    next
}

impl State {
    fn apply(&mut self, rules: &Rules, action: Action) {
        match action {
            Action::Offer(submitter, ingress) => {
                self.begin(submitter, ingress, 0, Stage::Claiming, Set::empty())
            }
            Action::Grant(task) => self.give(task),
            Action::Refuse(task) => self.change(task, |_, _| None),
            Action::LeaveOut(task) => self.leave_out(rules, task),
            Action::Upload(task) => self.upload(task),
            Action::Register(file) => self.register(file),
            Action::Registered(task) => self.change(task, |state, task| {
                let Stage::Registering(file) = task.stage else { return None };
                state.files[usize::from(file)].job = Job::OnItsWay;
                Some(Task { stage: Stage::Creating(file), ..task })
            }),
            Action::NotRegistered(task) => self.change(task, |state, task| {
                if let Stage::Registering(file) = task.stage {
                    state.files[usize::from(file)].doomed = true;
                }
                None
            }),
            Action::Create(file) => {
                let file = &mut self.files[usize::from(file)];
                file.job = if file.deleted { Job::Refused } else { Job::Validating };
            }
            Action::Execute(file) => self.files[usize::from(file)].job = Job::Billed,
            Action::Fail(file) => self.files[usize::from(file)].job = Job::Failed,
            Action::Delete(file) => self.files[usize::from(file)].deleted = true,
            Action::Created(task) => self.change(task, |state, task| {
                let Stage::Creating(file) = task.stage else { return None };
                let refused = state.file(file).job == Job::Refused;
                Some(Task { stage: if refused { Stage::Uploading } else { Stage::Polling(file) }, ..task })
            }),
            Action::List(task, found) => self.listed(rules, task, found),
            Action::Settled(task) => {
                self.change(task, |_, task| Some(Task { stage: Stage::Proving, ..task }))
            }
            Action::JobFailed(task) => self.change(task, |_, task| {
                let Stage::Polling(file) = task.stage else { return None };
                let fence = task.fence.with(file);
                let stage = if task.recovers { Stage::Finding } else { Stage::Uploading };
                Some(Task { stage, fence, ..task })
            }),
            Action::Release(task) => self.release(rules, task),
            Action::Deliver(task) => self.change(task, |state, task| {
                let Stage::Polling(file) = task.stage else { return None };
                state.done(task.ingress, file);
                Some(Task { told: true, ..task })
            }),
            Action::Regain(ingress, heir) => self.regain(ingress, heir),
            Action::Leave => {
                self.caller = None;
                self.ingresses[0].half_open = self.ingresses[0].health == Health::Cut;
            }
            Action::Arrive => {
                self.caller = Some(OTHER);
                self.other().phase = Phase::Asking(Ask::FRESH);
            }
            Action::Notice => self.ingresses[0].client = false,
            Action::Forget => self.ingresses[0].phase = Phase::Gone,
            Action::Expire => self.ingresses[0].remote = false,
            Action::Wake => {
                self.ingresses[0] =
                    Ingress { health: Health::Up, doubts: rules.look != Look::Nowhere, ..self.ingresses[0] }
            }
            Action::WakeSubmitter(submitter) => self.submitters[usize::from(submitter)] = Health::Up,
            Action::Look => self.look(rules),
            _ => self.ask(rules, action),
        }
    }

    /// What the other ingress does with its repetition.
    fn ask(&mut self, rules: &Rules, action: Action) {
        let phase = self.other().phase;
        let mut ask = if let Phase::Asking(ask) = phase { ask } else { Ask::FRESH };
        match action {
            Action::OriginAnswers => {
                let holds = self.ingress(ORIGIN).phase != Phase::Gone;
                ask.origin = if holds { Heard::Holds } else { Heard::No };
                self.given_up = false;
            }
            Action::GiveUpOrigin => {
                ask.origin = Heard::Dead;
                self.given_up = true;
            }
            Action::Revive => return self.revive(rules),
            Action::SubmitterAnswers(submitter) => {
                ask.submitters[usize::from(submitter)] =
                    steps::answer(rules, self, submitter).unwrap_or(Heard::Nothing);
            }
            Action::GiveUpSubmitter(submitter) => ask.submitters[usize::from(submitter)] = Heard::Dead,
            Action::Attach if self.ingress(ORIGIN).phase != Phase::Gone => {
                self.ingresses[0].remote = true;
                self.given_up = false;
                self.other().phase = Phase::Remote;
                return;
            }
            Action::Attach | Action::Unknown => ask = Ask::FRESH,
            Action::Copy(submitter, file) => return self.copy(rules, submitter, file),
            Action::Announce => {
                self.excuse = self.why(ask);
                self.other().phase = Phase::New;
                self.other().client = true;
                return;
            }
            Action::Fetch => {
                if let Phase::Done(file) = self.ingress(ORIGIN).phase {
                    self.done(OTHER, file);
                }
                return;
            }
            _ => return,
        }
        self.other().phase = Phase::Asking(ask);
    }

    fn other(&mut self) -> &mut Ingress {
        &mut self.ingresses[usize::from(OTHER)]
    }

    /// The first ingress was heard of: what was concluded from its silence is void.
    fn revive(&mut self, rules: &Rules) {
        self.given_up = false;
        if let Phase::Asking(ask) = self.ingress(OTHER).phase
            && rules.ask_revived
            && ask.origin == Heard::Dead
        {
            self.other().phase = Phase::Asking(Ask::FRESH);
        }
    }

    /// Why it may be bought again.
    fn why(&self, ask: Ask) -> Excuse {
        let lost = |submitter: &u8| ask.submitters[usize::from(*submitter)] == Heard::Dead;
        let holds = |submitter: &u8| self.may_have_created(*submitter);
        let lost: Vec<u8> = self.all_submitters().filter(holds).filter(lost).collect();
        let dead = |submitter: &u8| self.submitters[usize::from(*submitter)] == Health::Dead;
        match (ask.origin == Heard::Dead && !lost.is_empty(), self.ingress(ORIGIN).health) {
            (false, _) => self.excuse,
            (true, Health::Dead) if lost.iter().any(dead) => Excuse::BothDead,
            (true, _) => Excuse::BothSilent,
        }
    }

    /// The part of the first ingress stays as it is; the other has its own grant of the same job.
    fn copy(&mut self, rules: &Rules, submitter: u8, file: u8) {
        let here = self.other();
        here.epoch += 1;
        here.client = true;
        let epoch = here.epoch;
        let files = Set::of(file);
        here.phase = Phase::Granted(Grant { submitter, epoch, files, job: Some(file), copy: true });
        if !self.works(submitter) {
            return;
        }
        if !rules.keep_origin {
            self.tasks.retain(|task| (task.submitter, task.ingress) != (submitter, ORIGIN));
        }
        self.take_over(submitter, OTHER, epoch, Stage::Polling(file), files);
    }

    fn look(&mut self, rules: &Rules) {
        let truth = self.has_caller();
        let here = &mut self.ingresses[0];
        (here.doubts, here.remote) = (false, false);
        if !here.half_open {
            here.client = truth;
        }
        if rules.look == Look::Peers {
            self.look_elsewhere(rules);
        }
    }

    /// Whether the request has come to the other ingress meanwhile, which may have announced it as its own.
    fn look_elsewhere(&mut self, rules: &Rules) {
        let submitted = |task: &Task| task.ingress == OTHER && self.works(task.submitter);
        let mut anew = self.tasks.iter().any(|task| submitted(task) && !task.recovers);
        let mut elsewhere = self.tasks.iter().any(submitted);
        if self.is_up(OTHER) {
            elsewhere |= self.ingress(OTHER).phase != Phase::Gone;
            anew |= match self.ingress(OTHER).phase {
                Phase::New => true,
                Phase::Granted(grant) => !grant.copy,
                Phase::Done(file) => self.file(file).ingress == OTHER,
                Phase::Gone | Phase::Asking(_) | Phase::Remote => false,
            };
            self.revive(rules);
        }
        let silent = |submitter: &u8| !self.works(*submitter) && self.may_have_created(*submitter);
        if !self.is_up(OTHER) && self.all_submitters().any(|submitter| silent(&submitter)) {
            // The same loss as that of the first ingress and its submitter.
            self.excuse = Excuse::BothSilent;
        }
        let here = &mut self.ingresses[0];
        here.client &= !elsewhere || self.twin.is_some();
        let Phase::Granted(grant) = &mut here.phase else { return };
        if !rules.end_epoch {
            return;
        }
        if grant.files.is_empty() && elsewhere {
            // Its submitter's intent would come too late.
            here.phase = Phase::New;
        } else if anew {
            // What was created counts; nothing more is to be.
            here.epoch += 1;
            grant.epoch = here.epoch;
        }
    }

    fn done(&mut self, ingress: u8, file: u8) {
        let here = &mut self.ingresses[usize::from(ingress)];
        if matches!(here.phase, Phase::Gone | Phase::Done(_)) {
            return;
        }
        here.phase = Phase::Done(file);
        self.answered |= self.caller == Some(ingress);
        if ingress == ORIGIN {
            self.twin = self.twin.map(|_| true);
        }
    }

    fn go_wrong(&mut self, wrong: Wrong) {
        self.faults -= 1;
        match wrong {
            Wrong::IngressDies(ingress) => {
                let here = &mut self.ingresses[usize::from(ingress)];
                *here = Ingress {
                    health: Health::Dead,
                    client: false,
                    half_open: false,
                    remote: false,
                    doubts: false,
                    epoch: here.epoch,
                    phase: Phase::Gone,
                };
                if ingress == ORIGIN {
                    self.twin = None;
                }
                self.caller = self.caller.filter(|at| *at != ingress || ingress == OTHER);
            }
            Wrong::SubmitterDies(submitter) => {
                self.lose(submitter, Health::Dead);
                self.tasks.retain(|task| task.submitter != submitter);
            }
            Wrong::Pause => self.ingresses[0].health = Health::Paused,
            Wrong::Cut => self.ingresses[0].health = Health::Cut,
            Wrong::PauseSubmitter(submitter) => self.lose(submitter, Health::Paused),
            Wrong::LoseAnswer(task) => self.change(task, |_, task| {
                let Stage::Creating(file) = task.stage else { return None };
                Some(Task { stage: Stage::Finding, fence: task.fence.with(file), ..task })
            }),
            Wrong::LoseSight => self.given_up = true,
            Wrong::JobFails(file) => self.files[usize::from(file)].job = Job::Failed,
        }
    }

    fn may_have_created(&self, submitter: u8) -> bool {
        self.lost_holders.has(submitter) || self.may_create(submitter)
    }

    fn lose(&mut self, submitter: u8, health: Health) {
        self.submitters[usize::from(submitter)] = health;
        if self.may_create(submitter) {
            self.lost_holders = self.lost_holders.with(submitter);
        }
    }
}

impl State {
    fn begin(&mut self, submitter: u8, ingress: u8, epoch: u8, stage: Stage, fence: Set) {
        self.tasks.push(Task { submitter, ingress, epoch, stage, fence, recovers: false, told: false });
    }

    fn take_over(&mut self, submitter: u8, ingress: u8, epoch: u8, stage: Stage, fence: Set) {
        self.tasks.push(Task { submitter, ingress, epoch, stage, fence, recovers: true, told: false });
    }

    /// Takes a task out, and puts back what becomes of it.
    fn change(&mut self, task: Task, how: impl FnOnce(&mut Self, Task) -> Option<Task>) {
        let Some(at) = self.tasks.iter().position(|known| *known == task) else { return };
        self.tasks.remove(at);
        let changed = how(self, task);
        self.tasks.extend(changed);
    }

    fn give(&mut self, task: Task) {
        let here = &mut self.ingresses[usize::from(task.ingress)];
        here.epoch += 1;
        let epoch = here.epoch;
        let submitter = task.submitter;
        here.phase = Phase::Granted(Grant { submitter, epoch, files: Set::empty(), job: None, copy: false });
        self.change(task, |_, task| Some(Task { epoch, stage: Stage::Uploading, ..task }));
    }

    fn leave_out(&mut self, rules: &Rules, task: Task) {
        self.change(task, |state, task| {
            if let Stage::Registering(file) = task.stage {
                state.files[usize::from(file)].doomed = true;
            }
            (!rules.forget_left_out).then_some(Task { stage: Stage::LeftOut, ..task })
        });
    }

    fn upload(&mut self, task: Task) {
        let current = self.is_current(&task);
        let known = self.grant(task.ingress).map(|grant| grant.files).unwrap_or_default();
        self.change(task, |state, task| {
            let number = state.files.len() as u8;
            state.files.extend(current.then_some(File {
                ingress: task.ingress,
                epoch: task.epoch,
                known: known.with(number),
                registered: false,
                job: Job::NotSent,
                doomed: false,
                deleted: false,
            }));
            current.then_some(Task { stage: Stage::Registering(number), ..task })
        });
    }

    fn register(&mut self, number: u8) {
        let file = &mut self.files[usize::from(number)];
        file.registered = true;
        if let Phase::Granted(grant) = &mut self.ingresses[usize::from(file.ingress)].phase {
            grant.files = grant.files.with(number);
        }
    }

    fn listed(&mut self, rules: &Rules, task: Task, found: Option<u8>) {
        let copy = self.grant(task.ingress).is_some_and(|grant| grant.copy);
        let releases = task.recovers && (rules.release || copy && rules.copy_asks);
        self.change(task, |state, task| {
            let stage = match (found, task.stage) {
                (Some(file), _) => Stage::Polling(file),
                (None, Stage::Finding) => {
                    task.fence.iter().for_each(|file| state.files[usize::from(file)].doomed = true);
                    Stage::Deleting
                }
                (None, _) if releases => Stage::Releasing,
                (None, _) => Stage::Uploading,
            };
            Some(Task { stage, ..task })
        });
    }

    /// Nothing was billed: the request is new again, or, as a copy, asked for again.
    fn release(&mut self, rules: &Rules, task: Task) {
        if self.is_current(&task) && self.is_up(task.ingress) {
            let copy = self.grant(task.ingress).is_some_and(|grant| grant.copy);
            let phase = if copy && rules.copy_asks { Phase::Asking(Ask::FRESH) } else { Phase::New };
            self.ingresses[usize::from(task.ingress)].phase = phase;
        }
        self.change(task, |_, _| None);
    }

    fn regain(&mut self, ingress: u8, heir: Option<u8>) {
        let Some(grant) = self.grant(ingress) else { return };
        let here = &mut self.ingresses[usize::from(ingress)];
        let Some(submitter) = heir else {
            here.phase = Phase::New;
            return;
        };
        here.epoch += 1;
        let epoch = here.epoch;
        here.phase = Phase::Granted(Grant { submitter, epoch, ..grant });
        let stage = grant.job.map_or(Stage::Finding, Stage::Polling);
        self.take_over(submitter, ingress, epoch, stage, grant.files);
    }
}
