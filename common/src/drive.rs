//! Runs a state machine: feeds it inputs and the passing of time, and has its outputs performed.

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::timers::Now;

/// A service's decisions, without IO, clock, randomness or dependence on the order of maps: the same inputs at the
/// same moments give the same outputs.
pub trait Core {
    /// What can happen to it.
    type Input;
    /// What it wants done.
    type Output;

    /// Takes an input. What is due by `now` is handled first.
    fn handle(&mut self, now: Now, input: Self::Input, out: &mut Vec<Self::Output>);

    /// Does what is due by `now`.
    fn tick(&mut self, now: Now, out: &mut Vec<Self::Output>);

    /// When [`Core::tick`] will have something to do, as far as known.
    fn wake_at(&self) -> Option<Now>;

    /// Whether its work is over for good.
    fn is_finished(&self) -> bool;
}

/// The clock that a state machine's moments are read from. Follows tokio's time, so tests can pause it.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    /// Starts at zero now.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the start.
    pub fn now(&self) -> Now {
        self.0.elapsed()
    }

    /// The instant of a moment.
    pub fn instant(&self, at: Now) -> Instant {
        self.0 + at
    }
}

/// Most inputs that are taken from the queue before outputs are performed.
const BURST: usize = 256;

/// Runs `core` until it is finished or all senders of inputs are gone. `perform` must not block.
pub async fn drive<C: Core>(
    mut core: C,
    clock: Clock,
    mut inputs: mpsc::Receiver<C::Input>,
    mut perform: impl FnMut(C::Output),
) -> C {
    let mut burst = Vec::with_capacity(BURST);
    let mut outputs = Vec::new();
    core.tick(clock.now(), &mut outputs);
    loop {
        outputs.drain(..).for_each(&mut perform);
        if core.is_finished() {
            return core;
        }
        // A core with nothing planned is still looked at once in a while; nothing depends on it.
        let wake = core.wake_at().unwrap_or(clock.now() + std::time::Duration::from_secs(3600));
        tokio::select! {
            taken = inputs.recv_many(&mut burst, BURST) => {
                if taken == 0 {
                    return core;
                }
                let now = clock.now();
                burst.drain(..).for_each(|input| core.handle(now, input, &mut outputs));
                core.tick(now, &mut outputs);
            }
            () = sleep_until(clock.instant(wake)) => core.tick(clock.now(), &mut outputs),
        }
    }
}
