//! What goes wrong with the connection, told to the operator plainly and once: the library tries again every second, and
//! a message that the server refuses is sent again by timers.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use async_nats::{ClientError, Server, ServerError};
use tracing::{error, warn};

/// Troubles told from one connection to the next; there are far fewer kinds. More would come from a server that makes
/// up ever new ones.
const MOST: usize = 64;

/// How the server begins when it refuses to publish or to subscribe.
const FORBIDDEN: &str = "permissions violation";
/// How it begins when it does not let a client in.
const NOT_LET_IN: &str = "authorization violation";

/// What has been told since the last connection.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    /// By server, where it is about one of several, and by kind.
    told: Mutex<BTreeSet<(String, String)>>,
    /// What the library said of the last attempt: less than the servers' own last errors, but also of names that cannot
    /// be resolved.
    last_attempt: Mutex<Option<String>>,
}

impl Troubles {
    /// There is a connection: what goes wrong from now on is told anew.
    pub(super) fn connected(&self) {
        lock(&self.told).clear();
        lock(&self.last_attempt).take();
    }

    /// An attempt to connect has failed.
    pub(super) fn attempt_failed(&self, error: &ClientError) {
        *lock(&self.last_attempt) = Some(error.to_string());
    }

    /// Another attempt begins: tells why there is no connection yet.
    pub(super) fn trying(&self, servers: &[Server]) {
        let last_attempt = lock(&self.last_attempt).take();
        let mut reasons =
            servers.iter().filter_map(|server| Some((server, server.last_error.as_ref()?))).peekable();
        if let Some(error) = last_attempt.filter(|_| reasons.peek().is_none())
            && self.is_new("", &error)
        {
            warn!(%error, "no connection to NATS; it is tried again");
        }
        for (server, error) in reasons {
            if !self.is_new(server.addr.as_url_str(), error) {
                continue;
            }
            match begins(error, NOT_LET_IN) {
                true => error!(
                    %server,
                    "NATS does not let this process in: the server knows no such user, password, token, key or certificate; \
                     it is tried again"
                ),
                false => warn!(%server, %error, "no connection to NATS; it is tried again"),
            }
        }
    }

    /// The server complains on a connection that works.
    pub(super) fn server_says(&self, complaint: &ServerError) {
        let text = match complaint {
            ServerError::Other(text) => text.clone(),
            other => other.to_string(),
        };
        if !self.is_new("", &text) {
            return;
        }
        match begins(&text, FORBIDDEN) {
            true => error!(
                refused = %text,
                "NATS forbids this process what its role needs: its user has not the permissions of its role in \
                 deploy/nats.conf, or another --subject-prefix"
            ),
            false => warn!(error = %text, "NATS"),
        }
    }

    fn is_new(&self, server: &str, text: &str) -> bool {
        let mut told = lock(&self.told);
        told.len() < MOST && told.insert((server.to_owned(), kind(text)))
    }
}

fn begins(text: &str, with: &str) -> bool {
    text.get(..with.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(with))
}

/// A text without what makes equal troubles different: ids, counters and times.
fn kind(text: &str) -> String {
    /// Characters of an id.
    const ID: usize = 22;
    let in_a_word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let word = |word: &str| match word.len() == ID && word.chars().all(in_a_word) {
        true => "*".to_owned(),
        false => word.chars().filter(|c| !c.is_ascii_digit()).collect(),
    };
    text.split(|c| !in_a_word(c)).map(word).collect::<Vec<_>>().join(" ")
}

/// Nothing under these locks can panic half-way, hence a poisoned one guards sound data.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Pid, Rid};

    fn forbidden(subject: String) -> String {
        format!("Permissions Violation for Publish to \"{subject}\"")
    }

    #[test]
    fn equal_troubles_are_told_once() {
        let troubles = Troubles::default();
        let [one, two, three] = [
            || forbidden(format!("llmp.v1.ing.{}.body", Pid::random())),
            || forbidden(format!("llmp.v1.ing.{}.r.{}", Pid::random(), Rid::random())),
            || forbidden(format!("llmp.v1.sub.{}.re.{}", Pid::random(), u64::MAX)),
        ];
        let expired = |now| format!("IO error: certificate expired: verification time {now} (UNIX)");
        for text in [one(), two(), three(), expired(1_785_000_000)] {
            assert!(troubles.is_new("", &text), "{text}");
        }
        for text in [one(), two(), three(), expired(1_785_000_001)] {
            assert!(!troubles.is_new("", &text), "{text}");
        }
        troubles.connected();
        assert!(troubles.is_new("", &one()));
    }

    #[test]
    fn a_server_that_makes_up_troubles_does_not_fill_the_memory() {
        let troubles = Troubles::default();
        let told = (0..1000).filter(|n| troubles.is_new("", &"x".repeat(*n))).count();
        assert_eq!(told, MOST);
    }

    #[test]
    fn beginnings() {
        assert!(begins("Permissions Violation for Subscription to \">\"", FORBIDDEN));
        assert!(begins("authorization violation: nats: authorization violation", NOT_LET_IN));
        assert!(!begins("perm", FORBIDDEN) && !begins("äääääääääääääääääääääääää", FORBIDDEN));
    }
}
