//! A client's socket: shared by the HTTP library, which reads and writes messages, and by a call that is held, which may
//! have to say something beside them.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// An interim response that says that the request is being worked on (RFC 2518, 10.1; 1xx: RFC 9110, 15.2).
const PROCESSING: &[u8] = b"HTTP/1.1 102 Processing\r\n\r\n";

/// What one connection is made of.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    /// Whether the library has bytes that the system did not take yet: nothing may be written in between.
    unwritten: AtomicBool,
    /// Whether the connection must not end as if all was well.
    broken: AtomicBool,
}

impl Socket {
    pub(super) fn new(stream: TcpStream) -> Arc<Self> {
        Arc::new(Self { stream, unwritten: AtomicBool::new(false), broken: AtomicBool::new(false) })
    }

    /// Lets the connection end with a reset instead of an orderly end, which a client of HTTP/1.0 would take for the end of
    /// the answer.
    pub(super) fn break_off(&self) {
        self.broken.store(true, Ordering::Relaxed);
        if let Err(error) = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)) {
            tracing::debug!(%error, "a connection cannot be reset");
        }
    }

    /// Writes a `102 Processing` of HTTP/1.1. Only while a request is held whose answer has not begun.
    ///
    /// # Errors
    /// When the connection cannot be used any more.
    pub(super) fn processing(&self) -> io::Result<()> {
        if self.unwritten.load(Ordering::Relaxed) {
            // The end of the answer before is still on its way: the client knows that we are there.
            return Ok(());
        }
        match self.stream.try_write(PROCESSING) {
            Ok(n) if n == PROCESSING.len() => Ok(()),
            // Nobody has read for a long time; half a line cannot be taken back.
            Ok(_) => {
                self.break_off();
                Err(io::ErrorKind::WriteZero.into())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Does something with the stream as soon as it is ready.
    fn write_with(
        &self,
        cx: &mut Context<'_>,
        wanted: usize,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        self.unwritten.store(true, Ordering::Relaxed);
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            match write(&self.stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => {
                    self.unwritten.store(!matches!(written, Ok(n) if n == wanted), Ordering::Relaxed);
                    return Poll::Ready(written);
                }
            }
        }
    }
}

/// A socket as the HTTP library sees it.
#[derive(Debug)]
pub(super) struct Stream(pub(super) Arc<Socket>);

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.stream.poll_read_ready(cx))?;
            match self.0.stream.try_read_buf(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return Poll::Ready(read.map(drop)),
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.0.write_with(cx, buf.len(), |stream| stream.try_write(buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wanted = bufs.iter().map(|buf| buf.len()).sum();
        self.0.write_with(cx, wanted, |stream| stream.try_write_vectored(bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.0.broken.load(Ordering::Relaxed) {
            // The reset comes with the close.
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(SockRef::from(&self.0.stream).shutdown(Shutdown::Write))
    }
}
