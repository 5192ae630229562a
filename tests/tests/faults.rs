//! Many callers, and a provider with one thing broken at a time: every caller gets its own answer or the true error,
//! nothing is billed twice, and no file stays at the provider.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, missing_docs)]

use std::collections::HashMap;
use std::env;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::future::join_all;
use simulator::{Config, Fault, Handle, Op, Rule};
use tests::calls::{Call, Got, make_all};
use tests::deployment::{Deployment, Kind, Tweaks};
use tokio::sync::Semaphore;

/// Calls under way at a time, in all tests of this file: each takes two of the at most 20,000 open files that a process
/// may have here and there. With few calls a case, many cases run at a time; most of their time they wait.
const CALLS_AT_A_TIME: usize = 8_000;
static TURNS: Semaphore = Semaphore::const_new(CALLS_AT_A_TIME);
/// Files of lost uploads are looked for during a minute; the rest is for a machine that is busy elsewhere.
const TIDY_WITHIN: Duration = Duration::from_secs(90);

/// What is broken, and what the callers may see of it.
struct Case {
    name: String,
    rules: Vec<Rule>,
    seen: Seen,
}

/// What callers see of a fault.
#[derive(Clone, Copy)]
enum Seen {
    /// Nothing: every caller gets its own answer.
    Nothing,
    /// At least one caller gets this error, and nobody another one.
    Error {
        status: u16,
        code: &'static str,
        /// The provider bills these requests all the same.
        billed: bool,
    },
}

fn hidden(name: impl Into<String>, rules: impl Into<Vec<Rule>>) -> Case {
    Case { name: name.into(), rules: rules.into(), seen: Seen::Nothing }
}

fn seen(name: &str, rule: Rule, status: u16, code: &'static str, billed: bool) -> Case {
    Case { name: name.into(), rules: vec![rule], seen: Seen::Error { status, code, billed } }
}

fn status(code: u16) -> Fault {
    let retry_after = (code == 429).then_some(1);
    Fault::Status { code, retry_after, error_code: None, message: None }
}

/// Operations that every batch goes through.
const OPS: [Op; 5] = [Op::Upload, Op::Create, Op::Retrieve, Op::Content, Op::Delete];

/// The provider answers with an error, resets connections, is slow.
fn refusals() -> Vec<Case> {
    let mut cases = vec![hidden("nothing", [])];
    for code in [429, 500, 503] {
        for op in OPS {
            cases.push(hidden(
                format!("status {code} on {op:?}"),
                [Rule::new(status(code)).on([op]).first(20)],
            ));
        }
    }
    let reset = Rule::new(Fault::Reset).on([Op::Any]).every(7).first(140);
    cases.push(hidden("reset on every 7th call", [reset]));
    for op in OPS {
        cases.push(hidden(format!("reset on {op:?}"), [Rule::new(Fault::Reset).on([op]).first(10)]));
    }
    let delay = Rule::new(Fault::Delay { ms: 700 }).on([Op::Any]).every(5);
    cases.push(hidden("delay on every 5th call", [delay]));
    cases
}

/// The work is done, and the provider's answer does not say so.
fn losses() -> Vec<Case> {
    let lost = |op| Rule::new(Fault::LostAnswer).on([op]).first(10);
    let late = |ms| Rule::new(Fault::Late { ms }).on([Op::Create]).first(5);
    vec![
        hidden("lost answer on Upload", [lost(Op::Upload)]),
        hidden("lost answer on Create", [lost(Op::Create)]),
        hidden("lost answer on Delete", [lost(Op::Delete)]),
        hidden("late Create", [late(2_500)]),
        hidden(
            "lost Create, lists lag",
            [lost(Op::Create), Rule::new(Fault::ListLag { ms: 3_000 }).on([Op::Create])],
        ),
        hidden("files and batches listed late", [Rule::new(Fault::ListLag { ms: 2_000 })]),
        hidden("404 at first", [Rule::new(Fault::NotFoundAtFirst { ms: 0, times: 2 })]),
    ]
}

