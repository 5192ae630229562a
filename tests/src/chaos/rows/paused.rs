//! The submitter stands still for longer than others believe in it, and wakes.

use std::time::Duration;

use anyhow::Result;
use common::wire::to_ingress::Body;
use simulator::{Config, Fault, Op};

use super::submitter::{granted, with};
use crate::chaos::report::{Expect, Outcome};
use crate::chaos::stage::{Setup, Stage, all};

/// How long a woken submitter is watched for what it must not do.
const WATCHED: Duration = Duration::from_secs(4);

/// Paused when the provider receives a call, woken when everybody has an answer.
async fn paused_at(setup: Setup, op: Op) -> Result<Outcome> {
    let (mut stage, calls, holder) = granted(setup).await?;
    stage.received(op, 1).await?;
    stage.submitter(holder)?.pause()?;
    let crash = stage.crash();
    let answers = all(calls).await;
    let creates = stage.simulator.received(Op::Create);
    stage.submitter(holder)?.resume()?;
    tokio::time::sleep(WATCHED).await;
    let more = stage.simulator.received(Op::Create) - creates;
    let outcome = stage.conclude_with(crash, answers, Expect::ONCE).await?;
    Ok(outcome.note(format!("creations sent after it woke: {more}")))
}

pub(super) async fn while_uploading() -> Result<Outcome> {
    paused_at(with("8.4", Fault::Delay { ms: 5_000 }, Op::Upload), Op::Upload).await
}

pub(super) async fn during_the_post() -> Result<Outcome> {
    paused_at(with("8.6", Fault::Delay { ms: 5_000 }, Op::Create), Op::Create).await
}

pub(super) async fn while_polling() -> Result<Outcome> {
    let config = Config { batch_time: Duration::from_secs(2), ..Config::default() };
    paused_at(Setup { name: "8.7p", config, ..Setup::default() }, Op::Retrieve).await
}

/// Woken while the job still runs that another has taken over: it must leave it alone.
pub(super) async fn while_the_job_runs() -> Result<Outcome> {
    let config = Config { batch_time: Duration::from_secs(18), ..Config::default() };
    let (mut stage, calls, holder) = granted(Setup { name: "8.7r", config, ..Setup::default() }).await?;
    stage.received(Op::Retrieve, 1).await?;
    stage.submitter(holder)?.pause()?;
    let crash = stage.crash();
    for other in stage.submitters.iter().filter(|other| other.pid != holder) {
        other.process.says("taking over a batch").await?;
    }
    stage.submitter(holder)?.resume()?;
    let answers = all(calls).await;
    let cancels = stage.simulator.received(Op::Cancel);
    let outcome = stage.conclude_with(crash, answers, Expect::ONCE).await?;
    Ok(outcome.and(cancels == 0, format!("{cancels} cancellations")))
}

pub(super) async fn while_downloading() -> Result<Outcome> {
    paused_at(with("8.7d", Fault::Delay { ms: 5_000 }, Op::Content), Op::Content).await
}

/// The acknowledgement of its intent waits for it: what it does first when it wakes is to create the job.
pub(super) async fn before_the_post(settle: &'static str, in_the_middle: bool) -> Result<Outcome> {
    let name = if in_the_middle { "8.5s" } else { "8.5" };
    let setup = Setup { settle, ..with(name, Fault::Hold, Op::Upload) };
    let (mut stage, calls, holder) = granted(setup).await?;
    stage.received(Op::Upload, 1).await?;
    let mut ear = stage.spy.questions().await?;
    stage.ingresses[0].process.pause()?;
    stage.simulator.let_go();
    ear.question("an intent", |body| matches!(body, Body::Intent(_)).then_some(())).await?;
    stage.submitter(holder)?.pause()?;
    drop(ear);
    stage.ingresses[0].process.resume()?;
    let crash = stage.crash();
    let (answers, woken) = match in_the_middle {
        true => {
            stage.received(Op::Delete, 1).await?;
            let woken = wake(&mut stage, holder)?;
            (all(calls).await, woken)
        }
        false => {
            let answers = all(calls).await;
            (answers, wake(&mut stage, holder)?)
        }
    };
    tokio::time::sleep(WATCHED).await;
    let own = stage.simulator.received(Op::Create) - woken;
    let refused = stage.submitter(holder)?.log().contains("the provider's answer");
    let outcome = stage.conclude_with(crash, answers, Expect::ONCE).await?;
    Ok(outcome.note(format!("creations since it woke: {own}; it met a refusal: {refused}")))
}

/// Returns how many creations there were until then.
fn wake(stage: &mut Stage, holder: common::ids::Pid) -> Result<u64> {
    let creates = stage.simulator.received(Op::Create);
    stage.submitter(holder)?.resume()?;
    Ok(creates)
}
