//! Reading a request's body into memory that fits it exactly.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::ids::Fingerprint;
use http::StatusCode;
use http_body::Body;
use http_body_util::BodyExt;

use crate::dialect::Problem;
use crate::fair::{Amount, Bounds, Refused};
use crate::gate::Gate;

/// How long a body may stop in the middle.
const IDLE: Duration = Duration::from_secs(30);
/// How long a body may take altogether: 50 MB at 85 KB/s.
const TOTAL: Duration = Duration::from_secs(600);
/// Memory set aside at once for a body whose length is announced, at most; the rest follows as bytes come.
const FIRST: usize = 64 * 1024;

/// How much may be received at a time: one body, and all of them together before they are admitted.
#[derive(Debug)]
pub(super) struct Intake {
    max_body: u64,
    receiving: Arc<Gate>,
}

impl Intake {
    /// Limits: bytes of one body, and all that are being received, of which each credential has its share.
    pub(super) fn new(max_body: u64, most: Amount) -> Self {
        Self { max_body, receiving: Gate::new(Bounds { most, most_each: usize::MAX }) }
    }

    /// Reads a body of a call with this credential to its end.
    ///
    /// # Errors
    /// A [`Problem`]: 413 over the limit, before anything is read where the length is announced; 408 when it stops
    /// coming or takes too long; 429 when too much is being received; 400 when it ends early.
    pub(super) async fn read<B: Body<Data = Bytes> + Unpin>(
        &self,
        credential: Fingerprint,
        body: &mut B,
    ) -> Result<Bytes, Problem> {
        let too_slow = || stalled(format!("Your request's body took more than {} seconds.", TOTAL.as_secs()));
        tokio::time::timeout(TOTAL, self.read_on(credential, body)).await.map_err(|_| too_slow())?
    }

    async fn read_on<B: Body<Data = Bytes> + Unpin>(
        &self,
        credential: Fingerprint,
        body: &mut B,
    ) -> Result<Bytes, Problem> {
        let announced = body.size_hint().exact();
        if announced.is_some_and(|length| length > self.max_body) {
            return Err(self.too_large());
        }
        let one = Amount { count: 1, bytes: 0 };
        let mut share = self.receiving.enter(credential, one, 1).map_err(busy)?;
        let mut read = Vec::new();
        while let Some(frame) = tokio::time::timeout(IDLE, body.frame()).await.map_err(|_| idle())? {
            // Trailers say nothing that is used here.
            let Ok(data) = frame.map_err(|_| cut())?.into_data() else { continue };
            let length = read.len() as u64 + data.len() as u64;
            if length > self.max_body {
                return Err(self.too_large());
            }
            share.grow(data.len() as u64).map_err(busy)?;
            if announced == Some(data.len() as u64) {
                // All of it came at once: copied out of the connection's larger buffer, which is then free.
                return Ok(Bytes::copy_from_slice(&data));
            }
            reserve(&mut read, data.len(), announced);
            read.extend_from_slice(&data);
        }
        read.shrink_to_fit();
        Ok(read.into())
    }

    fn too_large(&self) -> Problem {
        let message = format!(
            "The body of your request is larger than {} bytes, which is the limit here (--max-body).",
            self.max_body
        );
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, message).code("request_too_large")
    }
}

fn busy(why: Refused) -> Problem {
    let message = match why {
        Refused::Full => "Too many requests, or bytes of them, are being received; try again soon.",
        Refused::Most | Refused::Share => {
            "Too many requests with your key, or bytes of them, are being received; try again soon."
        }
    };
    let mut busy = Problem::new(StatusCode::TOO_MANY_REQUESTS, message);
    busy.retry_after = Some(Duration::from_secs(5));
    busy.code("receiving_too_much")
}

/// Makes room for `more` bytes: doubling, but never beyond the announced length, and little ahead of what has come.
fn reserve(read: &mut Vec<u8>, more: usize, announced: Option<u64>) {
    let needed = read.len() + more;
    if needed <= read.capacity() {
        return;
    }
    let ahead = needed.max(FIRST).max(read.capacity().saturating_mul(2));
    let announced = announced.map_or(usize::MAX, |length| usize::try_from(length).unwrap_or(usize::MAX));
    read.reserve_exact(ahead.min(announced).max(needed) - read.len());
}

