//! Taking up what operators write into files while the process runs.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use common::service::ConfigError;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

/// How often files are looked at; a signal makes it sooner. They are read each time: times and sizes of files do not tell all
/// changes.
const EVERY: Duration = Duration::from_secs(5);

/// Something that is read from files.
pub(crate) trait Reload: Send + Sync {
    /// Reads the files again and takes up what has changed; nothing, if they cannot be used.
    ///
    /// # Errors
    /// Why they cannot.
    fn reload(&self) -> Result<(), ConfigError>;
}

/// Reads files again and again, and at every SIGHUP.
pub(crate) async fn watch(files: Vec<Arc<dyn Reload>>) -> Infallible {
    if files.is_empty() {
        return std::future::pending().await;
    }
    let mut hangups = Hangups::new();
    let mut interval = interval(EVERY);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failures = vec![None; files.len()];
    loop {
        tokio::select! {
            _ = interval.tick() => {}
            () = hangups.next() => {}
        }
        for (one, failure) in files.iter().zip(&mut failures) {
            let one = one.clone();
            // It may be on a disk that does not answer.
            let Ok(reloaded) = tokio::task::spawn_blocking(move || one.reload()).await else { continue };
            let failed = reloaded.err().map(|error| error.to_string());
            if let Some(error) = failed.as_ref().filter(|_| failed != *failure) {
                warn!("{error}; what was read before stays in force");
            }
            *failure = failed;
        }
    }
}

/// Signals that ask to read configuration again.
struct Hangups {
    #[cfg(unix)]
    signal: Option<tokio::signal::unix::Signal>,
}

impl Hangups {
    #[cfg(unix)]
    fn new() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        let signal = signal(SignalKind::hangup());
        Self { signal: signal.inspect_err(|error| warn!(%error, "SIGHUP cannot be listened for")).ok() }
    }

    #[cfg(not(unix))]
    fn new() -> Self {
        Self {}
    }

    async fn next(&mut self) {
        #[cfg(unix)]
        if let Some(signal) = &mut self.signal
            && signal.recv().await.is_some()
        {
            return;
        }
        std::future::pending().await
    }
}
