//! A body arrives at the provider as it was sent, byte for byte but for raw line ends outside of strings.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, missing_docs)]

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use reqwest::Client;
use tests::calls::{Got, judge, post};
use tests::deployment::{Deployment, Kind, Tweaks};
use tests::newlines::newlines_to_spaces;

/// Requests of a batch; as many seal it.
const LINES: usize = 8;
/// Stands in a body for the marker that tells it from all others.
const MARKER: &str = "@marker@";

/// White space between tokens.
fn space() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => Just(String::new()),
        2 => Just(" ".to_owned()),
        2 => select(vec!["\n", "\r\n", "\r", "\n    ", "\t", "\n\n\r\n \t"]).prop_map(str::to_owned),
    ]
}

/// A string as it may stand in JSON: any character, raw or escaped in one of several ways.
fn string() -> impl Strategy<Value = String> {
    let escaped = select(vec![
        r"\n",
        r"\r",
        r"\t",
        r"\b",
        r"\f",
        r"\/",
        r"\\",
        "\\\"",
        r"\u2028",
        r"\u000a",
        r"\u0000",
        r"\uD83D\uDE00",
        r"\uABcd",
    ]);
    let awkward = select(vec![
        "\u{2028}",
        "\u{2029}",
        "\u{85}",
        "\u{feff}",
        "\u{7f}",
        "\u{10ffff}",
        "é",
        "e\u{301}",
        "😀",
        "{",
        "}",
        "[",
        ",",
        ":",
    ]);
    let piece = prop_oneof![
        4 => any::<char>().prop_map(raw_or_escaped),
        2 => escaped.prop_map(str::to_owned),
        2 => awkward.prop_map(str::to_owned),
        2 => "[ -~]{0,20}".prop_map(|text| text.chars().map(raw_or_escaped).collect()),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

/// A character, escaped only where JSON wants it.
fn raw_or_escaped(c: char) -> String {
    match c {
        '"' | '\\' => format!("\\{c}"),
        c if c < ' ' => format!("\\u{:04X}", u32::from(c)),
        c => c.into(),
    }
}

/// Numbers that a double does not hold, or prints in another way.
fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        "-?[1-9][0-9]{15,60}",
        "-?(0|[1-9][0-9]{0,4})(\\.[0-9]{1,25})?([eE][+-]?[0-9]{1,4})?",
        select(vec!["1e400", "-1E-400", "-0", "-0.0", "1.0", "1.10", "9007199254740993", "1E+2"])
            .prop_map(str::to_owned),
    ]
}

/// Any JSON value, printed in any way.
fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        3 => string(),
        3 => number(),
        1 => select(vec!["null", "true", "false", "[]", "{}"]).prop_map(str::to_owned),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        let item =
            (space(), inner.clone(), space()).prop_map(|(before, value, after)| before + &value + &after);
        prop_oneof![
            prop::collection::vec(item, 0..6).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(member(string(), inner), 0..6)
                .prop_map(|all| format!("{{{}}}", all.join(","))),
        ]
    })
}

fn member(
    name: impl Strategy<Value = String>,
    value: impl Strategy<Value = String>,
) -> impl Strategy<Value = String> {
    (space(), name, space(), space(), value, space())
        .prop_map(|(a, name, b, c, value, d)| format!("{a}{name}{b}:{c}{value}{d}"))
}

