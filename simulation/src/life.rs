//! Processes start, stop, hang and die.

use std::collections::BTreeSet;
use std::time::Duration;

use common::ids::{Bid, Pid};
use common::timers::Now;
use common::wire::Role;

use crate::bus::{LATE, SERVER_NOTICES};
use crate::faults::Kind;
use crate::node::{Local, ProcId};
use crate::people::CallerState;
use crate::process::{Process, Waiting};
use crate::world::{DRAIN, Event, World, node};

/// Most processes of a role that live at a time.
const MOST: usize = 5;

impl World {
    pub(crate) fn start(&mut self, role: Role) {
        let pid = Pid(self.rng.id());
        let id = self.processes.len();
        let name = match role {
            Role::Ingress => format!("ing{id}"),
            Role::Batcher => format!("bat{id}"),
            Role::Submitter => format!("sub{id}"),
            Role::Unspecified => return,
        };
        self.trace.note(self.now, || format!("{name} starts"));
        let node = node(role, pid, &self.knobs, &mut self.rng, self.options);
        self.processes.push(Process {
            role,
            pid,
            name,
            born: self.now,
            node: Some(node),
            wake: None,
            paused_until: None,
            backlog: Default::default(),
            connection: 0,
            up: false,
            cut: false,
            draining: false,
            away: Vec::new(),
        });
        self.tick_first(id);
        self.connect(id);
    }

    fn tick_first(&mut self, id: ProcId) {
        self.with(id, |node, now, effects| node.tick(now, effects));
    }

    pub(crate) fn fault(&mut self, kind: Kind) {
        if self.calm {
            return;
        }
        let role = self.rng.pick(&[Role::Ingress, Role::Batcher, Role::Submitter, Role::Submitter]);
        let Some(role) = role else { return };
        let lives: Vec<ProcId> =
            (0..self.processes.len()).filter(|id| self.processes[*id].is_alive()).collect();
        let of_role: Vec<ProcId> = lives.into_iter().filter(|id| self.processes[*id].role == role).collect();
        if kind == Kind::Server {
            self.trace.note(self.now, || "the server of the bus starts anew".into());
            return self.restart_server();
        }
        if kind == Kind::Join {
            if of_role.len() < MOST {
                self.start(role);
            }
            return;
        }
        if let Some(id) = self.rng.pick(&of_role) {
            self.strike(kind, id, role);
        }
    }

    fn strike(&mut self, kind: Kind, id: ProcId, role: Role) {
        let name = &self.processes[id].name;
        self.trace.note(self.now, || format!("{kind:?}: {name}"));
        match kind {
            Kind::Kill | Kind::Vanish => {
                self.report.crashes += 1;
                let (connection, notices) =
                    (self.processes[id].connection, self.rng.millis(SERVER_NOTICES.0, SERVER_NOTICES.1));
                let wait = if kind == Kind::Kill { Duration::ZERO } else { notices };
                self.die(id);
                self.queue.plan(self.now + wait, Event::Unsubscribe(id, connection));
                self.replace(role);
            }
            Kind::Pause => {
                let longest = if self.rng.chance(0.2) { 120_000 } else { 12_000 };
                let wait = self.rng.millis(100, longest);
                self.pause(id, wait);
            }
            Kind::Cut => {
                let longest = if self.rng.chance(0.3) { 90_000 } else { 12_000 };
                let wait = self.rng.millis(100, longest);
                if !self.processes[id].cut {
                    self.cut(id, wait);
                }
            }
            Kind::Drain => {
                if !std::mem::replace(&mut self.processes[id].draining, true) {
                    // It forgets what it leaves to others.
                    self.processes[id].away.push((self.now, Now::MAX));
                    self.queue.plan(self.now, Event::Local(id, Local::Drain));
                    self.queue.plan(self.now + DRAIN, Event::Local(id, Local::GiveUp));
                    self.replace(role);
                }
            }
            Kind::Server | Kind::Join => {}
        }
    }

    fn replace(&mut self, role: Role) {
        let after = self.rng.millis(200, 20_000);
        self.queue.plan(self.now + after, Event::Start(role));
    }

