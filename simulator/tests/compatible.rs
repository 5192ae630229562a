//! The APIs made after OpenAI's, over HTTP, as a client sees them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::time::{Duration, Instant};

use reqwest::multipart::{Form, Part};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use simulator::{Config, Credential, Fault, Handle, Op, Rule, Simulator};

const CHAT: &str = "/v1/chat/completions";

/// One API of a simulator, and a caller of it.
struct Lab {
    provider: Handle,
    client: Client,
    prefix: &'static str,
    key: &'static str,
}

impl Lab {
    async fn new(prefix: &'static str, key: &'static str) -> Self {
        Self::with(Config::default(), prefix, key).await
    }

    async fn with(config: Config, prefix: &'static str, key: &'static str) -> Self {
        let client = Client::builder().redirect(Policy::none()).build().unwrap();
        Self { provider: Simulator::start(config).await.unwrap(), client, prefix, key }
    }

    /// A caller of another API of the same simulator.
    fn at(self, prefix: &'static str, key: &'static str) -> Self {
        Self { prefix, key, ..self }
    }

    fn anonymous(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{}{path}", self.provider.addr(), self.prefix))
    }

    fn call(&self, method: Method, path: &str) -> RequestBuilder {
        self.anonymous(method, path).bearer_auth(self.key)
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        read(self.call(Method::GET, path)).await
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        read(self.call(Method::POST, path).body(body.to_string())).await
    }

    async fn delete(&self, path: &str) -> (u16, Value) {
        read(self.call(Method::DELETE, path)).await
    }

    async fn upload(&self, content: String) -> (u16, Value) {
        let part = Part::bytes(content.into_bytes()).file_name("in.jsonl");
        let form = Form::new().text("purpose", "batch").part("file", part);
        read(self.call(Method::POST, "/v1/files").multipart(form)).await
    }

    async fn create(&self, file: &Value, window: &str) -> (u16, Value) {
        let body = json!({"input_file_id": file, "endpoint": CHAT, "completion_window": window});
        self.post("/v1/batches", body).await
    }

    /// Asks until the answer is as wanted; a minute is far beyond what any machine needs.
    async fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let (status, answer) = self.get(path).await;
            assert_eq!(status, 200, "{answer}");
            if wanted(&answer) {
                return answer;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{answer}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn content(&self, file: &Value) -> String {
        let path = format!("/v1/files/{}/content", file.as_str().unwrap());
        self.call(Method::GET, &path).send().await.unwrap().text().await.unwrap()
    }

    /// What the only batch is in the summary: provider and status.
    fn summary(&self) -> (&'static str, String) {
        let batches = self.provider.batches();
        assert_eq!(batches.len(), 1);
        (batches[0].provider, batches[0].status.as_str().to_owned())
    }
}

async fn read(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap())
}

fn chat(model: &str, text: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": text}]})
}

fn line(model: &str, id: &str, text: &str) -> String {
    json!({"custom_id": id, "method": "POST", "url": CHAT, "body": chat(model, text)}).to_string() + "\n"
}

fn lines(model: &str, count: usize) -> String {
    (0..count).map(|i| line(model, &format!("r{i}"), &format!("echo:m{i}"))).collect()
}

fn is(status: &'static str) -> impl Fn(&Value) -> bool {
    move |object| object["status"] == status
}

fn path(prefix: &str, id: &Value) -> String {
    format!("{prefix}/{}", id.as_str().unwrap())
}

