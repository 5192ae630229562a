//! One case for one provider.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::Client;
use simulator::{Config, Handle, Op, Status};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::CALLS;
use super::answer::{Got, read};
use super::case::{Case, Due};
use super::subject::{Call, Subject};
use crate::deployment::{Deployment, Kind, Tweaks};

/// No cell takes as long, however slow the machine.
const PATIENCE: Duration = Duration::from_secs(180);
/// Longer than tidying up takes on a slow machine.
const TIDY: Duration = Duration::from_secs(60);
/// Pauses between looks at the simulator.
const PAUSE: Duration = Duration::from_millis(50);

/// Runs a case, in which callers get `due`, and says what is wrong.
pub(super) async fn run(subject: &'static Subject, case: &'static Case, due: Due) -> Result<()> {
    timeout(PATIENCE, play(subject, case, due)).await.context("not over in time")?
}

async fn play(subject: &'static Subject, case: &'static Case, due: Due) -> Result<()> {
    let deployment = start(subject, case).await?;
    let simulator = &deployment.simulator;
    simulator.set_faults((case.rules)(subject));
    let proxy = deployment.address().to_string();
    let markers: Vec<String> = (0..CALLS).map(|i| format!("{}-{i}", subject.provider)).collect();
    let calls = markers.iter().enumerate().map(|(i, marker)| {
        let (words, _) = (case.words)(i);
        subject.call(&proxy, &format!("{words} echo:{marker} please"))
    });
    let got = match due {
        Due::Gone(within) => leave(calls.collect(), simulator, within).await?,
        Due::Each | Due::Rest { .. } => make(subject, calls.collect(), &markers).await?,
    };
    judge(subject, case, due, &got)?;
    bills(simulator, &markers, &got)?;
    let (creations, uploads) = (simulator.received(Op::Create), simulator.received(Op::Upload));
    ensure!(creations == case.creations, "{creations} creations in place of {}", case.creations);
    ensure!((uploads > 0) == subject.by_file, "{uploads} uploads");
    tidied(simulator).await;
    let stopped = deployment.stop().await?;
    stopped.check()?;
    stopped.simulator.shutdown().await;
    Ok(())
}

/// Waits until the files of jobs are deleted, or for as long as that may take: what is left then is found.
async fn tidied(simulator: &Handle) {
    let began = Instant::now();
    while simulator.files_left_total() > 0 && began.elapsed() < TIDY {
        sleep(PAUSE).await;
    }
}

/// A deployment whose batches are sealed by their sizes alone, so that nothing depends on the machine's speed.
async fn start(subject: &Subject, case: &Case) -> Result<Deployment> {
    let most = match case.max_requests {
        CALLS => "--max-requests=30",
        _ => "--max-requests=6",
    };
    let tweaks = Tweaks {
        ingress: vec![
            "--listen=127.0.0.1:0",
            "--reattach-window=1s",
            "--when-unbatchable=error",
            "--line-retries=0",
        ],
        batcher: vec!["--window=120s", "--idle=120s", most],
        ..Tweaks::default()
    };
    let config = Config { keep_bodies: 0, ..Config::default() };
    let upstreams = |simulator: &Handle| subject.upstreams(simulator, case.max_lines);
    Deployment::start_with(Kind::Embedded, config, tweaks, upstreams).await
}

/// Makes all calls at once and returns what each got, in their order.
async fn make(subject: &'static Subject, calls: Vec<Call>, markers: &[String]) -> Result<Vec<Got>> {
    let client = Client::builder().no_proxy().build()?;
    let mut under_way = JoinSet::new();
    for (i, (call, marker)) in calls.into_iter().zip(markers.iter().cloned()).enumerate() {
        let client = client.clone();
        under_way.spawn(async move {
            let (status, body) = post(&client, call).await?;
            Ok::<_, anyhow::Error>((i, read(subject, status, &body, &marker)?))
        });
    }
    let mut got = vec![None; markers.len()];
    while let Some(ended) = under_way.join_next().await {
        let (i, answer) = ended??;
        got[i] = Some(answer);
    }
    Ok(got.into_iter().flatten().collect())
}

async fn post(client: &Client, call: Call) -> Result<(u16, bytes::Bytes)> {
    let mut request = client.post(call.url).header("content-type", "application/json").body(call.body);
    for (name, value) in call.headers.iter() {
        request = request.header(*name, value);
    }
    let answer = request.send().await?;
    Ok((answer.status().as_u16(), answer.bytes().await?))
}

/// Makes all calls, leaves when their job is there, and waits for its cancellation.
async fn leave(calls: Vec<Call>, simulator: &Handle, within: Duration) -> Result<Vec<Got>> {
    let client = Client::builder().no_proxy().build()?;
    let mut under_way = JoinSet::new();
    for call in calls {
        let client = client.clone();
        under_way.spawn(async move { post(&client, call).await });
    }
    while simulator.batches().is_empty() {
        ensure!(under_way.try_join_next().is_none(), "a call was answered without a job");
        sleep(PAUSE).await;
    }
    ensure!(under_way.try_join_next().is_none(), "a call was answered by a job that stands still");
    drop(under_way);
    let left = Instant::now();
    while simulator.batches_in(Status::Cancelled) == 0 {
        ensure!(left.elapsed() < within, "the job was not cancelled");
        sleep(PAUSE).await;
    }
    Ok(Vec::new())
}

/// Holds what callers got against what is due.
fn judge(subject: &Subject, case: &Case, due: Due, got: &[Got]) -> Result<()> {
    let (own, rest, says) = match due {
        Due::Gone(_) => return Ok(()),
        Due::Rest { own, status, says } => (own, status, says),
        Due::Each => {
            for (i, got) in got.iter().enumerate() {
                let due = match (case.words)(i).1 {
                    400 => subject.invalid,
                    due => due,
                };
                match (got, due) {
                    (Got::Own, 200) => {}
                    (Got::Error { status, .. }, due) if *status == due => {}
                    (got, due) => bail!("call {i} got {got:?} in place of {due}"),
                }
            }
            return Ok(());
        }
    };
    for got in got {
        match got {
            Got::Own => {}
            Got::Error { status, code, message }
                if *status == rest && (code == says || message.contains(says)) => {}
            Got::Error { .. } => bail!("{got:?} in place of {rest} {says}"),
        }
    }
    let owned = got.iter().filter(|got| **got == Got::Own).count();
    ensure!(owned == own, "{owned} own answers in place of {own}");
    Ok(())
}

/// Who got an answer has paid for it once, and nobody else anything.
fn bills(simulator: &Handle, markers: &[String], got: &[Got]) -> Result<()> {
    ensure!(simulator.billed_twice().is_empty(), "billed twice: {:?}", simulator.billed_twice());
    let mut bills: HashMap<String, usize> = HashMap::new();
    for entry in simulator.ledger().into_iter().filter(|entry| entry.billed) {
        *bills.entry(entry.marker.context("a line without its marker was billed")?.into()).or_default() += 1;
    }
    for (marker, got) in markers.iter().zip(got) {
        let (billed, due) = (bills.remove(marker).unwrap_or(0), usize::from(*got == Got::Own));
        ensure!(billed == due, "{marker} got {got:?} and was billed {billed} times");
    }
    ensure!(bills.is_empty(), "billed, but nobody's: {bills:?}");
    Ok(())
}
