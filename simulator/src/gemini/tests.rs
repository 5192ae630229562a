//! The model on a clock that the test moves.

use bytes::Bytes;
use serde_json::{Value, json};

use super::batches::Create;
use super::error::ApiError;
use super::method::Task;
use super::uploads::{Chunk, GRANULARITY, Start};
use crate::config::{Config, GeminiOutput};
use crate::core::Millis;
use crate::credential::Credential;
use crate::faults::{Fault, Faults, Op, Rule};
use crate::openai::Status;
use crate::shared::World;

const MODEL: &str = "gemini-2.5-flash";

struct Bench {
    world: World,
    now: Millis,
    owner: Credential,
}

impl Bench {
    fn new(config: Config) -> Self {
        Self { world: World::new(config.into()), now: 1_000_000, owner: Credential::of_key("AIza-a") }
    }

    fn faulty(rule: Rule) -> Self {
        let mut bench = Self::new(Config::default());
        bench.world.core.faults = Faults::new(rule.into());
        bench
    }

    fn begin_upload(&mut self, size: u64) -> String {
        let start = Start::new(Some(size), Some("application/jsonl".into()));
        let World { core, gemini, .. } = &mut self.world;
        gemini.uploads.start(core, self.now, &self.owner, start).unwrap()
    }

    fn send(&mut self, id: &str, offset: u64, data: Bytes, last: bool) -> Result<Option<Value>, ApiError> {
        let World { core, gemini, .. } = &mut self.world;
        let chunk = Chunk { offset, data, last, list_lag: 0 };
        gemini.uploads.receive(core, self.now, &mut gemini.files, id, chunk)
    }

    fn upload(&mut self, content: impl Into<Bytes>) -> String {
        let content = content.into();
        let id = self.begin_upload(content.len() as u64);
        let file = self.send(&id, 0, content, true).unwrap().unwrap();
        file["file"]["name"].as_str().unwrap().to_owned()
    }

    fn create(&mut self, task: Task, model: &str, input: Value) -> Result<String, ApiError> {
        let body = json!({"batch": {"displayName": "mine", "inputConfig": input}}).to_string();
        let create = Create::parse(task, model, &body.into())?;
        let World { core, gemini, .. } = &mut self.world;
        let decision = core.begin(Op::Create, None);
        let operation = gemini.create(core, self.now, &self.owner, create, &decision)?;
        let value: Value = serde_json::from_str(&operation.body()).unwrap();
        assert_eq!(value["metadata"]["state"], "BATCH_STATE_PENDING");
        Ok(value["name"].as_str().unwrap().strip_prefix("batches/").unwrap().to_owned())
    }

    fn inline(&mut self, texts: &[&str]) -> String {
        self.create(Task::Generate, MODEL, requests(texts)).unwrap()
    }

    fn pass(&mut self, ms: Millis) {
        self.now += ms;
        let World { core, gemini, .. } = &mut self.world;
        gemini.settle(core, self.now);
    }

    /// Lets time pass from event to event until nothing is left to happen by itself.
    fn finish(&mut self) {
        while let Some(due) = self.world.gemini.next_due() {
            self.pass(due.saturating_sub(self.now));
        }
    }

    fn poll(&mut self, id: &str) -> Value {
        let World { core, gemini, .. } = &mut self.world;
        serde_json::from_str(&gemini.retrieve(core, self.now, &self.owner, id).unwrap().body()).unwrap()
    }

    fn state(&mut self, id: &str) -> String {
        self.poll(id)["metadata"]["state"].as_str().unwrap().to_owned()
    }

    fn billed(&self) -> usize {
        self.world.core.ledger.billed_count()
    }

    fn results(&mut self, operation: &Value) -> Vec<Value> {
        let name = operation["response"]["responsesFile"].as_str().unwrap();
        let id = name.strip_prefix("files/").unwrap();
        let content = self.world.gemini.files.download(self.now, &self.owner, id).unwrap();
        content.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }
}

fn request(text: &str) -> Value {
    json!({"contents": [{"parts": [{"text": text}]}]})
}

fn requests(texts: &[&str]) -> Value {
    let items = texts
        .iter()
        .enumerate()
        .map(|(index, text)| json!({"request": request(text), "metadata": {"key": format!("k{index}")}}));
    json!({"requests": {"requests": items.collect::<Vec<_>>()}})
}

fn line(key: &str, text: &str) -> String {
    json!({"key": key, "request": request(text)}).to_string() + "\n"
}

fn file(name: &str) -> Value {
    json!({"fileName": name})
}

