//! The simulator over HTTP, as a client sees it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::time::{Duration, Instant};

use reqwest::multipart::{Form, Part};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use simulator::{Config, Credential, Fault, Handle, Op, Rule, Simulator, Status};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const CHAT: &str = "/v1/chat/completions";

struct Lab {
    provider: Handle,
    client: Client,
}

impl Lab {
    async fn new(config: Config) -> Self {
        Self { provider: Simulator::start(config).await.unwrap(), client: Client::new() }
    }

    fn call(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.provider.url())).bearer_auth("sk-a")
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        read(self.call(Method::GET, path)).await
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        read(self.call(Method::POST, path).body(body.to_string())).await
    }

    async fn admin(&self, method: Method, path: &str, body: Value) -> Value {
        let url = format!("http://{}/_sim/{path}", self.provider.addr());
        read(self.client.request(method, url).body(body.to_string())).await.1
    }

    fn form(name: &str, content: String) -> Form {
        Form::new()
            .text("purpose", "batch")
            .part("file", Part::bytes(content.into_bytes()).file_name(name.to_owned()))
    }

    async fn upload(&self, content: String) -> (u16, Value) {
        read(self.call(Method::POST, "/files").multipart(Self::form("in.jsonl", content))).await
    }

    async fn create(&self, file: &Value) -> (u16, Value) {
        let body = json!({"input_file_id": file, "endpoint": CHAT, "completion_window": "24h"});
        self.post("/batches", body).await
    }

    async fn start(&self, content: String) -> String {
        let file = self.upload(content).await.1;
        self.create(&file["id"]).await.1["id"].as_str().unwrap().to_owned()
    }

    /// Polls until the batch has ended; a minute is far beyond what any machine needs.
    async fn ended(&self, id: &str) -> Value {
        let begun = Instant::now();
        loop {
            let batch = self.get(&format!("/batches/{id}")).await.1;
            if ["completed", "failed", "expired", "cancelled"].contains(&batch["status"].as_str().unwrap()) {
                return batch;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{batch}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn content(&self, file: &Value) -> reqwest::Result<String> {
        let path = format!("/files/{}/content", file.as_str().unwrap());
        self.call(Method::GET, &path).send().await?.text().await
    }
}

async fn read(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    assert!(response.headers().contains_key("content-type"));
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap())
}

fn line(id: &str, text: &str) -> String {
    let body = json!({"model": "gpt-4o", "messages": [{"role": "user", "content": text}]});
    json!({"custom_id": id, "method": "POST", "url": CHAT, "body": body}).to_string() + "\n"
}

fn lines(count: usize) -> String {
    (0..count).map(|i| line(&format!("r{i}"), &format!("echo:m{i}"))).collect()
}

#[tokio::test]
async fn a_batch_from_upload_to_clean_up() {
    let lab = Lab::new(Config::default()).await;
    let (status, file) = lab.upload(lines(20)).await;
    assert_eq!((status, &file["purpose"], &file["status"]), (200, &json!("batch"), &json!("processed")));
    let (status, batch) = lab.create(&file["id"]).await;
    assert_eq!((status, &batch["status"]), (200, &json!("validating")));
    let batch = lab.ended(batch["id"].as_str().unwrap()).await;
    assert_eq!(batch["request_counts"], json!({"total": 20, "completed": 20, "failed": 0}));
    let output = lab.content(&batch["output_file_id"]).await.unwrap();
    assert_eq!(output.lines().count(), 20);
    let owner = Credential::of_key("sk-a");
    assert_eq!(lab.provider.files_left(&owner), 2);
    let listed = lab.get("/files?purpose=batch_output").await.1;
    assert_eq!(listed["data"][0]["id"], batch["output_file_id"]);
    for id in [&batch["input_file_id"], &batch["output_file_id"]] {
        let path = format!("/files/{}", id.as_str().unwrap());
        assert_eq!(read(lab.call(Method::DELETE, &path)).await.1["deleted"], true);
        assert_eq!(lab.get(&path).await.0, 404);
    }
    assert_eq!(lab.provider.files_left_total(), 0);
    assert_eq!((lab.provider.billed_count(), lab.provider.billed_twice()), (20, vec![]));
    assert_eq!(lab.provider.violations(), Vec::<String>::new());
    assert_eq!((lab.provider.received(Op::Upload), lab.provider.received(Op::Delete)), (1, 2));
    assert_eq!(lab.provider.batches_in(Status::Completed), 1);
    lab.provider.shutdown().await;
}

#[tokio::test]
async fn keys_are_checked() {
    let lab = Lab::new(Config::default()).await;
    let ask = async |key: Option<&str>, path: &str| {
        let request = lab.client.get(format!("{}{path}", lab.provider.url()));
        read(key.map_or(request.try_clone().unwrap(), |key| request.bearer_auth(key))).await
    };
    assert_eq!(ask(None, "/files").await.0, 401);
    let (status, error) = ask(Some("sk-invalid-1"), "/models").await;
    assert_eq!((status, &error["error"]["code"]), (401, &json!("invalid_api_key")));
    assert_eq!(ask(Some("pk-1"), "/batches").await.0, 401);
    assert_eq!(ask(Some("sk-nobatch"), "/batches").await.0, 403);
    assert_eq!(ask(Some("sk-nobatch"), "/models").await.0, 200);
}

#[tokio::test]
async fn uploads_are_checked() {
    let lab = Lab::new(Config { max_file_bytes: 1000, ..Config::default() }).await;
    let send = async |form: Form| read(lab.call(Method::POST, "/files").multipart(form)).await;
    let (status, error) = send(Lab::form("in.json", lines(1))).await;
    assert_eq!(
        (status, &error["error"]["message"]),
        (400, &json!("Invalid file format for Batch API. Must be .jsonl"))
    );
    let (status, error) = send(Lab::form("in.jsonl", lines(100))).await;
    assert_eq!(
        (status, &error["error"]["message"], &error["error"]["code"]),
        (400, &json!("File is too large."), &Value::Null)
    );
    assert_eq!(send(Form::new().text("purpose", "batch")).await.0, 400);
    assert_eq!(send(Lab::form("in.jsonl", lines(1)).text("expires_after[seconds]", "3600")).await.0, 400);
    let form = Lab::form("in.jsonl", lines(1))
        .text("expires_after[seconds]", "60")
        .text("expires_after[anchor]", "created_at");
    assert_eq!(send(form).await.0, 400);
    let form = Lab::form("in.jsonl", lines(1))
        .text("expires_after[seconds]", "3600")
        .text("expires_after[anchor]", "created_at");
    let (status, file) = send(form).await;
    assert_eq!(
        (status, file["expires_at"].as_u64().unwrap()),
        (200, file["created_at"].as_u64().unwrap() + 3600)
    );
    assert_eq!(lab.provider.files_left_total(), 1);
}

#[tokio::test]
async fn plain_calls_answer_and_are_billed() {
    let lab = Lab::new(Config::default()).await;
    let chat = |text: &str| json!({"model": "gpt-4o", "messages": [{"role": "user", "content": text}]});
    let (status, answer) = lab.post("/chat/completions", chat("echo:hello")).await;
    assert_eq!((status, &answer["choices"][0]["message"]["content"]), (200, &json!("hello")));
    assert_eq!(lab.post("/chat/completions", chat("fail:429")).await.0, 429);
    assert_eq!(lab.post("/chat/completions", json!({"model": "gpt-4o"})).await.0, 400);
    assert_eq!(lab.post("/chat/completions", json!({"model": "nope", "messages": []})).await.0, 404);
    let mut flex = chat("echo:flex");
    flex["service_tier"] = json!("flex");
    assert_eq!(lab.post("/chat/completions", flex).await.1["service_tier"], "flex");
    let state = lab.provider.state();
    assert_eq!((state.billed_sync.requests, state.billed_flex.requests, state.executed), (1, 1, 3));
    assert_eq!(lab.get("/models/gpt-4o").await.1["id"], "gpt-4o");
    assert_eq!(lab.get("/models/nobody").await.0, 404);
    assert_eq!(lab.get("/nothing/here").await.0, 404);
    assert_eq!(lab.get("/chat/completions").await.0, 405);
}

#[tokio::test]
async fn streams_end_with_done() {
    let lab = Lab::new(Config::default()).await;
    let body = json!({"model": "gpt-4o", "stream": true, "stream_options": {"include_usage": true},
        "messages": [{"role": "user", "content": "echo:a-text-that-needs-several-pieces-to-be-sent"}]});
    let response = lab.call(Method::POST, "/chat/completions").body(body.to_string()).send().await.unwrap();
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/event-stream"));
    let text = response.text().await.unwrap();
    let events: Vec<&str> =
        text.split("\n\n").filter(|e| !e.is_empty()).map(|e| e.strip_prefix("data: ").unwrap()).collect();
    assert_eq!(*events.last().unwrap(), "[DONE]");
    let chunks: Vec<Value> =
        events[..events.len() - 1].iter().map(|e| serde_json::from_str(e).unwrap()).collect();
    let said: String = chunks.iter().filter_map(|c| c["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(said, "a-text-that-needs-several-pieces-to-be-sent");
    assert!(chunks.last().unwrap()["usage"]["total_tokens"].is_u64());

    let body = json!({"model": "gpt-4o", "stream": true, "input": "echo:hi"}).to_string();
    let text = lab.call(Method::POST, "/responses").body(body).send().await.unwrap().text().await.unwrap();
    let events: Vec<Value> = text
        .lines()
        .filter_map(|l| l.strip_prefix("data: "))
        .map(|e| serde_json::from_str(e).unwrap())
        .collect();
    assert_eq!(events.last().unwrap()["type"], "response.completed");
    assert_eq!(events.last().unwrap()["response"]["output"][0]["content"][0]["text"], "hi");
}

#[tokio::test]
async fn resets_and_lost_answers() {
    let lab = Lab::new(Config::default()).await;
    let file = lab.upload(lines(1)).await.1["id"].clone();
    let body = json!({"input_file_id": file, "endpoint": CHAT, "completion_window": "24h"}).to_string();
    let create = async || lab.call(Method::POST, "/batches").body(body.clone()).send().await;

    lab.provider.set_faults(Rule::new(Fault::Reset).on([Op::Create]).first(1));
    assert!(create().await.is_err());
    assert_eq!(lab.provider.batches().len(), 0);
    lab.provider.set_faults(Rule::new(Fault::LostAnswer).on([Op::Create]).first(1));
    assert!(create().await.is_err());
    assert_eq!(lab.provider.batches().len(), 1);
    lab.provider.set_faults(Rule::new(Fault::Late { ms: 30 }).on([Op::Create]).first(1));
    assert!(create().await.is_err());
    assert_eq!(lab.provider.batches().len(), 1);
    let begun = Instant::now();
    while lab.provider.batches().len() < 2 {
        assert!(begun.elapsed() < Duration::from_secs(60));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(create().await.unwrap().status(), StatusCode::OK);
    assert_eq!(lab.provider.received(Op::Create), 4);
}

#[tokio::test]
async fn a_reset_is_a_reset_on_the_wire() {
    let lab = Lab::new(Config::default()).await;
    lab.provider.set_faults(Rule::new(Fault::Reset));
    let mut tcp = tokio::net::TcpStream::connect(lab.provider.addr()).await.unwrap();
    tcp.write_all(b"GET /v1/files HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-a\r\n\r\n").await.unwrap();
    let error = tcp.read(&mut [0; 64]).await.expect_err("a plain close would read as 0 bytes");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn statuses_and_late_visibility() {
    let lab = Lab::new(Config::default()).await;
    let status = Fault::Status { code: 503, retry_after: Some(2), error_code: None, message: None };
    lab.provider.set_faults(Rule::new(status).first(1));
    let response = lab.call(Method::GET, "/files").send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.headers()["retry-after"].to_str().unwrap()), (503, "2"));

    let rules =
        [Rule::new(Fault::NotFoundAtFirst { ms: 0, times: 1 }), Rule::new(Fault::ListLag { ms: 60_000 })];
    lab.provider.set_faults(rules.to_vec());
    let file = lab.upload(lines(1)).await.1["id"].clone();
    assert_eq!(lab.get("/files").await.1["data"], json!([]));
    let (status, error) = lab.create(&file).await;
    assert_eq!((status, &error["error"]["param"]), (400, &json!("file_id")));
    let id = lab.create(&file).await.1["id"].as_str().unwrap().to_owned();
    assert_eq!(lab.get(&format!("/batches/{id}")).await.0, 404);
    assert_eq!(lab.get(&format!("/batches/{id}")).await.0, 200);
    assert_eq!(lab.get("/batches").await.1["data"], json!([]));
}

#[tokio::test]
async fn downloads_are_cut_and_short() {
    let lab = Lab::new(Config { ranges: true, awkward_answers: true, ..Config::default() }).await;
    let batch = lab.start(lines(50)).await;
    let output = lab.ended(&batch).await["output_file_id"].clone();
    let whole = lab.content(&output).await.unwrap();
    assert_eq!(whole.split_terminator('\n').count(), 50);
    assert!(whole.contains('\u{2028}'));
    for chunked in [false, true] {
        lab.provider.set_faults(Rule::new(Fault::Truncate { after: 3000, chunked }));
        let path = format!("/files/{}/content", output.as_str().unwrap());
        let mut response = lab.call(Method::GET, &path).send().await.unwrap();
        assert_eq!(response.content_length().is_some(), !chunked);
        let mut got = 0;
        let error = loop {
            match response.chunk().await {
                Ok(Some(chunk)) => got += chunk.len(),
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        assert!(error.is_some(), "a cut download must not look complete");
        assert_eq!(got, 3000);
    }
    lab.provider.set_faults(Rule::new(Fault::ShortFile { lines: 2 }));
    assert_eq!(lab.content(&output).await.unwrap().split_terminator('\n').count(), 48);
    assert_eq!(lab.content(&output).await.unwrap(), whole);
    let path = format!("/files/{}/content", output.as_str().unwrap());
    let part = lab.call(Method::GET, &path).header("range", "bytes=3000-").send().await.unwrap();
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.text().await.unwrap().as_bytes(), &whole.as_bytes()[3000..]);
}

#[tokio::test]
async fn the_admin_routes_show_and_steer() {
    let lab = Lab::new(Config::default()).await;
    let rules = json!({"rules": [{"fault": {"stall": {}}}]});
    assert_eq!(lab.admin(Method::POST, "faults", rules).await["ok"], true);
    assert!(
        lab.admin(Method::POST, "faults", json!({"rules": [{"fault": "no"}]})).await["error"].is_string()
    );
    let batch = lab.start(lines(2)).await;
    let begun = Instant::now();
    while lab.admin(Method::POST, "release", Value::Null).await["released"] != 1 {
        assert!(begun.elapsed() < Duration::from_secs(60));
    }
    lab.ended(&batch).await;
    let state = lab.admin(Method::GET, "state", Value::Null).await;
    assert_eq!(
        (&state["billed"], &state["files_left"], &state["batches"][0]["status"]),
        (&json!(2), &json!(2), &json!("completed"))
    );
    assert_eq!(state["ops"]["upload"], 1);
    let ledger = lab.admin(Method::GET, "ledger?limit=1", Value::Null).await;
    assert_eq!((&ledger["total"], ledger["entries"].as_array().unwrap().len()), (&json!(2), 1));
    assert!(!ledger.to_string().contains("sk-a"), "keys stay out of the ledger");
    let bodies = lab.admin(Method::GET, "bodies?custom_id=r1", Value::Null).await;
    assert!(bodies[0].as_str().unwrap().contains("echo:m1"));
    lab.admin(Method::POST, "reset", Value::Null).await;
    assert_eq!(lab.admin(Method::GET, "state", Value::Null).await["batch_count"], 0);
}

#[tokio::test]
async fn the_echo_shows_what_arrived() {
    let lab = Lab::new(Config::default()).await;
    let request = lab.call(Method::PATCH, "/echo/a%20b?x=1&y=%2F").header("X-One", "1").body("hello");
    let response = request.send().await.unwrap();
    assert_eq!(response.headers().get_all("set-cookie").iter().count(), 2);
    let seen: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    assert_eq!((&seen["method"], &seen["path"]), (&json!("PATCH"), &json!("/v1/echo/a%20b?x=1&y=%2F")));
    assert!(seen["headers"].as_array().unwrap().contains(&json!(["x-one", "1"])));
    assert_eq!(seen["body"]["len"], 5);
    assert_eq!(seen["body"]["sha256"], simulator::hex(&simulator::sha256(b"hello")));
    let text =
        lab.call(Method::POST, "/mirror").body("there and back").send().await.unwrap().text().await.unwrap();
    assert_eq!(text, "there and back");
}

#[tokio::test]
async fn an_upgraded_connection_echoes() {
    let lab = Lab::new(Config::default()).await;
    let mut tcp = tokio::net::TcpStream::connect(lab.provider.addr()).await.unwrap();
    let head = b"GET /v1/upgrade HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
    tcp.write_all(head).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(tcp.read_u8().await.unwrap());
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"));
    tcp.write_all(b"ping").await.unwrap();
    let mut back = [0; 4];
    tcp.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"ping");
    let plain = lab.call(Method::GET, "/upgrade").send().await.unwrap();
    assert_eq!(plain.status(), StatusCode::UPGRADE_REQUIRED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_batch() {
    let lab = Lab::new(Config { batch_time: Duration::ZERO, keep_bodies: 0, ..Config::default() }).await;
    let pad = "x".repeat(800);
    let content: String = (0..50_000).map(|i| line(&format!("r{i}"), &format!("echo:m{i} {pad}"))).collect();
    let begun = Instant::now();
    let file = lab.upload(content).await.1;
    println!("uploaded {} bytes after {:?}", file["bytes"], begun.elapsed());
    let batch = lab.create(&file["id"]).await.1["id"].clone();
    let batch = lab.ended(batch.as_str().unwrap()).await;
    println!("ended after {:?}", begun.elapsed());
    assert_eq!(batch["request_counts"], json!({"total": 50_000, "completed": 50_000, "failed": 0}));
    let output = lab.content(&batch["output_file_id"]).await.unwrap();
    println!("downloaded {} bytes after {:?}", output.len(), begun.elapsed());
    assert_eq!(output.lines().count(), 50_000);
    assert_eq!((lab.provider.billed_count(), lab.provider.billed_twice()), (50_000, vec![]));
}
