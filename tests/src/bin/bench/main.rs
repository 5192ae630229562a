//! Measures the real executable as processes: memory, CPU and latency while many calls wait for batches.
//!
//! `scripts/bench.sh` builds and runs it; `docs/benchmarks.md` says what the figures mean.

#![allow(clippy::print_stdout, reason = "its result is a table on standard output")]

mod answer;
mod figures;
mod load;
mod measure;
mod process;
mod stack;
mod waiting;
mod watch;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum};
use common::service::hardening;

use crate::figures::Table;
use crate::load::{Load, Protocol};
use crate::measure::Matter;
use crate::stack::{Shape, Stack};

/// Measures llm-proxy against the simulated provider.
#[derive(Debug, Parser)]
struct Args {
    /// Calls at once; 10000 in the modes serve and split, 18000 in waiting and 50000 in waiting-h2 if it is not given
    #[arg(long)]
    requests: Option<usize>,

    /// What to measure
    #[arg(long, value_enum, default_value_t = Mode::All)]
    mode: Mode,

    /// Measurements of each mode; the figures are their medians
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,

    /// Keys that the calls are spread over, but for the full batches
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    keys: u32,

    /// Bytes of a call's body
    #[arg(long, default_value_t = 1024)]
    body: usize,

    /// Seconds that the simulated provider takes for a batch; in the waiting modes it takes as much longer as is measured
    #[arg(long, default_value_t = 20)]
    batch_time: u64,

    /// Signs of life of each call that are measured in the waiting modes, one every 15 seconds
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    signs: u32,

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
    /// Many calls that wait long, a connection for each; all services in one process
    Waiting,
    /// Many calls that wait long, over a few HTTP/2 connections; all services in one process
    WaitingH2,
    /// All of these
    All,
}

/// In the order in which they are measured.
const MODES: [Mode; 6] =
    [Mode::Serve, Mode::Split, Mode::Batch50k, Mode::Batch50kSplit, Mode::Waiting, Mode::WaitingH2];

impl Mode {
    fn is_full_batch(self) -> bool {
        matches!(self, Self::Batch50k | Self::Batch50kSplit)
    }

    fn is_waiting(self) -> bool {
        matches!(self, Self::Waiting | Self::WaitingH2)
    }

    fn shape(self) -> Shape {
        match self {
            Self::Split | Self::Batch50kSplit => Shape::Split,
            _ => Shape::Serve,
        }
    }

    fn protocol(self) -> Protocol {
        match self {
            Self::Batch50k | Self::Batch50kSplit | Self::WaitingH2 => Protocol::Http2,
            _ => Protocol::Http1,
        }
    }

    fn requests(self, args: &Args) -> usize {
        match (self, args.requests) {
            (Self::Batch50k | Self::Batch50kSplit, _) => FULL_BATCH,
            (_, Some(requests)) => requests,
            (Self::Waiting, None) => 18_000,
            (Self::WaitingH2, None) => 50_000,
            (_, None) => 10_000,
        }
    }
}

/// Files that a process has open besides the connections of calls.
const SPARE_FILES: usize = 500;
/// From the end of a batch at the provider to the last answer, at most.
const AFTERWARDS: Duration = Duration::from_secs(240);

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
    let chosen = MODES.into_iter().filter(|mode| args.mode == *mode || args.mode == Mode::All);
    let modes: Vec<Mode> = chosen.collect();
    let calls = modes.iter().filter(|mode| mode.protocol() == Protocol::Http1);
    if let Some(most) = calls.map(|mode| mode.requests(&args)).max() {
        let limit = hardening::raise_open_files()?;
        let needed = most + SPARE_FILES;
        ensure!(
            limit >= needed as u64,
            "{needed} open files are needed and {limit} are allowed (ulimit -Hn)"
        );
    }
    for mode in modes {
        let mut table = Table::new(title(mode, &args));
        for run in 1..=args.runs {
            let figures = run_once(mode, &args, &program).await?;
            println!("# run {run} of {}: {}", args.runs, figures.brief());
            table.add(figures);
        }
        println!("{table}");
    }
    Ok(())
}

async fn run_once(mode: Mode, args: &Args, program: &Path) -> Result<figures::Run> {
    let full = mode.is_full_batch();
    let mut flags: Vec<(Part, String)> = Vec::new();
    if full {
        flags.extend(FULL_BATCH_FLAGS.map(|(part, flag)| (part, flag.to_owned())));
    }
    let mut batch_time = Duration::from_secs(args.batch_time);
    let mut matter = if full { Matter::OneBatch } else { Matter::Calls };
    if mode.is_waiting() {
        batch_time += waiting::needed(args.signs);
        matter = Matter::Waiting(args.signs);
    }
    let mut more = args.service_flag.clone();
    more.push(format!("--log={}", args.log));
    let stack = Stack::start(program, mode.shape(), batch_time, &flags, &more).await?;
    let load = Load {
        requests: mode.requests(args),
        keys: if full { 1 } else { args.keys },
        body: args.body,
        protocol: mode.protocol(),
        patience: batch_time + AFTERWARDS,
    };
    measure::measure(stack, load, matter).await
}

fn title(mode: Mode, args: &Args) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let how = match mode.shape() {
        Shape::Serve => "serve, one process",
        Shape::Split => "ingress, batcher, submitter and nats-server",
    };
    let protocol = match mode.protocol() {
        Protocol::Http1 => "HTTP/1.1",
        Protocol::Http2 => "HTTP/2",
    };
    let (requests, body) = (mode.requests(args), args.body);
    let what = match mode {
        mode if mode.is_full_batch() => format!("one batch of {requests} calls of {body} bytes, {protocol}"),
        mode if mode.is_waiting() => {
            format!("{requests} calls of {body} bytes that wait long, over {} keys, {protocol}", args.keys)
        }
        _ => format!("{requests} calls of {body} bytes over {} keys, {protocol}", args.keys),
    };
    format!("{what}; {how}; {cores} cores; median of {} runs", args.runs)
}

/// `$LLM_PROXY`, else the release build of this checkout.
fn program() -> PathBuf {
    let built = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/llm-proxy");
    std::env::var_os("LLM_PROXY").map_or_else(built, PathBuf::from)
}
