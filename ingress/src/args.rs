//! The ingress's own flags.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use common::args::{parse_bytes, parse_duration};

/// Where calls come in and how many may wait.
#[derive(Debug, Clone, clap::Args)]
#[group(id = "ingress_args")]
#[command(next_help_heading = "Ingress")]
pub struct Args {
    /// Address to take calls on
    #[arg(long, env = "LLM_PROXY_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:3030")]
    pub listen: SocketAddr,

    /// Certificate chain of --listen (PEM): calls come over TLS then, HTTP/2 and HTTP/1.1
    ///
    /// Both files are read again every 5 seconds and at SIGHUP, so that a renewed certificate is served from then on.
    #[arg(long, env = "LLM_PROXY_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// Private key of the certificate (PEM)
    #[arg(long, env = "LLM_PROXY_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,

    /// A proxy that does TLS is in front, or the network is trusted: no warning that calls come in the clear
    #[arg(long, env = "LLM_PROXY_BEHIND_PROXY")]
    pub behind_proxy: bool,

    /// Take calls only from who sends one of llm-proxy's own access tokens, in the header x-llm-proxy-token
    ///
    /// Others get 401. The tokens come from --token-file, the variable LLM_PROXY_TOKENS, or both, one a line: any 16 to
    /// 1024 visible ASCII characters, for example the output of `openssl rand -hex 32`. They are needed for /stats on
    /// --listen too, not for /healthz and /readyz. The header is never passed on.
    #[arg(long, env = "LLM_PROXY_REQUIRE_TOKEN")]
    pub require_token: bool,

    /// File with access tokens, one a line; lines that begin with # do not count
    ///
    /// Read again every 5 seconds and at SIGHUP: tokens can be added and taken away while llm-proxy runs. If it cannot be
    /// read then, or holds no token, the tokens of before stay in force and the log says so.
    #[arg(long, env = "LLM_PROXY_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// Most requests held at a time; more get 429 with Retry-After
    #[arg(long, env = "LLM_PROXY_MAX_HELD", value_name = "COUNT", default_value_t = 100_000)]
    pub max_held: usize,

    /// Most requests held at a time with one key; more get 429 with Retry-After
    ///
    /// Without it one key may hold seven eighths of --max-held where nobody else holds anything. In any case a key may hold
    /// at most seven times what is still free, so that there is always room for others; the bytes of bodies, requests that
    /// are being received and relayed requests are shared out in the same way. A key is whatever a caller shows the provider,
    /// as in the lines authorization and openai-project: against strangers who invent keys, use --require-token.
    #[arg(long, env = "LLM_PROXY_MAX_HELD_PER_KEY", value_name = "COUNT", value_parser = parse_count)]
    pub max_held_per_key: Option<usize>,

    /// Most bytes of request bodies held at a time; more get 429 with Retry-After
    #[arg(long, env = "LLM_PROXY_MAX_HELD_BYTES", value_name = "SIZE", default_value = "4GB", value_parser = parse_bytes)]
    pub max_held_bytes: u64,

    /// Longest request body; a longer one gets 413
    #[arg(long, env = "LLM_PROXY_MAX_BODY", value_name = "SIZE", default_value = "50MB", value_parser = parse_max_body)]
    pub max_body: u64,

    /// Most connections at a time; further ones wait until one ends [default: --max-held and 1000 more]
    ///
    /// Never more than the limit of open files allows. A connection belongs to no key before its first request, and may
    /// carry requests of several: there is no share of connections. Also the most requests that are being relayed, and of
    /// these each key has its share.
    #[arg(long, env = "LLM_PROXY_MAX_CONNECTIONS", value_name = "COUNT", value_parser = parse_count)]
    pub max_connections: Option<usize>,

    /// How long a request waits for a caller that went away: a repetition takes it up. Then it is dropped if it was not
    /// submitted yet; a job that nobody has waited for so long is cancelled
    #[arg(long, env = "LLM_PROXY_REATTACH_WINDOW", value_name = "DURATION", default_value = "30s", value_parser = parse_duration)]
    pub reattach_window: Duration,

