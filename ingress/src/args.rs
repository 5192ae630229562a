//! The ingress's own flags.

use std::net::SocketAddr;

use common::args::parse_bytes;

/// Where calls come in and how many may wait.
#[derive(Debug, Clone, clap::Args)]
#[group(id = "ingress_args")]
#[command(next_help_heading = "Ingress")]
pub struct Args {
    /// Address to take calls on
    #[arg(long, env = "LLM_PROXY_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:3030")]
    pub listen: SocketAddr,

    /// Most requests held at a time; more get 429 with Retry-After
    #[arg(long, env = "LLM_PROXY_MAX_HELD", value_name = "COUNT", default_value_t = 100_000)]
    pub max_held: usize,

    /// Most bytes of request bodies held at a time; more get 429 with Retry-After
    #[arg(long, env = "LLM_PROXY_MAX_HELD_BYTES", value_name = "SIZE", default_value = "4GB", value_parser = parse_bytes)]
    pub max_held_bytes: u64,

    /// Longest request body; a longer one gets 413
    #[arg(long, env = "LLM_PROXY_MAX_BODY", value_name = "SIZE", default_value = "50MB", value_parser = parse_max_body)]
    pub max_body: u64,
}

/// A body must fit into one batch of a provider, whatever the flags say.
fn parse_max_body(text: &str) -> Result<u64, String> {
    let most = common::caps::OPENAI.max_bytes - common::caps::OPENAI.line_overhead;
    match parse_bytes(text)? {
        0 => Err("it must be at least 1 byte".into()),
        bytes if bytes > most => Err(format!("a provider takes at most {most} bytes in one batch")),
        bytes => Ok(bytes),
    }
}
