//! The simulated Gemini API over HTTP, as a client sees it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::time::{Duration, Instant};

use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};
use simulator::{Config, Credential, Fault, Handle, Op, Rule, Simulator, Status};

const MODEL: &str = "models/gemini-2.5-flash";

struct Lab {
    provider: Handle,
    client: Client,
}

impl Lab {
    async fn new() -> Self {
        Self { provider: Simulator::start(Config::default()).await.unwrap(), client: Client::new() }
    }

    fn bare(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.provider.addr()))
    }

    fn call(&self, method: Method, path: &str) -> RequestBuilder {
        self.bare(method, path).header("x-goog-api-key", "AIza-a")
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        read(self.call(Method::GET, path)).await
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        read(self.call(Method::POST, path).body(body.to_string())).await
    }

    async fn begin(&self, size: usize) -> String {
        let start = self
            .call(Method::POST, "/upload/v1beta/files")
            .header("x-goog-upload-protocol", "resumable")
            .header("x-goog-upload-command", "start")
            .header("x-goog-upload-header-content-length", size)
            .header("x-goog-upload-header-content-type", "application/jsonl")
            .body(json!({"file": {"display_name": "in"}}).to_string());
        header(&start.send().await.unwrap(), "x-goog-upload-url").to_owned()
    }

    async fn send(&self, url: &str, command: &str, offset: usize, data: Vec<u8>) -> Response {
        let part = self.client.post(url).header("x-goog-upload-command", command);
        part.header("x-goog-upload-offset", offset).body(data).send().await.unwrap()
    }

    async fn upload(&self, content: &str) -> String {
        let url = self.begin(content.len()).await;
        let sent = self.send(&url, "upload, finalize", 0, content.into()).await;
        assert_eq!(header(&sent, "x-goog-upload-status"), "final");
        let file: Value = serde_json::from_str(&sent.text().await.unwrap()).unwrap();
        assert_eq!((&file["file"]["state"], &file["file"]["displayName"]), (&json!("ACTIVE"), &json!("in")));
        file["file"]["name"].as_str().unwrap().to_owned()
    }

    async fn create(&self, input: Value) -> (u16, Value) {
        let body = json!({"batch": {"displayName": "mine", "inputConfig": input}});
        self.post(&format!("/v1beta/{MODEL}:batchGenerateContent"), body).await
    }

    /// Polls until the operation is done; a minute is far beyond what any machine needs.
    async fn ended(&self, name: &Value) -> Value {
        let begun = Instant::now();
        loop {
            let batch = self.get(&format!("/v1/{}", name.as_str().unwrap())).await.1;
            if batch["done"] == true {
                return batch;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{batch}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).unwrap().to_str().unwrap()
}

async fn read(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap())
}

fn request(text: &str) -> Value {
    json!({"contents": [{"role": "user", "parts": [{"text": text}]}]})
}

fn inline(text: &str) -> Value {
    json!({"requests": {"requests": [{"request": request(text), "metadata": {"key": "k"}}]}})
}

#[tokio::test]
async fn a_batch_by_file_from_upload_to_clean_up() {
    let lab = Lab::new().await;
    let line = |key: &str| json!({"key": key, "request": request(&format!("echo:{key}"))}).to_string() + "\n";
    let input = lab.upload(&(line("a") + &line("b"))).await;
    let (status, batch) = lab.create(json!({"fileName": input})).await;
    assert_eq!((status, &batch["metadata"]["state"]), (200, &json!("BATCH_STATE_PENDING")));
    let batch = lab.ended(&batch["name"]).await;
    let output = batch["response"]["responsesFile"].as_str().unwrap().to_owned();
    for path in [format!("/download/v1beta/{output}"), format!("/v1/{output}"), format!("/v1beta/{output}")] {
        let response = lab.call(Method::GET, &format!("{path}:download?alt=media")).send().await.unwrap();
        assert_eq!(response.text().await.unwrap().lines().count(), 2);
    }
    assert_eq!(lab.provider.files_left(&Credential::of_key("AIza-a")), 2);
    assert_eq!(lab.get("/v1beta/files").await.1["files"].as_array().unwrap().len(), 2);
    for name in [&input, &output] {
        let path = format!("/v1beta/{name}");
        assert_eq!(read(lab.call(Method::DELETE, &path)).await, (200, json!({})));
        assert_eq!(lab.get(&path).await.0, 403);
    }
    let path = format!("/v1beta/{}", batch["name"].as_str().unwrap());
    assert_eq!(lab.provider.batches_in(Status::Completed), 1);
    assert_eq!((lab.provider.batches()[0].provider, lab.provider.billed_count()), ("gemini", 2));
    assert_eq!(read(lab.call(Method::DELETE, &path)).await, (200, json!({})));
    assert_eq!(lab.get(&path).await.0, 404);
    assert_eq!((lab.provider.files_left_total(), lab.provider.billed_twice()), (0, vec![]));
    assert_eq!(lab.provider.violations(), Vec::<String>::new());
    let received = [Op::StartUpload, Op::Upload, Op::Create, Op::Content, Op::Delete, Op::DeleteBatch];
    assert_eq!(received.map(|op| lab.provider.received(op)), [1, 1, 1, 3, 2, 1]);
}

