//! One connection: its protocol, its limits, its end.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::payload::Payload;
use super::server::{Answering, Handler, PROBE_AFTER, PROBE_EVERY};
use super::sniff::{Sniffed, Version, sniff};
use super::socket::{Socket, Stream};
use super::strict;

/// How long a request's head may take, TLS included, and how long a connection may idle before it.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Header lines of a request, at most.
const MAX_HEADERS: usize = 100;
/// Bytes of a request's head at most, and the size that a connection's read buffer may grow to; a held call keeps
/// that buffer. 16 KB is also Node's limit of a head.
const MAX_BUFFER: usize = 16 * 1024;
/// Streams of one HTTP/2 connection. Admission limits what is held; a low limit here would let calls queue in their
/// client instead, unseen, for as long as the others wait for their batches.
const MAX_STREAMS: u32 = 100_000;
/// Bytes of bodies that an HTTP/2 connection may send before any is read. Thousands of calls begin on one connection at a
/// time; where they have to share a small window they are cut into frames so small that h2 takes it for a flood.
const WINDOW: u32 = 8 * 1024 * 1024;

/// What all connections of a listener share.
pub(super) struct Connections<H> {
    handler: Arc<H>,
    tls: Option<TlsAcceptor>,
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    closing: CancellationToken,
    abort: CancellationToken,
}

impl<H: Handler> Connections<H> {
    pub(super) fn new(
        handler: Arc<H>,
        tls: Option<TlsAcceptor>,
        closing: CancellationToken,
        abort: CancellationToken,
    ) -> Self {
        let mut http1 = http1::Builder::new();
        http1
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_BUFFER);
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .initial_connection_window_size(WINDOW)
            .max_header_list_size(MAX_BUFFER as u32)
            .keep_alive_interval(PROBE_AFTER)
            .keep_alive_timeout(PROBE_EVERY);
        Self { handler, tls, http1, http2, closing, abort }
    }

    /// Serves a connection to its end.
    pub(super) async fn serve(&self, stream: TcpStream) {
        // Boxed, so that the task of a connection has room for its longest phase only.
        let begun = Box::pin(self.begin(stream)).await;
        match begun {
            Some((Version::Http1, io, socket)) => {
                let calls = Calls { handler: self.handler.clone(), socket: Some(socket) };
                let connection = self.http1.serve_connection(io, calls).with_upgrades();
                self.drive(connection, |connection| connection.graceful_shutdown()).await;
            }
            Some((Version::Http2, io, _)) => {
                let calls = Calls { handler: self.handler.clone(), socket: None };
                let connection = self.http2.serve_connection(io, calls);
                Box::pin(self.drive(connection, |connection| connection.graceful_shutdown())).await;
            }
            None => {}
        }
    }

    /// Waits for the first bytes; nothing, if none come or the listener closes.
    async fn begin(&self, stream: TcpStream) -> Option<(Version, Sniffed, Arc<Socket>)> {
        let beginning = async {
            let socket = match &self.tls {
                None => Socket::plain(stream),
                Some(tls) => Socket::tls(tls.accept(stream).await?),
            };
            let (version, sniffed) = sniff(Stream::new(socket.clone())).await?;
            io::Result::Ok((version, sniffed, socket))
        };
        tokio::select! {
            begun = tokio::time::timeout(HEAD_TIMEOUT, beginning) => begun.ok()?.ok(),
            () = self.closing.cancelled() => None,
        }
    }

    async fn drive<C>(&self, connection: C, graceful: impl FnOnce(Pin<&mut C>))
    where
        C: Future<Output = hyper::Result<()>>,
    {
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => Some(ended),
            () = self.closing.cancelled() => None,
        };
        let ended = match ended {
            Some(ended) => ended,
            None => {
                graceful(connection.as_mut());
                tokio::select! {
                    ended = connection => ended,
                    () = self.abort.cancelled() => Ok(()),
                }
            }
        };
        if let Err(error) = ended {
            // The reason of an HTTP/2 error is only in its sources, which Debug shows.
            tracing::debug!(?error, "connection ended");
        }
    }
}

/// The handler as hyper calls it.
struct Calls<H> {
    handler: Arc<H>,
    /// Of HTTP/1, where one call at a time has the connection to itself.
    socket: Option<Arc<Socket>>,
}

impl<H: Handler> Service<Request<Incoming>> for Calls<H> {
    type Response = Response<Payload>;
    type Error = Infallible;
    type Future = Infallibly;

    fn call(&self, request: Request<Incoming>) -> Infallibly {
        let is_last = self.socket.is_some() && may_switch(request.headers());
        Infallibly { answering: self.handler.clone().handle(request, self.socket.clone()), is_last }
    }
}

/// Whether the connection may become another protocol's. What follows the request is not looked at then.
fn may_switch(headers: &HeaderMap) -> bool {
    headers.get_all(header::UPGRADE).iter().any(|protocol| strict::may_switch(protocol.as_bytes()))
}

/// An answer that cannot fail, as hyper wants it said.
struct Infallibly {
    answering: Answering,
    /// Whether no other request may follow.
    is_last: bool,
}

impl Future for Infallibly {
    type Output = Result<Response<Payload>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let is_last = self.is_last;
        self.answering.poll_unpin(cx).map(|mut response| {
            if is_last && response.status() != StatusCode::SWITCHING_PROTOCOLS {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response)
        })
    }
}
