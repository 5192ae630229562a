#![doc = include_str!("../README.md")]

mod action;
mod apply;
mod check;
mod progress;
mod properties;
pub mod retry;
mod rules;
mod set;
mod state;
mod wrong;

pub use action::{Action, Wrong};
pub use check::{Report, Until, Verdict, check};
pub use properties::names;
pub use rules::{Absent, Bounds, FAULTS, Fault, Rules};
pub use set::Set;
pub use state::{
    Caller, Doing, Excuse, File, Grant, Ingress, Job, Part, Phase, Request, Sight, Stage, State, Task,
};

use stateright::Property;

/// Most files in one history. A [property](names::BOUNDS) tells whether that was enough.
pub const FILES: usize = 8;

/// The submission path under these rules and bounds.
#[derive(Debug, Clone)]
pub struct Model {
    /// What the services do.
    pub rules: Rules,
    /// How large the world is.
    pub bounds: Bounds,
}

impl Model {
    /// Steps that need nothing to go wrong.
    pub fn progress(&self, state: &State) -> Vec<Action> {
        let mut steps = Vec::new();
        progress::steps(&self.rules, state, FILES, &mut steps);
        steps
    }
}

impl stateright::Model for Model {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::start(&self.bounds)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        progress::steps(&self.rules, state, FILES, actions);
        wrong::steps(&self.rules, &self.bounds, state, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        Some(apply::after(&self.rules, state, action))
    }

    fn format_action(&self, action: &Action) -> String {
        action.to_string()
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}
