//! Command line of the simulator.

use std::time::Duration;

use bytesize::ByteSize;
use clap::Args as ClapArgs;
use jiff::fmt::friendly::SpanParser;

use crate::config::{Config, GeminiOutput};

/// Flags of the simulator, each with its environment twin.
#[derive(Debug, Clone, ClapArgs)]
pub struct Args {
    /// Address to listen on.
    #[arg(
        long,
        env = "LLM_PROXY_SIMULATOR_LISTEN",
        default_value = "127.0.0.1:4010",
        value_name = "HOST:PORT"
    )]
    pub listen: String,

    /// Decides ids, the order of result lines and jitter.
    #[arg(long, env = "LLM_PROXY_SIMULATOR_SEED", default_value_t = 1)]
    pub seed: u64,

    /// How long a batch stays 'validating'.
    #[arg(long, env = "LLM_PROXY_SIMULATOR_VALIDATE_TIME", default_value = "200ms", value_parser = duration)]
    pub validate_time: Duration,

    /// How long a batch stays 'in_progress'.
    #[arg(long, env = "LLM_PROXY_SIMULATOR_BATCH_TIME", default_value = "2s", value_parser = duration)]
    pub batch_time: Duration,

    /// Share of the batch time by which it varies, 0 to 1.
    #[arg(long, env = "LLM_PROXY_SIMULATOR_JITTER", default_value_t = 0.2, value_parser = share)]
    pub jitter: f64,

    /// Time added to a batch for each of its lines.
    #[arg(long, env = "LLM_PROXY_SIMULATOR_LINE_TIME", default_value = "0s", value_parser = duration)]
    pub line_time: Duration,

    /// How long a batch stays 'finalizing'.
    #[arg(long, env = "LLM_PROXY_SIMULATOR_FINALIZE_TIME", default_value = "200ms", value_parser = duration)]
    pub finalize_time: Duration,

    /// How long a batch stays 'cancelling'.
    #[arg(long, env = "LLM_PROXY_SIMULATOR_CANCEL_TIME", default_value = "500ms", value_parser = duration)]
    pub cancel_time: Duration,

    /// How long the completion window '24h' really is.
    #[arg(long, env = "LLM_PROXY_SIMULATOR_WINDOW_TIME", default_value = "24h", value_parser = duration)]
    pub window_time: Duration,

    /// How long a synchronous call takes.
    #[arg(long, env = "LLM_PROXY_SIMULATOR_SYNC_TIME", default_value = "0s", value_parser = duration)]
    pub sync_time: Duration,

    /// Put U+2028, emoji, escapes, odd spacing and odd numbers into answers.
    #[arg(long, env = "LLM_PROXY_SIMULATOR_AWKWARD_ANSWERS")]
    pub awkward_answers: bool,

    /// Give clean batches an error_file_id of "" instead of null.
    #[arg(long, env = "LLM_PROXY_SIMULATOR_EMPTY_STRING_FILE_IDS")]
    pub empty_string_file_ids: bool,

    /// Honour Range on downloads.
    #[arg(long, env = "LLM_PROXY_SIMULATOR_RANGES")]
    pub ranges: bool,

    /// Dimensions of an embedding when the request names none.
    #[arg(long, env = "LLM_PROXY_SIMULATOR_EMBEDDING_DIMENSIONS", default_value_t = 64)]
    pub embedding_dimensions: usize,

    /// Prompt tokens that one credential may have enqueued for a model ('*' for all others); repeatable.
    #[arg(
        long,
        env = "LLM_PROXY_SIMULATOR_ENQUEUED_TOKEN_LIMIT",
        value_name = "MODEL=TOKENS",
        value_delimiter = ',',
        value_parser = token_limit
    )]
    pub enqueued_token_limit: Vec<(String, u64)>,

    /// Batches one credential may create per hour.
    #[arg(long, env = "LLM_PROXY_SIMULATOR_CREATES_PER_HOUR", default_value_t = 2_000)]
    pub creates_per_hour: usize,

    /// Files one credential may upload per minute.
    #[arg(long, env = "LLM_PROXY_SIMULATOR_UPLOADS_PER_MINUTE", default_value_t = 1_000)]
    pub uploads_per_minute: usize,

    /// Largest input file.
    #[arg(long, env = "LLM_PROXY_SIMULATOR_MAX_FILE_SIZE", default_value = "200MB", value_name = "SIZE")]
    pub max_file_size: ByteSize,

    /// Most lines of an input file.
    #[arg(long, env = "LLM_PROXY_SIMULATOR_MAX_LINES", default_value_t = 50_000)]
    pub max_lines: usize,

    /// Where the operation of a Gemini batch tells its output.
    #[arg(long, env = "LLM_PROXY_SIMULATOR_GEMINI_OUTPUT", default_value = "both", value_enum)]
    pub gemini_output: GeminiOutput,

    /// Batches one Gemini key may have under way.
    #[arg(long, env = "LLM_PROXY_SIMULATOR_GEMINI_CONCURRENT_BATCHES", default_value_t = 100)]
    pub gemini_concurrent_batches: usize,

    /// Raw bodies kept in the ledger, in total; 0 keeps none.
    #[arg(long, env = "LLM_PROXY_SIMULATOR_KEEP_BODIES", default_value = "0B", value_name = "SIZE")]
    pub keep_bodies: ByteSize,

    /// Entries kept in the ledger.
    #[arg(long, env = "LLM_PROXY_SIMULATOR_KEEP_ENTRIES", default_value_t = 1_000_000)]
    pub keep_entries: usize,
}