#[tokio::test]
async fn azure_from_upload_to_clean_up() {
    let lab = Lab::new("/azure/openai", "entra-token").await;
    let file = lab.upload(lines("gpt-batch", 5)).await.1;
    assert_eq!((&file["status"], &file["expires_at"]), (&json!("pending"), &Value::Null));
    let (status, error) = lab.create(&file["id"], "24h").await;
    assert_eq!((status, &error["error"]["param"]), (400, &json!("input_file_id")), "{error}");
    lab.until(&path("/v1/files", &file["id"]), is("processed")).await;
    let (status, batch) = lab.create(&file["id"], "24h").await;
    assert_eq!((status, &batch["status"]), (200, &json!("Validating")));
    assert_eq!(batch["request_counts"], json!({"total": null, "completed": null, "failed": null}));
    assert!(batch["created_at"].as_str().unwrap().ends_with("0000+00:00"), "{batch}");
    let batch = lab.until(&path("/v1/batches", &batch["id"]), is("Completed")).await;
    assert_eq!(batch["request_counts"], json!({"total": 5, "completed": 5, "failed": 0}));
    assert_eq!(lab.content(&batch["output_file_id"]).await.lines().count(), 5);
    assert_eq!(lab.content(&batch["error_file_id"]).await, "");
    let listed = lab.get("/v1/batches").await.1;
    assert_eq!((&listed["value"][0]["id"], &listed["data"]), (&batch["id"], &Value::Null));
    assert_eq!(lab.summary(), ("azure", "completed".to_owned()));
    assert!(lab.provider.ledger().iter().all(|entry| entry.provider == "azure"));
    let owner = Credential::of_key("entra-token");
    assert_eq!(lab.provider.files_left(&owner), 3);
    for id in [&file["id"], &batch["output_file_id"], &batch["error_file_id"]] {
        assert_eq!(lab.delete(&path("/v1/files", id)).await.0, 200);
    }
    assert_eq!(lab.provider.files_left_total(), 0);
    assert_eq!((lab.provider.billed_count(), lab.provider.billed_twice()), (5, vec![]));
}

#[tokio::test]
async fn azure_has_deployments_versions_and_expiries() {
    let lab = Lab::new("/azure/openai", "token").await;
    let with_key = |method, path: &str| lab.anonymous(method, path).header("api-key", "0123");
    let (status, error) = read(lab.anonymous(Method::GET, "/v1/files")).await;
    assert_eq!((status, &error["error"]["code"]), (401, &json!("401")));
    assert_eq!(read(with_key(Method::GET, "/v1/files")).await.0, 200);
    assert_eq!(read(with_key(Method::GET, "/files")).await.0, 404, "no api-version");
    assert_eq!(read(with_key(Method::GET, "/files?api-version=2024-10-21")).await.0, 200);

    let call = "/deployments/gpt-sync/chat/completions?api-version=2024-10-21";
    let body = json!({"messages": [{"role": "user", "content": "echo:hello"}]});
    let (status, answer) = lab.post(call, body.clone()).await;
    assert_eq!(
        (status, &answer["model"], &answer["choices"][0]["message"]["content"]),
        (200, &json!("gpt-sync"), &json!("hello"))
    );
    assert_eq!(lab.post(&call.replace("gpt-sync", "gpt-batch"), body.clone()).await.0, 400);
    let (status, error) = lab.post(&call.replace("gpt-sync", "gpt-missing"), body).await;
    assert_eq!((status, &error["error"]["code"]), (404, &json!("DeploymentNotFound")));
    assert_eq!(lab.post("/v1/chat/completions", chat("gpt-sync", "hi")).await.0, 200);
    assert_eq!(lab.post("/v1/chat/completions", chat("gpt-batch", "hi")).await.0, 400);
    let response = |model: &str| json!({"model": model, "input": "hi"});
    let responses = "/responses?api-version=2025-04-01-preview";
    assert_eq!(lab.post("/responses", response("gpt-sync")).await.0, 404, "no api-version");
    let (status, answer) = lab.post(responses, response("gpt-sync")).await;
    assert_eq!((status, &answer["model"]), (200, &json!("gpt-sync")));
    let (status, error) = lab.post(responses, response("gpt-batch")).await;
    assert_eq!((status, &error["error"]["code"]), (400, &json!("OperationNotSupported")));

    let file = lab.upload(lines("gpt-sync", 2)).await.1;
    lab.until(&path("/v1/files", &file["id"]), is("processed")).await;
    let short =
        json!({"input_file_id": file["id"], "endpoint": "/chat/completions", "completion_window": "24h"});
    let batch = lab.post("/v1/batches", short).await.1;
    let batch = lab.until(&path("/v1/batches", &batch["id"]), is("Failed")).await;
    assert_eq!(batch["errors"]["data"][0]["code"], "model_not_found");

    let form = |names: &str, seconds: &str| {
        let part = Part::bytes(lines("m-batch", 1).into_bytes()).file_name("in.jsonl");
        let (anchor, name) = names.split_once(' ').unwrap();
        let form = Form::new().text("purpose", "batch").part("file", part);
        form.text(anchor.to_owned(), "created_at").text(name.to_owned(), seconds.to_owned())
    };
    let dots = "expires_after.anchor expires_after.seconds";
    for names in [dots, "expires_after[anchor] expires_after[seconds]"] {
        let upload = lab.call(Method::POST, "/v1/files").multipart(form(names, "1209600"));
        assert!(read(upload).await.1["expires_at"].is_u64());
        let upload = lab.call(Method::POST, "/v1/files").multipart(form(names, "3600"));
        assert_eq!(read(upload).await.0, 400);
    }
    for _ in 1..500 {
        assert_eq!(lab.upload(lines("m-batch", 1)).await.0, 200);
    }
    let (status, error) = lab.upload(lines("m-batch", 1)).await;
    assert_eq!((status, &error["error"]["param"]), (400, &json!("expires_after")));
    let upload = lab.call(Method::POST, "/v1/files").multipart(form(dots, "1209600"));
    assert_eq!(read(upload).await.0, 200);
}

