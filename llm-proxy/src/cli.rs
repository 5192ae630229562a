//! The command line. `--help` is the manual.

mod manual;

use std::ffi::OsString;

use clap::{Args as _, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::commands::{batcher, check, demo, ingress, run, serve, simulator, submitter};

/// Answers ordinary LLM API calls through the provider's Batch API, at half the price
#[derive(Debug, Parser)]
#[command(name = "llm-proxy", version, propagate_version = true)]
#[command(long_about = manual::ABOUT, after_help = manual::AFTER_HELP, after_long_help = manual::AFTER_LONG_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// All services in one process (the default: `llm-proxy --listen ...` is `llm-proxy serve --listen ...`)
    #[command(long_about = manual::SERVE)]
    Serve(Box<serve::ServeArgs>),
    /// HTTP in: takes calls, holds them and answers them; needs NATS
    #[command(long_about = manual::INGRESS)]
    Ingress(Box<ingress::IngressArgs>),
    /// Groups waiting calls into batches; needs NATS, sees neither keys nor prompts
    #[command(long_about = manual::BATCHER)]
    Batcher(Box<batcher::BatcherArgs>),
    /// Takes batches through the providers' Batch APIs; needs NATS
    #[command(long_about = manual::SUBMITTER)]
    Submitter(Box<submitter::SubmitterArgs>),
    /// Runs a program whose calls go through a proxy of its own, which ends with it: `llm-proxy run -- python script.py`
    #[command(long_about = manual::RUN)]
    Run(Box<run::RunArgs>),
    /// A simulated provider, the proxy, and a burst of sample calls: no key, no network
    #[command(long_about = manual::DEMO)]
    Demo(demo::DemoArgs),
    /// A simulated provider on a port, for tests
    #[command(long_about = manual::SIMULATOR)]
    Simulator(Box<simulator::SimulatorArgs>),
    /// Checks the configuration, NATS, the upstreams and what the key may do
    #[command(long_about = manual::CHECK)]
    Check(Box<check::CheckArgs>),
}

/// Roles that are nothing without others on NATS.
const SINGLE_ROLES: [&str; 3] = ["ingress", "batcher", "submitter"];

/// Reads the command line and the variables of the command that it names.
///
/// # Errors
/// What to print and with which code to end; help and version come this way too.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, clap::Error> {
    let mut args: Vec<OsString> = args.into_iter().collect();
    match args.get(1).map(|first| first.to_string_lossy()) {
        Some(first) if matches!(&*first, "-h" | "--help" | "help") && args.len() == 2 => {
            return parse_with(with_serve_flags(command()), args);
        }
        Some(first) if is_of_the_program(&first) => {}
        _ => args.insert(args.len().min(1), "serve".into()),
    }
    parse_with(command(), args)
}

/// Whether the first argument is a command or concerns the program as a whole. Everything else is a flag of `serve`.
fn is_of_the_program(first: &str) -> bool {
    matches!(first, "-h" | "--help" | "-V" | "--version") || !first.starts_with('-')
}

fn parse_with(mut command: clap::Command, args: Vec<OsString>) -> Result<Command, clap::Error> {
    let mut matches = command.try_get_matches_from_mut(args)?;
    Cli::from_arg_matches_mut(&mut matches).map(|cli| cli.command).map_err(|error| error.format(&mut command))
}

fn command() -> clap::Command {
    let mut command = Cli::command();
    for role in SINGLE_ROLES {
        command = command.mut_subcommand(role, |role| role.mut_arg("nats", |nats| nats.required(true)));
    }
    // These have something else to say to people, or let another program say it.
    for talker in ["demo", "check", "run"] {
        command =
            command.mut_subcommand(talker, |talker| talker.mut_arg("log", |log| log.default_value("warn")));
    }
    command.mut_subcommand("run", |run| {
        let run = run.mut_arg("listen", |listen| listen.default_value(run::LISTEN));
        run.mut_arg("drain_timeout", |timeout| timeout.default_value(run::DRAIN_TIMEOUT))
    })
}

/// For the manual: the flags of the default command where people look first. Not for parsing, where `serve` would
/// demand sense of variables that other commands do not use.
fn with_serve_flags(command: clap::Command) -> clap::Command {
    let about = command.get_about().cloned();
    // Adding the flags of `serve` would make the program's description that of `serve`.
    let command =
        serve::ServeArgs::augment_args(command).long_about(manual::ABOUT).subcommand_required(false);
    command.about(about.unwrap_or_default())
}

#[cfg(test)]
mod tests;
