//! `llm-proxy ingress`: one service on NATS.

use clap::Args;
use common::args::{AdminArgs, BusArgs, DrainArgs, LogArgs, SecretArgs};
use providers::{UpstreamArgs, Upstreams};
use tracing::info;

use crate::startup;
use crate::supervise::Roles;

/// Flags of an ingress.
#[derive(Debug, Clone, Args)]
pub(crate) struct IngressArgs {
    #[command(flatten)]
    ingress: ::ingress::Args,
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
/// The configuration cannot be used, a port is taken, or the service failed.
pub(crate) fn run(args: IngressArgs) -> anyhow::Result<()> {
    startup::run(&args.log, async |shutdown| {
        startup::require_nats(&args.bus)?;
        let upstreams = Upstreams::load(&args.upstreams)?;
        startup::room_for_calls(args.ingress.max_held);
        let keyring = startup::keyring(&args.bus, &args.secret)?;
        let bus = startup::bus(&args.bus, "ingress").await?;
        let world = startup::world(&args.bus, bus, keyring, &args.drain);
        let bound = bind(&args.ingress, &args.admin).await?;
        let _admin = startup::admin(&args.admin, &world, &shutdown, Some(bound.pages())).await?;
        announce(&bound, &upstreams);
        let mut roles = Roles::new(shutdown.clone(), args.drain.drain_timeout);
        roles.start("ingress", bound.run(upstreams, world, shutdown));
        roles.wait().await
    })
}

/// Takes the port of calls, which has no routes for operators if those have a port of their own.
///
/// # Errors
/// The port cannot be had, or a file that was named cannot be used.
pub(crate) async fn bind(args: &::ingress::Args, admin: &AdminArgs) -> anyhow::Result<::ingress::Bound> {
    let bound = ::ingress::bind(args).await?;
    Ok(if admin.admin_listen.is_some() { bound.without_admin() } else { bound })
}

/// Logs where calls are taken and where they go.
pub(crate) fn announce(bound: &::ingress::Bound, upstreams: &Upstreams) {
    info!("listening on {}", bound.url());
    startup::show(upstreams);
}
