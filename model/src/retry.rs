//! A repetition at another ingress, in detail: who is asked, who is taken for dead, and who may buy the request again.
//!
//! Two ingresses, one request, one repetition. The submission path is simpler here than in [`Model`](crate::Model), which shows that
//! fences hold: a file has one line, deletions find their files, lists after settling are complete.

mod action;
mod apply;
mod properties;
mod rules;
mod state;
mod steps;

pub use action::{Action, Wrong};
pub use properties::names;
pub use rules::{Bounds, FAULTS, Fault, Look, Rules};
pub use state::{Ask, Excuse, File, Grant, Health, Heard, Ingress, Phase, Stage, State, Task};

use stateright::{Model, Property};

/// Most files in one history.
pub const FILES: usize = 8;

/// A request and its repetition under these rules and bounds.
#[derive(Debug, Clone)]
pub struct Retry {
    /// What the services do.
    pub rules: Rules,
    /// How large the world is.
    pub bounds: Bounds,
}

impl Retry {
    /// Steps that need nothing to go wrong.
    pub fn progress(&self, state: &State) -> Vec<Action> {
        let mut steps = Vec::new();
        steps::progress(&self.rules, state, &mut steps);
        steps
    }
}

impl Model for Retry {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::start(&self.bounds)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        steps::progress(&self.rules, state, actions);
        steps::free(state, actions);
        steps::faults(&self.bounds, state, actions);
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
