//! The three roles as their own users, from end to end.

use std::time::Duration;

use reqwest::Client;
use simulator::{Config, Op};
use tests::calls::{Call, ENDPOINTS, Got, judge, make_all};
use tests::processes::{PATIENCE, Process};
use tokio::task::JoinHandle;

use super::{Stage, assert_hushed, until};

/// Where an ingress takes calls, once it can.
pub(crate) async fn url(ingress: &Process) -> String {
    let address = ingress.says("listening on http://").await.unwrap();
    let root = format!("http://{}", address.trim());
    until("an ingress is ready", async || {
        reqwest::get(format!("{root}/readyz")).await.is_ok_and(|answer| answer.status() == 200)
    })
    .await;
    format!("{root}/v1")
}

/// A call as an SDK makes it, having made it so often before.
fn send(call: &Call, url: &str, retry: u32) -> JoinHandle<Got> {
    let request = Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
    let request = request.post(format!("{url}/{}", ENDPOINTS[call.endpoint].0)).bearer_auth(&call.key);
    let request = request.header("content-type", "application/json").header("x-stainless-retry-count", retry);
    let (request, marker) = (request.body(call.body()), call.marker.clone());
    tokio::spawn(async move {
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        judge(status, &answer.bytes().await.unwrap(), &marker).unwrap()
    })
}

impl Stage {
    /// Makes a call whose job is created when this returns.
    async fn call_under_way(&self, name: &str, url: &str) -> (Call, JoinHandle<Got>) {
        let created = self.simulator.received(Op::Create);
        let call = Call::spread(name, 1, 1, 1).remove(0);
        let caller = send(&call, url, 0);
        until("a job is created", async || self.simulator.received(Op::Create) > created).await;
        (call, caller)
    }
}

/// Calls, a retry at another ingress, a submitter that dies and an ingress that dies: everything that is ever said on the
/// bus is permitted to whom it is said by.
#[tokio::test(flavor = "multi_thread")]
async fn every_role_can_work_as_its_own_user() {
    let stage = Stage::start(Config { batch_time: Duration::from_secs(2), ..Config::default() }).await;
    let mut submitter = stage.own("submitter", "submitter-1");
    let (batcher, mut first) = (stage.own("batcher", "batcher"), stage.own("ingress", "ingress-1"));
    let second = stage.own("ingress", "ingress-2");
    let urls = [url(&first).await, url(&second).await];

    let calls = Call::spread("call", 20, 2, 2);
    assert_eq!(make_all(&calls, &urls).await.unwrap(), vec![Got::Own; 20]);

    let (call, caller) = stage.call_under_way("retry", &urls[0]).await;
    caller.abort();
    assert_eq!(send(&call, &urls[1], 1).await.unwrap(), Got::Own);

    let (_, caller) = stage.call_under_way("recovered", &urls[0]).await;
    submitter.kill().unwrap();
    let another = stage.own("submitter", "submitter-2");
    assert_eq!(caller.await.unwrap(), Got::Own);

    let (call, caller) = stage.call_under_way("adopted", &urls[0]).await;
    caller.abort();
    first.kill().unwrap();
    assert_eq!(send(&call, &urls[1], 1).await.unwrap(), Got::Own);

    assert_eq!((stage.simulator.billed_count(), stage.simulator.billed_twice()), (23, Vec::new()));
    let mut logs = vec![stage.nats.log(), submitter.log(), first.log()];
    for mut role in [second, another, batcher] {
        role.terminate().unwrap();
        assert!(role.ended(PATIENCE).await.unwrap().success(), "{}", role.log());
        logs.push(role.log());
    }
    logs.push(stage.nats.log());
    for log in logs {
        assert!(!log.to_lowercase().contains("violation"), "{log}");
        assert_hushed(&log);
    }
}
