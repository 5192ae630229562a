//! Carrying out a call under its faults.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, stream};
use http::HeaderValue;
use http::header::CONTENT_LENGTH;
use http_body_util::BodyExt as _;

use crate::core::Millis;
use crate::faults::{Decision, Ending, Instead};
use crate::net::Control;
use crate::shared::{Shared, World};

/// Carries out a call as its faults decide.
///
/// `refuse` renders what is answered in place of the work; a reset never gets there.
pub(crate) async fn perform<T: Send + 'static>(
    shared: &Arc<Shared>,
    control: &Control,
    decision: &Decision,
    refuse: impl FnOnce(&Instead) -> T,
    work: impl FnOnce(&mut World, Millis) -> T + Send + 'static,
) -> T {
    let result = match (&decision.instead, decision.ending) {
        (Some(Instead::Reset), _) => control.reset().await,
        (Some(instead), _) => refuse(instead),
        (None, Ending::Late(ms)) => {
            let shared = shared.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                shared.with(work);
                shared.wake();
            });
            control.reset().await
        }
        (None, ending) => {
            let result = shared.with(work);
            shared.wake();
            if ending == Ending::Lost { control.reset().await } else { result }
        }
    };
    if decision.hold {
        shared.held().await;
    }
    if decision.delay > 0 {
        tokio::time::sleep(Duration::from_millis(decision.delay)).await;
    }
    result
}

/// Reads a body of at most `limit` bytes; None if it is larger (the rest is read and dropped) or was cut.
pub(crate) async fn read_body(mut body: Body, limit: usize) -> Option<Bytes> {
    let (mut whole, mut fits) = (BytesMut::new(), true);
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.ok()?.into_data() {
            fits &= whole.len() + data.len() <= limit;
            if fits {
                whole.extend_from_slice(&data);
            }
        }
    }
    fits.then(|| whole.freeze())
}

/// The body of a stream of events that takes `slow` in total.
pub(crate) fn trickle(events: Vec<Bytes>, slow: Duration) -> Body {
    let pause = slow / events.len().max(1) as u32;
    Body::from_stream(stream::iter(events).then(move |event| async move {
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        Ok::<_, std::convert::Infallible>(event)
    }))
}

/// What a gateway shows in place of an answer.
const PAGE: &[u8] = b"<html>\n<body>Back in a moment.</body>\n</html>\n";

/// Cuts the body of an answer after so many bytes, if the faults say so: the connection breaks there. Or a page takes its place.
pub(crate) fn cut(mut response: Response, body: Bytes, decision: &Decision) -> Response {
    let body = if decision.page { Bytes::from_static(PAGE) } else { body };
    let Some((after, chunked)) = decision.truncate.filter(|(after, _)| *after < body.len()) else {
        *response.body_mut() = Body::from(body);
        return response;
    };
    if !chunked {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    let broken = stream::once(async {
        // Lets the bytes before the break get out.
        tokio::time::sleep(Duration::from_millis(5)).await;
        Err(io::Error::other("cut on purpose"))
    });
    let begun = stream::iter([Ok(body.slice(..after))]);
    *response.body_mut() = Body::from_stream(begun.chain(broken));
    response
}

/// A file without its last lines.
pub(crate) fn shorten(content: Bytes, lines: usize) -> Bytes {
    let ends = memchr::memrchr_iter(b'\n', &content);
    match lines {
        0 => content,
        // The last line's own newline is the first one met from behind.
        lines => ends.map(|at| at + 1).nth(lines).map_or_else(Bytes::new, |end| content.slice(..end)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shortened_files_lack_their_last_lines() {
        let content = Bytes::from_static(b"1\n2\n3\n");
        assert_eq!(shorten(content.clone(), 0), content);
        assert_eq!(shorten(content.clone(), 1), "1\n2\n");
        assert_eq!(shorten(content.clone(), 2), "1\n");
        assert_eq!(shorten(content, 3), "");
    }
}
