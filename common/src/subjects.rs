//! The subjects of the bus. Each is addressed to one process and says which role it has, so that permissions can be given by
//! role: a process listens to what is addressed to its own role, and to heartbeats. `deploy/nats.conf` has the lists.

use crate::ids::{Pid, Rid};
use crate::wire::Role;

/// Builds and reads subjects under one prefix. Deployments with different prefixes do not see each other.
#[derive(Debug, Clone)]
pub struct Subjects {
    root: String,
}

/// Number of an exchange, chosen by whoever expects the answer.
pub type Token = u64;

impl Subjects {
    /// Subjects under `<prefix>.v1`. The prefix is one or more NATS tokens.
    pub fn new(prefix: &str) -> Self {
        Self { root: format!("{prefix}.v1") }
    }

    /// Where a process says that it lives.
    pub fn heartbeat(&self, role: Role, pid: Pid) -> String {
        format!("{}.hb.{}.{pid}", self.root, role_token(role))
    }

    /// All heartbeats of a role.
    pub fn heartbeats(&self, role: Role) -> String {
        format!("{}.hb.{}.*", self.root, role_token(role))
    }

    /// Where a process takes what is addressed to its role.
    pub fn inbox(&self, role: Role, pid: Pid) -> String {
        format!("{}.{}.{pid}.in", self.root, role_token(role))
    }

    /// Where an ingress hands out bodies.
    pub fn body(&self, ingress: Pid) -> String {
        format!("{}.ing.{ingress}.body", self.root)
    }

    /// What the reply subjects of an ingress begin with.
    pub fn results_prefix(&self, ingress: Pid) -> String {
        format!("{}.ing.{ingress}.r", self.root)
    }

    /// All reply subjects of an ingress.
    pub fn results(&self, ingress: Pid) -> String {
        format!("{}.*", self.results_prefix(ingress))
    }

    /// The reply subject of one request, from the prefix that its ingress announced.
    pub fn result(prefix: &str, rid: Rid) -> String {
        format!("{prefix}.{rid}")
    }

    /// Where the answer to an exchange of this process comes back.
    pub fn reply(&self, role: Role, pid: Pid, token: Token) -> String {
        format!("{}.{}.{pid}.re.{token}", self.root, role_token(role))
    }

    /// All answers to a process.
    pub fn replies(&self, role: Role, pid: Pid) -> String {
        format!("{}.{}.{pid}.re.*", self.root, role_token(role))
    }

    /// The token at the end of a subject made by [`Subjects::reply`].
    pub fn token(subject: &str) -> Option<Token> {
        subject.rsplit('.').next()?.parse().ok()
    }
}

fn role_token(role: Role) -> &'static str {
    match role {
        Role::Ingress => "ing",
        Role::Batcher => "bat",
        Role::Submitter => "sub",
        Role::Unspecified => "none",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_from_subjects() {
        let subjects = Subjects::new("llmp");
        let reply = subjects.reply(Role::Ingress, Pid::random(), u64::MAX);
        assert_eq!(Subjects::token(&reply), Some(u64::MAX));
        assert_eq!(Subjects::token("llmp.v1.ing.x.re.notanumber"), None);
    }
}
