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

#[cfg(all(test, unix))]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// Set for the process that [`the_first_signal_cancels_and_the_second_ends`] sends signals to.
    const ROLE: &str = "LLM_PROXY_TEST_SIGNALS";

    /// Not a test by itself, but that process.
    #[tokio::test]
    async fn a_process_that_never_finishes() {
        if std::env::var_os(ROLE).is_none() {
            return;
        }
        let shutdown = on_signals().unwrap();
        println!("\nlistening");
        shutdown.cancelled().await;
        println!("\ncancelled");
        std::future::pending::<()>().await;
    }

    /// Kills the process when the test ends early.
    struct Running(Child);

    impl Drop for Running {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn the_first_signal_cancels_and_the_second_ends() {
        for (signals, code) in [(["TERM", "TERM"], 143), (["TERM", "INT"], 130), (["INT", "INT"], 130)] {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", "service::shutdown::tests::a_process_that_never_finishes"]);
            command.args(["--nocapture"]).env(ROLE, "").stdout(Stdio::piped()).stderr(Stdio::null());
            let mut running = Running(command.spawn().unwrap());
            let mut lines = BufReader::new(running.0.stdout.take().unwrap()).lines();
            for (signal, awaited) in signals.into_iter().zip(["listening", "cancelled"]) {
                assert!(lines.any(|line| line.unwrap() == awaited), "{awaited} was never said");
                let id = running.0.id().to_string();
                assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
            }
            assert_eq!(running.0.wait().unwrap().code(), Some(code), "{signals:?}");
        }
    }
}
