//! Takes sealed batches through a provider's Batch API and delivers every result.

mod args;
pub mod core;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod openai;
mod shell;

pub use args::{Args, OnExit};
use common::args::UpstreamArgs;
use common::world::World;
use tokio_util::sync::CancellationToken;

/// Runs a submitter until `shutdown`, then until what it holds is over or the drain timeout has passed.
///
/// # Errors
/// If it cannot start: an unusable base URL, no root certificates.
pub async fn run(
    args: Args,
    upstreams: UpstreamArgs,
    world: World,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    shell::run(args, &upstreams.openai_url, world, shutdown).await
}
