//! What each user may say and hear, subject by subject.

use bytes::Bytes;
use common::bus::{Bus, NatsBus, NatsOptions, Status};
use common::ids::{Pid, Rid};
use common::subjects::Subjects;
use common::wire::Role;
use tests::processes::PATIENCE;
use tokio::io::AsyncBufReadExt as _;

use super::raw::Raw;
use super::{USERS, assert_hushed, password, server};

const INGRESS: &str = "ingress";
const BATCHER: &str = "batcher";
const SUBMITTER: &str = "submitter";

/// A kind of subject: how one process has it, how all do, who may publish there, and who may listen.
type Row = (String, String, &'static [&'static str], &'static [&'static str]);

/// All kinds of subjects that there are.
fn rows() -> Vec<Row> {
    let (subjects, pid) = (Subjects::new("llmp"), Pid::random());
    let row = |subject: String, from: &'static [&str], to: &'static [&str]| {
        let everybody = subject.replace(&pid.to_string(), "*");
        (subject, everybody, from, to)
    };
    let beat = |role| subjects.heartbeat(role, pid);
    let inbox = |role| subjects.inbox(role, pid);
    let reply = |role| subjects.reply(role, pid, 7);
    let result = Subjects::result(&subjects.results_prefix(pid), Rid::random());
    let all: &'static [&str] = &[INGRESS, BATCHER, SUBMITTER];
    vec![
        row(beat(Role::Ingress), &[INGRESS], all),
        row(beat(Role::Batcher), &[BATCHER], &[INGRESS, BATCHER]),
        row(beat(Role::Submitter), &[SUBMITTER], all),
        row(inbox(Role::Ingress), &[INGRESS, SUBMITTER], &[INGRESS]),
        row(inbox(Role::Batcher), &[INGRESS], &[BATCHER]),
        row(inbox(Role::Submitter), &[INGRESS, BATCHER], &[SUBMITTER]),
        row(subjects.body(pid), &[SUBMITTER], &[INGRESS]),
        row(result, &[SUBMITTER], &[INGRESS]),
        row(reply(Role::Ingress), all, &[INGRESS]),
        row(reply(Role::Batcher), &[SUBMITTER], &[BATCHER]),
        row(reply(Role::Submitter), &[INGRESS], &[SUBMITTER]),
        ("_R.x.1".into(), "_R.x.*".into(), all, all),
    ]
}

/// Wider than anybody may listen, or beside the deployment.
const NOBODYS: [&str; 18] = [
    ">",
    "*",
    "*.>",
    "llmp.>",
    "llmp.v1.>",
    "llmp.v1.ing.>",
    "llmp.v1.bat.>",
    "llmp.v1.sub.>",
    "llmp.v1.*.*.in",
    "llmp.v1.*.*.body",
    "llmp.v1.*.*.re.*",
    "llmp.v1.hb.*.*",
    "llmp.v1.ing.*.*",
    "llmp.v1.ing.*.*.*",
    "_R.>",
    "_INBOX.>",
    "$SYS.>",
    "other.v1.hb.ing.*",
];

#[tokio::test]
async fn each_user_reaches_its_own_rows_and_no_other() {
    let server = server().await;
    for (user, _, password) in USERS {
        let (mut raw, complaints) = Raw::connect(server.port(), Some((user, password))).await;
        assert_eq!(complaints, [""; 0], "{user}");
        for (one, everybody, from, to) in rows() {
            assert_eq!(raw.may_publish(&one).await, from.contains(&user), "{user} publishes to {one}");
            for subject in [one, everybody] {
                assert_eq!(
                    raw.may_subscribe(&subject).await,
                    to.contains(&user),
                    "{user} listens to {subject}"
                );
            }
        }
        for subject in NOBODYS {
            assert!(!raw.may_subscribe(subject).await, "{user} listens to {subject}");
        }
        for subject in ["other.v1.hb.ing.x", "$SYS.REQ.SERVER.PING", "$JS.API.INFO", "llmp.v1.none.x.in", "x"]
        {
            assert!(!raw.may_publish(subject).await, "{user} publishes to {subject}");
        }
    }
    // That it would be seen in a log is what the end to end test relies on.
    let log = server.log();
    assert!(log.contains("Publish Violation") && log.contains("Subscription Violation"), "{log}");
    assert_hushed(&log);
}

#[tokio::test]
async fn nobody_else_is_let_in() {
    let server = server().await;
    let wrong = [
        None,
        Some(("", "")),
        Some(("ingress", "")),
        Some(("ingress", "wrong")),
        Some(("ingress", password("batcher"))),
        Some(("admin", password("ingress"))),
    ];
    for login in wrong {
        let (mut raw, complaints) = Raw::connect(server.port(), login).await;
        assert_eq!(complaints, ["'Authorization Violation'"], "{login:?}");
        // And no way around: the connection is closed.
        assert!(raw.0.fill_buf().await.map_or(true, |rest| rest.is_empty()), "{login:?}");
    }
}

/// That a process is gone is told where no permission says so: the answer comes from the server itself.
#[tokio::test]
async fn that_nobody_listens_is_told() {
    let server = server().await;
    let asked = [("ingress", Role::Ingress, Role::Submitter), ("submitter", Role::Submitter, Role::Ingress)];
    for (user, role, other) in asked.into_iter().chain([("batcher", Role::Batcher, Role::Submitter)]) {
        let url = format!("nats://{user}:{}@127.0.0.1:{}", password(user), server.port());
        let bus = NatsBus::connect(NatsOptions::new(&url)).await.unwrap();
        let mut status = bus.status();
        tokio::time::timeout(PATIENCE, status.wait_for(|s| *s == Status::Up)).await.unwrap().unwrap();
        let (subjects, pid) = (Subjects::new("llmp"), Pid::random());
        let mut replies = bus.subscribe(&subjects.replies(role, pid), 8).await.unwrap();
        let reply = subjects.reply(role, pid, 1);
        bus.publish(&subjects.inbox(other, Pid::random()), Some(&reply), Bytes::new()).await.unwrap();
        let answer = tokio::time::timeout(PATIENCE, replies.next()).await.unwrap().unwrap();
        assert!(answer.no_responders && answer.subject == reply, "{user}");
    }
    assert!(!server.log().contains("Violation"), "{}", server.log());
}