#[tokio::test]
async fn downloads_can_be_short_or_cut() {
    let lab = Lab::new().await;
    lab.provider.set_faults(vec![
        Rule::new(Fault::ShortFile { lines: 1 }),
        Rule::new(Fault::Truncate { after: 10, chunked: true }).skip(2),
    ]);
    let line = json!({"key": "a", "request": request("hi")}).to_string() + "\n";
    let input = lab.upload(&line.repeat(2)).await;
    let batch = lab.create(json!({"fileName": input})).await.1;
    let batch = lab.ended(&batch["name"]).await;
    let path = format!("/v1/{}:download?alt=media", batch["response"]["responsesFile"].as_str().unwrap());
    for lines in [1, 2] {
        let text = lab.call(Method::GET, &path).send().await.unwrap().text().await.unwrap();
        assert_eq!(text.lines().count(), lines);
    }
    assert!(lab.call(Method::GET, &path).send().await.unwrap().text().await.is_err());
}

#[tokio::test]
async fn uploads_come_in_chunks_at_exact_offsets() {
    const CHUNK: usize = 256 << 10;
    let lab = Lab::new().await;
    let url = lab.begin(CHUNK + 3).await;
    assert_eq!(
        header(&lab.send(&url, "upload", 0, vec![b'x'; CHUNK]).await, "x-goog-upload-status"),
        "active"
    );
    assert_eq!(lab.send(&url, "upload", 0, vec![b'x'; CHUNK]).await.status(), 400);
    let asked = lab.send(&url, "query", 0, vec![]).await;
    assert_eq!(header(&asked, "x-goog-upload-size-received"), CHUNK.to_string());
    assert_eq!(lab.send(&url, "upload, finalize", CHUNK, vec![b'x'; 2]).await.status(), 400);
    assert_eq!(lab.send(&url, "upload, finalize", CHUNK, vec![b'x'; 3]).await.status(), 200);
    assert_eq!(lab.send(&url, "upload, finalize", CHUNK, vec![b'x'; 3]).await.status(), 400);
    assert_eq!(lab.provider.files_left_total(), 1);
}

#[tokio::test]
async fn keys_models_and_names_are_checked() {
    let lab = Lab::new().await;
    let path = format!("/v1/{MODEL}:generateContent");
    let body = request("hi").to_string();
    let keyed =
        |path: &str, key: &str| lab.bare(Method::POST, path).header("x-goog-api-key", key).body(body.clone());
    let (status, refused) = read(lab.bare(Method::POST, &path).body(body.clone())).await;
    assert_eq!((status, &refused["error"]["status"]), (403, &json!("PERMISSION_DENIED")));
    let (status, refused) = read(keyed(&path, "AIza-invalid")).await;
    assert_eq!((status, &refused["error"]["details"][0]["reason"]), (400, &json!("API_KEY_INVALID")));
    assert_eq!(read(lab.bare(Method::POST, &format!("{path}?key=AIza-q")).body(body.clone())).await.0, 200);
    assert_eq!(read(keyed("/v1beta/models/gpt-4o:generateContent", "AIza")).await.0, 404);
    assert_eq!(read(keyed("/v1beta/models/gemini-2.5-pro:sing", "AIza")).await.0, 404);
    let create = format!("/v1beta/{MODEL}:batchGenerateContent");
    assert_eq!(read(keyed(&create, "AIza-nobatch")).await.0, 403);
    let (status, refused) = lab.post(&path, json!({"contents": [], "content": []})).await;
    assert_eq!((status, &refused["error"]["status"]), (400, &json!("INVALID_ARGUMENT")));
    assert_eq!(lab.get("/v1beta/models?surprise=1").await.0, 400);
    assert_eq!(lab.get("/v1beta/nothing").await.0, 404);
}

#[tokio::test]
async fn both_apis_share_their_paths() {
    let lab = Lab::new().await;
    for path in ["/v1/models", "/v1/files", "/v1/batches"] {
        let openai = read(lab.bare(Method::GET, path).bearer_auth("sk-a")).await;
        assert_eq!((openai.0, &openai.1["object"]), (200, &json!("list")));
        let gemini = lab.get(path).await;
        assert!(gemini.0 == 200 && gemini.1.get("object").is_none());
    }
    let model = lab.get(&format!("/v1/{MODEL}")).await.1;
    assert_eq!(model["name"], MODEL);
    assert_eq!(read(lab.bare(Method::GET, "/v1/models/gpt-4o").bearer_auth("sk-a")).await.0, 200);
}

