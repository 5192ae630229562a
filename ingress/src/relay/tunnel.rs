//! Connections that speak another protocol after an upgrade.

use std::sync::Arc;
use std::time::Duration;

use common::ids::Fingerprint;
use http::StatusCode;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_util::sync::CancellationToken;

use crate::dialect::Problem;
use crate::fair::{Amount, Bounds};
use crate::gate::{Gate, Share};

/// Upgraded connections at a time.
const MAX: usize = 1000;

/// Joins clients' connections with a provider's.
pub(super) struct Tunnels {
    places: Arc<Gate>,
    abort: CancellationToken,
}

impl Tunnels {
    pub(super) fn new(abort: CancellationToken) -> Self {
        let most = Amount { count: MAX, bytes: 0 };
        Self { places: Gate::new(Bounds { most, most_each: MAX }), abort }
    }

    /// Room for one more of a credential.
    pub(super) fn place(&self, credential: Fingerprint) -> Result<Share, Problem> {
        self.places.enter(credential, Amount { count: 1, bytes: 0 }, 1).map_err(|_| {
            let mut problem =
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Too many upgraded connections are open.");
            problem.retry_after = Some(Duration::from_secs(10));
            problem.code("too_many_upgrades")
        })
    }

    /// Carries bytes both ways, until both sides have ended or one has failed. `shares` are of the bounds that count it.
    pub(super) fn join(&self, client: OnUpgrade, provider: OnUpgrade, shares: (Share, Share)) {
        let abort = self.abort.clone();
        tokio::spawn(async move {
            let carried = abort.run_until_cancelled(carry(client, provider)).await;
            if let Some(Err(error)) = carried {
                tracing::debug!(%error, "upgraded connection ended");
            }
            drop(shares);
        });
    }
}

async fn carry(client: OnUpgrade, provider: OnUpgrade) -> std::io::Result<()> {
    let (client, provider) = tokio::try_join!(client, provider).map_err(std::io::Error::other)?;
    tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(provider)).await?;
    Ok(())
}
