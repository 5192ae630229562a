//! All roles under strace, at `--log trace`, while the provider does everything wrong and processes are killed: no file is
//! opened for writing or made, and what the logs say holds no key, prompt or answer.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Client, RequestBuilder};
use serde_json::json;
use simulator::{Config, Fault, Handle, Op, Rule, Simulator};
use tempfile::TempDir;
use tests::calls::{Got, judge};
use tests::markers::{ALL, ANSWER, KEY, NAME, PROMPT, Search, spellings};
use tests::nats::NatsServer;
use tests::processes::{LOOK, Process, executable};
use tests::traced::{self, trace};
use tokio::task::JoinSet;

/// Calls of each round, more than one batch.
const CALLS: usize = 5;
/// No call takes as long.
const PATIENCE: Duration = Duration::from_secs(120);
/// Longer than any role goes on once it was told to stop.
const END: Duration = Duration::from_secs(60);

/// Flags of short times.
const INGRESS: [&str; 2] = ["--listen=127.0.0.1:0", "--drain-timeout=5s"];
const BATCHER: [&str; 2] = ["--window=150ms", "--idle=50ms"];
const SUBMITTER: [&str; 3] = ["--poll-min=50ms", "--poll-max=300ms", "--settle=1s"];

/// Processes of one deployment with a provider.
struct Deployment {
    dir: TempDir,
    nats: Option<NatsServer>,
    simulator: Handle,
    /// Those that take calls.
    ingresses: Vec<Process>,
    others: Vec<Process>,
    program: PathBuf,
    client: Client,
}

impl Deployment {
    async fn new(nats: Option<NatsServer>) -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            nats,
            simulator: Simulator::start(Config::default()).await.unwrap(),
            ingresses: Vec::new(),
            others: Vec::new(),
            program: executable().unwrap(),
            client: Client::builder().no_proxy().timeout(PATIENCE).build().unwrap(),
        }
    }

    fn start(&self, name: &str, flags: &[&[&str]], log_format: &str) -> Process {
        let role = name.trim_end_matches(char::is_numeric);
        let mut args = vec![role.to_owned(), "--log=trace".into(), format!("--log-format={log_format}")];
        args.extend(flags.concat().into_iter().map(str::to_owned));
        if let Some(nats) = &self.nats {
            args.push(format!("--nats={}", nats.url()));
        }
        if role != "batcher" {
            args.push(format!("--openai-url={}", self.simulator.url()));
        }
        let variables = [
            ("LLM_PROXY_CLUSTER_SECRET", "a secret of tests, thirty-two bytes and more".to_owned()),
            ("NO_COLOR", "1".to_owned()),
        ];
        traced::start(&self.program, name, &args, &variables, self.dir.path()).unwrap()
    }

    /// A call whose every part has its mark.
    async fn call(&self, round: &str, number: usize, words: &str) -> (RequestBuilder, String) {
        let ingress = &self.ingresses[number % self.ingresses.len()];
        let address = ingress.says("listening on http://").await.unwrap();
        let address = address.split(|c: char| !(c.is_ascii_digit() || ".:".contains(c))).next().unwrap();
        let marker = format!("{}-{round}-{number}", ANSWER.text);
        let body = json!({
            "model": "gpt-4o-mini",
            "stream": number == 1,
            "messages": [{"role": "user", "content": format!("\"é\n{} echo:{marker} {words}", PROMPT.text)}]
        });
        let request = self.client.post(format!("http://{address}/v1/chat/completions"));
        let request = request
            .bearer_auth(format!("sk-{}-{round}", KEY.text))
            .header("content-type", "application/json")
            .header("openai-organization", format!("org-{}", NAME.text))
            .header("idempotency-key", format!("idem-{}-{round}-{number}", NAME.text))
            .header("x-stainless-retry-count", number.to_string());
        (request.body(body.to_string()), marker)
    }

    /// Makes the calls of a round, and says how many got their own answer and how many an error. None gets another's.
    async fn round(&self, round: &str) -> (usize, usize) {
        let mut calls = JoinSet::new();
        for number in 0..CALLS {
            let words = if number == 2 { "fail:422" } else { "" };
            let (call, marker) = self.call(round, number, words).await;
            calls.spawn(async move {
                // A connection that breaks when the answer was begun is an honest error, too.
                let Ok(answer) = call.send().await else { return false };
                let status = answer.status().as_u16();
                let Ok(body) = answer.bytes().await else { return false };
                match body.trim_ascii_start().starts_with(b"data:") {
                    // A stream ends with an answer or an error.
                    true => String::from_utf8_lossy(&body).contains(&marker),
                    false => judge(status, &body, &marker).unwrap() == Got::Own,
                }
            });
        }
        let got = calls.join_all().await;
        let own = got.iter().filter(|own| **own).count();
        (own, got.len() - own)
    }

    /// Calls that the provider answers at once, with and without their key echoed in an error.
    async fn relayed(&self) {
        for words in ["", "fail:500"] {
            let (call, marker) = self.call("relayed", 0, words).await;
            let answer = call.header("x-llm-proxy-mode", "sync").send().await.unwrap();
            let (status, body) = (answer.status().as_u16(), answer.bytes().await.unwrap());
            assert_eq!(judge(status, &body, &marker).unwrap() == Got::Own, words.is_empty());
        }
    }

    async fn everything_goes_wrong(&self) {
        // A creation that is reset is made again when its file is old enough, after half a minute: meanwhile the others.
        self.simulator.set_faults(Rule::new(Fault::Reset).on([Op::Create]).first(1));
        let others = async {
            while self.simulator.received(Op::Create) == 0 {
                tokio::time::sleep(LOOK).await;
            }
            for (name, rule) in faults() {
                self.simulator.set_faults(rule);
                self.tell(&name, self.round(&name).await);
            }
            self.simulator.clear_faults();
            self.relayed().await;
        };
        let (reset, ()) = tokio::join!(self.round("reset-Create"), others);
        self.tell("reset-Create", reset);
    }

    /// Prints what came of a round.
    fn tell(&self, name: &str, (own, errors): (usize, usize)) {
        println!("{name:20} {own} own answers, {errors} errors");
    }

    /// Ends everything as an operator would, and looks at what was done and said.
    async fn judge(mut self, search: &Search) {
        for process in self.ingresses.iter_mut().chain(&mut self.others) {
            process.terminate().unwrap();
        }
        for process in self.ingresses.iter_mut().chain(&mut self.others) {
            process.ended(END).await.unwrap();
        }
        for process in self.ingresses.iter().chain(&self.others) {
            nothing_on_disk(self.dir.path(), process.name());
            for start in 1..=process.starts() {
                nothing_in_the_log(process.name(), &process.log_of(start), search);
            }
        }
    }
}

