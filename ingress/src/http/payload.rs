//! Bodies on their way through: whole ones in memory, streamed ones as they come, and answers to calls that are held.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;

use super::meter::Metered;
use super::waiting::Waiting;
use crate::gate::Share;
use crate::hold::Held;

/// The body of a relayed request or of any answer.
#[derive(Debug)]
pub enum Payload {
    /// In memory.
    Whole(Full<Bytes>),
    /// From the other side's connection, at the pace of the reader; and what it takes of the bounds meanwhile.
    Streamed(Incoming, Option<Share>),
    /// The same, read on its way.
    Metered(Box<Metered>),
    /// In memory, for a caller that was held.
    Delivery(Box<Delivery>),
    /// For a caller that is still held.
    Waiting(Box<Waiting>),
}

/// Why a body ends early.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The other side's connection failed.
    #[error(transparent)]
    Upstream(#[from] hyper::Error),
    /// The outcome is an error, and the answer had begun as a success.
    #[error("the outcome is an error, and the answer had begun")]
    LateError,
}

/// Bytes of an answer that are handed over at a time. Over HTTP/1 the library asks for more when it has passed on what it
/// has, so that an answer counts as taken only when all but the end of it has left.
const PIECE: usize = 64 * 1024;

/// An answer in memory for a caller that was held. It tells the state machine whether it was taken.
#[derive(Debug)]
pub struct Delivery {
    rest: Bytes,
    held: Option<Held>,
    /// Whether it counts as taken only when the library asks for what comes after its end: over HTTP/2 it asks for a piece
    /// before the client has room for it.
    to_the_end: bool,
    ended: bool,
}

impl Delivery {
    pub(super) fn new(body: Bytes, held: Held, to_the_end: bool) -> Self {
        Self { rest: body, held: Some(held), to_the_end, ended: false }
    }

    pub(super) fn next(&mut self) -> Option<Bytes> {
        let piece = self.rest.split_to(self.rest.len().min(PIECE));
        self.ended = piece.is_empty();
        (!piece.is_empty()).then_some(piece)
    }

    pub(super) fn is_over(&self) -> bool {
        self.rest.is_empty() && (self.ended || !self.to_the_end)
    }
}

impl Payload {
    /// An answer for a caller that was held; `to_the_end` as over HTTP/2.
    pub(super) fn delivery(body: Bytes, held: Held, to_the_end: bool) -> Self {
        Self::Delivery(Box::new(Delivery::new(body, held, to_the_end)))
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        // Dropped before it was taken, the answer is kept for the caller's next try.
        let over = self.is_over();
        if let Some(held) = self.held.take().filter(|_| over) {
            held.received();
        }
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self::Whole(Full::new(bytes))
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Self::Streamed(body, _) => Pin::new(body).poll_frame(cx).map_err(Broken::from),
            Self::Metered(metered) => metered.poll(cx).map_err(Broken::from),
            Self::Delivery(delivery) => Poll::Ready(delivery.next().map(|piece| Ok(Frame::data(piece)))),
            Self::Waiting(waiting) => waiting.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Streamed(body, _) => body.is_end_stream(),
            Self::Metered(metered) => metered.body().is_end_stream(),
            Self::Delivery(delivery) => delivery.is_over(),
            Self::Waiting(waiting) => waiting.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Streamed(body, _) => body.size_hint(),
            Self::Metered(metered) => metered.body().size_hint(),
            Self::Delivery(delivery) => SizeHint::with_exact(delivery.rest.len() as u64),
            Self::Waiting(_) => SizeHint::default(),
        }
    }
}
