//! What the services do not guarantee, in one place. Each `true` excuses one thing that would otherwise fail a seed;
//! as soon as something is built, its rule becomes `false` and the simulation holds the services to it.

/// The excuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Files and jobs of a batch stay at the provider when every process that knew of the batch has ended before it was tidied
    /// up: its submitter, whoever took it over, and all ingresses that had requests in it. Nothing is on disk, so nobody is
    /// left who could look for them. As long as one of them lives, nothing of the batch may stay.
    pub nobody_is_left_who_knew: bool,
}

impl Rules {
    /// What holds today.
    pub const TODAY: Self = Self { nobody_is_left_who_knew: true };

    /// What the protocol promises. It cannot promise that somebody is left.
    pub const PROMISED: Self = Self { nobody_is_left_who_knew: true };
}

impl Default for Rules {
    fn default() -> Self {
        Self::TODAY
    }
}
