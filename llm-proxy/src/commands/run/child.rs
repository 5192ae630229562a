//! The program.

use std::ffi::OsString;
use std::io;
use std::process::ExitStatus;

use tokio::process::{Child, Command};

use super::signals::Arrived;

/// Exit codes of shells for programs that they cannot start.
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;
/// Added to the number of the signal that ended a program, as shells do.
const SIGNALLED: i32 = 128;

/// The program that runs, with the standard streams of this process.
pub(super) struct Program(Child);

impl Program {
    /// Starts it with variables besides those of this process. An error is told with the exit code for it.
    pub(super) fn start(
        command: &[OsString],
        variables: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Result<Self, (u8, String)> {
        let (name, args) = command.split_first().ok_or((NOT_FOUND, "there is no program".to_owned()))?;
        match Command::new(name).args(args).envs(variables).spawn() {
            Ok(child) => Ok(Self(child)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err((NOT_FOUND, format!("cannot run {}: there is no such program ({error})", name.display())))
            }
            Err(error) => Err((NOT_EXECUTABLE, format!("cannot run {}: {error}", name.display()))),
        }
    }

    /// Waits until it has ended. May be dropped and called again.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.0.wait().await
    }

    /// Sends it a signal of ours, unless it has got the same from the terminal.
    pub(super) fn pass_on(&self, signal: Arrived) {
        if !signal.by_terminal {
            self.send(signal.number);
        }
    }

    #[cfg(unix)]
    fn send(&self, number: i32) {
        use rustix::process::{Pid, Signal, kill_process};
        // There is an id until its end was waited for, so it cannot be another's.
        let id = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let (Some(id), Some(signal)) = (id, Signal::from_named_raw(number)) else { return };
        if let Err(error) = kill_process(id, signal) {
            tracing::warn!(%error, number, "the program does not get a signal");
        }
    }

    #[cfg(not(unix))]
    fn send(&self, _number: i32) {}
}

/// The exit code of a program as a shell gives it.
pub(super) fn exit_code(status: ExitStatus) -> u8 {
    #[cfg(unix)]
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    #[cfg(not(unix))]
    let signal = None;
    let code = status.code().or(signal.map(|signal: i32| SIGNALLED + signal)).unwrap_or(1);
    // Codes beyond a byte exist on Windows only.
    u8::try_from(code).unwrap_or(u8::MAX)
}
