//! What `/stats` says was used and paid, against the provider's own ledger and prices that are written down here.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use reqwest::Client;
use serde_json::{Value, json};
use simulator::{Config, Entry, Mode};
use tests::deployment::{Deployment, Kind, Tweaks};

/// Prices of a million tokens in cents of a cent: input and output at once, in a batch, by flex.
type Price = [(i128, i128); 3];

/// From the providers' price pages.
const PRICES: [(&str, Price); 5] = [
    ("gpt-4o-mini", [(1_500, 6_000), (750, 3_000), (1_500, 6_000)]),
    ("gpt-5-mini", [(2_500, 20_000), (1_250, 10_000), (1_250, 10_000)]),
    ("text-embedding-3-small", [(200, 0), (100, 0), (200, 0)]),
    ("claude-sonnet-4-5", [(30_000, 150_000), (15_000, 75_000), (30_000, 150_000)]),
    ("gemini-2.5-flash", [(3_000, 25_000), (1_500, 12_500), (1_500, 12_500)]),
];
/// Units of 1e-10 dollars in a millionth: a cent of a cent for a million tokens is 1e-10 dollars for one.
const MICRO: i128 = 10_000;

/// A call: path below the origin, key line, and body.
struct Call {
    path: &'static str,
    key: (&'static str, &'static str),
    body: Value,
    tag: &'static str,
    mode: &'static str,
}

fn calls() -> Vec<Call> {
    let bearer = ("authorization", "Bearer sk-money");
    let chat = |n: usize, model: &str, words: &str| {
        let text = format!("money {n} {words} {}", "and more ".repeat(n));
        json!({"model": model, "messages": [{"role": "user", "content": text}]})
    };
    let path = "/v1/chat/completions";
    let mut calls = Vec::new();
    for n in 0..30 {
        let (tag, mode) = (["", "night", "day"][n % 3], "auto");
        calls.push(Call { path, key: bearer, body: chat(n, "gpt-4o-mini", ""), tag, mode });
        let mode = ["auto", "flex", "auto"][n % 3];
        calls.push(Call { path, key: bearer, body: chat(n, "gpt-5-mini", ""), tag, mode });
    }
    // No room for flex, and errors, which cost nothing.
    calls.push(Call { path, key: bearer, body: chat(31, "gpt-5-mini", "noflex"), tag: "", mode: "flex" });
    calls.push(Call { path, key: bearer, body: chat(32, "gpt-5-mini", "fail:400"), tag: "", mode: "auto" });
    // A model without a price.
    calls.push(Call { path, key: bearer, body: chat(33, "gpt-9-of-tomorrow", ""), tag: "", mode: "auto" });
    let body = json!({"model": "text-embedding-3-small", "input": ["one text", "another, longer text"]});
    calls.push(Call { path: "/v1/embeddings", key: bearer, body, tag: "", mode: "auto" });
    for n in 0..5 {
        let messages = json!([{"role": "user", "content": format!("money {n}")}]);
        let body = json!({"model": "claude-sonnet-4-5", "max_tokens": 100, "messages": messages});
        calls.push(Call {
            path: "/v1/messages",
            key: ("x-api-key", "sk-ant-money"),
            body,
            tag: "night",
            mode: "auto",
        });
        let body = json!({"contents": [{"role": "user", "parts": [{"text": format!("money {n}")}]}]});
        let path = "/v1beta/models/gemini-2.5-flash:generateContent";
        calls.push(Call { path, key: ("x-goog-api-key", "AIza-money"), body, tag: "day", mode: "auto" });
    }
    calls
}

async fn make(house: &Deployment) -> Result<()> {
    let client = Client::builder().no_proxy().build()?;
    let made = calls().into_iter().map(async |call| {
        let url = format!("http://{}{}", house.address(), call.path);
        let request = client.post(url).header(call.key.0, call.key.1).header("x-llm-proxy-mode", call.mode);
        let request = request.header("x-llm-proxy-tag", call.tag);
        let request = match call.key.0 {
            "x-api-key" => request.header("anthropic-version", "2023-06-01"),
            _ => request,
        };
        let request = request.header("content-type", "application/json").body(call.body.to_string());
        let answer = request.send().await?;
        let head = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let (status, cost, input) =
            (answer.status(), head("x-llm-proxy-cost-usd"), head("x-llm-proxy-input-tokens"));
        let known = !call.body.to_string().contains("tomorrow");
        let fails = call.body.to_string().contains("fail:400");
        let text = answer.text().await?;
        ensure!(status.is_success() != fails && input.is_some() != fails, "{status} {input:?} {text}");
        ensure!(cost.is_some() == (known && status.is_success()), "{status} {cost:?} {}", call.body);
        Ok(cost)
    });
    let costs: Vec<Option<String>> = try_join_all(made).await?;
    ensure!(
        costs.iter().flatten().all(|cost| cost.split_once('.').is_some_and(|(_, digits)| digits.len() == 6))
    );
    Ok(())
}

/// At the full price and as paid, in units of 1e-10 dollars; `None` for a model without a price.
fn price(entry: &Entry) -> Option<(i128, i128)> {
    let (_, prices) = PRICES.iter().find(|(model, _)| *entry.model == **model)?;
    let of = |(input, output): (i128, i128)| {
        input * i128::from(entry.input_tokens) + output * i128::from(entry.output_tokens)
    };
    let paid = match entry.mode {
        Mode::Sync => prices[0],
        Mode::Batch => prices[1],
        Mode::Flex => prices[2],
    };
    Some((of(prices[0]), of(paid)))
}

fn micros(amount: &Value) -> i128 {
    (amount.as_f64().unwrap() * 1e6).round() as i128
}

