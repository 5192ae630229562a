//! One deployment of real processes with a nats-server and a provider of its own.

use std::collections::BTreeMap;
use std::env;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use common::ids::Pid;
use common::wire::Role;
use reqwest::Client;
use serde_json::Value;
use simulator::{Config, Handle, Op, Rule, Simulator};
use tempfile::TempDir;

use super::client::{Answer, Calls, Manner};
use super::forwarder::Forwarder;
use super::report::{Expect, Outcome, judge};
use super::spy::Spy;
use crate::calls::Call;
use crate::nats::NatsServer;
use crate::processes::{LOOK, PATIENCE, Process, executable};

const SECRET: &str = "a secret of tests, thirty-two bytes and more";
/// Longer than any recovery takes on a slow machine.
const RECOVERY: Duration = Duration::from_secs(150);

/// What a deployment is made of.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Used in names of files.
    pub name: &'static str,
    /// How many ingresses, batchers and submitters.
    pub counts: [usize; 3],
    /// A batch is sealed with so many requests,
    pub seal_at: usize,
    /// or after this time.
    pub window: &'static str,
    /// `--settle` of the submitters.
    pub settle: &'static str,
    /// Of the submitters too.
    pub poll_max: &'static str,
    /// `--drain-timeout` of the ingresses.
    pub drain: &'static str,
    /// The provider.
    pub config: Config,
    /// What it does wrong.
    pub faults: Vec<Rule>,
    /// Whether the first ingress reaches NATS through a cable that can be cut.
    pub cable: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            name: "",
            counts: [1, 1, 2],
            seal_at: 20,
            window: "5s",
            settle: "2s",
            poll_max: "500ms",
            drain: "30s",
            config: Config::default(),
            faults: Vec::new(),
            cable: false,
        }
    }
}

/// One process of a deployment.
#[derive(Debug)]
pub struct Member {
    /// It.
    pub process: Process,
    /// Its name on the bus; a new one after each start.
    pub pid: Pid,
    /// Of an ingress: where it takes calls.
    pub address: Option<SocketAddr>,
}

impl Member {
    /// Base URL of an ingress, else empty.
    pub fn url(&self) -> String {
        self.address.map(|address| format!("http://{address}/v1")).unwrap_or_default()
    }
}

/// A running deployment; dropped, it is gone.
pub struct Stage {
    /// The provider.
    pub simulator: Handle,
    /// The nats-server.
    pub nats: NatsServer,
    /// Listens to it.
    pub spy: Spy,
    /// Between the first ingress and the nats-server.
    pub cable: Option<Forwarder>,
    /// By role, in the order of their start.
    pub ingresses: Vec<Member>,
    /// See above.
    pub batchers: Vec<Member>,
    /// See above.
    pub submitters: Vec<Member>,
    markers: Vec<String>,
    /// API key of calls to come.
    pub key: &'static str,
    /// Last, so that it outlives the processes that write to it.
    logs: Logs,
}

/// The moment of a crash, and what the provider had been asked until then.
#[derive(Debug, Clone)]
pub struct Crash {
    /// When.
    pub at: Instant,
    /// Calls by kind.
    pub ops: BTreeMap<Op, u64>,
}

