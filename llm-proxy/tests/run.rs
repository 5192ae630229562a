//! `llm-proxy run` from outside: what the program sees, what it leaves, and when it is ended.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![cfg(unix)]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

use simulator::{Config, Handle, Simulator};

/// Longer than anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// So that batches are sealed and seen at once.
const QUICK: [&str; 5] = ["run", "--window=100ms", "--idle=50ms", "--poll-min=50ms", "--poll-max=200ms"];

fn command(words: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new("env");
    // The tests may run where signals are ignored, as under nohup or in the background.
    command.args(cfg!(target_os = "linux").then_some("--default-signal"));
    command
        .arg(env!("CARGO_BIN_EXE_llm-proxy"))
        .args(words)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap());
    command.envs(variables.iter().copied());
    command
}

fn run(words: &[&str], variables: &[(&str, &str)]) -> Output {
    command(&[&["run", "--"], words].concat(), variables).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn the_exit_code_is_the_programs() {
    let directory = tempfile::tempdir().unwrap();
    let plain = directory.path().join("plain");
    std::fs::write(&plain, "no program").unwrap();
    let plain = plain.to_str().unwrap();
    for (words, code, said) in [
        (&["true"][..], 0, "no call came"),
        (&["sh", "-c", "exit 3"], 3, "no call came"),
        (&["sh", "-c", "kill -s KILL $$"], 137, "no call came"),
        (&["/nonexistent/program"], 127, "cannot run /nonexistent/program: there is no such program"),
        (&[plain], 126, "Permission denied"),
    ] {
        let output = run(words, &[]);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {stderr}");
        assert!(stderr.contains(said) && output.stdout.is_empty(), "{words:?}: {stderr}");
    }
}

#[test]
fn a_mistake_ends_before_the_program_begins() {
    let started = ["sh", "-c", "echo started"];
    for (flags, variables, said) in [
        (&["--openai-url=host"][..], &[][..], "--openai-url"),
        (&["--config=/nonexistent"], &[], "--config"),
        (&[], &[("ANTHROPIC_BASE_URL", "https://me:hush@host")], "ANTHROPIC_BASE_URL"),
    ] {
        let words = [&["run"], flags, &["--"], &started].concat();
        let output = command(&words, variables).output().unwrap();
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(output.stdout.is_empty() && stderr.contains(said) && !stderr.contains("hush"), "{stderr}");
    }
}

#[test]
fn the_programs_streams_and_arguments_are_its_own() {
    let script = r#"printf '%s|' "$@"; cat; printf 'said by it\n' >&2"#;
    let mut running = command(&["run", "--", "sh", "-c", script, "sh", "--log", "a b", "--"], &[]);
    running.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = running.spawn().unwrap();
    running.stdin.take().unwrap().write_all(b"asked\0without a line's end").unwrap();
    let output = running.wait_with_output().unwrap();
    assert_eq!(text(&output.stdout), "--log|a b|--|asked\0without a line's end");
    let stderr = text(&output.stderr);
    assert!(stderr.starts_with("said by it\n") && stderr.contains("\nllm-proxy: no call came"), "{stderr}");
    assert!(stderr.contains("OPENAI_BASE_URL") && !stderr.contains("AZURE_OPENAI"), "{stderr}");
    // No progress where there is no terminal, nor what only a terminal understands.
    assert!(!stderr.contains('\x1b'), "{stderr}");
}

fn environment(words: &[&str], variables: &[(&str, &str)]) -> BTreeMap<String, String> {
    let output = command(&[words, &["--", "env"]].concat(), variables).output().unwrap();
    let lines = text(&output.stdout);
    lines
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

#[test]
fn the_program_is_told_where_the_proxy_is() {
    let own = [("HTTPS_PROXY", "http://out:3128"), ("NO_PROXY", "internal"), ("KEPT", "as it is")];
    let seen = environment(&["run"], &own);
    let address = &seen["LLM_PROXY_URL"];
    assert!(address.starts_with("http://127.0.0.1:") && !address.ends_with(":0"), "{address}");
    assert_eq!(seen["OPENAI_BASE_URL"], format!("{address}/v1"));
    assert_eq!(seen["ANTHROPIC_BASE_URL"], *address);
    assert_eq!(seen["GROQ_BASE_URL"], format!("{address}/groq"));
    assert_eq!((&*seen["KEPT"], &*seen["HTTPS_PROXY"]), ("as it is", "http://out:3128"));
    assert_eq!((&*seen["NO_PROXY"], &*seen["no_proxy"]), ("internal,127.0.0.1", "internal,127.0.0.1"));
    assert!(!seen.contains_key("AZURE_OPENAI_ENDPOINT"));
    let azure = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&azure, "[upstreams.azure]\nbase_url = 'https://r.openai.azure.com/openai/v1'").unwrap();
    let seen = environment(
        &["run", "--config", azure.path().to_str().unwrap(), "--listen=0.0.0.0:0", "--behind-proxy"],
        &[],
    );
    assert_eq!(seen["AZURE_OPENAI_ENDPOINT"], seen["LLM_PROXY_URL"].clone() + "/azure");
    assert!(seen["LLM_PROXY_URL"].starts_with("http://127.0.0.1:"), "{seen:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn the_program_has_the_limits_and_ignores_the_signals_that_it_would_without_the_proxy() {
    // As under nohup, and with limits that the proxy changes for itself.
    let state = "ulimit -Sn; ulimit -Sc; ulimit -Hc; grep -E 'Sig(Ign|Blk)' /proc/self/status";
    let around = |program: &str| {
        let script = format!("trap '' HUP; ulimit -Sn 99; {program}");
        let mut command = Command::new("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_llm-proxy"), state]);
        text(&command.output().unwrap().stdout)
    };
    let without = around(r#"sh -c "$1""#);
    assert!(without.lines().count() == 5, "{without}");
    assert_eq!(around(r#""$0" run -- sh -c "$1""#), without);
}

/// A program under `run` that says its variables and then waits until its standard input is closed.
struct Waiting {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Waiting {
    fn start(flags: &[&str], variables: &[(&str, &str)], script: &str) -> Self {
        let mut command = command(&[&QUICK, flags, &["--", "sh", "-c", script]].concat(), variables);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdout }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// The exit code, the rest of standard output, and standard error.
    fn end(mut self) -> (Option<i32>, String, String) {
        drop(self.child.stdin.take());
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.stdout.read_to_string(&mut stdout).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        (self.child.wait().unwrap().code(), stdout, stderr)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn simulator(runtime: &tokio::runtime::Runtime, batch_time: Duration) -> Handle {
    let config = Config {
        validate_time: Duration::from_millis(20),
        batch_time,
        finalize_time: Duration::from_millis(20),
        cancel_time: Duration::from_millis(20),
        ..Config::default()
    };
    runtime.block_on(Simulator::start(config)).unwrap()
}

/// Sends a chat call below a base URL, and returns the connection.
fn call(base_url: &str) -> TcpStream {
    let (host, path) = base_url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let body = r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"echo:its-own-answer"}]}"#;
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = body.len();
    let head = format!(
        "POST /{path}/chat/completions HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer sk-run\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    write!(stream, "{head}{body}").unwrap();
    stream
}

#[test]
fn calls_go_where_the_users_variable_says_unless_a_flag_says_otherwise() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let simulator = simulator(&runtime, Duration::from_millis(50));
    let nowhere = "http://127.0.0.1:9/v1";
    let url = simulator.url();
    let flag = ["--openai-url", &url];
    for (flags, variables, jobs) in [
        (&[][..], [("OPENAI_BASE_URL", &*url), ("OPENAI_API_BASE", &*url)], 1),
        (&flag, [("OPENAI_BASE_URL", nowhere), ("OPENAI_API_BASE", nowhere)], 2),
        (&[], [("OPENAI_BASE_URL", ""), ("OPENAI_API_BASE", &*url)], 3),
    ] {
        let mut waiting = Waiting::start(flags, &variables, "echo $OPENAI_BASE_URL; cat; printf bye");
        let mut answer = String::new();
        call(&waiting.line()).read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("its-own-answer"), "{answer}");
        let (code, stdout, stderr) = waiting.end();
        assert_eq!((code, &*stdout), (Some(0), "bye"), "{stderr}");
        assert!(stderr.contains("1 answered, 0 failed") && stderr.contains("jobs"), "{stderr}");
        assert_eq!(simulator.state().batch_count, jobs);
        assert_eq!(simulator.state().files_left, 0);
    }
}

#[test]
fn signals_are_passed_on() {
    for (name, code) in [("TERM", 143), ("INT", 130), ("HUP", 129), ("QUIT", 131)] {
        let waiting = |script| {
            let mut waiting = Waiting::start(&[], &[], script);
            assert_eq!(waiting.line(), "ready");
            waiting.signal(name);
            waiting.end()
        };
        // The loop is for those who end by themselves.
        let handled = format!("trap 'echo {name}; exit 5' {name}; echo ready; while sleep 0.05; do :; done");
        let (handled_code, stdout, stderr) = waiting(&handled);
        assert_eq!((handled_code, &*stdout), (Some(5), &*format!("{name}\n")), "{stderr}");
        let (killed, _, stderr) = waiting("echo ready; exec sleep 60");
        assert_eq!(killed, Some(code), "{stderr}");
    }
}

#[test]
fn what_nobody_waits_for_is_cancelled_at_the_end() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let simulator = simulator(&runtime, Duration::from_secs(3600));
    let url = simulator.url();
    let mut waiting = Waiting::start(
        &["--openai-url", &url, "--drain-timeout=1s"],
        &[],
        "echo $OPENAI_BASE_URL; exec sleep 60",
    );
    let connection = call(&waiting.line());
    until(|| simulator.state().batches_active == 1);
    waiting.signal("TERM");
    let (code, _, stderr) = waiting.end();
    assert_eq!(code, Some(143), "{stderr}");
    assert_eq!(simulator.state().batches_active, 0, "{stderr}");
    drop(connection);
}

#[test]
fn a_second_signal_ends_at_once() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let simulator = simulator(&runtime, Duration::from_secs(3600));
    let url = simulator.url();
    let mut waiting = Waiting::start(
        &["--openai-url", &url, "--drain-timeout=1h"],
        &[],
        "echo $OPENAI_BASE_URL; exec sleep 60",
    );
    let connection = call(&waiting.line());
    until(|| simulator.state().batches_active == 1);
    waiting.signal("TERM");
    let mut stderr = BufReader::new(waiting.child.stderr.as_mut().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    assert!(line.contains("tidying up at the provider"), "{line}");
    drop(stderr);
    waiting.signal("INT");
    let (code, _, stderr) = waiting.end();
    assert_eq!(code, Some(143), "{stderr}");
    assert!(stderr.contains("ending at once") && stderr.contains("0 answered"), "{stderr}");
    drop(connection);
}

/// Waits for what happens soon.
fn until(happened: impl Fn() -> bool) {
    let began = std::time::Instant::now();
    while !happened() {
        assert!(began.elapsed() < PATIENCE, "it does not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}
