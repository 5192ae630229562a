//! An ear on the bus: who is there, and what was just said.
//!
//! An ear on a subject counts as somebody who listens there, so that nobody is told any more that its process is gone.
//! Ears on inboxes are therefore taken away before that process is killed; ears on heartbeats and answers do not matter.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, Result};
use common::bus::{Bus, Message, NatsBus, NatsOptions, Status, Subscription};
use common::ids::{Pid, Rid, unpack_rids};
use common::subjects::Subjects;
use common::wire::{Heartbeat, Reply, Role, ToIngress, reply, to_ingress};
use prost::Message as _;

use crate::processes::{LOOK, PATIENCE};

/// First token of the subjects: the default of the executable.
const PREFIX: &str = "llmp";
/// Messages that may wait to be read.
const CAPACITY: usize = 100_000;

type Beats = Arc<Mutex<BTreeMap<Pid, (Role, u64, Instant)>>>;
/// Who was granted each request, and when, in order.
pub type Grants = BTreeMap<Rid, Vec<(Pid, Instant)>>;

/// A connection to the nats-server that only listens.
pub struct Spy {
    bus: Arc<dyn Bus>,
    beats: Beats,
}

/// Everything said on some subjects from a moment on.
pub struct Ear(Subscription);

impl Spy {
    /// Listens to all heartbeats from now on.
    ///
    /// # Errors
    /// The server is not there.
    pub async fn start(url: &str) -> Result<Self> {
        let bus: Arc<dyn Bus> = NatsBus::connect(NatsOptions::new(url)).await?;
        let mut status = bus.status();
        let up = status.wait_for(|status| *status == Status::Up);
        tokio::time::timeout(PATIENCE, up).await.context("the bus does not come up")??;
        let beats = Beats::default();
        for role in [Role::Ingress, Role::Batcher, Role::Submitter] {
            let mut ear = bus.subscribe(&Subjects::new(PREFIX).heartbeats(role), CAPACITY).await?;
            let beats = beats.clone();
            tokio::spawn(async move {
                while let Some(message) = ear.next().await {
                    let beat = Heartbeat::decode(message.payload).ok();
                    let pid = beat.and_then(|beat| Pid::from_slice(&beat.pid).ok());
                    if let Some(pid) = pid {
                        let mut beats = beats.lock().unwrap_or_else(PoisonError::into_inner);
                        let beat = beats.entry(pid).or_insert((role, 0, Instant::now()));
                        (beat.1, beat.2) = (beat.1 + 1, Instant::now());
                    }
                }
            });
        }
        Ok(Self { bus, beats })
    }

