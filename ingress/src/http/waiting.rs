//! Answers that have begun before they are there: signs of life first, then the answer itself.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use common::outcome::Outcome;
use http_body::Frame;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::payload::{Broken, Delivery};
use super::socket::Socket;
use crate::dialect::{Dialect, Problem, Streaming, of};
use crate::hold::{Ended, Held};
use crate::stats::{Answered, Ongoing};

/// White space is nothing to JSON; a stream has signs of its own.
const SIGN_OF_LIFE: &[u8] = b"\n";
/// Some readers of streams count time between events and not between bytes (LangChain: 120 s).
const NO_OP_EVERY: Duration = Duration::from_secs(60);

/// Signs of life of all callers leave together so often, which wakes the machine less often than each at a time of its own.
const TOGETHER: Duration = Duration::from_millis(250);

/// The body of an answer whose status is committed.
#[derive(Debug)]
pub struct Waiting {
    phase: Phase,
    /// Whether the first sign of life was given.
    begun: bool,
    beat: Interval,
    /// Since the last event, for streams.
    quiet: Duration,
}

#[derive(Debug)]
enum Phase {
    /// The outcome is not there.
    Held(Caller),
    /// It is being given.
    Giving(Delivery),
    /// It cannot be given.
    Broken,
}

#[derive(Debug)]
struct Caller {
    held: Held,
    ongoing: Ongoing,
    dialect: Dialect,
    streaming: Option<Streaming>,
    /// Of HTTP/1, where the connection goes down with the answer.
    socket: Option<Arc<Socket>>,
}

impl Waiting {
    /// Gives the first sign of life at once.
    pub(super) fn new(
        held: Held,
        ongoing: Ongoing,
        dialect: Dialect,
        streaming: Option<Streaming>,
        socket: Option<Arc<Socket>>,
        every: Duration,
    ) -> Self {
        let mut beat = interval_at(Instant::now() + first_wait(every, SystemTime::now()), every);
        // Goes on at the common moments after a delay.
        beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let caller = Caller { held, ongoing, dialect, streaming, socket };
        Self { phase: Phase::Held(caller), begun: false, beat, quiet: Duration::ZERO }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if let Phase::Held(caller) = &mut self.phase
            && let Poll::Ready(ended) = caller.held.poll_ended(cx)
            && let Phase::Held(caller) = std::mem::replace(&mut self.phase, Phase::Broken)
        {
            match caller.conclude(&ended) {
                Some(delivery) => self.phase = Phase::Giving(delivery),
                None => return Poll::Ready(Some(Err(Broken::LateError))),
            }
        }
        match &mut self.phase {
            Phase::Held(_) => {}
            Phase::Giving(delivery) => {
                return Poll::Ready(delivery.next().map(|piece| Ok(Frame::data(piece))));
            }
            Phase::Broken => return Poll::Ready(None),
        }
        // The interval is asked in any case, so that it wakes this task.
        if self.beat.poll_tick(cx).is_pending() && std::mem::replace(&mut self.begun, true) {
            return Poll::Pending;
        }
        Poll::Ready(Some(Ok(Frame::data(self.sign_of_life()))))
    }

    fn sign_of_life(&mut self) -> Bytes {
        self.quiet += self.beat.period();
        match &mut self.phase {
            Phase::Held(Caller { streaming: Some(streaming), .. })
                if streaming.no_ops && self.quiet > NO_OP_EVERY =>
            {
                self.quiet = Duration::ZERO;
                streaming.events.no_op()
            }
            Phase::Held(Caller { streaming: Some(streaming), .. }) => streaming.events.sign_of_life(),
            _ => Bytes::from_static(SIGN_OF_LIFE),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        match &self.phase {
            Phase::Held(_) => false,
            Phase::Giving(delivery) => delivery.is_over(),
            Phase::Broken => true,
        }
    }
}

/// How long the second sign of life waits: at most the usual time, up to a moment that it shares with others.
fn first_wait(every: Duration, now: SystemTime) -> Duration {
    let clock = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let beyond = (clock + every).as_millis() % TOGETHER.as_millis();
    // Below 250.
    let beyond = Duration::from_millis(beyond as u64);
    if every > TOGETHER * 2 { every - beyond } else { every }
}

impl Caller {
    /// The rest of the answer. An error of a call that is not streamed cannot be told any more: the connection breaks, and
    /// the outcome is kept for the caller's next try.
    fn conclude(self, ended: &Ended) -> Option<Delivery> {
        let speech = of(self.dialect);
        let ours = |problem: Problem| {
            let (status, _, body) = speech.render(&problem);
            (status.as_u16(), body)
        };
        let (body, how) = match (&*ended.outcome, self.streaming.map(|streaming| streaming.events)) {
            (Outcome::Response(response), None) if response.status.is_success() => {
                (response.body.clone(), Answered::Success)
            }
            (Outcome::Response(response), Some(events)) if response.status.is_success() => {
                match events.finish(&response.body) {
                    Ok(body) => (body, Answered::Success),
                    Err(why) => {
                        let (status, body) = ours(why.into());
                        (events.fail(status, &body), Answered::Synthesized)
                    }
                }
            }
            (Outcome::Response(response), Some(events)) => {
                (events.fail(response.status.as_u16(), &response.body), Answered::Failure)
            }
            (Outcome::Fault(fault), Some(events)) => {
                let (status, body) = ours(fault.clone().into());
                (events.fail(status, &body), Answered::Synthesized)
            }
            (outcome, None) => {
                if let Some(socket) = &self.socket {
                    socket.break_off();
                }
                let provided = matches!(outcome, Outcome::Response(_));
                self.ongoing.answered(if provided { Answered::Failure } else { Answered::Synthesized });
                return None;
            }
        };
        self.ongoing.answered(how);
        Some(Delivery::new(body, self.held, self.socket.is_none()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_of_life_of_different_callers_leave_together() {
        let moments = [0, 1, 100, 249, 250, 99_999].map(|ms| {
            let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_000_000 + ms);
            let wait = first_wait(Duration::from_secs(15), now);
            assert!((14_750..=15_000).contains(&wait.as_millis()));
            (now + wait).duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() % 250
        });
        assert_eq!(moments, [0; 6]);
        assert_eq!(first_wait(Duration::from_millis(200), SystemTime::now()), Duration::from_millis(200));
    }
}
