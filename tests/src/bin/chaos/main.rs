//! Kills, pauses and cuts off real processes. `scripts/chaos.sh` builds and runs it.

#![allow(clippy::print_stdout, reason = "its result is a table on standard output")]

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use futures_util::stream::{self, StreamExt as _};
use tests::chaos::rounds::{Plan, Tally, play};
use tests::chaos::{Verdict, rows, table};

/// Kills, pauses and cuts off real processes, and counts what was lost or paid for twice.
#[derive(Debug, Parser)]
enum Args {
    /// The table of crash points
    Table {
        /// Numbers of rows; all if none is given
        rows: Vec<String>,

        /// Rows that run at a time
        #[arg(long, default_value_t = 6)]
        at_once: usize,
    },

    /// Many requests while a random process is killed every second
    Rounds {
        /// How many rounds
        #[arg(long, default_value_t = 100)]
        rounds: u64,

        /// Requests of a round
        #[arg(long, default_value_t = 2_000)]
        requests: usize,

        /// Seed of the first round, random if it is not given; the next one's is one more
        #[arg(long)]
        seed: Option<u64>,

        /// Let ingresses live: else their callers send again, to another one
        #[arg(long)]
        spare_ingresses: bool,

        /// Rounds that are played at a time
        #[arg(long, default_value_t = 1)]
        at_once: usize,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    match Args::parse() {
        Args::Table { rows: wanted, at_once } => {
            let rows = rows::run(&wanted, true, at_once.max(1), |row| {
                print!("{}", table(std::slice::from_ref(row)))
            })
            .await;
            println!("\n{}", table(&rows));
            ensure!(rows.iter().all(|row| row.verdict != Verdict::Wrong), "a row is wrong");
        }
        Args::Rounds { rounds, requests, seed, spare_ingresses, at_once } => {
            let first = seed.unwrap_or_else(|| u64::from(RandomState::new().build_hasher().finish() as u32));
            let plan = |i| Plan { seed: first + i, requests, ingresses: !spare_ingresses };
            let mut under_way = stream::iter((0..rounds).map(plan))
                .map(|plan| async move { (plan, play(plan).await) })
                .buffer_unordered(at_once.max(1));
            let mut total = Tally::default();
            while let Some((plan, tally)) = under_way.next().await {
                let tally = tally.with_context(|| format!("the round of seed {}", plan.seed))?;
                println!("seed {}: {tally}", plan.seed);
                tally.notes.iter().for_each(|note| println!("  {note}"));
                total += tally;
            }
            println!("\n{rounds} rounds from seed {first} on: {total}");
            ensure!(total.lost + total.wrong + total.billed_twice == 0, "lost, wrong or billed twice");
        }
    }
    Ok(())
}
