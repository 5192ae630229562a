//! The bus between the processes: as thin as core NATS, and as unreliable.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use common::timers::Now;
use common::wire::Role;

use crate::node::{Local, Mail, ProcId};
use crate::process::Waiting;
use crate::trace::describe;
use crate::world::{Event, World};

/// How long the server takes to find out that a client is gone that does not say so (pings of 2 s, two of them).
pub(crate) const SERVER_NOTICES: (u64, u64) = (2_000, 4_500);
/// How long a client takes to find out that nothing passes (pings of 5 s).
pub(crate) const CLIENT_NOTICES: (u64, u64) = (5_000, 11_000);
/// How long a client takes to be connected and subscribed anew.
/// How long after it could be reached again a process may not have been heard of by all.
pub(crate) const LATE: Duration = Duration::from_secs(10);
const RECONNECT_MS: (u64, u64) = (5, 1_500);

impl World {
    /// What a process sends. It may be lost, come twice, or late.
    pub(crate) fn publish(&mut self, from: ProcId, subject: &str, reply: Option<&str>, payload: Bytes) {
        self.report.messages += 1;
        if self.marks.iter().any(|mark| mark.find(&payload).is_some()) {
            return self.violation(format!("a secret in the clear on {subject}"));
        }
        self.mark(&[subject.as_bytes(), &payload]);
        let process = &self.processes[from];
        let lost =
            !process.up || process.cut || self.now < self.server_up_at || self.rng.chance(self.knobs.drop);
        let quiet = subject.contains(".hb.");
        let name = &self.processes[from].name;
        if lost {
            self.report.dropped += 1;
            if !quiet {
                self.trace.note(self.now, || {
                    format!("{name} sends into the void: {}", describe(subject, &payload))
                });
            }
            return;
        }
        let receivers = self.subscriptions.of(subject);
        let mail =
            Mail { subject: subject.into(), reply: reply.map(Into::into), payload, no_responders: false };
        if receivers.is_empty() {
            if let Some(reply) = reply {
                self.trace.note(self.now, || {
                    format!("{name}: nobody listens to {}", describe(subject, &mail.payload))
                });
                self.no_responders(reply);
            }
            self.unserved(from, subject);
            return;
        }
        for to in receivers {
            let names = (&self.processes[from].name, &self.processes[to].name);
            if !quiet {
                let (from, to) = names;
                self.trace
                    .note(self.now, || format!("{from} -> {to}: {}", describe(&mail.subject, &mail.payload)));
            }
            self.carry(from, to, &mail);
            if self.rng.chance(self.knobs.duplicate) {
                self.carry(from, to, &mail);
            }
        }
    }

    /// A submitter takes an ingress for dead whose subjects are not served.
    fn unserved(&mut self, from: ProcId, subject: &str) {
        let Some(pid) = subject.split('.').nth(3).and_then(|pid| pid.parse().ok()) else { return };
        if self.processes[from].role == Role::Submitter && subject.contains(".ing.") {
            self.given_up(from, pid);
        }
    }

    fn no_responders(&mut self, reply: &str) {
        let mail = Mail { subject: reply.into(), reply: None, payload: Bytes::new(), no_responders: true };
        for to in self.subscriptions.of(reply) {
            let at = self.now + self.rng.millis(0, 2);
            let connection = self.processes[to].connection;
            self.queue.plan(at, Event::Mail(to, connection, mail.clone()));
        }
    }

    /// One copy to one receiver. What one sends to one subject of another keeps its order.
    fn carry(&mut self, from: ProcId, to: ProcId, mail: &Mail) {
        let slow = self.rng.chance(self.knobs.slow);
        let way = if slow {
            self.rng.millis(1, self.knobs.slow_ms)
        } else {
            Duration::from_micros(self.rng.between(50, 2_000))
        };
        let mut at: Now = self.now + way;
        if let Some(kind) = ordered(&mail.subject) {
            let last = self.last_arrival.entry((from, to, kind)).or_default();
            at = at.max(*last);
            *last = at;
        }
        let connection = self.processes[to].connection;
        self.queue.plan(at, Event::Mail(to, connection, mail.clone()));
    }

    pub(crate) fn mail(&mut self, to: ProcId, connection: u32, mail: Mail) {
        let process = &mut self.processes[to];
        if !process.is_alive() || process.cut || process.connection != connection {
            return self.report.dropped += 1;
        }
        if process.paused_until.is_some() {
            return process.backlog.push_back(Waiting::Mail(mail));
        }
        if mail.no_responders {
            let name = &self.processes[to].name;
            let token = mail.subject.rsplit('.').next().unwrap_or_default();
            self.trace.note(self.now, || format!("{name}: {token}: no responders"));
        }
        self.with(to, |node, now, effects| node.mail(now, &mail, effects));
    }

