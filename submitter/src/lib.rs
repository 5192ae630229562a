//! Takes sealed batches through a provider's Batch API and delivers every result.

pub mod api;
mod args;
pub mod core;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod shell;

pub use args::{Args, OnAmbiguous, OnExit};
use common::world::World;
use providers::Upstreams;
use tokio_util::sync::CancellationToken;

/// Runs a submitter until `shutdown`, then until what it holds is over or the drain timeout has passed.
///
/// # Errors
/// If it cannot start: an unusable base URL, no root certificates.
pub async fn run(
    args: Args,
    upstreams: Upstreams,
    world: World,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    shell::run(args, upstreams, world, shutdown).await
}
