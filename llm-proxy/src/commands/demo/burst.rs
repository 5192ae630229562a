//! Many calls at once over HTTP, like those of any program.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::progress::Progress;

/// The model that the calls ask for; the receipt's prices are its.
pub(crate) const MODEL: &str = "gpt-4o-mini";
/// What the calls show as their key: the simulator takes any that looks like one.
pub(crate) const KEY: &str = "sk-demo";
/// Longer than any batch of the demo takes.
const TIMEOUT: Duration = Duration::from_secs(120);

/// What became of all calls.
pub(crate) struct Burst {
    /// The calls, in the order in which they were made.
    pub(crate) calls: Vec<Called>,
    /// From the first call to the last answer.
    pub(crate) took: Duration,
}

/// One call.
pub(crate) struct Called {
    /// What was asked.
    pub(crate) question: String,
    /// What came back, if it is the answer to this question; else what went wrong.
    pub(crate) answer: Result<String, String>,
}

impl Burst {
    /// How many calls got their own answer.
    pub(crate) fn own_answers(&self) -> usize {
        self.calls.iter().filter(|call| call.answer.is_ok()).count()
    }
}

/// Makes `requests` calls at once and waits for all of them.
pub(crate) async fn burst(url: &str, requests: u32) -> Burst {
    let began = Instant::now();
    let progress = Progress::begin(u64::from(requests));
    let mut tasks = JoinSet::new();
    // The proxy is on this machine: no proxy of the environment is asked for the way.
    match reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build() {
        Ok(client) => {
            for number in 0..requests {
                let call = call(client.clone(), format!("{url}/v1/chat/completions"), number);
                tasks.spawn(async move { (number, call.await.map_err(|error| format!("{error:#}"))) });
            }
        }
        Err(error) => tracing::error!(%error, "cannot make an HTTP client"),
    }
    let nothing = |number| Called { question: question(number), answer: Err("it was not made".into()) };
    let mut calls: Vec<Called> = (0..requests).map(nothing).collect();
    while let Some(ended) = tasks.join_next().await {
        if let Ok((number, answer)) = ended {
            calls[number as usize].answer = answer;
        }
        progress.step();
    }
    progress.end();
    Burst { calls, took: began.elapsed() }
}

/// Two factors that no other call of the burst has.
fn factors(number: u32) -> (u32, u32) {
    (number + 2, number * 7 % 90 + 10)
}

fn question(number: u32) -> String {
    let (a, b) = factors(number);
    format!("What is {a} × {b}?")
}

/// The simulator is no mathematician: the question holds, in `echo:`, what it answers.
fn expected(number: u32) -> String {
    let (a, b) = factors(number);
    format!("{a}×{b}={}", a * b)
}

async fn call(client: reqwest::Client, url: String, number: u32) -> anyhow::Result<String> {
    let prompt = format!("{} echo:{}", question(number), expected(number));
    let messages = json!([
        {"role": "system", "content": "You are a patient teacher of arithmetic. Answer with the equation alone."},
        {"role": "user", "content": prompt},
    ]);
    let body = json!({"model": MODEL, "messages": messages}).to_string();
    let request = client
        .post(url)
        .header(AUTHORIZATION, format!("Bearer {KEY}"))
        .header(CONTENT_TYPE, "application/json");
    let response = request.body(body).send().await.context("no answer")?;
    let status = response.status();
    let bytes = response.bytes().await.context("the answer broke off")?;
    let answer: Value =
        serde_json::from_slice(&bytes).with_context(|| format!("status {status}, and no JSON"))?;
    if !status.is_success() {
        bail!("status {status}: {}", answer["error"]["message"].as_str().unwrap_or("no message"));
    }
    match answer["choices"][0]["message"]["content"].as_str() {
        Some(content) if content == expected(number) => Ok(content.to_owned()),
        Some(content) => bail!("the answer to another call: {content}"),
        None => bail!("an answer without content"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_calls_expect_the_same() {
        let all: std::collections::HashSet<String> = (0..10_000).map(expected).collect();
        assert_eq!(all.len(), 10_000);
        assert_eq!((question(0), expected(0)), ("What is 2 × 10?".into(), "2×10=20".into()));
    }
}
