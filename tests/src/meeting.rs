//! Waiting until all services on a bus know each other.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use common::bus::{Bus, Subscription};
use common::subjects::Subjects;
use common::wire::{Heartbeat, Role};
use futures_util::future::select_all;
use prost::Message as _;

/// Heartbeats that may wait to be read.
const CAPACITY: usize = 1_000;
/// Two heartbeats of everybody take about two seconds; this is for a machine that is busy elsewhere.
const PATIENCE: Duration = Duration::from_secs(60);

/// A listener to all heartbeats.
pub(crate) struct Meeting {
    _bus: Arc<dyn Bus>,
    ears: Vec<Subscription>,
}

impl Meeting {
    /// Listens from now on; before any service is started.
    pub(crate) async fn open(bus: Arc<dyn Bus>, subjects: Subjects) -> Result<Self> {
        let mut status = bus.status();
        let up = status.wait_for(|status| *status == common::bus::Status::Up);
        tokio::time::timeout(PATIENCE, up).await.context("the bus does not come up")??;
        let mut ears = Vec::new();
        for role in [Role::Ingress, Role::Batcher, Role::Submitter] {
            ears.push(bus.subscribe(&subjects.heartbeats(role), CAPACITY).await?);
        }
        Ok(Self { _bus: bus, ears })
    }

    /// Waits until so many services know each other: a service listens before it first speaks, so all know all when
    /// everybody has spoken after the last one's first word.
    pub(crate) async fn complete(&mut self, services: usize) -> Result<()> {
        let met = async {
            let mut spoken: HashSet<Bytes> = HashSet::new();
            while spoken.len() < services {
                spoken.insert(self.hear().await?.pid);
            }
            let mut again = HashSet::new();
            while again.len() < services {
                again.insert(self.hear().await?.pid);
            }
            Ok(())
        };
        tokio::time::timeout(PATIENCE, met).await.context("the services do not meet")?
    }

    async fn hear(&mut self) -> Result<Heartbeat> {
        let heard = self.ears.iter_mut().map(|ear| Box::pin(ear.next()));
        let message = select_all(heard).await.0.context("the bus ended")?;
        Ok(Heartbeat::decode(message.payload)?)
    }
}
