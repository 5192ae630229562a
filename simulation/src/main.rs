//! Runs seeds: many, or one with its trace.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a tool for the terminal")]

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Parser;
use simulation::{Day, Options, Report, explain, run, run_watched};

/// Runs the services' state machines in a simulated world.
#[derive(Debug, Parser)]
struct Args {
    /// Run this seed alone
    #[arg(long)]
    seed: Option<u64>,
    /// Run so many seeds
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Print the last events of a seed, this many
    #[arg(long, num_args = 0..=1, default_missing_value = "400")]
    trace: Option<usize>,
    /// Go on after a failure, and count
    #[arg(long)]
    keep_going: bool,
    /// Without deadlines, later batches and calls alone
    #[arg(long)]
    plain: bool,
    /// Run a day of many requests instead, and say what it took
    #[arg(long)]
    day: bool,
    /// Requests of the day
    #[arg(long, default_value_t = 1_000_000)]
    requests: usize,
    /// Processes that are killed in the day
    #[arg(long, default_value_t = 200)]
    crashes: u64,
    /// Hours of the day
    #[arg(long, default_value_t = 24)]
    hours: u64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let length = Duration::from_secs(args.hours.max(1) * 3600);
    let day = args.day.then_some(Day { requests: args.requests, crashes: args.crashes, length });
    let options = Options { day, plain: args.plain, ..Options::default() };
    match args.seed {
        _ if args.day && args.trace.is_none() => a_day(args.seed.unwrap_or(0), options),
        Some(seed) => one(seed, options, args.trace),
        None => many(&args, options),
    }
}

fn a_day(seed: u64, options: Options) -> ExitCode {
    let began = Instant::now();
    let report = run_watched(seed, options, |so_far| {
        let hours = so_far.virtual_time.as_secs() / 3600;
        let Report { requests, answers, crashes, .. } = so_far;
        let took = began.elapsed().as_secs_f64();
        eprintln!("{hours} h: {requests} requests, {answers} answers, {crashes} crashes; {took:.1} s");
    });
    println!("{report}");
    // Linux says it (proc(5)); most of it is the simulation's own ledger of who asked what.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("unknown");
    println!("  most resident memory   {}", peak.trim());
    println!("  wall time              {:.1} s", began.elapsed().as_secs_f64());
    if report.violation.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn one(seed: u64, options: Options, trace: Option<usize>) -> ExitCode {
    let report = run(seed, options);
    println!("{}", explain(&report, options, trace.unwrap_or(0)));
    println!(
        "{:.1} virtual minutes, {} requests, {} answers, {} jobs, {} crashes, {} messages, {} dropped, fingerprint {:016x}",
        report.virtual_time.as_secs_f64() / 60.0,
        report.requests,
        report.answers,
        report.jobs,
        report.crashes,
        report.messages,
        report.dropped,
        report.fingerprint
    );
    if report.violation.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

#[derive(Default)]
struct Sum {
    seeds: u64,
    time: Duration,
    requests: u64,
    answers: u64,
    executed: u64,
    jobs: u64,
    crashes: u64,
    paid_again: u64,
    alone: u64,
    alone_again: u64,
    vanished_again: u64,
    hard_again: u64,
    messages: u64,
    dropped: u64,
    failed: Vec<Report>,
}

impl Sum {
    fn add(&mut self, report: Report) {
        self.seeds += 1;
        self.time += report.virtual_time;
        self.requests += report.requests;
        self.answers += report.answers;
        self.executed += report.executed;
        self.jobs += report.jobs;
        self.crashes += report.crashes;
        self.paid_again += report.paid_again;
        self.alone += report.alone;
        self.alone_again += report.alone_again;
        self.vanished_again += report.vanished_again;
        self.hard_again += report.hard_again;
        self.messages += report.messages;
        self.dropped += report.dropped;
        if report.violation.is_some() {
            self.failed.push(report);
        }
    }

    fn print(&self, began: Instant) {
        println!(
            "{} seeds, {:.0} virtual hours, {} requests, {} answers, {} lines executed, {} jobs, {} calls alone, {} crashes, {} messages, {} dropped, paid again: {} with nobody left to ask, {} whose ingress was lost that made them alone, {} without a line in their results, {} by hard deadlines; {} failed; {:.1} s, {:.2} ms a seed",
            self.seeds,
            self.time.as_secs_f64() / 3600.0,
            self.requests,
            self.answers,
            self.executed,
            self.jobs,
            self.alone,
            self.crashes,
            self.messages,
            self.dropped,
            self.paid_again,
            self.alone_again,
            self.vanished_again,
            self.hard_again,
            self.failed.len(),
            began.elapsed().as_secs_f64(),
            began.elapsed().as_secs_f64() * 1000.0 / self.seeds.max(1) as f64
        );
    }
}

fn many(args: &Args, options: Options) -> ExitCode {
    let (began, sum) = (Instant::now(), Mutex::new(Sum::default()));
    let (next, stop) = (AtomicU64::new(args.from), AtomicBool::new(false));
    let end = args.from.saturating_add(args.seeds);
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return;
            }
            let report = run(seed, options);
            if let Some(what) = &report.violation {
                println!("seed {seed}: {}", what.chars().take(300).collect::<String>());
                stop.fetch_or(!args.keep_going, Ordering::Relaxed);
            }
            let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
            sum.add(report);
            if sum.seeds % 5_000 == 0 {
                sum.print(began);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let mut sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    sum.failed.sort_by_key(|report| report.seed);
    if let Some(report) = sum.failed.first() {
        println!("{}", explain(report, options, args.trace.unwrap_or(0)));
    }
    sum.print(began);
    if sum.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
