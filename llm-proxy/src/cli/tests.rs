use super::*;

fn parsed(words: &[&str]) -> Result<Command, clap::Error> {
    parse(std::iter::once("llm-proxy").chain(words.iter().copied()).map(OsString::from))
}

fn said(words: &[&str]) -> String {
    parsed(words).err().map(|error| error.to_string()).unwrap_or_else(|| panic!("{words:?} was taken"))
}

#[test]
fn the_command_line_is_consistent() {
    command().debug_assert();
    with_serve_flags(command()).debug_assert();
}

#[test]
fn serve_is_the_default() {
    assert!(matches!(parsed(&[]), Ok(Command::Serve(_))));
    let Ok(Command::Serve(args)) = parsed(&["--openai-url", "http://127.0.0.1:4010/v1"]) else { panic!() };
    assert_eq!(args.upstreams.openai_url, "http://127.0.0.1:4010/v1");
    assert!(matches!(parsed(&["check"]), Ok(Command::Check(_))));
}

#[test]
fn every_flag_has_its_variable_and_no_two_share_one() {
    for subcommand in command().get_subcommands() {
        let flags =
            subcommand.get_arguments().filter(|arg| !matches!(arg.get_id().as_str(), "help" | "version"));
        let flags = flags.filter(|arg| !arg.is_positional());
        let names: Vec<_> = flags.map(|arg| (arg.get_long(), arg.get_env())).collect();
        for (long, env) in &names {
            let env = env.unwrap_or_else(|| panic!("{long:?} of {} has no variable", subcommand.get_name()));
            let tail = long.unwrap().to_uppercase().replace('-', "_");
            let env = env.to_str().unwrap();
            assert!(env.starts_with("LLM_PROXY_") && env.ends_with(&tail), "{env}");
        }
        let distinct: std::collections::HashSet<_> = names.iter().map(|(_, env)| env).collect();
        assert_eq!(distinct.len(), names.len());
    }
}

#[test]
fn single_roles_need_nats() {
    for role in SINGLE_ROLES {
        assert!(said(&[role]).contains("--nats"), "{role}");
        assert!(parsed(&[role, "--nats", "nats://127.0.0.1:4222"]).is_ok(), "{role}");
    }
}

#[test]
fn roles_have_their_own_flags_only() {
    assert!(said(&["batcher", "--nats=nats://x", "--listen=127.0.0.1:1"]).contains("--listen"));
    assert!(
        said(&["batcher", "--nats=nats://x", "--cluster-secret-file=x"]).contains("--cluster-secret-file")
    );
    assert!(said(&["ingress", "--nats=nats://x", "--window=4s"]).contains("--window"));
    assert!(said(&["submitter", "--nats=nats://x", "--max-held=4"]).contains("--max-held"));
    assert!(parsed(&["batcher", "--nats=nats://x", "--admin-listen=127.0.0.1:0", "--log=debug"]).is_ok());
}

#[test]
fn the_manual_has_commands_flags_examples_and_variables() {
    for word in ["--help", "help"] {
        let text = said(&[word]);
        for part in
            ["submitter", "--listen", "--poll-min", "--window", "EXAMPLES", "LLM_PROXY_CLUSTER_SECRET"]
        {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }
    assert!(said(&["--help"]).starts_with("Answers ordinary LLM API calls"));
    let short = said(&["-h"]);
    assert!(short.starts_with("Answers ordinary LLM API calls") && short.contains("--listen"), "{short}");
    assert!(said(&["serve", "--help"]).contains("LLM_PROXY_LISTEN"));
    assert!(said(&["help", "batcher"]).contains("--idle"));
    assert!(said(&["--version"]).contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn mistakes_say_what_and_why() {
    assert!(said(&["ingres"]).contains("ingress"));
    let text = said(&["--window", "soon"]);
    assert!(text.contains("--window") && text.contains("write it as"), "{text}");
    assert!(said(&["demo", "--requests", "0"]).contains("1..=10000"));
}

#[test]
fn run_takes_the_flags_of_serve_and_leaves_the_rest_to_the_program() {
    for words in [
        &["run", "--window=9s", "--", "cmd", "--window", "-x"][..],
        &["run", "--window=9s", "cmd", "--window", "-x"],
    ] {
        let Ok(Command::Run(args)) = parsed(words) else { panic!("{words:?}") };
        assert_eq!(args.command, ["cmd", "--window", "-x"]);
        assert_eq!(args.serve.batcher.window.as_secs(), 9);
        assert_eq!(args.serve.ingress.listen.to_string(), run::LISTEN);
        assert_eq!(args.serve.log.log, "warn");
    }
    assert!(said(&["run"]).contains("<CMD>") && said(&["run", "--"]).contains("<CMD>"));
    assert!(said(&["run", "--nonsense", "cmd"]).contains("--nonsense"));
}

#[test]
fn run_knows_which_addresses_were_asked_for() {
    let given = |words: &[&str]| match parsed(&[&["run"], words, &["cmd"]].concat()) {
        Ok(Command::Run(args)) => args.given.names().collect::<Vec<_>>(),
        _ => panic!("{words:?}"),
    };
    assert!(given(&[]).is_empty());
    assert_eq!(given(&["--openai-url=https://api.openai.com/v1"]), ["openai"]);
    assert_eq!(given(&["--gemini-url=http://h", "--anthropic-url=http://h"]), ["anthropic", "gemini"]);
}

#[test]
fn the_manual_of_run_names_every_variable() {
    let text = said(&["run", "--help"]);
    for name in run::variable_names().chain(["NO_PROXY"]) {
        assert!(text.contains(name), "{name} is not in {text}");
    }
}
