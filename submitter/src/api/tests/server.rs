//! An HTTP/1.1 server that answers with given bytes and breaks off where it is told to.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// One request, as it came.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// Counted from 0 over the whole server.
    pub(super) number: usize,
    pub(super) connection: usize,
    /// Method and target: `GET /v1/files`.
    pub(super) line: String,
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let value = values.next();
        assert_eq!(values.next(), None, "{name} is sent twice");
        value
    }
}

/// What to do after a request.
pub(super) enum Reply {
    /// Answer and wait for the next one.
    Keep(Vec<u8>),
    /// Send these bytes, perhaps none, and close.
    Close(Vec<u8>),
    /// Send these bytes and reset the connection.
    Reset(Vec<u8>),
    /// Say nothing and read nothing.
    Hang,
}

/// A whole answer with its length.
pub(super) fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

pub(super) fn ok(body: &str) -> Reply {
    Reply::Keep(answer(
        "200 OK",
        "content-type: application/json\r\nx-request-id: req_1\r\n",
        body.as_bytes(),
    ))
}

pub(super) fn status(status: &str, body: &str) -> Reply {
    Reply::Keep(answer(status, "x-request-id: req_1\r\n", body.as_bytes()))
}

type Handler = Box<dyn Fn(&Seen) -> Reply + Send + Sync>;

pub(super) struct Server {
    pub(super) origin: String,
    state: Arc<State>,
    accepting: tokio::task::JoinHandle<()>,
}

struct State {
    handler: Handler,
    /// Whether to answer before the body was read.
    early: bool,
    seen: Mutex<Vec<Seen>>,
    /// How many bytes of bodies have come, also of bodies that never ended.
    received: Mutex<Vec<u8>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Server {
    pub(super) async fn start(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::listen(false, Box::new(handler)).await
    }

    /// A server that answers as soon as it has a request's head.
    pub(super) async fn start_early(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::listen(true, Box::new(handler)).await
    }

    async fn listen(early: bool, handler: Handler) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State { handler, early, seen: Mutex::default(), received: Mutex::default() });
        let shared = state.clone();
        let accepting = tokio::spawn(async move {
            for connection in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(shared.clone().serve(stream, connection));
            }
        });
        Self { origin, state, accepting }
    }

    pub(super) fn base(&self) -> String {
        format!("{}/v1", self.origin)
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    pub(super) fn received(&self) -> Vec<u8> {
        self.state.received.lock().unwrap().clone()
    }

    /// Waits until so many requests have come.
    pub(super) async fn wait_for(&self, requests: usize) {
        for _ in 0..6000 {
            if self.state.seen.lock().unwrap().len() >= requests {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{requests} requests did not come");
    }
}

impl State {
    async fn serve(self: Arc<Self>, mut stream: TcpStream, connection: usize) {
        let mut buffer = Vec::new();
        while let Some(seen) = self.read(&mut stream, &mut buffer, connection).await {
            match (self.handler)(&seen) {
                Reply::Keep(bytes) => stream.write_all(&bytes).await.unwrap(),
                Reply::Close(bytes) => {
                    stream.write_all(&bytes).await.unwrap();
                    stream.shutdown().await.unwrap();
                    // Reads what still comes: closing with unread bytes would be a reset.
                    while matches!(stream.read_buf(&mut buffer).await, Ok(1..)) {
                        buffer.clear();
                    }
                    return;
                }
                Reply::Reset(bytes) => {
                    stream.write_all(&bytes).await.unwrap();
                    stream.set_zero_linger().unwrap();
                    return;
                }
                Reply::Hang => std::future::pending().await,
            }
        }
    }

    async fn read(&self, stream: &mut TcpStream, buffer: &mut Vec<u8>, connection: usize) -> Option<Seen> {
        let end = loop {
            if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(buffer).await.ok()? == 0 {
                return None;
            }
        };
        let head = String::from_utf8(buffer.drain(..end).collect()).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let line = lines.next().unwrap().trim_end_matches(" HTTP/1.1").to_owned();
        let headers = lines.map(|line| line.split_once(": ").unwrap()).map(|(k, v)| (k.into(), v.into()));
        let mut seen = Seen { connection, line, headers: headers.collect(), ..Seen::default() };
        if !self.early {
            assert_eq!(seen.header("transfer-encoding"), None, "the length should be known");
            let length = seen.header("content-length").map_or(0, |length| length.parse().unwrap());
            while buffer.len() < length {
                let before = buffer.len();
                let more = stream.read_buf(buffer).await;
                self.received.lock().unwrap().extend_from_slice(&buffer[before..]);
                if !matches!(more, Ok(1..)) {
                    return None;
                }
            }
            seen.body = buffer.drain(..length).collect();
        }
        let mut all = self.seen.lock().unwrap();
        seen.number = all.len();
        all.push(seen.clone());
        Some(seen)
    }
}
