//! The executable from outside: exit codes and what it says.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Output};

use simulator::{Config, Simulator};

/// The executable with these words and variables, and nothing else of the surroundings.
fn llm_proxy(words: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_llm-proxy"));
    command.args(words).env_clear().envs(variables.iter().copied());
    command.output().unwrap()
}

/// Standard error of a call that must end with `code`.
fn refused(code: i32, words: &[&str], variables: &[(&str, &str)]) -> String {
    let output = llm_proxy(words, variables);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{words:?} {variables:?}: {said}");
    said
}

const NATS: [&str; 2] = ["--nats", "nats://127.0.0.1:9"];

#[test]
fn help_is_no_mistake() {
    for words in
        [&["--help"][..], &["-h"], &["help"], &["serve", "--help"], &["help", "submitter"], &["--version"]]
    {
        let output = llm_proxy(words, &[]);
        assert_eq!(output.status.code(), Some(0), "{words:?}");
        assert!(!output.stdout.is_empty() && output.stderr.is_empty(), "{words:?}");
    }
}

#[test]
fn bad_values_end_with_2_and_say_what_and_why() {
    let cases = [
        (&["--window", "soon"][..], "--window", "write it as"),
        (&["--max-bytes", "big"], "--max-bytes", "write it as"),
        (&["--openai-url", "host/v1"], "--openai-url", "https://host/v1"),
        (&["--config", "/nonexistent"], "--config /nonexistent", "No such file"),
        (
            &["batcher", "--nats", NATS[1], "--config", "/nonexistent"],
            "--config /nonexistent",
            "No such file",
        ),
        (&["--log", "llm_proxy=loud"], "--log", "llm_proxy=debug"),
        (&["--log", "inof"], "--log", "inof"),
        (&["--log-format", "xml"], "--log-format", "json"),
        (&["--admin-listen", "nowhere"], "--admin-listen", "address"),
        (&["batcher", "--nats", "http://x"], "--nats", "nats"),
        (&["--max-held-per-key", "0"], "--max-held-per-key", "at least 1"),
        (&["--max-connections", "many"], "--max-connections", "write it as"),
        (&["--require-token"], "--require-token", "--token-file"),
        (&["--token-file", "/nonexistent"], "--token-file", "--require-token"),
        (&["--require-token", "--token-file", "/nonexistent"], "--token-file", "No such file"),
        (&["--tls-cert", "/nonexistent"], "--tls-key", "required"),
        (&["--tls-cert", "/nonexistent", "--tls-key", "x"], "--tls-cert", "No such file"),
        (&["demo", "--requests", "0"], "--requests", "1..="),
        (&["nonsense"], "nonsense", "subcommand"),
        (&["--nonsense"], "--nonsense", "unexpected"),
    ];
    for (words, what, why) in cases {
        let said = refused(2, words, &[]);
        assert!(said.contains(what) && said.contains(why), "{words:?}: {said}");
    }
}

#[test]
fn bad_variables_are_mistakes_where_they_are_used_and_nowhere_else() {
    let bad = [("LLM_PROXY_WINDOW", "soon")];
    assert!(refused(2, &[], &bad).contains("--window"));
    // An ingress has no window: it gets as far as missing the secret.
    let said = refused(2, &["ingress", NATS[0], NATS[1]], &bad);
    assert!(said.contains("LLM_PROXY_CLUSTER_SECRET") && !said.contains("--window"), "{said}");
    // A batcher does not listen for calls: it gets as far as missing NATS.
    let said =
        refused(2, &["batcher"], &[("LLM_PROXY_LISTEN", "nowhere"), ("LLM_PROXY_OPENAI_URL", "nowhere")]);
    assert!(said.contains("--nats") && !said.contains("nowhere"), "{said}");
}

#[test]
fn access_tokens_are_never_shown() {
    let variables = [("LLM_PROXY_TOKENS", "hush-hush"), ("LLM_PROXY_REQUIRE_TOKEN", "true")];
    let said = refused(2, &[], &variables);
    assert!(
        said.contains("LLM_PROXY_TOKENS") && said.contains("9 bytes") && !said.contains("hush"),
        "{said}"
    );
    let said = refused(2, &[], &[("LLM_PROXY_TOKENS", "hush-hush-hush-hush-hush")]);
    assert!(said.contains("--require-token") && !said.contains("hush"), "{said}");
}

#[test]
fn single_roles_need_nats() {
    for role in ["ingress", "batcher", "submitter"] {
        assert!(refused(2, &[role], &[]).contains("--nats"), "{role}");
        assert!(refused(2, &[role], &[("LLM_PROXY_NATS", "")]).contains("--nats"), "{role}");
    }
}

