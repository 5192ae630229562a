//! Several of each service on a real nats-server.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, missing_docs)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use reqwest::Client;
use simulator::{Config, Fault, Op, Rule};
use tests::calls::{Call, Got, judge, make_all};
use tests::deployment::{Deployment, Kind, Tweaks};

/// For what takes a second or two on a machine with nothing else to do.
const PATIENCE: Duration = Duration::from_secs(60);

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < PATIENCE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn end(deployment: Deployment) {
    until("no file is left", async || deployment.simulator.files_left_total() == 0).await;
    let stopped = deployment.stop().await.unwrap();
    stopped.check().unwrap();
}

fn assert_all_own(calls: &[Call], got: &[Got], deployment: &Deployment) {
    for (call, got) in calls.iter().zip(got) {
        assert_eq!(*got, Got::Own, "{}", call.marker);
    }
    assert_eq!(got.len(), calls.len());
    assert_eq!(deployment.simulator.billed_count(), calls.len());
    assert_eq!(deployment.simulator.billed_twice(), []);
}

/// A group's requests come through both ingresses to the one batcher that is responsible, and into one batch: it is
/// full with the last of them, and nothing else would seal it for a minute.
#[tokio::test(flavor = "multi_thread")]
async fn groups_stay_together_across_two_of_each() {
    let tweaks = Tweaks {
        ingresses: 2,
        batchers: 2,
        submitters: 2,
        batcher: vec!["--window=60s", "--idle=60s", "--max-requests=50"],
        ..Tweaks::default()
    };
    let deployment = Deployment::start(Kind::Nats, Config::default(), tweaks).await.unwrap();
    let calls = Call::spread("spread", 500, 5, 2);
    let started = Instant::now();
    let got = make_all(&calls, &deployment.base_urls()).await.unwrap();
    println!("500 requests through two of each service in {:?}", started.elapsed());
    assert_all_own(&calls, &got, &deployment);
    let mut groups: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for batch in deployment.simulator.batches() {
        groups.entry((batch.credential, batch.endpoint)).or_default().push(batch.counts.total);
    }
    assert_eq!(groups.len(), 10);
    assert!(groups.values().all(|batches| *batches == [50]), "{groups:?}");
    end(deployment).await;
}

/// Two deployments with one secret on one server, under different prefixes: no batch, no claim and no answer goes astray,
/// although both have the same keys, models and questions at the same time.
#[tokio::test(flavor = "multi_thread")]
async fn deployments_under_different_prefixes_do_not_see_each_other() {
    let first = Deployment::start(Kind::Nats, Config::default(), Tweaks::default()).await.unwrap();
    let server = first.nats.as_ref().map(|server| server.url());
    let tweaks = Tweaks { prefix: "other", server, ..Tweaks::default() };
    let second = Deployment::start(Kind::Nats, Config::default(), tweaks).await.unwrap();
    let calls = Call::spread("prefix", 60, 3, 2);
    let (urls, other_urls) = (first.base_urls(), second.base_urls());
    let (got, others) = tokio::join!(make_all(&calls, &urls), make_all(&calls, &other_urls));
    assert_all_own(&calls, &got.unwrap(), &first);
    assert_all_own(&calls, &others.unwrap(), &second);
    end(second).await;
    end(first).await;
}