/// Sums of the ledger as a page has them: requests, tokens, and millionths of dollars at the full price and as paid.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sums {
    input: u64,
    output: u64,
    list: i128,
    paid: i128,
    saved: i128,
    unknown: u64,
}

impl Sums {
    fn of<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Self {
        let mut sums = Self::default();
        for entry in entries {
            sums.input += entry.input_tokens;
            sums.output += entry.output_tokens;
            match price(entry) {
                Some((list, paid)) => (sums.list, sums.paid) = (sums.list + list, sums.paid + paid),
                None => sums.unknown += 1,
            }
        }
        let round = |amount: i128| (amount + MICRO / 2) / MICRO;
        let saved = sums.list - sums.paid;
        Self { list: round(sums.list), paid: round(sums.paid), saved: round(saved), ..sums }
    }

    fn read(tokens: &Value, cost: &Value) -> Self {
        let [list, paid, saved] = ["list_usd", "paid_usd", "saved_usd"].map(|name| micros(&cost[name]));
        Self {
            input: tokens["input"].as_u64().unwrap(),
            output: tokens["output"].as_u64().unwrap(),
            list,
            paid,
            saved,
            unknown: cost["unknown_requests"].as_u64().unwrap(),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stats_say_was_paid_is_what_the_ledger_says() -> Result<()> {
    let house = Deployment::start(Kind::Embedded, Config::default(), Tweaks::default()).await?;
    make(&house).await?;
    let origin = format!("http://{}", house.address());
    let stats: Value =
        serde_json::from_slice(&reqwest::get(format!("{origin}/stats")).await?.bytes().await?)?;
    let csv = reqwest::get(format!("{origin}/stats/usage.csv")).await?.text().await?;
    let stopped = house.stop().await?;
    let ledger: Vec<Entry> = stopped.simulator.ledger().into_iter().filter(|entry| entry.billed).collect();
    assert_eq!(ledger.len(), calls().len() - 1);
    assert!(
        ledger.iter().any(|entry| entry.mode == Mode::Flex)
            && ledger.iter().any(|entry| entry.mode == Mode::Sync)
    );

    let sums = Sums::of(&ledger);
    assert_eq!(Sums::read(&stats["tokens"], &stats["cost"]), sums);
    assert!(sums.list > sums.paid && sums.paid > 0 && sums.unknown == 1);
    let mut models = BTreeMap::<String, Vec<&Entry>>::new();
    for entry in &ledger {
        models.entry(format!("{}/{}", entry.provider, entry.model)).or_default().push(entry);
    }
    for (model, entries) in models {
        let line = &stats["usage"]["by_model"][&model];
        assert_eq!(Sums::read(line, line), Sums::of(entries), "{model}");
    }
    let tags = &stats["usage"]["by_tag"];
    assert_eq!((&tags["night"]["requests"], &tags["day"]["requests"]), (&json!(25), &json!(25)));
    assert_eq!(stats["usage"]["by_key"].as_object().context("no keys")?.len(), 3);
    let rows = csv.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>());
    assert_eq!(rows.map(|row| row[6].parse::<usize>().unwrap()).sum::<usize>(), calls().len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn observing_tells_what_batches_would_save() -> Result<()> {
    let mut tweaks = Tweaks::default();
    tweaks.ingress.push("--mode=observe");
    let house = Deployment::start(Kind::Embedded, Config::default(), tweaks).await?;
    let client = Client::builder().no_proxy().build()?;
    let origin = format!("http://{}", house.address());
    for n in 0..20 {
        // Every other one as a stream, which is relayed as it comes.
        let options = if n % 2 == 0 { json!({}) } else { json!({"include_usage": true}) };
        let mut body = json!({
            "model": "gpt-4o-mini",
            "messages": [{"role": "user", "content": format!("money {n} size:{}", 100 * n)}],
        });
        if n % 2 == 1 {
            body["stream"] = true.into();
            body["stream_options"] = options;
        }
        let request = client.post(format!("{origin}/v1/chat/completions")).bearer_auth("sk-observed");
        let answer = request.header("content-type", "application/json").body(body.to_string()).send().await?;
        assert_eq!(answer.headers()["x-llm-proxy-route"], "sync");
        assert_eq!(answer.headers()["x-llm-proxy-relay-reason"], "observe");
        ensure!(answer.status().is_success());
        let text = answer.text().await?;
        ensure!(text.contains("data: [DONE]") == (n % 2 == 1), "{text}");
    }
    let page = async || -> Result<Value> {
        Ok(serde_json::from_slice(&reqwest::get(format!("{origin}/stats")).await?.bytes().await?)?)
    };
    let mut stats = page().await?;
    // The last answer counts when its body has gone.
    while stats["observe"]["requests"] != 20 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        stats = page().await?;
    }
    let stopped = house.stop().await?;
    let ledger: Vec<Entry> = stopped.simulator.ledger();
    assert!(ledger.iter().all(|entry| entry.mode == Mode::Sync) && ledger.len() == 20);
    let (sums, observed) = (Sums::of(&ledger), &stats["observe"]);
    assert_eq!(Sums::read(&stats["tokens"], &stats["cost"]), sums);
    let batched: Vec<Entry> = ledger.into_iter().map(|entry| Entry { mode: Mode::Batch, ..entry }).collect();
    let expected = Sums::of(&batched);
    let told = ["list_usd", "batch_usd", "would_save_usd"].map(|name| micros(&observed[name]));
    assert_eq!(told, [expected.list, expected.paid, expected.saved]);
    assert!(observed["batches"].as_u64().is_some_and(|batches| (1..=20).contains(&batches)));
    Ok(())
}
