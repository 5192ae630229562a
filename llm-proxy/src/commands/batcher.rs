//! `llm-proxy batcher`: one service on NATS, without the cluster secret.

use clap::Args;
use common::args::{AdminArgs, BusArgs, DrainArgs, LogArgs};
use common::seal::Keyring;
use providers::{ConfigArgs, Upstreams};

use crate::startup;
use crate::supervise::Roles;

/// Flags of a batcher.
#[derive(Debug, Clone, Args)]
pub(crate) struct BatcherArgs {
    #[command(flatten)]
    batcher: ::batcher::Args,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    bus: BusArgs,
    #[command(flatten)]
    drain: DrainArgs,
    #[command(flatten)]
    admin: AdminArgs,
    #[command(flatten)]
    log: LogArgs,
}

/// Serves until a signal ends it.
///
/// # Errors
/// The configuration cannot be used, or the service failed.
pub(crate) fn run(args: BatcherArgs) -> anyhow::Result<()> {
    startup::run(&args.log, async |shutdown| {
        startup::require_nats(&args.bus)?;
        let upstreams = Upstreams::configured(&args.config)?;
        let bus = startup::bus(&args.bus, "batcher").await?;
        // Keys that nobody else has: a batcher opens nothing and proves nothing.
        let world = startup::world(&args.bus, bus, Keyring::for_one_process(), &args.drain);
        let _admin = startup::admin(&args.admin, &world, &shutdown, None).await?;
        let mut roles = Roles::new(shutdown.clone(), args.drain.drain_timeout);
        roles.start("batcher", ::batcher::run(args.batcher.clone(), upstreams, world, shutdown));
        roles.wait().await
    })
}
