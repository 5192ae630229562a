//! Who is there: heartbeats sent, heartbeats heard, and the choice of a process for a piece of work.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use bytes::Bytes;

use crate::ids::Pid;
use crate::timers::Now;
use crate::wire::{Heartbeat, Role};

/// How often a process says that it is there.
pub const HEARTBEAT: Duration = Duration::from_secs(1);
/// A batcher unheard of for this long is given up: it holds nothing that cannot be announced again.
pub const SUSPECT_BATCHER: Duration = Duration::from_secs(4);
/// A submitter or ingress unheard of for this long is given up.
pub const SUSPECT: Duration = Duration::from_secs(8);
/// After so long a silence it is worth asking whether somebody is there: a dead process's subjects are served by nobody.
pub const QUIET: Duration = Duration::from_millis(2_200);
/// Silence says nothing about others while our own bus is down, nor for this long after it came back.
pub const FREEZE: Duration = Duration::from_secs(6);
/// Everybody who hears a process's first heartbeat answers with its own at once: by then they are known.
pub const KNOWN_AFTER: Duration = Duration::from_secs(6);
/// A process looks at the time every second. If it has not for so long, it stood still itself.
pub const STOOD_STILL: Duration = Duration::from_secs(3);
/// Most processes of all roles that are remembered; heartbeats of more are ignored.
const MAX_MEMBERS: usize = 10_000;

/// What a process says of itself.
#[derive(Debug, Clone)]
pub struct Identity {
    /// This process.
    pub pid: Pid,
    /// What it is.
    pub role: Role,
    /// X25519 public key; empty except for submitters.
    pub public_key: Bytes,
    /// Proof of membership; empty for batchers.
    pub auth: Bytes,
}

/// The live processes as one process sees them. Views may differ: that costs efficiency, never correctness.
#[derive(Debug)]
pub struct Members {
    identity: Identity,
    peers: BTreeMap<Pid, Peer>,
    next_beat: Now,
    said_hello: bool,
    draining: bool,
    /// Until when silence is not held against anybody; `None` while the bus is down.
    frozen_until: Option<Now>,
    /// When silence was last looked at.
    looked: Now,
    /// Since when the bus is up.
    up_since: Option<Now>,
    known_after: Duration,
}

#[derive(Debug)]
struct Peer {
    role: Role,
    heard: Now,
    draining: bool,
}

/// What a heartbeat changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A process can be given work now.
    Joined(Pid, Role),
    /// A process said that it takes no new work.
    Draining(Pid, Role),
    /// A process is gone.
    Left(Pid, Role),
}

impl Members {
    /// Nobody known yet.
    pub fn new(identity: Identity) -> Self {
        Self {
            identity,
            peers: BTreeMap::new(),
            next_beat: Now::ZERO,
            said_hello: false,
            draining: false,
            frozen_until: None,
            looked: Now::ZERO,
            up_since: None,
            known_after: KNOWN_AFTER,
        }
    }

    /// The same for a deployment of one process: there is nobody who could not have been heard of.
    #[must_use]
    pub fn of_one_process(self) -> Self {
        Self { known_after: Duration::ZERO, ..self }
    }

    /// This process.
    pub fn pid(&self) -> Pid {
        self.identity.pid
    }

    /// The role of this process.
    pub fn role(&self) -> Role {
        self.identity.role
    }

    /// The heartbeat to send now, if one is due.
    pub fn beat(&mut self, now: Now, load: usize) -> Option<Heartbeat> {
        if now < self.next_beat {
            return None;
        }
        self.next_beat = now + HEARTBEAT;
        let hello = !std::mem::replace(&mut self.said_hello, true);
        Some(Heartbeat { hello, ..self.heartbeat(load) })
    }

    /// The last heartbeat of this process.
    pub fn farewell(&self) -> Heartbeat {
        Heartbeat { leaving: true, draining: true, ..self.heartbeat(0) }
    }

