//! The processes of a world.

use std::collections::{BTreeMap, VecDeque};

use common::ids::Pid;
use common::timers::Now;
use common::wire::Role;

use crate::node::{Local, Mail, Node, ProcId};

/// A process, alive or not.
pub(crate) struct Process {
    pub(crate) role: Role,
    pub(crate) pid: Pid,
    pub(crate) name: String,
    pub(crate) born: Now,
    /// Gone when it has ended.
    pub(crate) node: Option<Box<dyn Node>>,
    /// When its state machine wants to be woken.
    pub(crate) wake: Option<Now>,
    /// Handles nothing until then.
    pub(crate) paused_until: Option<Now>,
    pub(crate) backlog: VecDeque<Waiting>,
    /// Its connection, counted: what was on its way over an earlier one is lost.
    pub(crate) connection: u32,
    /// Whether it believes itself connected.
    pub(crate) up: bool,
    /// Nothing passes, in either direction, and nobody has noticed.
    pub(crate) cut: bool,
    /// It was told to stop.
    pub(crate) draining: bool,
    /// When it was out of reach, or may have been.
    pub(crate) away: Vec<(Now, Now)>,
}

/// What waits for a paused process.
pub(crate) enum Waiting {
    Mail(Mail),
    Local(Local),
}

impl Process {
    pub(crate) fn is_alive(&self) -> bool {
        self.node.is_some()
    }

    /// When it wants to be woken.
    pub(crate) fn wake_at(&self) -> Option<Now> {
        if self.paused_until.is_some() {
            return None;
        }
        self.wake.filter(|_| self.is_alive())
    }
}

/// Who is subscribed to what, at the server.
#[derive(Default)]
pub(crate) struct Subscriptions(BTreeMap<String, Vec<ProcId>>);

impl Subscriptions {
    pub(crate) fn add(&mut self, subject: &str, who: ProcId) {
        let all = self.0.entry(subject.to_owned()).or_default();
        if !all.contains(&who) {
            all.push(who);
        }
    }

    pub(crate) fn remove(&mut self, who: ProcId) {
        self.0.retain(|_, all| {
            all.retain(|other| *other != who);
            !all.is_empty()
        });
    }

    /// Those who hear a subject.
    pub(crate) fn of(&self, subject: &str) -> Vec<ProcId> {
        let literal = self.0.get(subject);
        let wildcard = subject.rfind('.').and_then(|dot| self.0.get(&format!("{}.*", &subject[..dot])));
        literal.into_iter().chain(wildcard).flatten().copied().collect()
    }
}
