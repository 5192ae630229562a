//! What every command does before its own work: logs, limits, signals, the bus and the keys.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use common::args::{AdminArgs, BusArgs, DrainArgs, LogArgs, SecretArgs};
use common::bus::{Bus, MemoryBus, NatsBus, NatsOptions, NatsTls, Status};
use common::seal::Keyring;
use common::service::admin::{self, Pages, Routes};
use common::service::{ConfigError, hardening, logging, panics, secret, shutdown};
use common::subjects::Subjects;
use common::world::World;
use providers::Upstreams;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How long tasks that block a thread may go on after everything else has ended.
const LINGER: Duration = Duration::from_secs(1);

/// Runs a command's work in a process that is set up for it. The token is cancelled by the first signal.
///
/// # Errors
/// A bad `--log`, or whatever the work fails with.
pub(crate) fn run(
    log: &LogArgs,
    work: impl AsyncFnOnce(CancellationToken) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    run_bare(log, async || {
        forbid_dumps();
        let shutdown = shutdown::on_signals().context("cannot listen for signals")?;
        work(shutdown).await
    })
}

/// The same for a command that starts another program, which inherits much of what is set up: signals and
/// [`forbid_dumps`] are left to the command.
///
/// # Errors
/// A bad `--log`, or whatever the work fails with.
pub(crate) fn run_bare<T>(log: &LogArgs, work: impl AsyncFnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    logging::init(log)?;
    panics::log_without_state();
    // One library for all of TLS. It fails only if a choice was made before, and this is the first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    let result = runtime.block_on(work());
    runtime.shutdown_timeout(LINGER);
    result
}

/// Forbids core dumps of this process, and of the programs that it starts from now on.
pub(crate) fn forbid_dumps() {
    if let Err(error) = hardening::forbid_dumps() {
        warn!(%error, "a crash may leave a core dump with keys and prompts in it");
    }
}

/// Raises the limit of open files for a role that holds calls, and says so if it is too low for them. Returns the
/// limit, or none where the system does not tell.
pub(crate) fn room_for_calls(max_held: usize) -> Option<u64> {
    let limit = hardening::raise_open_files()
        .inspect_err(|error| warn!(%error, "the limit of open files stays as it is"))
        .ok()?;
    if !hardening::files_suffice(limit, max_held as u64) {
        warn!(
            limit,
            max_held,
            "open files are limited to less than --max-held needs: every waiting call is an open connection; raise the \
             hard limit (ulimit -Hn, LimitNOFILE=, --ulimit nofile=) or lower --max-held"
        );
    }
    Some(limit)
}

/// The URL of the NATS servers. An empty variable is as good as none.
pub(crate) fn nats_url(bus: &BusArgs) -> Option<&str> {
    bus.nats.as_deref().map(str::trim).filter(|url| !url.is_empty())
}

/// The URL of NATS for a role that is nothing without it.
///
/// # Errors
/// [`ConfigError`] if there is none.
pub(crate) fn require_nats(bus: &BusArgs) -> Result<(), ConfigError> {
    let missing = || ConfigError::new("--nats (LLM_PROXY_NATS) is empty; write it as nats://host:4222");
    nats_url(bus).map(drop).ok_or_else(missing)
}

/// Connects to NATS, or makes a bus within the process where no URL was given. NATS may be away: the bus connects
/// when it comes.
///
/// # Errors
/// [`ConfigError`] for what no retry mends: a bad URL, files that cannot be used, a bus that anybody may join.
pub(crate) async fn bus(args: &BusArgs, name: &str) -> Result<Arc<dyn Bus>, ConfigError> {
    let Some(url) = nats_url(args) else { return Ok(MemoryBus::new()) };
    let tls = NatsTls {
        ca_file: args.nats_ca.clone(),
        cert_file: args.nats_cert.clone(),
        key_file: args.nats_key.clone(),
    };
    let options = NatsOptions {
        credentials_file: args.nats_credentials.clone(),
        nkey_file: args.nats_nkey.clone(),
        tls,
        name: Some(format!("llm-proxy {name}")),
        ..NatsOptions::new(url)
    };
    let bad = |error| ConfigError::new(format_args!("--nats: {error}"));
    let unguarded = options.unguarded().map_err(bad)?;
    if !args.insecure_bus && !unguarded.is_empty() {
        return Err(no_login(&unguarded.join(", ")));
    }
    let bus: Arc<dyn Bus> = NatsBus::connect(options).await.map_err(bad)?;
    info!(servers = without_login(url), "the bus is NATS");
    Ok(bus)
}