#[tokio::test]
async fn azure_batches_do_not_expire() {
    let config = Config { window_time: Duration::from_millis(200), ..Config::default() };
    let lab = Lab::with(config, "/azure/openai", "token").await;
    lab.provider.set_faults(Rule::new(Fault::Stall { after: 1 }));
    let file = lab.upload(lines("m-batch", 2)).await.1;
    lab.until(&path("/v1/files", &file["id"]), is("processed")).await;
    let azure = path("/v1/batches", &lab.create(&file["id"], "24h").await.1["id"]);
    // One that was created later, where batches do expire.
    let lab = lab.at("/compat", "ck-1");
    let file = lab.upload(lines("m", 2)).await.1;
    let batch = lab.create(&file["id"], "24h").await.1;
    lab.until(&path("/v1/batches", &batch["id"]), is("expired")).await;
    let lab = lab.at("/azure/openai", "token");
    assert_eq!(lab.get(&azure).await.1["status"], "InProgress");
    assert_eq!(lab.post(&(azure.clone() + "/cancel"), json!({})).await.1["status"], "Cancelling");
    let batch = lab.until(&azure, is("Cancelled")).await;
    assert_eq!(lab.content(&batch["output_file_id"]).await.lines().count(), 1);
}

#[tokio::test]
async fn groq_from_upload_to_results() {
    let lab = Lab::new("/groq/openai", "gsk_1").await;
    let file = lab.upload(lines("llama-3.3-70b-versatile", 3)).await.1;
    let batch = lab.create(&file["id"], "7d").await.1;
    let day = batch["expires_at"].as_u64().unwrap() - batch["created_at"].as_u64().unwrap();
    assert_eq!((&batch["completion_window"], day), (&json!("7d"), 7 * 86_400));
    let batch = lab.until(&path("/v1/batches", &batch["id"]), is("completed")).await;
    assert_eq!(lab.content(&batch["output_file_id"]).await.lines().count(), 3);
    assert_eq!(lab.summary(), ("groq", "completed".to_owned()));
}

#[tokio::test]
async fn groq_takes_only_what_it_documents() {
    let lab = Lab::new("/groq/openai", "gsk_1").await;
    assert_eq!(read(lab.anonymous(Method::GET, "/v1/files").bearer_auth("sk-1")).await.0, 401);
    assert_eq!(read(lab.anonymous(Method::GET, "/v1/batches").bearer_auth("gsk_nobatch")).await.0, 403);
    let file = lab.upload(lines("llama", 1)).await.1;
    for window in ["8d", "169h", "23h", "1w"] {
        assert_eq!(lab.create(&file["id"], window).await.1["error"]["param"], "completion_window");
    }
    let embeddings =
        json!({"input_file_id": file["id"], "endpoint": "/v1/embeddings", "completion_window": "24h"});
    assert_eq!(lab.post("/v1/batches", embeddings).await.1["error"]["param"], "endpoint");
    assert_eq!(lab.post("/v1/embeddings", json!({"model": "m", "input": "x"})).await.0, 404);
    let (status, error) = lab.upload("x".repeat(100_000_001)).await;
    assert_eq!((status, &error["error"]["message"]), (400, &json!("File is too large.")));
    assert_eq!(lab.post("/v1/chat/completions", chat("llama", "hi")).await.0, 200);
}

