//! Callers with keys of their own who do all they can to get each other's answers, in a whole deployment: the provider
//! itself knows whose everything is.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};

use reqwest::{Client, Method};
use serde_json::Value;
use simulator::{Config, Credential};
use tests::deployment::{Deployment, Kind, Tweaks};
use tokio::task::JoinSet;

/// Everybody's one body and `Idempotency-Key`: only the credential differs.
const BODY: &str = r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"echo:the-same"}]}"#;
const NAME: &str = "the-same-name";
/// Keys that share a beginning, the last of them with organisations and projects.
const KEYS: usize = 8;

/// One credential.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Caller {
    key: String,
    organization: &'static str,
    project: &'static str,
}

/// An answer, and the provider's ids that came with it.
#[derive(Debug)]
struct Answer {
    id: String,
    job: String,
}

fn callers() -> Vec<Caller> {
    let key = |n: usize| format!("sk-same-{}", "x".repeat(n + 1));
    let plain = (0..KEYS).map(|n| Caller { key: key(n), organization: "", project: "" });
    let of = |organization, project| Caller { key: key(0), organization, project };
    plain.chain([of("o1", ""), of("o2", ""), of("o1", "p1"), of("", "o1")]).collect()
}

impl Caller {
    fn credential(&self) -> String {
        Credential::new(&self.key, self.organization, self.project).as_str().to_owned()
    }

    fn request(&self, client: &Client, method: Method, url: String) -> reqwest::RequestBuilder {
        let request = client.request(method, url).bearer_auth(&self.key);
        let more = [("openai-organization", self.organization), ("openai-project", self.project)];
        more.into_iter()
            .filter(|(_, value)| !value.is_empty())
            .fold(request, |request, (name, value)| request.header(name, value))
    }

    /// Makes the call that everybody makes.
    async fn call(&self, client: &Client, url: &str, mark: (&'static str, &'static str)) -> Answer {
        let request = self.request(client, Method::POST, format!("{url}/chat/completions"));
        let request = request.header("content-type", "application/json").header(mark.0, mark.1);
        let answer = request.body(BODY).send().await.unwrap();
        let job = answer.headers().get("x-llm-proxy-job").map(|job| job.to_str().unwrap().to_owned());
        let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        let id = body["id"].as_str().unwrap_or_else(|| panic!("{body}")).to_owned();
        Answer { id, job: job.unwrap() }
    }

    /// What the provider says, through the proxy, of something that may be somebody else's.
    async fn status(&self, client: &Client, url: &str, path: &str) -> u16 {
        let request = self.request(client, Method::GET, format!("{url}/{path}"));
        request.send().await.unwrap().status().as_u16()
    }
}

/// All callers at once, `times` times each, in turn at both ingresses.
async fn all(
    client: &Client,
    urls: &[String],
    times: usize,
    mark: (&'static str, &'static str),
) -> Vec<(Caller, Answer)> {
    let mut calls = JoinSet::new();
    for (n, caller) in (0..times).flat_map(|_| callers()).enumerate() {
        let (client, url) = (client.clone(), urls[(n / callers().len() + n) % urls.len()].clone());
        calls.spawn(async move {
            let answer = caller.call(&client, &url, mark).await;
            (caller, answer)
        });
    }
    calls.join_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_gets_answers_that_the_provider_made_for_them() {
    let tweaks = Tweaks { ingresses: 2, submitters: 2, ..Tweaks::default() };
    let deployment = Deployment::start(Kind::Nats, Config::default(), tweaks).await.unwrap();
    let (client, urls) = (Client::builder().no_proxy().build().unwrap(), deployment.base_urls());
    // Samples; then retries that nobody left behind; then the same name at both ingresses, which is one request of each.
    let mut answers = all(&client, &urls, 3, ("x-stainless-retry-count", "0")).await;
    answers.extend(all(&client, &urls, 1, ("x-stainless-retry-count", "1")).await);
    let named = all(&client, &urls, 2, ("idempotency-key", NAME)).await;

    let owners: BTreeMap<String, String> =
        deployment.simulator.batches().into_iter().map(|batch| (batch.id, batch.credential)).collect();
    for (caller, answer) in answers.iter().chain(&named) {
        assert_eq!(owners[&answer.job], caller.credential(), "{caller:?} has the answer of another");
    }
    // An answer that two callers share would be one id under two credentials.
    let ids: BTreeSet<(&str, String)> = answers
        .iter()
        .chain(&named)
        .map(|(caller, answer)| (answer.id.as_str(), caller.credential()))
        .collect();
    assert_eq!(ids.iter().map(|(id, _)| id).collect::<BTreeSet<_>>().len(), ids.len());
    assert_eq!(ids.len(), answers.len() + named.len() / 2, "one answer for each call, one for each name");
    let mut billed: BTreeMap<String, usize> = BTreeMap::new();
    for entry in deployment.simulator.ledger() {
        *billed.entry(entry.credential.as_str().to_owned()).or_default() += 1;
    }
    assert_eq!(billed.len(), callers().len());
    assert!(billed.values().all(|times| *times == 5), "3 samples, a retry and a name each: {billed:?}");

    strangers_are_told_nothing(&client, &urls[0], &answers).await;
    println!("{} calls of {} credentials, each with its own answers", ids.len(), callers().len());
    let state = deployment.stop().await.unwrap().simulator.state();
    assert_eq!((state.files_left, state.violation_count), (0, 0));
}

/// With ids that they have seen, callers ask the provider through the proxy, whose connections to it are shared.
async fn strangers_are_told_nothing(client: &Client, url: &str, answers: &[(Caller, Answer)]) {
    let mut refused = 0;
    for (owner, answer) in answers.iter().take(callers().len()) {
        let path = format!("batches/{}", answer.job);
        assert_eq!(owner.status(client, url, &path).await, 200);
        for stranger in callers().into_iter().filter(|caller| caller != owner) {
            assert_eq!(stranger.status(client, url, &path).await, 404);
            refused += 1;
        }
    }
    println!("{refused} questions about others' jobs were refused");
}
