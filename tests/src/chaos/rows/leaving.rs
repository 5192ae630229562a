//! Processes that are told to stop, as in a rolling restart: nothing is lost.

use std::time::Duration;

use anyhow::Result;
use common::ids::Pid;
use common::wire::reply::Body;
use simulator::{Config, Fault, Op};

use super::submitter::{granted, with};
use crate::chaos::report::{Expect, Outcome};
use crate::chaos::stage::{Setup, Stage, all};

/// The default of `--drain-timeout` and some.
const DRAIN: Duration = Duration::from_secs(45);

pub(super) async fn submitter_polling() -> Result<Outcome> {
    let config = Config { batch_time: Duration::from_secs(5), ..Config::default() };
    let (mut stage, calls, holder) = granted(Setup { name: "14a", config, ..Setup::default() }).await?;
    stage.received(Op::Retrieve, 1).await?;
    stage.submitter(holder)?.terminate()?;
    let crash = stage.crash();
    let status = stage.submitter(holder)?.ended(DRAIN).await?;
    let left = crash.at.elapsed();
    let outcome = stage.conclude(crash, calls, Expect::ONCE).await?;
    let note = format!("it ended after {:.1} s with {status}", left.as_secs_f64());
    Ok(outcome.and(status.success(), &note).note(note))
}

pub(super) async fn submitter_uploading() -> Result<Outcome> {
    let mut stage = Stage::start(with("14b", Fault::Delay { ms: 3_000 }, Op::Upload)).await?;
    let mut ear = stage.spy.answers().await?;
    let calls = stage.calls("14b", 20, &[0])?;
    let holder = ear.grant().await?;
    stage.received(Op::Upload, 1).await?;
    stage.submitter(holder)?.terminate()?;
    let crash = stage.crash();
    let answers = all(calls).await;
    let status = stage.submitter(holder)?.ended(DRAIN).await?;
    let left = crash.at.elapsed();
    let outcome = stage.conclude_with(crash, answers, Expect::ONCE).await?;
    let note = format!("it ended after {:.1} s with {status}", left.as_secs_f64());
    Ok(outcome.and(status.success(), &note).note(note))
}

pub(super) async fn batcher() -> Result<Outcome> {
    let setup = Setup { name: "14c", counts: [1, 2, 1], seal_at: 1000, window: "3s", ..Setup::default() };
    let mut stage = Stage::start(setup).await?;
    let mut ear = stage.spy.announcements().await?;
    let mut answers = stage.spy.answers().await?;
    let calls = stage.calls("14c", 20, &[0])?;
    let pid: Pid = ear.addressee().await?;
    answers.answer("an acknowledgement", |body| matches!(body, Body::AnnounceAck(_))).await?;
    drop(ear);
    let crash = stage.crash();
    let mut status = None;
    for batcher in stage.batchers.iter_mut().filter(|batcher| batcher.pid == pid) {
        batcher.process.terminate()?;
        status = Some(batcher.process.ended(DRAIN).await?);
    }
    let outcome = stage.conclude(crash, calls, Expect::ONCE).await?;
    Ok(outcome.and(status.is_some_and(|status| status.success()), format!("it ended with {status:?}")))
}
