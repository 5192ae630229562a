//! When a batch is sealed, as the operator wants it.

use std::ops::RangeInclusive;
use std::time::Duration;

use common::args::{parse_bytes, parse_duration};

/// Most lines that any provider takes in one batch (OpenAI: 50,000), so no larger number makes sense.
const LINES: RangeInclusive<usize> = 1..=50_000;
/// Callers wait at least this long; more than a day is surely a slip of the pen.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// When to seal a batch. A provider's own limits hold as well, whichever is reached first.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[group(id = "batcher_args")]
#[command(next_help_heading = "Sealing")]
pub struct Args {
    /// Seal a batch this long after its first request came, however many follow
    ///
    /// The window is counted from the first request and is not restarted by later ones, so no request waits longer
    /// for its batch. Short windows answer sooner, long ones make fewer and larger batches. When a credential comes
    /// near the number of batches that its provider lets it create in an hour, window and idle gap widen by themselves.
    #[arg(long, env = "LLM_PROXY_WINDOW", value_name = "DURATION", default_value = "4s", value_parser = parse_wait)]
    pub window: Duration,

    /// Seal a batch early when no request came for this long
    ///
    /// Counted from the latest request of the batch. A value of at least the window switches this off.
    #[arg(long, env = "LLM_PROXY_IDLE", value_name = "DURATION", default_value = "1s", value_parser = parse_wait)]
    pub idle: Duration,

    /// Seal a batch when it has this many requests, 1 to 50000
    #[arg(long, env = "LLM_PROXY_MAX_REQUESTS", value_name = "COUNT", default_value = "1000", value_parser = parse_lines)]
    pub max_requests: usize,

    /// Seal a batch before its requests are together larger than this
    ///
    /// Counts the bodies and what a line of the provider's format has around them. A single request that is larger
    /// makes a batch of its own.
    #[arg(long, env = "LLM_PROXY_MAX_BYTES", value_name = "SIZE", default_value = "25MB", value_parser = parse_size)]
    pub max_bytes: u64,
}

fn parse_wait(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err("it must be longer than nothing; write it as 250ms or 4s".into()),
        wait if wait > LONGEST => Err("it must be at most 24h: providers finish batches within a day".into()),
        wait => Ok(wait),
    }
}

fn parse_lines(text: &str) -> Result<usize, String> {
    let lines = text.parse().map_err(|why| format!("not a number ({why}); write it as 1000"))?;
    let (least, most) = LINES.into_inner();
    match LINES.contains(&lines) {
        true => Ok(lines),
        false => Err(format!(
            "it must be from {least} to {most}, the most lines that a provider takes in one batch"
        )),
    }
}

fn parse_size(text: &str) -> Result<u64, String> {
    match parse_bytes(text)? {
        0 => Err("it must be more than nothing; write it as 500KB or 25MB".into()),
        bytes => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        sealing: Args,
    }

    fn parse(args: &[&str]) -> Result<Args, String> {
        let line = ["batcher"].iter().chain(args);
        Cli::try_parse_from(line).map(|cli| cli.sealing).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        Cli::command().debug_assert();
        let (window, idle) = (Duration::from_secs(4), Duration::from_secs(1));
        assert_eq!(parse(&[]), Ok(Args { window, idle, max_requests: 1000, max_bytes: 25_000_000 }));
    }

    #[test]
    fn every_flag_has_its_variable() {
        for arg in Cli::command().get_arguments().filter(|arg| arg.get_id() != "help") {
            let flag = arg.get_long().unwrap().to_uppercase().replace('-', "_");
            assert_eq!(arg.get_env().unwrap(), format!("LLM_PROXY_{flag}").as_str());
        }
    }

    #[test]
    fn bad_values_say_why() {
        let bad = [
            ("--window=0s", "longer than nothing"),
            ("--window=25h", "at most 24h"),
            ("--idle=soon", "not a duration"),
            ("--max-requests=0", "from 1 to 50000"),
            ("--max-requests=50001", "from 1 to 50000"),
            ("--max-requests=many", "not a number"),
            ("--max-bytes=0", "more than nothing"),
            ("--max-bytes=big", "not a size"),
        ];
        for (arg, why) in bad {
            let said = parse(&[arg]).unwrap_err();
            assert!(said.contains(why), "{arg}: {said}");
        }
        assert_eq!(parse(&["--max-requests=50000"]).map(|args| args.max_requests), Ok(50_000));
    }
}
