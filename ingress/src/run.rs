//! An ingress from its socket to its end.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use common::ids::Bid;
use common::service::admin::Pages;
use common::world::World;
use providers::Upstreams;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::accounts::{Cashier, Prices};
use crate::args::{Args, Mode, WhenUnbatchable};
use crate::core::{Input, JobEvent, Keeping};
use crate::fair::{Amount, Bounds};
use crate::gate::Gate;
use crate::http::{CSV, Certificate, Front, FrontConfig, JSON, ServeLimits, Soloist, listen, serve};
use crate::plan::Policy;
use crate::relay::Relay;
use crate::reload::{Reload, watch};
use crate::shell;
use crate::stats::{JobReport, Stats};
use crate::tokens::Tokens;

/// Connections beyond those that hold a request: relays, polls of operators, idle keep-alives.
const SPARE_CONNECTIONS: usize = 1_000;
/// Files that a process has open besides callers' connections, the provider's side among them.
const SPARE_FILES: usize = 200;
/// How long a client may take nothing of what it is sent.
const UNREAD_FOR: Duration = Duration::from_secs(120);
/// How long answers that are there may take to be written at the end.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// An ingress whose port is taken but that serves nothing yet.
pub struct Bound {
    args: Args,
    listener: TcpListener,
    address: SocketAddr,
    stats: Arc<Stats>,
    held: Arc<Gate>,
    tokens: Option<Arc<Tokens>>,
    certificate: Option<Arc<Certificate>>,
    admin: bool,
}

/// Takes the port.
///
/// # Errors
/// If the address cannot be had; a [`common::service::ConfigError`] if access tokens or a certificate cannot be used.
pub async fn bind(args: &Args) -> anyhow::Result<Bound> {
    let tokens = Tokens::new(args)?;
    let certificate = match (&args.tls_cert, &args.tls_key) {
        (Some(chain), Some(key)) => Some(Certificate::new(chain, key)?),
        _ => None,
    };
    let listener =
        listen(args.listen, UNREAD_FOR).with_context(|| format!("cannot listen on {}", args.listen))?;
    let address = listener.local_addr()?;
    let most = Amount { count: args.max_held, bytes: args.max_held_bytes };
    let held = Gate::new(Bounds { most, most_each: args.max_held_per_key.unwrap_or(usize::MAX) });
    Ok(Bound {
        args: args.clone(),
        listener,
        address,
        stats: Arc::default(),
        held,
        tokens,
        certificate,
        admin: true,
    })
}

