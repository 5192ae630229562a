//! Processes from start to end: listeners, readiness, signals.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![cfg(unix)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

/// Longer than anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running executable, killed when the test ends early.
struct Running {
    child: Child,
    log: BufReader<ChildStderr>,
}

impl Running {
    fn start(words: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_llm-proxy"));
        command.args(words).env_clear().stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        Self { child, log }
    }

    /// Reads the log up to a line that contains `text`, and returns the line.
    fn until(&mut self, text: &str) -> String {
        self.all_until(text).lines().next_back().unwrap().to_owned()
    }

    /// Reads the log up to a line that contains `text`, and returns all of it.
    fn all_until(&mut self, text: &str) -> String {
        let mut all = String::new();
        loop {
            let begin = all.len();
            assert_ne!(self.log.read_line(&mut all).unwrap(), 0, "{text:?} was never logged: {all}");
            if all[begin..].contains(text) {
                return all;
            }
        }
    }

    /// Reads the log up to `listening on http://ADDRESS`, followed by `rest`, and returns the address.
    fn address(&mut self, rest: &str) -> String {
        loop {
            let line = self.until("listening on http://");
            let (_, address) = line.trim_end().split_once("http://").unwrap();
            match address.split_once(' ') {
                None if rest.is_empty() => return address.to_owned(),
                Some((address, tail)) if tail == rest => return address.to_owned(),
                _ => {}
            }
        }
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    fn exit_code(mut self) -> Option<i32> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("it did not end");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn get(address: &str, path: &str) -> String {
    get_with(address, path, "")
}

fn get_with(address: &str, path: &str, lines: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\n{lines}connection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_first_signal_ends_in_order() {
    for signal in ["TERM", "INT"] {
        let mut serve = Running::start(&["--listen", "127.0.0.1:0", "--openai-url", "http://127.0.0.1:9/v1"]);
        assert!(!serve.address("").ends_with(":0"));
        assert!(serve.until("OpenAI is at").contains("http://127.0.0.1:9/v1"));
        serve.signal(signal);
        serve.until("finishing what is under way");
        serve.until("everything has ended");
        assert_eq!(serve.exit_code(), Some(0), "{signal}");
    }
}

#[test]
fn operators_have_routes_of_their_own() {
    let words = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let mut serve = Running::start(&words);
    let admin = serve.address("for operators");
    let calls = serve.address("");
    for path in ["/healthz", "/readyz", "/stats", "/stats/usage.csv"] {
        assert!(get(&calls, path).starts_with("HTTP/1.1 404"), "{path} is on the listener of calls too");
    }
    assert!(get(&admin, "/healthz").starts_with("HTTP/1.1 200"));
    assert!(get(&admin, "/readyz").starts_with("HTTP/1.1 200"));
    let stats = get(&admin, "/stats");
    assert!(stats.starts_with("HTTP/1.1 200") && stats.contains("application/json"), "{stats}");
    let usage = get(&admin, "/stats/usage.csv");
    assert!(usage.contains("text/csv") && usage.contains("provider,endpoint,model"), "{usage}");
}

#[test]
fn roles_outlive_an_absent_nats_but_are_not_ready() {
    let words = ["batcher", "--nats", "nats://127.0.0.1:9", "--admin-listen", "127.0.0.1:0"];
    let mut batcher = Running::start(&words);
    let admin = batcher.address("for operators");
    assert!(get(&admin, "/healthz").starts_with("HTTP/1.1 200"));
    assert!(get(&admin, "/readyz").starts_with("HTTP/1.1 503"));
    batcher.signal("TERM");
    assert_eq!(batcher.exit_code(), Some(0));
}

#[test]
fn open_files_are_warned_of_when_calls_cannot_fit() {
    let words = ["--listen", "127.0.0.1:0", "--max-held", "999999999"];
    let line = Running::start(&words).until("open files are limited");
    assert!(line.contains("WARN") && line.contains("--max-held"), "{line}");
}

#[test]
fn access_tokens_are_read_again_at_a_hangup() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tokens");
    let (old, new) = ("an-old-token-0123456789", "a-new-token-0123456789");
    std::fs::write(&file, old).unwrap();
    let mut serve = Running::start(&[
        "--listen",
        "127.0.0.1:0",
        "--require-token",
        "--token-file",
        file.to_str().unwrap(),
        "--log=trace",
    ]);
    let address = serve.address("");
    serve.until("calls need an access token");
    let stats = |token| get_with(&address, "/stats", &format!("x-llm-proxy-token: {token}\r\n"));
    assert!(get(&address, "/stats").starts_with("HTTP/1.1 401"));
    assert!(get(&address, "/readyz").starts_with("HTTP/1.1 200"));
    assert!(stats(old).starts_with("HTTP/1.1 200") && stats(new).starts_with("HTTP/1.1 401"));
    std::fs::write(&file, new).unwrap();
    serve.signal("HUP");
    let mut said = serve.all_until("the access tokens have changed");
    assert!(stats(new).starts_with("HTTP/1.1 200") && stats(old).starts_with("HTTP/1.1 401"));
    serve.signal("TERM");
    said += &serve.all_until("everything has ended");
    assert!(!said.contains("token-0123456789"), "{said}");
}

#[test]
fn calls_in_the_clear_on_a_public_address_are_warned_of() {
    let listen = ["--listen", "0.0.0.0:0"];
    let line = Running::start(&listen).until("in the clear");
    assert!(
        line.contains("WARN") && line.contains("--behind-proxy") && line.contains("--tls-cert"),
        "{line}"
    );
    for words in [&["--listen", "127.0.0.1:0"][..], &[listen[0], listen[1], "--behind-proxy"]] {
        let mut serve = Running::start(words);
        let mut said = serve.all_until("OpenAI is at");
        serve.signal("TERM");
        said += &serve.all_until("everything has ended");
        assert!(!said.contains("in the clear"), "{said}");
    }
}
