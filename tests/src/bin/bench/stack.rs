//! The processes that are measured, and the simulated provider beside them.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tempfile::TempDir;
use tests::nats::NatsServer;

use crate::Part;
use crate::process::{Process, Usage, usage};

/// Services take well under a second; this is for a machine that is busy elsewhere.
const START_LIMIT: Duration = Duration::from_secs(60);
/// The secret of the split services; nothing outside this machine ever sees it.
const SECRET: (&str, &str) =
    ("LLM_PROXY_CLUSTER_SECRET", "a secret of the benchmark, of more than thirty-two bytes");
/// Times of the simulated provider besides the batch time.
const VALIDATE: Duration = Duration::from_millis(100);
const FINALIZE: Duration = Duration::from_millis(100);

/// Lines of a service's log that are shown after a failure.
const LAST_LINES: usize = 20;

/// How the services run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// All in one process.
    Serve,
    /// One process each, on a nats-server.
    Split,
}

/// Everything that runs. Dropped, it is gone.
pub(crate) struct Stack {
    /// Where calls are taken.
    pub(crate) address: SocketAddr,
    /// What the provider takes for any batch.
    pub(crate) provider_time: Duration,
    /// Where the service that takes calls has its routes for operators.
    operators: SocketAddr,
    services: Vec<Process>,
    nats: Option<NatsServer>,
    simulator_address: SocketAddr,
    _simulator: Process,
    web: reqwest::Client,
    logs: TempDir,
}

impl Stack {
    /// Starts all processes and returns when they are ready.
    ///
    /// # Errors
    /// If one of them does not start; with what it said.
    pub(crate) async fn start(
        program: &Path,
        shape: Shape,
        batch_time: Duration,
        flags: &[(Part, String)],
        more: &[String],
    ) -> Result<Self> {
        let logs = tempfile::tempdir()?;
        let web = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build()?;
        let (simulator_address, mut simulator) = start_simulator(program, batch_time, logs.path())?;
        wait_for(&web, &format!("http://{simulator_address}/_sim/state"), &mut simulator, logs.path())
            .await?;
        let nats = match shape {
            Shape::Serve => None,
            Shape::Split => Some(tokio::task::spawn_blocking(NatsServer::start).await??),
        };
        let mut stack = Self {
            address: free_address()?,
            operators: free_address()?,
            provider_time: VALIDATE + batch_time + FINALIZE,
            services: Vec::new(),
            nats,
            simulator_address,
            _simulator: simulator,
            web,
            logs,
        };
        stack.start_services(program, flags, more).await?;
        Ok(stack)
    }

    async fn start_services(
        &mut self,
        program: &Path,
        flags: &[(Part, String)],
        more: &[String],
    ) -> Result<()> {
        let of = |part| flags.iter().filter(move |flag| flag.0 == part).map(|flag| flag.1.clone());
        let openai = format!("--openai-url=http://{}/v1", self.simulator_address);
        let listen = format!("--listen={}", self.address);
        let roles: Vec<(&'static str, Vec<String>)> = match &self.nats {
            None => {
                let all = [listen, openai].into_iter().chain(of(Part::Batcher)).chain(of(Part::Submitter));
                vec![("serve", all.collect())]
            }
            Some(nats) => {
                let bus = format!("--nats={}", nats.url());
                let batcher = std::iter::once(bus.clone()).chain(of(Part::Batcher));
                let submitter = [bus.clone(), openai.clone()].into_iter().chain(of(Part::Submitter));
                vec![
                    ("submitter", submitter.collect()),
                    ("batcher", batcher.collect()),
                    ("ingress", vec![bus, openai, listen]),
                ]
            }
        };
        for (name, mut args) in roles {
            let admin = if matches!(name, "serve" | "ingress") { self.operators } else { free_address()? };
            args.splice(..0, [name.to_owned(), format!("--admin-listen={admin}")]);
            args.extend_from_slice(more);
            let secret = if self.nats.is_some() { &[SECRET][..] } else { &[] };
            let mut process = Process::start(name, program, &args, secret, self.logs.path())?;
            wait_for(&self.web, &format!("http://{admin}/readyz"), &mut process, self.logs.path()).await?;
            self.services.push(process);
        }
        Ok(())
    }

    /// What each service used so far, and the nats-server.
    ///
    /// # Errors
    /// If one has ended.
    pub(crate) fn usage(&self) -> Result<Vec<(&'static str, Usage)>> {
        let services = self.services.iter().map(|process| (process.name, process.id()));
        let nats = self.nats.iter().map(|nats| ("nats-server", nats.pid()));
        services.chain(nats).map(|(name, id)| Ok((name, usage(id).with_context(|| name)?))).collect()
    }

    /// `/stats` of the service that takes calls.
    ///
    /// # Errors
    /// If it does not answer.
    pub(crate) async fn stats(&self) -> Result<Value> {
        self.get(format!("http://{}/stats", self.operators)).await
    }

    /// What the simulated provider has in its books.
    ///
    /// # Errors
    /// If it does not answer.
    pub(crate) async fn books(&self) -> Result<Value> {
        self.get(format!("http://{}/_sim/state", self.simulator_address)).await
    }

    /// The last lines that each service logged.
    pub(crate) fn said(&self) -> String {
        let last = |process: &Process| {
            let log = std::fs::read_to_string(self.logs.path().join(process.name)).unwrap_or_default();
            let skipped = log.lines().count().saturating_sub(LAST_LINES);
            let lines: Vec<&str> = log.lines().skip(skipped).collect();
            format!("\n{} said:\n{}", process.name, lines.join("\n"))
        };
        self.services.iter().map(last).collect()
    }

    async fn get(&self, url: String) -> Result<Value> {
        let page = self.web.get(url).send().await?.bytes().await?;
        Ok(serde_json::from_slice(&page)?)
    }
}

fn start_simulator(program: &Path, batch_time: Duration, logs: &Path) -> Result<(SocketAddr, Process)> {
    let address = free_address()?;
    let args = [
        "simulator".to_owned(),
        format!("--listen={address}"),
        "--log=warn".into(),
        "--jitter=0".into(),
        format!("--validate-time={}ms", VALIDATE.as_millis()),
        format!("--batch-time={}ms", batch_time.as_millis()),
        format!("--finalize-time={}ms", FINALIZE.as_millis()),
    ];
    Ok((address, Process::start("simulator", program, &args, &[], logs)?))
}

/// Somebody else may take it before it is used; then the service says so and the benchmark ends.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

async fn wait_for(web: &reqwest::Client, url: &str, process: &mut Process, logs: &Path) -> Result<()> {
    let started = Instant::now();
    while started.elapsed() < START_LIMIT {
        process.check(logs)?;
        if web.get(url).send().await.is_ok_and(|answer| answer.status().is_success()) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bail!("{} is not ready after {START_LIMIT:?}", process.name)
}
