//! Where and how to connect, checked before the first attempt.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_nats::{ConnectOptions, ServerAddr};
use zeroize::Zeroizing;

use super::NatsTls;

/// Finds a half-open connection: after this long without traffic the client asks, and gives up on the third
/// unanswered question.
const PING_EVERY: Duration = Duration::from_secs(5);

/// Longest wait for TCP, TLS and the server's greeting together.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// Commands that may wait for the connection. Short, because those waiting when it breaks are sent, stale, after the
/// next one is made.
const COMMANDS: usize = 256;

/// Messages that may wait between the connection and a subscription's own channel, into which they are moved at
/// once. Generous, because an overflow here is counted only roughly.
const MESSAGES: usize = 65_536;

/// Longest pause between two attempts to connect.
const PAUSE_CAP: Duration = Duration::from_secs(1);

/// Where the NATS server is and how to be let in.
#[derive(Clone, Default)]
pub struct NatsOptions {
    /// URLs like `nats://host:4222`, `tls://host` or `host`, of which any will do. User and password, or a token
    /// as the user, may be part of the first.
    pub servers: Vec<String>,
    /// A `.creds` file with a user's JWT and nkey seed.
    pub credentials_file: Option<PathBuf>,
    /// A file with a user's nkey seed alone.
    pub nkey_file: Option<PathBuf>,
    /// Certificates and keys.
    pub tls: NatsTls,
    /// The name that the server's monitoring shows for this connection.
    pub name: Option<String>,
}

/// What is wrong with [`NatsOptions`], without any secret in it.
#[derive(Debug, thiserror::Error)]
pub enum NatsOptionsError {
    /// Not the URL of a NATS server.
    #[error("bad NATS URL: {0}")]
    Url(String),
    /// A file that cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that does not hold what it should.
    #[error("cannot use {}: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// TLS cannot be set up.
    #[error("NATS over TLS: {0}")]
    Tls(String),
    /// More than one way to be let in.
    #[error("give one of: user in the NATS URL, credentials file, nkey file")]
    ManyLogins,
}

impl NatsOptionsError {
    pub(super) fn content(path: &Path, reason: impl fmt::Display) -> Self {
        Self::Content { path: path.into(), reason: reason.to_string() }
    }
}

impl NatsOptions {
    /// One URL or several separated by commas, and nothing else set.
    pub fn new(urls: &str) -> Self {
        let servers = urls.split(',').map(|url| url.trim().to_owned()).collect();
        Self { servers, ..Self::default() }
    }

    pub(super) async fn check(self) -> Result<(Vec<ServerAddr>, ConnectOptions), NatsOptionsError> {
        let (servers, login) = servers(&self.servers)?;
        let logins = [login.is_some(), self.credentials_file.is_some(), self.nkey_file.is_some()];
        if logins.into_iter().filter(|given| *given).count() > 1 {
            return Err(NatsOptionsError::ManyLogins);
        }
        // A cluster names its other servers without a scheme: to them as well, tls:// is a promise.
        let all_over_tls = servers.iter().all(|server| server.scheme() == "tls");
        let mut options = ConnectOptions::new()
            .retry_on_initial_connect()
            .connection_timeout(CONNECT_LIMIT)
            .ping_interval(PING_EVERY)
            .client_capacity(COMMANDS)
            .subscription_capacity(MESSAGES)
            .reconnect_delay_callback(pause)
            .require_tls(self.tls.is_required() || all_over_tls)
            .tls_client_config(self.tls.config().await?);
        if let Some(name) = self.name {
            options = options.name(name);
        }
        options = match login {
            Some(Login::User(user, password)) => options.user_and_password(user, password),
            Some(Login::Token(token)) => options.token(token),
            None => options,
        };
        if let Some(path) = &self.credentials_file {
            // The library's message may quote what it stumbled over.
            options = options
                .credentials(&read(path).await?)
                .map_err(|_| NatsOptionsError::content(path, "no user JWT and nkey seed in it"))?;
        }
        if let Some(path) = &self.nkey_file {
            options = options.nkey(seed(path).await?);
        }
        Ok((servers, options))
    }
}

