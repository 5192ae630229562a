//! One measurement: from the first call to the last trace of its batches.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::figures::{Aim, Run};
use crate::load::{self, Answered, Load, Progress};
use crate::stack::Stack;
use crate::waiting;
use crate::watch::{Seen, used, watch};

/// How long services rest before their memory counts as idle.
const REST: Duration = Duration::from_secs(1);
/// How long deleting the last files may take.
const TIDYING: Duration = Duration::from_secs(120);

/// What is of interest besides what always is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Matter {
    /// Nothing more.
    Calls,
    /// One full batch.
    OneBatch,
    /// A long wait, with so many signs of life.
    Waiting(u32),
}

/// Makes the calls of `load` and reports what they cost.
///
/// # Errors
/// If a call did not get its own answer, or a service ended.
pub(crate) async fn measure(stack: Stack, load: Load, matter: Matter) -> Result<Run> {
    tokio::time::sleep(REST).await;
    let (idle, before) = (used(&stack)?.resident, stack.usage()?);
    let done = CancellationToken::new();
    let progress = Arc::new(Progress::default());
    let calls = async {
        let result = load::run(load, stack.address, progress.clone()).await;
        done.cancel();
        result
    };
    let window = async {
        match matter {
            Matter::Waiting(signs) => waiting::window(&stack, &load, signs, &progress, &done).await,
            _ => Ok(None),
        }
    };
    let watching = watch(&stack, load.requests, &progress, done.clone());
    // An error of one ends the others.
    let calls = async { anyhow::Ok(calls.await) };
    let (seen, window, called) = tokio::try_join!(watching, window, calls)?;
    let (answered, failures) = called?;
    let complete = answered.len() == load.requests;
    ensure!(complete, "{} of {} answered: {failures:#?}{}", answered.len(), load.requests, stack.said());
    let books = tidied(&stack).await?;
    ensure!(books["billed_twice"] == 0, "billed twice: {}", books["billed_twice_list"]);
    ensure!(books["billed"] == load.requests, "billed: {}", books["billed"]);
    ensure!(books["violation_count"] == 0, "violations: {}", books["violations"]);

    let mut run = Run::default();
    run.add("calls answered with their own answer", answered.len() as f64, "", Aim::None);
    run.add("batches", books["batch_count"].as_f64().context("no batch_count")?, "", Aim::None);
    let one_batch = matter == Matter::OneBatch;
    ensure!(!one_batch || books["batch_count"] == 1, "not one batch but {}", books["batch_count"]);
    match window {
        Some(window) => window.figures(&mut run, &load, &seen, idle)?,
        None => memory(&mut run, &load, &seen, idle)?,
    }
    for ((name, then), (_, now)) in before.iter().zip(stack.usage()?) {
        let aim = if one_batch && *name == "submitter" { Aim::Submitter } else { Aim::None };
        run.add(format!("peak memory of {name}"), megabytes(now.peak), "MB", aim);
        let cpu = now.cpu.saturating_sub(then.cpu).as_secs_f64() / load.requests as f64 * 1000.0;
        match matter {
            // The aims are of calls that are answered soon.
            Matter::Waiting(_) => {
                run.add("CPU per 1,000 calls, from first to last", cpu, "s", Aim::None);
            }
            _ => run.add_cpu(name, cpu),
        }
    }
    run.sum_cpu();
    latency(&mut run, &answered, &seen, &books, stack.provider_time)?;
    Ok(run)
}

/// Waits until nothing is left at the provider, so that cleaning up is in the figures, and returns its books.
async fn tidied(stack: &Stack) -> Result<Value> {
    let tidy = async {
        loop {
            let books = stack.books().await?;
            if books["files_left"] == 0 && books["batches_active"] == 0 {
                return anyhow::Ok(books);
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    tokio::time::timeout(TIDYING, tidy).await.context("files or batches stay at the provider")?
}

fn memory(run: &mut Run, load: &Load, seen: &Seen, idle: u64) -> Result<()> {
    let missing = "the calls were never all held at a look: give --batch-time more seconds";
    let most = seen.looks.iter().map(|look| look.used.resident).max().context(missing)?;
    let last = seen.looks.last().context(missing)?.used.resident;
    run.add("memory idle", megabytes(idle), "MB", Aim::None);
    run.add("memory while all are held, at most", megabytes(most), "MB", Aim::None);
    run.add("per held call beyond its body, at most", load.beyond(most, idle), "KB", Aim::Memory);
    run.add("per held call beyond its body, at the end", load.beyond(last, idle), "KB", Aim::Memory);
    Ok(())
}

fn latency(
    run: &mut Run,
    answered: &[Answered],
    seen: &Seen,
    books: &Value,
    provider: Duration,
) -> Result<()> {
    let provider = provider.as_secs_f64() * 1000.0;
    let arrived = seen.all_held.context("the calls were never all held")?;
    let last_answer = answered.iter().map(|call| call.ended).fold(0.0, f64::max);
    let first_call = answered.iter().map(|call| call.began).fold(f64::MAX, f64::min);
    let batches = books["batches"].as_array().context("no batches")?;
    let created = batches.iter().filter_map(|batch| batch["created_ms"].as_f64()).fold(0.0, f64::max);
    let mut took: Vec<f64> = answered.iter().map(|call| call.ended - call.began).collect();
    took.sort_by(f64::total_cmp);
    let percentile = |share: f64| took[((took.len() - 1) as f64 * share) as usize] / 1000.0;
    run.add("all calls taken in", (arrived - first_call) / 1000.0, "s", Aim::None);
    run.add("last arrival to last batch created", (created - arrived) / 1000.0, "s", Aim::None);
    run.add("last results ready to last answer", (last_answer - created - provider) / 1000.0, "s", Aim::None);
    run.add(
        "last arrival to last answer, less the provider's time",
        (last_answer - arrived - provider) / 1000.0,
        "s",
        Aim::None,
    );
    run.add("provider's time for a batch", provider / 1000.0, "s", Aim::None);
    run.add("a call's latency, p50", percentile(0.5), "s", Aim::None);
    run.add("a call's latency, p99", percentile(0.99), "s", Aim::None);
    Ok(())
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
