//! Accepting connections, and ending them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
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
    /// How long a client may leave what was sent to it without acknowledgement, or take nothing of it: a client that
    /// never reads must not keep an answer in memory. In force on Linux.
    pub unread_for: Duration,
}

/// Serves HTTP/1.0, HTTP/1.1 and HTTP/2 without TLS on a listener.
///
/// When `drain` is cancelled, no connection is accepted any more, idle ones are closed, and the rest end with the
/// answers they wait for. When `abort` is cancelled, all are closed at once. Returns when none is left.
pub async fn serve<H: Handler>(
    listener: TcpListener,
    handler: Arc<H>,
    limits: ServeLimits,
    drain: CancellationToken,
    abort: CancellationToken,
) {
    prepare(&listener, limits.unread_for);
    let closing = CancellationToken::new();
    let connections = Arc::new(Connections::new(handler, closing.clone(), abort.clone()));
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

/// What all connections inherit: small writes leave at once, and a client whose machine has gone, or that never reads, is
/// noticed. Set on the listener, it costs each connection nothing.
fn prepare(listener: &TcpListener, unread_for: Duration) {
    let keepalive = TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_EVERY);
    let socket = SockRef::from(listener);
    let set = socket.set_tcp_nodelay(true).and_then(|()| socket.set_tcp_keepalive(&keepalive));
    #[cfg(target_os = "linux")]
    let set = set.and_then(|()| socket.set_tcp_user_timeout(Some(unread_for)));
    if let Err(error) = set {
        tracing::warn!(%error, "the listener takes no options: clients that vanish may go unnoticed");
    }
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
