//! What is said on the bus, and what the batcher and the nats-server have in their memory: no key, no prompt, no answer.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, missing_docs)]

use std::io::{self, Write as _};
use std::time::Duration;

use common::wire::reply::Body;
use reqwest::{Client, RequestBuilder};
use serde_json::json;
use simulator::{Fault, Op, Rule};
use tests::calls::{Got, judge};
use tests::chaos::{Setup, Stage};
use tests::markers::{ALL, ANSWER, KEY, Mark, NAME, PROMPT, Search, spellings};
use tests::memory::{self, Scan};
use tests::wiretap::{Wiretap, kinds};
use tokio::task::JoinHandle;

/// Requests of a batch; each part of the run makes as many, with a key of its own.
const BATCH: usize = 6;
/// Stands in the model's name, which is no secret: who may know nothing else knows this.
const MODEL: Mark = Mark { name: "model", text: "mD5tQw9xYs2C" };
/// Longer than one part of a body or an answer on the bus.
const LARGE: usize = 600_000;
/// No call takes as long.
const PATIENCE: Duration = Duration::from_secs(120);

/// The kinds of messages that the run must bring about, so that it is known that they were looked at.
const KINDS: [&str; 29] = [
    "Abandoned",
    "Ack",
    "Announce",
    "AnnounceAck",
    "Attach",
    "Attached",
    "Chunk",
    "Claim",
    "Delivered",
    "DeliveredReply",
    "Ended",
    "Fetch",
    "Fetched",
    "Grant",
    "Heartbeat of bat",
    "Heartbeat of ing",
    "Heartbeat of sub",
    "Holds",
    "Intent",
    "IntentReply",
    "JobState",
    "Offer",
    "OfferReply",
    "Pull",
    "Recover",
    "Result",
    "ResultAck",
    "Submitted",
    "Withdraw",
];

/// Callers of one part of the run.
struct Part {
    client: Client,
    name: &'static str,
    urls: Vec<String>,
}

impl Part {
    fn new(name: &'static str, stage: &Stage) -> Self {
        let urls = vec![stage.url(0), stage.url(1)];
        Self { client: Client::builder().no_proxy().timeout(PATIENCE).build().unwrap(), name, urls }
    }

    /// A call whose every part has its mark. `words` are orders for the provider.
    fn call(&self, ingress: usize, number: usize, words: &str, stream: bool) -> RequestBuilder {
        let text = format!("\"é\n{} {} echo:{} {words}", PROMPT.text, self.name, self.marker(number));
        let body = json!({
            "model": format!("gpt-4o-mini-{}", MODEL.text), "stream": stream, "messages": [{"role": "user", "content": text}]
        });
        let key = match self.name {
            "refused" => format!("sk-invalid-{}", KEY.text),
            name => format!("sk-{}-{name}", KEY.text),
        };
        let request = self.client.post(format!("{}/chat/completions", self.urls[ingress]));
        let request = request.bearer_auth(key).header("content-type", "application/json");
        let request = request.header("openai-organization", format!("org-{}", NAME.text));
        request.body(serde_json::to_string_pretty(&body).unwrap())
    }

    /// What the answer to a call says.
    fn marker(&self, number: usize) -> String {
        format!("{}-{}-{number}", ANSWER.text, self.name)
    }

    /// So many calls that want their own answer, in turn at both ingresses.
    fn own(&self, numbers: std::ops::Range<usize>) -> Vec<JoinHandle<Got>> {
        numbers.map(|number| self.make(number, self.call(number % 2, number, "", false))).collect()
    }

    fn make(&self, number: usize, call: RequestBuilder) -> JoinHandle<Got> {
        let marker = self.marker(number);
        tokio::spawn(async move {
            let answer = call.send().await.unwrap();
            let (status, body) = (answer.status().as_u16(), answer.bytes().await.unwrap());
            judge(status, &body, &marker).unwrap()
        })
    }
}

/// A call with a stream of events for its answer.
fn stream(call: RequestBuilder) -> JoinHandle<String> {
    tokio::spawn(async move { call.send().await.unwrap().text().await.unwrap() })
}

async fn all_own(calls: Vec<JoinHandle<Got>>) {
    for call in calls {
        assert_eq!(call.await.unwrap(), Got::Own);
    }
}

