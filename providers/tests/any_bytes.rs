//! Whatever a provider answers, reading it does not panic, and what is read keeps its promises.

use proptest::prelude::*;
use providers::{ALL, Call, Line, Provider};

/// Words that answers are made of, so that arbitrary texts come near to real ones.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "id",
            "batch_id",
            "data",
            "value",
            "batches",
            "results",
            "error",
            "errors",
            "message",
            "code",
            "status",
            "state",
            "num_requests",
            "num_pending",
            "cancel_time",
            "create_time",
            "created_at",
            "total",
            "total_requests",
            "succeeded_requests",
            "failed_requests",
            "input_files",
            "metadata",
            "llmp_bid",
            "job",
            "custom_id",
            "batch_request_id",
            "batch_result",
            "response",
            "status_code",
            "body",
            "has_more",
            "last_id",
            "pagination_token",
            "SUCCESS",
            "FAILED",
            "completed",
            "2026-11-29",
            "batch_expired",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,6}",
    ]
}

/// JSON of such words.
fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        word().prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::vec((word(), inner), 0..6)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

fn read_all(provider: &dyn Provider, body: &[u8]) {
    let asked = Call::get(["batches", "b", "results"]);
    for job in [provider.read_job(body), provider.read_created(body)].into_iter().flatten() {
        assert!(!job.id.is_empty());
    }
    for after in [None, Some(""), Some("18446744073709551615")] {
        let _ = provider.read_jobs(body, after);
        let _ = provider.read_files(body, after);
    }
    if let Ok(file) = provider.read_file(body) {
        assert!(!file.id.is_empty());
    }
    if let Ok(part) = provider.read_document(&asked, body) {
        part.elements.iter().for_each(|element| drop(provider.read_result(element)));
    }
    if let Ok(line) = provider.read_result(body) {
        assert!(!line.custom_id.is_empty());
    }
    for status in [400, 404, 503] {
        let _ = (provider.is_missing_file(status, body), provider.refuses(status, body));
    }
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        ALL.iter().for_each(|provider| read_all(*provider, &bytes));
    }

    #[test]
    fn no_json_makes_a_reader_panic(value in json(), cut in any::<prop::sample::Index>()) {
        let text = value.to_string();
        ALL.iter().for_each(|provider| read_all(*provider, text.as_bytes()));
        ALL.iter().for_each(|provider| read_all(*provider, &text.as_bytes()[..cut.index(text.len())]));
    }

    #[test]
    fn a_line_is_as_long_as_it_was_said_to_be(id in "[A-Za-z0-9_-]{1,64}", inline in any::<bool>(), number in any::<u64>()) {
        for provider in ALL {
            let about = provider.about();
            let inline = inline && about.caps.inline_bytes > 0;
            let body = format!("{{\r\n\"n\": {number}}}");
            for endpoint in about.endpoints {
                let line = Line { custom_id: &id, endpoint, inline, body: body.as_bytes() };
                let mut out = Vec::new();
                provider.encode_line(&mut out, &line);
                prop_assert_eq!(out.len(), provider.line_len(&line, body.len()), "{}", about.name);
                prop_assert!(serde_json::from_slice::<serde_json::Value>(&out).is_ok());
            }
        }
    }
}

#[test]
fn names_can_stand_in_a_url_and_none_is_there_twice() {
    let name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let names: std::collections::BTreeSet<&str> = ALL.iter().map(|provider| provider.about().name).collect();
    assert_eq!(names.len(), ALL.len());
    assert!(names.iter().all(|text| !text.is_empty() && text.bytes().all(name)));
}
