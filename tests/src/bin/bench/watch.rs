//! Looks at the services while calls wait.

use std::time::Duration;

use anyhow::Result;
use tokio_util::sync::CancellationToken;

use crate::load::{Progress, now};
use crate::stack::Stack;

/// Until all calls are held: how exactly the last arrival is known.
const ARRIVING: Duration = Duration::from_millis(50);
/// After that: seldom enough to cost nothing that would show.
const HOLDING: Duration = Duration::from_millis(250);
/// When answers have begun, and calls wait long.
const WAITING: Duration = Duration::from_secs(5);

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// When all calls were held for the first time, in milliseconds since the epoch.
    pub(crate) all_held: Option<f64>,
    /// Each look while all calls were held.
    pub(crate) looks: Vec<Look>,
}

/// What one look at the services showed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    /// In milliseconds since the epoch.
    pub(crate) at: f64,
    /// Answers that had begun.
    pub(crate) begun: usize,
    /// What all services together had used, without the nats-server.
    pub(crate) used: Used,
}

/// What several processes used.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Used {
    /// Bytes in memory.
    pub(crate) resident: u64,
    /// CPU time since their start.
    pub(crate) cpu: Duration,
    /// The part of it in kernel mode.
    pub(crate) kernel: Duration,
}

/// Looks until `done` is cancelled.
///
/// # Errors
/// If a service has ended.
pub(crate) async fn watch(
    stack: &Stack,
    requests: usize,
    progress: &Progress,
    done: CancellationToken,
) -> Result<Seen> {
    let mut seen = Seen::default();
    loop {
        let pause = match seen.all_held {
            None => ARRIVING,
            Some(_) if progress.begun() < requests => HOLDING,
            Some(_) => WAITING,
        };
        if done.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return Ok(seen);
        }
        // A service that is too busy to answer is asked again.
        let Ok(stats) = stack.stats().await else { continue };
        if stats["held"]["requests"].as_u64() == Some(requests as u64) {
            seen.all_held.get_or_insert(now());
            seen.looks.push(Look { at: now(), begun: progress.begun(), used: used(stack)? });
        }
    }
}

/// What all services used so far, without the nats-server.
///
/// # Errors
/// If one has ended.
pub(crate) fn used(stack: &Stack) -> Result<Used> {
    let usage = stack.usage()?;
    let services = usage.iter().filter(|(name, _)| *name != "nats-server");
    Ok(services.fold(Used::default(), |sum, (_, usage)| Used {
        resident: sum.resident + usage.resident,
        cpu: sum.cpu + usage.cpu,
        kernel: sum.kernel + usage.kernel,
    }))
}
