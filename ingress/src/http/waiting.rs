//! Answers that have begun before they are there: signs of life first, then the answer itself.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use common::outcome::Outcome;
use http_body::Frame;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::payload::{Broken, Delivery};
use super::socket::Socket;
use crate::dialect::openai::{Events, render};
use crate::hold::{Ended, Held};
use crate::stats::{Answered, Ongoing};

/// White space is nothing to JSON, and an empty line is nothing to a reader of server-sent events.
const SIGN_OF_LIFE: &[u8] = b"\n";
/// Some readers of streams count time between events and not between bytes (LangChain: 120 s).
const NO_OP_EVERY: Duration = Duration::from_secs(60);

/// The body of an answer whose status is committed.
#[derive(Debug)]
pub struct Waiting {
    phase: Phase,
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

/// What a caller gets that asked for a stream.
#[derive(Debug)]
pub(super) struct Streaming {
    /// Its events.
    pub(super) events: Events,
    /// Whether it is given some while it waits.
    pub(super) no_ops: bool,
}

#[derive(Debug)]
struct Caller {
    held: Held,
    ongoing: Ongoing,
    streaming: Option<Streaming>,
    /// Of HTTP/1, where the connection goes down with the answer.
    socket: Option<Arc<Socket>>,
}

impl Waiting {
    /// Gives the first sign of life at once.
    pub(super) fn new(
        held: Held,
        ongoing: Ongoing,
        streaming: Option<Streaming>,
        socket: Option<Arc<Socket>>,
        every: Duration,
    ) -> Self {
        let mut beat = interval(every);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let caller = Caller { held, ongoing, streaming, socket };
        Self { phase: Phase::Held(caller), beat, quiet: Duration::ZERO }
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
        if self.beat.poll_tick(cx).is_pending() {
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

impl Caller {
    /// The rest of the answer. An error of a call that is not streamed cannot be told any more: the connection breaks, and
    /// the outcome is kept for the caller's next try.
    fn conclude(self, ended: &Ended) -> Option<Delivery> {
        let (body, how) = match (&*ended.outcome, self.streaming.map(|streaming| streaming.events)) {
            (Outcome::Response(response), None) if response.status.is_success() => {
                (response.body.clone(), Answered::Success)
            }
            (Outcome::Response(response), Some(events)) if response.status.is_success() => {
                match events.finish(&response.body) {
                    Ok(body) => (body, Answered::Success),
                    Err(why) => {
                        let (status, _, body) = render(&why.into());
                        (events.fail(status.as_u16(), &body), Answered::Synthesized)
                    }
                }
            }
            (Outcome::Response(response), Some(events)) => {
                (events.fail(response.status.as_u16(), &response.body), Answered::Failure)
            }
            (Outcome::Fault(fault), Some(events)) => {
                let (status, _, body) = render(&fault.clone().into());
                (events.fail(status.as_u16(), &body), Answered::Synthesized)
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
        Some(Delivery::new(body, self.held))
    }
}