fn idle() -> Problem {
    stalled(format!("No more of your request's body came for {} seconds.", IDLE.as_secs()))
}

fn stalled(message: String) -> Problem {
    Problem::new(StatusCode::REQUEST_TIMEOUT, message).code("request_timeout")
}

fn cut() -> Problem {
    Problem::invalid("The body of your request ended early.")
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::{FutureExt, Stream, StreamExt, stream};
    use http_body::Frame;
    use http_body_util::{Full, StreamBody};

    use super::*;

    fn intake(max_body: u64, bytes: u64) -> Intake {
        Intake::new(max_body, Amount { count: 10, bytes })
    }

    fn chunks(
        chunks: &[&'static [u8]],
    ) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> + Unpin + use<> {
        stream::iter(
            chunks.iter().map(|chunk| Ok(Frame::data(Bytes::from_static(chunk)))).collect::<Vec<_>>(),
        )
    }

    #[tokio::test]
    async fn bodies_are_read_whole() {
        let intake = intake(10, 100);
        assert_eq!(
            intake
                .read(Fingerprint::random(), &mut Full::new(Bytes::from_static(b"0123456789")))
                .await
                .unwrap(),
            "0123456789"
        );
        assert_eq!(
            intake
                .read(Fingerprint::random(), &mut StreamBody::new(chunks(&[b"012", b"3456", b"789"])))
                .await
                .unwrap(),
            "0123456789"
        );
        assert_eq!(intake.read(Fingerprint::random(), &mut StreamBody::new(chunks(&[]))).await.unwrap(), "");
        assert_eq!(intake.receiving.used(), Amount::default());
    }

    #[tokio::test]
    async fn too_large_with_and_without_an_announced_length() {
        let intake = intake(9, 100);
        let announced = intake
            .read(Fingerprint::random(), &mut Full::new(Bytes::from_static(b"0123456789")))
            .await
            .unwrap_err();
        let streamed = intake
            .read(Fingerprint::random(), &mut StreamBody::new(chunks(&[b"01234", b"56789"])))
            .await
            .unwrap_err();
        assert_eq!((announced.status.as_u16(), streamed.status.as_u16()), (413, 413));
        assert_eq!(intake.receiving.used(), Amount::default());
    }

    #[tokio::test]
    async fn all_bodies_together_are_bounded() {
        let intake = intake(10, 15);
        let first = chunks(&[b"0123456789"]).chain(stream::pending());
        let mut first = StreamBody::new(first);
        let mut reading = std::pin::pin!(intake.read(Fingerprint::random(), &mut first));
        assert!(reading.as_mut().now_or_never().is_none());
        let busy = intake
            .read(Fingerprint::random(), &mut StreamBody::new(chunks(&[b"0123456789"])))
            .await
            .unwrap_err();
        assert_eq!(busy.status, 429);
        assert!(busy.retry_after.is_some());
        assert_eq!(intake.receiving.used(), Amount { count: 1, bytes: 10 });
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stops_coming_is_given_up() {
        let intake = intake(10, 100);
        let mut body = StreamBody::new(chunks(&[b"01"]).chain(stream::pending()));
        assert_eq!(intake.read(Fingerprint::random(), &mut body).await.unwrap_err().status, 408);
        assert_eq!(intake.receiving.used(), Amount::default());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_trickles_is_given_up_too() {
        let intake = intake(1000, 1000);
        let byte = |()| async {
            tokio::time::sleep(IDLE / 2).await;
            Some((Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"x"))), ()))
        };
        let mut body = StreamBody::new(Box::pin(stream::unfold((), byte)));
        assert_eq!(intake.read(Fingerprint::random(), &mut body).await.unwrap_err().status, 408);
        assert_eq!(intake.receiving.used(), Amount::default());
    }

    #[test]
    fn memory_grows_with_what_came() {
        let mut read = Vec::new();
        reserve(&mut read, 10, Some(1 << 40));
        assert_eq!(read.capacity(), FIRST);
        let mut read = Vec::new();
        reserve(&mut read, 10, Some(1000));
        assert_eq!(read.capacity(), 1000);
    }
}
