//! The world behind its lock, the clock, and the task that moves time on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::anthropic;
use crate::compatible::PROFILES;
use crate::config::Config;
use crate::core::{Core, Millis};
use crate::credential::Credential;
use crate::gemini;
use crate::openai::{self, Profile, Status};
use crate::summary::BatchSummary;

/// Pieces of slow work that run at once; the simulator shares its machine with what it tests.
const WORKERS: usize = 2;

/// The models of all providers.
#[derive(Debug)]
pub struct World {
    /// What they share.
    pub core: Core,
    /// `OpenAI`.
    pub openai: openai::Model,
    /// The APIs made after it.
    pub compatible: Vec<openai::Model>,
    /// Anthropic.
    pub anthropic: anthropic::Model,
    /// Gemini.
    pub gemini: gemini::Model,
}

/// Slow work of any provider that needs no state.
#[derive(Debug)]
pub enum Work {
    /// That of `OpenAI`'s API or of one made after it.
    OpenAi(&'static Profile, openai::Work),
    /// Anthropic's.
    Anthropic(anthropic::Work),
    /// Gemini's.
    Gemini(gemini::Work),
}

/// What came of a piece of work.
#[derive(Debug)]
pub enum Done {
    /// That of `OpenAI`'s API or of one made after it.
    OpenAi(&'static Profile, openai::Done),
    /// Anthropic's.
    Anthropic(anthropic::Done),
    /// Gemini's.
    Gemini(gemini::Done),
}

impl Work {
    /// Does the work; takes up to seconds for the largest batches.
    pub fn run(self) -> Done {
        match self {
            Work::OpenAi(profile, work) => Done::OpenAi(profile, work.run()),
            Work::Anthropic(work) => Done::Anthropic(work.run()),
            Work::Gemini(work) => Done::Gemini(work.run()),
        }
    }
}

impl World {
    /// A world in which nothing has happened yet.
    pub fn new(config: Arc<Config>) -> Self {
        Self {
            core: Core::new(config),
            openai: openai::Model::default(),
            compatible: PROFILES.iter().map(|profile| openai::Model::new(profile)).collect(),
            anthropic: anthropic::Model::default(),
            gemini: gemini::Model::default(),
        }
    }

    /// What providers share, and the model of `OpenAI`'s API or of one made after it.
    pub fn of(&mut self, profile: &Profile) -> (&mut Core, &mut openai::Model) {
        let Self { core, openai, compatible, .. } = self;
        let found = compatible.iter_mut().find(|model| model.profile().name == profile.name);
        (core, found.unwrap_or(openai))
    }

    /// The models of `OpenAI`'s API and of those made after it.
    pub fn alike(&self) -> impl Iterator<Item = &openai::Model> {
        std::iter::once(&self.openai).chain(&self.compatible)
    }

    /// Moves every batch on that is due, and hands out the work that this needs.
    pub fn tick(&mut self, now: Millis) -> Vec<Work> {
        let Self { core, openai, compatible, anthropic, gemini } = self;
        let mut work = Vec::new();
        for model in std::iter::once(openai).chain(compatible) {
            let profile = model.profile();
            work.extend(model.tick(core, now).into_iter().map(|piece| Work::OpenAi(profile, piece)));
        }
        work.extend(anthropic.tick(core, now).into_iter().map(Work::Anthropic));
        work.extend(gemini.tick(core, now).into_iter().map(Work::Gemini));
        work
    }

    /// When [`World::tick`] is next needed; None when nothing will happen by itself.
    pub fn next_due(&self) -> Option<Millis> {
        let alike = self.alike().filter_map(openai::Model::next_due);
        alike.chain(self.anthropic.next_due()).chain(self.gemini.next_due()).min()
    }

    /// Takes the result of a piece of work.
    pub fn finish(&mut self, now: Millis, done: Done) {
        match done {
            Done::OpenAi(profile, done) => {
                let (core, model) = self.of(profile);
                model.finish(core, now, done);
            }
            Done::Anthropic(done) => self.anthropic.finish(&self.core, now, done),
            Done::Gemini(done) => self.gemini.finish(&mut self.core, now, done),
        }
    }

    /// Executes all lines of all batches that are due.
    pub fn execute(&mut self, now: Millis) {
        for model in std::iter::once(&mut self.openai).chain(&mut self.compatible) {
            model.execute(&mut self.core, now);
        }
        self.anthropic.execute(&mut self.core, now);
        self.gemini.execute(&mut self.core, now);
    }

    /// Lets stalled batches go on: one, or all of them. Returns how many there were.
    pub fn release(&mut self, now: Millis, batch: Option<&str>) -> usize {
        let alike = std::iter::once(&mut self.openai).chain(&mut self.compatible);
        let alike: usize = alike.map(|model| model.release(now, batch)).sum();
        alike + self.anthropic.release(now, batch) + self.gemini.release(now, batch)
    }

    /// The batches of all providers, oldest first.
    pub fn batches(&self) -> Vec<BatchSummary> {
        let alike = self.alike().flat_map(openai::Model::batches).map(BatchSummary::from);
        let anthropic = self.anthropic.batches().map(BatchSummary::from);
        let gemini = self.gemini.batches().map(BatchSummary::from);
        let mut batches: Vec<_> = alike.chain(anthropic).chain(gemini).collect();
        batches.sort_by_key(|batch| batch.created_ms);
        batches
    }

    /// The statuses of the batches of all providers, in the words that `OpenAI` has for them.
    pub fn statuses(&self) -> impl Iterator<Item = Status> {
        let alike = self.alike().flat_map(openai::Model::batches).map(|batch| batch.status);
        let anthropic = self.anthropic.batches().map(|batch| batch.status);
        alike.chain(anthropic).chain(self.gemini.batches().map(|batch| batch.status))
    }

    /// The files of `OpenAI`'s API and of those made after it that are there at `now`.
    pub fn files(&self, now: Millis) -> impl Iterator<Item = &openai::File> {
        self.alike().flat_map(move |model| model.files.alive(now))
    }

    /// Whose the files are that are stored with all providers.
    pub fn file_owners(&self, now: Millis) -> impl Iterator<Item = &Credential> {
        let alike = self.files(now).map(|file| &file.owner);
        alike.chain(self.gemini.files.alive(now).map(|file| &file.owner))
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
