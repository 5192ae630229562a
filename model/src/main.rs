//! Explores the model with bounds and rules of choice.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use model::{Absent, Bounds, Fault, Model, Rules, Until, check};

/// Explores every history of the submission path within bounds.
#[derive(Debug, Parser)]
#[command(name = "model")]
struct Args {
    /// Ingresses
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=2))]
    ingresses: u8,
    /// Requests at each ingress
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    requests: u8,
    /// Submitters
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=2))]
    submitters: u8,
    /// Faults in one history, at most
    #[arg(long, default_value_t = 2)]
    faults: u8,
    /// Kinds of faults by name, such as SubmitterCrash; all but Silence unless given
    #[arg(long, value_delimiter = ',', value_parser = kind)]
    kinds: Vec<Fault>,
    /// Leave these rules out, such as fence; `all-of-recovery` is the services before taking over is built
    #[arg(long, value_delimiter = ',', value_parser = rule)]
    without: Vec<Rule>,
    /// Threads
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Who takes over gives back what was not billed instead of submitting it
    #[arg(long)]
    release: bool,
    /// Stop at the first violation
    #[arg(long)]
    first: bool,
    /// Show how what must be possible came about, too
    #[arg(long)]
    examples: bool,
}

/// Changes the rules.
type Rule = fn(&mut Rules);

fn kind(name: &str) -> Result<Fault, String> {
    let all = model::FAULTS.into_iter().chain([Fault::Silence]);
    let names = all.clone().map(|fault| format!("{fault:?}")).collect::<Vec<_>>().join(", ");
    all.into_iter().find(|fault| format!("{fault:?}") == name).ok_or(format!("one of {names}"))
}

const RULES: [(&str, Rule); 22] = [
    ("find", |rules| rules.find = false),
    ("fence", |rules| rules.fence = false),
    ("fence-registered", |rules| rules.fence_registered = false),
    ("settle", |rules| rules.settle = false),
    ("second-list", |rules| rules.lists = 1),
    ("doubt-not-found", |rules| rules.absent = Absent::Trusted),
    ("last-deletion", |rules| rules.absent = Absent::Waited),
    ("believe-at-last", |rules| rules.absent = Absent::Doubted),
    ("register", |rules| rules.register = false),
    ("register-with-all", |rules| rules.register_with_all = false),
    ("check-epoch", |rules| rules.check_epoch = false),
    ("check-files", |rules| rules.check_files = false),
    ("unique-epochs", |rules| rules.unique_epochs = false),
    ("fence-unknown", |rules| rules.fence_unknown = false),
    ("recover", |rules| rules.recover = false),
    ("sync", |rules| rules.sync = false),
    ("upload-again", |rules| rules.upload_again = false),
    ("drop-old-errors", |rules| rules.drop_old_errors = false),
    ("own-names", |rules| rules.own_names = false),
    ("keep-unreceived", |rules| rules.keep_unreceived = false),
    ("hold-for-lost", |rules| rules.hold_for_lost = false),
    ("all-of-recovery", |rules| *rules = Rules::without_recovery()),
];

fn rule(name: &str) -> Result<Rule, String> {
    let names = RULES.map(|(name, _)| name).join(", ");
    RULES.into_iter().find(|(known, _)| *known == name).map(|(_, rule)| rule).ok_or(format!("one of {names}"))
}

fn main() -> ExitCode {
    let args = Args::parse();
    let mut rules = Rules::protocol();
    args.without.iter().for_each(|leave_out| leave_out(&mut rules));
    rules.release = args.release;
    let mut bounds = Bounds::new(args.ingresses, args.requests, args.faults);
    bounds.submitters = args.submitters;
    if !args.kinds.is_empty() {
        bounds.kinds = args.kinds;
    }
    let report =
        check(Model { rules, bounds }, if args.first { Until::Violated } else { Until::End }, args.threads);
    let mut text = report.to_string();
    for verdict in report.verdicts.iter().filter(|verdict| args.examples && verdict.holds) {
        let Some(history) = &verdict.history else { continue };
        text += &format!("\nso: {}\n    {}\n", verdict.name, history.join("\n    "));
    }
    let written = std::io::stdout().write_all(text.as_bytes());
    match report.violated().is_empty() && written.is_ok() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