impl From<Args> for Config {
    fn from(args: Args) -> Self {
        Self {
            listen: args.listen,
            seed: args.seed,
            validate_time: args.validate_time,
            batch_time: args.batch_time,
            jitter: args.jitter,
            line_time: args.line_time,
            finalize_time: args.finalize_time,
            cancel_time: args.cancel_time,
            window_time: args.window_time,
            sync_time: args.sync_time,
            awkward_answers: args.awkward_answers,
            empty_string_file_ids: args.empty_string_file_ids,
            ranges: args.ranges,
            embedding_dimensions: args.embedding_dimensions,
            enqueued_token_limits: args.enqueued_token_limit.into_iter().collect(),
            creates_per_hour: args.creates_per_hour,
            uploads_per_minute: args.uploads_per_minute,
            max_file_bytes: args.max_file_size.as_u64(),
            max_lines: args.max_lines,
            gemini_output: args.gemini_output,
            gemini_concurrent_batches: args.gemini_concurrent_batches,
            keep_bodies: args.keep_bodies.as_u64(),
            keep_entries: args.keep_entries,
        }
    }
}

/// Longest duration a flag takes; far from where sums of times could overflow.
const MAX_DURATION: Duration = Duration::from_secs(366 * 86_400);

fn duration(text: &str) -> Result<Duration, String> {
    static PARSER: SpanParser = SpanParser::new();
    let duration = PARSER
        .parse_unsigned_duration(text)
        .map_err(|error| format!("{error}; write it like 2s or 500ms"))?;
    if duration > MAX_DURATION { Err("longer than a year".to_owned()) } else { Ok(duration) }
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "not a number from 0 to 1".to_owned())
}

fn token_limit(text: &str) -> Result<(String, u64), String> {
    let (model, tokens) = text.split_once('=').ok_or("write it like gpt-4o=90000")?;
    let tokens = tokens.parse().map_err(|_| format!("'{tokens}' is not a number of tokens"))?;
    Ok((model.to_owned(), tokens))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory as _, Parser};

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn flags_are_consistent_and_have_env_twins() {
        Command::command().debug_assert();
        for flag in Command::command().get_arguments().filter(|flag| flag.get_id() != "help") {
            let long = flag.get_long().unwrap().replace('-', "_").to_uppercase();
            assert_eq!(flag.get_env().unwrap().to_str().unwrap(), format!("LLM_PROXY_SIMULATOR_{long}"));
        }
    }

    #[test]
    fn values_are_parsed_and_refused() {
        let parse =
            |flags: &[&str]| Command::try_parse_from([&["sim"], flags].concat()).map(|command| command.args);
        let args = parse(&["--batch-time", "1m 30s", "--enqueued-token-limit", "gpt-4o=5,*=9"]).unwrap();
        let config = Config::from(args);
        assert_eq!(config.batch_time, Duration::from_secs(90));
        assert_eq!(config.enqueued_token_limits["*"], 9);
        assert_eq!(config.max_file_bytes, 200_000_000);
        for bad in [
            ["--batch-time", "soon"],
            ["--batch-time", "99999999h"],
            ["--jitter", "2"],
            ["--enqueued-token-limit", "x"],
        ] {
            assert!(parse(&bad).is_err(), "{bad:?}");
        }
    }
}