    /// Everything that a process knew is gone.
    fn die(&mut self, id: ProcId) {
        self.leaves_nobody(id);
        let process = &mut self.processes[id];
        process.node = None;
        process.away.push((self.now, Now::MAX));
        process.backlog.clear();
        process.up = false;
        self.callers_lose(id);
    }

    /// A process is about to end: what only it knew is forgotten. Two submitters may have parts of one batch, where an
    /// acceptance was lost, and each knows only of its own.
    fn leaves_nobody(&mut self, id: ProcId) {
        let knows = |process: &Process| process.node.as_ref().map(|node| node.knows()).unwrap_or_default();
        let others = self.processes.iter().enumerate().filter(|(other, _)| *other != id);
        let known: BTreeSet<(Bid, Option<Pid>)> = others.flat_map(|(_, process)| knows(process)).collect();
        for (bid, whose) in knows(&self.processes[id]) {
            for (owner, process) in self.processes.iter().enumerate() {
                let meant = process.role == Role::Submitter && whose.is_none_or(|pid| pid == process.pid);
                let is_known = known.contains(&(bid, None)) || known.contains(&(bid, Some(process.pid)));
                if meant && !is_known && self.forgotten.insert((bid, owner)) {
                    let name = &process.name;
                    self.trace.note(self.now, || format!("nobody is left who knows of {bid} of {name}"));
                }
            }
        }
    }

    /// Whoever waits at an ingress loses its connection.
    fn callers_lose(&mut self, ingress: ProcId) {
        let there = |caller: &crate::people::Caller| {
            caller.ingress == ingress && caller.state == CallerState::Waiting
        };
        let lost: Vec<usize> =
            self.people.callers.iter().enumerate().filter(|(_, c)| there(c)).map(|(id, _)| id).collect();
        for caller in lost {
            self.depart(caller);
        }
    }

    /// A process has ended by itself.
    pub(crate) fn finished(&mut self, id: ProcId) {
        let name = &self.processes[id].name;
        self.trace.note(self.now, || format!("{name} has finished"));
        self.leaves_nobody(id);
        let Some(mut node) = self.processes[id].node.take() else { return };
        let mut effects = Vec::new();
        node.farewell(&mut effects);
        for effect in effects {
            if let crate::node::Effect::Publish { subject, reply, payload } = effect {
                self.publish(id, &subject, reply.as_deref(), payload);
            }
        }
        let process = &mut self.processes[id];
        process.away.push((self.now, Now::MAX));
        process.up = false;
        process.backlog.clear();
        let connection = process.connection;
        self.unsubscribe(id, connection);
        self.callers_lose(id);
    }

    fn pause(&mut self, id: ProcId, wait: Duration) {
        let until: Now = self.now + wait;
        let process = &mut self.processes[id];
        if process.paused_until.is_some() {
            return;
        }
        process.paused_until = Some(until);
        process.away.push((self.now, until + LATE));
        let connection = process.connection;
        let notices = self.rng.millis(SERVER_NOTICES.0, SERVER_NOTICES.1);
        if notices < wait {
            self.queue.plan(self.now + notices, Event::Unsubscribe(id, connection));
        }
        self.queue.plan(until, Event::Wake(id));
    }

    /// A paused process goes on: whatever came meanwhile comes at once, and its timers are late. Either may be first.
    pub(crate) fn wake(&mut self, id: ProcId) {
        let now = self.now;
        let process = &mut self.processes[id];
        let over = process.paused_until.is_some_and(|until| until <= now || self.calm);
        if !process.is_alive() || !over {
            return;
        }
        process.paused_until = None;
        let backlog = std::mem::take(&mut process.backlog);
        let name = &process.name;
        self.trace.note(now, || format!("{name} goes on"));
        if self.rng.chance(0.5) {
            self.with(id, |node, now, effects| node.tick(now, effects));
        }
        for waiting in backlog {
            match waiting {
                Waiting::Mail(mail) if self.processes[id].is_alive() => {
                    self.with(id, |node, now, effects| node.mail(now, &mail, effects));
                }
                Waiting::Mail(..) => {}
                Waiting::Local(local) => self.queue.plan(now, Event::Local(id, local)),
            }
        }
        self.check_connection(id);
    }
}