fn no_login(hosts: &str) -> ConfigError {
    ConfigError::new(format_args!(
        "--nats names another machine ({hosts}) without a login: whoever reaches it could take part. Give a user and \
         password (LLM_PROXY_NATS=tls://user:password@host:4222), --nats-credentials, --nats-nkey or --nats-cert; \
         deploy/nats.conf shows the server's side. Or say --insecure-bus if only machines that you trust reach it"
    ))
}

/// The keys of the deployment on NATS; of this process alone where there is no NATS.
///
/// # Errors
/// [`ConfigError`] if the cluster secret is needed and missing, unreadable or too short.
pub(crate) fn keyring(bus: &BusArgs, secret: &SecretArgs) -> Result<Keyring, ConfigError> {
    match nats_url(bus) {
        Some(_) => {
            secret::keyring(std::env::var_os(secret::SECRET_VARIABLE), secret.cluster_secret_file.as_deref())
        }
        None => Ok(Keyring::for_one_process()),
    }
}

/// The surroundings of a role.
pub(crate) fn world(args: &BusArgs, bus: Arc<dyn Bus>, keyring: Keyring, drain: &DrainArgs) -> World {
    let subjects = Subjects::new(&args.subject_prefix);
    World { bus, subjects, keyring: Arc::new(keyring), drain_timeout: drain.drain_timeout }
}

/// Logs where the providers are.
pub(crate) fn show(upstreams: &Upstreams) {
    for upstream in upstreams.iter() {
        let about = upstream.provider.about();
        let name = match upstream.name == about.name {
            true => about.title.to_owned(),
            false => format!("{} ({})", upstream.name, about.title),
        };
        info!("{name} is at {}", without_login(&upstream.base_url));
    }
}

/// Serves the routes for operators, if they are wanted, until what it returns is dropped.
///
/// # Errors
/// The address cannot be listened on.
pub(crate) async fn admin(
    args: &AdminArgs,
    world: &World,
    shutdown: &CancellationToken,
    stats: Option<Pages>,
) -> anyhow::Result<JoinSet<Infallible>> {
    let mut server = JoinSet::new();
    if let Some(address) = args.admin_listen {
        let cannot = || format!("cannot listen on {address} (--admin-listen)");
        let bound = admin::bind(address).await.with_context(cannot)?;
        info!("listening on http://{} for operators", bound.local_addr().with_context(cannot)?);
        server.spawn(bound.run(Routes { ready: readiness(world, shutdown), stats }));
    }
    Ok(server)
}

/// Whether a role can work now: the bus is up, and nobody asked it to end.
fn readiness(world: &World, shutdown: &CancellationToken) -> Box<dyn Fn() -> bool + Send + Sync> {
    let (status, shutdown) = (world.bus.status(), shutdown.clone());
    Box::new(move || *status.borrow() == Status::Up && !shutdown.is_cancelled())
}

/// URLs as they may be shown: without users, passwords and tokens.
pub(crate) fn without_login(urls: &str) -> String {
    let one = |url: &str| {
        let (scheme, rest) = url.trim().split_once("://").unwrap_or(("nats", url.trim()));
        // The last @ ends the login: a password that was not encoded may hold others.
        let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
        // A query may hold a key, too.
        format!("{scheme}://{}", host.split('?').next().unwrap_or_default())
    };
    urls.split(',').map(one).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_are_not_shown() {
        assert_eq!(
            without_login("nats://me:hu@sh@a:4222, tls://token@b,c"),
            "nats://a:4222,tls://b,nats://c"
        );
        assert_eq!(without_login("me:hush@a"), "nats://a");
        assert_eq!(without_login("https://me:hu?sh@a/v1?key=hush"), "https://a/v1");
    }
}