    /// How long an answer that no caller received is kept, in memory, for the same request sent again
    #[arg(long, env = "LLM_PROXY_KEEP_ANSWERS", value_name = "DURATION", default_value = "24h", value_parser = parse_duration)]
    pub keep_answers: Duration,

    /// Most bytes of such answers; those go first that would soonest be forgotten anyhow
    #[arg(long, env = "LLM_PROXY_KEEP_ANSWERS_BYTES", value_name = "SIZE", default_value = "256MB", value_parser = parse_bytes)]
    pub keep_answers_bytes: u64,

    /// Keep the status of waiting calls open with '102 Processing' instead of beginning a 200, for callers that are known
    /// to take it and that connect directly: errors keep their status however late they come. Not behind nginx
    #[arg(long, env = "LLM_PROXY_HOLD_STATUS")]
    pub hold_status: bool,

    /// What becomes of calls whose batch the provider refuses because the key or the model may have none (401, 403, 404)
    ///
    /// sync makes each of them alone at the full price, and those of the same key, endpoint and model that come within ten minutes;
    /// their answers say so with x-llm-proxy-route: sync and x-llm-proxy-relay-reason: unbatchable, and /stats counts them. Streams
    /// come at their end. error answers with the refusal.
    #[arg(long, env = "LLM_PROXY_WHEN_UNBATCHABLE", value_name = "WHAT", default_value = "sync")]
    pub when_unbatchable: WhenUnbatchable,

    /// Whether calls are batched
    ///
    /// observe relays all of them at the full price, as they come, and reports under `observe` in /stats how many batches they would
    /// have made and what those would have saved: to decide before switching.
    #[arg(long, env = "LLM_PROXY_MODE", value_name = "MODE", default_value = "auto")]
    pub mode: Mode,

    /// How long after its arrival the batch of a request is given up; a request may say another with x-llm-proxy-deadline
    ///
    /// Its job is cancelled then. What it has finished is answered by the batch; each other request is made alone: at the price of a
    /// batch where the provider has a tier for that (flex: OpenAI, Gemini, Azure), else, or when there is no room, at the full price.
    /// A request leaves its batch only when the provider has ended it, which may take ten minutes more (see --deadline-hard). Where
    /// most batches of a model of late took longer than a request would wait, it is made alone at once. x-llm-proxy-mode says which of
    /// all this a request allows: auto; batch, which gets 504 at its deadline; flex; sync. [default: batches are waited for]
    #[arg(long, env = "LLM_PROXY_DEADLINE", value_name = "DURATION", value_parser = parse_duration)]
    pub deadline: Option<Duration>,

    /// At the deadline, do not wait until the provider has ended the job: a request may be executed, and paid, by its batch too
    #[arg(long, env = "LLM_PROXY_DEADLINE_HARD")]
    pub deadline_hard: bool,

    /// How often a request goes into a later batch whose line failed with 429 or 5xx, expired, timed out, or has no result
    ///
    /// Each time after a longer wait. After the last the caller gets the status of the last. Other errors go to the caller at once.
    #[arg(long, env = "LLM_PROXY_LINE_RETRIES", value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub line_retries: u32,
}

/// Values of `--mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// Batch what can be batched
    Auto,
    /// Relay everything, and report what batches would save
    Observe,
}

/// Values of `--when-unbatchable`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum WhenUnbatchable {
    /// Make each call alone, at the full price
    Sync,
    /// Answer with the provider's refusal
    Error,
}

fn parse_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("it must be at least 1".into()),
        Ok(count) => Ok(count),
        Err(why) => Err(format!("not a number ({why}); write it as 1000")),
    }
}

/// A body must fit into one batch of a provider, whatever the flags say.
fn parse_max_body(text: &str) -> Result<u64, String> {
    let most = providers::Caps::OPENAI.max_bytes - providers::Caps::OPENAI.line_overhead;
    match parse_bytes(text)? {
        0 => Err("it must be at least 1 byte".into()),
        bytes if bytes > most => Err(format!("a provider takes at most {most} bytes in one batch")),
        bytes => Ok(bytes),
    }
}
