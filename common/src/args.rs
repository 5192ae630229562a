//! Command line arguments that several roles share, and the parsers of their values.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

/// How to reach the bus.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Bus")]
pub struct BusArgs {
    /// NATS servers, separated by commas, as nats://host:4222 or tls://user:password@host:4222
    ///
    /// The first may have a user and password, or a token. Give a URL with them by the variable: the flags of a process
    /// are seen by every user of the machine.
    ///
    /// The services find and reach each other through them. They may be away at the start or later: llm-proxy
    /// connects again, and calls wait.
    #[arg(long, env = "LLM_PROXY_NATS", value_name = "URL", hide_env_values = true)]
    pub nats: Option<String>,

    /// NATS credentials file (JWT and seed)
    #[arg(long, env = "LLM_PROXY_NATS_CREDENTIALS", value_name = "FILE")]
    pub nats_credentials: Option<PathBuf>,

    /// File that holds an nkey seed
    #[arg(long, env = "LLM_PROXY_NATS_NKEY", value_name = "FILE")]
    pub nats_nkey: Option<PathBuf>,

    /// Certificate authorities to trust for NATS (PEM)
    #[arg(long, env = "LLM_PROXY_NATS_CA", value_name = "FILE")]
    pub nats_ca: Option<PathBuf>,

    /// Client certificate for NATS (PEM)
    #[arg(long, env = "LLM_PROXY_NATS_CERT", value_name = "FILE", requires = "nats_key")]
    pub nats_cert: Option<PathBuf>,

    /// Private key of the client certificate (PEM)
    #[arg(long, env = "LLM_PROXY_NATS_KEY", value_name = "FILE", requires = "nats_cert")]
    pub nats_key: Option<PathBuf>,

    /// Let a bus on another machine be one without a login
    ///
    /// Without this, --nats has to name servers on this machine only, or come with a user and password in its URL,
    /// --nats-credentials, --nats-nkey or --nats-cert: else whoever reaches the servers can take part. Prompts, answers
    /// and keys are sealed all the same.
    #[arg(long, env = "LLM_PROXY_INSECURE_BUS")]
    pub insecure_bus: bool,

    /// First token of all subjects; deployments with different prefixes do not see each other
    #[arg(long, env = "LLM_PROXY_SUBJECT_PREFIX", value_name = "TOKEN", default_value = "llmp", value_parser = parse_subject_prefix)]
    pub subject_prefix: String,
}

/// Where the cluster secret comes from, besides the variable `LLM_PROXY_CLUSTER_SECRET`. Never from a flag: those
/// are seen by every user of the machine.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Bus")]
pub struct SecretArgs {
    /// File with the secret that all ingresses and submitters on one NATS share, at least 32 bytes
    ///
    /// A line end after the secret does not count. The variable LLM_PROXY_CLUSTER_SECRET goes before the file. Needed
    /// on NATS only; `openssl rand -hex 32` makes a good one.
    #[arg(long, env = "LLM_PROXY_CLUSTER_SECRET_FILE", value_name = "FILE")]
    pub cluster_secret_file: Option<PathBuf>,
}

/// How a role ends.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Shutdown")]
pub struct DrainArgs {
    /// How long to go on after SIGTERM or Ctrl-C to finish what is under way
    #[arg(long, env = "LLM_PROXY_DRAIN_TIMEOUT", value_name = "DURATION", default_value = "30s", value_parser = parse_duration)]
    pub drain_timeout: Duration,
}

/// Routes for operators.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Observability")]
pub struct AdminArgs {
    /// Serve /healthz, /readyz and, where calls are taken, /stats on an address of their own
    ///
    /// Without it a batcher and a submitter open no port, and an ingress has these routes on --listen only. With
    /// it they are gone from --listen. No access token is asked for there, and no key and no content is shown.
    #[arg(long, env = "LLM_PROXY_ADMIN_LISTEN", value_name = "ADDRESS")]
    pub admin_listen: Option<SocketAddr>,
}

/// Logs, on standard error.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Observability")]
pub struct LogArgs {
    /// What to log: tracing's filter directives, as info, trace or llm_proxy=debug
    ///
    /// llm_proxy stands for all of llm-proxy's own parts. Libraries that would print headers or bodies say no more than
    /// info, whatever is asked for.
    #[arg(long, env = "LLM_PROXY_LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,

    /// How log lines look
    #[arg(long, env = "LLM_PROXY_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
}

/// Values of `--log-format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Lines for people
    Text,
    /// One JSON object a line
    Json,
}

/// Parses "4s", "10m" or "1h 30m".
///
/// # Errors
/// What is wrong with the text and how it should look.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let bad = |why: String| format!("not a duration ({why}); write it as 250ms, 4s, 10m or 1h");
    let duration: jiff::SignedDuration = text.parse().map_err(|e: jiff::Error| bad(e.to_string()))?;
    Duration::try_from(duration).map_err(|_| bad("it is negative".into()))
}

/// Parses "25MB", "512KiB" or a number of bytes.
///
/// # Errors
/// What is wrong with the text and how it should look.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let size: Result<bytesize::ByteSize, _> = text.parse();
    size.map(|size| size.as_u64())
        .map_err(|why| format!("not a size ({why}); write it as 500KB, 25MB or 4GB"))
}

/// Parses the base URL of a provider; a slash at its end is dropped.
///
/// # Errors
/// What is wrong with the text and how it should look.
pub fn parse_base_url(text: &str) -> Result<String, String> {
    let bad = |why: &str| format!("{why}; write it as https://host/v1");
    let uri: http::Uri = text.parse().map_err(|e: http::uri::InvalidUri| bad(&e.to_string()))?;
    match uri.scheme_str() {
        Some("http" | "https") => {}
        _ => return Err(bad("it must begin with http:// or https://")),
    }
    if uri.authority().is_none_or(|authority| authority.as_str().contains('@')) {
        return Err(bad("it must name a host, and no user"));
    }
    if uri.query().is_some() || text.contains('#') {
        return Err(bad("it must end with its path"));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

fn parse_subject_prefix(text: &str) -> Result<String, String> {
    let token = |token: &str| {
        !token.is_empty() && token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    match text.split('.').all(token) {
        true => Ok(text.to_owned()),
        false => Err("use letters, digits, - and _, with dots between tokens".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(parse_duration("4s"), Ok(Duration::from_secs(4)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("1h 30m"), Ok(Duration::from_secs(5400)));
        for bad in ["", "4", "soon", "-4s"] {
            assert!(parse_duration(bad).unwrap_err().contains("write it as"), "{bad:?}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(parse_bytes("25MB"), Ok(25_000_000));
        assert_eq!(parse_bytes("1KiB"), Ok(1024));
        assert_eq!(parse_bytes("7"), Ok(7));
        assert!(parse_bytes("big").is_err());
    }

    #[test]
    fn base_urls() {
        assert_eq!(parse_base_url("http://127.0.0.1:4010/v1/"), Ok("http://127.0.0.1:4010/v1".into()));
        for bad in [
            "",
            "host/v1",
            "ftp://host",
            "https://",
            "https://user:pw@host/v1",
            "https://host/v1?key=1",
            "https://host/#x",
        ] {
            assert!(parse_base_url(bad).unwrap_err().contains("https://host/v1"), "{bad:?}");
        }
    }

    #[test]
    fn subject_prefixes() {
        assert!(parse_subject_prefix("llmp").is_ok() && parse_subject_prefix("team-a.llmp").is_ok());
        for bad in ["", ".", "a..b", "a.*", "a b", ">"] {
            assert!(parse_subject_prefix(bad).is_err(), "{bad:?}");
        }
    }
}
