//! The simulated provider and the proxy in front of it, in this process.

use std::net::SocketAddr;

use anyhow::Context as _;
use clap::builder::Resettable;
use clap::{Args as _, FromArgMatches as _};
use common::bus::MemoryBus;
use common::seal::Keyring;
use providers::Upstreams;
use simulator::{Config, Handle, Simulator};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::commands::serve::{self, ServeArgs};
use crate::startup;
use crate::supervise::Roles;

/// Where the proxy listens unless the port is taken.
const PROXY: &str = "127.0.0.1:3030";
/// Where the simulator listens unless the port is taken.
const SIMULATOR: &str = "127.0.0.1:4010";
/// Any free port.
const ANYWHERE: &str = "127.0.0.1:0";

/// Everything that a demo needs.
pub(crate) struct Stage {
    /// The provider.
    pub(crate) simulator: Handle,
    proxy: SocketAddr,
    roles: tokio::task::JoinHandle<anyhow::Result<()>>,
    shutdown: CancellationToken,
}

impl Stage {
    /// Starts the simulator and all services. They stop when `shutdown` is cancelled.
    ///
    /// # Errors
    /// No port can be listened on.
    pub(crate) async fn build(shutdown: CancellationToken) -> anyhow::Result<Self> {
        let simulator = Simulator::start_on(listener().await?, calm())?;
        let (args, bound) = bind(&simulator.url()).await?;
        let proxy = bound.local_addr();
        let world = startup::world(&args.bus, MemoryBus::new(), Keyring::for_one_process(), &args.drain);
        let upstreams = Upstreams::load(&args.upstreams)?;
        let roles: Roles = serve::start(args, upstreams, bound, world, shutdown.clone());
        Ok(Self { simulator, proxy, roles: tokio::spawn(roles.wait()), shutdown })
    }

    /// The proxy's address without a path.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.proxy)
    }

    /// Waits until a signal, or a failure of a service, ends it all.
    pub(crate) async fn until_stopped(&self) {
        self.shutdown.cancelled().await;
    }

    /// Stops the services first, so that they can tidy up at the provider, and then the provider.
    ///
    /// # Errors
    /// Why a service failed.
    pub(crate) async fn tear_down(self) -> anyhow::Result<()> {
        self.shutdown.cancel();
        let result = self.roles.await.context("the services crashed");
        self.simulator.shutdown().await;
        result?
    }
}

/// Batches that take long enough to be seen.
fn calm() -> Config {
    use std::time::Duration;
    let batch_time = Duration::from_millis(1500);
    Config { validate_time: Duration::from_millis(200), batch_time, keep_bodies: 0, ..Config::default() }
}

async fn listener() -> anyhow::Result<TcpListener> {
    match TcpListener::bind(SIMULATOR).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind(ANYWHERE).await.context("cannot listen on any port for the simulator"),
    }
}

async fn bind(openai_url: &str) -> anyhow::Result<(ServeArgs, ingress::Bound)> {
    let args = serve_args(PROXY, openai_url)?;
    if let Ok(bound) = ingress::bind(&args.ingress).await {
        return Ok((args, bound));
    }
    let args = serve_args(ANYWHERE, openai_url)?;
    let bound = ingress::bind(&args.ingress).await?;
    Ok((args, bound))
}

/// Flags of `serve` with short times, so that nobody gets bored. The variables of the user's own deployment do not
/// count here: a demo must not end up on a real bus.
fn serve_args(listen: &str, openai_url: &str) -> anyhow::Result<ServeArgs> {
    let command =
        ServeArgs::augment_args(clap::Command::new("serve")).mut_args(|arg| arg.env(Resettable::Reset));
    let words = [
        "serve",
        "--listen",
        listen,
        "--openai-url",
        openai_url,
        "--window=1s",
        "--idle=250ms",
        "--poll-min=250ms",
        "--poll-max=1s",
        "--drain-timeout=5s",
    ];
    let matches = command.try_get_matches_from(words).context("the demo's own flags")?;
    ServeArgs::from_arg_matches(&matches).context("the demo's own flags")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demos_flags_are_flags_of_serve() {
        let args = serve_args(PROXY, "http://127.0.0.1:4010/v1").unwrap();
        assert_eq!(args.upstreams.openai_url, "http://127.0.0.1:4010/v1");
        assert!(args.bus.nats.is_none());
    }
}
