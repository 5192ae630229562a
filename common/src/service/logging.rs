//! Logs on standard error, with some libraries kept quiet whatever the filter asks for.

use std::io::IsTerminal as _;

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{EnvFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::ConfigError;
use crate::args::{LogArgs, LogFormat};

/// Libraries that print message headers, HTTP headers (with keys) or bodies below this level: they say no more than
/// `info`. The names are prefixes of targets, so `hyper` stands for `hyper_util` and `hyper_rustls` too.
const QUIET: [&str; 10] =
    ["async_nats", "axum", "h2", "hyper", "mio", "reqwest", "rustls", "tokio_rustls", "tower", "tungstenite"];

/// These tell each event of the connection to NATS, and the same error at every attempt to connect, once a second. The bus
/// tells what matters of it, each once and with its reason.
const REPEATING: [(&str, LevelFilter); 2] =
    [("async_nats", LevelFilter::WARN), ("async_nats::connector", LevelFilter::OFF)];

/// Our own crates. `llm_proxy` in a filter stands for all of them.
const OURS: [&str; 5] = ["batcher", "common", "ingress", "simulator", "submitter"];
/// The target that stands for [`OURS`].
const ALL_OURS: &str = "llm_proxy";

/// Begins to log, for the rest of the process's life.
///
/// # Errors
/// [`ConfigError`] if the filter cannot be understood.
pub fn init(args: &LogArgs) -> Result<(), ConfigError> {
    let stderr = std::io::stderr;
    let colours = stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let subscriber = subscriber(args, colours, stderr)?;
    subscriber.try_init().map_err(|error| ConfigError::new(format_args!("--log: {error}")))
}

fn subscriber<W>(
    args: &LogArgs,
    colours: bool,
    writer: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, ConfigError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    // Two filters that must both agree: no directive of the user's, however precise, opens the second.
    let filtered = tracing_subscriber::registry().with(user_filter(&args.log)?).with(quiet());
    let lines = tracing_subscriber::fmt::layer().with_ansi(colours).with_writer(writer);
    Ok(match args.log_format {
        LogFormat::Text => Box::new(filtered.with(lines)),
        LogFormat::Json => Box::new(filtered.with(lines.json().flatten_event(true))),
    })
}

fn quiet() -> Targets {
    let pinned = QUIET.map(|target| (target, LevelFilter::INFO));
    Targets::new().with_default(LevelFilter::TRACE).with_targets(pinned).with_targets(REPEATING)
}

fn user_filter(text: &str) -> Result<EnvFilter, ConfigError> {
    let bad = |why: &dyn std::fmt::Display| {
        ConfigError::new(format_args!(
            "--log {text:?}: {why}; write it as info, debug, or directives as llm_proxy=debug,async_nats=warn"
        ))
    };
    if text.trim().is_empty() {
        return Err(bad(&"it is empty"));
    }
    if let Some(word) = text.split(',').map(str::trim).find(|word| is_mistyped_level(word)) {
        return Err(bad(&format_args!("{word:?} is neither a level nor a known target")));
    }
    EnvFilter::builder().parse(with_our_crates(text)).map_err(|error| bad(&error))
}

/// A word alone is a target by tracing's rules, and would silence everything else: nobody who writes `verbose` or
/// `inof` means that.
fn is_mistyped_level(word: &str) -> bool {
    let is_word = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let known = word == ALL_OURS || OURS.contains(&word) || QUIET.contains(&word);
    is_word && !known && word.parse::<LevelFilter>().is_err()
}

/// Spells out what `llm_proxy=LEVEL` stands for. Put in front, so that a directive for one crate goes before it.
fn with_our_crates(text: &str) -> String {
    let rests = text.split(',').filter_map(|word| word.trim().strip_prefix(ALL_OURS));
    let rests: Vec<&str> = rests.filter(|rest| rest.is_empty() || rest.starts_with('=')).collect();
    let spelled = rests.iter().flat_map(|rest| OURS.map(|name| format!("{name}{rest},")));
    spelled.collect::<String>() + text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(filter: &str, log_format: LogFormat, events: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let args = LogArgs { log: filter.into(), log_format };
        let subscriber = subscriber(&args, false, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, events);
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn no_filter_makes_the_pinned_libraries_talk() {
        for filter in
            ["trace", "async_nats=trace,hyper=trace", "async_nats::connection=trace,hyper_util::client=trace"]
        {
            let text = logged(filter, LogFormat::Text, || {
                tracing::trace!(target: "async_nats::connection", "hush-1");
                tracing::debug!(target: "async_nats", "hush-2");
                tracing::debug!(target: "hyper_util::client", "hush-3");
                tracing::trace!(target: "h2::codec", "hush-4");
                tracing::debug!(target: "rustls::client", "hush-5");
                tracing::debug!(target: "reqwest::connect", "hush-6");
                tracing::error!(target: "async_nats::connector", "hush-7");
                tracing::info!(target: "async_nats", "hush-8");
                tracing::warn!(target: "async_nats::connection", "said");
            });
            assert!(!text.contains("hush"), "{filter}: {text}");
            assert!(text.contains("said"), "{filter}: {text}");
        }
    }

    #[test]
    fn the_filter_is_obeyed_otherwise() {
        let events = || {
            tracing::debug!(target: "ingress::core", "ours");
            tracing::debug!(target: "submitter", "hers");
            tracing::debug!(target: "elsewhere", "theirs");
            tracing::info!(target: "async_nats", "bus");
        };
        let text = logged("llm_proxy=debug", LogFormat::Text, events);
        assert!(text.contains("ours") && text.contains("hers"), "{text}");
        assert!(!text.contains("theirs") && !text.contains("bus"), "{text}");
        let text = logged("llm_proxy=debug,submitter=info", LogFormat::Text, events);
        assert!(text.contains("ours") && !text.contains("hers"), "{text}");
        assert!(logged("trace", LogFormat::Text, events).contains("theirs"));
        let text = logged("warn", LogFormat::Text, events);
        assert!(text.is_empty(), "{text}");
    }

    #[test]
    fn json_is_one_object_a_line() {
        let text = logged("info", LogFormat::Json, || tracing::info!(answer = 42, "a line"));
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&value["message"], &value["answer"]), (&"a line".into(), &42.into()));
    }

    #[test]
    fn bad_filters_are_told() {
        for bad in ["", "inof", "verbose", "llm_proxy=loud", "info,a=b=c", "async_nats=verbose"] {
            let error = user_filter(bad).err().unwrap_or_else(|| panic!("{bad:?} was taken")).to_string();
            assert!(error.contains("--log") && error.contains("llm_proxy=debug"), "{error}");
        }
        for good in ["info", "TRACE", "off", "warn,ingress=debug", "llm_proxy", "info,[span{id=1}]=debug"] {
            assert!(user_filter(good).is_ok(), "{good:?}");
        }
    }
}
