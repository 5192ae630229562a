//! The model on a clock that the test moves.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::answer::{Answer, Style};
use super::create::Create;
use super::error::ApiError;
use super::model::{Caller, ListBatches};
use super::request::{Dialect, Request, Way};
use super::stream::events;
use crate::config::Config;
use crate::core::Millis;
use crate::credential::Credential;
use crate::faults::{Fault, Faults, Op, Rule};
use crate::json::Fields;
use crate::openai::Status;
use crate::shared::World;

struct Bench {
    world: World,
    now: Millis,
    caller: Caller,
}

impl Bench {
    fn new(config: Config) -> Self {
        let caller = Caller { owner: Credential::of_key("sk-ant-a"), base: "http://sim".into(), hears: true };
        Self { world: World::new(config.into()), now: 1_000_000, caller }
    }

    fn start(&mut self, requests: &[String]) -> String {
        let body = Bytes::from(format!(r#"{{"requests":[{}]}}"#, requests.join(",")));
        let create = Create::parse(&body, Dialect::default()).unwrap();
        let World { core, anthropic, .. } = &mut self.world;
        let decision = core.begin(Op::Create, None);
        let batch = anthropic.create(core, self.now, &self.caller, create, &decision);
        assert_eq!(
            (&batch["processing_status"], &batch["results_url"]),
            (&json!("in_progress"), &Value::Null)
        );
        batch["id"].as_str().unwrap().to_owned()
    }

    fn pass(&mut self, ms: Millis) {
        self.now += ms;
        loop {
            let work = self.world.tick(self.now);
            if work.is_empty() {
                return;
            }
            for piece in work {
                self.world.finish(self.now, piece.run());
            }
        }
    }

    /// Lets time pass from event to event until nothing is left to happen by itself.
    fn finish(&mut self) {
        while let Some(due) = self.world.next_due() {
            self.pass(due.saturating_sub(self.now));
        }
    }

    fn poll(&mut self, id: &str) -> Value {
        let World { core, anthropic, .. } = &mut self.world;
        anthropic.retrieve(core, self.now, &self.caller, id).unwrap()
    }

    fn cancel(&mut self, id: &str) -> Result<Value, ApiError> {
        let World { core, anthropic, .. } = &mut self.world;
        anthropic.cancel(core, self.now, &self.caller, id)
    }

    fn delete(&mut self, id: &str) -> Result<Value, ApiError> {
        let World { core, anthropic, .. } = &mut self.world;
        anthropic.delete(core, &self.caller.owner, id)
    }

    fn results(&mut self, id: &str) -> Result<Bytes, ApiError> {
        let World { core, anthropic, .. } = &mut self.world;
        anthropic.results(core, &self.caller.owner, id)
    }

    /// The results by `custom_id`; lines that are not JSON are left out.
    fn lines(&mut self, id: &str) -> BTreeMap<String, Value> {
        let results = self.results(id).unwrap();
        let lines = results.split(|&byte| byte == b'\n').filter_map(|l| serde_json::from_slice(l).ok());
        lines.map(|l: Value| (l["custom_id"].as_str().unwrap().to_owned(), l["result"].clone())).collect()
    }

    fn faults(&mut self, rule: Rule) {
        self.world.core.faults = Faults::new(rule.into());
    }

    fn violations(&self) -> u64 {
        self.world.core.violation_count()
    }
}

fn params(text: &str, extra: &str) -> String {
    format!(
        r#"{{"model":"claude-x","max_tokens":99,"messages":[{{"role":"user","content":"{text}"}}]{extra}}}"#
    )
}

fn request(id: &str, params: &str) -> String {
    format!(r#"{{"custom_id":"{id}","params":{params}}}"#)
}

fn requests(count: usize) -> Vec<String> {
    (0..count).map(|i| request(&format!("r{i}"), &params(&format!("echo:m{i}"), ""))).collect()
}

fn counts(processing: usize, succeeded: usize, errored: usize, canceled: usize, expired: usize) -> Value {
    json!({"processing": processing, "succeeded": succeeded, "errored": errored, "canceled": canceled, "expired": expired})
}

/// A batch of ten lines that takes 100 ms, after 10 ms in which they are looked at.
fn steady() -> Config {
    Config { jitter: 0.0, batch_time: Duration::from_millis(100), ..Config::default() }
}

#[test]
fn nothing_is_shown_before_the_end() {
    let mut bench = Bench::new(steady());
    let id = bench.start(&requests(10));
    bench.pass(10);
    bench.pass(50);
    let batch = bench.poll(&id);
    assert_eq!((&batch["request_counts"], &batch["ended_at"]), (&counts(10, 0, 0, 0, 0), &Value::Null));
    bench.world.execute(bench.now);
    assert_eq!(bench.world.core.ledger.billed_count(), 5);
    assert_eq!(bench.world.batches()[0].counts.completed, 5);
    bench.pass(50);
    assert_eq!(bench.poll(&id)["processing_status"], "in_progress");
    bench.pass(5);
    let batch = bench.poll(&id);
    assert_eq!(
        (&batch["processing_status"], &batch["request_counts"]),
        (&json!("ended"), &counts(0, 10, 0, 0, 0))
    );
    assert_eq!(batch["results_url"], format!("http://sim/v1/messages/batches/{id}/results"));
    assert_eq!(
        (&batch["created_at"], &batch["expires_at"]),
        (&json!("1970-01-01T00:16:40Z"), &json!("1970-01-02T00:16:40Z"))
    );
    assert_eq!(batch["ended_at"], "1970-01-01T00:16:40.115Z");
    let results = bench.results(&id).unwrap();
    assert!(!results.starts_with(b"{\"custom_id\":\"r0\""), "the order is not that of the requests");
    for (id, result) in bench.lines(&id) {
        assert_eq!(result["type"], "succeeded");
        assert_eq!(result["message"]["content"][0]["text"].as_str().unwrap()[1..], id[1..]);
        assert_eq!(result["message"]["usage"]["service_tier"], "batch");
    }
    let summary = &bench.world.batches()[0];
    assert_eq!(
        (summary.provider, summary.status, summary.model.as_deref()),
        ("anthropic", Status::Completed, Some("claude-x"))
    );
    assert!(bench.world.core.ledger.entries().all(|entry| entry.provider == "anthropic" && entry.billed));
    assert!(bench.world.core.ledger.billed_twice().is_empty());
    assert_eq!(bench.violations(), 0);
}

#[test]
fn bad_params_are_errored_at_the_end() {
    let mut bench = Bench::new(Config::default());
    let id = bench.start(&[
        request("good", &params("echo:g", "")),
        request("other", &params("echo:o", "").replace("claude-x", "claude-y")),
        request("stream", &params("x", r#","stream":true"#)),
        request("none", "{}"),
        request("zero", &params("x", r#","max_tokens":0"#)),
        request("model", &params("x", "").replace("claude-x", "gpt-4o")),
        request("role", &params("x", "").replace("\"user\"", "\"tool\"")),
        request("429", &params("fail:429", "")),
        request("529", &params("fail:529", "")),
        request("expire", &params("expire", "")),
        request("vanish", &params("vanish", "")),
    ]);
    bench.finish();
    assert_eq!(bench.poll(&id)["request_counts"], counts(0, 2, 7, 0, 1));
    let lines = bench.lines(&id);
    for (id, kind) in [
        ("stream", "invalid_request_error"),
        ("none", "invalid_request_error"),
        ("zero", "invalid_request_error"),
        ("model", "not_found_error"),
        ("role", "invalid_request_error"),
        ("429", "rate_limit_error"),
        ("529", "overloaded_error"),
    ] {
        let error = &lines[id]["error"];
        assert_eq!((&lines[id]["type"], &error["type"]), (&json!("errored"), &json!("error")), "{id}");
        assert_eq!(error["error"]["type"], kind, "{id}");
        assert!(error["request_id"].is_string() && error["error"]["message"].is_string());
    }
    assert_eq!(lines["expire"], json!({"type": "expired"}));
    assert!(!lines.contains_key("vanish"));
    assert_eq!(bench.world.batches()[0].model, None, "there are several");
    let ledger = &bench.world.core.ledger;
    assert_eq!((ledger.billed_count(), ledger.entries().count()), (2, 9));
}

#[test]
fn cancelling_keeps_what_was_done() {
    let mut bench = Bench::new(steady());
    let id = bench.start(&requests(10));
    bench.pass(10);
    bench.pass(40);
    let batch = bench.cancel(&id).unwrap();
    assert_eq!(
        (&batch["processing_status"], &batch["request_counts"]),
        (&json!("canceling"), &counts(10, 0, 0, 0, 0))
    );
    assert!(batch["cancel_initiated_at"].is_string());
    assert_eq!(bench.cancel(&id).unwrap(), batch);
    bench.finish();
    assert_eq!(bench.cancel(&id).unwrap_err().status, 400);
    assert_eq!(bench.violations(), 0, "it could not know that it has ended");
    let batch = bench.poll(&id);
    assert_eq!(
        (&batch["processing_status"], &batch["request_counts"]),
        (&json!("ended"), &counts(0, 4, 0, 6, 0))
    );
    assert_eq!(bench.lines(&id).values().filter(|result| **result == json!({"type": "canceled"})).count(), 6);
    assert_eq!(bench.world.batches()[0].status, Status::Cancelled);
    assert_eq!(bench.world.core.ledger.billed_count(), 4);
    bench.cancel(&id).unwrap_err();
    assert_eq!(bench.violations(), 1, "now it knew");

    let early = bench.start(&requests(2));
    bench.cancel(&early).unwrap();
    bench.finish();
    assert_eq!(bench.poll(&early)["request_counts"], counts(0, 0, 0, 2, 0));
}

#[test]
fn windows_end() {
    let mut bench = Bench::new(Config { window_time: Duration::from_millis(60), ..steady() });
    let id = bench.start(&requests(10));
    bench.finish();
    let batch = bench.poll(&id);
    assert_eq!(
        (&batch["processing_status"], &batch["request_counts"]),
        (&json!("ended"), &counts(0, 5, 0, 0, 5))
    );
    assert_eq!(bench.world.batches()[0].status, Status::Expired);

    let mut bench = Bench::new(Config::default());
    bench.faults(Rule::new(Fault::ExpireBatch { after: 3 }));
    let id = bench.start(&requests(10));
    bench.finish();
    assert_eq!(bench.poll(&id)["request_counts"], counts(0, 3, 0, 0, 7));
    assert_eq!(bench.lines(&id).values().filter(|result| result["type"] == "expired").count(), 7);
}

#[test]
fn batches_can_be_broken() {
    let run = |fault| {
        let mut bench = Bench::new(Config::default());
        bench.faults(Rule::new(fault));
        let id = bench.start(&requests(4));
        bench.finish();
        let counts = bench.poll(&id)["request_counts"].clone();
        let lines =
            bench.results(&id).unwrap().split(|&byte| byte == b'\n').filter(|l| !l.is_empty()).count();
        (counts, lines, bench.lines(&id).len(), bench.world.core.ledger.billed_count())
    };
    assert_eq!(run(Fault::DuplicateLine), (counts(0, 4, 0, 0, 0), 5, 4, 4));
    assert_eq!(run(Fault::GarbageLine), (counts(0, 4, 0, 0, 0), 5, 4, 4));
    assert_eq!(run(Fault::VanishLines { lines: 1, counted: false }), (counts(0, 3, 0, 0, 0), 3, 3, 3));
    assert_eq!(run(Fault::VanishLines { lines: 1, counted: true }), (counts(0, 4, 0, 0, 0), 3, 3, 4));
    let meaningless = Fault::FailBatch { code: "x".into(), message: None, lines: vec![] };
    assert_eq!(run(meaningless), (counts(0, 4, 0, 0, 0), 4, 4, 4));

    let mut bench = Bench::new(Config::default());
    bench.faults(Rule::new(Fault::Stall { after: 1 }));
    let id = bench.start(&requests(3));
    bench.pass(10);
    bench.pass(3_600_000);
    assert_eq!(bench.poll(&id)["processing_status"], "in_progress");
    assert_eq!(bench.world.release(bench.now, Some(&id)), 1);
    bench.finish();
    assert_eq!(bench.poll(&id)["request_counts"], counts(0, 3, 0, 0, 0));
}

#[test]
fn what_is_too_early_is_refused_and_noted() {
    let mut bench = Bench::new(Config::default());
    let id = bench.start(&requests(1));
    assert_eq!(bench.results(&id).unwrap_err().status, 404);
    assert_eq!(bench.delete(&id).unwrap_err().status, 400);
    assert_eq!(bench.violations(), 2);
    bench.finish();
    assert_eq!(bench.delete(&id).unwrap(), json!({"id": id, "type": "message_batch_deleted"}));
    assert_eq!(bench.delete(&id).unwrap_err().status, 404);
    assert_eq!(bench.results(&id).unwrap_err().status, 404);
    assert!(bench.world.batches()[0].deleted);
    assert_eq!(bench.violations(), 2);
}

#[test]
fn callers_see_only_their_own() {
    let mut bench = Bench::new(Config::default());
    let id = bench.start(&requests(1));
    bench.finish();
    for owner in [Credential::of_key("sk-ant-b"), Credential::new("sk-ant-a", "", "wrkspc_1")] {
        let other = Caller { owner, ..bench.caller.clone() };
        let World { core, anthropic, .. } = &mut bench.world;
        assert_eq!(anthropic.retrieve(core, bench.now, &other, &id).unwrap_err().status, 404);
        assert_eq!(anthropic.cancel(core, bench.now, &other, &id).unwrap_err().status, 404);
        assert_eq!(anthropic.results(core, &other.owner, &id).unwrap_err().status, 404);
        assert_eq!(anthropic.delete(core, &other.owner, &id).unwrap_err().status, 404);
        let list = anthropic.list(core, bench.now, &other, &ListBatches::default()).unwrap();
        assert_eq!((&list["data"], &list["first_id"]), (&json!([]), &Value::Null));
    }
}

#[test]
fn lists_are_paged_newest_first() {
    let mut bench = Bench::new(Config::default());
    let ids: Vec<String> = (0..5).map(|_| bench.start(&requests(1))).collect();
    let mut list = |query: Value| {
        let World { core, anthropic, .. } = &mut bench.world;
        let query: ListBatches = serde_json::from_value(query).unwrap();
        anthropic.list(core, bench.now, &bench.caller, &query)
    };
    let mut page = |query: Value| {
        let page = list(query).unwrap();
        let seen: Vec<usize> = page["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|batch| ids.iter().position(|id| batch["id"] == **id).unwrap())
            .collect();
        assert_eq!(page["first_id"], ids[seen[0]]);
        assert_eq!(page["last_id"], ids[seen[seen.len() - 1]]);
        (seen, page["has_more"].as_bool().unwrap())
    };
    assert_eq!(page(json!({})), (vec![4, 3, 2, 1, 0], false));
    assert_eq!(page(json!({"limit": "2"})), (vec![4, 3], true));
    assert_eq!(page(json!({"limit": "2", "after_id": ids[3]})), (vec![2, 1], true));
    assert_eq!(page(json!({"limit": "2", "after_id": ids[2]})), (vec![1, 0], false));
    assert_eq!(page(json!({"limit": "2", "before_id": ids[1]})), (vec![3, 2], true));
    assert_eq!(page(json!({"limit": "2", "before_id": ids[2]})), (vec![4, 3], false));
    for (query, status) in [
        (json!({"limit": "0"}), 400),
        (json!({"limit": "1001"}), 400),
        (json!({"after_id": ids[0], "before_id": ids[0]}), 400),
        (json!({"after_id": "msgbatch_none"}), 404),
    ] {
        assert_eq!(list(query).unwrap_err().status, status);
    }
}

#[test]
fn bodies_arrive_byte_for_byte() {
    let mut bench = Bench::new(Config::default());
    let params = r#"{ "model":"claude-x", "max_tokens":1, "max_tokens":9, "top_k":1e999, "system":"\ud800é\u00e9",
        "messages":[{"content":"x","role":"user"}] }"#;
    let id = bench.start(&[request("1", params)]);
    bench.finish();
    assert_eq!(bench.lines(&id)["1"]["type"], "succeeded");
    assert_eq!(bench.world.core.ledger.bodies("1"), [Bytes::from(params)]);
}

/// What a client makes of a stream: the message of its beginning, with everything that follows put into it.
fn assembled(events: &[Bytes]) -> Value {
    let mut message = Value::Null;
    let mut inputs: BTreeMap<usize, String> = BTreeMap::new();
    for event in events {
        let text = std::str::from_utf8(event).unwrap();
        let (name, data) = text.strip_prefix("event: ").unwrap().split_once("\ndata: ").unwrap();
        let event: Value = serde_json::from_str(data.strip_suffix("\n\n").unwrap()).unwrap();
        assert_eq!(event["type"], name);
        let index = event["index"].as_u64().unwrap_or_default() as usize;
        let delta = &event["delta"];
        let append = |block: &mut Value, member: &str| {
            block[member] =
                json!(block[member].as_str().unwrap().to_owned() + delta[member].as_str().unwrap());
        };
        match (name, delta["type"].as_str()) {
            ("message_start", _) => message = event["message"].clone(),
            ("content_block_start", _) => {
                let content = message["content"].as_array_mut().unwrap();
                assert_eq!(content.len(), index);
                content.push(event["content_block"].clone());
            }
            (_, Some("text_delta")) => append(&mut message["content"][index], "text"),
            (_, Some("thinking_delta")) => append(&mut message["content"][index], "thinking"),
            (_, Some("signature_delta")) => append(&mut message["content"][index], "signature"),
            (_, Some("citations_delta")) => {
                message["content"][index]["citations"].as_array_mut().unwrap().push(delta["citation"].clone())
            }
            (_, Some("input_json_delta")) => {
                inputs.entry(index).or_default().push_str(delta["partial_json"].as_str().unwrap());
            }
            ("content_block_stop", _) => {
                if let Some(input) = inputs.remove(&index) {
                    message["content"][index]["input"] = serde_json::from_str(&input).unwrap();
                }
            }
            ("message_delta", _) => {
                for (target, source) in [("", delta), ("usage", &event["usage"])] {
                    let target = if target.is_empty() { &mut message } else { &mut message[target] };
                    for (name, value) in source.as_object().unwrap() {
                        target[name] = value.clone();
                    }
                }
            }
            ("ping" | "message_stop", _) => {}
            other => panic!("{other:?}"),
        }
    }
    message
}

#[test]
fn a_stream_says_what_the_message_says() {
    let long = format!("echo:{}", "é\u{1f600}".repeat(100));
    for text in [
        "echo:hi",
        &long,
        "size:5000",
        "size:0",
        "think echo:a",
        "call:one call:two echo:a\\\"b",
        "cite",
        "refuse",
        "think cite call:x size:300",
    ] {
        for (awkward, extra) in [(false, ""), (true, ""), (false, r#","max_tokens":0"#)] {
            let body = params(text, extra);
            let fields = Fields::parse(&body).unwrap();
            let request = Request::check(&fields, Dialect::default(), Way::Sync).unwrap();
            let answer = Answer::of(&request, &Style { id: 7, awkward, tier: "standard" });
            let message: Value = serde_json::from_str(&answer.message()).unwrap();
            let events = events(&answer);
            assert!(events.first().unwrap().starts_with(b"event: message_start\n"));
            assert!(events.last().unwrap().starts_with(b"event: message_stop\n"));
            assert_eq!(assembled(&events), message, "{text}");
        }
    }
}

#[test]
fn words_make_blocks() {
    let body = params("think cite call:x echo:a", "");
    let fields = Fields::parse(&body).unwrap();
    let request = Request::check(&fields, Dialect::default(), Way::Sync).unwrap();
    let answer = Answer::of(&request, &Style { id: 7, awkward: false, tier: "standard" });
    let message: Value = serde_json::from_str(&answer.message()).unwrap();
    let kinds: Vec<&str> =
        message["content"].as_array().unwrap().iter().map(|block| block["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["thinking", "redacted_thinking", "text", "text", "tool_use"]);
    assert_eq!(message["content"][3]["citations"].as_array().unwrap().len(), 2);
    assert_eq!(message["content"][4]["input"]["text"], "a");
    assert_eq!((&message["stop_reason"], &message["x_simulator_echo"]), (&json!("tool_use"), &json!("a")));
}
