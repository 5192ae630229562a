//! The simulated Anthropic over HTTP, as a client sees it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::time::{Duration, Instant};

use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use simulator::{Config, Credential, Fault, Handle, Op, Rule, Simulator, Status};

const BATCHES: &str = "/v1/messages/batches";

struct Lab {
    provider: Handle,
    client: Client,
}

impl Lab {
    async fn new() -> Self {
        Self { provider: Simulator::start(Config::default()).await.unwrap(), client: Client::new() }
    }

    fn bare(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.provider.anthropic_url()))
    }

    fn call(&self, method: Method, path: &str) -> RequestBuilder {
        self.bare(method, path).header("x-api-key", "sk-ant-a").header("anthropic-version", "2023-06-01")
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        read(self.call(Method::GET, path)).await
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        read(self.call(Method::POST, path).body(body.to_string())).await
    }

    async fn start(&self, count: usize) -> String {
        let (status, batch) = self.post(BATCHES, requests(count)).await;
        assert_eq!((status, &batch["processing_status"]), (200, &json!("in_progress")));
        batch["id"].as_str().unwrap().to_owned()
    }

    /// Polls until the batch has ended; a minute is far beyond what any machine needs.
    async fn ended(&self, id: &str) -> Value {
        let begun = Instant::now();
        loop {
            let batch = self.get(&format!("{BATCHES}/{id}")).await.1;
            if batch["processing_status"] == "ended" {
                return batch;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{batch}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Status and body of an answer; every one has its id in a header, and errors have the same one in the body.
async fn read(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let id = response.headers()["request-id"].to_str().unwrap().to_owned();
    let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    if status != 200 {
        assert_eq!((&body["type"], &body["request_id"]), (&json!("error"), &json!(id)));
    }
    (status, body)
}

/// Status and error type of an answer.
async fn refused(request: RequestBuilder) -> (u16, String) {
    let (status, body) = read(request).await;
    (status, body["error"]["type"].as_str().unwrap_or_default().to_owned())
}

fn message(text: &str) -> Value {
    json!({"model": "claude-x", "max_tokens": 99, "messages": [{"role": "user", "content": text}]})
}

fn requests(count: usize) -> Value {
    let one = |i| json!({"custom_id": format!("r{i}"), "params": message(&format!("echo:m{i}"))});
    json!({"requests": (0..count).map(one).collect::<Vec<_>>()})
}

fn pair(status: u16, kind: &str) -> (u16, String) {
    (status, kind.to_owned())
}

#[tokio::test]
async fn a_batch_from_creation_to_clean_up() {
    let lab = Lab::new().await;
    let id = lab.start(20).await;
    let batch = lab.ended(&id).await;
    assert_eq!(batch["request_counts"]["succeeded"], 20);
    let url = batch["results_url"].as_str().unwrap();
    let request = lab.client.get(url).bearer_auth("sk-ant-a").header("anthropic-version", "2026-10-21");
    let results = request.send().await.unwrap();
    assert_eq!(results.headers()["content-type"], "application/x-jsonl");
    assert_eq!(results.text().await.unwrap().lines().count(), 20);
    let listed = lab.get(&format!("{BATCHES}?limit=1")).await.1;
    assert_eq!((&listed["data"][0]["id"], &listed["has_more"]), (&json!(id), &json!(false)));
    let deleted = read(lab.call(Method::DELETE, &format!("{BATCHES}/{id}"))).await;
    assert_eq!(deleted, (200, json!({"id": id, "type": "message_batch_deleted"})));
    assert_eq!(lab.get(&format!("{BATCHES}/{id}")).await.0, 404);
    let batches = lab.provider.batches();
    assert!(batches.len() == 1 && batches[0].provider == "anthropic" && batches[0].deleted);
    assert_eq!(batches[0].credential, Credential::of_key("sk-ant-a").as_str());
    assert_eq!(lab.provider.batches_in(Status::Completed), 1);
    assert_eq!((lab.provider.billed_count(), lab.provider.billed_twice()), (20, vec![]));
    assert_eq!(lab.provider.state().billed_batch.requests, 20);
    assert_eq!((lab.provider.received(Op::Create), lab.provider.received(Op::Content)), (1, 1));
    assert_eq!(lab.provider.violations(), Vec::<String>::new());
    lab.provider.shutdown().await;
}

#[tokio::test]
async fn keys_and_versions_are_checked() {
    let lab = Lab::new().await;
    let ask = async |headers: &[(&str, &str)], path: &str| {
        let request = lab.bare(Method::GET, path);
        refused(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
    };
    let (version, key) = (("anthropic-version", "2023-06-01"), ("x-api-key", "sk-ant-a"));
    assert_eq!(ask(&[version], BATCHES).await, pair(401, "authentication_error"));
    assert_eq!(
        ask(&[version, ("x-api-key", "sk-invalid")], BATCHES).await,
        pair(401, "authentication_error")
    );
    assert_eq!(ask(&[version, ("authorization", "Bearer sk-ant-a")], BATCHES).await, pair(200, ""));
    assert_eq!(ask(&[key], BATCHES).await, pair(400, "invalid_request_error"));
    assert_eq!(
        ask(&[key, ("anthropic-version", "2024-01-01")], BATCHES).await,
        pair(400, "invalid_request_error")
    );
    assert_eq!(
        ask(&[key, version, ("anthropic-beta", "what?")], BATCHES).await,
        pair(400, "invalid_request_error")
    );
    let nobatch = [version, ("x-api-key", "sk-ant-nobatch")];
    assert_eq!(ask(&nobatch, BATCHES).await, pair(403, "permission_error"));
    assert_eq!(ask(&nobatch, "/v1/models").await, pair(200, ""));
    assert_eq!(ask(&[version, key], "/v1/nothing").await, pair(404, "not_found_error"));
    assert_eq!(ask(&[version, key], "/v1/messages").await, pair(405, "invalid_request_error"));
}

#[tokio::test]
async fn models_are_those_of_the_api_that_asks() {
    let lab = Lab::new().await;
    let list = lab.get("/v1/models").await.1;
    assert_eq!((&list["data"][0]["type"], &list["has_more"]), (&json!("model"), &json!(false)));
    assert_eq!(lab.get("/v1/models/claude-x").await.1["id"], "claude-x");
    assert_eq!(lab.get("/v1/models/gpt-4o").await.1["error"]["type"], "not_found_error");
    let openai = lab.bare(Method::GET, "/v1/models").bearer_auth("sk-a").send().await.unwrap();
    let openai: Value = serde_json::from_str(&openai.text().await.unwrap()).unwrap();
    assert_eq!(openai["object"], "list");
}

#[tokio::test]
async fn malformed_creations_are_refused_at_once() {
    let lab = Lab::new().await;
    let mut twice = requests(2);
    twice["requests"][1]["custom_id"] = json!("r0");
    for body in [json!({}), json!({"requests": []}), json!({"requests": [], "metadata": {}}), twice] {
        let request = lab.call(Method::POST, BATCHES).body(body.to_string());
        assert_eq!(refused(request).await, pair(400, "invalid_request_error"));
    }
    assert_eq!((lab.provider.batches().len(), lab.provider.violations().len()), (0, 4));
}

#[tokio::test]
async fn plain_calls_answer_and_are_billed() {
    let lab = Lab::new().await;
    let (status, answer) = lab.post("/v1/messages", message("echo:hello")).await;
    assert_eq!((status, &answer["content"][0]["text"]), (200, &json!("hello")));
    assert_eq!(answer["usage"]["service_tier"], "standard");
    assert_eq!(lab.post("/v1/messages", message("fail:529")).await.1["error"]["type"], "overloaded_error");
    assert_eq!(lab.post("/v1/messages", json!({"model": "claude-x"})).await.0, 400);
    assert_eq!(lab.post("/v1/messages", json!({"model": "gpt-4o"})).await.0, 404);
    let mut counted = message("echo:hello");
    counted.as_object_mut().unwrap().remove("max_tokens");
    let (_, count) = lab.post("/v1/messages/count_tokens", counted).await;
    assert_eq!(count["input_tokens"], answer["usage"]["input_tokens"]);
    let mut hot = message("echo:hot");
    hot["temperature"] = json!(1);
    assert_eq!(lab.post("/v1/messages", hot.clone()).await.0, 200);
    let newer = lab.bare(Method::POST, "/v1/messages").bearer_auth("sk-ant-a");
    let newer = newer.header("anthropic-version", "2026-10-21").body(hot.to_string());
    assert_eq!(refused(newer).await, pair(400, "invalid_request_error"));
    let state = lab.provider.state();
    assert_eq!((state.billed_sync.requests, state.executed), (2, 3));
}

#[tokio::test]
async fn streams_have_named_events() {
    let lab = Lab::new().await;
    let mut body = message("echo:a-text-that-needs-several-pieces-to-be-sent");
    body["stream"] = json!(true);
    let response = lab.call(Method::POST, "/v1/messages").body(body.to_string()).send().await.unwrap();
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/event-stream"));
    let text = response.text().await.unwrap();
    let names: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    assert_eq!(names[..3], ["message_start", "content_block_start", "ping"]);
    assert_eq!(names[names.len() - 3..], ["content_block_stop", "message_delta", "message_stop"]);
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let events: Vec<Value> = data.map(|event| serde_json::from_str(event).unwrap()).collect();
    let said: String = events.iter().filter_map(|event| event["delta"]["text"].as_str()).collect();
    assert_eq!(said, "a-text-that-needs-several-pieces-to-be-sent");
}

#[tokio::test]
async fn faults_hit_batches() {
    let lab = Lab::new().await;
    let create = async || lab.call(Method::POST, BATCHES).body(requests(5).to_string()).send().await;
    lab.provider.set_faults(Rule::new(Fault::Reset).on([Op::Create]).first(1));
    assert!(create().await.is_err());
    assert_eq!(lab.provider.batches().len(), 0);
    lab.provider.set_faults(Rule::new(Fault::LostAnswer).on([Op::Create]).first(1));
    assert!(create().await.is_err());
    assert_eq!(lab.provider.batches().len(), 1);
    let code = Some("ramp_limit_exceeded".to_owned());
    let status = Fault::Status { code: 429, retry_after: Some(2), error_code: code, message: None };
    lab.provider.set_faults(Rule::new(status).on([Op::Create]));
    let response = create().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["retry-after"]),
        (429, &"2".parse().unwrap())
    );
    let error: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    assert_eq!(error["error"]["details"]["error_code"], "ramp_limit_exceeded");

    let rules =
        [Rule::new(Fault::NotFoundAtFirst { ms: 0, times: 1 }), Rule::new(Fault::ListLag { ms: 60_000 })];
    lab.provider.set_faults(rules.to_vec());
    let id = lab.start(5).await;
    assert_eq!(
        refused(lab.call(Method::GET, &format!("{BATCHES}/{id}"))).await,
        pair(404, "not_found_error")
    );
    lab.ended(&id).await;
    assert_eq!(lab.get(BATCHES).await.1["data"].as_array().unwrap().len(), 1);
    let results = format!("{BATCHES}/{id}/results");
    assert_eq!(refused(lab.call(Method::GET, &results)).await, pair(404, "not_found_error"));
    let fetch = async || lab.call(Method::GET, &results).send().await.unwrap().text().await;
    lab.provider.set_faults(Rule::new(Fault::ShortFile { lines: 2 }));
    assert_eq!(fetch().await.unwrap().lines().count(), 3);
    assert_eq!(fetch().await.unwrap().lines().count(), 5);
    lab.provider.set_faults(Rule::new(Fault::Truncate { after: 100, chunked: true }));
    assert!(fetch().await.is_err(), "a cut download must not look complete");
    assert_eq!(lab.provider.violations(), Vec::<String>::new());
}
