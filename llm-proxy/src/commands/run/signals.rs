//! Signals, as far as the program has not got them already.

use std::io;

/// A signal that asks for an end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrived {
    /// Its number.
    #[cfg_attr(not(unix), expect(dead_code, reason = "there is nobody to pass it on to"))]
    pub(super) number: i32,
    /// Sent by the terminal, which sends it to the program as well.
    pub(super) by_terminal: bool,
}

#[cfg(unix)]
pub(super) use self::unix::Signals;

#[cfg(unix)]
mod unix {
    use std::io::IsTerminal as _;

    use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
    use signal_hook::iterator::SignalsInfo;
    use signal_hook::iterator::exfiltrator::WithOrigin;
    use signal_hook::iterator::exfiltrator::origin::Origin;
    use signal_hook::low_level::siginfo::Cause;
    use tokio::sync::mpsc;

    use super::{Arrived, io};

    /// Signals that ask a process to end.
    const ENDING: [i32; 4] = [SIGINT, SIGTERM, SIGHUP, SIGQUIT];
    /// Signals that may wait here; equal ones that come at once are one.
    const QUEUE: usize = 16;

    /// The signals that this process gets, from now on.
    pub(in super::super) struct Signals(mpsc::Receiver<Arrived>);

    impl Signals {
        /// Begins to catch them, but for those that were ignored until now: a program under nohup ignores what its parent ignores,
        /// and would not if the parent caught it.
        ///
        /// # Errors
        /// The operating system does not let signals be caught.
        pub(in super::super) fn listen() -> io::Result<Self> {
            let ignored = ignored();
            let caught = ENDING.into_iter().filter(|number| ignored & (1 << (number - 1)) == 0);
            let mut signals = SignalsInfo::<WithOrigin>::new(caught)?;
            let (sender, receiver) = mpsc::channel(QUEUE);
            // Waits for signals as long as the process lives.
            std::thread::Builder::new().name("signals".into()).spawn(move || {
                for origin in signals.forever() {
                    let arrived = Arrived { number: origin.signal, by_terminal: is_by_terminal(&origin) };
                    if sender.blocking_send(arrived).is_err() {
                        return;
                    }
                }
            })?;
            Ok(Self(receiver))
        }

        /// The next one.
        pub(in super::super) async fn next(&mut self) -> Arrived {
            match self.0.recv().await {
                Some(arrived) => arrived,
                None => std::future::pending().await,
            }
        }
    }

    fn is_by_terminal(origin: &Origin) -> bool {
        match origin.cause {
            Cause::Kernel => true,
            // Where the system does not say who sent it, one sends Ctrl-C more often than another process does.
            Cause::Unknown => matches!(origin.signal, SIGINT | SIGQUIT) && std::io::stdin().is_terminal(),
            _ => false,
        }
    }

    /// The signals that this process ignores, a bit for each. Only Linux tells that without unsafe code; elsewhere none.
    fn ignored() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
    }
}

#[cfg(not(unix))]
pub(super) struct Signals;

#[cfg(not(unix))]
impl Signals {
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self)
    }

    /// Ctrl-C, which every program of the console gets.
    pub(super) async fn next(&mut self) -> Arrived {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        Arrived { number: 2, by_terminal: true }
    }
}