impl Stage {
    /// Starts everything; all know each other when this returns.
    ///
    /// # Errors
    /// Something does not start.
    pub async fn start(setup: Setup) -> Result<Self> {
        let program = executable()?;
        let logs = Logs::new(setup.name)?;
        let simulator = Simulator::start(setup.config).await?;
        simulator.set_faults(setup.faults);
        let nats = tokio::task::spawn_blocking(NatsServer::start).await??;
        let spy = Spy::start(&nats.url()).await?;
        let cable = match setup.cable {
            true => Some(Forwarder::to(SocketAddr::from(([127, 0, 0, 1], nats.port()))).await?),
            false => None,
        };
        let upstream = format!("--openai-url={}", simulator.url());
        let flags = |role| match role {
            Role::Ingress => vec![
                "ingress".to_owned(),
                "--listen=127.0.0.1:0".into(),
                upstream.clone(),
                format!("--drain-timeout={}", setup.drain),
            ],
            Role::Batcher => vec![
                "batcher".to_owned(),
                format!("--window={}", setup.window),
                format!("--idle={}", setup.window),
                format!("--max-requests={}", setup.seal_at),
            ],
            _ => vec![
                "submitter".to_owned(),
                upstream.clone(),
                "--poll-min=100ms".into(),
                format!("--poll-max={}", setup.poll_max),
                format!("--settle={}", setup.settle),
            ],
        };
        let mut members: [Vec<Member>; 3] = Default::default();
        for (i, role) in [Role::Ingress, Role::Batcher, Role::Submitter].into_iter().enumerate() {
            for n in 0..setup.counts[i] {
                let mut args = flags(role);
                args.push(match cable.as_ref().filter(|_| (i, n) == (0, 0)) {
                    Some(cable) => format!("--nats=nats://{}", cable.address()),
                    None => format!("--nats={}", nats.url()),
                });
                let before = spy.known(role);
                let name = format!("{}{n}", args[0]);
                let process = Process::start(&program, &name, &args, &variables(), logs.dir())?;
                let pid = spy.newcomer(role, &before).await.with_context(|| process.log())?;
                let address = match role {
                    Role::Ingress => Some(process.says("listening on http://").await?.trim().parse()?),
                    _ => None,
                };
                members[i].push(Member { process, pid, address });
            }
        }
        let everybody: Vec<Pid> = members.iter().flatten().map(|member| member.pid).collect();
        spy.meeting(&everybody).await?;
        let [ingresses, batchers, submitters] = members;
        let (markers, key) = (Vec::new(), "sk-one");
        Ok(Self { simulator, nats, spy, cable, ingresses, batchers, submitters, markers, key, logs })
    }

    /// Base URL of an ingress.
    pub fn url(&self, ingress: usize) -> String {
        self.ingresses[ingress].url()
    }

    /// Makes so many calls with one key, in turn at these ingresses, and never again.
    ///
    /// # Errors
    /// As [`Calls::make`].
    pub fn calls(&mut self, name: &str, count: usize, ingresses: &[usize]) -> Result<Calls> {
        let urls = ingresses.iter().map(|ingress| self.url(*ingress)).collect();
        self.calls_as(name, count, &Manner::at(urls))
    }

    /// The same in another manner.
    ///
    /// # Errors
    /// As [`Calls::make`].
    pub fn calls_as(&mut self, name: &str, count: usize, manner: &Manner) -> Result<Calls> {
        self.make(Call::spread(name, count, 1, 1), manner)
    }

    /// Makes the same call twice: two samples of one request.
    ///
    /// # Errors
    /// As [`Calls::make`].
    pub fn samples(&mut self, name: &str, manner: &Manner) -> Result<Calls> {
        let call = Call::spread(name, 1, 1, 1);
        self.make([call.clone(), call].concat(), manner)
    }

    fn make(&mut self, mut calls: Vec<Call>, manner: &Manner) -> Result<Calls> {
        calls.iter_mut().for_each(|call| self.key.clone_into(&mut call.key));
        let calls = Calls::make(&calls, manner)?;
        self.markers.extend_from_slice(calls.markers());
        Ok(calls)
    }

    /// A cable between callers and an ingress.
    ///
    /// # Errors
    /// There is no such ingress, or no free port.
    pub async fn callers_cable(&self, ingress: usize) -> Result<Forwarder> {
        Forwarder::to(self.ingresses[ingress].address.context("an ingress takes calls")?).await
    }