/// The server dies while some requests wait to be grouped and others for their jobs.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_costs_time_only() {
    let config = Config { batch_time: Duration::from_secs(3), ..Config::default() };
    let tweaks = Tweaks { ingresses: 2, batchers: 2, submitters: 2, ..Tweaks::default() };
    let mut deployment = Deployment::start(Kind::Nats, config, tweaks).await.unwrap();
    let mut server = deployment.nats.take().unwrap();
    let calls = Call::spread("server", 200, 10, 2);
    let urls = deployment.base_urls();
    let answers = tokio::spawn({
        let (calls, urls) = (calls.clone(), urls.clone());
        async move { make_all(&calls, &urls).await }
    });
    until("a job is created", async || deployment.simulator.received(Op::Create) > 0).await;
    server.kill().unwrap();
    let later = Call::spread("later", 50, 5, 1);
    let more = tokio::spawn({
        let (calls, urls) = (later.clone(), urls.clone());
        async move { make_all(&calls, &urls).await }
    });
    // Long enough that results come while nobody can be told.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let server =
        tokio::task::spawn_blocking(move || server.restart().map(|()| server)).await.unwrap().unwrap();
    let back = Instant::now();
    let mut got = answers.await.unwrap().unwrap();
    got.extend(more.await.unwrap().unwrap());
    println!("all answered {:?} after the server was back", back.elapsed());
    assert_all_own(&[calls, later].concat(), &got, &deployment);
    end(deployment).await;
    drop(server);
}

/// The server stands still again and again, for longer than an exchange waits for its answer: exchanges are given up
/// on one side and completed on the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stalls_costs_time_only() {
    // Sealed, and so offered, while the server stands still for the first time.
    let tweaks = Tweaks { batcher: vec!["--window=2s", "--idle=2s"], ..Tweaks::default() };
    let deployment = Deployment::start(Kind::Nats, Config::default(), tweaks).await.unwrap();
    let calls = Call::spread("stall", 200, 50, 2);
    let answers = tokio::spawn({
        let (calls, urls) = (calls.clone(), deployment.base_urls());
        async move { make_all(&calls, &urls).await }
    });
    until("calls are held", async || deployment.held().await.unwrap() == 200).await;
    let server = deployment.nats.as_ref().unwrap();
    for run in [0, 3, 5, 8, 12, 20, 30] {
        tokio::time::sleep(Duration::from_millis(run)).await;
        server.pause().unwrap();
        tokio::time::sleep(Duration::from_secs(3)).await;
        server.resume().unwrap();
    }
    let waited = tokio::time::timeout(PATIENCE, answers).await;
    let (held, state) = (deployment.held().await.unwrap(), deployment.simulator.state());
    let got = waited
        .unwrap_or_else(|_| {
            panic!(
                "{held} calls wait for nothing: {} batches, {} run",
                state.batch_count, state.batches_active
            )
        })
        .unwrap()
        .unwrap();
    assert_all_own(&calls, &got, &deployment);
    end(deployment).await;
}

/// A client that goes before its batch is sealed is not submitted; those beside it are.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_early_costs_nothing() {
    let tweaks = Tweaks {
        ingress: vec!["--listen=127.0.0.1:0", "--reattach-window=1s", "--line-retries=0"],
        batcher: vec!["--window=60s", "--idle=60s", "--max-requests=3"],
        ..Tweaks::default()
    };
    let deployment = Deployment::start(Kind::Nats, Config::default(), tweaks).await.unwrap();
    let (client, url) = (Client::builder().no_proxy().build().unwrap(), deployment.base_url());
    let make = |call: &Call| {
        let (call, client, url) = (call.clone(), client.clone(), url.clone());
        tokio::spawn(async move { call.make(&client, &url).await })
    };
    let calls = Call::spread("leave", 4, 1, 1);
    let first = make(&calls[0]);
    let leaver = make(&calls[1]);
    until("both are held", async || deployment.held().await.unwrap() == 2).await;
    leaver.abort();
    until("the one is gone", async || deployment.held().await.unwrap() == 1).await;
    // Three make a batch, and the one that left is none of them.
    let others = [make(&calls[2]), make(&calls[3])];
    assert_eq!(first.await.unwrap().unwrap(), Got::Own);
    for other in others {
        assert_eq!(other.await.unwrap().unwrap(), Got::Own);
    }
    let ledger = deployment.simulator.ledger();
    assert!(ledger.iter().all(|entry| entry.marker.as_deref() != Some("leave-1")), "{ledger:?}");
    assert_eq!(ledger.len(), 3);
    end(deployment).await;
}

