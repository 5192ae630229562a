//! Connections to the provider.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tower_service::Service;

use crate::http::Payload;

/// How long a connection may take to be made, name look-up and TLS included. Answers have no time limit: only
/// their callers know how long they are worth waiting for.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Idle connections kept for the next request, and for how long.
const MAX_IDLE: usize = 64;
const IDLE: Duration = Duration::from_secs(60);
/// Silence after which an HTTP/2 connection with open requests is probed.
const PROBE: Duration = Duration::from_secs(30);

/// Clients that keep connections open for later requests.
pub(super) struct Clients {
    /// Speaks HTTP/2 where the provider offers it over TLS.
    pub(super) any: Client<Timely<HttpsConnector<HttpConnector>>, Payload>,
    /// For upgrades, which HTTP/2 does not have.
    pub(super) http1: Client<Timely<HttpsConnector<HttpConnector>>, Payload>,
}

impl Clients {
    /// Clients that trust the system's certificate authorities, which are looked up only if TLS is needed.
    pub(super) fn new(tls: bool) -> io::Result<Self> {
        let config = config(tls)?;
        let builder = || HttpsConnectorBuilder::new().with_tls_config(config.clone()).https_or_http();
        let any = builder().enable_all_versions().wrap_connector(tcp());
        let http1 = builder().enable_http1().wrap_connector(tcp());
        Ok(Self { any: client(any), http1: client(http1) })
    }
}

fn config(tls: bool) -> io::Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    Ok(match tls {
        true => builder.try_with_platform_verifier().map_err(io::Error::other)?.with_no_client_auth(),
        false => builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth(),
    })
}

fn tcp() -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(Duration::from_secs(60)));
    tcp
}

fn client(
    connector: HttpsConnector<HttpConnector>,
) -> Client<Timely<HttpsConnector<HttpConnector>>, Payload> {
    Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(MAX_IDLE)
        .http2_keep_alive_interval(PROBE)
        .http2_adaptive_window(true)
        .build(Timely(connector))
}

/// A connector that gives up in time.
#[derive(Debug, Clone)]
pub(super) struct Timely<C>(C);

type Boxed = Box<dyn Error + Send + Sync>;
type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

impl<C> Service<Uri> for Timely<C>
where
    C: Service<Uri, Response = Stream, Error = Boxed>,
    C::Future: Send + 'static,
{
    type Response = Stream;
    type Error = Boxed;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, Boxed>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Boxed>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT, self.0.call(uri));
        Box::pin(async move {
            match connecting.await {
                Ok(connected) => connected,
                Err(_) => Err(format!("no connection after {} seconds", CONNECT_TIMEOUT.as_secs()).into()),
            }
        })
    }
}