impl fmt::Debug for NatsOptions {
    /// Without the URLs, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsOptions")
            .field("servers", &self.servers.len())
            .field("credentials_file", &self.credentials_file)
            .field("nkey_file", &self.nkey_file)
            .field("tls", &self.tls)
            .field("name", &self.name)
            .finish()
    }
}

pub(super) enum Login {
    User(String, String),
    Token(String),
}

/// Parses URLs and takes the login out of the first: the library would log it, and not use it.
pub(super) fn servers(urls: &[String]) -> Result<(Vec<ServerAddr>, Option<Login>), NatsOptionsError> {
    let mut login = None;
    let mut servers = Vec::with_capacity(urls.len());
    for text in urls {
        let bad = |reason: &str| NatsOptionsError::Url(reason.to_owned());
        let server: ServerAddr = text.parse().map_err(|_| bad("it should be like nats://host:4222"))?;
        if !matches!(server.scheme(), "nats" | "tls") {
            return Err(bad("its scheme should be nats or tls"));
        }
        if server.host().is_empty() {
            return Err(bad("it has no host"));
        }
        // Mostly a variable that was forgotten. Parsed, the user would look like a token.
        if text.contains(":@") {
            return Err(bad("the password in it is empty"));
        }
        let mut url = server.into_inner();
        if !url.username().is_empty() || url.password().is_some() {
            if !servers.is_empty() {
                return Err(bad("only the first of several may have a user"));
            }
            let user = percent_decoded(url.username());
            login = Some(match url.password() {
                Some(password) => Login::User(user, percent_decoded(password)),
                None => Login::Token(user),
            });
            // They fail only for URLs without a host.
            let _ = url.set_username("");
            let _ = url.set_password(None);
        }
        servers.push(ServerAddr::from_url(url).map_err(|_| bad("it should be like nats://host:4222"))?);
    }
    if servers.is_empty() {
        return Err(NatsOptionsError::Url("there is none".into()));
    }
    Ok((servers, login))
}