/// A job whose callers have all gone is cancelled. What it had finished is kept, and the same calls made again are
/// answered with nothing billed twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_nobody_waits_for_is_cancelled_and_what_it_finished_is_kept() {
    // So long that only its cancellation ends it, line by line.
    let config = Config {
        batch_time: Duration::ZERO,
        line_time: Duration::from_millis(1500),
        jitter: 0.0,
        ..Config::default()
    };
    let tweaks = Tweaks {
        ingress: vec!["--listen=127.0.0.1:0", "--reattach-window=2s", "--line-retries=0"],
        ..Tweaks::default()
    };
    let deployment = Deployment::start(Kind::Nats, config, tweaks).await.unwrap();
    let (calls, urls) = (Call::spread("again", 30, 1, 1), deployment.base_urls());
    let first = tokio::spawn({
        let (calls, urls) = (calls.clone(), urls.clone());
        async move { make_all(&calls, &urls).await }
    });
    until("some lines are done", async || deployment.simulator.billed_count() >= 2).await;
    first.abort();
    until("the job is cancelled", async || deployment.simulator.received(Op::Cancel) > 0).await;
    until("all is over", async || deployment.simulator.state().batches_active == 0).await;
    let finished = deployment.simulator.billed_count();
    assert!((2..30).contains(&finished), "{finished} of 30 lines finished");
    let got = make_all(&calls, &urls).await.unwrap();
    println!("{finished} answers were kept, {} calls went into another job", 30 - finished);
    assert_all_own(&calls, &got, &deployment);
    assert_eq!(deployment.simulator.state().batch_count, 2);
    end(deployment).await;
}

/// A caller loses its connection to one ingress, and sends the same again to another while the first still holds it. The answer
/// is fetched in several parts.
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_at_another_ingress_is_answered_from_the_first_ones_request() {
    const SIZE: usize = 3_000_000;
    let tweaks = Tweaks { ingresses: 2, ..Tweaks::default() };
    let deployment = Deployment::start(Kind::Nats, Config::default(), tweaks).await.unwrap();
    deployment.simulator.set_faults(vec![Rule::new(Fault::Stall { after: 0 }).first(1)]);
    let (client, urls) = (Client::builder().no_proxy().build().unwrap(), deployment.base_urls());
    let call = Call::spread("big", 1, 1, 1).remove(0);
    let body = call.body().replace(" now", &format!(" size:{SIZE} now"));
    let send = |url: &str, retry: u32| {
        let request = client.post(format!("{url}/chat/completions")).bearer_auth(&call.key);
        let request = request.header("content-type", "application/json");
        request.header("x-stainless-retry-count", retry).body(body.clone()).send()
    };
    let first = tokio::spawn(send(&urls[0], 0));
    until("the job is watched", async || deployment.simulator.received(Op::Retrieve) > 0).await;
    first.abort();
    let second = tokio::spawn(send(&urls[1], 1));
    until("it waits at the other", async || stats(&urls[1], "/held/requests").await == 1).await;
    assert_eq!(deployment.simulator.release(None), 1);
    let answer = second.await.unwrap().unwrap();
    let status = answer.status().as_u16();
    let answer = answer.bytes().await.unwrap();
    println!("{} bytes in {} parts", answer.len(), answer.len().div_ceil(512 * 1024));
    assert!(answer.len() > SIZE);
    assert_eq!(judge(status, &answer, &call.marker).unwrap(), Got::Own);
    assert_eq!((deployment.simulator.billed_count(), deployment.simulator.state().batch_count), (1, 1));
    until("the first has let it go", async || stats(&urls[0], "/held/requests").await == 0).await;
    end(deployment).await;
}

/// A number of `/stats` of an ingress, by its JSON pointer.
async fn stats(url: &str, pointer: &str) -> u64 {
    let page = reqwest::get(url.replace("/v1", "/stats")).await.unwrap().bytes().await.unwrap();
    let page: serde_json::Value = serde_json::from_slice(&page).unwrap();
    page.pointer(pointer).and_then(serde_json::Value::as_u64).unwrap()
}
