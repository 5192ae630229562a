//! Is NATS reachable, and who else is there?

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use common::bus::{Bus, Status};
use common::ids::Pid;
use common::seal::Keyring;
use common::subjects::Subjects;
use common::wire::{Heartbeat, Role};
use prost::Message as _;

use super::Report;
use crate::commands::serve::ServeArgs;
use crate::startup;

/// How long NATS may take to answer.
const CONNECT: Duration = Duration::from_secs(5);
/// Two heartbeats and a bit: who is there is heard within it.
const LISTEN: Duration = Duration::from_millis(2500);
/// Heartbeats that may wait to be looked at.
const WAITING: usize = 4096;
/// Processes that are counted; a deployment has far fewer.
const MOST: usize = 10_000;
/// The roles that say that they are there, and what one of each is called.
const ROLES: [(Role, &str); 3] =
    [(Role::Ingress, "ingress"), (Role::Batcher, "batcher"), (Role::Submitter, "submitter")];

/// What was heard of a process.
struct Seen {
    role: Role,
    draining: bool,
    /// Whether it shares our cluster secret. Batchers have none.
    stranger: bool,
}

/// Checks the cluster secret, the connection, and who is in sight.
pub(crate) async fn check(args: &ServeArgs, report: &mut Report) {
    let keyring = startup::keyring(&args.bus, &args.secret);
    match &keyring {
        Ok(_) => report.ok("cluster secret", "long enough"),
        Err(error) => report.failed("cluster secret", error),
    }
    let Some(bus) = connect(args, report).await else { return };
    let subjects = Subjects::new(&args.bus.subject_prefix);
    match listen(&bus, &subjects, keyring.ok().as_ref()).await {
        Ok(seen) => roles(&seen, report),
        Err(error) => report.failed("roles", error),
    }
}

async fn connect(args: &ServeArgs, report: &mut Report) -> Option<Arc<dyn Bus>> {
    let servers = startup::without_login(args.bus.nats.as_deref().unwrap_or_default());
    let bus = match startup::bus(&args.bus, "check").await {
        Ok(bus) => bus,
        Err(error) => {
            report.failed("NATS", error);
            return None;
        }
    };
    let mut status = bus.status();
    let up = tokio::time::timeout(CONNECT, status.wait_for(|status| *status == Status::Up)).await;
    if matches!(up, Ok(Ok(_))) {
        report.ok("NATS", format_args!("connected to {servers}"));
        return Some(bus);
    }
    let seconds = CONNECT.as_secs();
    report
        .failed("NATS", format_args!("no connection to {servers} within {seconds} s; --log info tells why"));
    None
}

/// Listens for heartbeats.
async fn listen(
    bus: &Arc<dyn Bus>,
    subjects: &Subjects,
    keyring: Option<&Keyring>,
) -> Result<HashMap<Pid, Seen>, common::bus::BusError> {
    let [mut ingresses, mut batchers, mut submitters] = [
        bus.subscribe(&subjects.heartbeats(Role::Ingress), WAITING).await?,
        bus.subscribe(&subjects.heartbeats(Role::Batcher), WAITING).await?,
        bus.subscribe(&subjects.heartbeats(Role::Submitter), WAITING).await?,
    ];
    let mut seen = HashMap::new();
    let end = tokio::time::sleep(LISTEN);
    tokio::pin!(end);
    loop {
        let message = tokio::select! {
            () = &mut end => return Ok(seen),
            Some(message) = ingresses.next() => message,
            Some(message) = batchers.next() => message,
            Some(message) = submitters.next() => message,
            else => return Ok(seen),
        };
        let Ok(beat) = Heartbeat::decode(message.payload) else { continue };
        note(&mut seen, &beat, keyring);
    }
}

fn note(seen: &mut HashMap<Pid, Seen>, beat: &Heartbeat, keyring: Option<&Keyring>) {
    let Ok(pid) = Pid::from_slice(&beat.pid) else { return };
    if beat.leaving {
        seen.remove(&pid);
    } else if seen.len() < MOST {
        let role = beat.role();
        let member = |keyring: &Keyring| keyring.is_member(role, pid, &beat.public_key, &beat.auth);
        let stranger = role != Role::Batcher && keyring.is_some_and(|keyring| !member(keyring));
        seen.insert(pid, Seen { role, draining: beat.draining, stranger });
    }
}

fn roles(seen: &HashMap<Pid, Seen>, report: &mut Report) {
    let count =
        |role, wanted: fn(&Seen) -> bool| seen.values().filter(|one| one.role == role && wanted(one)).count();
    let line = ROLES.map(|(role, name)| {
        let draining = match count(role, |one| one.draining) {
            0 => String::new(),
            draining => format!(", {draining} of them about to end"),
        };
        format!("{name}: {}{draining}", count(role, |_| true))
    });
    let line = format!("in sight: {}", line.join("; "));
    match seen.values().filter(|one| one.stranger).count() {
        0 => report.ok("roles", line),
        strangers => {
            report.failed("roles", format_args!("{line}; {strangers} of them with another cluster secret"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(role: Role, keyring: &Keyring) -> Heartbeat {
        let pid = Pid::random();
        let auth = keyring.membership(role, pid, b"");
        Heartbeat { pid: pid.to_bytes(), role: role.into(), auth, ..Default::default() }
    }

    #[test]
    fn another_secret_is_noticed_but_not_at_batchers() {
        let (ours, theirs) = (Keyring::for_one_process(), Keyring::for_one_process());
        let mut seen = HashMap::new();
        note(&mut seen, &beat(Role::Ingress, &ours), Some(&ours));
        note(&mut seen, &beat(Role::Batcher, &theirs), Some(&ours));
        assert!(seen.values().all(|one| !one.stranger));
        let stranger = beat(Role::Submitter, &theirs);
        note(&mut seen, &stranger, Some(&ours));
        assert_eq!(seen.values().filter(|one| one.stranger).count(), 1);
        note(&mut seen, &Heartbeat { leaving: true, ..stranger }, Some(&ours));
        assert_eq!(seen.len(), 2);
    }
}
