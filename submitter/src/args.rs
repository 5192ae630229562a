//! The submitter's own flags.

use std::time::Duration;

use common::args::parse_duration;

/// How jobs are watched and what becomes of them at the end.
#[derive(Debug, Clone, clap::Args)]
#[group(id = "submitter_args")]
#[command(next_help_heading = "Submitter")]
pub struct Args {
    /// First wait before a job is asked about; it grows up to --poll-max
    ///
    /// Without it, what each provider can bear: 2s, or more where it asks for that, and a key's jobs together are not asked about
    /// more often than its provider allows. With it, that is left to the operator.
    #[arg(long, env = "LLM_PROXY_POLL_MIN", value_name = "DURATION", value_parser = parse_poll)]
    pub poll_min: Option<Duration>,

    /// Longest wait between two questions about a job
    #[arg(long, env = "LLM_PROXY_POLL_MAX", value_name = "DURATION", default_value = "60s", value_parser = parse_poll)]
    pub poll_max: Duration,

    /// What becomes of running jobs at a shutdown: cancelled after half of --drain-timeout, their finished lines
    /// delivered in the other half; or left to the provider
    #[arg(long, env = "LLM_PROXY_ON_EXIT", value_name = "WHAT", default_value = "cancel")]
    pub on_exit: OnExit,

    /// What becomes of a batch that is sent without an input file when the answer to its creation is lost and no job is found
    ///
    /// So all batches of Anthropic and OpenRouter are sent, and small ones of Gemini. With input files it is always found out,
    /// and submitted again where nothing was created. Without them nobody can say for certain: fail answers the callers with 502, recreate submits the batch again, which in rare cases pays twice.
    #[arg(long, env = "LLM_PROXY_ON_AMBIGUOUS", value_name = "WHAT", default_value = "fail")]
    pub on_ambiguous: OnAmbiguous,

    /// How long a provider's list of batches may lag behind a creation
    #[arg(long, env = "LLM_PROXY_SETTLE", value_name = "DURATION", default_value = "30s", value_parser = parse_duration, hide = true)]
    pub settle: Duration,
}

/// Values of `--on-exit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum OnExit {
    /// Cancel jobs that do not finish in time
    Cancel,
    /// Leave jobs running; their answers are lost and billed
    Leave,
}

/// Values of `--on-ambiguous`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum OnAmbiguous {
    /// Answer the callers with an error, which their SDKs do not repeat
    Fail,
    /// Submit the batch again
    Recreate,
}

/// The longest completion window of any provider.
const LONGEST_POLL: Duration = Duration::from_secs(24 * 3600);

/// A provider that is asked without a pause answers with 429.
fn parse_poll(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        wait if wait < Duration::from_millis(10) => Err("it must be at least 10ms".into()),
        wait if wait > LONGEST_POLL => Err("it must be at most 24h: no batch takes longer".into()),
        wait => Ok(wait),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polls_are_neither_too_close_nor_too_far() {
        assert_eq!(parse_poll("24h"), Ok(LONGEST_POLL));
        for bad in ["0s", "9ms", "25h", "300000y", "soon"] {
            assert!(parse_poll(bad).is_err(), "{bad}");
        }
    }
}
