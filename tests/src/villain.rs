//! A provider that harms whoever calls it, between a proxy and a true one: what is asked of it by name is answered so
//! that a careless client runs out of memory or loses its place; everything else goes through.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Longest head of a request that is read.
const MAX_HEAD: usize = 64 * 1024;
/// Of an answer without end, so much is sent at a time.
const PIECE: usize = 64 * 1024;
/// An answer without end ends after so many bytes, in case that somebody does read it: far more than may be kept of it.
const ENDLESS: usize = 40_000_000;
/// Bytes of the packed answer; unpacked it is 158 times as long.
pub const BOMB: usize = 8_000_000;

/// What it does, by the word that asks for it: in the path of a relayed call, or in the key of a batch.
pub const DEEDS: [&str; 11] = [
    "endless-status",
    "endless-header",
    "endless-headers",
    "endless-hints",
    "endless-body",
    "bomb",
    "two-lengths",
    "bad-chunks",
    "bad-header",
    "cut",
    "garbage",
];

/// A running one.
#[derive(Debug)]
pub struct Villain {
    address: SocketAddr,
    done: Arc<[AtomicUsize; DEEDS.len()]>,
    running: JoinHandle<()>,
}

impl Villain {
    /// Starts one before a true provider.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn before(provider: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let done = Arc::<[AtomicUsize; DEEDS.len()]>::default();
        let counts = done.clone();
        let running = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let counts = counts.clone();
                // What goes wrong is its way.
                tokio::spawn(async move { drop(serve(stream, provider, &counts).await) });
            }
        });
        Ok(Self { address, done, running })
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// How often it has done each deed.
    pub fn done(&self) -> Vec<(&'static str, usize)> {
        let counts = self.done.iter().map(|count| count.load(Ordering::Relaxed));
        DEEDS.into_iter().zip(counts).collect()
    }
}

impl Drop for Villain {
    fn drop(&mut self) {
        self.running.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    provider: SocketAddr,
    done: &[AtomicUsize; DEEDS.len()],
) -> io::Result<()> {
    let mut read = Vec::new();
    let end = loop {
        if let Some(at) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        if read.len() > MAX_HEAD || stream.read_buf(&mut read).await? == 0 {
            return Ok(());
        }
    };
    let head = String::from_utf8_lossy(&read[..end]).into_owned();
    let line = head.lines().next().unwrap_or_default();
    // Files are uploaded and jobs made as they should be; the polls and the results are not.
    let is_result = line.starts_with("GET ") && line.contains("/content");
    let is_poll = line.starts_with("GET /v1/batches/") && head.contains("-poll-");
    let asked = if is_result || is_poll { head.as_str() } else { line };
    let word = |deed: &&str| asked.contains(&format!("hostile-{deed}."));
    match DEEDS.iter().position(word) {
        Some(at) => {
            done[at].fetch_add(1, Ordering::Relaxed);
            harm(&mut stream, DEEDS[at]).await
        }
        None => {
            // One request for each connection, so that each is looked at.
            let mut through = TcpStream::connect(provider).await?;
            through.write_all(&read[..end]).await?;
            through.write_all(b"\r\nconnection: close").await?;
            through.write_all(&read[end..]).await?;
            tokio::io::copy_bidirectional(&mut stream, &mut through).await.map(drop)
        }
    }
}

async fn harm(stream: &mut TcpStream, deed: &str) -> io::Result<()> {
    const OK: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    let once = |text: &str| [OK, text].concat();
    let (beginning, again) = match deed {
        "endless-status" => ("HTTP/1.1 200 ".to_owned(), "a".to_owned()),
        "endless-header" => (once("x: "), "a".to_owned()),
        "endless-headers" => (OK.to_owned(), "x: y\r\n".to_owned()),
        "endless-hints" => (String::new(), "HTTP/1.1 103 Early Hints\r\n\r\n".to_owned()),
        "endless-body" => (once("\r\n"), "a".to_owned()),
        "two-lengths" => (once("content-length: 2\r\ncontent-length: 9\r\n\r\n{}"), String::new()),
        "bad-chunks" => (once("transfer-encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n{}"), String::new()),
        "bad-header" => (once("x: a\0b\r\ncontent-length: 2\r\n\r\n{}"), String::new()),
        "cut" => (once("content-length: 1000\r\n\r\n{"), String::new()),
        "bomb" => {
            let head = once(&format!("content-encoding: gzip\r\ncontent-length: {BOMB}\r\n\r\n"));
            stream.write_all(head.as_bytes()).await?;
            return stream.write_all(&PACKED).await;
        }
        _ => ("\u{1}garbage\r\n\r\n".to_owned(), String::new()),
    };
    stream.write_all(beginning.as_bytes()).await?;
    let piece = again.repeat(PIECE / again.len().max(1));
    for _ in 0..ENDLESS / PIECE {
        if again.is_empty() {
            break;
        }
        stream.write_all(piece.as_bytes()).await?;
    }
    stream.shutdown().await
}

/// A gzip file of [`BOMB`] bytes that unpacks into zeros without end: the code for 258 bytes as one byte before takes 13
/// bits, of fixed Huffman codes (RFC 1951, 3.2.6), and comes again and again.
pub static PACKED: LazyLock<Vec<u8>> = LazyLock::new(|| {
    const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let mut bits = String::new();
    // The last block, with fixed codes; one literal zero.
    bits += "110";
    bits += "00110000";
    bits += &"1100010100000".repeat(300);
    let byte = |eight: &[u8]| eight.iter().rev().fold(0, |byte, bit| byte << 1 | (bit - b'0'));
    let packed: Vec<u8> = bits.as_bytes().chunks_exact(8).map(byte).collect();
    // Eight of them take 13 bytes exactly.
    let (first, period) = packed.split_at(26);
    let period = &period[..13];
    let zeros = period.iter().cycle();
    HEAD.iter().chain(first).chain(zeros).take(BOMB).copied().collect()
});
