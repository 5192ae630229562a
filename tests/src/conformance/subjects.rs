//! The providers.

use std::convert::identity;

use providers::Caps;

use super::case::Due;
use super::subject::{Subject, Unlike};

const NO_OVERLOAD: Unlike = Unlike::Nothing("has no status beyond 429 that says that nothing was done");
const NEVER_EXPIRES: Unlike = Unlike::Nothing("lets no batch expire");
const ALL_OR_NOTHING: Unlike = Unlike::Otherwise(
    Due::Rest { own: 0, status: 500, says: "no_result_line" },
    "a job that expired has no results, whatever it counts as done: all callers get the error",
);

const BY_FILE: Unlike = Unlike::Nothing(
    "a call that is refused for one of its requests is followed by a file, of which each line fails alone",
);

const OPENAI: Subject = Subject {
    name: "openai",
    known: None,
    provider: "openai",
    base: "/v1",
    path: "/v1/chat/completions",
    key: ("authorization", "Bearer sk-"),
    headers: &[],
    models: &[],
    body: (r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":""#, r#""}]}"#),
    text: "/choices/0/message/content",
    caps: identity,
    by_file: true,
    results_in_job: false,
    overloaded: None,
    invalid: 400,
    unlike: &[("create, overloaded at first", NO_OVERLOAD)],
    only: "",
};

const ANTHROPIC: Subject = Subject {
    name: "anthropic",
    known: None,
    provider: "anthropic",
    base: "",
    path: "/v1/messages",
    key: ("x-api-key", "sk-ant-"),
    headers: &[("anthropic-version", "2023-06-01")],
    models: &[],
    body: (
        r#"{"model":"claude-haiku-4-5","max_tokens":64,"messages":[{"role":"user","content":""#,
        r#""}]}"#,
    ),
    text: "/content/0/text",
    caps: identity,
    by_file: false,
    results_in_job: false,
    overloaded: Some(529),
    invalid: 400,
    unlike: &[],
    only: "",
};

const GEMINI: Subject = Subject {
    name: "gemini",
    known: None,
    provider: "gemini",
    base: "",
    path: "/v1beta/models/gemini-2.5-flash:generateContent",
    key: ("x-goog-api-key", "AIza"),
    headers: &[],
    models: &[],
    body: (r#"{"contents":[{"role":"user","parts":[{"text":""#, r#""}]}]}"#),
    text: "/candidates/0/content/parts/0/text",
    caps: identity,
    by_file: false,
    results_in_job: true,
    overloaded: Some(503),
    invalid: 400,
    unlike: &[("expired with some done", ALL_OR_NOTHING), ("create refused, 400", BY_FILE)],
    only: "",
};

/// An API made after OpenAI's, without what only that one has.
const ALIKE: Subject = Subject {
    key: ("authorization", "Bearer "),
    body: (r#"{"model":"gpt-4o","messages":[{"role":"user","content":""#, r#""}]}"#),
    ..OPENAI
};

const COMPATIBLE: Subject = Subject {
    name: "compatible",
    provider: "openai-compatible",
    base: "/compat/v1",
    key: ("authorization", "Bearer ck-"),
    ..ALIKE
};

/// Every provider, and every way by which requests reach it.
pub static SUBJECTS: &[Subject] = &[
    OPENAI,
    ANTHROPIC,
    GEMINI,
    Subject {
        name: "gemini by file",
        unlike: &[("expired with some done", ALL_OR_NOTHING)],
        caps: |caps| Caps { inline_bytes: 0, ..caps },
        by_file: true,
        results_in_job: false,
        ..GEMINI
    },
    Subject {
        name: "azure",
        provider: "azure",
        base: "/azure/openai/v1",
        // As `AzureOpenAI` of OpenAI's SDKs calls it; its deployment takes no batches.
        path: "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21",
        models: &[("gpt-4o", "gpt-4o-batch")],
        key: ("api-key", ""),
        unlike: &[
            ("create, overloaded at first", NO_OVERLOAD),
            ("expired with some done", NEVER_EXPIRES),
            ("expired with nothing done", NEVER_EXPIRES),
        ],
        ..ALIKE
    },
    Subject {
        name: "groq",
        provider: "groq",
        base: "/groq/openai/v1",
        key: ("authorization", "Bearer gsk_"),
        ..ALIKE
    },
    Subject { name: "mistral", provider: "mistral", base: "/mistral/v1", invalid: 422, ..ALIKE },
    Subject {
        name: "xai",
        provider: "xai",
        base: "/xai/v1",
        key: ("authorization", "Bearer xai-"),
        unlike: &[("create, overloaded at first", NO_OVERLOAD)],
        ..ALIKE
    },
    Subject { name: "together", provider: "together", base: "/together/v1", ..ALIKE },
    Subject {
        name: "openrouter",
        provider: "openrouter",
        base: "/openrouter/api/v1",
        key: ("authorization", "Bearer sk-or-"),
        by_file: false,
        results_in_job: true,
        unlike: &[
            ("create, overloaded at first", NO_OVERLOAD),
            ("callers leave, job cancelled", Unlike::Nothing("cannot cancel")),
        ],
        ..ALIKE
    },
    COMPATIBLE,
    Subject {
        // It does not show its jobs' metadata.
        name: "compat unmarked",
        only: "create answer lost",
        base: "/unmarked/v1",
        key: ("authorization", "Bearer um-"),
        ..COMPATIBLE
    },
    Subject {
        // Nor their input files.
        name: "compat mute",
        only: "create answer lost",
        base: "/mute/v1",
        key: ("authorization", "Bearer mu-"),
        ..COMPATIBLE
    },
];
