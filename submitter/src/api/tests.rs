//! The client against a server of bytes, and the codec against generated texts.

mod calls;
mod content;
mod listing;
mod once;
mod properties;
mod server;
mod upload;

use providers::{Call, NewJob, Upstream};

use super::{Client, Credential, Http};

const KEY: &str = "sk-test-0123456789abcdef";

fn client(base: &str) -> Client {
    Client::new(&Http::new().unwrap(), &upstream(base)).unwrap()
}

fn upstream(base: &str) -> Upstream {
    Upstream::of(&providers::openai::OpenAi, "openai", base)
}

const NEW: NewJob<'static> = NewJob { endpoint: "/v1/responses", model: "m", batch: "b" };

fn content() -> Call {
    Call::get(["files", "file-1", "content"])
}

fn credential() -> Credential {
    let mut headers = Credential::bearer(KEY).unwrap().headers().clone();
    headers.insert("openai-project", http::HeaderValue::from_static("proj_1"));
    Credential::new(headers)
}