#[tokio::test]
async fn the_plain_api_is_a_world_of_its_own() {
    let lab = Lab::new("/compat", "ck-1").await;
    let file = lab.upload(lines("my-model", 2)).await.1;
    let batch = lab.create(&file["id"], "24h").await.1;
    let batch = lab.until(&path("/v1/batches", &batch["id"]), is("completed")).await;
    assert_eq!(lab.content(&batch["output_file_id"]).await.lines().count(), 2);
    assert_eq!(lab.summary(), ("compat", "completed".to_owned()));
    let elsewhere = lab.at("/groq/openai", "gsk_1");
    assert_eq!(elsewhere.get(&path("/v1/batches", &batch["id"])).await.0, 404);
    assert_eq!(elsewhere.get("/v1/files").await.1["data"], json!([]));
    let at_openai = elsewhere.client.get(format!("{}/files", elsewhere.provider.url())).bearer_auth("ck-1");
    assert_eq!(read(at_openai).await.0, 401);
}

#[tokio::test]
async fn the_plain_api_has_the_same_faults() {
    let lab = Lab::new("/compat", "ck-1").await;
    lab.provider.set_faults(vec![
        Rule::new(Fault::NotFoundAtFirst { ms: 0, times: 1 }).on([Op::Create]),
        Rule::new(Fault::Stall { after: 1 }),
    ]);
    let file = lab.upload(lines("my-model", 2)).await.1;
    assert_eq!(lab.create(&file["id"], "24h").await.0, 400);
    assert_eq!(lab.create(&file["id"], "48h").await.0, 400);
    let batch = lab.create(&file["id"], "24h").await.1;
    let begun = Instant::now();
    while lab.provider.release(batch["id"].as_str()) == 0 {
        assert!(begun.elapsed() < Duration::from_secs(60));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    lab.until(&path("/v1/batches", &batch["id"]), is("completed")).await;
    assert_eq!(lab.provider.received(Op::Create), 3);
}

fn body_line(id: &str, body: Value) -> String {
    json!({"custom_id": id, "body": body}).to_string() + "\n"
}

#[tokio::test]
async fn mistral_from_upload_to_clean_up() {
    let lab = Lab::new("/mistral", "any-key").await;
    let content: String =
        (0..4).map(|i| body_line(&format!("r{i}"), chat("m", &format!("echo:m{i}")))).collect();
    let file = lab.upload(content + &body_line("bad", chat("m", "fail:500"))).await.1;
    assert_eq!((&file["sample_type"], &file["num_lines"]), (&json!("batch_request"), &json!(5)));
    let job =
        json!({"endpoint": CHAT, "model": "m", "input_files": [file["id"]], "metadata": {"batch": "b1"}});
    let (status, job) = lab.post("/v1/batch/jobs", job).await;
    assert_eq!((status, &job["status"], &job["total_requests"]), (200, &json!("QUEUED"), &json!(0)));
    let job = lab.until(&path("/v1/batch/jobs", &job["id"]), is("SUCCESS")).await;
    let counts = ["total_requests", "completed_requests", "succeeded_requests", "failed_requests"];
    assert_eq!(counts.map(|name| job[name].as_u64().unwrap()), [5, 5, 4, 1]);
    let output = lab.content(&job["output_file"]).await;
    let row: Value = serde_json::from_str(output.lines().next().unwrap()).unwrap();
    let body = &row["response"]["body"];
    assert_eq!((&row["response"]["status_code"], &body["object"]), (&json!(200), &json!("chat.completion")));
    assert!(body["choices"][0]["message"]["content"].as_str().unwrap().starts_with('m'));
    assert!(lab.content(&job["error_file"]).await.contains("\"object\":\"error\""));
    let listed = lab.get("/v1/batch/jobs?page=0&page_size=10").await.1;
    assert_eq!((&listed["total"], &listed["data"][0]["metadata"]["batch"]), (&json!(1), &json!("b1")));
    assert_eq!(lab.get("/v1/batch/jobs?page=1&page_size=10").await.1["data"], json!([]));
    let inline = lab.get(&(path("/v1/batch/jobs", &job["id"]) + "?inline=true")).await.1;
    assert_eq!(inline["outputs"].as_array().unwrap().len(), 5);
    assert_eq!(lab.summary(), ("mistral", "completed".to_owned()));
    for id in [&file["id"], &job["output_file"], &job["error_file"]] {
        assert_eq!(lab.delete(&path("/v1/files", id)).await.0, 200);
    }
    assert_eq!(lab.provider.files_left_total(), 0);
    assert_eq!((lab.provider.billed_count(), lab.provider.billed_twice()), (4, vec![]));
}

#[tokio::test]
async fn mistral_takes_requests_inline_and_cancels() {
    let lab = Lab::new("/mistral", "any-key").await;
    let requests = json!([{"custom_id": "a", "body": {"messages": [{"role": "user", "content": "echo:a"}]}}]);
    let job = json!({"endpoint": CHAT, "model": "m", "requests": requests, "timeout_hours": 48});
    let job = lab.post("/v1/batch/jobs", job).await.1;
    lab.until(&path("/v1/batch/jobs", &job["id"]), is("SUCCESS")).await;
    let done = lab.get(&(path("/v1/batch/jobs", &job["id"]) + "?inline=true")).await.1;
    assert_eq!(done["outputs"][0]["response"]["body"]["choices"][0]["message"]["content"], "a");
    assert_eq!((&done["output_file"], lab.provider.files_left_total()), (&Value::Null, 0));
    assert_eq!(lab.delete(&path("/v1/batch/jobs", &job["id"])).await.1["deleted"], true);

    lab.provider.set_faults(Rule::new(Fault::Stall { after: 0 }));
    let requests = json!([{"custom_id": "a", "body": chat("m", "hi")}]);
    let job = lab.post("/v1/batch/jobs", json!({"endpoint": CHAT, "requests": requests})).await.1;
    lab.until(&path("/v1/batch/jobs", &job["id"]), is("RUNNING")).await;
    let cancelled = lab.post(&(path("/v1/batch/jobs", &job["id"]) + "/cancel"), json!({})).await.1;
    assert_eq!(cancelled["status"], "CANCELLATION_REQUESTED");
    lab.until(&path("/v1/batch/jobs", &job["id"]), is("CANCELLED")).await;
}

#[tokio::test]
async fn mistral_takes_only_its_own_form() {
    let lab = Lab::new("/mistral", "any-key").await;
    assert_eq!(read(lab.anonymous(Method::GET, "/v1/files")).await, (401, json!({"detail": "Unauthorized"})));
    let mut extra = chat("m", "hi");
    extra["stream_options"] = json!({});
    let (status, error) = lab.post("/v1/chat/completions", extra).await;
    assert_eq!((status, &error["detail"][0]["loc"]), (422, &json!(["body", "stream_options"])));
    let answer = lab.post("/v1/embeddings", json!({"model": "mistral-embed", "input": ["a", "b"]})).await.1;
    assert_eq!(
        (answer["data"].as_array().unwrap().len(), &answer["usage"]["completion_tokens"]),
        (2, &json!(0))
    );
    let both = json!({"endpoint": CHAT, "input_files": ["x"], "requests": []});
    assert_eq!(lab.post("/v1/batch/jobs", both).await.0, 422);
    let absent = json!({"endpoint": CHAT, "input_files": ["x"]});
    assert_eq!(lab.post("/v1/batch/jobs", absent).await.0, 404);
    for (content, model) in [(lines("m", 1), "m"), (body_line("a", chat("other", "hi")), "m")] {
        let file = lab.upload(content).await.1;
        let job = json!({"endpoint": CHAT, "model": model, "input_files": [file["id"]]});
        let job = lab.post("/v1/batch/jobs", job).await.1;
        let job = lab.until(&path("/v1/batch/jobs", &job["id"]), is("FAILED")).await;
        assert_eq!(job["errors"][0]["count"], 1);
    }
    assert_eq!(lab.provider.billed_count(), 1);
}

/// Whether an xAI batch is over, as its clients find out.
fn settled(batch: &Value) -> bool {
    let state = &batch["state"];
    !batch["cancel_time"].is_null() || (state["num_requests"] != 0 && state["num_pending"] == 0)
}

/// All pages of an xAI batch's results.
async fn results(lab: &Lab, id: &Value, size: usize) -> Vec<Value> {
    let (mut rows, mut token) = (Vec::new(), String::new());
    loop {
        let query = format!("/results?limit={size}&pagination_token={token}");
        let page = lab.get(&(path("/v1/batches", id) + &query)).await.1;
        let results = page["results"].as_array().unwrap();
        assert!(results.len() <= size);
        rows.extend(results.iter().cloned());
        match &page["pagination_token"] {
            Value::String(next) => token = next.clone(),
            _ => return rows,
        }
    }
}

#[tokio::test]
async fn xai_from_upload_to_results() {
    let lab = Lab::new("/xai", "xai-1").await;
    let responses = json!({"model": "grok-other", "input": "echo:other"});
    let other = json!({"custom_id": "x", "method": "POST", "url": "/v1/responses", "body": responses});
    let content = lines("grok", 5) + &line("grok", "bad", "fail:400") + &other.to_string() + "\n";
    let form = Form::new().part("file", Part::bytes(content.into_bytes()).file_name("in.jsonl"));
    let file = read(lab.call(Method::POST, "/v1/files").multipart(form)).await.1;
    assert_eq!(file["purpose"], "");
    let (status, batch) = lab.post("/v1/batches", json!({"name": "b1", "input_file_id": file["id"]})).await;
    assert_eq!((status, &batch["state"]["num_requests"], &batch["status"]), (200, &json!(0), &Value::Null));
    assert_eq!(batch["create_time"].as_str().unwrap().len(), "2026-01-31".len());
    let id = batch["batch_id"].clone();
    let batch = lab.until(&path("/v1/batches", &id), settled).await;
    let state =
        json!({"num_requests": 7, "num_pending": 0, "num_success": 6, "num_error": 1, "num_cancelled": 0});
    assert_eq!((&batch["state"], &batch["cancel_time"]), (&state, &Value::Null));
    let rows = results(&lab, &id, 3).await;
    assert_eq!(rows.len(), 7);
    let of =
        |name: &str| rows.iter().find(|row| row["batch_request_id"] == name).unwrap()["batch_result"].clone();
    assert_eq!(of("r1")["response"]["chat_get_completion"]["choices"][0]["message"]["content"], "m1");
    assert_eq!(of("x")["response"]["responses"]["model"], "grok-other");
    assert_eq!((&of("bad")["error"]["code"], &of("bad")["response"]), (&json!(400), &Value::Null));
    assert_eq!(lab.get("/v1/batches?limit=10").await.1["batches"][0]["name"], "b1");
    assert_eq!(lab.summary(), ("xai", "completed".to_owned()));
    assert_eq!((lab.provider.files_left_total(), lab.provider.billed_count()), (1, 6));
}

#[tokio::test]
async fn xai_says_why_it_cancelled_or_that_its_caller_did() {
    let lab = Lab::new("/xai", "xai-1").await;
    let file = lab.upload(line("grok-missing", "a", "hi")).await.1;
    let create = |file: &Value| json!({"name": "b", "input_file_id": file["id"]});
    let batch = lab.post("/v1/batches", create(&file)).await.1;
    let batch = lab.until(&path("/v1/batches", &batch["batch_id"]), settled).await;
    assert!(batch["cancel_by_xai_message"].as_str().unwrap().contains("line 1"), "{batch}");

    lab.provider.set_faults(Rule::new(Fault::Stall { after: 2 }));
    let file = lab.upload(lines("grok", 4)).await.1;
    let batch = lab.post("/v1/batches", create(&file)).await.1;
    let at = path("/v1/batches", &batch["batch_id"]);
    lab.until(&at, |batch| batch["state"]["num_success"] == 2).await;
    assert_eq!(lab.post(&format!("{at}:stop"), json!({})).await.0, 404);
    assert_eq!(lab.post(&format!("{at}:cancel"), json!({})).await.0, 200);
    let ended = lab.until(&at, settled).await;
    assert_eq!((&ended["state"]["num_pending"], &ended["state"]["num_cancelled"]), (&json!(0), &json!(2)));
    let rows = results(&lab, &batch["batch_id"], 1000).await;
    assert_eq!(
        rows.iter().filter(|row| row["batch_result"]["error"]["code"] == "batch_cancelled").count(),
        2
    );
    let extra = json!({"name": "b", "input_file_id": file["id"], "completion_window": "24h"});
    let (status, error) = lab.post("/v1/batches", extra).await;
    assert_eq!((status, &error["code"]), (400, &json!("Client specified an invalid argument")));
}

#[tokio::test]
async fn openrouter_from_creation_to_deletion() {
    let lab = Lab::new("/openrouter/api", "sk-or-1").await;
    let message = |text: &str| json!({"messages": [{"role": "user", "content": text}]});
    let requests = json!([{"custom_id": "a", "body": message("echo:a")}, {"custom_id": "b", "body": message("fail:500")}]);
    let body = format!(r#"{{"endpoint": "{CHAT}", "model": "x/y", "requests": {requests:#}}}"#);
    let (status, batch) = read(lab.call(Method::POST, "/v1/batches").body(body)).await;
    assert_eq!((status, &batch["status"], &batch["results"]), (202, &json!("validating"), &Value::Null));
    let batch = lab.until(&path("/v1/batches", &batch["id"]), is("completed")).await;
    assert_eq!(batch["request_counts"], json!({"total": 2, "completed": 1, "failed": 1}));
    let rows = batch["results"].as_array().unwrap();
    let of = |name: &str| rows.iter().find(|row| row["custom_id"] == name).unwrap()["response"].clone();
    assert_eq!(of("a")["body"]["choices"][0]["message"]["content"], "a");
    assert_eq!((&of("b")["status_code"], &of("b")["body"]["error"]["code"]), (&json!(500), &json!(500)));
    assert_eq!(lab.get("/v1/batches").await.1["data"][0]["id"], batch["id"]);
    assert_eq!(lab.summary(), ("openrouter", "completed".to_owned()));
    assert_eq!((lab.provider.files_left_total(), lab.provider.billed_count()), (0, 1));
    assert_eq!(lab.delete(&path("/v1/batches", &batch["id"])).await.1["deleted"], true);
    assert_eq!(lab.get(&path("/v1/batches", &batch["id"])).await.0, 404);
}

#[tokio::test]
async fn openrouter_wants_the_requests_last() {
    let lab = Lab::new("/openrouter/api", "sk-or-1").await;
    let create = async |body: String| read(lab.call(Method::POST, "/v1/batches").body(body)).await;
    let one = json!([{"custom_id": "a", "body": {"messages": [{"role": "user", "content": "hi"}]}}]);
    let first = format!(r#"{{"requests": {one}, "endpoint": "{CHAT}", "model": "x/y"}}"#);
    assert_eq!(create(first).await.0, 400);
    let middle = format!(
        r#"{{"endpoint": "{CHAT}", "model": "x/y", "requests": {one}, "callback_url": "https://x"}}"#
    );
    let (status, error) = create(middle).await;
    assert_eq!((status, &error["error"]["code"]), (400, &json!(400)));
    let (status, error) =
        create(format!(r#"{{"endpoint": "{CHAT}", "model": "x/nobatch", "requests": {one}}}"#)).await;
    assert_eq!(
        (status, &error["error"]["message"]),
        (400, &json!("Model 'x/nobatch' does not have a :batch endpoint."))
    );
    let many: Vec<Value> = (0..5_001).map(|i| json!({"custom_id": i.to_string(), "body": {}})).collect();
    let many = format!(r#"{{"endpoint": "{CHAT}", "model": "x/y", "requests": {}}}"#, json!(many));
    let (status, batch) = create(many).await;
    assert_eq!(status, 202);
    let batch = lab.until(&path("/v1/batches", &batch["id"]), is("failed")).await;
    assert!(batch["error"]["message"].as_str().unwrap().contains("5000"), "{batch}");
    assert_eq!(read(lab.anonymous(Method::GET, "/v1/batches").bearer_auth("sk-1")).await.0, 401);
}

/// Uploads as Together wants it; the file's id, and the answer of the last step.
async fn two_steps(lab: &Lab, content: String) -> (Value, u16) {
    let form =
        Form::new().text("purpose", "batch-api").text("file_name", "in.jsonl").text("file_type", "jsonl");
    let place = lab.call(Method::POST, "/v1/files").multipart(form).send().await.unwrap();
    assert_eq!(place.status(), 302);
    let header = |name: &str| place.headers()[name].to_str().unwrap().to_owned();
    let (url, id) = (header("location"), header("x-together-file-id"));
    let put = |url: &str| lab.client.put(url).body(content.clone());
    assert_eq!(put(url.split('?').next().unwrap()).send().await.unwrap().status(), 403, "no signature");
    assert_eq!(put(&url).bearer_auth("k").send().await.unwrap().status(), 400, "the storage gets no key");
    assert_eq!(put(&url).send().await.unwrap().status(), 200);
    let create = json!({"input_file_id": id, "endpoint": CHAT});
    assert_eq!(lab.post("/v1/batches", create).await.0, 400, "not preprocessed");
    let (status, file) = lab.post(&format!("/v1/files/{id}/preprocess"), json!({})).await;
    (file["id"].clone(), status)
}

#[tokio::test]
async fn together_from_upload_to_results() {
    let lab = Lab::new("/together", "any").await;
    let (file, status) = two_steps(&lab, lines("llama", 3)).await;
    assert_eq!(status, 200);
    let create = json!({"input_file_id": file, "endpoint": CHAT, "completion_window": "24h"});
    let (status, created) = lab.post("/v1/batches", create).await;
    assert_eq!(
        (status, &created["warning"], &created["job"]["status"]),
        (201, &json!(""), &json!("VALIDATING"))
    );
    let job = lab.until(&path("/v1/batches", &created["job"]["id"]), is("COMPLETED")).await;
    assert_eq!((&job["progress"], &job["error"]), (&json!(100.0), &json!("")));
    assert!(job["created_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(lab.content(&job["output_file_id"]).await.lines().count(), 3);
    assert_eq!(lab.get("/v1/batches").await.1[0]["id"], job["id"]);
    assert_eq!(lab.summary(), ("together", "completed".to_owned()));
    for id in [&file, &job["output_file_id"]] {
        assert_eq!(lab.delete(&path("/v1/files", id)).await.0, 200);
    }
    assert_eq!(lab.provider.files_left_total(), 0);
}

#[tokio::test]
async fn together_takes_only_its_own_form() {
    let lab = Lab::new("/together", "any").await;
    assert_eq!(lab.upload(lines("llama", 1)).await.0, 400, "not in one step");
    let (file, _) = two_steps(&lab, lines("llama-nobatch", 1)).await;
    let with = |name: &str, value: Value| {
        let mut body = json!({"input_file_id": file, "endpoint": CHAT});
        body[name] = value;
        body
    };
    assert_eq!(lab.post("/v1/batches", with("metadata", json!({}))).await.0, 400);
    assert_eq!(lab.post("/v1/batches", with("endpoint", json!("/v1/embeddings"))).await.0, 400);
    assert_eq!(lab.post("/v1/batches", with("completion_window", json!("48h"))).await.0, 400);
    let job = lab.post("/v1/batches", with("priority", json!(1))).await.1["job"].clone();
    let job = lab.until(&path("/v1/batches", &job["id"]), is("FAILED")).await;
    assert!(job["error"].as_str().unwrap().starts_with("line 1: "), "{job}");
    let (violations, _) = (lab.provider.violations(), lab.provider.reset());
    assert!(violations.iter().any(|text| text.contains("a key was sent to the storage")), "{violations:?}");
}
