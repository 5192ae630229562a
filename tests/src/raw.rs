//! Bytes on a connection, and what comes back: clients that keep no rule of HTTP.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Of an answer, so much is kept.
const KEPT: usize = 1024 * 1024;

/// What came of a connection.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Came {
    /// Everything, or the beginning of it.
    pub bytes: Vec<u8>,
    /// The other side closed or reset the connection; else the time was over.
    pub closed: bool,
}

impl Came {
    /// Statuses of the answers, in order; of interim ones too.
    pub fn statuses(&self) -> Vec<u16> {
        let text = String::from_utf8_lossy(&self.bytes);
        let heads = text.match_indices("HTTP/1.1 ");
        heads.filter_map(|(at, word)| text.get(at + word.len()..at + word.len() + 3)?.parse().ok()).collect()
    }
}

/// Sends bytes on a connection of their own and reads until it is closed, or nothing has come for this long.
///
/// # Errors
/// There is no connection.
pub async fn exchange(address: SocketAddr, bytes: &[u8], patience: Duration) -> io::Result<Came> {
    let mut stream = TcpStream::connect(address).await?;
    // The other side may close before it has read all, which is an answer, too.
    let sent = tokio::time::timeout(patience, stream.write_all(bytes)).await;
    drop(sent);
    Ok(rest(&mut stream, patience).await)
}

/// Reads until the connection is closed, or nothing has come for this long.
pub async fn rest(stream: &mut TcpStream, patience: Duration) -> Came {
    let mut came = Came::default();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match tokio::time::timeout(patience, stream.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => return Came { closed: true, ..came },
            Ok(Ok(read)) => {
                let room = KEPT.saturating_sub(came.bytes.len());
                came.bytes.extend_from_slice(&buffer[..read.min(room)]);
            }
            Err(_) => return came,
        }
    }
}
