//! A submitter: from the offer to the delivery.

use crate::rules::Rules;
use crate::set::Set;
use crate::state::{File, Grant, Job, Part, Phase, Sight, Stage, State, Task};

impl State {
    pub(super) fn offer(&mut self, submitter: u8, batch: u8) {
        let asked = self.live_ingresses();
        let useful =
            |ingress: &u8| !self.grantable(*ingress).is_empty() || self.grant(*ingress, batch).is_some();
        let asked: Set = asked.filter(useful).collect();
        self.batches = self.batches.max(batch + 1);
        if !self.offers.contains(&(submitter, batch)) {
            self.offers.push((submitter, batch));
            self.offers.sort_unstable();
        }
        self.tasks.push(Task {
            submitter,
            batch,
            stage: Stage::Claiming(asked),
            parts: Vec::new(),
            known: Set::empty(),
            fence: Set::empty(),
            told: Set::empty(),
            recovers: false,
            adopted: false,
            sweeps: false,
        });
    }

    /// A claim is granted, again if it was before, or refused.
    pub(super) fn claim(&mut self, rules: &Rules, task: &mut Task, ingress: u8) {
        self.give(rules, ingress, task.submitter, task.batch);
        let requests = self.granted(ingress, task.batch);
        // A recovery may have come in between: a submitter holds a grant only once.
        let held = |grant: &Grant| self.is_worked_on(ingress, grant);
        let own = self.grant(ingress, task.batch).filter(|grant| grant.submitter == task.submitter);
        if let Some(grant) = own.filter(|grant| !held(grant)) {
            task.parts.push(Part { ingress, epoch: grant.epoch, requests });
            task.parts.sort();
            if rules.fence_unknown {
                task.fence = task.fence.or(grant.files);
                task.known = task.known.or(grant.files);
            }
        }
        task.heard(ingress);
    }

    /// Goes on without an ingress, with a new file if there was one.
    pub(super) fn leave_out(&mut self, _: &Rules, task: &mut Task, ingress: u8) {
        if let Stage::Registering(file, _) = task.stage {
            self.doom(file);
            task.stage = Stage::Uploading;
        }
        task.parts.retain(|part| part.ingress != ingress);
        task.heard(ingress);
    }

    /// Bodies come only from ingresses that live and have granted under this epoch.
    pub(super) fn upload(&mut self, rules: &Rules, task: &mut Task, sight: Sight) {
        task.parts.retain(|part| {
            let own = |grant: &&Grant| (grant.submitter, grant.epoch) == (task.submitter, part.epoch);
            let has_more = !part.requests.minus(task.told).is_empty();
            has_more && self.grant(part.ingress, task.batch).filter(own).is_some()
        });
        let requests = task.requests().minus(task.told);
        if requests.is_empty() {
            return;
        }
        let number = self.files.len() as u8;
        let mut epochs = [0; 2];
        for part in &task.parts {
            epochs[usize::from(part.ingress)] = part.epoch;
        }
        task.known = task.known.with(number);
        self.files.push(File {
            submitter: task.submitter,
            batch: task.batch,
            epochs,
            requests,
            known: task.known,
            registered: Set::empty(),
            job: if rules.register { Job::NotSent } else { Job::OnItsWay },
            sight,
            doomed: false,
            deleted: false,
        });
        task.stage = match rules.register {
            true => Stage::Registering(number, task.parts.iter().map(|part| part.ingress).collect()),
            false => Stage::Creating(number),
        };
    }

    pub(super) fn registered(&mut self, rules: &Rules, task: &mut Task, ingress: u8) {
        let Stage::Registering(file, waits) = task.stage else { return };
        let waits = waits.without(ingress);
        task.stage = Stage::Registering(file, waits);
        if waits.is_empty() || !rules.register_with_all {
            self.file_mut(file).job = Job::OnItsWay;
            task.stage = Stage::Creating(file);
        }
    }

    /// The grant is another's now; or there are files that this submitter does not know: these are fenced.
    pub(super) fn refused(&mut self, rules: &Rules, task: &mut Task, ingress: u8) {
        let Stage::Registering(file, _) = task.stage else { return };
        let epoch = self.file(file).epochs[usize::from(ingress)];
        let current = self.grant(ingress, task.batch).filter(|grant| grant.epoch == epoch);
        match current.map(|grant| grant.files) {
            Some(files) if rules.fence_unknown => {
                self.doom(file);
                task.fence = task.fence.or(files.minus(task.known));
                task.known = task.known.or(files);
                task.stage = Stage::Finding;
            }
            _ => self.leave_out(rules, task, ingress),
        }
    }

    pub(super) fn created(&mut self, rules: &Rules, task: &mut Task) {
        let Stage::Creating(file) = task.stage else { return };
        match self.file(file).job {
            Job::Refused => task.again(rules),
            _ => task.stage = Stage::Polling(file),
        }
    }

    /// A list shows a job of the fence, or counts as a proof that there is none.
    pub(super) fn listed(&mut self, rules: &Rules, task: &mut Task, found: Option<u8>) {
        let fences = if task.recovers { rules.fence_registered } else { rules.fence };
        match (found, task.stage) {
            (Some(file), _) => self.adopt(rules, task, file),
            (None, Stage::Finding) if fences => self.delete_fence(task),
            (None, Stage::Finding) => task.stage = Stage::Proving(0),
            (None, Stage::Proving(lists)) if lists + 1 < rules.lists => {
                task.stage = Stage::Proving(lists + 1)
            }
            (None, _) => {
                task.fence = Set::empty();
                task.stage = task.anew(rules);
            }
        }
    }

