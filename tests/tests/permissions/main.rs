//! `deploy/nats.conf` on a real nats-server: each role can do its work as its own user, and nothing else.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod raw;
mod refusals;
mod tls;
mod told;
mod work;

use std::path::PathBuf;
use std::time::Instant;

use simulator::{Config, Handle, Simulator};
use tempfile::TempDir;
use tests::nats::NatsServer;
use tests::processes::{LOOK, PATIENCE, Process, executable};

const SECRET: &str = "hush-cluster, thirty-two bytes and more";
/// The users of `deploy/nats.conf`, the variables of their passwords, and what these are here.
const USERS: [(&str, &str, &str); 3] = [
    ("ingress", "NATS_INGRESS_PASSWORD", "hush-ingress"),
    ("batcher", "NATS_BATCHER_PASSWORD", "hush-batcher"),
    ("submitter", "NATS_SUBMITTER_PASSWORD", "hush-submitter"),
];

fn password(user: &str) -> &'static str {
    USERS.iter().find(|(name, ..)| *name == user).unwrap().2
}

async fn server() -> NatsServer {
    server_with(|rules| rules).await
}

async fn server_with(edit: impl FnOnce(String) -> String + Send + 'static) -> NatsServer {
    let variables = USERS.map(|(_, variable, password)| (variable, password.to_owned())).to_vec();
    let start = || NatsServer::start_as_deployed(variables, edit);
    tokio::task::spawn_blocking(start).await.unwrap().unwrap()
}

/// A server, a provider, and a place for logs of processes.
struct Stage {
    nats: NatsServer,
    simulator: Handle,
    program: PathBuf,
    logs: TempDir,
    /// How the roles reach the server.
    scheme: &'static str,
    /// More environment variables of theirs.
    variables: Vec<(&'static str, String)>,
}

impl Stage {
    async fn start(config: Config) -> Self {
        Self::start_on(server().await, config).await
    }

    async fn start_on(nats: NatsServer, config: Config) -> Self {
        let simulator = Simulator::start(config).await.unwrap();
        let (program, logs) = (executable().unwrap(), tempfile::tempdir().unwrap());
        Self { nats, simulator, program, logs, scheme: "nats", variables: Vec::new() }
    }

    /// A role as a user of the server, with everything in its log that it would ever say.
    fn role(&self, role: &str, name: &str, user: &str, password: &str) -> Process {
        let upstream = format!("--openai-url={}", self.simulator.url());
        let flags: &[&str] = match role {
            "ingress" => &["--listen=127.0.0.1:0", &upstream],
            "batcher" => &["--window=300ms", "--idle=100ms"],
            _ => &[&upstream, "--poll-min=50ms", "--poll-max=300ms", "--settle=1s"],
        };
        let args: Vec<String> = std::iter::once(&role).chain(flags).map(|word| (*word).to_owned()).collect();
        let mut variables = vec![
            ("LLM_PROXY_NATS", format!("{}://{user}:{password}@127.0.0.1:{}", self.scheme, self.nats.port())),
            ("LLM_PROXY_LOG", "trace".into()),
            ("LLM_PROXY_DRAIN_TIMEOUT", "3s".into()),
            ("NO_COLOR", "1".into()),
            ("NO_PROXY", "127.0.0.1".into()),
        ];
        variables.extend_from_slice(&self.variables);
        if role != "batcher" {
            variables.push(("LLM_PROXY_CLUSTER_SECRET", SECRET.into()));
        }
        Process::start(&self.program, name, &args, &variables, self.logs.path()).unwrap()
    }

    /// The same as the role's own user.
    fn own(&self, role: &str, name: &str) -> Process {
        self.role(role, name, role, password(role))
    }
}

/// Neither the server nor a process tells the secrets that it was given.
fn assert_hushed(log: &str) {
    assert!(!log.contains("hush"), "{log}");
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < PATIENCE, "waited in vain until {what}");
        tokio::time::sleep(LOOK).await;
    }
}
