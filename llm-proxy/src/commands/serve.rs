//! `llm-proxy serve`: all services in one process.

use clap::Args;
use common::args::{AdminArgs, BusArgs, DrainArgs, LogArgs, SecretArgs};
use common::world::World;
use providers::{UpstreamArgs, Upstreams};
use tokio_util::sync::CancellationToken;

use super::ingress::{announce, bind};
use crate::startup;
use crate::supervise::Roles;

/// Flags of all services.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) ingress: ::ingress::Args,
    #[command(flatten)]
    pub(crate) upstreams: UpstreamArgs,
    #[command(flatten)]
    pub(crate) batcher: ::batcher::Args,
    #[command(flatten)]
    pub(crate) submitter: ::submitter::Args,
    #[command(flatten)]
    pub(crate) bus: BusArgs,
    #[command(flatten)]
    pub(crate) secret: SecretArgs,
    #[command(flatten)]
    pub(crate) drain: DrainArgs,
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

/// Serves until a signal ends it.
///
/// # Errors
/// The configuration cannot be used, a port is taken, or a service failed.
pub(crate) fn run(args: ServeArgs) -> anyhow::Result<()> {
    startup::run(&args.log.clone(), async |shutdown| {
        let upstreams = Upstreams::load(&args.upstreams)?;
        startup::room_for_calls(args.ingress.max_held);
        let keyring = startup::keyring(&args.bus, &args.secret)?;
        let bus = startup::bus(&args.bus, "serve").await?;
        let world = startup::world(&args.bus, bus, keyring, &args.drain);
        let bound = bind(&args.ingress, &args.admin).await?;
        let _admin = startup::admin(&args.admin, &world, &shutdown, Some(bound.pages())).await?;
        announce(&bound, &upstreams);
        start(args, upstreams, bound, world, shutdown).wait().await
    })
}

/// Starts all services on a listener that is bound already.
pub(crate) fn start(
    args: ServeArgs,
    upstreams: Upstreams,
    bound: ::ingress::Bound,
    world: World,
    shutdown: CancellationToken,
) -> Roles {
    let mut roles = Roles::new(shutdown.clone(), args.drain.drain_timeout);
    roles.start("ingress", bound.run(upstreams.clone(), world.clone(), shutdown.clone()));
    roles.start("batcher", ::batcher::run(args.batcher, upstreams.clone(), world.clone(), shutdown.clone()));
    roles.start("submitter", ::submitter::run(args.submitter, upstreams, world, shutdown));
    roles
}
