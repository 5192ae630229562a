//! An ingress: grants, registrations, taking back and handing on.

use crate::rules::Rules;
use crate::set::Set;
use crate::state::{Doing, Grant, Part, Phase, Stage, State, Task};

impl State {
    /// Grants what waits, if this batch has no grant yet.
    pub(super) fn give(&mut self, rules: &Rules, ingress: u8, submitter: u8, batch: u8) {
        let ready = self.grantable(ingress);
        if self.grant(ingress, batch).is_some() || ready.is_empty() {
            return;
        }
        for request in ready.iter() {
            self.set_phase(request, Phase::Granted(batch));
        }
        let here = &mut self.ingresses[usize::from(ingress)];
        let epoch = next_epoch(rules, &mut here.epoch, 0);
        here.grants.push(Grant { batch, submitter, epoch, files: Set::empty() });
        here.grants.sort_by_key(|grant| grant.batch);
    }

    /// An intent that is accepted.
    pub(super) fn register(&mut self, file: u8, ingress: u8) {
        let batch = self.file(file).batch;
        let registered = &mut self.file_mut(file).registered;
        *registered = registered.with(ingress);
        let grants = &mut self.ingresses[usize::from(ingress)].grants;
        if let Some(grant) = grants.iter_mut().find(|grant| grant.batch == batch) {
            grant.files = grant.files.with(file);
        }
    }

    /// The holder of a grant is taken for dead, or does not have it. Without files nothing can have been created; with
    /// files another submitter finds out.
    pub(super) fn regain(&mut self, rules: &Rules, ingress: u8, batch: u8, to: Option<u8>) {
        let requests = self.granted(ingress, batch);
        let here = &mut self.ingresses[usize::from(ingress)];
        let Some(at) = here.grants.iter().position(|grant| grant.batch == batch) else { return };
        let Some(submitter) = to else {
            return match here.grants[at].files.is_empty() {
                true => self.take_back(ingress, batch),
                false => requests.iter().for_each(|request| self.end(request, Phase::Failed)),
            };
        };
        let epoch = next_epoch(rules, &mut here.epoch, here.grants[at].epoch);
        let files = here.grants[at].files;
        here.grants[at] = Grant { batch, submitter, epoch, files };
        self.tasks.push(Task {
            submitter,
            batch,
            stage: Stage::Finding,
            parts: vec![Part { ingress, epoch, requests }],
            known: files,
            fence: files,
            told: Set::empty(),
            recovers: true,
            adopted: false,
            sweeps: false,
        });
    }

    /// Nothing was submitted of a grant, and nothing will be: its requests are new.
    pub(super) fn take_back(&mut self, ingress: u8, batch: u8) {
        for request in self.granted(ingress, batch).iter() {
            self.set_phase(request, Phase::New);
        }
        self.ingresses[usize::from(ingress)].grants.retain(|grant| grant.batch != batch);
    }

    /// A request has its outcome; callers that wait get it, others may come for it.
    pub(super) fn end(&mut self, request: u8, phase: Phase) {
        let Some(Phase::Granted(batch)) = self.phase(request) else { return };
        let Some(home) = self.requests[usize::from(request)].map(|known| known.home) else { return };
        self.set_phase(request, phase);
        self.hand_over(request, phase);
        if self.granted(home, batch).is_empty() {
            self.ingresses[usize::from(home)].grants.retain(|grant| grant.batch != batch);
        }
    }

    /// An ingress dies: its requests are gone, and its callers away.
    pub(super) fn die(&mut self, ingress: u8) {
        let here = &mut self.ingresses[usize::from(ingress)];
        (here.alive, here.epoch) = (false, 0);
        here.grants.clear();
        for request in &mut self.requests {
            request.take_if(|known| known.home == ingress);
        }
        for caller in &mut self.callers {
            if caller.at == ingress && matches!(caller.doing, Doing::Waits | Doing::Asks) {
                caller.doing = Doing::Away;
            }
        }
    }

    fn set_phase(&mut self, request: u8, phase: Phase) {
        if let Some(known) = &mut self.requests[usize::from(request)] {
            known.phase = phase;
        }
    }
}

fn next_epoch(rules: &Rules, last: &mut u8, of_batch: u8) -> u8 {
    if !rules.unique_epochs {
        return of_batch + 1;
    }
    *last += 1;
    *last
}
