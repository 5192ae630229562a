//! A client's socket: shared by the HTTP library, which reads and writes messages, and by a call that is held, which may
//! have to say something beside them.

mod line;

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::strict::Strict;
use line::Line;

/// An interim response that says that the request is being worked on (RFC 2518, 10.1; 1xx: RFC 9110, 15.2).
const PROCESSING: &[u8] = b"HTTP/1.1 102 Processing\r\n\r\n";

/// What one connection is made of.
#[derive(Debug)]
pub struct Socket {
    line: Line,
    /// Whether the library has bytes that the system did not take yet: nothing may be written in between.
    unwritten: AtomicBool,
    /// Whether the connection must not end as if all was well.
    broken: AtomicBool,
}

impl Socket {
    pub(super) fn plain(stream: TcpStream) -> Arc<Self> {
        Self::new(Line::plain(stream))
    }

    pub(super) fn tls(stream: TlsStream<TcpStream>) -> Arc<Self> {
        Self::new(Line::tls(stream))
    }

    fn new(line: Line) -> Arc<Self> {
        Arc::new(Self { line, unwritten: AtomicBool::new(false), broken: AtomicBool::new(false) })
    }

    /// Lets the connection end with a reset instead of an orderly end, which a client of HTTP/1.0 would take for the end of
    /// the answer.
    pub(super) fn break_off(&self) {
        self.broken.store(true, Ordering::Relaxed);
        if let Err(error) = self.line.reset_at_close() {
            tracing::debug!(%error, "a connection cannot be reset");
        }
    }

    /// Writes a `102 Processing` of HTTP/1.1. Only while a request is held whose answer has not begun, and within the task of
    /// its connection: the library, which is asked next, waits for what could not be sent at once.
    ///
    /// # Errors
    /// When the connection cannot be used any more.
    pub(super) fn processing(&self) -> io::Result<()> {
        if self.unwritten.load(Ordering::Relaxed) {
            // The end of the answer before is still on its way: the client knows that we are there.
            return Ok(());
        }
        match self.line.try_write(PROCESSING) {
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

    fn write(&self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let wanted = bufs.iter().map(|buf| buf.len()).sum::<usize>();
        let written = self.line.poll_write(cx, bufs);
        let whole = matches!(&written, Poll::Ready(Ok(n)) if *n == wanted) && !self.line.has_unsent();
        self.unwritten.store(!whole, Ordering::Relaxed);
        written
    }
}

/// A socket as the HTTP library sees it: without messages that other readers might understand differently.
#[derive(Debug)]
pub(super) struct Stream {
    socket: Arc<Socket>,
    strict: Strict,
}

impl Stream {
    pub(super) fn new(socket: Arc<Socket>) -> Self {
        Self { socket, strict: Strict::default() }
    }

    /// It is not HTTP/1 that is read.
    pub(super) fn is_not_http1(&mut self) {
        self.strict.free();
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.strict.has_refused() {
            // What was unreadable ends here.
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        let before = buf.filled().len();
        let read = self.socket.line.poll_read(cx, buf);
        self.strict.pass(&mut buf.filled_mut()[before..]);
        read
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.socket.write(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.socket.write(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self.socket.line.poll_flush(cx);
        // The library asks for this when it has nothing left itself.
        if matches!(flushed, Poll::Ready(Ok(()))) {
            self.socket.unwritten.store(false, Ordering::Relaxed);
        }
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.socket.broken.load(Ordering::Relaxed) {
            // The reset comes with the close.
            return Poll::Ready(Ok(()));
        }
        self.socket.line.poll_shutdown(cx)
    }
}
