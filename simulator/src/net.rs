//! Connections: an accept loop of our own, so that a handler can break its connection.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::body::Body;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4096;

/// A handler's hold on its connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Control {
    gone: CancellationToken,
    reset: Arc<AtomicBool>,
}

impl Control {
    /// Resets the connection (a TCP RST) with everything that runs on it, and never returns.
    pub(crate) async fn reset<R>(&self) -> R {
        self.reset.store(true, Ordering::Relaxed);
        self.gone.cancel();
        std::future::pending().await
    }
}

/// A TCP stream that is reset instead of closed when its control says so.
struct Stream {
    tcp: TcpStream,
    control: Control,
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.control.reset.load(Ordering::Relaxed) {
            // A linger of zero makes the close that follows a reset. If it fails, the peer sees a plain close.
            let _ = self.tcp.set_zero_linger();
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

/// Listens on `HOST:PORT`.
pub(crate) async fn bind(listen: &str) -> anyhow::Result<TcpListener> {
    let mut addresses =
        tokio::net::lookup_host(listen).await.with_context(|| format!("cannot resolve {listen}"))?;
    let address = addresses.next().with_context(|| format!("{listen} has no address"))?;
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address).with_context(|| format!("cannot listen on {address}"))?;
    Ok(socket.listen(BACKLOG)?)
}

/// Serves HTTP/1.1 and HTTP/2 until it is stopped; open connections are then dropped.
pub(crate) async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((tcp, _)) => {
                tokio::spawn(connection(tcp, router.clone(), stop.clone()));
            }
            Err(error) => {
                // Out of file descriptors, most likely: others must close first.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection(tcp: TcpStream, router: Router, stop: CancellationToken) {
    let control = Control::default();
    // Without it small answers wait for acknowledgements; nothing depends on it.
    let _ = tcp.set_nodelay(true);
    let stream = TokioIo::new(Stream { tcp, control: control.clone() });
    let router = TowerToHyperService::new(router);
    let of_handlers = control.clone();
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(of_handlers.clone());
        router.call(request.map(Body::new))
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new());
    tokio::select! {
        () = control.gone.cancelled() => {}
        () = stop.cancelled() => {}
        result = builder.serve_connection_with_upgrades(stream, service) => {
            if let Err(error) = result {
                tracing::debug!(error, "a connection ended early");
            }
        }
    }
}
