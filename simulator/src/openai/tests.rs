//! The model on a clock that the test moves.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::batches::{Create, ListBatches};
use super::error::ApiError;
use super::files::Upload;
use super::profile::OPENAI;
use crate::config::Config;
use crate::core::Millis;
use crate::credential::Credential;
use crate::faults::{Fault, Faults, Op, Rule};
use crate::shared::World;

const CHAT: &str = "/v1/chat/completions";

struct Bench {
    world: World,
    now: Millis,
    owner: Credential,
}

impl Bench {
    fn new(config: Config) -> Self {
        Self { world: World::new(config.into()), now: 1_000_000, owner: Credential::of_key("sk-a") }
    }

    fn upload(&mut self, content: impl Into<Bytes>) -> String {
        let content = content.into();
        let upload = Upload {
            name: Some("in.jsonl".into()),
            size: content.len() as u64,
            content,
            purpose: Some("batch".into()),
            ..Upload::default()
        };
        let World { core, openai, .. } = &mut self.world;
        let file = openai.files.upload(core, self.now, &self.owner, upload, 0).unwrap();
        file["id"].as_str().unwrap().to_owned()
    }

    fn try_create(&mut self, file: &str, endpoint: &str) -> Result<Value, ApiError> {
        let body = json!({"input_file_id": file, "endpoint": endpoint, "completion_window": "24h", "metadata": {"m": "1"}});
        let create = Create::parse(&OPENAI, body.to_string().as_bytes())?;
        let World { core, openai, .. } = &mut self.world;
        let decision = core.begin(Op::Create, Some((file, 0)));
        openai.create(core, self.now, &self.owner, create, &decision)
    }

    fn start(&mut self, endpoint: &str, content: impl Into<Bytes>) -> String {
        let file = self.upload(content);
        let batch = self.try_create(&file, endpoint).unwrap();
        assert_eq!((&batch["status"], &batch["request_counts"]["total"]), (&json!("validating"), &json!(0)));
        batch["id"].as_str().unwrap().to_owned()
    }

    fn pass(&mut self, ms: Millis) {
        self.now += ms;
        let World { core, openai, .. } = &mut self.world;
        openai.settle(core, self.now);
    }

    /// Lets time pass from event to event until nothing is left to happen by itself.
    fn finish(&mut self) {
        while let Some(due) = self.world.openai.next_due() {
            self.pass(due.saturating_sub(self.now));
        }
    }

    fn poll(&mut self, id: &str) -> Value {
        let World { core, openai, .. } = &mut self.world;
        openai.retrieve(core, self.now, &self.owner, id).unwrap()
    }

    fn cancel(&mut self, id: &str) -> Result<Value, ApiError> {
        let World { core, openai, .. } = &mut self.world;
        openai.cancel(core, self.now, &self.owner, id)
    }

    fn lines(&self, file: &Value) -> Vec<Value> {
        let Some(id) = file.as_str() else { return Vec::new() };
        let content = &self.world.openai.files.get(self.now, &self.owner, id).unwrap().content;
        content
            .split(|&byte| byte == b'\n')
            .filter(|l| !l.is_empty())
            .map(|l| serde_json::from_slice(l).unwrap())
            .collect()
    }

    fn faults(&mut self, rule: Rule) {
        self.world.core.faults = Faults::new(rule.into());
    }

    /// Runs a file to its end and returns (code, line) of each error.
    fn refused(endpoint: &str, content: impl Into<Bytes>) -> Vec<(String, Option<u64>)> {
        let mut bench = Bench::new(Config::default());
        let id = bench.start(endpoint, content);
        bench.finish();
        let batch = bench.poll(&id);
        assert_eq!(batch["status"], "failed", "{batch}");
        assert!(batch["output_file_id"].is_null() && batch["failed_at"].is_u64());
        assert_eq!(bench.world.core.ledger.entries().count(), 0);
        let errors = batch["errors"]["data"].as_array().unwrap();
        errors.iter().map(|e| (e["code"].as_str().unwrap().to_owned(), e["line"].as_u64())).collect()
    }
}

