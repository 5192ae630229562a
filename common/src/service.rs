//! What every process does around its roles: logs, limits, secrets, signals and the operators' listener.

use std::fmt;

pub mod admin;
pub mod hardening;
pub mod logging;
pub mod panics;
pub mod secret;
pub mod shutdown;

/// The configuration cannot be used. The process ends with exit code 2, as for a bad flag, wherever in an error's
/// chain this is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(String);

impl ConfigError {
    /// `what` names the flag or variable, says what is wrong with it and how it should look; never its value if that
    /// may be secret.
    pub fn new(what: impl fmt::Display) -> Self {
        Self(what.to_string())
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}