fn said(result: &Value) -> &str {
    result["response"]["candidates"][0]["content"]["parts"][0]["text"].as_str().unwrap_or_default()
}

#[test]
fn inline_results_come_in_order() {
    let mut bench = Bench::new(Config::default());
    let id = bench.inline(&["echo:a slow:300", "fail:429", "echo:c", "expire", "role"]);
    bench.pass(20);
    assert_eq!(bench.state(&id), "BATCH_STATE_RUNNING");
    bench.pass(100);
    let stats = bench.poll(&id)["metadata"]["batchStats"].clone();
    let want = json!({"requestCount": "5", "successfulRequestCount": "2", "failedRequestCount": "2", "pendingRequestCount": "1"});
    assert_eq!((stats, bench.billed()), (want, 0));
    bench.finish();
    let done = bench.poll(&id);
    assert_eq!((&done["done"], &done["metadata"]["state"]), (&json!(true), &json!("BATCH_STATE_SUCCEEDED")));
    let list = done["response"]["inlinedResponses"]["inlinedResponses"].as_array().unwrap();
    assert_eq!(done["metadata"]["output"]["inlinedResponses"]["inlinedResponses"].as_array(), Some(list));
    let keys: Vec<&Value> = list.iter().map(|result| &result["metadata"]["key"]).collect();
    assert_eq!(keys, ["k0", "k1", "k2", "k3", "k4"]);
    assert_eq!((said(&list[0]), said(&list[2])), ("a", "c"));
    assert_eq!((&list[1]["error"]["code"], &list[3]["error"]["code"]), (&json!(8), &json!(1)));
    assert_eq!(bench.billed(), 3);
    let entry = bench.world.core.ledger.entries().find(|entry| entry.billed).unwrap();
    assert_eq!((entry.provider, entry.endpoint), ("gemini", "generateContent"));
}

