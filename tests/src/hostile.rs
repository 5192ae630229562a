//! `llm-proxy serve` as a process of its own that somebody wants to harm, and the ordinary callers beside.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context as _, Result, ensure};
use common::service::hardening;
use futures_util::future::try_join_all;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::calls::{Call, Got, make_all, post};
use crate::processes::{LOOK, Process, executable};

/// Longest body that the proxy takes.
pub const MAX_BODY: usize = 4_000_000;
/// Calls of a round of the ordinary callers, batched and relayed.
const ROUND: [usize; 2] = [20, 1];
/// Connections that are begun at a time.
const AT_A_TIME: usize = 100;

/// The process.
#[derive(Debug)]
pub struct Proxy {
    /// It.
    pub process: Process,
    /// Where it takes calls.
    pub address: SocketAddr,
    _dir: TempDir,
}

impl Proxy {
    /// Starts it for a provider.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start(provider: &str) -> Result<Self> {
        hardening::raise_open_files()?;
        let args = [
            "serve".to_owned(),
            "--listen=127.0.0.1:0".into(),
            format!("--openai-url={provider}"),
            "--window=300ms".into(),
            "--idle=100ms".into(),
            "--poll-min=50ms".into(),
            "--poll-max=300ms".into(),
            format!("--max-body={MAX_BODY}"),
            "--max-held-bytes=100MB".into(),
        ];
        let dir = tempfile::tempdir()?;
        let variables = [("NO_COLOR", "1".to_owned())];
        let process = Process::start(&executable()?, "serve", &args, &variables, dir.path())?;
        let said = process.says("listening on http://").await?;
        let address = said.split_whitespace().next().context("no address is said")?.parse()?;
        Ok(Self { process, address, _dir: dir })
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// The most memory that it has had so far, in MB (`VmHWM` of Linux).
    ///
    /// # Errors
    /// It has ended.
    pub fn memory_mb(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("it has ended")?;
        let kilobytes: u64 = line.split_whitespace().next().context("no number")?.parse()?;
        Ok(kilobytes / 1024)
    }

    /// Fails if it has ended, or panicked, or ever had more memory.
    ///
    /// # Errors
    /// Which of these.
    pub fn is_unharmed(&mut self, memory_mb: u64) -> Result<()> {
        ensure!(self.process.is_running(), "it has ended:\n{}", self.process.log());
        ensure!(!self.process.log().contains("panicked"), "{}", self.process.log());
        let had = self.memory_mb()?;
        ensure!(had <= memory_mb, "it had {had} MB of memory, {memory_mb} MB are allowed");
        Ok(())
    }
}

/// Callers with keys of their own who go on making calls, batched and relayed, each on new connections, and want their own
/// answers.
#[derive(Debug)]
pub struct Ordinary {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    running: JoinHandle<Result<()>>,
}

impl Ordinary {
    /// Begins.
    pub fn start(url: String) -> Self {
        let (stop, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let running = tokio::spawn(go_on(url, stop.clone(), answered.clone()));
        Self { stop, answered, running }
    }

    /// Waits for a round that began after this moment.
    ///
    /// # Errors
    /// Somebody got something else.
    pub async fn a_new_round(&mut self) -> Result<()> {
        // One round is under way.
        let enough = self.answered.load(Ordering::Relaxed) + 2 * ROUND.iter().sum::<usize>();
        while self.answered.load(Ordering::Relaxed) < enough {
            if self.running.is_finished() {
                return (&mut self.running).await?.context("an ordinary caller");
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Ends, and tells how many calls were answered.
    ///
    /// # Errors
    /// Somebody got something else.
    pub async fn stop(self) -> Result<usize> {
        self.stop.store(true, Ordering::Relaxed);
        self.running.await?.context("an ordinary caller")?;
        Ok(self.answered.load(Ordering::Relaxed))
    }
}

async fn go_on(url: String, stop: Arc<AtomicBool>, answered: Arc<AtomicUsize>) -> Result<()> {
    let [batched, relayed] = ROUND;
    let mut round = 0;
    while !stop.load(Ordering::Relaxed) {
        let calls = Call::spread(&format!("ordinary-{round}"), batched, 5, 4);
        let got = make_all(&calls, std::slice::from_ref(&url)).await?;
        ensure!(got.iter().all(|got| *got == Got::Own), "{got:?}");
        let client = reqwest::Client::builder().no_proxy().build()?;
        for _ in 0..relayed {
            let (status, body) =
                post(&client, &url, "mirror", "sk-ordinary", format!("round {round}")).await?;
            ensure!(status == 200 && body == format!("round {round}"), "relayed: {status}");
        }
        answered.fetch_add(batched + relayed, Ordering::Relaxed);
        round += 1;
    }
    Ok(())
}

/// Makes so many connections, some at a time.
///
/// # Errors
/// One is refused.
pub async fn connections(address: SocketAddr, count: usize) -> Result<Vec<TcpStream>> {
    let mut streams = Vec::new();
    while streams.len() < count {
        let some = (count - streams.len()).min(AT_A_TIME);
        streams.extend(try_join_all((0..some).map(|_| TcpStream::connect(address))).await?);
    }
    Ok(streams)
}