    fn heartbeat(&self, load: usize) -> Heartbeat {
        Heartbeat {
            pid: self.identity.pid.to_bytes(),
            role: self.identity.role.into(),
            public_key: self.identity.public_key.clone(),
            auth: self.identity.auth.clone(),
            draining: self.draining,
            load: load.try_into().unwrap_or(u32::MAX),
            ..Default::default()
        }
    }

    /// This process takes no new work from now on, and says so at once.
    pub fn drain(&mut self, now: Now) {
        self.draining = true;
        self.next_beat = now;
    }

    /// Whether [`Members::drain`] was called.
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// When [`Members::beat`] has something to say.
    pub fn next_beat(&self) -> Now {
        self.next_beat
    }

    /// The bus came or went. Everybody has to hear of us anew after it came.
    pub fn bus(&mut self, now: Now, up: bool) {
        self.frozen_until = up.then_some(now + FREEZE);
        self.up_since = up.then_some(now);
        if up {
            self.said_hello = false;
            self.next_beat = now;
        }
    }

    /// Takes in a heartbeat of another process.
    pub fn hear(&mut self, now: Now, beat: &Heartbeat) -> Option<Change> {
        let pid = Pid::from_slice(&beat.pid).ok().filter(|pid| *pid != self.identity.pid)?;
        let role = beat.role();
        if beat.leaving {
            return self.lost(pid);
        }
        if beat.hello {
            self.next_beat = now;
        }
        let room = self.peers.len() < MAX_MEMBERS;
        match self.peers.get_mut(&pid) {
            Some(peer) => {
                peer.heard = now;
                let was = std::mem::replace(&mut peer.draining, beat.draining);
                (beat.draining && !was).then_some(Change::Draining(pid, role))
            }
            None if room => {
                self.peers.insert(pid, Peer { role, heard: now, draining: beat.draining });
                (!beat.draining).then_some(Change::Joined(pid, role))
            }
            None => None,
        }
    }

    /// This process deals with another whose heartbeat it may not have heard. From now on the other's silence counts.
    pub fn presume(&mut self, now: Now, pid: Pid, role: Role) -> Option<Change> {
        if self.peers.len() >= MAX_MEMBERS || pid == self.identity.pid || self.contains(pid) {
            return None;
        }
        self.peers.insert(pid, Peer { role, heard: now, draining: false });
        Some(Change::Joined(pid, role))
    }

    /// A process is gone for certain: the bus says that nobody serves its subjects, or it said farewell.
    pub fn lost(&mut self, pid: Pid) -> Option<Change> {
        self.peers.remove(&pid).map(|peer| Change::Left(pid, peer.role))
    }

    /// Gives up those that have been silent for too long.
    pub fn expire(&mut self, now: Now) -> Vec<Change> {
        // Who stood still itself has heard nobody, which says nothing about the others.
        let stood_still = now.saturating_sub(std::mem::replace(&mut self.looked, now)) > STOOD_STILL;
        if let Some(until) = self.frozen_until.filter(|_| stood_still) {
            self.frozen_until = Some(until.max(now + FREEZE));
        }
        if self.frozen_until.is_none_or(|until| now < until) {
            return Vec::new();
        }
        let limit = |role| if role == Role::Batcher { SUSPECT_BATCHER } else { SUSPECT };
        let silent = |peer: &Peer| now.saturating_sub(peer.heard) > limit(peer.role);
        let gone: Vec<Pid> = self.peers.iter().filter(|(_, p)| silent(p)).map(|(pid, _)| *pid).collect();
        gone.into_iter().filter_map(|pid| self.lost(pid)).collect()
    }

    /// Whether a process is known and not given up.
    pub fn contains(&self, pid: Pid) -> bool {
        self.peers.contains_key(&pid)
    }

    /// The live processes of a role, those included that take no new work.
    pub fn live(&self, role: Role) -> impl Iterator<Item = Pid> {
        self.peers.iter().filter(move |(_, peer)| peer.role == role).map(|(pid, _)| *pid)
    }

