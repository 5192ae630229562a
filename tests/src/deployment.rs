//! The whole of llm-proxy in this process, against a simulated provider: on the bus within the process, or with every
//! role on a connection of its own to a real nats-server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{ArgMatches, Args, Command};
use common::args::UpstreamArgs;
use common::bus::{Bus, MemoryBus, NatsBus, NatsOptions};
use common::seal::Keyring;
use common::service::hardening;
use common::subjects::Subjects;
use common::world::World;
use simulator::{Config, Handle, Simulator};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::meeting::Meeting;
use crate::nats::NatsServer;

/// The secret of every deployment on NATS.
const SECRET: &[u8] = b"a secret of tests, thirty-two bytes and more";
/// First token of the subjects.
const PREFIX: &str = "llmp";
/// What a role may take beyond the drain timeout.
const GRACE: Duration = Duration::from_secs(20);

/// What the services meet on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One bus within the process.
    Embedded,
    /// A nats-server of its own; every role has its own connection and its own keys from one secret.
    Nats,
}

/// What a deployment is made of, and flags other than the short times of tests.
#[derive(Debug, Clone)]
pub struct Tweaks {
    /// How many ingresses there are; more than one on NATS only.
    pub ingresses: usize,
    /// How many batchers.
    pub batchers: usize,
    /// How many submitters.
    pub submitters: usize,
    /// Flags of the ingress.
    pub ingress: Vec<&'static str>,
    /// Flags of the batcher; a flag given here goes before the default of [`Tweaks`].
    pub batcher: Vec<&'static str>,
    /// Flags of the submitter.
    pub submitter: Vec<&'static str>,
    /// How long the roles may go on once they are told to stop.
    pub drain_timeout: Duration,
}

