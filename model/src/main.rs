//! Explores the model with bounds and rules of choice.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use model::{Absent, Bounds, Fault, Model, Report, Rules, Until, check, retry};

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
    #[arg(long, value_delimiter = ',')]
    kinds: Vec<String>,
    /// Leave these rules out, such as fence; `all-of-recovery` is the services before taking over is built
    #[arg(long, value_delimiter = ',')]
    without: Vec<String>,
    /// A repetition at another ingress, in detail: two ingresses, one request
    #[arg(long)]
    retry: bool,
    /// With `--retry`, another caller shares the request at the first ingress
    #[arg(long, requires = "retry")]
    twin: bool,
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
type Rule<R> = fn(&mut R);

/// The one of these names; else all that there are.
fn named<T: Copy>(all: &[(impl AsRef<str>, T)], name: &str) -> Result<T, String> {
    let names = || all.iter().map(|(known, _)| known.as_ref()).collect::<Vec<_>>().join(", ");
    let found = all.iter().find(|(known, _)| known.as_ref() == name);
    found.map(|(_, it)| *it).ok_or_else(|| format!("{name}: one of {}", names()))
}

fn by_debug<T: Copy + std::fmt::Debug>(all: impl IntoIterator<Item = T>) -> Vec<(String, T)> {
    all.into_iter().map(|one| (format!("{one:?}"), one)).collect()
}

const RULES: [(&str, Rule<Rules>); 22] = [
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

const RETRY_RULES: [(&str, Rule<retry::Rules>); 15] = [
    ("all-answer", |rules| rules.all_answer = false),
    ("ask-submitters", |rules| rules.ask_submitters = false),
    ("origin-first", |rules| rules.origin_first = false),
    ("wait-claiming", |rules| rules.wait_claiming = false),
    ("wait-creating", |rules| rules.wait_creating = false),
    ("forget-left-out", |rules| rules.forget_left_out = false),
    ("keep-origin", |rules| rules.keep_origin = false),
    ("copy-asks", |rules| rules.copy_asks = false),
    ("look", |rules| rules.look = retry::Look::Nowhere),
    ("look-at-peers", |rules| rules.look = retry::Look::Sockets),
    ("doubt-all", |rules| rules.doubt_all = false),
    ("end-epoch", |rules| rules.end_epoch = false),
    ("ask-revived", |rules| rules.ask_revived = false),
    ("release", |rules| rules.release = false),
    ("what-was-found", |rules| *rules = retry::Rules::decided()),
];

fn main() -> ExitCode {
    let args = Args::parse();
    let report = if args.retry { of_retry(&args) } else { of_path(&args) };
    let (text, fine) = match report {
        Ok(report) => (told(&args, &report), report.violated().is_empty()),
        Err(unknown) => (unknown + "\n", false),
    };
    match std::io::stdout().write_all(text.as_bytes()).is_ok() && fine {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn until(args: &Args) -> Until {
    if args.first { Until::Violated } else { Until::End }
}

fn of_path(args: &Args) -> Result<Report, String> {
    let mut rules = Rules::protocol();
    for name in &args.without {
        named(&RULES, name)?(&mut rules);
    }
    rules.release = args.release;
    let mut bounds = Bounds::new(args.ingresses, args.requests, args.faults);
    bounds.submitters = args.submitters;
    if !args.kinds.is_empty() {
        let all = by_debug(model::FAULTS.into_iter().chain([Fault::Silence]));
        bounds.kinds = args.kinds.iter().map(|name| named(&all, name)).collect::<Result<_, _>>()?;
    }
    Ok(check(Model { rules, bounds }, until(args), args.threads))
}

fn of_retry(args: &Args) -> Result<Report, String> {
    let mut rules = retry::Rules::protocol();
    for name in &args.without {
        named(&RETRY_RULES, name)?(&mut rules);
    }
    let mut bounds = retry::Bounds::new(args.submitters, args.faults);
    bounds.twin = args.twin;
    if !args.kinds.is_empty() {
        let all = by_debug(retry::FAULTS.into_iter().chain([retry::Fault::LostSight]));
        bounds.kinds = args.kinds.iter().map(|name| named(&all, name)).collect::<Result<_, _>>()?;
    }
    Ok(check(retry::Retry { rules, bounds }, until(args), args.threads))
}

fn told(args: &Args, report: &Report) -> String {
    let mut text = report.to_string();
    for verdict in report.verdicts.iter().filter(|verdict| args.examples && verdict.holds) {
        let Some(history) = &verdict.history else { continue };
        text += &format!("\nso: {}\n    {}\n", verdict.name, history.join("\n    "));
    }
    text
}
