//! What must be so when nothing is to be done any more.

use crate::people::CallerState;
use crate::world::World;

impl World {
    /// What is still to be done; empty in peace.
    pub(crate) fn problems(&mut self) -> Vec<String> {
        let mut problems = Vec::new();
        for (id, caller) in self.people.callers.iter().enumerate() {
            if caller.state == CallerState::Waiting {
                problems.push(format!("caller {id} waits at {}", self.processes[caller.ingress].name));
            }
        }
        let waits = |person: usize| {
            let theirs = self.people.callers.iter().filter(|caller| caller.person == person);
            theirs.clone().any(|caller| caller.state == CallerState::Waiting)
        };
        let undone = self.people.persons.iter().enumerate().filter(|(n, person)| !person.done && !waits(*n));
        problems.extend(undone.map(|(n, _)| format!("person {n} is on its way")));
        for process in &self.processes {
            let Some(node) = &process.node else { continue };
            let held = node.sizes().into_iter().filter(|(_, size)| *size > 0);
            problems.extend(held.map(|(what, size)| format!("{} has {size} {what}", process.name)));
        }
        let excuses = self.options.rules.nobody_is_left_who_knew;
        let left = self.provider.left(|bid, owner| excuses && self.forgotten.contains(&(bid, owner)));
        problems.extend(left.into_iter().map(|what| format!("the provider has {what}")));
        problems
    }
}
