//! What a role says that has the wrong user, or none that the server knows.

use simulator::Config;

use super::{Stage, assert_hushed, password, until};

/// How often the server has said so, before the role's log is looked at.
const TIMES: usize = 4;

pub(crate) fn lines<'a>(log: &'a str, text: &'a str) -> Vec<&'a str> {
    log.lines().filter(|line| line.contains(text)).collect()
}

impl Stage {
    async fn refuses(&self, text: &str) {
        self.refuses_again(text, 0).await;
    }

    /// Waits until the server has said a text so many times more than before.
    pub(crate) async fn refuses_again(&self, text: &str, before: usize) {
        until("the server has refused often enough", async || {
            lines(&self.nats.log(), text).len() >= before + TIMES
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_refused_is_told_once() {
    let stage = Stage::start(Config::default()).await;
    let batcher = stage.role("batcher", "batcher", "batcher", "hush-wrong");
    stage.refuses("authentication error").await;
    let log = batcher.log();
    let told = lines(&log, "does not let this process in");
    assert!(told.len() == 1 && told[0].contains("ERROR"), "{log}");
    assert_eq!(lines(&log.to_lowercase(), "violation"), [""; 0], "{log}");
    assert_hushed(&log);
}

#[tokio::test(flavor = "multi_thread")]
async fn permissions_that_are_missing_are_told_once_each() {
    let stage = Stage::start(Config::default()).await;
    let ingress = stage.role("ingress", "ingress", "batcher", password("batcher"));
    // Heartbeats, once a second.
    stage.refuses("Publish Violation").await;
    ingress.says("Permissions Violation for Publish").await.unwrap();
    let log = ingress.log();
    let told = lines(&log, "NATS forbids this process what its role needs");
    assert!(told.iter().all(|line| line.contains("ERROR")), "{log}");
    for row in [".in\"", ".body\"", ".r.*\"", ".re.*\""] {
        assert_eq!(told.iter().filter(|line| line.ends_with(row)).count(), 1, "{row}: {told:#?}");
    }
    assert_eq!(told.iter().filter(|line| line.contains(".hb.ing.")).count(), 1, "{told:#?}");
    assert_eq!(told.len(), 5, "{told:#?}");
    assert_hushed(&log);
}