/// What the provider does wrong, one thing at a time. What it says of it quotes the key and the prompt.
fn faults() -> Vec<(String, Rule)> {
    let message = Some(format!("Incorrect API key provided: sk-{}, for {}", KEY.text, PROMPT.text));
    let status =
        |code| Fault::Status { code, retry_after: Some(1), error_code: None, message: message.clone() };
    let mut faults = Vec::new();
    let mut add = |name: &str, rule: Rule| faults.push((name.to_owned(), rule.first(1)));
    for op in [Op::Upload, Op::Create, Op::Retrieve, Op::Content, Op::Delete] {
        add(&format!("status-{op:?}"), Rule::new(status(429)).on([op]));
        if op != Op::Create {
            add(&format!("reset-{op:?}"), Rule::new(Fault::Reset).on([op]));
        }
        add(&format!("lost-{op:?}"), Rule::new(Fault::LostAnswer).on([op]));
    }
    add("denied", Rule::new(status(401)).on([Op::Upload]));
    add("forbidden", Rule::new(status(403)).on([Op::Create]));
    add("late", Rule::new(Fault::Late { ms: 500 }).on([Op::Create]));
    add("delay", Rule::new(Fault::Delay { ms: 300 }).on([Op::Any]));
    add("cut", Rule::new(Fault::Truncate { after: 900, chunked: true }));
    add("not-found", Rule::new(Fault::NotFoundAtFirst { ms: 0, times: 2 }));
    add("list-lag", Rule::new(Fault::ListLag { ms: 500 }));
    let quoted = format!("Invalid value: '{}', by sk-{}", PROMPT.text, KEY.text);
    for (name, lines) in [("failed", vec![1]), ("all-failed", vec![])] {
        let (code, message) = ("invalid_value".into(), Some(quoted.clone()));
        add(name, Rule::new(Fault::FailBatch { code, message, lines }));
    }
    add("expired", Rule::new(Fault::ExpireBatch { after: 1 }));
    add("vanished", Rule::new(Fault::VanishLines { lines: 1, counted: false }));
    add("short", Rule::new(Fault::ShortFile { lines: 1 }));
    add("twice", Rule::new(Fault::DuplicateLine));
    add("garbage", Rule::new(Fault::GarbageLine));
    add("empty-ids", Rule::new(Fault::EmptyStringFileIds));
    faults
}

