//! TCP, with or without TLS, usable from two places.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// What bytes go through.
#[derive(Debug)]
pub(super) enum Line {
    /// In the clear.
    Plain(TcpStream),
    /// Sealed. Locked for a moment at a time, and by one task: never waited for.
    Tls(Box<Mutex<TlsStream<TcpStream>>>),
}

impl Line {
    pub(super) fn plain(stream: TcpStream) -> Self {
        Self::Plain(stream)
    }

    pub(super) fn tls(stream: TlsStream<TcpStream>) -> Self {
        Self::Tls(Box::new(Mutex::new(stream)))
    }

    /// Lets the close of the connection be a reset.
    pub(super) fn reset_at_close(&self) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => SockRef::from(tcp).set_linger(Some(Duration::ZERO)),
            Self::Tls(tls) => SockRef::from(lock(tls).get_ref().0).set_linger(Some(Duration::ZERO)),
        }
    }

    /// Whether bytes that were taken wait here for the system to take them.
    pub(super) fn has_unsent(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(tls) => lock(tls).get_ref().1.wants_write(),
        }
    }

    pub(super) fn poll_read(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let tcp = match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => return Pin::new(&mut *lock(tls)).poll_read(cx, buf),
        };
        loop {
            ready!(tcp.poll_read_ready(cx))?;
            match tcp.try_read_buf(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return Poll::Ready(read.map(drop)),
            }
        }
    }

    pub(super) fn poll_write(&self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let tcp = match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => return Pin::new(&mut *lock(tls)).poll_write_vectored(cx, bufs),
        };
        loop {
            ready!(tcp.poll_write_ready(cx))?;
            match tcp.try_write_vectored(bufs) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    /// Writes what can be taken at once. With TLS a part of that may wait for a flush.
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.try_write(bytes),
            Self::Tls(tls) => {
                match Pin::new(&mut *lock(tls)).poll_write(&mut Context::from_waker(Waker::noop()), bytes) {
                    Poll::Ready(written) => written,
                    Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
                }
            }
        }
    }

    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(tls) => Pin::new(&mut *lock(tls)).poll_flush(cx),
        }
    }

    pub(super) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(tcp) => Poll::Ready(SockRef::from(tcp).shutdown(Shutdown::Write)),
            Self::Tls(tls) => Pin::new(&mut *lock(tls)).poll_shutdown(cx),
        }
    }
}

/// A connection whose task crashed is closed by that.
fn lock(tls: &Mutex<TlsStream<TcpStream>>) -> MutexGuard<'_, TlsStream<TcpStream>> {
    tls.lock().unwrap_or_else(PoisonError::into_inner)
}