#[tokio::test]
async fn models_answer_at_once_too() {
    let lab = Lab::new().await;
    let (_, answer) = lab.post(&format!("/v1beta/{MODEL}:generateContent"), request("echo:me")).await;
    assert_eq!(answer["candidates"][0]["content"]["parts"][0]["text"], "me");
    let stream = lab.call(Method::POST, &format!("/v1beta/{MODEL}:streamGenerateContent?alt=sse"));
    let response = stream.body(request("tell me much").to_string()).send().await.unwrap();
    assert_eq!(header(&response, "content-type"), "text/event-stream");
    let events = response.text().await.unwrap();
    let last = events.trim_end().rsplit("data: ").next().unwrap();
    let last: Value = serde_json::from_str(last).unwrap();
    assert_eq!(last["candidates"][0]["finishReason"], "STOP");
    let array = format!("/v1beta/{MODEL}:streamGenerateContent");
    assert!(lab.post(&array, request("x")).await.1.as_array().unwrap().len() > 1);
    let (status, refused) = lab.post(&array, json!({})).await;
    assert_eq!((status, &refused[0]["error"]["code"]), (400, &json!(400)));
    let content = json!({"parts": [{"text": "a"}]});
    let embed = "/v1/models/gemini-embedding-001";
    let one = lab.post(&format!("{embed}:embedContent"), json!({"content": content})).await.1;
    let item = json!({"model": "models/gemini-embedding-001", "content": content});
    let many = lab.post(&format!("{embed}:batchEmbedContents"), json!({"requests": [item, item]})).await.1;
    assert_eq!(
        (&many["embeddings"][1], many["embeddings"].as_array().unwrap().len()),
        (&one["embedding"], 2)
    );
    let count = lab.post(&format!("/v1/{MODEL}:countTokens"), request("hello")).await.1;
    assert!(count["totalTokens"].as_u64() > Some(0));
    let (status, refused) = lab.post(&format!("/v1/{MODEL}:generateContent"), request("fail:429")).await;
    assert_eq!((status, &refused["error"]["status"]), (429, &json!("RESOURCE_EXHAUSTED")));
    assert_eq!(lab.provider.billed_count(), 6);
}

#[tokio::test]
async fn faults_hit_gemini_too() {
    let lab = Lab::new().await;
    let twice = [
        Rule::new(Fault::LostAnswer).on([Op::Create]).first(1),
        Rule::new(Fault::ListLag { ms: 60_000 }).first(1),
    ];
    lab.provider.set_faults(twice.to_vec());
    let body = json!({"batch": {"inputConfig": inline("echo:x")}}).to_string();
    let path = format!("/v1beta/{MODEL}:batchGenerateContent");
    assert!(lab.call(Method::POST, &path).body(body).send().await.is_err());
    assert_eq!((lab.provider.batches().len(), lab.get("/v1beta/batches").await.1), (1, json!({})));
    let batch = lab.create(inline("echo:x")).await.1;
    lab.ended(&batch["name"]).await;
    let listed = lab.get("/v1beta/batches?pageSize=5").await.1;
    assert_eq!(listed["operations"].as_array().unwrap().len(), 1);
    let begun = Instant::now();
    while lab.provider.batches_in(Status::Completed) < 2 {
        assert!(begun.elapsed() < Duration::from_secs(60));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(lab.provider.billed_twice()[0].times, 2);
    let busy = Fault::Status { code: 503, retry_after: Some(3), error_code: None, message: None };
    lab.provider.set_faults(Rule::new(busy).on([Op::Retrieve]));
    let path = format!("/v1beta/{}", batch["name"].as_str().unwrap());
    let refused = lab.call(Method::GET, &path).send().await.unwrap();
    assert_eq!((refused.status().as_u16(), header(&refused, "retry-after")), (503, "3"));
    lab.provider.set_faults(Rule::new(Fault::NotFoundAtFirst { ms: 0, times: 1 }).on([Op::Retrieve]));
    assert_eq!(lab.get(&path).await.0, 404);
    lab.provider.set_faults(Rule::new(Fault::Truncate { after: 20, chunked: false }).on([Op::Retrieve]));
    assert!(lab.call(Method::GET, &path).send().await.unwrap().text().await.is_err());
    lab.provider.clear_faults();
    assert_eq!(lab.post(&format!("{path}:cancel"), json!({})).await.0, 400);
    let other = lab.create(inline("slow:60000")).await.1;
    let path = format!("/v1beta/{}:cancel", other["name"].as_str().unwrap());
    assert_eq!(lab.post(&path, json!({})).await, (200, json!({})));
    assert_eq!(lab.ended(&other["name"]).await["metadata"]["state"], "BATCH_STATE_CANCELLED");
}
