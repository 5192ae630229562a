//! Relayed answers of endpoints that are batched: what they used is read as they pass.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use http_body::{Body as _, Frame};
use hyper::body::Incoming;
use pricing::{Answer, Dialect, StreamUsage};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::time::Instant;

use crate::accounts::{Cashier, Relayed, Room};
use crate::gate::Share;

/// Bytes of an answer that are kept, to be read at its end. What a longer one used is not known. Streams are read event by event.
const LONGEST: usize = 2 << 20;
/// Of all answers together.
pub(crate) const MOST: usize = 256 << 20;

/// Reads what passes.
#[derive(Debug)]
pub(super) struct Meter {
    cashier: Arc<Cashier>,
    relayed: Relayed,
    dialect: Dialect,
    since: Instant,
}

/// The body of an answer that is read.
#[derive(Debug)]
pub struct Metered {
    body: Incoming,
    _share: Option<Share>,
    reading: Option<(Meter, Reading)>,
}

#[derive(Debug)]
enum Reading {
    Events(Box<StreamUsage>),
    Whole(Vec<u8>),
    /// An error, compressed, or too long.
    Nothing(bool),
}

impl Meter {
    pub(super) fn new(cashier: Arc<Cashier>, relayed: Relayed, dialect: Dialect) -> Self {
        Self { cashier, relayed, dialect, since: Instant::now() }
    }

    /// The same body, read.
    pub(super) fn read(
        self,
        status: StatusCode,
        headers: &HeaderMap,
        body: Incoming,
        share: Option<Share>,
    ) -> Metered {
        let events = headers.get(header::CONTENT_TYPE).is_some_and(|kind| {
            kind.as_bytes().get(..17).is_some_and(|kind| kind.eq_ignore_ascii_case(b"text/event-stream"))
        });
        let reading = match (status.is_success(), headers.contains_key(header::CONTENT_ENCODING), events) {
            (false, ..) => Reading::Nothing(false),
            (_, true, _) => Reading::Nothing(true),
            (_, _, true) => Reading::Events(Box::new(StreamUsage::new(self.dialect))),
            _ => Reading::Whole(Vec::new()),
        };
        Metered { body, _share: share, reading: Some((self, reading)) }
    }
}

impl Metered {
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let (Some(piece), Some((meter, reading))) = (frame.data_ref(), &mut self.reading) {
                    reading.feed(piece, meter.cashier.room());
                }
            }
            Poll::Ready(None) => self.end(),
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        polled
    }

    pub(super) fn body(&self) -> &Incoming {
        &self.body
    }

    /// The answer has passed, to its end or not: of one that broke off it may not be known what it used.
    fn end(&mut self) {
        let Some((meter, reading)) = self.reading.take() else { return };
        let took: Duration = meter.since.elapsed();
        let succeeded = !matches!(reading, Reading::Nothing(false));
        let answer = match reading {
            Reading::Events(usage) => usage.finish(),
            Reading::Whole(body) => {
                meter.cashier.room().give_back(body.len());
                Answer::read(meter.dialect, &body)
            }
            Reading::Nothing(_) => None,
        };
        meter.cashier.relayed(meter.relayed, succeeded, answer, took);
    }
}

impl Reading {
    fn feed(&mut self, piece: &[u8], room: &Room) {
        match self {
            Self::Events(usage) => usage.feed(piece),
            Self::Whole(body) if body.len() + piece.len() <= LONGEST && room.take(piece.len()) => {
                body.extend_from_slice(piece);
            }
            Self::Whole(body) => {
                room.give_back(body.len());
                *self = Self::Nothing(true);
            }
            Self::Nothing(_) => {}
        }
    }
}

impl Drop for Metered {
    /// The library does not ask for what comes after the end where it knows the length, and clients may leave before.
    fn drop(&mut self) {
        self.end();
    }
}