fn line(id: &str, text: &str) -> String {
    let body = format!(r#"{{"model":"gpt-4o","messages":[{{"role":"user","content":"{text}"}}]}}"#);
    format!(r#"{{"custom_id":"{id}","method":"POST","url":"{CHAT}","body":{body}}}"#)
}

fn file(count: usize) -> String {
    (0..count).map(|i| line(&format!("r{i}"), &format!("echo:m{i}")) + "\n").collect()
}

fn text_of(line: &Value) -> &str {
    line["response"]["body"]["choices"][0]["message"]["content"].as_str().unwrap()
}

#[test]
fn a_batch_goes_through_its_statuses() {
    let config = Config { jitter: 0.0, batch_time: Duration::from_millis(100), ..Config::default() };
    let mut bench = Bench::new(config);
    let id = bench.start(CHAT, file(10));
    bench.pass(9);
    assert_eq!(bench.poll(&id)["status"], "validating");
    bench.pass(1);
    let batch = bench.poll(&id);
    assert_eq!(
        (&batch["status"], &batch["request_counts"]),
        (&json!("in_progress"), &json!({"total":10,"completed":0,"failed":0}))
    );
    bench.pass(50);
    assert_eq!(bench.poll(&id)["request_counts"]["completed"], 5);
    assert_eq!(bench.world.core.ledger.billed_count(), 5);
    bench.pass(50);
    assert_eq!(bench.poll(&id)["status"], "finalizing");
    bench.pass(5);
    let batch = bench.poll(&id);
    assert_eq!(
        (&batch["status"], &batch["model"], &batch["metadata"]),
        (&json!("completed"), &json!("gpt-4o"), &json!({"m":"1"}))
    );
    assert!(batch["error_file_id"].is_null());
    assert_eq!(batch["expires_at"].as_u64().unwrap() - batch["created_at"].as_u64().unwrap(), 86_400);
    let lines = bench.lines(&batch["output_file_id"]);
    assert!(lines.iter().all(|line| text_of(line)[1..] == line["custom_id"].as_str().unwrap()[1..]));
    assert_ne!(
        lines[..3].iter().map(|l| l["custom_id"].as_str().unwrap()).collect::<Vec<_>>(),
        ["r0", "r1", "r2"]
    );
    let sum: u64 =
        lines.iter().map(|l| l["response"]["body"]["usage"]["prompt_tokens"].as_u64().unwrap()).sum();
    assert_eq!(batch["usage"]["input_tokens"], sum);
    assert!(bench.world.core.ledger.billed_twice().is_empty());
}

#[test]
fn files_with_bad_envelopes_fail_as_a_whole() {
    let one = |code: &str, line: u64| vec![(code.to_owned(), Some(line))];
    assert_eq!(Bench::refused(CHAT, ""), [("empty_file".to_owned(), None)]);
    assert_eq!(Bench::refused(CHAT, format!("\u{feff}{}", file(1))), one("invalid_json_line", 1));
    assert_eq!(Bench::refused(CHAT, file(1) + "\n" + &line("x", "x")), one("invalid_json_line", 2));
    assert_eq!(Bench::refused(CHAT, file(1) + "{\"custom_id\":"), one("invalid_json_line", 2));
    assert_eq!(Bench::refused(CHAT, b"\xff\xfe\n".to_vec()), one("invalid_json_line", 1));
    assert_eq!(Bench::refused(CHAT, file(2) + &line("r0", "x")), one("duplicate_custom_id", 3));
    assert_eq!(Bench::refused("/v1/responses", file(1)), one("url_mismatch", 1));
    assert_eq!(
        Bench::refused(CHAT, file(1) + &line("x", "x").replace("gpt-4o", "gpt-5")),
        one("model_mismatch", 2)
    );
    assert_eq!(Bench::refused(CHAT, line("x", "x").replace("gpt-4o", "nobody")), one("model_not_found", 1));
    assert_eq!(
        Bench::refused(CHAT, line("x", "x").replace("gpt-4o", "gpt-nobatch")),
        one("model_not_found", 1)
    );
    assert_eq!(Bench::refused(CHAT, line("x", "x").replace("POST", "GET")), one("invalid_request", 1));
    for member in ["custom_id", "method", "url", "body"] {
        let broken = line("x", "x").replace(&format!("\"{member}\""), "\"other\"");
        assert_eq!(Bench::refused(CHAT, broken), one("missing_required_parameter", 1), "{member}");
    }
    assert_eq!(Bench::refused(CHAT, file(50_001)), [("too_many_tasks".to_owned(), None)]);
    let inputs = vec!["\"a\""; 2_000].join(",");
    let embeddings: String = (0..26)
        .map(|i| {
            let body = format!(r#"{{"model":"text-embedding-3-small","input":[{inputs}]}}"#);
            format!(
                "{{\"custom_id\":\"{i}\",\"method\":\"POST\",\"url\":\"/v1/embeddings\",\"body\":{body}}}\n"
            )
        })
        .collect();
    assert_eq!(Bench::refused("/v1/embeddings", embeddings), [("too_many_tasks".to_owned(), None)]);
}

#[test]
fn a_bad_body_fails_only_its_line() {
    let mut bench = Bench::new(Config::default());
    let content = [
        line("good", "echo:g"),
        line("stream", "x").replace("\"model\"", "\"stream\":true,\"model\""),
        line("hot", "x").replace("\"model\"", "\"temperature\":9,\"model\""),
        line("400", "fail:400"),
        line("429", "fail:429"),
        line("500", "fail:500"),
        line("expire", "expire"),
        line("vanish", "vanish"),
    ]
    .join("\n");
    let id = bench.start(CHAT, content);
    bench.finish();
    let batch = bench.poll(&id);
    assert_eq!(
        (&batch["status"], &batch["request_counts"]),
        (&json!("completed"), &json!({"total":8,"completed":1,"failed":6}))
    );
    assert_eq!(bench.lines(&batch["output_file_id"]).len(), 1);
    let errors = bench.lines(&batch["error_file_id"]);
    let found: BTreeMap<&str, &Value> =
        errors.iter().map(|line| (line["custom_id"].as_str().unwrap(), line)).collect();
    for (id, status) in [("stream", 400), ("hot", 400), ("400", 400), ("429", 429), ("500", 500)] {
        assert_eq!(
            (&found[id]["response"]["status_code"], &found[id]["error"]),
            (&json!(status), &Value::Null),
            "{id}"
        );
        assert!(found[id]["response"]["body"]["error"]["message"].is_string());
    }
    assert!(found["expire"]["response"].is_null());
    assert_eq!(found["expire"]["error"]["code"], "batch_expired");
    assert!(!found.contains_key("vanish"));
    assert_eq!((bench.world.core.ledger.billed_count(), bench.world.core.ledger.entries().count()), (1, 6));
}

#[test]
fn absent_files_are_null_or_empty() {
    for (config, absent) in [
        (Config::default(), Value::Null),
        (Config { empty_string_file_ids: true, ..Config::default() }, json!("")),
    ] {
        let mut bench = Bench::new(config);
        let (clean, broken) = (bench.start(CHAT, file(1)), bench.start(CHAT, line("x", "fail:500")));
        assert!(bench.poll(&clean)["output_file_id"].is_null());
        bench.finish();
        assert_eq!(bench.poll(&clean)["error_file_id"], absent);
        let broken = bench.poll(&broken);
        assert_eq!((&broken["status"], &broken["output_file_id"]), (&json!("completed"), &absent));
        assert_eq!(bench.lines(&broken["error_file_id"]).len(), 1);
    }
}

#[test]
fn cancelling_keeps_what_was_done() {
    let config = Config { jitter: 0.0, batch_time: Duration::from_millis(100), ..Config::default() };
    let mut bench = Bench::new(config);
    let id = bench.start(CHAT, file(10));
    bench.pass(10);
    bench.pass(40);
    assert_eq!(bench.cancel(&id).unwrap()["status"], "cancelling");
    assert_eq!(bench.cancel(&id).unwrap()["status"], "cancelling");
    bench.finish();
    let batch = bench.poll(&id);
    assert_eq!((&batch["status"], &batch["request_counts"]["completed"]), (&json!("cancelled"), &json!(4)));
    assert_eq!(bench.lines(&batch["output_file_id"]).len(), 4);
    let rest = bench.lines(&batch["error_file_id"]);
    assert!(rest.len() == 6 && rest.iter().all(|line| line["error"]["code"] == "batch_cancelled"));
    assert_eq!(bench.world.core.ledger.billed_count(), 4);
    assert_eq!(bench.cancel(&id).unwrap_err().status, 409);

    let early = bench.start(CHAT, file(2));
    bench.cancel(&early).unwrap();
    bench.finish();
    let batch = bench.poll(&early);
    assert_eq!((&batch["status"], &batch["output_file_id"]), (&json!("cancelled"), &Value::Null));
}

#[test]
fn windows_end() {
    let config = Config {
        jitter: 0.0,
        batch_time: Duration::from_millis(100),
        window_time: Duration::from_millis(60),
        ..Config::default()
    };
    let mut bench = Bench::new(config);
    let id = bench.start(CHAT, file(10));
    bench.finish();
    let batch = bench.poll(&id);
    assert_eq!(
        (&batch["status"], &batch["request_counts"]),
        (&json!("expired"), &json!({"total":10,"completed":5,"failed":0}))
    );
    assert_eq!(bench.lines(&batch["output_file_id"]).len(), 5);
    assert!(bench.lines(&batch["error_file_id"]).iter().all(|line| line["error"]["code"] == "batch_expired"));

    let mut bench = Bench::new(Config::default());
    bench.faults(Rule::new(Fault::ExpireBatch { after: 3 }));
    let id = bench.start(CHAT, file(10));
    bench.finish();
    let batch = bench.poll(&id);
    assert_eq!((&batch["status"], &batch["request_counts"]["completed"]), (&json!("expired"), &json!(3)));
    assert!(batch["expired_at"].is_u64());
}

#[test]
fn stalled_batches_wait_for_their_release() {
    let mut bench = Bench::new(Config::default());
    bench.faults(Rule::new(Fault::Stall { after: 1 }));
    let id = bench.start(CHAT, file(3));
    bench.pass(10);
    bench.pass(3_600_000);
    let batch = bench.poll(&id);
    assert_eq!((&batch["status"], &batch["request_counts"]["completed"]), (&json!("in_progress"), &json!(1)));
    assert_eq!(bench.world.openai.release(bench.now, None), 1);
    bench.finish();
    assert_eq!(bench.poll(&id)["status"], "completed");
    assert_eq!(bench.world.core.ledger.billed_count(), 3);
}

#[test]
fn batches_can_be_broken() {
    let run = |fault| {
        let mut bench = Bench::new(Config::default());
        bench.faults(Rule::new(fault));
        let id = bench.start(CHAT, file(4));
        bench.finish();
        let batch = bench.poll(&id);
        (bench, batch)
    };
    let (_, failed) =
        run(Fault::FailBatch { code: "invalid_request".into(), message: None, lines: vec![2, 3] });
    assert_eq!((&failed["status"], &failed["errors"]["data"][1]["line"]), (&json!("failed"), &json!(3)));
    let (bench, batch) = run(Fault::DuplicateLine);
    assert_eq!(bench.lines(&batch["output_file_id"]).len(), 5);
    let (bench, batch) = run(Fault::VanishLines { lines: 2, counted: false });
    assert_eq!(
        (bench.lines(&batch["output_file_id"]).len(), &batch["request_counts"]["completed"]),
        (2, &json!(2))
    );
    assert_eq!(bench.world.core.ledger.billed_count(), 2);
    let (bench, batch) = run(Fault::VanishLines { lines: 2, counted: true });
    assert_eq!(
        (bench.lines(&batch["output_file_id"]).len(), &batch["request_counts"]["completed"]),
        (2, &json!(4))
    );
    assert_eq!(bench.world.core.ledger.billed_count(), 4);
    let (bench, batch) = run(Fault::GarbageLine);
    let id = batch["output_file_id"].as_str().unwrap();
    let content = &bench.world.openai.files.get(bench.now, &bench.owner, id).unwrap().content;
    let bad = content
        .split(|&b| b == b'\n')
        .filter(|l| !l.is_empty() && serde_json::from_slice::<Value>(l).is_err());
    assert_eq!(bad.count(), 1);
}

#[test]
fn the_token_queue_pushes_back() {
    let tokens = line("r0", "echo:m0").split_once("\"body\":").unwrap().1.len() as u64 / 4;
    let limits = BTreeMap::from([("gpt-4o".to_owned(), tokens + 5)]);
    let mut bench = Bench::new(Config { enqueued_token_limits: limits, ..Config::default() });
    let (first, second) = (bench.start(CHAT, file(1)), bench.start(CHAT, file(1)));
    bench.pass(10);
    assert_eq!(bench.poll(&first)["status"], "in_progress");
    let refused = bench.poll(&second);
    let error = &refused["errors"]["data"][0];
    assert_eq!((&error["code"], &error["line"]), (&json!("token_limit_exceeded"), &Value::Null));
    bench.finish();
    let third = bench.start(CHAT, file(1));
    bench.finish();
    assert_eq!(bench.poll(&third)["status"], "completed");
}

#[test]
fn callers_see_only_their_own() {
    let mut bench = Bench::new(Config::default());
    let id = bench.start(CHAT, file(1));
    bench.finish();
    let output = bench.poll(&id)["output_file_id"].as_str().unwrap().to_owned();
    for other in
        [Credential::of_key("sk-b"), Credential::new("sk-a", "org", ""), Credential::new("sk-a", "", "proj")]
    {
        let World { core, openai, .. } = &mut bench.world;
        assert_eq!(openai.retrieve(core, bench.now, &other, &id).unwrap_err().status, 404);
        assert_eq!(openai.cancel(core, bench.now, &other, &id).unwrap_err().status, 404);
        assert_eq!(openai.files.get(bench.now, &other, &output).unwrap_err().status, 404);
        assert_eq!(openai.delete_file(core, bench.now, &other, &output).unwrap_err().status, 404);
        assert_eq!(openai.list(core, bench.now, &other, &ListBatches::default()).unwrap()["data"], json!([]));
    }
}

#[test]
fn creation_is_limited_per_hour_and_needs_its_file() {
    let mut bench = Bench::new(Config { creates_per_hour: 2, ..Config::default() });
    let file = bench.upload(file(1));
    bench.try_create(&file, CHAT).unwrap();
    bench.try_create(&file, CHAT).unwrap();
    let error = bench.try_create(&file, CHAT).unwrap_err();
    assert_eq!((error.status, error.retry_after), (429, Some(3600)));
    bench.now += 3_600_000;
    let error = bench.try_create("file-none", CHAT).unwrap_err();
    assert_eq!((error.status, error.param.as_deref()), (400, Some("file_id")));
    assert!(error.message.starts_with("Cannot find file"));
    assert_eq!(bench.world.core.violation_count(), 1, "two batches of one file");
}

#[test]
fn lists_are_paged_newest_first() {
    let mut bench = Bench::new(Config::default());
    let ids: Vec<String> = (0..5).map(|_| bench.start(CHAT, file(1))).collect();
    let mut list = |query: Value| {
        let World { core, openai, .. } = &mut bench.world;
        let query: ListBatches = serde_json::from_value(query).unwrap();
        openai.list(core, bench.now, &bench.owner, &query)
    };
    let page = list(json!({"limit": "2"})).unwrap();
    assert_eq!(
        (&page["first_id"], &page["last_id"], &page["has_more"]),
        (&json!(ids[4]), &json!(ids[3]), &json!(true))
    );
    let page = list(json!({"limit": "3", "after": ids[3]})).unwrap();
    assert_eq!(
        (&page["first_id"], &page["last_id"], &page["has_more"]),
        (&json!(ids[2]), &json!(ids[0]), &json!(false))
    );
    assert_eq!(list(json!({"limit": "101"})).unwrap_err().status, 400);
}

#[test]
fn bodies_arrive_byte_for_byte() {
    let mut bench = Bench::new(Config::default());
    let body = r#"{ "model":"gpt-4o", "b":1.0, "a":12345678901234567890123, "a":1e999, "s":"\ud800é\u00e9",
        "messages":[{"content":"x","role":"user"}] }"#
        .replace('\n', " ");
    let id =
        bench.start(CHAT, format!(r#"{{"custom_id":"1","method":"POST","url":"{CHAT}","body":{body}}}"#));
    bench.finish();
    assert_eq!(bench.poll(&id)["request_counts"]["completed"], 1);
    assert_eq!(bench.world.core.ledger.bodies("1"), [Bytes::from(body)]);
}

#[test]
fn slow_lines_hold_their_batch() {
    let mut bench = Bench::new(Config { jitter: 0.0, ..Config::default() });
    let id = bench.start(CHAT, line("a", "slow:5000") + "\n" + &line("b", "x"));
    bench.pass(10);
    bench.pass(4_999);
    assert_eq!(bench.poll(&id)["request_counts"]["completed"], 1);
    bench.pass(1);
    assert_eq!(bench.poll(&id)["status"], "finalizing");
}

#[test]
fn an_input_deleted_too_early_fails_the_batch() {
    let mut bench = Bench::new(Config::default());
    let file = bench.upload(file(1));
    let id = bench.try_create(&file, CHAT).unwrap()["id"].as_str().unwrap().to_owned();
    let World { core, openai, .. } = &mut bench.world;
    openai.delete_file(core, bench.now, &bench.owner, &file).unwrap();
    assert_eq!(core.violation_count(), 1);
    bench.finish();
    assert_eq!(bench.poll(&id)["status"], "failed");
}
