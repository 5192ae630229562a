//! The ingress dies or cannot be reached, and with it what its callers wait on.

use std::time::Duration;

use anyhow::{Context as _, Result};
use common::wire::reply::Body;
use simulator::{Config, Fault, Op, Simulator};

use super::submitter::with;
use crate::calls::Call;
use crate::chaos::client::{Calls, Manner};
use crate::chaos::report::{Expect, Outcome, judge};
use crate::chaos::stage::{Crash, Logs, Setup, Stage, all, variables};
use crate::processes::{LOOK, Process, executable};

/// How long what must not happen is waited for.
const WATCHED: Duration = Duration::from_secs(6);

pub(super) async fn killed_before_the_claim() -> Result<Outcome> {
    let setup = Setup { name: "9", seal_at: 1000, window: "3s", ..Setup::default() };
    let mut stage = Stage::start(setup).await?;
    let mut ear = stage.spy.answers().await?;
    let calls = stage.calls("9", 20, &[0])?;
    ear.answer("an acknowledgement", |body| matches!(body, Body::AnnounceAck(_))).await?;
    stage.ingresses[0].process.kill()?;
    let crash = stage.crash();
    let answers = all(calls).await;
    tokio::time::sleep(WATCHED).await;
    let uploads = stage.simulator.received(Op::Upload);
    let outcome = stage.conclude_with(crash, answers, Expect::NEVER).await?;
    Ok(outcome.and(uploads == 0, format!("{uploads} uploads")))
}

/// Two ingresses with ten calls each in one batch, whose job runs for some seconds. Callers of the first that send
/// again do so at the other.
async fn shared(name: &'static str, cable: bool, retries: u32) -> Result<(Stage, Calls, Calls)> {
    let config = Config { batch_time: Duration::from_secs(4), ..Config::default() };
    let setup = Setup { name, counts: [2, 1, 2], config, cable, ..Setup::default() };
    let mut stage = Stage::start(setup).await?;
    let (urls, fallback) = (vec![stage.url(0)], Some(stage.url(1)));
    let first = stage.calls_as("first", 10, &Manner { fallback, retries, ..Manner::at(urls) })?;
    let other = stage.calls("other", 10, &[1])?;
    stage.received(Op::Retrieve, 1).await?;
    Ok((stage, first, other))
}

pub(super) async fn killed_after_create(retries: u32) -> Result<Outcome> {
    let name = if retries == 0 { "10a" } else { "10b" };
    let (mut stage, first, other) = shared(name, false, retries).await?;
    stage.ingresses[0].process.kill()?;
    let crash = stage.crash();
    let mut answers = all(other).await;
    answers.extend(all(first).await);
    let unanswered = if retries == 0 { "first" } else { "-" };
    stage.conclude_with(crash, answers, Expect { unanswered, ..Expect::ONCE }).await
}

pub(super) async fn cut_off(seconds: u64) -> Result<Outcome> {
    let name = if seconds < 60 { "11a" } else { "11b" };
    let (stage, first, other) = shared(name, true, 0).await?;
    let cable = stage.cable.as_ref().context("there is a cable")?;
    cable.cut();
    let crash = stage.crash();
    let others = tokio::spawn(all(other));
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    cable.mend();
    let mut answers = others.await?;
    let by_then = answers.iter().filter(|answer| answer.wrong().is_none()).count();
    answers.extend(all(first).await);
    let outcome = stage.conclude_with(crash, answers, Expect::ONCE).await?;
    Ok(outcome.note(format!("{by_then} calls of the other ingress were answered meanwhile")))
}

pub(super) async fn paused() -> Result<Outcome> {
    let (stage, first, other) = shared("11d", false, 0).await?;
    stage.ingresses[0].process.pause()?;
    let crash = stage.crash();
    let mut answers = all(other).await;
    // Longer than it is believed in.
    tokio::time::sleep(Duration::from_secs(12).saturating_sub(crash.at.elapsed())).await;
    stage.ingresses[0].process.resume()?;
    answers.extend(all(first).await);
    stage.conclude_with(crash, answers, Expect::ONCE).await
}

/// Nobody but this ingress waits for the job, which runs on: it must not be cancelled as nobody's.
pub(super) async fn cut_off_alone() -> Result<Outcome> {
    let config = Config { batch_time: Duration::from_secs(22), ..Config::default() };
    let setup = Setup { name: "11c", counts: [1, 1, 2], config, cable: true, ..Setup::default() };
    let mut stage = Stage::start(setup).await?;
    let calls = stage.calls("11c", 20, &[0])?;
    stage.received(Op::Retrieve, 1).await?;
    let cable = stage.cable.as_ref().context("there is a cable")?;
    cable.cut();
    let crash = stage.crash();
    tokio::time::sleep(Duration::from_secs(15)).await;
    cable.mend();
    let answers = all(calls).await;
    let cancels = stage.simulator.received(Op::Cancel);
    let outcome = stage.conclude_with(crash, answers, Expect::ONCE).await?;
    Ok(outcome.and(cancels == 0, format!("{cancels} cancellations")))
}

pub(super) async fn killed_together() -> Result<Outcome> {
    let setup = Setup { counts: [2, 1, 2], ..with("12", Fault::Delay { ms: 120_000 }, Op::Create) };
    let mut stage = Stage::start(setup).await?;
    let mut ear = stage.spy.answers().await?;
    let calls = stage.calls("12", 20, &[0])?;
    let holder = ear.grant().await?;
    stage.received(Op::Create, 1).await?;
    stage.ingresses[0].process.kill()?;
    let crash = stage.kill_submitter(holder)?;
    let answers = all(calls).await;
    // Longer than it takes to suspect anybody.
    tokio::time::sleep(WATCHED * 2).await;
    stage.conclude_with(crash, answers, Expect::AT_MOST_ONCE).await
}

pub(super) async fn embedded() -> Result<Outcome> {
    let logs = Logs::new("13")?;
    let simulator = Simulator::start(Config::default()).await?;
    simulator.set_faults(with("13", Fault::Delay { ms: 120_000 }, Op::Create).faults);
    let url = format!("--openai-url={}", simulator.url());
    let args = ["serve", "--listen=127.0.0.1:0", &url, "--window=200ms"].map(String::from);
    let mut process = Process::start(&executable()?, "serve", &args, &variables(), logs.dir())?;
    let address = process.says("listening on http://").await?;
    let manner = Manner::at(vec![format!("http://{}/v1", address.trim())]);
    let calls = Calls::make(&Call::spread("13", 20, 1, 1), &manner)?;
    let markers = calls.markers().to_vec();
    while simulator.received(Op::Create) == 0 {
        tokio::time::sleep(LOOK).await;
    }
    process.kill()?;
    let crash = Crash { at: std::time::Instant::now(), ops: simulator.state().ops };
    let answers = all(calls).await;
    Ok(judge(&simulator, &crash, &markers, &answers, Expect::AT_MOST_ONCE).await)
}