impl Default for Tweaks {
    fn default() -> Self {
        Self {
            ingresses: 1,
            batchers: 1,
            submitters: 1,
            ingress: vec!["--listen=127.0.0.1:0"],
            batcher: vec!["--window=300ms", "--idle=100ms"],
            submitter: vec!["--poll-min=50ms", "--poll-max=300ms", "--settle=1s"],
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// A running deployment. Dropped, it is gone at once; [`Deployment::stop`] ends it as a signal would.
#[derive(Debug)]
pub struct Deployment {
    /// The provider.
    pub simulator: Handle,
    /// The server, on [`Kind::Nats`].
    pub nats: Option<NatsServer>,
    addresses: Vec<SocketAddr>,
    shutdown: CancellationToken,
    roles: JoinSet<(&'static str, Result<()>)>,
    patience: Duration,
}

/// What is left of a deployment that has stopped.
#[derive(Debug)]
pub struct Stopped {
    /// The provider, still running.
    pub simulator: Handle,
}

impl Deployment {
    /// Starts everything and returns when calls can be taken and all services know each other.
    ///
    /// # Errors
    /// If something does not start: no nats-server, an unusable flag.
    pub async fn start(kind: Kind, config: Config, tweaks: Tweaks) -> Result<Self> {
        hardening::raise_open_files()?;
        let simulator = Simulator::start(config).await?;
        let upstreams: UpstreamArgs = parse(&[&format!("--openai-url={}", simulator.url())])?;
        let nats = match kind {
            Kind::Embedded => None,
            Kind::Nats => Some(tokio::task::spawn_blocking(NatsServer::start).await??),
        };
        let worlds = Worlds::new(nats.as_ref(), tweaks.drain_timeout);
        let meeting = match nats {
            Some(_) => Some(Meeting::open(worlds.bus().await?, Subjects::new(PREFIX)).await?),
            None => None,
        };
        let shutdown = CancellationToken::new();
        let mut roles = JoinSet::new();
        let mut addresses = Vec::new();
        for _ in 0..tweaks.submitters {
            let (args, world) = (parse::<submitter::Args>(&tweaks.submitter)?, worlds.another().await?);
            let role = submitter::run(args, upstreams.clone(), world, shutdown.clone());
            roles.spawn(async { ("submitter", role.await) });
        }
        for _ in 0..tweaks.batchers {
            let (args, world) = (parse::<batcher::Args>(&tweaks.batcher)?, worlds.another().await?);
            let role = batcher::run(args, world, shutdown.clone());
            roles.spawn(async { ("batcher", role.await) });
        }
        for _ in 0..tweaks.ingresses {
            let (args, world) = (parse::<ingress::Args>(&tweaks.ingress)?, worlds.another().await?);
            let bound = ingress::bind(&args).await?;
            addresses.push(bound.local_addr());
            let role = bound.run(upstreams.clone(), world, shutdown.clone());
            roles.spawn(async { ("ingress", role.await) });
        }
        if let Some(mut meeting) = meeting {
            meeting.complete(tweaks.submitters + tweaks.batchers + tweaks.ingresses).await?;
        }
        let patience = tweaks.drain_timeout + GRACE;
        Ok(Self { simulator, nats, addresses, shutdown, roles, patience })
    }

    /// Base URL for clients, ending in `/v1`, of the first ingress.
    pub fn base_url(&self) -> String {
        self.base_urls().swap_remove(0)
    }

    /// Base URLs of all ingresses.
    pub fn base_urls(&self) -> Vec<String> {
        self.addresses.iter().map(|address| format!("http://{address}/v1")).collect()
    }

    /// How many requests the first ingress holds, by its `/stats`.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn held(&self) -> Result<u64> {
        let page = reqwest::get(format!("http://{}/stats", self.addresses[0])).await?.bytes().await?;
        let stats: serde_json::Value = serde_json::from_slice(&page)?;
        stats["held"]["requests"].as_u64().context("/stats does not tell what is held")
    }

    /// Ends all services in order and returns when none runs any more.
    ///
    /// # Errors
    /// If a service fails, crashes, or does not end in time.
    pub async fn stop(mut self) -> Result<Stopped> {
        self.shutdown.cancel();
        let all_ended = async {
            while let Some(ended) = self.roles.join_next().await {
                let (name, result) = ended.context("a role crashed")?;
                result.with_context(|| format!("the {name} failed"))?;
            }
            Ok(())
        };
        match tokio::time::timeout(self.patience, all_ended).await {
            Ok(result) => result.map(|()| Stopped { simulator: self.simulator }),
            Err(_) => bail!("{} services did not end within {:?}", self.roles.len(), self.patience),
        }
    }
}

impl Stopped {
    /// Checks that nothing is left behind: no file, no batch that still runs, nothing billed twice, nothing done that
    /// a careful client does not do.
    ///
    /// # Errors
    /// What was left.
    pub fn check(&self) -> Result<()> {
        let state = self.simulator.state();
        if state.files_left > 0 || state.batches_active > 0 {
            bail!(
                "left at the provider: files {:?}, {} running batches",
                state.file_names_left,
                state.batches_active
            );
        }
        if state.billed_twice > 0 || state.violation_count > 0 {
            bail!("billed twice: {:?}; violations: {:?}", state.billed_twice_list, state.violations);
        }
        Ok(())
    }
}

/// Makes the surroundings of roles.
struct Worlds {
    shared: Option<World>,
    url: String,
    drain_timeout: Duration,
}

impl Worlds {
    fn new(nats: Option<&NatsServer>, drain_timeout: Duration) -> Self {
        let embedded = || world(MemoryBus::new(), Keyring::for_one_process(), drain_timeout);
        let shared = nats.is_none().then(embedded);
        Self { shared, url: nats.map(NatsServer::url).unwrap_or_default(), drain_timeout }
    }

    async fn bus(&self) -> Result<Arc<dyn Bus>> {
        Ok(NatsBus::connect(NatsOptions::new(&self.url)).await?)
    }

    async fn another(&self) -> Result<World> {
        match &self.shared {
            Some(shared) => Ok(shared.clone()),
            None => Ok(world(self.bus().await?, Keyring::new(&SECRET.to_vec().into())?, self.drain_timeout)),
        }
    }
}

fn world(bus: Arc<dyn Bus>, keyring: Keyring, drain_timeout: Duration) -> World {
    World { bus, subjects: Subjects::new(PREFIX), keyring: Arc::new(keyring), drain_timeout }
}

/// Flags as a role's own command line would give them.
fn parse<T: Args>(flags: &[impl AsRef<str>]) -> Result<T> {
    let command = T::augment_args(Command::new("role").no_binary_name(true));
    let matches: ArgMatches = command.try_get_matches_from(flags.iter().map(AsRef::as_ref))?;
    Ok(T::from_arg_matches(&matches)?)
}
