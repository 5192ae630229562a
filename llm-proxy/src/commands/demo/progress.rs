//! How far the burst is: a bar on a terminal, a line for each quarter elsewhere.

use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::screen::say;

/// Lines that are printed where there is no terminal.
const LINES: u64 = 4;

/// Counts answers where people can see it.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    all: u64,
    done: AtomicU64,
}

impl Progress {
    /// Nothing is done yet of `all`.
    pub(crate) fn begin(all: u64) -> Self {
        let bar = std::io::stdout().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(all), ProgressDrawTarget::stdout());
            let template = "{spinner} [{bar:40}] {pos} of {len} came back, {elapsed}";
            // The fallback only looks plainer.
            bar.set_style(
                ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
            bar.enable_steady_tick(std::time::Duration::from_millis(100));
            bar
        });
        Self { bar, all, done: AtomicU64::new(0) }
    }

    /// One more is done.
    pub(crate) fn step(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        match &self.bar {
            Some(bar) => bar.set_position(done),
            None if quarter(done, self.all) > quarter(done - 1, self.all) => {
                say(format_args!("  {done} of {} came back", self.all));
            }
            None => {}
        }
    }

    /// Nothing more will come.
    pub(crate) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish();
        }
    }
}

fn quarter(done: u64, all: u64) -> u64 {
    done * LINES / all.max(1)
}
