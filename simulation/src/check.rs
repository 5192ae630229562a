//! What must be so when nothing is to be done any more.

use crate::people::CallerState;
use crate::process::Process;
use crate::world::World;

impl World {
    /// What is still to be done; empty in peace.
    pub(crate) fn problems(&mut self) -> Vec<String> {
        let rules = self.options.rules;
        let mut problems = Vec::new();
        let cut_off = |process: &Process| rules.cut_off_ingress_waits && process.given_up_by.is_some();
        let mut excused = 0;
        for (id, caller) in self.people.callers.iter().enumerate() {
            let process = &self.processes[caller.ingress];
            match caller.state {
                CallerState::Waiting if cut_off(process) => excused += 1,
                CallerState::Waiting => problems.push(format!("caller {id} waits at {}", process.name)),
                CallerState::Ended | CallerState::Gone => {}
            }
        }
        let waits = |person: usize| {
            let theirs = self.people.callers.iter().filter(|caller| caller.person == person);
            theirs.clone().any(|caller| caller.state == CallerState::Waiting)
        };
        let undone = self.people.persons.iter().enumerate().filter(|(n, person)| !person.done && !waits(*n));
        problems.extend(undone.map(|(n, _)| format!("person {n} is on its way")));
        for process in self.processes.iter().filter(|process| !cut_off(process)) {
            let Some(node) = &process.node else { continue };
            let held = node.sizes().into_iter().filter(|(_, size)| *size > 0);
            problems.extend(held.map(|(what, size)| format!("{} has {size} {what}", process.name)));
        }
        let leaves = |id: usize| rules.dead_submitter_leaves && self.processes.get(id).is_some_and(|p| p.died);
        problems.extend(self.provider.left(leaves).into_iter().map(|what| format!("the provider has {what}")));
        // A request of which a late call may still make something.
        if problems.is_empty() && self.provider.is_busy() && !rules.dead_submitter_leaves {
            problems.push("a job runs".into());
        }
        self.report.excused = excused;
        problems
    }
}