/// A body with what a chat completion needs, among members that nobody knows, some of them twice.
fn body() -> impl Strategy<Value = String> {
    // Few names, so that many are there twice; none that means something to the provider.
    let name = prop_oneof![
        3 => select(vec!["\"x-a\"", "\"x-b\"", "\"Model\"", "\"\\u006dodel_\""]).prop_map(str::to_owned),
        1 => string().prop_map(|name| format!("\"x-{}", &name[1..])),
    ];
    let content = string().prop_map(|text| format!("\"echo:{MARKER} {}", &text[1..]));
    let message = (
        member(Just("\"role\"".into()), Just("\"user\"".into())),
        member(Just("\"content\"".into()), content),
    )
        .prop_map(|(role, content)| format!("[{{{role},{content}}}]"));
    let needed = (
        member(
            Just("\"model\"".into()),
            select(vec!["\"gpt-4o-mini\"", "\"gpt-\\u0034o-mini\""]).prop_map(str::to_owned),
        ),
        member(Just("\"messages\"".into()), message),
    );
    (needed, prop::collection::vec(member(name, value()), 0..6), any::<u64>(), space(), space()).prop_map(
        |((model, messages), mut members, order, before, after)| {
            for (i, needed) in [model, messages].into_iter().enumerate() {
                let place = (order >> (16 * i)) as usize % (members.len() + 1);
                members.insert(place, needed);
            }
            format!("{before}{{{}}}{after}", members.join(","))
        },
    )
}

/// Sends the bodies as one batch and compares what the provider received.
async fn check(deployment: &Deployment, client: &Client, bodies: &[String]) -> Result<(), TestCaseError> {
    static SENT: AtomicUsize = AtomicUsize::new(0);
    let calls = bodies.iter().map(|body| {
        let marker = format!("line-{}", SENT.fetch_add(1, Ordering::Relaxed));
        let body = body.replace(MARKER, &marker);
        async move {
            let sent =
                post(client, &deployment.base_url(), "chat/completions", "sk-fidelity", body.clone()).await;
            (marker, body, sent)
        }
    });
    let answered = join_all(calls).await;
    let received: HashMap<_, _> =
        deployment.simulator.ledger().into_iter().map(|entry| (entry.marker.clone(), entry)).collect();
    for (marker, body, sent) in answered {
        let (status, answer) = sent.map_err(|error| TestCaseError::fail(format!("{error:#}\n{body}")))?;
        let got = judge(status, &answer, &marker)
            .map_err(|error| TestCaseError::fail(format!("{error:#}\n{body}")))?;
        prop_assert_eq!(got, Got::Own, "{} {:?}", body, answer);
        let entry = &received[&Some(marker.as_str().into())];
        let line = std::str::from_utf8(entry.body.as_ref().unwrap()).unwrap();
        // What stands around the object is not part of the line's value.
        let sent = newlines_to_spaces(&body);
        prop_assert_eq!(line, sent.trim_matches([' ', '\t']));
        prop_assert!(entry.batch.is_some(), "it was relayed");
    }
    Ok(())
}

fn holds(kind: Kind, cases: u32) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // Sealed by count: nothing depends on time. The window is for the last tries of a failure that is made smaller.
    let tweaks =
        Tweaks { batcher: vec!["--window=5s", "--idle=2s", "--max-requests=8"], ..Tweaks::default() };
    let config =
        simulator::Config { creates_per_hour: 100_000, uploads_per_minute: 100_000, ..Default::default() };
    let deployment = runtime.block_on(Deployment::start(kind, config, tweaks)).unwrap();
    let client = Client::builder().no_proxy().build().unwrap();
    let seed: u64 =
        std::env::var("LLM_PROXY_E2E_SEED").map_or_else(|_| rand_seed(), |seed| seed.parse().unwrap());
    println!("LLM_PROXY_E2E_SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = proptest::test_runner::TestRng::from_seed(Default::default(), &bytes);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 40, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, rng);
    let result = runner.run(&prop::collection::vec(body(), LINES), |bodies| {
        runtime.block_on(check(&deployment, &client, &bodies))
    });
    result.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    drop(client);
    runtime.block_on(deployment.stop()).unwrap().check().unwrap();
}

/// A seed that differs from run to run.
fn rand_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}

#[test]
fn bodies_arrive_as_sent_in_one_process() {
    holds(Kind::Embedded, 64);
}

#[test]
fn bodies_arrive_as_sent_over_nats() {
    holds(Kind::Nats, 32);
}
