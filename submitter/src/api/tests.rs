//! The client against a server of bytes, and the codec against generated texts.

mod calls;
mod content;
mod listing;
mod once;
mod properties;
mod server;
mod upload;

use providers::{Call, Caps, NewJob, Upstream};

use super::{Client, Credential, Http};

const KEY: &str = "sk-test-0123456789abcdef";

fn client(base: &str) -> Client {
    Client::new(&Http::new().unwrap(), &upstream(base)).unwrap()
}

fn upstream(base: &str) -> Upstream {
    Upstream {
        name: "openai".into(),
        provider: &providers::openai::OpenAi,
        base_url: base.into(),
        caps: Caps::OPENAI,
        endpoints: providers::openai::ENDPOINTS.to_vec(),
        models: std::collections::BTreeMap::new(),
        is_own_host: false,
    }
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