impl Bound {
    /// Where calls are taken; the real port where port 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Where calls are taken, as the beginning of a URL.
    pub fn url(&self) -> String {
        let scheme = if self.certificate.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Serves the routes for operators not here, since they have a listener of their own.
    #[must_use]
    pub fn without_admin(mut self) -> Self {
        self.admin = false;
        self
    }

    /// Gives the JSON of `/stats`, for a listener of its own.
    pub fn stats(&self) -> Box<dyn Fn() -> Bytes + Send + Sync> {
        let (stats, held) = (self.stats.clone(), self.held.clone());
        Box::new(move || stats.to_json(held.used()))
    }

    /// Gives the pages of `/stats`, for a listener of its own.
    pub fn pages(&self) -> Pages {
        let (stats, held) = (self.stats.clone(), self.held.clone());
        Box::new(move |path| match path {
            "/stats" => Some((JSON, stats.to_json(held.used()))),
            "/stats/usage.csv" => Some((CSV, stats.to_csv())),
            _ => None,
        })
    }

    /// Told whenever an answer is about to leave; for one who waits.
    pub fn answers(&self) -> Arc<tokio::sync::Notify> {
        self.stats.answers()
    }

    /// Serves until `shutdown`, then until what is held has ended or the drain timeout has passed.
    ///
    /// # Errors
    /// If the relay cannot be set up: an unusable base URL, no root certificates.
    pub async fn run(
        self,
        upstreams: Upstreams,
        world: World,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        self.say_who_may_call();
        let files = self.files();
        let tls = self.certificate.as_ref().map(Certificate::acceptor).transpose()?;
        let abort = CancellationToken::new();
        let relay = Arc::new(Relay::new(&upstreams, abort.clone())?);
        let soloist = Soloist::new(relay.clone(), upstreams.clone());
        let on_job = report_jobs(self.stats.clone());
        let keeping = Keeping {
            reattach_window: self.args.reattach_window,
            answers_for: self.args.keep_answers,
            answers_bytes: usize::try_from(self.args.keep_answers_bytes).unwrap_or(usize::MAX),
        };
        let policy = Policy {
            line_retries: self.args.line_retries,
            hard: self.args.deadline_hard,
            alone_if_refused: self.args.when_unbatchable == WhenUnbatchable::Sync,
        };
        let prices = Arc::new(Prices::new(&upstreams));
        let cashier = Arc::new(Cashier::new(prices.clone(), self.stats.clone()));
        let hands = (soloist.clone(), cashier.clone());
        let observes = self.args.mode == Mode::Observe;
        if observes {
            self.stats.books().begin_to_observe();
        }
        let running = shell::start(&world, (keeping, policy), self.held, hands, on_job);
        let max_connections = max_connections(&self.args);
        let front = Front::new(FrontConfig {
            holder: running.holder.clone(),
            keyring: world.keyring.clone(),
            stats: self.stats,
            upstreams,
            relay,
            soloist,
            prices,
            cashier,
            observes,
            deadline: self.args.deadline,
            max_body: self.args.max_body,
            max_relaying: max_connections,
            max_receiving: Amount { count: self.args.max_held, bytes: self.args.max_held_bytes },
            hold_status: self.args.hold_status,
            tokens: self.tokens,
            admin: self.admin,
        });
        let limits = ServeLimits { max_connections };
        let serving = serve(self.listener, tls, Arc::new(front), limits, shutdown.clone(), abort.clone());
        let served = CancellationToken::new();
        let serving = async {
            serving.await;
            served.cancel();
        };
        // In any case to its end: what nobody waits for any more has to be called off, connections or not.
        let ending = async {
            shutdown.cancelled().await;
            running.holder.drain();
            // A machine that waits for the bus still has nothing to end.
            let _ = running.inputs.send(Input::Drain).await;
            let mut machine = running.machine;
            if tokio::time::timeout(world.drain_timeout, &mut machine).await.is_err() {
                let _ = running.inputs.send(Input::GiveUp).await;
                let _ = tokio::time::timeout(LAST_WORDS, machine).await;
            }
            let _ = tokio::time::timeout(LAST_WORDS, served.cancelled()).await;
            abort.cancel();
        };
        tokio::select! {
            _ = futures_util::future::join(serving, ending) => Ok(()),
            never = watch(files) => match never {},
        }
    }

    fn say_who_may_call(&self) {
        if let Some(tokens) = &self.tokens {
            tracing::info!(tokens = tokens.count(), "calls need an access token");
        }
        if is_exposed(self.address.ip(), self.certificate.is_some() || self.args.behind_proxy) {
            tracing::warn!(
                address = %self.address,
                "calls come in the clear on an address that others can reach: keys and prompts can be read on their way. Give \
                 --tls-cert and --tls-key; or say --behind-proxy where a proxy in front does TLS; or listen on 127.0.0.1"
            );
        }
    }

    /// What has files that may change.
    fn files(&self) -> Vec<Arc<dyn Reload>> {
        let tokens = self.tokens.clone().filter(|tokens| tokens.has_file());
        let tokens = tokens.map(|tokens| tokens as Arc<dyn Reload>);
        let certificate = self.certificate.clone().map(|certificate| certificate as Arc<dyn Reload>);
        tokens.into_iter().chain(certificate).collect()
    }
}

/// Whether others than this machine can reach an address, and nothing is said to protect what they send.
fn is_exposed(ip: IpAddr, protected: bool) -> bool {
    !protected && !ip.to_canonical().is_loopback()
}

/// As many as are asked for, or else may be held and some more, within what the process may open.
fn max_connections(args: &Args) -> usize {
    let files = common::service::hardening::open_files();
    let possible = files.saturating_sub(SPARE_FILES).max(100);
    let wanted = args.max_connections.unwrap_or(args.max_held.saturating_add(SPARE_CONNECTIONS));
    if args.max_connections.is_some() && wanted > possible {
        tracing::warn!(possible, "--max-connections is more than the limit of open files allows");
    }
    wanted.min(possible)
}

fn report_jobs(stats: Arc<Stats>) -> impl Fn(JobEvent) + Send + 'static {
    let jobs: std::sync::Mutex<std::collections::HashMap<Bid, String>> = Default::default();
    move |event| {
        let mut jobs = jobs.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match event {
            JobEvent::Submitted { bid, job, requests } => {
                let total = requests as u64;
                stats.job(JobReport { id: &job, status: "submitted", total, completed: 0, failed: 0 });
                jobs.insert(bid, job);
            }
            JobEvent::State { bid, job, status, counts: (total, completed, failed) } => {
                stats.job(JobReport { id: &job, status: &status, total, completed, failed });
                jobs.insert(bid, job);
            }
            JobEvent::Renamed { from, to } => {
                if let Some(job) = jobs.remove(&from) {
                    jobs.insert(to, job);
                }
            }
            JobEvent::Ended { bid, answered } => {
                let Some(job) = jobs.remove(&bid) else { return };
                let status = if answered { "completed" } else { "failed" };
                stats.job(JobReport { id: &job, status, total: 0, completed: 0, failed: 0 });
                stats.log_job(&job);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_not_exposed() {
        for (ip, exposed) in [
            ("127.0.0.1", false),
            ("127.8.8.8", false),
            ("::1", false),
            ("::ffff:127.0.0.1", false),
            ("0.0.0.0", true),
            ("::", true),
            ("10.0.0.1", true),
            ("::ffff:10.0.0.1", true),
        ] {
            assert_eq!(is_exposed(ip.parse().unwrap(), false), exposed, "{ip}");
            assert!(!is_exposed(ip.parse().unwrap(), true), "{ip}");
        }
    }
}