    /// Waits until `/stats` of an ingress tells of so many at this place, a JSON pointer.
    ///
    /// # Errors
    /// It never does.
    pub async fn told(&self, ingress: usize, place: &str, count: u64) -> Result<()> {
        let url = self.url(ingress).replace("/v1", "/stats");
        let client = Client::builder().no_proxy().build()?;
        let began = Instant::now();
        loop {
            let page: Value = serde_json::from_slice(&client.get(&url).send().await?.bytes().await?)?;
            if page.pointer(place).and_then(Value::as_u64) == Some(count) {
                return Ok(());
            }
            ensure!(began.elapsed() < PATIENCE, "waited in vain until {place} is {count}: {page}");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until the provider has received so many calls of a kind.
    ///
    /// # Errors
    /// They do not come.
    pub async fn received(&self, op: Op, count: u64) -> Result<()> {
        self.until(&format!("the provider received {count} {op:?}"), || self.simulator.received(op) >= count)
            .await
    }

    /// Waits until something holds.
    ///
    /// # Errors
    /// It never does.
    pub async fn until(&self, what: &str, holds: impl Fn() -> bool) -> Result<()> {
        let began = Instant::now();
        while !holds() {
            if began.elapsed() > PATIENCE {
                bail!("waited in vain until {what}");
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// The submitter of this name on the bus.
    ///
    /// # Errors
    /// It is none of ours.
    pub fn submitter(&mut self, pid: Pid) -> Result<&mut Process> {
        let found = self.submitters.iter_mut().find(|member| member.pid == pid);
        Ok(&mut found.context("a submitter of somebody else")?.process)
    }

    /// Now.
    pub fn crash(&self) -> Crash {
        Crash { at: Instant::now(), ops: self.simulator.state().ops }
    }

    /// Kills a submitter.
    ///
    /// # Errors
    /// It is none of ours.
    pub fn kill_submitter(&mut self, pid: Pid) -> Result<Crash> {
        self.submitter(pid)?.kill()?;
        Ok(self.crash())
    }

    /// Lets the logs stay, and says where.
    pub fn keep_logs(&mut self) -> &Path {
        self.logs.keep()
    }

    /// Waits for all answers and judges what came of it.
    ///
    /// # Errors
    /// None so far; what is wrong is in the outcome.
    pub async fn conclude(self, crash: Crash, calls: Calls, expect: Expect) -> Result<Outcome> {
        let answers = calls.all(RECOVERY).await;
        self.conclude_with(crash, answers, expect).await
    }

    /// The same with answers that were waited for.
    ///
    /// # Errors
    /// None so far.
    pub async fn conclude_with(
        mut self,
        crash: Crash,
        answers: Vec<Answer>,
        expect: Expect,
    ) -> Result<Outcome> {
        let outcome = judge(&self.simulator, &crash, &self.markers, &answers, expect).await;
        match outcome.is_wrong() {
            true => Ok(outcome.note(format!("logs: {}", self.keep_logs().display()))),
            false => Ok(outcome),
        }
    }
}

/// Waits for answers as long as any recovery takes.
pub async fn all(calls: Calls) -> Vec<Answer> {
    calls.all(RECOVERY).await
}

/// Environment of every process.
pub fn variables() -> Vec<(&'static str, String)> {
    let log = env::var("LLM_PROXY_LOG").unwrap_or_else(|_| "info".into());
    vec![
        ("LLM_PROXY_CLUSTER_SECRET", SECRET.into()),
        ("LLM_PROXY_LOG", log),
        ("NO_COLOR", "1".into()),
        ("NO_PROXY", "127.0.0.1".into()),
    ]
}

/// A directory for logs: `$CHAOS_LOGS/<name>`, which stays, else one that goes unless something is wrong.
#[derive(Debug)]
pub enum Logs {
    /// Goes with this.
    Passing(TempDir),
    /// Stays.
    Kept(PathBuf),
}

impl Logs {
    /// Makes it.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn new(name: &str) -> Result<Self> {
        let Some(parent) = env::var_os("CHAOS_LOGS") else {
            return Ok(Self::Passing(tempfile::Builder::new().prefix(&format!("chaos-{name}-")).tempdir()?));
        };
        let dir = Path::new(&parent).join(name);
        std::fs::create_dir_all(&dir)?;
        Ok(Self::Kept(dir))
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        match self {
            Self::Passing(dir) => dir.path(),
            Self::Kept(dir) => dir,
        }
    }

    /// Lets it stay.
    pub fn keep(&mut self) -> &Path {
        if let Self::Passing(dir) = self {
            dir.disable_cleanup(true);
        }
        self.dir()
    }
}
