//! Letting a client finish sending what will not be used.

use std::time::Duration;

use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;

/// How long a refused body may go on.
const TIME: Duration = Duration::from_secs(10);
/// How much of it is taken, in bytes.
const BYTES: usize = 128 * 1024 * 1024;

/// Takes and drops the rest of a refused body, beside the answer. Closing a connection while its client still sends
/// makes the client's system throw the answer away, and a clear refusal becomes a broken pipe.
pub(super) fn linger(mut body: Incoming) {
    if body.is_end_stream() {
        return;
    }
    tokio::spawn(tokio::time::timeout(TIME, async move {
        let mut taken = 0;
        while let (true, Some(Ok(frame))) = (taken < BYTES, body.frame().await) {
            taken += frame.data_ref().map_or(0, bytes::Bytes::len);
        }
    }));
}
