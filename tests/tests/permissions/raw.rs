//! A client of NATS that says anything: the bus of the services would not take half of it.

use tests::processes::PATIENCE;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// A connection.
pub(crate) struct Raw(pub(crate) BufReader<TcpStream>);

impl Raw {
    /// Connects, as a user or as nobody, and returns the server's complaints as well.
    pub(crate) async fn connect(port: u16, login: Option<(&str, &str)>) -> (Self, Vec<String>) {
        let mut raw = Self(BufReader::new(TcpStream::connect(("127.0.0.1", port)).await.unwrap()));
        let login = login.map(|(user, pass)| format!(r#","user":"{user}","pass":"{pass}""#));
        let login = login.unwrap_or_default();
        let complaints = raw.say(&format!(r#"CONNECT {{"verbose":false,"pedantic":false{login}}}"#)).await;
        (raw, complaints)
    }

    /// Sends a line, and returns what the server has against it. Nothing is left to come when this returns.
    pub(crate) async fn say(&mut self, line: &str) -> Vec<String> {
        // It may have closed the connection; its reason can be read all the same.
        let _ = self.0.get_mut().write_all(format!("{line}\r\nPING\r\n").as_bytes()).await;
        tokio::time::timeout(PATIENCE, self.complaints()).await.expect("the server answers")
    }

    async fn complaints(&mut self) -> Vec<String> {
        let mut complaints = Vec::new();
        let mut line = String::new();
        loop {
            line.clear();
            // The end, in order or not, is after the last complaint.
            if self.0.read_line(&mut line).await.unwrap_or(0) == 0 || line.starts_with("PONG") {
                return complaints;
            }
            if let Some(complaint) = line.strip_prefix("-ERR ") {
                complaints.push(complaint.trim().to_owned());
            }
        }
    }

    /// Whether the server lets it subscribe.
    pub(crate) async fn may_subscribe(&mut self, subject: &str) -> bool {
        let complaints = self.say(&format!("SUB {subject} 1\r\nUNSUB 1")).await;
        Self::judge(&complaints, "Permissions Violation for Subscription")
    }

    /// Whether the server lets it publish.
    pub(crate) async fn may_publish(&mut self, subject: &str) -> bool {
        let complaints = self.say(&format!("PUB {subject} 0\r\n")).await;
        Self::judge(&complaints, "Permissions Violation for Publish")
    }

    fn judge(complaints: &[String], refusal: &str) -> bool {
        assert!(complaints.iter().all(|complaint| complaint.contains(refusal)), "{complaints:?}");
        complaints.is_empty()
    }
}
