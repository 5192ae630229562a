//! The flags that say where providers are.

use std::path::PathBuf;

use common::args::parse_base_url;

/// The file with more upstreams.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Upstreams")]
pub struct ConfigArgs {
    /// File with more upstreams, and with other settings for those that are built in (TOML)
    ///
    /// A table [upstreams.NAME] for each, NAME of lower case letters, digits and -, with base_url = "https://host/v1", and if
    /// wanted provider = "openai-compatible" or the name of a built-in one, such as "azure"; max_lines, max_bytes,
    /// price_percent, poll_min = "5s", polls_per_minute, window = "24h", and
    /// endpoints = ["/v1/chat/completions"]. A table [upstreams.NAME.models] names the model of batches for each that callers
    /// name, as "gpt-4o" = "gpt-4o-batch": Azure has other deployments for batches. A table [prices."PROVIDER/MODEL"] sets what a model
    /// costs in US dollars for a million tokens: input, output, cached_input, batch_input, flex_output and so on. All services need
    /// the same file. It goes before the flags.
    #[arg(long, env = "LLM_PROXY_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Where the providers are.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Upstreams")]
pub struct UpstreamArgs {
    /// Base URL of the OpenAI API, or of one that speaks like it
    ///
    /// With its version, without a slash at its end; for example https://eu.api.openai.com/v1.
    #[arg(long, env = "LLM_PROXY_OPENAI_URL", value_name = "URL", default_value = "https://api.openai.com/v1", value_parser = parse_base_url)]
    pub openai_url: String,

    /// Base URL of the Anthropic API
    #[arg(long, env = "LLM_PROXY_ANTHROPIC_URL", value_name = "URL", default_value = "https://api.anthropic.com", value_parser = parse_base_url)]
    pub anthropic_url: String,

    /// Base URL of the Gemini API
    #[arg(long, env = "LLM_PROXY_GEMINI_URL", value_name = "URL", default_value = "https://generativelanguage.googleapis.com", value_parser = parse_base_url)]
    pub gemini_url: String,

    #[command(flatten)]
    /// The file with more of them.
    pub config: ConfigArgs,
}
