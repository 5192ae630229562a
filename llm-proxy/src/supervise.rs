//! Runs the roles of a process together: they stop together, and one that fails takes the others along in order.

use std::future::Future;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

/// What a role is given beyond `--drain-timeout` before it counts as stuck.
const GRACE: Duration = Duration::from_secs(5);

/// Roles that run at the same time.
pub(crate) struct Roles {
    shutdown: CancellationToken,
    drain_timeout: Duration,
    tasks: JoinSet<anyhow::Result<()>>,
    names: Vec<(Id, &'static str)>,
}

impl Roles {
    /// None yet. `shutdown` is what the roles were given; they have `drain_timeout` once it is cancelled.
    pub(crate) fn new(shutdown: CancellationToken, drain_timeout: Duration) -> Self {
        Self { shutdown, drain_timeout, tasks: JoinSet::new(), names: Vec::new() }
    }

    /// Starts a role.
    pub(crate) fn start(
        &mut self,
        name: &'static str,
        role: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        let task = self.tasks.spawn(role);
        self.names.push((task.id(), name));
    }

    /// Waits until all have ended. The first that fails, or ends unasked, makes the others stop.
    ///
    /// # Errors
    /// Why the first role failed, or that roles did not stop in time.
    pub(crate) async fn wait(mut self) -> anyhow::Result<()> {
        let mut result = Ok(());
        let too_late = stuck(self.shutdown.clone(), self.drain_timeout + GRACE);
        tokio::pin!(too_late);
        loop {
            let ended = tokio::select! {
                ended = self.tasks.join_next_with_id() => ended,
                () = &mut too_late => {
                    let names: Vec<_> = self.names.iter().map(|(_, name)| *name).collect();
                    return result.and(Err(anyhow!("{} did not stop within --drain-timeout", names.join(", "))));
                }
            };
            let Some(ended) = ended else { break };
            if let Err(error) = self.judge(ended) {
                if result.is_err() {
                    error!("{error:#}");
                } else {
                    result = Err(error);
                }
                self.shutdown.cancel();
            }
        }
        result.inspect(|()| info!("everything has ended"))
    }

    fn judge(&mut self, ended: Result<(Id, anyhow::Result<()>), JoinError>) -> anyhow::Result<()> {
        let (id, outcome) = match ended {
            Ok((id, outcome)) => (id, outcome),
            Err(panicked) => (panicked.id(), Err(anyhow!("it crashed: {panicked}"))),
        };
        let at = self.names.iter().position(|(known, _)| *known == id);
        let name = at.map_or("a role", |at| self.names.remove(at).1);
        outcome.with_context(|| format!("{name} failed"))?;
        if !self.shutdown.is_cancelled() {
            bail!("{name} ended unasked");
        }
        info!("{name} has ended");
        Ok(())
    }
}

async fn stuck(shutdown: CancellationToken, limit: Duration) {
    shutdown.cancelled().await;
    tokio::time::sleep(limit).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn obedient(shutdown: CancellationToken) -> anyhow::Result<()> {
        shutdown.cancelled().await;
        Ok(())
    }

    fn roles() -> (Roles, CancellationToken) {
        let shutdown = CancellationToken::new();
        let mut roles = Roles::new(shutdown.clone(), Duration::from_secs(30));
        roles.start("obedient", obedient(shutdown.clone()));
        (roles, shutdown)
    }

    #[tokio::test]
    async fn roles_stop_together() {
        let (roles, shutdown) = roles();
        shutdown.cancel();
        roles.wait().await.unwrap();
    }

    #[tokio::test]
    async fn the_first_failure_stops_all_and_is_told() {
        let (mut roles, shutdown) = roles();
        roles.start("weak", async { bail!("no luck") });
        assert_eq!(format!("{:#}", roles.wait().await.unwrap_err()), "weak failed: no luck");
        assert!(shutdown.is_cancelled());
    }

    #[tokio::test]
    async fn a_role_may_not_end_unasked_nor_crash() {
        let (mut quitting, _) = roles();
        quitting.start("quitter", async { Ok(()) });
        assert!(quitting.wait().await.unwrap_err().to_string().contains("quitter ended unasked"));
        let (mut crashing, _) = roles();
        crashing.start("crasher", async { panic!("on purpose") });
        let error = format!("{:#}", crashing.wait().await.unwrap_err());
        assert!(error.starts_with("crasher failed: it crashed"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stuck_role_does_not_hold_up_the_end() {
        let (mut roles, shutdown) = roles();
        roles.start("deaf", std::future::pending());
        shutdown.cancel();
        let error = roles.wait().await.unwrap_err().to_string();
        assert!(error.contains("deaf did not stop"), "{error}");
    }
}
