//! A line on the terminal while calls wait.
//!
//! The program writes to the same terminal without asking. So the line is there only while calls wait, when most programs are
//! silent, and never while the program has the terminal in raw mode, as editors and full-screen programs do. What a program writes
//! meanwhile stands behind the line, which is drawn again below it.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Draws in a second, at most.
const DRAWS: u8 = 4;
/// How often to look how far it is.
pub(super) const EVERY: Duration = Duration::from_millis(1000 / DRAWS as u64);

/// The line, or none where nobody sees it.
pub(super) struct Progress {
    wanted: bool,
    shown: Option<ProgressBar>,
}

impl Progress {
    /// No line yet; never one if it is not wanted or standard error is no terminal.
    pub(super) fn new(wanted: bool) -> Self {
        Self { wanted: wanted && !ProgressDrawTarget::stderr().is_hidden(), shown: None }
    }

    /// Whether lines are shown at all.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// Shows a line in place of the last, or none.
    pub(super) fn show(&mut self, line: Option<String>) {
        let Some(line) = line else { return self.clear() };
        if is_raw() {
            // What is on the screen now is the program's.
            if let Some(bar) = self.shown.take() {
                bar.set_draw_target(ProgressDrawTarget::hidden());
            }
            return;
        }
        // Draws it, also where it has not changed: the program may have written over it.
        self.shown.get_or_insert_with(bar).set_message(line);
    }

    /// Takes the line away.
    pub(super) fn clear(&mut self) {
        if let Some(bar) = self.shown.take() {
            bar.finish_and_clear();
        }
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(DRAWS));
    // The fallback only looks plainer.
    bar.with_style(
        ProgressStyle::with_template("llm-proxy: {wide_msg}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner()),
    )
}

/// Whether the terminal gives single keys to the program, which then draws the screen itself.
#[cfg(unix)]
fn is_raw() -> bool {
    use rustix::termios::{LocalModes, tcgetattr};
    tcgetattr(std::io::stderr()).is_ok_and(|modes| !modes.local_modes.contains(LocalModes::ICANON))
}

#[cfg(not(unix))]
fn is_raw() -> bool {
    false
}
