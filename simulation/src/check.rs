//! What must be so when nothing is to be done any more.

use std::time::Duration;

use common::wire::Role;

use crate::people::CallerState;
use crate::process::Process;
use crate::world::World;

/// When a submitter that still delivers does so for ever.
const SERVED_FOR_EVER: Duration = Duration::from_secs(6000);

impl World {
    /// What is still to be done; empty in peace.
    pub(crate) fn problems(&mut self) -> Vec<String> {
        let rules = self.options.rules;
        let mut problems = Vec::new();
        let forgets = |process: &Process| {
            let node = process.node.as_ref().filter(|_| rules.announcements_are_forgotten);
            node.is_some_and(|node| {
                node.sizes().iter().any(|(what, size)| *what == "unannounced" && *size > 0)
            })
        };
        let cut_off = |process: &Process| {
            rules.cut_off_ingress_waits && process.given_up_by.is_some() || forgets(process)
        };
        // Batches taken over without result files are given up after a hundred tries, which is later than the limit.
        let lost =
            rules.result_files_go_early && self.processes.iter().any(|process| process.given_up_by.is_some());
        let unheard = rules.unheard_ingress_is_served_for_ever
            && self.processes.iter().any(|process| process.role == Role::Ingress && process.died);
        // Long after everything else could have ended.
        let unheard = unheard && self.now > self.knobs.until + SERVED_FOR_EVER;
        let tries_on = |process: &Process| (lost || unheard) && process.role == Role::Submitter;
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
        for process in self.processes.iter().filter(|process| !cut_off(process) && !tries_on(process)) {
            let Some(node) = &process.node else { continue };
            let held = node.sizes().into_iter().filter(|(_, size)| *size > 0);
            problems.extend(held.map(|(what, size)| format!("{} has {size} {what}", process.name)));
        }
        let leaves = |id: usize| {
            let Some(process) = self.processes.get(id) else { return false };
            let handed_over = rules.handed_over_files_stay && process.draining && !process.is_alive();
            handed_over || lost || unheard || (rules.dead_submitter_leaves && process.died)
        };
        problems
            .extend(self.provider.left(leaves).into_iter().map(|what| format!("the provider has {what}")));
        // A request of which a late call may still make something.
        if problems.is_empty() && self.provider.is_busy() && !rules.dead_submitter_leaves {
            problems.push("a job runs".into());
        }
        self.report.excused = excused;
        problems
    }
}