/// Bodies and answers of several parts, a stream, and a line that fails.
async fn success_stream_and_error(stage: &Stage, search: &Search) {
    let part = Part::new("success", stage);
    let large = [PROMPT.text, " "].concat().repeat(LARGE / (PROMPT.text.len() + 1));
    let mut calls = part.own(0..2);
    calls.push(part.make(2, part.call(0, 2, &large, false)));
    calls.push(part.make(3, part.call(1, 3, &format!("size:{LARGE}"), false)));
    let streamed = stream(part.call(0, 4, "", true));
    stage.told(0, "/held/requests", 3).await.unwrap();
    stage.told(1, "/held/requests", 2).await.unwrap();
    held_in_memory(stage, search);
    let failed = part.make(5, part.call(1, 5, "fail:422", false));
    all_own(calls).await;
    let streamed = streamed.await.unwrap();
    assert!(streamed.contains(&part.marker(4)) && streamed.contains("[DONE]"), "{streamed}");
    let Got::Error { status: 422, .. } = failed.await.unwrap() else { panic!("not the error") };
}

/// The provider refuses a batch with words of its own, and another one for its key.
async fn failed_batches(stage: &Stage) {
    let message = Some(format!("Not this: {}", ANSWER.text));
    let fault = Fault::FailBatch { code: "invalid_value".into(), message, lines: vec![1] };
    stage.simulator.set_faults(vec![Rule::new(fault).first(1)]);
    for (name, expected) in [("failed", 400), ("refused", 401)] {
        let mut errors = 0;
        for call in Part::new(name, stage).own(0..BATCH) {
            // Only the line that is blamed fails; the others go into another batch.
            let Got::Error { status, message, .. } = call.await.unwrap() else { continue };
            assert_eq!(status, expected, "{message}");
            assert_eq!(message.contains(ANSWER.text), name == "failed", "{message}");
            errors += 1;
        }
        assert_eq!(errors, if name == "failed" { 1 } else { BATCH }, "{name}");
    }
}

/// Waits until there is one more job than before. Those before may still be polled.
async fn a_new_job(stage: &Stage, before: usize) {
    stage.until("there is a new job", || stage.simulator.batches().len() > before).await.unwrap();
}

/// Callers leave: one before its batch is made, then all of a batch.
async fn callers_that_leave(stage: &Stage, tap: &Wiretap) {
    stage.simulator.set_faults(vec![Rule::new(Fault::Stall { after: 0 }).first(1)]);
    let part = Part::new("leave", stage);
    let mut ear = stage.spy.answers().await.unwrap();
    let early = part.make(9, part.call(0, 9, "", false));
    ear.answer("that it is announced", |body| matches!(body, Body::AnnounceAck(_))).await.unwrap();
    early.abort();
    // Else it may be counted as one of those that follow.
    tap.until("Withdraw").await.unwrap();
    let (jobs, cancels) = (stage.simulator.batches().len(), stage.simulator.received(Op::Cancel));
    let calls = part.own(0..BATCH);
    a_new_job(stage, jobs).await;
    calls.iter().for_each(JoinHandle::abort);
    stage.received(Op::Cancel, cancels + 1).await.unwrap();
}

/// A caller loses its connection and sends again to the other ingress.
async fn a_retry_elsewhere(stage: &Stage) {
    stage.simulator.set_faults(vec![Rule::new(Fault::Stall { after: 0 }).first(1)]);
    let part = Part::new("retry", stage);
    let sent = |ingress: usize, times: &str| {
        let call = part.call(ingress, 0, &format!("size:{LARGE}"), false);
        let call = call.header("idempotency-key", format!("idem-{}", NAME.text));
        part.make(0, call.header("x-stainless-retry-count", times))
    };
    let jobs = stage.simulator.batches().len();
    let first = sent(0, "0");
    let others = part.own(1..BATCH);
    a_new_job(stage, jobs).await;
    let mut ear = stage.spy.answers().await.unwrap();
    first.abort();
    let again = sent(1, "1");
    ear.attached(1).await.unwrap();
    stage.simulator.release(None);
    all_own(others.into_iter().chain([again]).collect()).await;
}

/// The submitter that watches a job is killed.
async fn a_recovery(stage: &mut Stage) {
    stage.simulator.set_faults(vec![Rule::new(Fault::Stall { after: 0 }).first(1)]);
    let part = Part::new("recovery", stage);
    let mut ear = stage.spy.answers().await.unwrap();
    let jobs = stage.simulator.batches().len();
    let calls = part.own(0..BATCH);
    let holder = ear.grant().await.unwrap();
    a_new_job(stage, jobs).await;
    stage.kill_submitter(holder).unwrap();
    stage.simulator.release(None);
    all_own(calls).await;
}