    /// Since when the bus is up.
    pub fn up_since(&self) -> Option<Now> {
        self.up_since
    }

    /// Those of a role who were silent for more than [`QUIET`], though not for so long that they are given up. Nobody while
    /// silence is not held against anybody.
    pub fn quiet(&self, now: Now, role: Role) -> Vec<Pid> {
        if self.frozen_until.is_none_or(|until| now < until) {
            return Vec::new();
        }
        let quiet = |peer: &Peer| peer.role == role && now.saturating_sub(peer.heard) > QUIET;
        self.peers.iter().filter(|(_, peer)| quiet(peer)).map(|(pid, _)| *pid).collect()
    }

    /// Whether everybody had time to be heard of since the bus came up.
    pub fn knows_all(&self, now: Now) -> bool {
        self.known_at().is_some_and(|at| now >= at)
    }

    /// From when on it will be so; `None` while the bus is down.
    pub fn known_at(&self) -> Option<Now> {
        self.up_since.map(|since| since + self.known_after)
    }

    /// Number of live processes of a role that take work.
    pub fn count(&self, role: Role) -> usize {
        self.available(role).count()
    }

    /// The process of a role that `work` belongs to (rendezvous hashing: when a process comes or goes, only its own
    /// share moves). `attempt` 0 is the first choice, 1 the second, and so on, round and round.
    pub fn choose(&self, role: Role, work: &[u8], attempt: usize) -> Option<Pid> {
        let mut ranked: Vec<(u64, Pid)> = self.available(role).map(|pid| (weight(work, pid), pid)).collect();
        if attempt == 0 {
            return ranked.into_iter().max().map(|(_, pid)| pid);
        }
        ranked.sort_unstable_by(|a, b| b.cmp(a));
        ranked.get(attempt % ranked.len().max(1)).map(|(_, pid)| *pid)
    }

    fn available(&self, role: Role) -> impl Iterator<Item = Pid> {
        self.peers.iter().filter(move |(_, peer)| peer.role == role && !peer.draining).map(|(pid, _)| *pid)
    }
}

