//! Connections that speak another protocol after an upgrade.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::dialect::Problem;

/// Upgraded connections at a time.
const MAX: usize = 1000;

/// Joins clients' connections with a provider's.
pub(super) struct Tunnels {
    places: Arc<Semaphore>,
    abort: CancellationToken,
}

impl Tunnels {
    pub(super) fn new(abort: CancellationToken) -> Self {
        Self { places: Arc::new(Semaphore::new(MAX)), abort }
    }

    /// Room for one more.
    pub(super) fn place(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.places.clone().try_acquire_owned().map_err(|_| {
            let mut problem =
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Too many upgraded connections are open.");
            problem.retry_after = Some(Duration::from_secs(10));
            problem.code("too_many_upgrades")
        })
    }

    /// Carries bytes both ways, until both sides have ended or one has failed.
    pub(super) fn join(&self, client: OnUpgrade, provider: OnUpgrade, place: OwnedSemaphorePermit) {
        let abort = self.abort.clone();
        tokio::spawn(async move {
            let carried = abort.run_until_cancelled(carry(client, provider)).await;
            if let Some(Err(error)) = carried {
                tracing::debug!(%error, "upgraded connection ended");
            }
            drop(place);
        });
    }
}

async fn carry(client: OnUpgrade, provider: OnUpgrade) -> std::io::Result<()> {
    let (client, provider) = tokio::try_join!(client, provider).map_err(std::io::Error::other)?;
    tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(provider)).await?;
    Ok(())
}
