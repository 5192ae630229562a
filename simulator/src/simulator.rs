//! Starting the simulator, and a test's hold on a running one.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::args::Args;
use crate::config::Config;
use crate::core::Millis;
use crate::credential::Credential;
use crate::faults::{FaultSet, Faults, Op};
use crate::ledger::{BilledTwice, Entry};
use crate::openai::{File, Status};
use crate::shared::{Shared, World, drive};
use crate::summary::{BatchSummary, Summary};
use crate::{http, net};

/// Serves until `shutdown` is cancelled.
///
/// # Errors
/// The address cannot be listened on.
pub async fn run(args: Args, shutdown: CancellationToken) -> anyhow::Result<()> {
    let handle = Simulator::start(args.into()).await?;
    tracing::info!(url = handle.url(), "the simulator listens");
    shutdown.cancelled().await;
    handle.shutdown().await;
    Ok(())
}

/// Makes running simulators.
#[derive(Debug)]
pub struct Simulator;

impl Simulator {
    /// Starts one in the background; its listener is bound when this returns.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub async fn start(config: Config) -> anyhow::Result<Handle> {
        let listener = net::bind(&config.listen).await?;
        Self::start_on(listener, config)
    }

    /// Starts one on a listener that is already bound.
    ///
    /// # Errors
    /// The listener has no local address.
    pub fn start_on(listener: TcpListener, config: Config) -> anyhow::Result<Handle> {
        let addr = listener.local_addr().context("the listener has no address")?;
        let shared = Arc::new(Shared::new(config));
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(net::serve(listener, http::router(shared.clone()), stop.clone()));
        tasks.spawn(drive(shared.clone(), stop.clone()));
        Ok(Handle { addr, shared, tasks, _guard: stop.clone().drop_guard(), stop })
    }
}

/// A running simulator; it stops when this is dropped.
#[derive(Debug)]
pub struct Handle {
    addr: SocketAddr,
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
    stop: CancellationToken,
    _guard: tokio_util::sync::DropGuard,
}

impl Handle {
    /// The address it listens on.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The base URL for SDKs of `OpenAI`, ending in `/v1`.
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.addr)
    }

    /// Where the provider of this name is mounted: `http://HOST:PORT/name`. `OpenAI` is at [`Handle::url`].
    pub fn url_of(&self, name: &str) -> String {
        format!("http://{}/{name}", self.addr)
    }

    /// The base URL for SDKs of Anthropic, without `/v1`.
    pub fn anthropic_url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Everything at this moment.
    pub fn state(&self) -> Summary {
        self.with(Summary::of)
    }

    /// Puts faults in force in place of those before.
    pub fn set_faults(&self, faults: impl Into<FaultSet>) {
        let faults = Faults::new(faults.into());
        self.with(|world, _| world.core.faults = faults);
    }

    /// Takes all faults away. Batches keep those they were created with.
    pub fn clear_faults(&self) {
        self.set_faults(FaultSet::default());
    }

    /// Lets stalled batches go on: one, or all of them. Returns how many there were.
    pub fn release(&self, batch: Option<&str>) -> usize {
        let released = self.with(|world, now| world.release(now, batch));
        self.shared.wake();
        released
    }

    /// Lets one answer go that [`Fault::Hold`](crate::Fault::Hold) holds back, or the next one.
    pub fn let_go(&self) {
        self.shared.let_go();
    }

    /// Forgets everything, faults included.
    pub fn reset(&self) {
        self.shared.reset();
    }

    /// How many calls of a kind were received, whatever became of them.
    pub fn received(&self, op: Op) -> u64 {
        self.with(|world, _| world.core.received(op))
    }

    /// Everything one credential paid one provider for more than once.
    pub fn billed_twice(&self) -> Vec<BilledTwice> {
        self.executed(|world| world.core.ledger.billed_twice())
    }

    /// How many lines and calls cost something.
    pub fn billed_count(&self) -> usize {
        self.executed(|world| world.core.ledger.billed_count())
    }

    /// The ledger, oldest entry first.
    pub fn ledger(&self) -> Vec<Entry> {
        self.executed(|world| world.core.ledger.entries().cloned().collect())
    }

    /// The raw bodies received under a `custom_id`, oldest first, byte for byte.
    pub fn bodies(&self, custom_id: &str) -> Vec<Bytes> {
        self.executed(|world| world.core.ledger.bodies(custom_id))
    }

    /// The files that a credential has stored at `OpenAI` and the APIs made after it.
    pub fn files(&self, owner: &Credential) -> Vec<File> {
        self.with(|world, now| world.files(now).filter(|file| file.owner == *owner).cloned().collect())
    }

    /// How many files a credential has stored.
    pub fn files_left(&self, owner: &Credential) -> usize {
        self.with(|world, now| world.file_owners(now).filter(|of| *of == owner).count())
    }

    /// How many files all credentials together have stored.
    pub fn files_left_total(&self) -> usize {
        self.with(|world, now| world.file_owners(now).count())
    }

    /// The batches of all providers, those deleted at Anthropic included, oldest first.
    pub fn batches(&self) -> Vec<BatchSummary> {
        self.executed(World::batches)
    }

    /// How many batches of all providers have a status, in the words that `OpenAI` has for it.
    pub fn batches_in(&self, status: Status) -> usize {
        self.executed(|world| world.statuses().filter(|of| *of == status).count())
    }

    /// What a careful client does not do, but this one did.
    pub fn violations(&self) -> Vec<String> {
        self.with(|world, _| world.core.violations().to_vec())
    }

    /// Stops listening, drops all connections and returns when nothing runs any more.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }

    fn with<R>(&self, act: impl FnOnce(&mut World, Millis) -> R) -> R {
        self.shared.with(act)
    }

    /// Looks at the world after all lines that are due were executed.
    fn executed<R>(&self, look: impl FnOnce(&World) -> R) -> R {
        self.with(|world, now| {
            world.execute(now);
            look(world)
        })
    }
}
