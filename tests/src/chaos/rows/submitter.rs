//! The submitter is killed; another one is there.

use std::time::Duration;

use anyhow::Result;
use common::ids::Pid;
use common::wire::to_ingress::Body;
use simulator::{Config, Fault, Op, Rule};

use crate::chaos::client::{Calls, Manner};
use crate::chaos::report::{Expect, Outcome};
use crate::chaos::stage::{Setup, Stage};

/// Longer than the recovery takes.
const LONG: u64 = 120_000;

/// 20 calls in one batch, and the submitter that got their grant.
pub(super) async fn granted(setup: Setup) -> Result<(Stage, Calls, Pid)> {
    let name = setup.name;
    let mut stage = Stage::start(setup).await?;
    let mut ear = stage.spy.answers().await?;
    let calls = stage.calls(name, 20, &[0])?;
    let holder = ear.grant().await?;
    Ok((stage, calls, holder))
}

/// A setup with one call that is held back or lost.
pub(super) fn with(name: &'static str, fault: Fault, op: Op) -> Setup {
    Setup { name, faults: vec![Rule::new(fault).on([op]).first(1)], ..Setup::default() }
}

pub(super) async fn killed_before_its_grant() -> Result<Outcome> {
    let setup = Setup { name: "3", window: "1500ms", seal_at: 1000, ..Setup::default() };
    let mut stage = Stage::start(setup).await?;
    let mut answers = stage.spy.answers().await?;
    let mut questions = stage.spy.questions().await?;
    let calls = stage.calls("3", 20, &[0])?;
    answers
        .answer("an acknowledgement", |body| matches!(body, common::wire::reply::Body::AnnounceAck(_)))
        .await?;
    stage.ingresses[0].process.pause()?;
    let claimant = questions
        .question("a claim", |body| match body {
            Body::Claim(claim) => Pid::from_slice(&claim.submitter).ok(),
            _ => None,
        })
        .await?;
    drop(questions);
    let crash = stage.kill_submitter(claimant)?;
    stage.ingresses[0].process.resume()?;
    stage.conclude(crash, calls, Expect::ONCE).await
}

async fn killed_at(setup: Setup, op: Op) -> Result<Outcome> {
    let (mut stage, calls, holder) = granted(setup).await?;
    stage.received(op, 1).await?;
    let crash = stage.kill_submitter(holder)?;
    stage.conclude(crash, calls, Expect::ONCE).await
}

pub(super) async fn killed_while_uploading() -> Result<Outcome> {
    killed_at(with("4", Fault::Delay { ms: LONG }, Op::Upload), Op::Upload).await
}

pub(super) async fn killed_before_the_post() -> Result<Outcome> {
    killed_at(with("5", Fault::Reset, Op::Create), Op::Create).await
}

pub(super) async fn killed_during_the_post() -> Result<Outcome> {
    killed_at(with("6a", Fault::Delay { ms: LONG }, Op::Create), Op::Create).await
}

pub(super) async fn killed_while_the_post_is_late(ms: u64) -> Result<Outcome> {
    let (mut stage, calls, holder) = granted(with("6bc", Fault::Late { ms }, Op::Create)).await?;
    stage.received(Op::Create, 1).await?;
    let crash = stage.kill_submitter(holder)?;
    let answers = crate::chaos::stage::all(calls).await;
    // The late creation must have had its effect, if it has one.
    let rest = Duration::from_millis(ms + 500).saturating_sub(crash.at.elapsed());
    tokio::time::sleep(rest).await;
    stage.conclude_with(crash, answers, Expect::ONCE).await
}

pub(super) async fn killed_while_polling() -> Result<Outcome> {
    let config = Config { batch_time: Duration::from_secs(2), ..Config::default() };
    killed_at(Setup { name: "7a", config, ..Setup::default() }, Op::Retrieve).await
}

pub(super) async fn killed_while_downloading() -> Result<Outcome> {
    killed_at(with("7b", Fault::Delay { ms: LONG }, Op::Content), Op::Content).await
}

pub(super) async fn killed_while_delivering() -> Result<Outcome> {
    let setup = Setup { seal_at: 60, ..with("7c", Fault::Delay { ms: 5_000 }, Op::Content) };
    let mut stage = Stage::start(setup).await?;
    let mut answers = stage.spy.answers().await?;
    let manner = Manner { words: "size:100000", ..Manner::at(vec![stage.url(0)]) };
    let calls = stage.calls_as("7c", 60, &manner)?;
    let holder = answers.grant().await?;
    stage.received(Op::Content, 1).await?;
    stage.ingresses[0].process.pause()?;
    let mut results = stage.spy.results().await?;
    results.anything().await?;
    let crash = stage.kill_submitter(holder)?;
    drop(results);
    stage.ingresses[0].process.resume()?;
    stage.conclude(crash, calls, Expect::ONCE).await
}