    fn delete_fence(&mut self, task: &mut Task) {
        task.fence.iter().for_each(|file| self.doom(file));
        task.stage = Stage::Deleting(Set::empty());
    }

    /// The deletion of a file that nobody sees does nothing.
    pub(super) fn absent(&mut self, task: &mut Task, file: u8) {
        if let Stage::Deleting(missing) = task.stage {
            task.stage = Stage::Deleting(missing.with(file));
            self.file_mut(file).doomed = false;
        }
    }

    /// A found job answers the requests that are in its file; for the others the search goes on.
    fn adopt(&mut self, rules: &Rules, task: &mut Task, file: u8) {
        let inside = self.file(file).requests;
        let mut rest = task.clone();
        rest.sweeps = false;
        rest.fence = rest.fence.without(file);
        rest.keep(|requests| requests.minus(inside));
        if rest.fence.is_empty() {
            rest.stage = rest.anew(rules);
        }
        if !rest.requests().minus(rest.told).is_empty() {
            self.tasks.push(rest);
        }
        task.keep(|requests| requests.and(inside));
        task.fence = task.fence.without(file);
        (task.adopted, task.stage) = (true, Stage::Polling(file));
    }

    /// Gives the requests of each part back that is still this submitter's, and is done with them.
    pub(super) fn release(&mut self, task: &mut Task) {
        for part in std::mem::take(&mut task.parts) {
            let current = |grant: &Grant| (grant.submitter, grant.epoch) == (task.submitter, part.epoch);
            if self.ingress(part.ingress).alive && self.grant(part.ingress, task.batch).is_some_and(current) {
                self.take_back(part.ingress, task.batch);
            }
        }
    }

    /// Deletes files with the name of a lost upload.
    pub(super) fn sweep(&mut self, rules: &Rules, task: &mut Task) {
        let epoch = task.parts.iter().map(|part| part.epoch).max();
        for number in 0..self.files.len() as u8 {
            let file = self.file(number);
            let named = file.batch == task.batch && file.epochs.iter().max().copied() == epoch;
            let own = !rules.own_names || file.submitter == task.submitter;
            if named && own && !task.known.has(number) {
                self.doom(number);
            }
        }
        task.sweeps = false;
    }

    /// The first outcome wins. Answers count whatever the epoch; errors only from whoever has the grant.
    pub(super) fn deliver(&mut self, rules: &Rules, task: &mut Task, request: u8) {
        let Some(part) = task.ingress_of(request).cloned() else { return };
        let outcome = match task.stage {
            Stage::Polling(file) if self.file(file).requests.has(request) => Phase::Answered(file),
            _ => Phase::Failed,
        };
        if !self.ingress(part.ingress).alive {
            task.told = task.told.with(request);
            return self.hand_over(request, outcome);
        }
        let current = self.grant(part.ingress, task.batch).is_some_and(|grant| grant.epoch == part.epoch);
        if self.phase(request) == Some(Phase::Granted(task.batch))
            && (outcome != Phase::Failed || current || !rules.drop_old_errors)
        {
            self.end(request, outcome);
        }
        let kept = rules.keep_unreceived && task.has_answered(self.phase(request));
        if !kept || self.is_received(request) {
            task.told = task.told.with(request);
        }
    }
}

impl Task {
    /// An ingress has answered a claim or never will.
    fn heard(&mut self, ingress: u8) {
        let Stage::Claiming(asked) = self.stage else { return };
        let asked = asked.without(ingress);
        self.stage = match (asked.is_empty(), self.fence.is_empty()) {
            (false, _) => Stage::Claiming(asked),
            (true, true) => Stage::Uploading,
            (true, false) => Stage::Finding,
        };
    }

    /// Nothing was or will be executed from the last file: a new one, once the other files are known not to be either.
    pub(super) fn again(&mut self, rules: &Rules) {
        self.stage = match (rules.upload_again, self.fence.is_empty()) {
            (true, true) => self.anew(rules),
            (true, false) => Stage::Finding,
            (false, _) => Stage::Failing,
        };
    }

    /// How requests go on that were not billed.
    fn anew(&self, rules: &Rules) -> Stage {
        if self.recovers && rules.release { Stage::Releasing } else { Stage::Uploading }
    }

    /// Nobody knows what became of the creation.
    pub(super) fn doubt(&mut self, rules: &Rules) {
        let Stage::Creating(file) = self.stage else { return };
        self.fence = Set::of(file);
        self.stage = match (rules.find, rules.fence) {
            (true, _) => Stage::Finding,
            (false, true) => Stage::Deleting(Set::empty()),
            (false, false) => Stage::Uploading,
        };
    }

    fn keep(&mut self, which: impl Fn(Set) -> Set) {
        self.parts.iter_mut().for_each(|part| part.requests = which(part.requests));
        self.parts.retain(|part| !part.requests.is_empty());
        self.told = which(self.told);
    }
}