#[test]
fn a_cluster_secret_is_needed_on_nats_and_long_enough() {
    let short = [("LLM_PROXY_CLUSTER_SECRET", "hush-hush")];
    for role in ["serve", "ingress", "submitter"] {
        let words = [role, NATS[0], NATS[1]];
        assert!(refused(2, &words, &[]).contains("LLM_PROXY_CLUSTER_SECRET"), "{role}");
        let said = refused(2, &words, &short);
        assert!(said.contains("9 bytes") && said.contains("32") && !said.contains("hush"), "{role}: {said}");
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret");
    std::fs::write(&file, "short\n").unwrap();
    let said = refused(2, &["submitter", NATS[0], NATS[1], "--cluster-secret-file", utf8(&file)], &[]);
    assert!(said.contains("5 bytes") && !said.contains("short\n"), "{said}");
}

#[test]
fn a_bus_on_another_machine_needs_a_login() {
    let secret = ("LLM_PROXY_CLUSTER_SECRET", "a secret of tests, thirty-two bytes and more");
    let open = [secret, ("LLM_PROXY_NATS", "nats://127.0.0.1:9,nats://nats.invalid:4222")];
    for role in ["serve", "ingress", "batcher", "submitter"] {
        let said = refused(2, &[role], &open);
        assert!(said.contains("(nats.invalid)") && said.contains("--insecure-bus"), "{role}: {said}");
    }
    // With a login, or with the risk taken, a role gets as far as the port that it cannot have.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let words = ["batcher", "--admin-listen", &address];
    let login = [("LLM_PROXY_NATS", "nats://me:hush@nats.invalid")];
    assert!(refused(1, &words, &login).contains("--admin-listen"));
    assert!(refused(1, &[&words[..], &["--insecure-bus"]].concat(), &open).contains("--admin-listen"));
    let accepted = [open[1], ("LLM_PROXY_INSECURE_BUS", "true")];
    assert!(refused(1, &words, &accepted).contains("--admin-listen"));
    // An empty variable in a URL is no login.
    let said = refused(2, &words, &[("LLM_PROXY_NATS", "nats://batcher:@nats.invalid")]);
    assert!(said.contains("password") && said.contains("empty"), "{said}");
}

#[test]
fn check_reports_a_bus_without_a_login() {
    // An upstream that refuses connections, so that nothing is waited for.
    let words = ["check", "--openai-url", "http://127.0.0.1:9/v1", "--nats", "nats://nats.invalid"];
    let said = checked(1, &words, &[]);
    assert!(said.contains("--insecure-bus") && said.contains("nats.invalid"), "{said}");
}

/// What a check says that must end with `code`. It does not get out to the real providers.
fn checked(code: i32, words: &[&str], variables: &[(&str, &str)]) -> String {
    let no_way_out = ("HTTPS_PROXY", "http://127.0.0.1:9");
    let output = llm_proxy(words, &[variables, &[no_way_out]].concat());
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn check_ends_with_0_if_all_that_was_asked_for_is_there() {
    let simulator = Simulator::start(Config::default()).await.unwrap();
    let words = ["check", "--openai-url", &simulator.url(), "--anthropic-url", &simulator.anthropic_url()];
    let keys = [("OPENAI_API_KEY", "sk-hush"), ("ANTHROPIC_API_KEY", "sk-ant-hush")];
    let said = checked(0, &words, &keys);
    assert!(said.contains("upstream openai: ok") && said.contains("upstream anthropic: ok"), "{said}");
    assert!(said.contains("upstream gemini: skipped (no key given") && !said.contains("hush"), "{said}");
    let said = checked(0, &words, &keys[..1]);
    assert!(said.contains("upstream anthropic: skipped (no key given"), "{said}");
    let said = checked(1, &words, &[keys[0], ("ANTHROPIC_API_KEY", "hush")]);
    assert!(
        said.contains("upstream openai: ok") && said.contains("upstream anthropic: failed: denied"),
        "{said}"
    );
    let said = checked(1, &words, &[keys[0], ("GROQ_API_KEY", "gsk_hush")]);
    assert!(said.contains("upstream groq: failed") && said.contains("unreachable"), "{said}");
    let said = checked(1, &["check"], &[]);
    assert!(said.contains("upstreams: failed: none can be reached"), "{said}");
    simulator.shutdown().await;
}

#[test]
fn logins_of_nats_are_not_shown() {
    for words in [&["--help"][..], &["batcher"], &["batcher", "--nats-cert", "x"]] {
        let output = llm_proxy(words, &[("LLM_PROXY_NATS", "http://me:hush@host")]);
        let said = [output.stdout, output.stderr].concat();
        assert!(!String::from_utf8(said).unwrap().contains("hush"), "{words:?}");
    }
}

#[test]
fn a_taken_port_ends_with_1_and_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let said = refused(1, &["--listen", &address], &[]);
    assert!(said.contains(&address) && said.contains("in use"), "{said}");
    let said = refused(1, &["--listen", "127.0.0.1:0", "--admin-listen", &address], &[]);
    assert!(said.contains(&address) && said.contains("--admin-listen"), "{said}");
    let said = refused(1, &["simulator", "--listen", &address], &[]);
    assert!(said.contains(&address), "{said}");
}

fn utf8(path: &Path) -> &str {
    path.to_str().unwrap()
}