    fn beats(&self) -> BTreeMap<Pid, (Role, u64, Instant)> {
        self.beats.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Everybody of a role who was ever heard of.
    pub fn known(&self, role: Role) -> BTreeSet<Pid> {
        self.beats().into_iter().filter(|(_, (of, ..))| *of == role).map(|(pid, _)| pid).collect()
    }

    /// Waits for somebody of a role who was not known before.
    ///
    /// # Errors
    /// Nobody comes.
    pub async fn newcomer(&self, role: Role, before: &BTreeSet<Pid>) -> Result<Pid> {
        let came = async {
            loop {
                if let Some(pid) = self.known(role).difference(before).next() {
                    return *pid;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(PATIENCE, came).await.with_context(|| format!("no {role:?} comes"))
    }

    /// Waits until all of these have spoken once more: by then each knows all others, since a service listens before it
    /// first speaks.
    ///
    /// # Errors
    /// One of them is silent.
    pub async fn meeting(&self, of: &[Pid]) -> Result<()> {
        let count =
            |pid: &Pid, beats: &BTreeMap<Pid, (Role, u64, Instant)>| beats.get(pid).map_or(0, |(_, n, _)| *n);
        let before = self.beats();
        let met = async {
            while !of.iter().all(|pid| count(pid, &self.beats()) > count(pid, &before)) {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(PATIENCE, met).await.context("the services do not meet")
    }

    /// Writes down all grants from now on.
    ///
    /// # Errors
    /// The bus is down.
    pub async fn grants(&self) -> Result<Arc<Mutex<Grants>>> {
        let mut ear = self.answers().await?;
        let grants = Arc::new(Mutex::new(Grants::new()));
        let book = grants.clone();
        tokio::spawn(async move {
            while let Some(message) = ear.0.next().await {
                let Some((submitter, rids)) = granted(message) else { continue };
                let mut book = book.lock().unwrap_or_else(PoisonError::into_inner);
                for rid in rids {
                    let holders = book.entry(rid).or_default();
                    // A grant may be told again.
                    if holders.last().is_none_or(|(last, _)| *last != submitter) {
                        holders.push((submitter, Instant::now()));
                    }
                }
            }
        });
        Ok(grants)
    }

    /// An ear on all answers between processes.
    ///
    /// # Errors
    /// The bus is down.
    pub async fn answers(&self) -> Result<Ear> {
        self.ear("*.*.re.*").await
    }

    /// An ear on what ingresses are asked.
    ///
    /// # Errors
    /// The bus is down.
    pub async fn questions(&self) -> Result<Ear> {
        self.ear("ing.*.in").await
    }

    /// An ear on what batchers are told.
    ///
    /// # Errors
    /// The bus is down.
    pub async fn announcements(&self) -> Result<Ear> {
        self.ear("bat.*.in").await
    }

    /// An ear on results.
    ///
    /// # Errors
    /// The bus is down.
    pub async fn results(&self) -> Result<Ear> {
        self.ear("ing.*.r.*").await
    }

    async fn ear(&self, rest: &str) -> Result<Ear> {
        Ok(Ear(self.bus.subscribe(&format!("{PREFIX}.v1.{rest}"), CAPACITY).await?))
    }
}

fn granted(message: Message) -> Option<(Pid, Vec<Rid>)> {
    let reply::Body::Grant(grant) = Reply::decode(message.payload).ok()?.body? else { return None };
    Some((message.subject.split('.').nth(3)?.parse().ok()?, unpack_rids(&grant.granted).ok()?))
}

impl Ear {
    async fn until<T>(&mut self, what: &str, mut pick: impl FnMut(Message) -> Option<T>) -> Result<T> {
        let heard = async {
            loop {
                let message = self.0.next().await.context("the bus ended")?;
                if let Some(picked) = pick(message) {
                    return Ok(picked);
                }
            }
        };
        tokio::time::timeout(PATIENCE, heard).await.with_context(|| format!("never heard {what}"))?
    }

    /// Waits for anything at all.
    ///
    /// # Errors
    /// Nothing comes.
    pub async fn anything(&mut self) -> Result<()> {
        self.until("anything", |_| Some(())).await
    }

    /// Waits for anything, and returns the process that it was for.
    ///
    /// # Errors
    /// Nothing comes.
    pub async fn addressee(&mut self) -> Result<Pid> {
        self.until("anything", |message| message.subject.split('.').nth(3)?.parse().ok()).await
    }

    /// Waits for an answer that `pick` wants, and returns whom it was for.
    ///
    /// # Errors
    /// None comes.
    pub async fn answer(&mut self, what: &str, pick: impl Fn(&reply::Body) -> bool) -> Result<Pid> {
        self.until(what, |message| {
            let body = Reply::decode(message.payload).ok()?.body?;
            let pid = message.subject.split('.').nth(3)?.parse().ok()?;
            pick(&body).then_some(pid)
        })
        .await
    }

    /// Waits for a grant that grants something, and returns the submitter that got it.
    ///
    /// # Errors
    /// None comes.
    pub async fn grant(&mut self) -> Result<Pid> {
        let grants =
            |body: &reply::Body| matches!(body, reply::Body::Grant(grant) if !grant.granted.is_empty());
        self.answer("a grant", grants).await
    }

    /// Waits until so many callers wait at an ingress for requests of another.
    ///
    /// # Errors
    /// They do not.
    pub async fn attached(&mut self, callers: usize) -> Result<()> {
        let mut waiting = BTreeSet::new();
        self.until("that callers wait at another ingress", |message| {
            let reply::Body::Attached(attached) = Reply::decode(message.payload).ok()?.body? else {
                return None;
            };
            waiting.extend(unpack_rids(&attached.waiting).ok()?);
            (waiting.len() >= callers).then_some(())
        })
        .await
    }

    /// Waits for a question to an ingress that `pick` makes something of.
    ///
    /// # Errors
    /// None comes.
    pub async fn question<T>(
        &mut self,
        what: &str,
        pick: impl Fn(to_ingress::Body) -> Option<T>,
    ) -> Result<T> {
        self.until(what, |message| pick(ToIngress::decode(message.payload).ok()?.body?)).await
    }
}
