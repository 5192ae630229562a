//! A call that is sent again reaches another ingress than before.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result};
use common::wire::reply::Body;
use simulator::{Fault, Op, Rule};
use tokio::sync::watch;

use crate::chaos::client::{Answer, Manner, Mark};
use crate::chaos::report::{Expect, Outcome};
use crate::chaos::stage::{Setup, Stage, all};

/// Longer than the drain timeout that is given, and some.
const DRAIN: Duration = Duration::from_secs(45);
/// Answers of this size do not fit into the buffers of a connection.
const LARGE: &str = "size:8000000";

/// Where an ingress counts callers that went away.
const ABANDONED: &str = "/requests/failed";
/// Where it counts requests that it holds.
const HELD: &str = "/held/requests";

/// A setup whose first job ends only when it is let go. All calls are in it, however far apart they are announced: a call with
/// an `Idempotency-Key` is asked about first.
fn stalled(name: &'static str, ingresses: usize, seal_at: usize) -> Setup {
    let faults = vec![Rule::new(Fault::Stall { after: 0 }).first(1)];
    Setup { name, counts: [ingresses, 1, 2], seal_at, window: "60s", faults, ..Setup::default() }
}

/// How callers lose their connections to an ingress that lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Break {
    /// Both sides see it.
    Cut,
    /// The ingress does not.
    HalfOpen,
}

pub(super) async fn connection_lost(name: &'static str, how: Break, mark: Mark) -> Result<Outcome> {
    let mut stage = Stage::start(stalled(name, 2, 20)).await?;
    let cable = stage.callers_cable(0).await?;
    let (open, gate) = watch::channel(false);
    let manner = Manner { mark, gate: Some(gate), ..Manner::from_to(cable.url(), stage.url(1)) };
    let first = stage.calls_as("first", 10, &manner)?;
    let other = stage.calls("other", 10, &[1])?;
    stage.received(Op::Retrieve, 1).await?;
    let mut ear = stage.spy.answers().await?;
    match how {
        Break::Cut => cable.cut(),
        Break::HalfOpen => cable.cut_half(),
    }
    let crash = stage.crash();
    if how == Break::Cut {
        stage.told(0, ABANDONED, 10).await?;
    }
    open.send_replace(true);
    ear.attached(10).await?;
    stage.simulator.release(None);
    let mut answers = all(other).await;
    answers.extend(all(first).await);
    stage.conclude_with(crash, answers, Expect::ONCE).await
}

/// The ingress has acknowledged the answers to the submitter, and the callers do not read.
pub(super) async fn killed_before_callers_received() -> Result<Outcome> {
    let setup = Setup { name: "10c", counts: [2, 1, 2], seal_at: 3, ..Setup::default() };
    let mut stage = Stage::start(setup).await?;
    let cable = stage.callers_cable(0).await?;
    cable.hold();
    let mut ear = stage.spy.answers().await?;
    let manner = Manner { words: LARGE, ..Manner::from_to(cable.url(), stage.url(1)) };
    let calls = stage.calls_as("10c", 3, &manner)?;
    let unread = |body: &Body| matches!(body, Body::DeliveredReply(reply) if reply.unread == 3);
    ear.answer("that no caller has received its acknowledged answer", unread).await?;
    stage.ingresses[0].process.kill()?;
    let crash = stage.crash();
    cable.cut();
    stage.conclude(crash, calls, Expect::ONCE).await
}

/// Two calls with one body, whose repetitions come to one other ingress.
pub(super) async fn samples_of_a_live_ingress() -> Result<Outcome> {
    let mut stage = Stage::start(stalled("10e", 2, 2)).await?;
    let cable = stage.callers_cable(0).await?;
    let (open, gate) = watch::channel(false);
    let manner = Manner { gate: Some(gate), ..Manner::from_to(cable.url(), stage.url(1)) };
    let calls = stage.samples("10e", &manner)?;
    stage.received(Op::Retrieve, 1).await?;
    let mut ear = stage.spy.answers().await?;
    cable.cut();
    let crash = stage.crash();
    stage.told(0, ABANDONED, 2).await?;
    open.send_replace(true);
    ear.attached(2).await?;
    stage.simulator.release(None);
    let answers = all(calls).await;
    let ids = different(&answers);
    let outcome = stage.conclude_with(crash, answers, Expect::TWO_SAMPLES).await?;
    Ok(outcome.and(ids == 2, format!("{ids} different answers")))
}

/// The same where the first ingress is gone: both are asked about at once, since the other one is cut off from the bus while
/// they come.
pub(super) async fn samples_of_a_lost_ingress() -> Result<Outcome> {
    // The ingress with the cable is the first.
    let mut stage = Stage::start(Setup { cable: true, ..stalled("10f", 2, 2) }).await?;
    let (open, gate) = watch::channel(false);
    let manner = Manner { gate: Some(gate), ..Manner::from_to(stage.url(1), stage.url(0)) };
    let calls = stage.samples("10f", &manner)?;
    stage.received(Op::Retrieve, 1).await?;
    stage.cable.as_ref().context("there is a cable")?.cut();
    stage.ingresses[1].process.kill()?;
    let crash = stage.crash();
    open.send_replace(true);
    stage.told(0, HELD, 2).await?;
    stage.cable.as_ref().context("there is a cable")?.mend();
    stage.simulator.release(None);
    let answers = all(calls).await;
    let ids = different(&answers);
    let outcome = stage.conclude_with(crash, answers, Expect::TWO_SAMPLES).await?;
    Ok(outcome.and(ids == 2, format!("{ids} different answers")))
}

fn different(answers: &[Answer]) -> usize {
    answers.iter().filter_map(|answer| answer.id.as_ref()).collect::<BTreeSet<_>>().len()
}

/// SIGTERM to an ingress: some of its requests are in a job that ends after its drain timeout, some are not submitted.
pub(super) async fn told_to_stop() -> Result<Outcome> {
    let setup = Setup { drain: "1s", ..stalled("14d", 2, 10) };
    let mut stage = Stage::start(setup).await?;
    let manner = Manner::from_to(stage.url(0), stage.url(1));
    let submitted = stage.calls_as("submitted", 10, &manner)?;
    stage.received(Op::Retrieve, 1).await?;
    // The tenth comes when the others have come back.
    let held = stage.calls_as("held", 9, &manner)?;
    stage.told(0, HELD, 19).await?;
    stage.ingresses[0].process.terminate()?;
    let crash = stage.crash();
    let status = stage.ingresses[0].process.ended(DRAIN).await?;
    let left = crash.at.elapsed();
    stage.simulator.release(None);
    let tenth = stage.calls("tenth", 1, &[1])?;
    let mut answers = all(submitted).await;
    answers.extend(all(held).await);
    answers.extend(all(tenth).await);
    let outcome = stage.conclude_with(crash, answers, Expect::ONCE).await?;
    let note = format!("it ended after {:.1} s with {status}", left.as_secs_f64());
    Ok(outcome.and(status.success(), &note).note(note))
}
