//! The nats-server dies.

use std::time::Duration;

use anyhow::Result;
use simulator::{Config, Fault, Op, Rule};

use crate::chaos::client::Calls;
use crate::chaos::report::{Expect, Outcome};
use crate::chaos::stage::{Setup, Stage, all};

pub(super) async fn restarted() -> Result<Outcome> {
    let mut stage = Stage::start(Setup {
        name: "1",
        config: Config { batch_time: Duration::from_secs(6), ..Config::default() },
        faults: vec![Rule::new(Fault::Delay { ms: 5_000 }).on([Op::Upload]).skip(1).first(1)],
        ..Setup::default()
    })
    .await?;
    let mut calls: Vec<Calls> = Vec::new();
    calls.push(stage.calls("submitted", 20, &[0])?);
    stage.received(Op::Retrieve, 1).await?;
    stage.key = "sk-two";
    calls.push(stage.calls("granted", 20, &[0])?);
    stage.received(Op::Upload, 2).await?;
    let mut ear = stage.spy.answers().await?;
    stage.key = "sk-three";
    calls.push(stage.calls("held", 10, &[0])?);
    ear.answer("an acknowledgement", |body| matches!(body, common::wire::reply::Body::AnnounceAck(_)))
        .await?;
    let crash = stage.crash();
    stage.nats.kill()?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    stage.nats.restart()?;
    let mut answers = Vec::new();
    for calls in calls {
        answers.extend(all(calls).await);
    }
    stage.conclude_with(crash, answers, Expect::ONCE).await
}
