//! Signals: the first asks all roles to finish, the second ends the process at once.

use std::io;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// A token that the first SIGTERM or Ctrl-C cancels. A second one ends the process at once with the exit code that
/// shells give to a process killed by it: 143 or 130.
///
/// Must be called within a tokio runtime, before anything is worth finishing.
///
/// # Errors
/// If the operating system does not let signals be caught.
pub fn on_signals() -> io::Result<CancellationToken> {
    let mut signals = Signals::new()?;
    let shutdown = CancellationToken::new();
    let token = shutdown.clone();
    tokio::spawn(async move {
        let first = signals.next().await;
        info!("{} received: finishing what is under way; a second one ends at once", first.name());
        token.cancel();
        let second = signals.next().await;
        warn!("{} received again: ending at once, whoever waits is not answered", second.name());
        std::process::exit(second.exit_code());
    });
    Ok(shutdown)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signal {
    Interrupt,
    #[cfg(unix)]
    Terminate,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "Ctrl-C",
            #[cfg(unix)]
            Self::Terminate => "SIGTERM",
        }
    }

    /// 128 and the number of the signal.
    fn exit_code(self) -> i32 {
        match self {
            Self::Interrupt => 130,
            #[cfg(unix)]
            Self::Terminate => 143,
        }
    }
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> Signal {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        Signal::Interrupt
    }
}
