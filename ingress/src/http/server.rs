//! Accepting connections, and ending them.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::conn::Connections;
use super::payload::Payload;
use super::socket::Socket;

/// The pause after an accept that failed, as it does when no more files can be opened.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Silence after which the other side is asked for a sign of life, and the pause between questions: a client that
/// vanished without a word must not be held for.
pub(super) const PROBE_AFTER: Duration = Duration::from_secs(60);
pub(super) const PROBE_EVERY: Duration = Duration::from_secs(20);

/// Connections that wait to be accepted, as far as the system allows. Programs begin thousands of calls at once, and one
/// that finds no place here tries again only after a second, then three, then seven.
const BACKLOG: u32 = 65_535;

/// Takes a port. Connections inherit what is set here, which costs each of them nothing: small writes leave at once, and a
/// client is noticed whose machine has gone, or that takes nothing of what it is sent for `unread_for` (on Linux).
///
/// # Errors
/// If the address cannot be had.
pub fn listen(address: SocketAddr, unread_for: Duration) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // As the standard library does on Unix: a restart must not wait for old connections to be forgotten.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let options = SockRef::from(&socket);
    options.set_tcp_nodelay(true)?;
    options.set_tcp_keepalive(&TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_EVERY))?;
    #[cfg(target_os = "linux")]
    options.set_tcp_user_timeout(Some(unread_for))?;
    socket.listen(BACKLOG)
}

/// An answer in the making. Dropped when the client leaves.
pub type Answering = Pin<Box<dyn Future<Output = Response<Payload>> + Send>>;

/// Answers requests.
pub trait Handler: Send + Sync + 'static {
    /// Begins to answer one request, with the connection of HTTP/1 at hand, which it has to itself.
    fn handle(self: Arc<Self>, request: Request<Incoming>, socket: Option<Arc<Socket>>) -> Answering;
}

/// Bounds of a listener.
#[derive(Debug, Clone, Copy)]
pub struct ServeLimits {
    /// Connections at a time; further ones wait in the system's queue. Keep it below the limit of open files, with
    /// room for what is relayed: each relayed request opens one more.
    pub max_connections: usize,
}

/// Serves HTTP/1.0, HTTP/1.1 and HTTP/2 on a listener, over TLS or in the clear.
///
/// When `drain` is cancelled, no connection is accepted any more, idle ones are closed, and the rest end with the
/// answers they wait for. When `abort` is cancelled, all are closed at once. Returns when none is left.
pub async fn serve<H: Handler>(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    handler: Arc<H>,
    limits: ServeLimits,
    drain: CancellationToken,
    abort: CancellationToken,
) {
    let closing = CancellationToken::new();
    let connections = Arc::new(Connections::new(handler, tls, closing.clone(), abort.clone()));
    let tasks = TaskTracker::new();
    let permits = Arc::new(Semaphore::new(limits.max_connections.min(Semaphore::MAX_PERMITS)));
    let accepting = async {
        loop {
            // The semaphore is never closed.
            let Ok(permit) = permits.clone().acquire_owned().await else { return };
            let stream = accept(&listener).await;
            tasks.spawn(run(connections.clone(), stream, permit));
        }
    };
    tokio::select! {
        () = accepting => {}
        () = drain.cancelled() => {}
        () = abort.cancelled() => {}
    }
    drop(listener);
    closing.cancel();
    tasks.close();
    tasks.wait().await;
}

/// The next connection, however long it takes.
async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        let error = match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => error,
        };
        // A connection that was gone before it was accepted says nothing about the next one.
        if matches!(
            error.kind(),
            io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
        ) {
            continue;
        }
        tracing::warn!(%error, "cannot accept a connection; is the limit of open files too low?");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

async fn run<H: Handler>(connections: Arc<Connections<H>>, stream: TcpStream, permit: OwnedSemaphorePermit) {
    connections.serve(stream).await;
    drop(permit);
}
