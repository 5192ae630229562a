//! Seeds: many worlds with the services as they are, and the proof that the simulation sees mistakes.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, missing_docs)]

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use simulation::{Bug, Options, Report, explain, run};

/// Lines of the trace that a failure prints.
const TRACE: usize = 300;

/// `SIMULATION_SEEDS`, or so many.
fn seeds(usual: u64) -> u64 {
    std::env::var("SIMULATION_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// Runs seeds on all processors until one fails; returns the first that did.
fn first_failure(from: u64, count: u64, options: Options) -> Option<Report> {
    let (next, failed) = (AtomicU64::new(from), Mutex::new(None::<Report>));
    let work = || {
        while failed.lock().unwrap().is_none() {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= from + count {
                return;
            }
            let report = run(seed, options);
            if report.violation.is_some() {
                failed.lock().unwrap().get_or_insert(report);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    failed.into_inner().unwrap()
}

#[test]
fn everybody_is_answered_and_billed_once() {
    let options = Options::default();
    if let Some(report) = first_failure(0, seeds(SEEDS), options) {
        panic!("{}", explain(&report, options, TRACE));
    }
}

/// A submitter that left alone had looked for the file of a lost upload before the provider listed it, and nobody looked again.
#[test]
fn what_a_leaving_submitter_looked_for_too_early_is_tidied_up() {
    let options = Options { plain: true, ..Options::default() };
    let report = run(52_163, options);
    assert!(report.violation.is_none(), "{}", explain(&report, options, TRACE));
}

/// As many as take some seconds, with the debug build's own speed.
const SEEDS: u64 = 500;

#[test]
fn a_seed_replays_identically() {
    for seed in 0..20 {
        let (once, again) =
            (run(seed, Options::default()), run(seed, Options { trace: 10, ..Options::default() }));
        assert_eq!(once.fingerprint, again.fingerprint, "seed {seed}");
        assert_eq!((once.messages, once.virtual_time), (again.messages, again.virtual_time), "seed {seed}");
    }
}

#[test]
fn planted_mistakes_are_found() {
    for bug in Bug::ALL {
        let plain = !bug.is_of_the_ladder();
        let options = Options { bug: Some(bug), plain, ..Options::default() };
        let found = first_failure(0, MOST, options);
        let Some(report) = found else { panic!("{bug} was not found in {MOST} seeds") };
        let without = run(report.seed, Options { plain, ..Options::default() }).violation;
        assert_eq!(without, None, "seed {} fails without {bug}, too", report.seed);
        println!("{bug}: seed {}: {}", report.seed, report.violation.unwrap());
    }
}

/// Seeds within which every planted mistake must show.
const MOST: u64 = 10_000;
