//! A cable that can be cut: TCP connections to one address, forwarded to another.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Everything.
    Whole,
    /// Only what goes to the target; what comes from it piles up there.
    Held,
    /// Nothing: those who connected lose their connections, and the target is not told.
    HalfOpen,
    /// Nothing: all connections are gone, and new ones are closed at once.
    Cut,
}

/// What the system takes in from the target while that is not read, in bytes: so little that it soon cannot write.
const RECEIVE_BUFFER: u32 = 64 * 1024;

/// A running forwarder; dropped, all its connections end.
#[derive(Debug)]
pub struct Forwarder {
    address: SocketAddr,
    state: Arc<watch::Sender<State>>,
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
        let state = Arc::new(watch::Sender::new(State::Whole));
        let accepting = tokio::spawn({
            let state = state.clone();
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(carry(stream, target, state.subscribe()));
                }
            }
        });
        Ok(Self { address, state, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Base URL of what is behind it.
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Ends all connections and lets none through.
    pub fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    /// Lets nothing come back from the target any more.
    pub fn hold(&self) {
        self.state.send_replace(State::Held);
    }

    /// Ends the connections of those who connected, and keeps those to the target open.
    pub fn cut_half(&self) {
        self.state.send_replace(State::HalfOpen);
    }

    /// Undoes [`Forwarder::cut`] and [`Forwarder::hold`].
    pub fn mend(&self) {
        self.state.send_replace(State::Whole);
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn carry(mut from: TcpStream, target: SocketAddr, mut state: watch::Receiver<State>) {
    let passing = |state: &State| matches!(state, State::Whole | State::Held);
    let whole = state.clone();
    let Some(mut to) = connect(target).await.ok().filter(|_| passing(&state.borrow())) else { return };
    let both = async {
        let ((mut from_read, from_write), (to_read, mut to_write)) = (from.split(), to.split());
        let there = async {
            tokio::io::copy(&mut from_read, &mut to_write).await?;
            to_write.shutdown().await
        };
        // However it ends, the connection is over.
        let _ = tokio::try_join!(there, back(to_read, from_write, whole));
    };
    tokio::select! {
        _ = state.wait_for(|state| !passing(state)) => {}
        () = both => return,
    }
    drop(from);
    // The target's end stays open for as long as the cable is only half cut.
    let _ = state.wait_for(|state| *state == State::Cut).await;
}

async fn connect(target: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.connect(target).await
}

/// Carries what the target says, as long as that may pass.
async fn back(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut state: watch::Receiver<State>,
) -> io::Result<()> {
    let mut piece = vec![0; 16 * 1024];
    loop {
        if state.wait_for(|state| *state == State::Whole).await.is_err() {
            return Ok(());
        }
        match from.read(&mut piece).await? {
            0 => return to.shutdown().await,
            n => to.write_all(&piece[..n]).await?,
        }
    }
}
