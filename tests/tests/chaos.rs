//! Real processes die, stand still and are cut off at each point at which that could lose a request or pay for it twice.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, missing_docs)]

use tests::chaos::{Verdict, rows, table};

/// Rows that run at a time: each waits most of its time, and has five or six processes.
const AT_ONCE: usize = 6;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_paid_for_twice_whoever_dies() {
    let rows = rows::run(&[], false, AT_ONCE, |_| {}).await;
    println!("{}", table(&rows));
    let wrong: Vec<_> =
        rows.iter().filter(|row| row.verdict == Verdict::Wrong).map(|row| row.number).collect();
    assert!(wrong.is_empty(), "wrong rows: {wrong:?}");
}
