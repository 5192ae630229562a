//! The commands, one file each.

pub(crate) mod batcher;
pub(crate) mod check;
pub(crate) mod demo;
pub(crate) mod ingress;
pub(crate) mod run;
pub(crate) mod serve;
pub(crate) mod simulator;
pub(crate) mod submitter;

use std::process::ExitCode;

use crate::cli::Command;

/// Runs a command to its end, and tells with which code to end.
///
/// # Errors
/// Why it failed; a [`common::service::ConfigError`] in the chain means a mistake in the configuration.
pub(crate) fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(args) => serve::run(*args),
        Command::Ingress(args) => ingress::run(*args),
        Command::Batcher(args) => batcher::run(*args),
        Command::Submitter(args) => submitter::run(*args),
        Command::Demo(args) => demo::run(args),
        Command::Simulator(args) => simulator::run(*args),
        Command::Check(args) => check::run(*args),
        Command::Run(args) => return run::run(*args),
    }
    .map(|()| ExitCode::SUCCESS)
}
