//! `llm-proxy submitter`: one service on NATS.

use clap::Args;
use common::args::{AdminArgs, BusArgs, DrainArgs, LogArgs, SecretArgs};
use providers::{UpstreamArgs, Upstreams};

use crate::startup;
use crate::supervise::Roles;

/// Flags of a submitter.
#[derive(Debug, Clone, Args)]
pub(crate) struct SubmitterArgs {
    #[command(flatten)]
    submitter: ::submitter::Args,
    #[command(flatten)]
    upstreams: UpstreamArgs,
    #[command(flatten)]
    bus: BusArgs,
    #[command(flatten)]
    secret: SecretArgs,
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
pub(crate) fn run(args: SubmitterArgs) -> anyhow::Result<()> {
    startup::run(&args.log, async |shutdown| {
        startup::require_nats(&args.bus)?;
        let upstreams = Upstreams::load(&args.upstreams)?;
        let keyring = startup::keyring(&args.bus, &args.secret)?;
        let bus = startup::bus(&args.bus, "submitter").await?;
        let world = startup::world(&args.bus, bus, keyring, &args.drain);
        let _admin = startup::admin(&args.admin, &world, &shutdown, None).await?;
        startup::show(&upstreams);
        let mut roles = Roles::new(shutdown.clone(), args.drain.drain_timeout);
        let role = ::submitter::run(args.submitter.clone(), upstreams, world, shutdown);
        roles.start("submitter", role);
        roles.wait().await
    })
}
