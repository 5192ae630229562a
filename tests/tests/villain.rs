//! A provider that harms whoever calls it, for `llm-proxy serve` as a process of its own: who asked for it gets an error or
//! what the provider sent, everybody else gets the right answers, and memory stays bounded.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, missing_docs)]

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Client;
use simulator::{Config, Simulator};
use tests::calls::Call;
use tests::hostile::{Ordinary, Proxy};
use tests::processes::LOOK;
use tests::villain::{BOMB, DEEDS, PACKED, Villain};
use tokio::task::JoinSet;

/// Callers that ask for each deed in a relayed call.
const CALLERS: usize = 3;
/// No deed takes as long to come through, on a machine that is busy elsewhere.
const PATIENCE: Duration = Duration::from_secs(100);
/// The most memory that the process ever has, in MB. What the villain sends is thousands of MB, and as many more unpacked.
const MEMORY_MB: u64 = 400;

/// What callers see of a deed that they ask for in a relayed call.
async fn relayed(client: &Client, url: &str, deed: &'static str) -> String {
    let asked = (0..CALLERS).map(|_| async {
        let answer = client.get(format!("{url}/hostile-{deed}.x")).bearer_auth("sk-hostile").send().await;
        let Ok(answer) = answer else { return "a broken connection".to_owned() };
        let status = answer.status().as_u16();
        if deed == "endless-body" {
            // Nobody reads it: it must wait where it comes from.
            tokio::time::sleep(Duration::from_secs(2)).await;
            return format!("{status}, unread");
        }
        match answer.bytes().await {
            Ok(bytes) if deed == "bomb" => {
                assert!(bytes.len() == BOMB && bytes == *PACKED, "what is packed is passed on as it is");
                format!("{status}, still packed")
            }
            Ok(_) => status.to_string(),
            Err(_) => format!("{status}, then a broken connection"),
        }
    });
    let seen = join_all(asked).await;
    assert!(seen.iter().all(|one| *one == seen[0]), "{seen:?}");
    seen[0].clone()
}

/// Calls whose batches are polled, or whose results come, in each of these ways. Their callers wait, as the proxy tries
/// again.
fn batched(client: &Client, url: &str) -> JoinSet<()> {
    let mut calls = JoinSet::new();
    for (deed, more) in DEEDS.into_iter().flat_map(|deed| [(deed, ""), (deed, "-poll-")]) {
        let mut call = Call::spread("hostile", 1, 1, 1).remove(0);
        call.key = format!("sk-hostile-{deed}.{more}");
        let (client, url) = (client.clone(), url.to_owned());
        calls.spawn(async move {
            // An error, or nothing until the end.
            let _ = call.make(&client, &url).await;
        });
    }
    calls
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_provider_harms_nobody_who_does_not_ask_for_it() {
    let simulator = Simulator::start(Config { keep_bodies: 0, ..Config::default() }).await.unwrap();
    let villain = Villain::before(simulator.addr()).await.unwrap();
    let mut proxy = Proxy::start(&villain.url()).await.unwrap();
    let client = Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
    let mut ordinary = Ordinary::start(proxy.url());
    ordinary.a_new_round().await.unwrap();
    let before = proxy.memory_mb().unwrap();

    let url = proxy.url();
    let seen = join_all(DEEDS.map(|deed| relayed(&client, &url, deed))).await;
    for (deed, seen) in DEEDS.into_iter().zip(seen) {
        println!("{CALLERS:6} relayed: {deed:16} {seen}");
    }
    ordinary.a_new_round().await.unwrap();

    let relayed = villain.done();
    let mut hostile = batched(&client, &url);
    // Each in a poll and in a result.
    let all = async {
        while villain.done().iter().zip(&relayed).any(|((_, now), (_, then))| now - then < 2) {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(PATIENCE, all).await.unwrap_or_else(|_| panic!("{:?}", villain.done()));
    ordinary.a_new_round().await.unwrap();
    hostile.abort_all();
    while hostile.join_next().await.is_some() {}
    for ((deed, now), (_, then)) in villain.done().into_iter().zip(relayed) {
        println!("{:6} polls and results: {deed}", now - then);
    }
    let answered = ordinary.stop().await.unwrap();
    println!("{answered} ordinary calls got their own answers meanwhile");
    let most = proxy.memory_mb().unwrap();
    println!("memory: {before} MB before, never more than {most} MB, of {MEMORY_MB} MB allowed");
    proxy.is_unharmed(MEMORY_MB).unwrap();
}
