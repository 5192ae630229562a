//! The HTTP side alone, over real sockets: raw bytes in, raw bytes out, a scripted provider behind the relay.

mod calls;
mod desk;
mod dialects;
mod ending;
mod hosts;
mod keeping;
mod legacy;
mod relaying;
mod smuggling;
mod smuggling_h2;
mod tls;
mod tokens;
mod upstreams;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use common::outcome::{Outcome, Response as Provided};
use common::seal::Keyring;
use http::{HeaderMap, Request, StatusCode};
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::admit::Admission;
use super::answer::batched;
use super::body::Intake;
use super::front::{Reception, Step, relaying};
use super::payload::Payload;
use super::route::{Route, Routes};
use super::server::{Answering, Handler, ServeLimits, listen, serve};
use super::socket::Socket;
use crate::accounts::{Cashier, Prices};
use crate::fair::Amount;
use crate::hold::Ended;
use crate::http::Soloist;
use crate::relay::Relay;
use crate::stats::Stats;
pub(super) use upstreams::upstreams;

const MAX_BODY: u64 = 10_000_000;
const MAX_CONNECTIONS: usize = 20;
const UNREAD_FOR: Duration = Duration::from_secs(1);

/// Waits with a bound that no healthy run comes near.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("this takes no time")
}

/// Holds calls in the place of the state machine: one whose model is `wait` never ends, others are answered with
/// their own body.
struct Desk {
    routes: Routes,
    reception: Arc<Reception>,
    held: mpsc::UnboundedSender<Event>,
}

#[derive(Debug, PartialEq, Eq)]
enum Event {
    Held,
    Gone,
}

struct Waiting(mpsc::UnboundedSender<Event>);

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.send(Event::Gone);
    }
}

impl Handler for Desk {
    fn handle(self: Arc<Self>, request: Request<Incoming>, _: Option<Arc<Socket>>) -> Answering {
        let (head, body) = request.into_parts();
        let (place, endpoint) = match self.routes.route(&head) {
            Route::Batch(place, endpoint) => (place, Some(endpoint)),
            Route::Relay(place) => (place, None),
            other => panic!("{other:?}"),
        };
        let dialect = place.dialect();
        let received = Box::pin(self.reception.clone().receive(place, endpoint, head, body, None));
        Box::pin(async move {
            let (call, ongoing) = match received.await {
                Step::Answer(response) => return response,
                Step::Hold(call, _, ongoing) => (call, ongoing),
            };
            if call.key.model() == "wait" {
                let _waiting = Waiting(self.held.clone());
                let _ = self.held.send(Event::Held);
                std::future::pending::<()>().await;
            }
            let provided = Provided {
                status: StatusCode::OK,
                headers: HeaderMap::new(),
                job: "batch_1".into(),
                body: call.body,
                unbatchable: false,
                route: Default::default(),
            };
            let outcome = Outcome::Response(provided).into();
            let ended = Ended::new(outcome, Duration::from_secs(1));
            let (response, how) = batched(dialect, &ended, None);
            ongoing.answered(how);
            response.map(Payload::from)
        })
    }
}

/// The HTTP side on a port of its own.
struct Proxy {
    address: SocketAddr,
    events: mpsc::UnboundedReceiver<Event>,
    drain: CancellationToken,
    abort: CancellationToken,
    served: tokio::task::JoinHandle<()>,
}

impl Proxy {
    async fn start(provider: SocketAddr) -> Self {
        let (drain, abort) = (CancellationToken::new(), CancellationToken::new());
        let (held, events) = mpsc::unbounded_channel();
        let upstreams = upstreams(&format!("http://{provider}"), "/v1");
        let relay = Arc::new(Relay::new(&upstreams, abort.clone()).unwrap());
        let receiving = Amount { count: MAX_CONNECTIONS, bytes: 10 * MAX_BODY };
        let admission = Admission::new(
            Arc::new(Keyring::for_one_process()),
            Intake::new(MAX_BODY, receiving),
            None,
            false,
        );
        let reception = Reception {
            admission,
            stats: Arc::new(Stats::default()),
            relay: relay.clone(),
            soloist: Soloist::new(relay, upstreams.clone()),
            prices: Arc::new(Prices::new(&upstreams)),
            cashier: Arc::new(Cashier::new(Arc::new(Prices::new(&upstreams)), Arc::default())),
            relaying: relaying(MAX_CONNECTIONS),
            hold_status: false,
            warned: AtomicBool::new(false),
        };
        let reception = Arc::new(reception);
        let listener = listen("127.0.0.1:0".parse().unwrap(), UNREAD_FOR).unwrap();
        let address = listener.local_addr().unwrap();
        let limits = ServeLimits { max_connections: MAX_CONNECTIONS };
        let served = tokio::spawn(serve(
            listener,
            None,
            Arc::new(Desk { routes: Routes::new(&upstreams), reception, held }),
            limits,
            drain.clone(),
            abort.clone(),
        ));
        Self { address, events, drain, abort, served }
    }

    /// Without a provider: nothing listens there.
    async fn alone() -> Self {
        Self::start("127.0.0.1:9".parse().unwrap()).await
    }

    async fn client(&self) -> Wire {
        Wire(TcpStream::connect(self.address).await.unwrap())
    }

    async fn event(&mut self) -> Event {
        soon(self.events.recv()).await.unwrap()
    }
}

/// A provider that the test plays itself, connection by connection.
struct Provider(TcpListener);

impl Provider {
    async fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    async fn accept(&self) -> Wire {
        Wire(soon(self.0.accept()).await.unwrap().0)
    }
}

/// One end of a connection, byte by byte.
struct Wire<S = TcpStream>(S);

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        soon(self.0.write_all(bytes.as_ref())).await.unwrap();
    }

    /// Reads up to and including `end`.
    async fn until(&mut self, end: &str) -> String {
        let mut read = Vec::new();
        while !read.ends_with(end.as_bytes()) {
            match soon(self.0.read_u8()).await {
                Ok(byte) => read.push(byte),
                Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&read)),
            }
        }
        String::from_utf8(read).unwrap()
    }

    async fn head(&mut self) -> String {
        self.until("\r\n\r\n").await
    }

    /// Reads a message with a content length: its head and its body.
    async fn message(&mut self) -> (String, Bytes) {
        let head = self.head().await;
        let length = line(&head, "content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        soon(self.0.read_exact(&mut body)).await.unwrap();
        (head, body.into())
    }

    /// Waits for the other side to close, in whatever way.
    async fn closed(&mut self) {
        let mut rest = Vec::new();
        let _ = soon(self.0.read_to_end(&mut rest)).await;
    }

    /// Sends a JSON call with a key and reads its answer.
    async fn call(&mut self, path: &str, body: &str) -> (String, Bytes) {
        self.send(post(path, body)).await;
        self.message().await
    }
}

fn post(path: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: proxy\r\nauthorization: Bearer k\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

/// The value of a header line.
fn line<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn status(head: &str) -> &str {
    head.split(' ').nth(1).unwrap()
}

fn error(body: &[u8]) -> String {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap();
    body["error"]["message"].as_str().unwrap().to_owned()
}
