//! A line on the terminal while calls wait.
//!
//! The program writes to the same terminal without asking. So the line is there only while calls wait and none is answered, when
//! most programs are silent: it goes before an answer leaves, and comes back when none has left for a while. It is never there
//! while the program has the terminal in raw mode, as editors and prompts do. What a program writes all the same stands
//! behind the line, which is drawn again below it.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

/// Draws in a second, at most.
const DRAWS: u8 = 4;
/// How often to look how far it is.
pub(super) const EVERY: Duration = Duration::from_millis(1000 / DRAWS as u64);
/// How long the line stays away after an answer, which the program may have something to say about.
const HUSH: Duration = Duration::from_secs(1);

/// The line, or none where nobody sees it.
pub(super) struct Progress {
    wanted: bool,
    shown: Option<ProgressBar>,
    hushed_until: Instant,
}

impl Progress {
    /// No line yet; never one if it is not wanted or standard error is no terminal.
    pub(super) fn new(wanted: bool) -> Self {
        let wanted = wanted && !ProgressDrawTarget::stderr().is_hidden();
        Self { wanted, shown: None, hushed_until: Instant::now() }
    }

    /// Whether a line is shown at all.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// Shows a line in place of the last, or none.
    pub(super) fn show(&mut self, line: Option<String>) {
        let Some(line) = line.filter(|_| self.hushed_until <= Instant::now()) else { return self.clear() };
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

    /// An answer leaves: makes room for what the program says about it.
    pub(super) fn hush(&mut self) {
        self.hushed_until = Instant::now() + HUSH;
        self.clear();
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