fn percent_decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).unwrap_or((part, ""));
        match u8::from_str_radix(digits, 16) {
            Ok(byte) if digits.len() == 2 => {
                bytes.push(byte);
                bytes.extend(rest.bytes());
            }
            _ => {
                bytes.push(b'%');
                bytes.extend(part.bytes());
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads a file that may hold a secret.
pub(super) async fn read(path: &Path) -> Result<Zeroizing<String>, NatsOptionsError> {
    match tokio::task::spawn_blocking({
        let path = path.to_owned();
        move || std::fs::read_to_string(path)
    })
    .await
    {
        Ok(Ok(content)) => Ok(Zeroizing::new(content)),
        Ok(Err(source)) => Err(NatsOptionsError::File { path: path.into(), source }),
        Err(stopped) => Err(NatsOptionsError::File { path: path.into(), source: stopped.into() }),
    }
}

/// A user's nkey seed: 58 characters of base32 that begin with `SU` (`nkeys` in the NATS documentation).
async fn seed(path: &Path) -> Result<String, NatsOptionsError> {
    let content = read(path).await?;
    let seed = content.trim();
    let base32 = |byte| matches!(byte, b'A'..=b'Z' | b'2'..=b'7');
    if seed.len() == 58 && seed.starts_with("SU") && seed.bytes().all(base32) {
        Ok(seed.to_owned())
    } else {
        Err(NatsOptionsError::content(
            path,
            "it should hold the nkey seed of a user, SU..., and nothing else",
        ))
    }
}

/// Doubles from 50 ms to [`PAUSE_CAP`], of which a random half is taken off: clients that lose a server together do
/// not come back together.
fn pause(attempt: usize) -> Duration {
    let doublings = u32::try_from(attempt.saturating_sub(1)).unwrap_or(u32::MAX).min(10);
    let full = (Duration::from_millis(50) * 2_u32.pow(doublings)).min(PAUSE_CAP);
    // Without randomness there is no jitter, and still a pause.
    let random = getrandom::u32().unwrap_or(0);
    full - full / 2 * (random >> 16) / (1 << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(urls: &str) -> Result<(Vec<ServerAddr>, Option<Login>), NatsOptionsError> {
        servers(&NatsOptions::new(urls).servers)
    }

    #[test]
    fn urls() {
        let (servers, login) = parse("nats://a:1, b ,tls://[::1]:3").unwrap_or_else(|e| panic!("{e}"));
        let servers: Vec<_> = servers.iter().map(|s| (s.scheme(), s.host(), s.port())).collect();
        assert_eq!(servers, [("nats", "a", 1), ("nats", "b", 4222), ("tls", "::1", 3)]);
        assert!(login.is_none());
        for bad in [
            "",
            "a,",
            "http://a",
            "ws://a",
            "nats://",
            "nats://a:port",
            "nats://a,nats://u:p@b",
            "nats://u:@a",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn logins_leave_the_url() {
        let Ok((servers, Some(Login::User(user, password)))) = parse("nats://me:p%40%zz%@a") else {
            panic!()
        };
        assert_eq!((user.as_str(), password.as_str()), ("me", "p@%zz%"));
        assert_eq!(servers[0].as_url_str(), "nats://a");
        let Ok((_, Some(Login::Token(token)))) = parse("nats://to%2Fken@a") else { panic!() };
        assert_eq!(token, "to/ken");
    }

    #[test]
    fn errors_do_not_tell_secrets() {
        for bad in ["nats://me:hush@a:port", "http://me:hush@a", "nats://a,nats://me:hush@b"] {
            let Err(error) = parse(bad) else { panic!("{bad}") };
            assert!(!format!("{error} {error:?}").contains("hush"), "{error}");
        }
        assert!(!format!("{:?}", NatsOptions::new("nats://me:hush@a")).contains("hush"));
    }

    #[tokio::test]
    async fn tls_is_required_where_it_was_asked_for() {
        for (urls, required) in
            [("tls://a", true), ("tls://a,tls://b", true), ("a", false), ("tls://a,nats://b", false)]
        {
            let Ok((_, options)) = NatsOptions::new(urls).check().await else { panic!("{urls}") };
            assert!(
                format!("{options:?}").contains(&format!("\"tls_required\": {required}")),
                "{urls}: {options:?}"
            );
        }
    }

    #[tokio::test]
    async fn bad_files_are_told_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "SUhush").unwrap();
        for path in [file, dir.path().join("missing")] {
            let path = || Some(path.clone());
            let tls = NatsTls { cert_file: path(), ..NatsTls::default() };
            for options in [
                NatsOptions { nkey_file: path(), ..NatsOptions::new("a") },
                NatsOptions { credentials_file: path(), ..NatsOptions::new("a") },
                NatsOptions { credentials_file: path(), nkey_file: path(), ..NatsOptions::new("a") },
                NatsOptions {
                    tls: NatsTls { ca_file: path(), ..NatsTls::default() },
                    ..NatsOptions::new("a")
                },
                NatsOptions { tls: NatsTls { key_file: path(), ..tls.clone() }, ..NatsOptions::new("a") },
                NatsOptions { tls, ..NatsOptions::new("a") },
            ] {
                let error = options.check().await.err().unwrap();
                assert!(!format!("{error} {error:?}").contains("hush"), "{error}");
            }
        }
    }

    #[test]
    fn pauses_grow_to_their_cap_and_differ() {
        for attempt in [0, 1, 2, 5, 6, 50, usize::MAX] {
            let pauses: Vec<_> = (0..100).map(|_| pause(attempt)).collect();
            assert!(pauses.iter().all(|pause| (Duration::from_millis(25)..=PAUSE_CAP).contains(pause)));
            assert!(pauses.iter().any(|pause| *pause != pauses[0]), "no jitter");
        }
        assert!(pause(50) >= PAUSE_CAP / 2);
    }
}