/// The result files are not what they should be.
fn results() -> Vec<Case> {
    let first = |fault| Rule::new(fault).first(10);
    let fail_line = Fault::FailBatch {
        code: "invalid_value".into(),
        message: Some("Not like this.".into()),
        lines: vec![1],
    };
    vec![
        hidden("cut download", [first(Fault::Truncate { after: 900, chunked: false })]),
        hidden("cut chunked download", [first(Fault::Truncate { after: 900, chunked: true })]),
        hidden("short file", [Rule::new(Fault::ShortFile { lines: 1 })]),
        hidden("duplicate line", [first(Fault::DuplicateLine)]),
        hidden("garbage line", [first(Fault::GarbageLine)]),
        hidden("results no JSON at first", [first(Fault::Page)]),
        hidden("empty string file ids", [Rule::new(Fault::EmptyStringFileIds)]),
        seen("failed batch, line 1 blamed", first(fail_line), 400, "invalid_value", false),
        seen("expired batch", first(Fault::ExpireBatch { after: 0 }), 504, "batch_expired", false),
        seen(
            "vanished line",
            first(Fault::VanishLines { lines: 1, counted: false }),
            500,
            "no_result_line",
            false,
        ),
        seen(
            "vanished counted line",
            first(Fault::VanishLines { lines: 1, counted: true }),
            500,
            "no_result_line",
            true,
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_of_a_provider_that_refuses() {
    run(refusals()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_of_a_provider_whose_answers_are_lost() {
    run(losses()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_of_a_provider_with_broken_results() {
    run(results()).await;
}

/// Runs all cases, as many at a time as have room, prints a line for each, and fails if one failed.
async fn run(cases: Vec<Case>) {
    let requests = env::var("LLM_PROXY_E2E_REQUESTS").map_or(1_000, |count| count.parse().unwrap());
    let only = env::var("LLM_PROXY_E2E_CASE").unwrap_or_default();
    let cases = cases.into_iter().filter(|case| case.name.contains(&only));
    let ran = cases.map(|case| async move {
        let turn = u32::try_from(requests.min(CALLS_AT_A_TIME)).unwrap();
        let _turn = TURNS.acquire_many(turn).await.unwrap();
        let result =
            tokio::spawn(try_case(case.name.clone(), case.rules, case.seen, requests)).await.unwrap();
        match &result {
            Ok(line) => println!("ok    {:30} {line}", case.name),
            Err(error) => println!("WRONG {:30} {error:#}", case.name),
        }
        (case.name, result.is_ok())
    });
    let ran: Vec<_> = join_all(ran).await;
    let wrong: Vec<_> = ran.into_iter().filter(|(_, ok)| !ok).map(|(name, _)| name).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

async fn try_case(name: String, rules: Vec<Rule>, seen: Seen, requests: usize) -> Result<String> {
    let config = Config { keep_bodies: 0, ..Config::default() };
    // Long enough for most calls of a group to share a batch however slow the machine.
    let tweaks = Tweaks { batcher: vec!["--window=3s", "--idle=1s"], ..Tweaks::default() };
    let deployment = Deployment::start(Kind::Embedded, config, tweaks).await?;
    deployment.simulator.set_faults(rules);
    let started = Instant::now();
    let marker = name.replace([' ', ','], "-");
    let calls = Call::spread(&marker, requests, 50, 4);
    let got = match make_all(&calls, &deployment.base_urls()).await {
        Ok(got) => got,
        Err(error) => {
            let (held, state) = (deployment.held().await?, deployment.simulator.state());
            let ended =
                format!("held {held}, batches {} of which {} run", state.batch_count, state.batches_active);
            return Err(
                error.context(format!("{ended}, files left {}, calls {:?}", state.files_left, state.ops))
            );
        }
    };
    let answered = started.elapsed();
    judge(&calls, &got, seen, &deployment.simulator)?;
    tidy(&deployment.simulator).await?;
    let tidied = started.elapsed();
    let batches = deployment.simulator.state().batch_count;
    let stopped = deployment.stop().await?;
    stopped.check()?;
    stopped.simulator.shutdown().await;
    let own = got.iter().filter(|got| **got == Got::Own).count();
    Ok(format!(
        "{own} own answers, {} errors, {batches} batches, answered in {:.1} s, no file left after {:.1} s",
        got.len() - own,
        answered.as_secs_f64(),
        tidied.as_secs_f64()
    ))
}

/// Holds what the callers got against what may be seen and against what was billed.
fn judge(calls: &[Call], got: &[Got], seen: Seen, simulator: &Handle) -> Result<()> {
    let mut bills: HashMap<String, usize> = HashMap::new();
    for entry in simulator.ledger().into_iter().filter(|entry| entry.billed) {
        *bills.entry(entry.marker.context("a line without its marker was billed")?.into()).or_default() += 1;
    }
    let mut errors = 0;
    for (call, got) in calls.iter().zip(got) {
        let due = match (got, seen) {
            (Got::Own, _) => 1,
            (Got::Error { status, code, .. }, Seen::Error { status: expected, code: word, billed })
                if code == word && (*status == expected || *status == 200) =>
            {
                errors += 1;
                usize::from(billed)
            }
            (error, _) => anyhow::bail!("{} got {error:?}", call.marker),
        };
        let billed = bills.remove(&call.marker).unwrap_or(0);
        ensure!(billed == due, "{} got {got:?} and was billed {billed} times", call.marker);
    }
    ensure!(bills.is_empty(), "billed, but nobody's: {bills:?}");
    ensure!(simulator.billed_twice().is_empty(), "billed twice: {:?}", simulator.billed_twice());
    ensure!((errors > 0) == matches!(seen, Seen::Error { .. }), "{errors} errors");
    Ok(())
}

/// Waits until no file is left and none will come: files of lost uploads may not be there yet.
async fn tidy(simulator: &Handle) -> Result<()> {
    let started = Instant::now();
    while simulator.files_left_total() > 0 {
        let left = simulator.state().file_names_left;
        ensure!(started.elapsed() < TIDY_WITHIN, "files left: {left:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
