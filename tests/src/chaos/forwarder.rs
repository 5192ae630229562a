//! A cable that can be cut: TCP connections to one address, forwarded to another.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A running forwarder; dropped, all its connections end.
#[derive(Debug)]
pub struct Forwarder {
    address: SocketAddr,
    /// Whether bytes may pass. While not, every connection is gone and new ones are closed at once.
    whole: Arc<watch::Sender<bool>>,
    accepting: JoinHandle<()>,
}

impl Forwarder {
    /// Forwards a free port of 127.0.0.1 to `target`.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn to(target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let whole = Arc::new(watch::Sender::new(true));
        let accepting = tokio::spawn({
            let whole = whole.clone();
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(carry(stream, target, whole.subscribe()));
                }
            }
        });
        Ok(Self { address, whole, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends all connections and lets none through.
    pub fn cut(&self) {
        self.whole.send_replace(false);
    }

    /// Undoes [`Forwarder::cut`].
    pub fn mend(&self) {
        self.whole.send_replace(true);
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn carry(mut from: TcpStream, target: SocketAddr, mut whole: watch::Receiver<bool>) {
    let both = async {
        if let Ok(mut to) = TcpStream::connect(target).await {
            // However it ends, the connection is over.
            let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
        }
    };
    tokio::select! {
        _ = whole.wait_for(|whole| !whole) => {}
        () = both => {}
    }
}