/// All processes must rank alike, whatever their build: FNV-1a with a final mix, not the standard library's hasher.
fn weight(work: &[u8], pid: Pid) -> u64 {
    let mut fnv = Fnv(0xcbf2_9ce4_8422_2325);
    work.hash(&mut fnv);
    fnv.write(&pid.0);
    let x = fnv.finish();
    (x ^ (x >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(role: Role) -> Identity {
        Identity { pid: Pid::random(), role, public_key: Bytes::new(), auth: Bytes::new() }
    }

    fn seconds(n: u64) -> Now {
        Duration::from_secs(n)
    }

    fn member(role: Role) -> Members {
        let mut members = Members::new(identity(role));
        members.bus(Now::ZERO, true);
        members
    }

    #[test]
    fn a_hello_is_answered_at_once_and_silence_ends_membership() {
        let mut ours = member(Role::Ingress);
        assert!(ours.beat(seconds(0), 0).unwrap().hello);
        assert!(ours.beat(seconds(0), 0).is_none());
        let mut theirs = member(Role::Batcher);
        let hello = theirs.beat(seconds(0), 0).unwrap();
        assert_eq!(ours.hear(seconds(0), &hello), Some(Change::Joined(theirs.pid(), Role::Batcher)));
        assert!(ours.beat(seconds(0), 0).is_some_and(|beat| !beat.hello));
        assert_eq!(ours.choose(Role::Batcher, b"x", 0), Some(theirs.pid()));
        for second in 0..=5 {
            assert_eq!(ours.expire(seconds(second)), [], "frozen after the bus came up");
        }
        assert_eq!(ours.expire(seconds(7)), [Change::Left(theirs.pid(), Role::Batcher)]);
        assert_eq!(ours.choose(Role::Batcher, b"x", 0), None);
    }

    #[test]
    fn nobody_is_suspected_while_the_bus_is_down() {
        let mut ours = member(Role::Ingress);
        let mut theirs = member(Role::Submitter);
        ours.hear(seconds(0), &theirs.beat(seconds(0), 0).unwrap());
        ours.bus(seconds(1), false);
        assert_eq!(ours.expire(seconds(100)), []);
        ours.bus(seconds(100), true);
        for second in 100..=105 {
            assert_eq!(ours.expire(seconds(second)), []);
        }
        assert_eq!(ours.expire(seconds(107)), [Change::Left(theirs.pid(), Role::Submitter)]);
    }

    #[test]
    fn who_stood_still_suspects_nobody_at_once() {
        let mut ours = member(Role::Submitter);
        let mut theirs = member(Role::Ingress);
        ours.hear(seconds(0), &theirs.beat(seconds(0), 0).unwrap());
        (0..20).for_each(|second| {
            drop((ours.hear(seconds(second), &theirs.heartbeat(0)), ours.expire(seconds(second))))
        });
        // Stopped for a minute: the others' words of that time are still to be read.
        for second in 80..86 {
            assert_eq!(ours.expire(seconds(second)), [], "{second}");
        }
        assert_eq!(ours.expire(seconds(86)), [Change::Left(theirs.pid(), Role::Ingress)]);
    }

    #[test]
    fn who_was_dealt_with_but_never_heard_is_given_up_all_the_same() {
        let mut ours = member(Role::Submitter);
        let theirs = member(Role::Ingress);
        ours.presume(seconds(0), theirs.pid(), Role::Ingress);
        assert!(ours.contains(theirs.pid()));
        for second in 0..=8 {
            // Once more does not make it heard.
            ours.presume(seconds(second), theirs.pid(), Role::Ingress);
            assert_eq!(ours.expire(seconds(second)), [], "{second}");
        }
        assert_eq!(ours.expire(seconds(9)), [Change::Left(theirs.pid(), Role::Ingress)]);
    }

    #[test]
    fn draining_and_leaving_processes_get_no_work() {
        let mut ours = member(Role::Batcher);
        let mut theirs = member(Role::Submitter);
        ours.hear(seconds(0), &theirs.beat(seconds(0), 0).unwrap());
        theirs.drain(seconds(1));
        let beat = theirs.beat(seconds(1), 0).unwrap();
        assert_eq!(ours.hear(seconds(1), &beat), Some(Change::Draining(theirs.pid(), Role::Submitter)));
        assert_eq!(ours.choose(Role::Submitter, b"x", 0), None);
        assert!(ours.contains(theirs.pid()));
        assert_eq!(
            ours.hear(seconds(1), &theirs.farewell()),
            Some(Change::Left(theirs.pid(), Role::Submitter))
        );
    }

    #[test]
    fn rendezvous_is_balanced_and_moves_only_the_share_of_who_left() {
        let mut ours = member(Role::Ingress);
        for _ in 0..4 {
            ours.hear(seconds(0), &member(Role::Batcher).beat(seconds(0), 0).unwrap());
        }
        let works: Vec<[u8; 4]> = (0u32..4000).map(u32::to_be_bytes).collect();
        let before: Vec<Pid> = works.iter().map(|w| ours.choose(Role::Batcher, w, 0).unwrap()).collect();
        let gone = before[0];
        let share = before.iter().filter(|pid| **pid == gone).count();
        assert!((700..1300).contains(&share), "{share} of 4000 at one of four");
        ours.lost(gone);
        for (work, was) in works.iter().zip(before) {
            let is = ours.choose(Role::Batcher, work, 0).unwrap();
            assert!(was == gone || was == is);
        }
        let all: std::collections::BTreeSet<_> =
            (0..3).map(|attempt| ours.choose(Role::Batcher, b"x", attempt).unwrap()).collect();
        assert_eq!(all.len(), 3, "attempts go through all");
    }
}
