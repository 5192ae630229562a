//! All simulated providers of one simulator at once: whose a call is, and what one world tells of all of them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use simulator::{Config, Fault, Handle, Rule, Simulator, Status};

const VERSION: (&str, &str) = ("anthropic-version", "2023-06-01");

/// The APIs like `OpenAI`'s: their names, where they are, and a key.
const ALIKE: [(&str, &str, &str); 8] = [
    ("openai", "", "sk-a"),
    ("azure", "/azure/openai", "token"),
    ("groq", "/groq/openai", "gsk_a"),
    ("mistral", "/mistral", "key"),
    ("xai", "/xai", "xai-a"),
    ("openrouter", "/openrouter/api", "sk-or-a"),
    ("together", "/together", "key"),
    ("compat", "/compat", "ck-a"),
];

struct Lab {
    provider: Handle,
    client: Client,
}

impl Lab {
    async fn new() -> Self {
        Self { provider: Simulator::start(Config::default()).await.unwrap(), client: Client::new() }
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("http://{}{path}", self.provider.addr()))
    }

    fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        self.client.post(format!("http://{}{path}", self.provider.addr())).body(body.to_string())
    }

    /// Starts a batch with its lines inline at each API that has that.
    async fn start_inline(&self) {
        let messages = json!([{"role": "user", "content": "hi"}]);
        let params = json!({"model": "claude-haiku-4-5", "max_tokens": 9, "messages": messages});
        let anthropic = json!({"requests": [{"custom_id": "a", "params": params}]});
        let call = self.post("/v1/messages/batches", &anthropic);
        assert_eq!(status(call.header("x-api-key", "sk-ant-a").header(VERSION.0, VERSION.1)).await, 200);
        let request = json!({"contents": [{"role": "user", "parts": [{"text": "hi"}]}]});
        let gemini = json!({"batch": {"inputConfig": {"requests": {"requests": [{"request": request, "metadata": {"key": "a"}}]}}}});
        let call = self.post("/v1beta/models/gemini-2.5-flash:batchGenerateContent", &gemini);
        assert_eq!(status(call.header("x-goog-api-key", "AIza-a")).await, 200);
        let line = json!({"custom_id": "a", "body": {"messages": messages}});
        let mistral = json!({"endpoint": "/v1/chat/completions", "model": "m", "requests": [line]});
        assert_eq!(status(self.post("/mistral/v1/batch/jobs", &mistral).bearer_auth("key")).await, 200);
    }

    /// Waits until all three of those have a status; a minute is far beyond what any machine needs.
    async fn until_all(&self, status: Status) {
        let begun = Instant::now();
        while self.provider.batches_in(status) < 3 {
            assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", self.provider.batches());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn status(call: RequestBuilder) -> u16 {
    call.send().await.unwrap().status().as_u16()
}

async fn body(call: RequestBuilder) -> Value {
    serde_json::from_str(&call.send().await.unwrap().text().await.unwrap()).unwrap()
}

#[tokio::test]
async fn every_provider_is_paid_by_its_name_and_once() {
    let lab = Lab::new().await;
    let messages = json!([{"role": "user", "content": "echo:same"}]);
    for (name, prefix, key) in ALIKE {
        let call = lab.post(
            &format!("{prefix}/v1/chat/completions"),
            &json!({"model": "gpt-4o", "messages": messages}),
        );
        assert_eq!(status(call.bearer_auth(key)).await, 200, "{name}");
    }
    let call = lab
        .post("/v1/messages", &json!({"model": "claude-haiku-4-5", "max_tokens": 9, "messages": messages}));
    assert_eq!(status(call.header("x-api-key", "sk-ant-a").header(VERSION.0, VERSION.1)).await, 200);
    let contents = json!({"contents": [{"role": "user", "parts": [{"text": "echo:same"}]}]});
    let call = lab.post("/v1beta/models/gemini-2.5-flash:generateContent", &contents);
    assert_eq!(status(call.header("x-goog-api-key", "AIza-a")).await, 200);
    let paid: BTreeSet<&str> = lab.provider.ledger().iter().map(|entry| entry.provider).collect();
    let all = ALIKE.map(|(name, ..)| name).into_iter().chain(["anthropic", "gemini"]);
    assert_eq!(paid, all.collect());
    assert_eq!((lab.provider.billed_count(), lab.provider.billed_twice()), (10, vec![]));
}

#[tokio::test]
async fn headers_tell_whose_the_models_are() {
    let lab = Lab::new().await;
    let models = || lab.get("/v1/models");
    assert_eq!(body(models().bearer_auth("sk-a")).await["data"][0]["owned_by"], "openai");
    let anthropic = models().header("x-api-key", "sk-ant-a").header(VERSION.0, VERSION.1);
    assert_eq!(body(anthropic).await["data"][0]["type"], "model");
    assert!(body(models().header("x-goog-api-key", "AIza-a")).await["models"].is_array());
    let elsewhere = lab.get("/compat/v1/models/m").bearer_auth("ck-a").header(VERSION.0, VERSION.1);
    assert_eq!(body(elsewhere).await["owned_by"], "compat");
}

#[tokio::test]
async fn one_release_lets_the_batches_of_all_go_on() {
    let lab = Lab::new().await;
    lab.provider.set_faults(Rule::new(Fault::Stall { after: 0 }));
    lab.start_inline().await;
    lab.until_all(Status::InProgress).await;
    let providers: BTreeSet<&str> = lab.provider.batches().iter().map(|batch| batch.provider).collect();
    assert_eq!(providers, ["anthropic", "gemini", "mistral"].into());
    assert_eq!((lab.provider.billed_count(), lab.provider.release(None)), (0, 3));
    lab.until_all(Status::Completed).await;
    assert_eq!((lab.provider.billed_count(), lab.provider.state().batches_active), (3, 0));
    lab.provider.reset();
    assert!(lab.provider.batches().is_empty());
}
