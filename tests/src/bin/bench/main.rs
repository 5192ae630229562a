//! Measures the real executable as processes: memory, CPU and latency while many calls wait for batches.
//!
//! `scripts/bench.sh` builds and runs it; `docs/benchmarks.md` says what the figures mean.

#![allow(clippy::print_stdout, reason = "its result is a table on standard output")]

mod figures;
mod load;
mod measure;
mod process;
mod stack;
mod watch;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum};

use crate::figures::Table;
use crate::load::{Load, Protocol};
use crate::stack::{Shape, Stack};

/// Measures llm-proxy against the simulated provider.
#[derive(Debug, Parser)]
struct Args {
    /// Calls at once in the modes serve and split
    #[arg(long, default_value_t = 10_000)]
    requests: usize,

    /// What to measure
    #[arg(long, value_enum, default_value_t = Mode::All)]
    mode: Mode,

    /// Measurements of each mode; the figures are their medians
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,

    /// Keys that the calls are spread over, in the modes serve and split
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    keys: u32,

    /// Bytes of a call's body
    #[arg(long, default_value_t = 1024)]
    body: usize,

    /// Seconds that the simulated provider takes for a batch
    #[arg(long, default_value_t = 20)]
    batch_time: u64,

    /// What the services log; shown if a run fails
    #[arg(long, default_value = "warn", value_name = "FILTER")]
    log: String,

    /// More flags for the services, such as --service-flag=--poll-max=2s; repeatable
    #[arg(long, value_name = "FLAG")]
    service_flag: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Many calls, all services in one process
    Serve,
    /// Many calls, a process for each service, on a nats-server
    Split,
    /// One batch of 50,000 calls, all services in one process
    Batch50k,
    /// One batch of 50,000 calls, a process for each service
    Batch50kSplit,
    /// All of these
    All,
}

/// The most lines of an OpenAI batch (OpenAI API reference).
const FULL_BATCH: usize = 50_000;
/// For a full batch: seals when it is full, and asks often enough for the wait between polls to be small.
const FULL_BATCH_FLAGS: [(Part, &str); 6] = [
    (Part::Batcher, "--max-requests=50000"),
    (Part::Batcher, "--max-bytes=190MB"),
    (Part::Batcher, "--window=120s"),
    (Part::Batcher, "--idle=60s"),
    (Part::Submitter, "--poll-min=500ms"),
    (Part::Submitter, "--poll-max=500ms"),
];

/// The service that a flag is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Batcher,
    Submitter,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let program = program();
    ensure!(program.is_file(), "{} is not there: build it, or set LLM_PROXY", program.display());
    for mode in [Mode::Serve, Mode::Split, Mode::Batch50k, Mode::Batch50kSplit] {
        if args.mode == mode || args.mode == Mode::All {
            let mut table = Table::new(title(mode, &args));
            for run in 1..=args.runs {
                let figures = run_once(mode, &args, &program).await?;
                println!("# run {run} of {}: {}", args.runs, figures.brief());
                table.add(figures);
            }
            println!("{table}");
        }
    }
    Ok(())
}

async fn run_once(mode: Mode, args: &Args, program: &Path) -> Result<figures::Run> {
    let full = matches!(mode, Mode::Batch50k | Mode::Batch50kSplit);
    let shape = match mode {
        Mode::Split | Mode::Batch50kSplit => Shape::Split,
        _ => Shape::Serve,
    };
    let mut flags: Vec<(Part, String)> = Vec::new();
    if full {
        flags.extend(FULL_BATCH_FLAGS.map(|(part, flag)| (part, flag.to_owned())));
    }
    let batch_time = Duration::from_secs(args.batch_time);
    let mut more = args.service_flag.clone();
    more.push(format!("--log={}", args.log));
    let stack = Stack::start(program, shape, batch_time, &flags, &more).await?;
    let load = Load {
        requests: if full { FULL_BATCH } else { args.requests },
        keys: if full { 1 } else { args.keys },
        body: args.body,
        protocol: if full { Protocol::Http2 } else { Protocol::Http1 },
    };
    measure::measure(stack, load, full).await
}

fn title(mode: Mode, args: &Args) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let how = match mode {
        Mode::Serve | Mode::Batch50k => "serve, one process",
        _ => "ingress, batcher, submitter and nats-server",
    };
    let what = match mode {
        Mode::Batch50k | Mode::Batch50kSplit => {
            format!("one batch of {FULL_BATCH} calls of {} bytes, HTTP/2", args.body)
        }
        _ => format!("{} calls of {} bytes over {} keys, HTTP/1.1", args.requests, args.body, args.keys),
    };
    format!("{what}; {how}; {cores} cores; median of {} runs", args.runs)
}

/// `$LLM_PROXY`, else the release build of this checkout.
fn program() -> PathBuf {
    let built = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/llm-proxy");
    std::env::var_os("LLM_PROXY").map_or_else(built, PathBuf::from)
}
