//! Looks at the services while calls wait.

use std::time::Duration;

use anyhow::Result;
use tokio_util::sync::CancellationToken;

use crate::load::now;
use crate::stack::Stack;

/// Until all calls are held: how exactly the last arrival is known.
const ARRIVING: Duration = Duration::from_millis(50);
/// After that: seldom enough to cost nothing that would show.
const HOLDING: Duration = Duration::from_millis(250);

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// When all calls were held for the first time, in milliseconds since the epoch.
    pub(crate) all_held: Option<f64>,
    /// Bytes in memory, of all services without the nats-server, at each look while all calls were held.
    pub(crate) resident: Vec<u64>,
}

/// Looks until `done` is cancelled.
///
/// # Errors
/// If a service has ended.
pub(crate) async fn watch(stack: &Stack, requests: usize, done: CancellationToken) -> Result<Seen> {
    let mut seen = Seen::default();
    loop {
        let pause = if seen.all_held.is_some() { HOLDING } else { ARRIVING };
        if done.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return Ok(seen);
        }
        // A service that is too busy to answer is asked again.
        let Ok(stats) = stack.stats().await else { continue };
        if stats["held"]["requests"].as_u64() == Some(requests as u64) {
            seen.all_held.get_or_insert(now());
            seen.resident.push(resident(stack)?);
        }
    }
}

/// Bytes in memory of all services without the nats-server.
///
/// # Errors
/// If one has ended.
pub(crate) fn resident(stack: &Stack) -> Result<u64> {
    Ok(stack
        .usage()?
        .iter()
        .filter(|(name, _)| *name != "nats-server")
        .map(|(_, usage)| usage.resident)
        .sum())
}