/// No call of the process could have made or changed a file; and that it is none is no accident of the look.
fn nothing_on_disk(dir: &Path, name: &str) {
    let trace = trace(dir, name).unwrap();
    let all: usize = trace.calls.values().sum();
    println!("{name}: {all} calls about files, {} that change one: {:?}", trace.changes.len(), trace.calls);
    assert!(trace.calls.contains_key("execve") && trace.calls.contains_key("openat"), "{trace:?}");
    assert_eq!(trace.changes, [""; 0], "{name}");
}

fn nothing_in_the_log(name: &str, log: &str, search: &Search) {
    let lines = log.lines().count();
    let detailed = log.lines().filter(|line| line.contains("TRACE") || line.contains("DEBUG")).count();
    println!("{name}: {lines} lines of log, {detailed} of them at debug or trace");
    for line in log.lines() {
        let found = search.find(line.as_bytes());
        assert!(found.is_empty(), "{name} logs {found:?}: {line}");
    }
    // The same search finds each mark in each spelling, were it in this log.
    for (mark, (_, text)) in
        ALL.iter().flat_map(|mark| spellings(mark.text).into_iter().map(move |s| (mark, s)))
    {
        let planted = format!("{log}\nINFO ingress: a line with {text} in it");
        let found = search.find(planted.as_bytes());
        assert!(found.keys().any(|find| find.mark == *mark), "{text} is not found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_writes_no_file_and_logs_no_secret() {
    let search = Search::new(&ALL).unwrap();
    let mut deployment = Deployment::new(None).await;
    let serve = deployment.start("serve", &[&INGRESS, &BATCHER, &SUBMITTER], "text");
    deployment.ingresses.push(serve);
    deployment.everything_goes_wrong().await;
    deployment.judge(&search).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_on_nats_write_no_file_and_log_no_secret() {
    let search = Search::new(&ALL).unwrap();
    let nats = tokio::task::spawn_blocking(NatsServer::start).await.unwrap().unwrap();
    let mut deployment = Deployment::new(Some(nats)).await;
    for name in ["submitter0", "submitter1"] {
        let submitter = deployment.start(name, &[&SUBMITTER], "json");
        deployment.others.push(submitter);
    }
    let batcher = deployment.start("batcher", &[&BATCHER], "text");
    deployment.others.push(batcher);
    for (name, log_format) in [("ingress0", "json"), ("ingress1", "text")] {
        let ingress = deployment.start(name, &[&INGRESS], log_format);
        deployment.ingresses.push(ingress);
    }
    deployment.everything_goes_wrong().await;
    everybody_else_is_killed(&mut deployment).await;
    deployment.judge(&search).await;
}

/// Kills the submitters, of which one has a job, and the batcher, and starts them again; what follows is recovery.
async fn everybody_else_is_killed(deployment: &mut Deployment) {
    deployment.simulator.set_faults(Rule::new(Fault::Stall { after: 0 }).first(1));
    let polls = deployment.simulator.received(Op::Retrieve);
    let mut others = std::mem::take(&mut deployment.others);
    let kill = async {
        while deployment.simulator.received(Op::Retrieve) == polls {
            tokio::time::sleep(LOOK).await;
        }
        for process in &mut others {
            process.restart(None).unwrap();
        }
        deployment.simulator.release(None);
    };
    let ((own, errors), ()) = tokio::join!(deployment.round("killed"), kill);
    deployment.tell("killed", (own, errors));
    deployment.others = others;
    assert_eq!(own, CALLS - 1);
}

/// The same look at a program that does write.
#[test]
fn what_writes_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let work = "cd $DIR && echo x > file && mkdir dir && mv file dir/file && ln -s dir link && cat dir/file && rm -r dir";
    let args = ["-c".to_owned(), work.to_owned()];
    let variables = [("DIR", dir.path().display().to_string()), ("PATH", "/usr/bin:/bin".to_owned())];
    let mut shell = traced::start(Path::new("/bin/sh"), "shell", &args, &variables, dir.path()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(shell.ended(END)).unwrap();
    // strace writes the last line when the shell has ended.
    let path = dir.path().join("shell.strace");
    while !fs::read_to_string(&path).unwrap().trim_end().ends_with("+++") {
        std::thread::sleep(LOOK);
    }
    let trace = trace(dir.path(), "shell").unwrap();
    for (name, word) in [
        ("opened for writing", "O_WRONLY|O_CREAT"),
        ("made", "mkdir"),
        ("renamed", "rename"),
        ("linked", "symlink"),
        ("removed", "unlink"),
    ] {
        assert!(
            trace.changes.iter().any(|call| call.contains(word)),
            "{name} is not seen: {:?}",
            trace.changes
        );
    }
}
