//! Running the checker and telling what it found.

use std::collections::BTreeSet;
use std::fmt;
use std::hash::Hash;
use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model};

/// What a run found.
#[derive(Debug, Clone)]
pub struct Report {
    /// Different states seen.
    pub states: usize,
    /// Longest shortest history, in steps.
    pub depth: usize,
    /// How long it took.
    pub took: Duration,
    /// One for each property.
    pub verdicts: Vec<Verdict>,
}

/// What became of one property.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// Its name.
    pub name: &'static str,
    /// Whether it is as it should be.
    pub holds: bool,
    /// A shortest history that shows a violation, or that something is possible; one line for each step.
    pub history: Option<Vec<String>>,
}

/// When a search ends before everything is explored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// It does not.
    End,
    /// When something is violated.
    Violated,
    /// When there is a history for this property.
    Found(&'static str),
}

/// Explores breadth first with so many threads; with one, histories are the shortest and figures always the same.
pub fn check<M>(model: M, until: Until, threads: usize) -> Report
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Hash + PartialEq + Send + Sync + 'static,
    M::Action: Clone + fmt::Debug + PartialEq,
{
    let started = Instant::now();
    let until = match until {
        // A property that nothing has tells of nothing: the search goes on to its end.
        Until::End => HasDiscoveries::AllOf(BTreeSet::from(["the end"])),
        Until::Violated => HasDiscoveries::AnyFailures,
        Until::Found(name) => HasDiscoveries::AllOf(BTreeSet::from([name])),
    };
    let builder = model.checker().threads(threads.max(1)).finish_when(until);
    let checker = builder.spawn_bfs().join();
    let mut verdicts = Vec::new();
    for property in checker.model().properties() {
        let history = checker.discovery(property.name).map(|path| {
            path.into_actions()
                .iter()
                .map(|action| checker.model().format_action(action))
                .collect::<Vec<String>>()
        });
        let holds = property.expectation.discovery_is_failure() == history.is_none();
        verdicts.push(Verdict { name: property.name, holds, history });
    }
    Report {
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        took: started.elapsed(),
        verdicts,
    }
}

impl Report {
    /// What became of a property; nothing if there is none of this name.
    pub fn verdict(&self, name: &str) -> Option<&Verdict> {
        self.verdicts.iter().find(|verdict| verdict.name == name)
    }

    /// Properties that are not as they should be.
    pub fn violated(&self) -> Vec<&'static str> {
        self.verdicts.iter().filter(|verdict| !verdict.holds).map(|verdict| verdict.name).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { states, depth, took, verdicts } = self;
        writeln!(f, "{states} states, depth {depth}, {:.1} s", took.as_secs_f64())?;
        for verdict in verdicts {
            writeln!(f, "{} {}", if verdict.holds { "ok " } else { "NOT" }, verdict.name)?;
        }
        for verdict in verdicts.iter().filter(|verdict| !verdict.holds) {
            let Some(history) = &verdict.history else { continue };
            writeln!(f, "\nnot so: {}", verdict.name)?;
            for (number, step) in (1..).zip(history) {
                writeln!(f, "{number:3}. {step}")?;
            }
        }
        Ok(())
    }
}
