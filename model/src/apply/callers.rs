//! Callers that leave and come back.

use crate::state::{Doing, Excuse, Phase, Request, Stage, State};

impl State {
    pub(super) fn leave(&mut self, caller: u8) {
        self.callers[usize::from(caller)].doing = Doing::Away;
    }

    /// A caller is back. Where its request is at home, it is taken up at once.
    pub(super) fn come_back(&mut self, caller: u8, ingress: u8) {
        let request = self.callers[usize::from(caller)].request;
        let home = self.requests[usize::from(request)].map(|known| known.home);
        let known = &mut self.callers[usize::from(caller)];
        (known.at, known.doing) = (ingress, Doing::Asks);
        if home == Some(ingress) {
            self.found(caller);
        }
    }

    /// Its request is found: with its answer, or to wait for it.
    pub(super) fn found(&mut self, caller: u8) {
        let request = self.callers[usize::from(caller)].request;
        self.callers[usize::from(caller)].doing = Doing::Waits;
        if let Some(phase) = self.phase(request) {
            self.hand_over(request, phase);
        }
    }

    pub(super) fn ask(&mut self, caller: u8) {
        self.callers[usize::from(caller)].doing = Doing::Asks;
    }

    /// It becomes a new request; the second is the last that the model has room for.
    pub(super) fn ask_anew(&mut self, caller: u8, excuse: Excuse) {
        let second = caller + self.callers.len() as u8;
        let known = &mut self.callers[usize::from(caller)];
        if known.request == second {
            known.doing = Doing::GaveUp;
            return;
        }
        (known.request, known.doing, known.excuse) = (second, Doing::Waits, excuse);
        self.requests[usize::from(second)] = Some(Request { home: known.at, phase: Phase::New });
    }

    /// Whoever waits for a request gets its outcome, if there is one.
    pub(super) fn hand_over(&mut self, request: u8, phase: Phase) {
        let doing = match phase {
            Phase::Answered(_) => Doing::Answered,
            Phase::Failed => Doing::Failed,
            Phase::New | Phase::Granted(_) => return,
        };
        for caller in &mut self.callers {
            if caller.doing == Doing::Waits && caller.request == request {
                caller.doing = doing;
            }
        }
        if self.is_received(request) {
            self.let_go(request);
        }
    }

    /// Submitters need not keep an answer that was received.
    fn let_go(&mut self, request: u8) {
        for task in &mut self.tasks {
            if matches!(task.stage, Stage::Polling(_)) && task.requests().has(request) {
                task.told = task.told.with(request);
            }
        }
        self.tasks.retain(|task| {
            let polls = matches!(task.stage, Stage::Polling(_));
            !polls || task.sweeps || !task.requests().minus(task.told).is_empty()
        });
    }
}
