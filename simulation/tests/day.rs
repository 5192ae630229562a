//! A short day: large batches, long jobs, some kills, and everything counted.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::time::Duration;

use simulation::{Day, Options, run_watched};

#[test]
fn a_short_day_ends_in_peace() {
    let (seed, mut hours) = (1, 0);
    let day = Day { requests: 2_000, crashes: 3, length: Duration::from_secs(3600) };
    let options = Options { day: Some(day), ..Options::default() };
    let report = run_watched(seed, options, |_| hours += 1);
    println!("{report}");
    assert_eq!(report.violation, None, "seed {seed}");
    assert_eq!((report.persons, report.crashes), (2_000, 3), "seed {seed}");
    assert_eq!(report.billed_twice, 0, "seed {seed}");
    assert_eq!(report.by_kind.values().sum::<u64>(), report.messages, "seed {seed}");
    assert!(report.requests >= 2_000 && report.answered >= 1_900, "seed {seed}: {report}");
    assert!(hours >= 1, "seed {seed}");
    // Batches are large: a line of its own each would be another thing to measure.
    assert!(report.executed > 5 * report.jobs, "seed {seed}: {report}");
}
