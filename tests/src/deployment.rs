//! The whole of llm-proxy in this process, against a simulated provider: on the bus within the process, or with every
//! role on a connection of its own to a real nats-server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{ArgMatches, Args, Command};
use common::bus::{Bus, MemoryBus, NatsBus, NatsOptions};
use common::seal::Keyring;
use common::service::hardening;
use common::subjects::Subjects;
use common::world::World;
use providers::{UpstreamArgs, Upstreams};
use simulator::{Config, Handle, Simulator};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::meeting::Meeting;
use crate::nats::NatsServer;

/// The secret of every deployment on NATS.
const SECRET: &[u8] = b"a secret of tests, thirty-two bytes and more";
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
    /// First token of the subjects.
    pub prefix: &'static str,
    /// URL of a nats-server that is there already, instead of one of its own.
    pub server: Option<String>,
}

impl Default for Tweaks {
    fn default() -> Self {
        Self {
            ingresses: 1,
            batchers: 1,
            submitters: 1,
            // Lines that fail on purpose are told at once.
            ingress: vec!["--listen=127.0.0.1:0", "--line-retries=0"],
            batcher: vec!["--window=300ms", "--idle=100ms"],
            submitter: vec!["--poll-min=50ms", "--poll-max=300ms", "--settle=1s"],
            drain_timeout: Duration::from_secs(10),
            prefix: "llmp",
            server: None,
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
    /// Starts everything, with OpenAI as it is simulated, and returns when calls can be taken and all services know each other.
    ///
    /// # Errors
    /// If something does not start: no nats-server, an unusable flag.
    pub async fn start(kind: Kind, config: Config, tweaks: Tweaks) -> Result<Self> {
        let openai = |simulator: &Handle| {
            let args: UpstreamArgs = parse(&[
                format!("--openai-url={}", simulator.url()),
                format!("--anthropic-url={}", simulator.anthropic_url()),
                format!("--gemini-url={}", simulator.anthropic_url()),
            ])?;
            Ok(Upstreams::load(&args)?)
        };
        Self::start_with(kind, config, tweaks, openai).await
    }

    /// As [`Deployment::start`], with upstreams that are told where the simulator is.
    ///
    /// # Errors
    /// As [`Deployment::start`], and those of `upstreams`.
    pub async fn start_with(
        kind: Kind,
        config: Config,
        tweaks: Tweaks,
        upstreams: impl FnOnce(&Handle) -> Result<Upstreams>,
    ) -> Result<Self> {
        hardening::raise_open_files()?;
        let simulator = Simulator::start(config).await?;
        let upstreams = upstreams(&simulator)?;
        let nats = match kind {
            Kind::Embedded => None,
            Kind::Nats if tweaks.server.is_some() => None,
            Kind::Nats => Some(tokio::task::spawn_blocking(NatsServer::start).await??),
        };
        let url = tweaks.server.clone().or(nats.as_ref().map(NatsServer::url));
        let worlds = Worlds::new(url, &tweaks);
        let meeting = match kind {
            Kind::Nats => Some(Meeting::open(worlds.bus().await?, worlds.subjects.clone()).await?),
            Kind::Embedded => None,
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
            let role = batcher::run(args, upstreams.clone(), world, shutdown.clone());
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

    /// Address of the first ingress.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
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
    subjects: Subjects,
    drain_timeout: Duration,
}

impl Worlds {
    fn new(url: Option<String>, tweaks: &Tweaks) -> Self {
        let (subjects, drain_timeout) = (Subjects::new(tweaks.prefix), tweaks.drain_timeout);
        let (bus, keyring) = (MemoryBus::new(), Arc::new(Keyring::for_one_process()));
        let embedded = World { bus, subjects: subjects.clone(), keyring, drain_timeout };
        let shared = url.is_none().then_some(embedded);
        Self { shared, url: url.unwrap_or_default(), subjects, drain_timeout }
    }

    async fn bus(&self) -> Result<Arc<dyn Bus>> {
        Ok(NatsBus::connect(NatsOptions::new(&self.url)).await?)
    }

    async fn another(&self) -> Result<World> {
        match &self.shared {
            Some(shared) => Ok(shared.clone()),
            None => {
                let keyring = Arc::new(Keyring::new(&SECRET.to_vec().into())?);
                let (subjects, drain_timeout) = (self.subjects.clone(), self.drain_timeout);
                Ok(World { bus: self.bus().await?, subjects, keyring, drain_timeout })
            }
        }
    }
}

/// Flags as a role's own command line would give them.
fn parse<T: Args>(flags: &[impl AsRef<str>]) -> Result<T> {
    let command = T::augment_args(Command::new("role").no_binary_name(true));
    let matches: ArgMatches = command.try_get_matches_from(flags.iter().map(AsRef::as_ref))?;
    Ok(T::from_arg_matches(&matches)?)
}
