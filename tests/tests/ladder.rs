//! Deadlines and later batches, against a provider whose batches do not end as they should: every caller gets its own answer by the
//! way that its head names, and every request is paid once.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};
use futures_util::future::try_join_all;
use reqwest::Client;
use simulator::{Config, Fault, Op, Rule, Status};
use tests::calls::{Call, Got, judge, make_all, post};
use tests::deployment::{Deployment, Kind, Stopped, Tweaks};

const CALLS: usize = 12;

/// How many callers got their own answers by which way and for which reason.
type Ways = BTreeMap<(String, String), usize>;

async fn house(flags: &[&'static str], rules: Vec<Rule>) -> Result<Deployment> {
    let tweaks = Tweaks {
        ingress: [&["--listen=127.0.0.1:0"], flags].concat(),
        // All calls are in one batch, however slow the machine.
        batcher: vec!["--max-requests=12", "--window=3s", "--idle=2s"],
        ..Tweaks::default()
    };
    let deployment = Deployment::start(Kind::Embedded, Config::default(), tweaks).await?;
    deployment.simulator.set_faults(rules);
    Ok(deployment)
}

/// Makes calls with these words in their texts, and with header lines.
async fn call(house: &Deployment, words: &str, lines: &[(&str, &str)]) -> Result<Ways> {
    let client = Client::builder().no_proxy().build()?;
    let calls = Call::spread("ladder", CALLS, 1, 1).into_iter().map(async |call| {
        // A model that has a price for flex.
        let body = call.body().replace(" now", &format!(" {words}")).replace("gpt-4o-mini", "gpt-5-mini");
        let mut request =
            client.post(format!("{}/chat/completions", house.base_url())).bearer_auth(&call.key);
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        let answer = request.header("content-type", "application/json").body(body).send().await?;
        let head = |name: &str| match answer.headers().get(name) {
            Some(value) => String::from_utf8_lossy(value.as_bytes()).into_owned(),
            None => String::new(),
        };
        let way = (head("x-llm-proxy-route"), head("x-llm-proxy-relay-reason"));
        let status = answer.status().as_u16();
        let got = judge(status, &answer.bytes().await?, &call.marker)?;
        ensure!(got == Got::Own, "{} got {got:?}", call.marker);
        Ok(way)
    });
    let mut ways = Ways::new();
    for way in try_join_all(calls).await? {
        *ways.entry(way).or_default() += 1;
    }
    Ok(ways)
}

fn ways<const N: usize>(expected: [(&str, &str, usize); N]) -> Ways {
    expected.into_iter().map(|(route, reason, count)| ((route.into(), reason.into()), count)).collect()
}

/// Requests that were paid: in batches, by flex, at the full price.
fn paid(stopped: &Stopped) -> (u64, u64, u64) {
    let state = stopped.simulator.state();
    (state.billed_batch.requests, state.billed_flex.requests, state.billed_sync.requests)
}

/// Stops a house in which all was paid once.
async fn close(house: Deployment) -> Result<Stopped> {
    let stopped = house.stop().await?;
    stopped.check()?;
    Ok(stopped)
}

/// A job that stops after five lines is given up at the deadline; what it has not done goes another way. A machine that is so slow that
/// the five were not done either gets more time.
async fn given_up(words: &str, route: &str) -> Result<Stopped> {
    for deadline in ["2s", "10s", "60s"] {
        let house = house(&[], vec![Rule::new(Fault::Stall { after: 5 })]).await?;
        let got = call(&house, words, &[("x-llm-proxy-deadline", deadline)]).await?;
        let stopped = close(house).await?;
        if got == ways([("batch", "", 5), (route, "deadline", 7)]) {
            return Ok(stopped);
        }
        let salvaged = got.get(&("batch".into(), String::new())).copied().unwrap_or(0);
        ensure!(salvaged < 5 && got.values().sum::<usize>() == CALLS && got.len() <= 2, "{got:?}");
    }
    bail!("five lines take more than a minute")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_never_finishes_is_cancelled_and_its_rest_goes_by_flex() -> Result<()> {
    assert_eq!(paid(&given_up("", "flex").await?), (5, 7, 0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_room_for_flex_it_goes_at_the_full_price() -> Result<()> {
    assert_eq!(paid(&given_up("noflex", "sync").await?), (5, 0, 7));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_may_go_by_flex_at_once() -> Result<()> {
    let house = house(&[], Vec::new()).await?;
    let lines = [("x-llm-proxy-mode", "flex")];
    assert_eq!(call(&house, "", &lines).await?, ways([("flex", "mode", CALLS)]));
    let stopped = close(house).await?;
    assert_eq!(
        (paid(&stopped), stopped.simulator.state().ops.contains_key(&Op::Upload)),
        ((0, 12, 0), false)
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_expired_job_has_not_done_goes_into_one_more_batch() -> Result<()> {
    let house = house(&[], vec![Rule::new(Fault::ExpireBatch { after: 5 }).first(1)]).await?;
    assert_eq!(call(&house, "", &[]).await?, ways([("batch", "", CALLS)]));
    let stopped = close(house).await?;
    let state = stopped.simulator.state();
    assert_eq!((paid(&stopped), state.batch_count), ((12, 0, 0), 2));
    let mut lines: Vec<_> = state.batches.iter().map(|batch| batch.counts.total).collect();
    lines.sort_unstable();
    assert_eq!(lines, [7, 12]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hard_deadline_may_be_paid_twice_and_is_answered_at_once() -> Result<()> {
    // The job cannot be cancelled, so that nothing of it ends.
    let rules = vec![
        Rule::new(Fault::Stall { after: 0 }),
        Rule::new(Fault::Status { code: 500, retry_after: None, error_code: None, message: None })
            .on([Op::Cancel]),
    ];
    let house = house(&["--deadline=1s", "--deadline-hard"], rules).await?;
    assert_eq!(call(&house, "", &[]).await?, ways([("flex", "deadline", CALLS)]));
    house.simulator.set_faults(Vec::new());
    assert!(house.simulator.release(None) > 0, "nothing was stalled");
    let state = house.stop().await?.simulator.state();
    assert_eq!(state.billed_flex.requests, 12);
    Ok(())
}

/// The provider takes about forty of 300 calls at a time, of two keys. One learns that by a call that is too large for the provider at
/// all; from then on none of its batches is refused, however the machine groups its calls.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_with_little_room_takes_all_calls_in_turn() -> Result<()> {
    const LIMIT: u64 = 1_000;
    let config = Config { enqueued_token_limits: [("*".to_owned(), LIMIT)].into(), ..Config::default() };
    let tweaks =
        Tweaks { submitter: vec!["--poll-min=50ms", "--poll-max=50ms", "--settle=1s"], ..Tweaks::default() };
    let house = Deployment::start(Kind::Embedded, config, tweaks).await?;
    let refused = |credential: &str| {
        let batches = house.simulator.state().batches;
        let of = batches.iter().filter(|batch| batch.credential == credential);
        of.filter(|batch| batch.status == Status::Failed).count()
    };

    let calls = Call::spread("queue", 300, 2, 1);
    let mut large = calls[0].clone();
    large.marker = "x".repeat(5_000);
    let client = Client::builder().no_proxy().build()?;
    let (status, body) =
        post(&client, &house.base_url(), "chat/completions", &large.key, large.body()).await?;
    let got = judge(status, &body, &large.marker)?;
    ensure!(matches!(&got, Got::Error { code, .. } if code == "token_limit_exceeded"), "{got:?}");
    let taught = house.simulator.state().batches[0].credential.clone();
    let before = refused(&taught);
    ensure!((1..=3).contains(&before), "{before} refusals");

    let got = make_all(&calls, &house.base_urls()).await?;
    ensure!(got.iter().all(|got| *got == Got::Own), "{got:?}");
    assert_eq!(refused(&taught), before, "batches were created beyond the known limit");
    let stopped = close(house).await?;
    let state = stopped.simulator.state();
    assert_eq!(paid(&stopped), (300, 0, 0));
    assert!(state.batches.iter().all(|batch| batch.usage.0 <= LIMIT));
    Ok(())
}
