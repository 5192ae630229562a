//! What must be so when nothing is to be done any more.

use std::collections::BTreeSet;

use crate::world::World;

impl World {
    /// What is still to be done; empty in peace.
    pub(crate) fn problems(&mut self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut waiting = BTreeSet::new();
        for id in &self.people.waiting {
            let caller = &self.people.callers[*id];
            waiting.insert(caller.person);
            problems.push(format!("caller {id} waits at {}", self.processes[caller.ingress].name));
        }
        let persons = self.people.persons.iter().enumerate();
        let undone = persons.filter(|(n, person)| !person.done && !waiting.contains(n));
        problems.extend(undone.map(|(n, _)| format!("person {n} is on its way")));
        for process in &self.processes {
            let Some(node) = &process.node else { continue };
            let held = node.sizes().into_iter().filter(|(_, size)| *size > 0);
            problems.extend(held.map(|(what, size)| format!("{} has {size} {what}", process.name)));
        }
        // Nobody is left who knew of these.
        let left = self.provider.left(|bid, owner| self.forgotten.contains(&(bid, owner)));
        problems.extend(left.into_iter().map(|what| format!("the provider has {what}")));
        problems
    }
}