/// While calls are held, their ingress has in its memory what the batcher, which has acknowledged them, must not have.
fn held_in_memory(stage: &Stage, search: &Search) {
    let Some(ingress) = look("the ingress", stage.ingresses[0].process.id(), search) else { return };
    for mark in [KEY, PROMPT] {
        assert!(ingress.found.keys().any(|find| find.mark == mark), "{} is not seen: {ingress:?}", mark.name);
    }
    nothing_in_memory("the batcher, while requests are held", stage.batchers[0].process.id(), search);
}

/// Nothing but what such a process has to know, which shows that the look was a good one.
fn nothing_in_memory(who: &str, pid: u32, search: &Search) {
    if let Some(scan) = look(who, pid, search) {
        assert!(scan.found.keys().any(|find| find.mark == MODEL), "nothing at all is seen: {scan:?}");
        assert!(scan.found.keys().all(|find| find.mark == MODEL), "in the memory of {who}: {scan:?}");
    }
}

/// Looks through the memory of a process and says what it saw; nothing if it may not look.
fn look(who: &str, pid: u32, search: &Search) -> Option<Scan> {
    match memory::scan(pid, search) {
        Ok(scan) => {
            let marks: usize = scan.found.values().sum();
            println!(
                "memory of {who}: {marks} marks (of models too) in {} KB that it can write to",
                scan.bytes / 1024
            );
            Some(scan)
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            // Past what the test's runner keeps to itself.
            let _ = writeln!(io::stderr(), "NOT SHOWN: what {who} has in its memory; to see it takes root");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiretap_and_the_batchers_memory_tell_nothing() {
    let search = Search::new(&ALL.into_iter().chain([MODEL]).collect::<Vec<_>>()).unwrap();
    let setup =
        Setup { name: "wiretap", counts: [2, 1, 2], seal_at: BATCH, window: "60s", ..Setup::default() };
    let mut stage = Stage::start(setup).await.unwrap();
    let mut tap = Wiretap::start(stage.nats.port()).await.unwrap();
    success_stream_and_error(&stage, &search).await;
    failed_batches(&stage).await;
    callers_that_leave(&stage, &tap).await;
    a_retry_elsewhere(&stage).await;
    a_recovery(&mut stage).await;
    nothing_in_memory("the batcher, at the end", stage.batchers[0].process.id(), &search);
    nothing_in_memory("the nats-server, at the end", stage.nats.pid(), &search);

    tap.catch_up().await.unwrap();
    let heard = tap.heard();
    for heard in &heard {
        let found = search.find(&heard.bytes());
        assert!(found.keys().all(|find| find.mark == MODEL), "in {heard:?}: {found:?}");
    }
    let kinds = kinds(&heard);
    for (kind, (number, bytes)) in &kinds {
        println!("{number:6} {kind:20} {bytes:9} bytes");
    }
    let missing: Vec<_> = KINDS.iter().filter(|kind| !kinds.contains_key(**kind)).collect();
    assert!(missing.is_empty(), "not heard: {missing:?}");
    assert!(kinds.keys().all(|kind| !kind.starts_with("unknown")), "{kinds:?}");
    for kind in ["Chunk", "Result", "Fetched"] {
        assert!(kinds[kind].1 > LARGE, "{kind} holds no large body: {kinds:?}");
    }
    everything_planted_is_found(&mut tap, &search).await;
}

/// The same tap and the same search find what is there: every mark in every spelling, wherever it stands in a message.
async fn everything_planted_is_found(tap: &mut Wiretap, search: &Search) {
    let before = tap.heard().len();
    let mut planted = 0;
    for mark in ALL {
        tap.publish(&format!("planted.{}", mark.text), "", b"").await.unwrap();
        tap.publish("planted", &format!("x: {}", mark.text), b"").await.unwrap();
        planted += 2;
        for (_, text) in spellings(mark.text) {
            tap.publish("planted", "", format!("around {text} it").as_bytes()).await.unwrap();
            planted += 1;
        }
    }
    tap.catch_up().await.unwrap();
    let heard = tap.heard().split_off(before);
    let found = heard.iter().filter(|heard| search.find(&heard.bytes()).len() == 1).count();
    println!("{found} of {planted} planted marks found");
    assert_eq!(found, planted);
}