#[test]
fn files_give_files() {
    let mut bench = Bench::new(Config::default());
    let input = bench
        .upload(line("a", "echo:1") + &line("b", "fail:500") + r#"{"key":"c","request":{"content":[]}}"#);
    let id = bench.create(Task::Generate, MODEL, file(&input)).unwrap();
    bench.finish();
    let done = bench.poll(&id);
    let results = bench.results(&done);
    let of = |key: &str| results.iter().find(|result| result["key"] == key).unwrap();
    assert_eq!((results.len(), said(of("a"))), (3, "1"));
    assert_eq!((&of("b")["error"]["code"], &of("c")["error"]["code"]), (&json!(13), &json!(3)));
    assert_eq!(bench.billed(), 1);
    let World { core, gemini, .. } = &mut bench.world;
    assert!(gemini.files.download(bench.now, &bench.owner, input.strip_prefix("files/").unwrap()).is_err());
    let stranger = Credential::of_key("AIza-b");
    assert_eq!(gemini.retrieve(core, bench.now, &stranger, &id).unwrap_err().http, 404);
    assert!(core.violations().is_empty());
}

#[test]
fn embeddings_have_their_own_results() {
    let mut bench = Bench::new(Config::default());
    let input = json!({"requests": {"requests": [{"request": {"content": {"parts": [{"text": "x"}]}}}]}});
    let id = bench.create(Task::Embed, "gemini-embedding-001", input).unwrap();
    bench.finish();
    let done = bench.poll(&id);
    let results = &done["response"]["inlinedEmbedContentResponses"]["inlinedResponses"];
    assert_eq!(results[0]["response"]["embedding"]["values"].as_array().unwrap().len(), 64);
    assert!(done["metadata"]["@type"].as_str().unwrap().ends_with(".EmbedContentBatch"));
}

#[test]
fn creations_are_checked() {
    let refused = |input: Value| {
        let mut bench = Bench::new(Config::default());
        bench.create(Task::Generate, MODEL, input).unwrap_err()
    };
    assert_eq!(refused(file("files/none")).http, 404);
    assert_eq!(refused(json!({})).http, 400);
    assert_eq!(refused(json!({"requests": {"requests": []}})).http, 400);
    assert_eq!(refused(json!({"fileName": "files/a", "requests": {"requests": []}})).http, 400);
    assert!(
        refused(json!({"file": "files/a"})).message.contains("Unknown name \"file\" at 'batch.input_config'")
    );
    let typo = json!({"requests": {"requests": [{"request": {"contents": [], "temperature": 1}}]}});
    assert!(refused(typo).message.contains("batch.input_config.requests.requests[0].request"));
    let other = json!({"batch": {"model": "models/other", "input_config": {"file_name": "files/a"}}});
    assert!(Create::parse(Task::Generate, MODEL, &other.to_string().into()).is_err());
    let snake = json!({"batch": {"display_name": "d", "input_config": {"file_name": "files/a"}}});
    assert_eq!(Create::parse(Task::Generate, MODEL, &snake.to_string().into()).unwrap().file(), Some("a"));
}

#[test]
fn quotas_refuse_creations() {
    let limits = [(MODEL.to_owned(), 30)].into();
    let mut bench = Bench::new(Config { enqueued_token_limits: limits, ..Config::default() });
    bench.inline(&["one", "two"]);
    let error = bench.create(Task::Generate, MODEL, requests(&["three", "four"])).unwrap_err();
    assert_eq!((error.http, error.status.as_str()), (429, "RESOURCE_EXHAUSTED"));
    bench.finish();
    bench.inline(&["three"]);
    let mut bench = Bench::new(Config { gemini_concurrent_batches: 1, ..Config::default() });
    bench.inline(&["one"]);
    assert_eq!(bench.create(Task::Generate, MODEL, requests(&["two"])).unwrap_err().http, 429);
    bench.finish();
    bench.inline(&["two"]);
}

#[test]
fn a_batch_whose_file_is_gone_or_bad_fails_unbilled() {
    let mut bench = Bench::new(Config::default());
    let input = bench.upload(line("a", "x"));
    let gone = bench.create(Task::Generate, MODEL, file(&input)).unwrap();
    let World { core, gemini, .. } = &mut bench.world;
    gemini.delete_file(core, bench.now, &bench.owner, input.strip_prefix("files/").unwrap()).unwrap();
    assert_eq!(core.violation_count(), 1);
    let mut failed = vec![gone];
    for content in [
        "",
        "nonsense\n",
        "\n\n",
        "{\"key\":1,\"request\":{}}",
        "{\"key\":\"a\"}",
        "{\"k\":\"a\",\"request\":{}}",
    ] {
        let input = bench.upload(content);
        failed.push(bench.create(Task::Generate, MODEL, file(&input)).unwrap());
    }
    bench.finish();
    for id in failed {
        let done = bench.poll(&id);
        assert_eq!((&done["metadata"]["state"], &done["done"]), (&json!("BATCH_STATE_FAILED"), &json!(true)));
        assert!(done["error"]["code"].is_u64() && done.get("response").is_none(), "{done}");
    }
    assert_eq!(bench.billed(), 0);
    assert_eq!(bench.create(Task::Generate, MODEL, file(&input)).unwrap_err().http, 404);
}

#[test]
fn uploads_want_exact_offsets() {
    let mut bench = Bench::new(Config::default());
    let whole = Bytes::from(vec![b'x'; GRANULARITY + 5]);
    let id = bench.begin_upload(whole.len() as u64);
    let (first, second) = (whole.slice(..GRANULARITY), whole.slice(GRANULARITY..));
    assert!(bench.send(&id, 1, first.clone(), false).is_err());
    assert!(bench.send(&id, 0, first.slice(1..), false).is_err());
    assert!(bench.send(&id, 0, first.clone(), true).is_err(), "too short");
    assert_eq!(bench.send(&id, 0, first.clone(), false), Ok(None));
    assert!(bench.send(&id, 0, first, false).is_err());
    assert_eq!(bench.world.gemini.uploads.progress(&id), Ok((GRANULARITY as u64, false)));
    let file = bench.send(&id, GRANULARITY as u64, second.clone(), true).unwrap().unwrap();
    assert_eq!(file["file"]["sizeBytes"], whole.len().to_string());
    assert!(bench.send(&id, whole.len() as u64, second, true).is_err());
    assert!(bench.send("none", 0, whole, true).is_err());
    assert_eq!(bench.world.gemini.files.alive(bench.now).count(), 1);
}

#[test]
fn what_is_cancelled_expired_or_deleted_has_no_results() {
    let mut bench = Bench::new(Config::default());
    let id = bench.inline(&["a", "b slow:1000"]);
    bench.pass(100);
    let World { core, gemini, .. } = &mut bench.world;
    gemini.cancel(core, bench.now, &bench.owner, &id).unwrap();
    assert_eq!(bench.state(&id), "BATCH_STATE_RUNNING");
    bench.finish();
    let done = bench.poll(&id);
    assert_eq!(
        (&done["metadata"]["state"], &done["error"]["code"]),
        (&json!("BATCH_STATE_CANCELLED"), &json!(1))
    );
    let World { core, gemini, .. } = &mut bench.world;
    assert_eq!(gemini.cancel(core, bench.now, &bench.owner, &id).unwrap_err().status, "FAILED_PRECONDITION");
    gemini.delete(core, bench.now, &bench.owner, &id).unwrap();
    assert_eq!(gemini.retrieve(core, bench.now, &bench.owner, &id).unwrap_err().http, 404);

    let running = bench.inline(&["c"]);
    let World { core, gemini, .. } = &mut bench.world;
    gemini.delete(core, bench.now, &bench.owner, &running).unwrap();
    bench.finish();

    let mut late = Bench::faulty(Rule::new(Fault::ExpireBatch { after: 1 }));
    let id = late.inline(&["a", "b"]);
    late.finish();
    let done = late.poll(&id);
    assert_eq!(
        (&done["metadata"]["state"], &done["error"]["code"]),
        (&json!("BATCH_STATE_EXPIRED"), &json!(4))
    );
    assert!(done.get("response").is_none() && done["metadata"].get("output").is_none());
    assert_eq!((bench.billed(), late.billed()), (0, 0));
}

#[test]
fn success_may_come_before_its_output() {
    let mut bench = Bench::faulty(Rule::new(Fault::LateOutput { ms: 500 }));
    let id = bench.inline(&["a"]);
    while bench.state(&id) != "BATCH_STATE_SUCCEEDED" {
        bench.pass(1);
    }
    let early = bench.poll(&id);
    assert!(early.get("response").is_none() && early["metadata"].get("output").is_none());
    bench.finish();
    assert!(bench.poll(&id).get("response").is_some());
}

#[test]
fn outputs_are_told_in_either_place() {
    let mut bench = Bench::new(Config { gemini_output: GeminiOutput::Alternating, ..Config::default() });
    let ids = [bench.inline(&["a"]), bench.inline(&["b"]), bench.inline(&["c"])];
    bench.finish();
    let places = ids.map(|id| {
        let done = bench.poll(&id);
        (done.get("response").is_some(), done["metadata"].get("output").is_some())
    });
    assert_eq!(places, [(true, true), (true, false), (false, true)]);
}

#[test]
fn faults_damage_results() {
    let inline = |fault: Fault| {
        let mut bench = Bench::faulty(Rule::new(fault));
        let id = bench.inline(&["a", "b"]);
        bench.finish();
        let done = bench.poll(&id);
        (done["response"]["inlinedResponses"]["inlinedResponses"].as_array().map(Vec::len), bench.billed())
    };
    assert_eq!(inline(Fault::DuplicateLine), (Some(3), 2));
    assert_eq!(inline(Fault::GarbageLine), (Some(3), 2));
    assert_eq!(inline(Fault::VanishLines { lines: 1, counted: false }), (Some(1), 1));
    assert_eq!(inline(Fault::VanishLines { lines: 1, counted: true }), (Some(1), 2));
    let fail = Fault::FailBatch { code: "RESOURCE_EXHAUSTED".into(), message: None, lines: vec![] };
    assert_eq!(inline(fail), (None, 0));
}

#[test]
fn stalled_batches_go_on_when_released() {
    let mut bench = Bench::faulty(Rule::new(Fault::Stall { after: 1 }));
    let id = bench.inline(&["a", "b"]);
    bench.pass(100_000);
    assert_eq!(bench.state(&id), "BATCH_STATE_RUNNING");
    assert_eq!(bench.world.release(bench.now, Some(&id)), 1);
    bench.finish();
    assert_eq!(bench.state(&id), "BATCH_STATE_SUCCEEDED");
    let statuses: Vec<Status> = bench.world.gemini.batches().map(|batch| batch.status).collect();
    assert_eq!((statuses, bench.billed()), (vec![Status::Completed], 2));
}

#[test]
fn lists_come_in_pages_newest_first() {
    let mut bench = Bench::new(Config::default());
    let ids = [bench.inline(&["a"]), bench.inline(&["b"]), bench.inline(&["c"])];
    bench.finish();
    let World { core, gemini, .. } = &mut bench.world;
    let (first, next) = gemini.list(core, bench.now, &bench.owner, None, 2);
    let (rest, end) = gemini.list(core, bench.now, &bench.owner, next, 2);
    let bodies: Vec<Value> =
        first.iter().chain(&rest).map(|one| serde_json::from_str(&one.body()).unwrap()).collect();
    let names: Vec<&str> = bodies.iter().map(|one| one["name"].as_str().unwrap()).collect();
    let want: Vec<String> = ids.iter().rev().map(|id| format!("batches/{id}")).collect();
    assert_eq!((names, end), (want.iter().map(String::as_str).collect(), None));
    assert!(bodies[0].get("response").is_none(), "inline results are not listed");
}
