//! Routes for operators on a listener of their own: `/healthz`, `/readyz`, `/stats`.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tracing::debug;

/// Connections served at the same time; more wait in the operating system's queue.
const CONNECTIONS: usize = 64;
/// A caller that takes longer to send its request is cut off.
const REQUEST_TIME: Duration = Duration::from_secs(10);
/// A connection is closed after this long, so that idle ones do not use up [`CONNECTIONS`].
const CONNECTION_TIME: Duration = Duration::from_secs(60);
/// How long to wait after a failed accept: mostly the process is out of open files, and spinning does not help.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Content type and content of the page at a path, if there is one.
pub type Pages = Box<dyn Fn(&str) -> Option<(&'static str, Bytes)> + Send + Sync>;

/// What the routes answer.
pub struct Routes {
    /// Whether `/readyz` is 200; it is 503 otherwise. `/healthz` is always 200.
    pub ready: Box<dyn Fn() -> bool + Send + Sync>,
    /// The pages about what was done, `/stats` and below; 404 without.
    pub stats: Option<Pages>,
}

/// A listener with an address, not yet served.
#[derive(Debug)]
pub struct Bound(TcpListener);

/// Opens the listener; port 0 takes a free one.
///
/// # Errors
/// What the operating system says, for example that the address is in use.
pub async fn bind(address: SocketAddr) -> std::io::Result<Bound> {
    TcpListener::bind(address).await.map(Bound)
}

impl Bound {
    /// The address, with the true port.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Serves until dropped, through the whole shutdown of the roles too: an orchestrator goes on asking.
    pub async fn run(self, routes: Routes) -> Infallible {
        let routes = Arc::new(routes);
        let connections = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            // Never closed, so it cannot fail.
            let Ok(permit) = connections.clone().acquire_owned().await else { continue };
            match self.0.accept().await {
                Ok((stream, _)) => {
                    let routes = routes.clone();
                    tokio::spawn(async move {
                        let _permit = permit;
                        serve(stream, routes).await;
                    });
                }
                Err(error) => {
                    debug!(%error, "the admin listener cannot accept a connection");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            }
        }
    }
}

async fn serve(stream: TcpStream, routes: Arc<Routes>) {
    let service = service_fn(|request: Request<Incoming>| {
        let response = routes.answer(request.method(), request.uri().path());
        async { Ok::<_, Infallible>(response) }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(REQUEST_TIME);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    // Errors are those of callers that went away.
    let _ = tokio::time::timeout(CONNECTION_TIME, connection).await;
}

impl Routes {
    /// The answer to a request for `path`, for listeners that serve these routes among others: `None` where the path is
    /// not one of them.
    pub fn find(&self, path: &str) -> Option<Response<Full<Bytes>>> {
        match (path, &self.stats) {
            ("/healthz", _) => Some(text(StatusCode::OK, "ok\n")),
            ("/readyz", _) if (self.ready)() => Some(text(StatusCode::OK, "ready\n")),
            ("/readyz", _) => Some(text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n")),
            (_, Some(stats)) => stats(path).map(|(kind, page)| response(StatusCode::OK, kind, page)),
            _ => None,
        }
    }

    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        let found = self.find(path).unwrap_or_else(|| text(StatusCode::NOT_FOUND, "not found\n"));
        // Hyper sends no body in answer to HEAD.
        match *method == Method::GET || *method == Method::HEAD {
            true => found,
            false => text(StatusCode::METHOD_NOT_ALLOWED, "use GET\n"),
        }
    }
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    response(status, "text/plain; charset=utf-8", Bytes::from_static(body.as_bytes()))
}

fn response(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    async fn ask(address: SocketAddr, line: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn routes_answer_over_http() {
        let up = Arc::new(AtomicBool::new(false));
        let ready = up.clone();
        let routes = Routes {
            ready: Box::new(move || ready.load(Ordering::Relaxed)),
            stats: Some(Box::new(|path| {
                let page = Bytes::from_static(b"{\"requests\":{}}");
                (path == "/stats").then_some(("application/json", page))
            })),
        };
        let bound = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = bound.local_addr().unwrap();
        let server = tokio::spawn(bound.run(routes));
        assert!(ask(address, "GET /healthz").await.starts_with("HTTP/1.1 200"));
        assert!(ask(address, "GET /readyz").await.starts_with("HTTP/1.1 503"));
        up.store(true, Ordering::Relaxed);
        assert!(ask(address, "GET /readyz?verbose").await.starts_with("HTTP/1.1 200"));
        assert!(ask(address, "GET /stats").await.ends_with("{\"requests\":{}}"));
        assert!(ask(address, "GET /v1/models").await.starts_with("HTTP/1.1 404"));
        assert!(ask(address, "POST /stats").await.starts_with("HTTP/1.1 405"));
        assert!(ask(address, "HEAD /healthz").await.starts_with("HTTP/1.1 200"));
        server.abort();
    }

    #[test]
    fn stats_are_not_found_where_there_are_none() {
        let routes = Routes { ready: Box::new(|| true), stats: None };
        assert!(routes.find("/stats").is_none() && routes.find("/readyz").is_some());
    }
}
