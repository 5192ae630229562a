//! What callers cost that wait long: their answers have begun, and they are given signs of life.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio_util::sync::CancellationToken;

use crate::figures::{Aim, Run};
use crate::load::{Load, Progress};
use crate::stack::Stack;
use crate::watch::{Look, Seen, Used, used};

/// When the answer of a caller begins that says nothing of its patience (docs/clients.md).
pub(crate) const BEGIN: Duration = Duration::from_secs(25);
/// Between two signs of life for such a caller (docs/clients.md).
pub(crate) const BEAT: Duration = Duration::from_secs(15);
/// After the last answer has begun: the first sign of life comes with the beginning and is not to be counted.
const SETTLE: Duration = Duration::from_secs(3);
/// After the last arrival: batches are sealed and handed over by then, and nothing happens but waiting.
const QUIET_AFTER: f64 = 10_000.0;
/// Signs of life that may be missing or too many, as a share of those that are due.
const TOLERANCE: f64 = 0.05;

/// What happened while signs of life were given.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    from: Used,
    to: Used,
    seconds: f64,
    received: u64,
    due: u64,
}

/// Time in which a batch must not end, for `signs` signs of life to be measured.
pub(crate) fn needed(signs: u32) -> Duration {
    BEGIN + SETTLE + BEAT * signs
}

/// Waits until all answers have begun, and for `signs` signs of life of each. Nothing, if the calls end before.
///
/// # Errors
/// If answers come meanwhile, if signs of life are missing or too many, or if a service has ended.
pub(crate) async fn window(
    stack: &Stack,
    load: &Load,
    signs: u32,
    progress: &Progress,
    done: &CancellationToken,
) -> Result<Option<Window>> {
    while progress.begun() < load.requests {
        if done.run_until_cancelled(tokio::time::sleep(Duration::from_millis(50))).await.is_none() {
            return Ok(None);
        }
    }
    let span = BEAT * signs;
    say(&format!("all {} answers have begun; measuring for {} s", load.requests, span.as_secs()));
    tokio::time::sleep(SETTLE).await;
    let (from, heard, started) = (used(stack)?, progress.signs(), Instant::now());
    tokio::time::sleep(span).await;
    let (to, seconds) = (used(stack)?, started.elapsed().as_secs_f64());
    let received = progress.signs() - heard;
    let ended = progress.ended();
    ensure!(
        ended == 0,
        "{ended} calls ended while signs of life were counted: give --batch-time more seconds"
    );
    let due = load.requests as u64 * u64::from(signs);
    let off = (received as f64 / due as f64 - 1.0).abs();
    ensure!(off <= TOLERANCE, "{received} signs of life came and {due} were due");
    say(&format!("{received} signs of life; waiting for the answers"));
    Ok(Some(Window { from, to, seconds, received, due }))
}

impl Window {
    /// Adds what the wait cost.
    ///
    /// # Errors
    /// If nobody looked at the services at the right times.
    pub(crate) fn figures(&self, run: &mut Run, load: &Load, seen: &Seen, idle: u64) -> Result<()> {
        let silent: Vec<&Look> = seen.looks.iter().filter(|look| look.begun == 0).collect();
        let begun: Vec<&Look> = seen.looks.iter().filter(|look| look.begun == load.requests).collect();
        let [first_begun, .., last_begun] = begun[..] else {
            anyhow::bail!("nobody looked while signs of life were given")
        };
        let last_silent = silent.last().context("not all calls were held before the first answer began")?;
        let most = |looks: &[&Look]| looks.iter().map(|look| look.used.resident).max().unwrap_or_default();
        let mut memory = |name: &str, resident| {
            let name = format!("per held call beyond its body, {name}");
            run.add(name, load.beyond(resident, idle), "KB", Aim::Memory);
        };
        memory("before answers begin, at most", most(&silent));
        memory("before answers begin, last look", last_silent.used.resident);
        memory("all begun, first look", first_begun.used.resident);
        memory("all begun, at most", most(&begun));
        memory("all begun, after all signs of life", self.to.resident);
        run.add(
            "memory while signs of life are given",
            last_begun.used.resident as f64 / 1e6,
            "MB",
            Aim::None,
        );
        let share = self.received as f64 / self.due as f64 * 100.0;
        run.add("signs of life received, of those due", share, "%", Aim::None);
        let arrived = seen.all_held.unwrap_or_default();
        let quiet: Vec<&&Look> = silent.iter().filter(|look| look.at >= arrived + QUIET_AFTER).collect();
        if let [first, .., last] = quiet[..] {
            let seconds = (last.at - first.at) / 1000.0;
            let share = per_10_000(first.used, last.used, seconds, load);
            run.add("waiting in silence, of a core per 10,000 calls", share, "%", Aim::None);
        }
        let share = per_10_000(self.from, self.to, self.seconds, load);
        run.add("heartbeats, of a core per 10,000 calls", share, "%", Aim::Heartbeats);
        let each =
            |from: Duration, to: Duration| to.saturating_sub(from).as_secs_f64() / self.received as f64 * 1e6;
        run.add("CPU for each sign of life", each(self.from.cpu, self.to.cpu), "µs", Aim::None);
        run.add("of it in the kernel", each(self.from.kernel, self.to.kernel), "µs", Aim::None);
        Ok(())
    }
}

/// Per cent of a core per 10,000 calls.
fn per_10_000(from: Used, to: Used, seconds: f64, load: &Load) -> f64 {
    let cpu = to.cpu.saturating_sub(from.cpu).as_secs_f64();
    cpu / seconds / load.requests as f64 * 10_000.0 * 100.0
}

fn say(what: &str) {
    println!("# {what}");
}
