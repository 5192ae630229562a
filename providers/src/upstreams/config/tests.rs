use std::io::Write as _;

use super::*;
use crate::caps::{Caps, Marks};
use crate::{ConfigArgs, Upstreams};

fn load(text: &str) -> Result<Upstreams, ConfigError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    Upstreams::configured(&ConfigArgs { config: Some(file.path().to_owned()) })
}

fn refused(text: &str) -> String {
    load(text).unwrap_err().to_string()
}

#[test]
fn an_upstream_is_compatible_unless_said_otherwise() {
    let all = load("[upstreams.deep-1]\nbase_url = \"https://api.example.com/v1/\"\n").unwrap();
    let one = all.get("deep-1").unwrap();
    assert_eq!((one.base_url.as_str(), one.provider.about().name), ("https://api.example.com/v1", PROVIDER));
    let caps = Caps { marks_jobs: Marks::Perhaps, ..Caps::OPENAI };
    assert_eq!((one.caps, one.endpoints()), (caps, &openai::ENDPOINTS[..]));
    assert!(all.get("openai").is_some() && all.get("azure").is_none());
}

#[test]
fn everything_can_be_set() {
    let all = load(
        r#"
        [upstreams.mine]
        base_url = "https://mine.openai.azure.com/openai/v1"
        provider = "azure"
        max_lines = 10
        max_bytes = 1_000
        price_percent = 60
        poll_min = "5m"
        polls_per_minute = 1
        window = "48h"
        endpoints = ["/v1/embeddings"]
        models = { "gpt-4o" = "gpt-4o-batch" }
        "#,
    );
    let all = all.unwrap();
    let mine = all.get("mine").unwrap();
    assert_eq!(mine.provider.about().name, "azure");
    let expected = Caps {
        max_lines: 10,
        max_bytes: 1000,
        batch_percent: Some(60),
        price_percent: 60,
        poll_min: Duration::from_secs(300),
        polls_per_minute: 1,
        window: Duration::from_secs(48 * 3600),
        ..mine.provider.about().caps
    };
    assert_eq!((mine.caps, all.caps("mine")), (expected, expected));
    assert_eq!(mine.endpoints(), ["/v1/embeddings"]);
    assert_eq!([mine.batched_model("gpt-4o"), mine.batched_model("gpt-5")], ["gpt-4o-batch", "gpt-5"]);
}

#[test]
fn a_built_in_one_keeps_what_is_not_said() {
    let all =
        load("[upstreams.groq]\nmax_lines = 7\n[upstreams.xai]\nbase_url = \"http://127.0.0.1:1/v1\"\n")
            .unwrap();
    let (groq, xai) = (all.get("groq").unwrap(), all.get("xai").unwrap());
    assert_eq!((groq.caps.max_lines, groq.caps.max_bytes), (7, 95_000_000));
    assert_eq!(xai.provider.about().name, "xai");
}

#[test]
fn the_example_can_be_used() {
    let all = load(include_str!("../../../../examples/upstreams.toml")).unwrap();
    assert_eq!(all.get("azure").unwrap().batched_model("gpt-4o"), "gpt-4o-batch");
    assert!(all.get("deepinfra").is_some() && all.get("groq").is_some());
}

#[test]
fn what_is_wrong_is_named_with_what_is_right() {
    let url = "base_url = \"https://host/v1\"";
    for (text, key, right) in [
        (format!("[upstreams.a]\n{url}\nmax_linez = 1"), "max_linez", "max_lines"),
        (format!("[upstreams.a]\n{url}\nmax_lines = \"1\""), "line 3 (max_lines", "usize"),
        (format!("[upstreams.a]\n{url}\nmax_lines = 0"), "upstreams.a.max_lines", "1 or more"),
        (format!("[upstreams.a]\n{url}\nprice_percent = 300"), "price_percent", "u8"),
        (format!("[upstreams.a]\n{url}\npoll_min = \"5\""), "upstreams.a.poll_min", "write it as"),
        (format!("[upstreams.a]\n{url}\nwindow = \"0s\""), "upstreams.a.window", "write it as"),
        (format!("[upstreams.a]\n{url}\nprovider = \"b\""), "upstreams.a.provider", "openai-compatible"),
        (
            format!("[upstreams.a]\n{url}\nendpoints = [\"/v1/x\"]"),
            "upstreams.a.endpoints",
            "/v1/chat/completions",
        ),
        (format!("[upstreams.a]\n{url}\nendpoints = []"), "upstreams.a.endpoints", "/v1/chat/completions"),
        (format!("[upstreams.a]\n{url}\n[upstreams.a.models]\nm = \" \""), "upstreams.a.models", "1 to 256"),
        (format!("[upstreams.a]\n{url}\n[upstreams.a.models]\nm = 1"), "line 4 (m = 1", "string"),
        ("[upstreams.a]".into(), "upstreams.a.base_url", "https://host/v1"),
        ("[upstreams.azure]".into(), "upstreams.azure.base_url", "https://host/v1"),
        ("[upstreams.a]\nbase_url = \"host\"".into(), "upstreams.a.base_url", "https://host/v1"),
        (format!("[upstreams.A]\n{url}"), "\"A\"", "lower case"),
        (format!("[upstreams.v1]\n{url}"), "upstreams.v1", "taken"),
        ("[upstream.a]".into(), "upstream", "upstreams"),
        ("nonsense".into(), "line 1", "nonsense"),
    ] {
        let error = refused(&text);
        assert!(error.starts_with("--config /") && !error.contains('\n'), "{error}");
        assert!(error.contains(key) && error.contains(right), "{error}");
    }
}

#[test]
fn a_file_that_is_not_there_or_no_text_is_refused() {
    let args = ConfigArgs { config: Some("/nowhere/llm-proxy.toml".into()) };
    assert!(Upstreams::configured(&args).unwrap_err().to_string().contains("/nowhere/llm-proxy.toml"));
    assert!(refused(&"#".repeat(LONGEST as usize + 1)).contains("longer"));
    assert!(Upstreams::configured(&ConfigArgs::default()).is_ok());
}

#[test]
fn prices_are_read_beside_the_upstreams() {
    let all = load("[prices.\"groq/m\"]\ninput = 0.5\nbatch_input = \"0.25\"\n").unwrap();
    let table = pricing::Table::default().with(all.prices());
    assert!(table.prices("groq", "m", None).is_some_and(|prices| prices.has_tier(pricing::Tier::Batch)));
    assert!(refused("[prices.groq]\ninput = 1\n").contains("provider/model"));
    assert!(refused("[prices.\"groq/m\"]\ninput = -1\n").contains("input"));
}
