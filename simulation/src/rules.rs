//! What the services do not guarantee yet, in one place. Each `true` excuses one thing that would otherwise fail a seed;
//! as soon as something is built, its rule becomes `false` and the simulation holds the services to it.

/// The excuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// A submitter that dies, or is killed at the end of its patience while draining, leaves its files and jobs at the
    /// provider. Nobody takes its batches over.
    pub dead_submitter_leaves: bool,
    /// Callers whose submitter died, or seemed to, after a file was registered get the fault `submitter_gone`.
    pub submitter_gone_is_an_answer: bool,
    /// A caller that repeats its request at another ingress may pay twice: ingresses do not ask each other.
    pub elsewhere_pays_again: bool,
    /// An ingress that a live submitter gave up (silent for 8 s, or its subjects unserved) is not delivered to any more,
    /// although it lives: its callers in that batch wait on.
    pub cut_off_ingress_waits: bool,
}

impl Rules {
    /// What holds today.
    pub const TODAY: Self = Self {
        dead_submitter_leaves: true,
        submitter_gone_is_an_answer: true,
        elsewhere_pays_again: true,
        cut_off_ingress_waits: true,
    };

    /// What the protocol promises.
    pub const PROMISED: Self = Self {
        dead_submitter_leaves: false,
        submitter_gone_is_an_answer: false,
        elsewhere_pays_again: false,
        cut_off_ingress_waits: false,
    };
}

impl Default for Rules {
    fn default() -> Self {
        Self::TODAY
    }
}
