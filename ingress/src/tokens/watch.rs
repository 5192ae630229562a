//! Taking up what operators write into the file of tokens.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use common::service::ConfigError;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use super::Tokens;

/// How often the file is looked at; a signal makes it sooner. It is read each time: times and sizes of files do not tell all
/// changes.
const EVERY: Duration = Duration::from_secs(5);

impl Tokens {
    /// Reads the file again and again, and at every SIGHUP. Never ends.
    pub(crate) async fn watch(self: Arc<Self>) {
        if self.file.is_none() {
            return std::future::pending().await;
        }
        let mut hangups = Hangups::new();
        let mut interval = interval(EVERY);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failure = None;
        loop {
            tokio::select! {
                _ = interval.tick() => {}
                () = hangups.next() => {}
            }
            let tokens = self.clone();
            // The file may be on a disk that does not answer.
            let Ok(reloaded) = tokio::task::spawn_blocking(move || tokens.reload()).await else { continue };
            let failed = reloaded.err().map(|error| error.to_string());
            if let Some(error) = failed.as_ref().filter(|_| failed != failure) {
                warn!("{error}; the tokens of before stay in force");
            }
            failure = failed;
        }
    }

    /// Takes up what has changed.
    pub(super) fn reload(&self) -> Result<(), ConfigError> {
        let read = self.read()?;
        if read != self.known() {
            let tokens = read.len();
            *self.known.write().unwrap_or_else(PoisonError::into_inner) = read;
            info!(tokens, "the access tokens have changed");
        }
        Ok(())
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
