//! Telling HTTP/2 from HTTP/1 by the first bytes, without losing them.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;

use super::socket::Stream;

/// What an HTTP/2 connection with prior knowledge begins with (RFC 9113, 3.4).
const PREFACE: [u8; 24] = *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The protocol of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Http1,
    Http2,
}

/// A connection that gives its first bytes again.
#[derive(Debug)]
pub(super) struct Sniffed {
    first: [u8; PREFACE.len()],
    given: u8,
    filled: u8,
    io: TokioIo<Stream>,
}

/// Reads until the protocol is clear.
///
/// # Errors
/// What reading the socket says; an end before the first byte is [`io::ErrorKind::UnexpectedEof`].
pub(super) async fn sniff(mut stream: Stream) -> io::Result<(Version, Sniffed)> {
    let mut first = [0; PREFACE.len()];
    let mut filled = 0;
    while filled < PREFACE.len() && PREFACE.starts_with(&first[..filled]) {
        match stream.read(&mut first[filled..]).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => filled += n,
        }
    }
    let version = if first == PREFACE { Version::Http2 } else { Version::Http1 };
    if version == Version::Http2 {
        stream.is_not_http1();
    }
    // At most 24.
    let filled = filled as u8;
    Ok((version, Sniffed { first, given: 0, filled, io: TokioIo::new(stream) }))
}

impl Read for Sniffed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let rest = &self.first[self.given.into()..self.filled.into()];
        if rest.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let n = rest.len().min(buf.remaining());
        buf.put_slice(&rest[..n]);
        self.given += n as u8;
        // What the socket has already goes into the same buffer: a reader that got so little would ask again with
        // another one. Whatever the socket says, there is something to give; an end or an error comes again.
        if buf.remaining() > 0 {
            let _ = Pin::new(&mut self.io).poll_read(cx, buf);
        }
        Poll::Ready(Ok(()))
    }
}

impl Write for Sniffed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}
