//! The world behind its lock, the clock, and the task that moves time on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::core::{Core, Millis};
use crate::credential::Credential;
use crate::{gemini, openai};

/// Pieces of slow work that run at once; the simulator shares its machine with what it tests.
const WORKERS: usize = 2;

/// The models of all providers.
#[derive(Debug)]
pub struct World {
    /// What they share.
    pub core: Core,
    /// `OpenAI`.
    pub openai: openai::Model,
    /// Gemini.
    pub gemini: gemini::Model,
}

impl World {
    /// A world in which nothing has happened yet.
    pub fn new(config: Arc<Config>) -> Self {
        Self { core: Core::new(config), openai: openai::Model::default(), gemini: gemini::Model::default() }
    }

    /// Executes everything that is due.
    pub fn execute(&mut self, now: Millis) {
        self.openai.execute(&mut self.core, now);
        self.gemini.execute(&mut self.core, now);
    }

    /// Lets stalled batches go on: one, or all of them. Returns how many there were.
    pub fn release(&mut self, now: Millis, batch: Option<&str>) -> usize {
        self.openai.release(now, batch) + self.gemini.release(now, batch)
    }

    /// Whose the files are that are stored with all providers.
    pub fn file_owners(&self, now: Millis) -> impl Iterator<Item = &Credential> {
        let openai = self.openai.files.alive(now).map(|file| &file.owner);
        openai.chain(self.gemini.files.alive(now).map(|file| &file.owner))
    }

    fn tick(&mut self, now: Millis) -> Vec<Work> {
        let openai = self.openai.tick(&mut self.core, now).into_iter().map(Work::OpenAi);
        let gemini = self.gemini.tick(&mut self.core, now).into_iter().map(Work::Gemini);
        openai.chain(gemini).collect()
    }

    fn next_due(&self) -> Option<Millis> {
        [self.openai.next_due(), self.gemini.next_due()].into_iter().flatten().min()
    }

    fn finish(&mut self, now: Millis, done: Done) {
        match done {
            Done::OpenAi(done) => self.openai.finish(&mut self.core, now, done),
            Done::Gemini(done) => self.gemini.finish(&mut self.core, now, done),
        }
    }
}

/// Slow work of any provider.
enum Work {
    OpenAi(openai::Work),
    Gemini(gemini::Work),
}

/// What came of it.
enum Done {
    OpenAi(openai::Done),
    Gemini(gemini::Done),
}

impl Work {
    fn run(self) -> Done {
        match self {
            Work::OpenAi(work) => Done::OpenAi(work.run()),
            Work::Gemini(work) => Done::Gemini(work.run()),
        }
    }
}

/// The world, shared by all connections.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The settings.
    pub config: Arc<Config>,
    world: Mutex<World>,
    wake: Notify,
    origin: (Instant, Millis),
    requests: AtomicU64,
    /// One permit for each held answer that may go.
    go: Semaphore,
}

impl Shared {
    /// A fresh world; its clock begins at the machine's time and then follows tokio's.
    pub(crate) fn new(config: Config) -> Self {
        let config = Arc::new(config);
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as Millis;
        Self {
            world: Mutex::new(World::new(config.clone())),
            wake: Notify::new(),
            origin: (Instant::now(), epoch),
            requests: AtomicU64::new(0),
            go: Semaphore::new(0),
            config,
        }
    }

    /// The time.
    pub(crate) fn now(&self) -> Millis {
        self.origin.1 + self.origin.0.elapsed().as_millis() as Millis
    }

    /// Does something with the world. Nothing slow belongs in here.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut World, Millis) -> R) -> R {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        act(&mut world, self.now())
    }

    /// Makes the driver look at the world again: something may be due sooner than it thought.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// A number that no other request has.
    pub(crate) fn next_request(&self) -> u64 {
        self.requests.fetch_add(1, Ordering::Relaxed)
    }

    /// Waits until an answer that is held back may go.
    pub(crate) async fn held(&self) {
        // The semaphore is never closed.
        if let Ok(permit) = self.go.acquire().await {
            permit.forget();
        }
    }

    /// Lets one answer go.
    pub(crate) fn let_go(&self) {
        self.go.add_permits(1);
    }

    /// Forgets everything, faults included. Ids do not repeat.
    pub(crate) fn reset(&self) {
        self.with(|world, _| {
            let rng = world.core.rng.clone();
            *world = World::new(self.config.clone());
            world.core.rng = rng;
        });
    }
}

/// Moves the world on through time until it is stopped.
pub(crate) async fn drive(shared: Arc<Shared>, stop: CancellationToken) {
    let workers = Arc::new(Semaphore::new(WORKERS));
    loop {
        let (work, wait) = shared.with(|world, now| {
            let work = world.tick(now);
            (work, world.next_due().map(|due| due.saturating_sub(now)))
        });
        for piece in work {
            tokio::spawn(run(shared.clone(), workers.clone(), piece));
        }
        let due = async {
            match wait {
                // One more, since the clock rounds down.
                Some(wait) => tokio::time::sleep(Duration::from_millis(wait.saturating_add(1))).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = shared.wake.notified() => {}
            () = due => {}
        }
    }
}

async fn run(shared: Arc<Shared>, workers: Arc<Semaphore>, work: Work) {
    let Ok(_permit) = workers.acquire().await else { return };
    match tokio::task::spawn_blocking(|| work.run()).await {
        Ok(done) => {
            shared.with(|world, now| world.finish(now, done));
            shared.wake();
        }
        Err(error) => tracing::error!(%error, "work on a batch was lost"),
    }
}