    /// The server drops a connection: from now on nobody serves its subjects.
    pub(crate) fn unsubscribe(&mut self, id: ProcId, connection: u32) {
        if self.processes[id].connection == connection {
            self.subscriptions.remove(id);
            self.processes[id].connection += 1;
            let name = &self.processes[id].name;
            self.trace.note(self.now, || format!("the server drops {name}"));
            self.processes[id].away.push((self.now, self.now + LATE));
            self.check_connection(id);
        }
    }

    /// A process sees that its connection is gone, and tries to connect anew when it can.
    pub(crate) fn disconnect(&mut self, id: ProcId, connection: u32) {
        let process = &self.processes[id];
        if !process.is_alive() || connection > process.connection || !process.up {
            return;
        }
        self.subscriptions.remove(id);
        let process = &mut self.processes[id];
        process.connection += 1;
        process.up = false;
        self.queue.plan(self.now, Event::Local(id, Local::Bus(false)));
        self.reconnect(id);
    }

    pub(crate) fn reconnect(&mut self, id: ProcId) {
        let wait = self.rng.millis(RECONNECT_MS.0, RECONNECT_MS.1);
        self.queue.plan(self.now.max(self.server_up_at) + wait, Event::Connect(id));
    }

    pub(crate) fn connect(&mut self, id: ProcId) {
        let process = &mut self.processes[id];
        // A paused process connects when it goes on, one without a network when that is healed.
        if !process.is_alive() || process.up || process.cut || process.paused_until.is_some() {
            return;
        }
        if self.now < self.server_up_at {
            return self.reconnect(id);
        }
        process.up = true;
        process.connection += 1;
        let subjects = process.node.as_ref().map(|node| node.subscriptions()).unwrap_or_default();
        for subject in subjects {
            self.subscriptions.add(&subject, id);
        }
        self.queue.plan(self.now, Event::Local(id, Local::Bus(true)));
    }

    pub(crate) fn cut(&mut self, id: ProcId, wait: Duration) {
        let process = &mut self.processes[id];
        process.cut = true;
        process.away.push((self.now, self.now + wait + LATE));
        let connection = process.connection;
        let server = self.rng.millis(SERVER_NOTICES.0, SERVER_NOTICES.1);
        let client = self.rng.millis(CLIENT_NOTICES.0, CLIENT_NOTICES.1);
        if server < wait {
            self.queue.plan(self.now + server, Event::Unsubscribe(id, connection));
        }
        if client < wait {
            self.queue.plan(self.now + client, Event::Disconnect(id, connection + 1));
        }
        self.queue.plan(self.now + wait, Event::Heal(id));
    }

    /// The network is back: what the server has given up meanwhile, the client notices now.
    pub(crate) fn heal(&mut self, id: ProcId) {
        let process = &mut self.processes[id];
        if !std::mem::take(&mut process.cut) || !process.is_alive() {
            return;
        }
        let name = &self.processes[id].name;
        self.trace.note(self.now, || format!("{name} is connected to the network again"));
        self.check_connection(id);
    }

    /// Notices a connection that the server has dropped.
    pub(crate) fn check_connection(&mut self, id: ProcId) {
        let process = &self.processes[id];
        let Some(node) = process.node.as_ref().filter(|_| process.paused_until.is_none() && !process.cut)
        else {
            return;
        };
        let served = node.subscriptions().first().is_some_and(|s| self.subscriptions.of(s).contains(&id));
        match (process.up, served) {
            (true, true) => {}
            (true, false) => self
                .queue
                .plan(self.now + Duration::from_millis(1), Event::Disconnect(id, process.connection)),
            (false, _) => self.reconnect(id),
        }
    }

    /// The server of the bus starts anew and knows nobody.
    pub(crate) fn restart_server(&mut self) {
        let away = self.rng.millis(100, 8_000);
        self.server_up_at = self.now + away;
        for id in 0..self.processes.len() {
            self.processes[id].away.push((self.now, self.now + away + LATE));
            if !self.processes[id].is_alive() || self.processes[id].cut {
                continue;
            }
            let connection = self.processes[id].connection;
            self.unsubscribe(id, connection);
            let notices = self.rng.millis(0, 50);
            if self.processes[id].paused_until.is_none() {
                self.queue.plan(self.now + notices, Event::Disconnect(id, connection + 1));
            }
        }
    }
}

/// Kinds of subjects on which messages keep their order. Answers and results have subjects of their own, one for each.
fn ordered(subject: &Rc<str>) -> Option<u8> {
    match subject {
        s if s.contains(".hb.") => Some(0),
        s if s.ends_with(".in") => Some(1),
        s if s.ends_with(".body") => Some(2),
        _ => None,
    }
}
