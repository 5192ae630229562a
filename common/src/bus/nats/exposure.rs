//! Whether a connection would go over a network with nothing to prove who is at its ends.

use std::net::IpAddr;

use async_nats::ServerAddr;

use super::options::{NatsOptions, NatsOptionsError, servers};

impl NatsOptions {
    /// The hosts beyond this machine, where no login is given: without one, whoever reaches such a server can take part in
    /// everything. Empty where a login is given, and where all servers are on this machine.
    ///
    /// Only `localhost` and loopback addresses are this machine. Other names are not resolved, since what they resolve to
    /// may change.
    ///
    /// # Errors
    /// A URL that cannot be read.
    pub fn unguarded(&self) -> Result<Vec<String>, NatsOptionsError> {
        let (servers, login) = servers(&self.servers)?;
        let given = [&self.credentials_file, &self.nkey_file, &self.tls.cert_file];
        if login.is_some() || given.iter().any(|file| file.is_some()) {
            return Ok(Vec::new());
        }
        let beyond = servers.iter().map(ServerAddr::host).filter(|host| !is_this_machine(host));
        Ok(beyond.map(str::to_owned).collect())
    }
}

fn is_this_machine(host: &str) -> bool {
    let loopback = |address: IpAddr| address.to_canonical().is_loopback();
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(loopback)
}

#[cfg(test)]
mod tests {
    use super::super::NatsTls;
    use super::*;

    fn unguarded(urls: &str) -> Vec<String> {
        NatsOptions::new(urls).unguarded().unwrap_or_else(|error| panic!("{urls}: {error}"))
    }

    #[test]
    fn this_machine_needs_no_login() {
        for urls in [
            "nats://localhost:4222",
            "LOCALHOST",
            "127.0.0.1",
            "nats://127.8.9.10:1",
            "tls://[::1]:4222",
            "nats://[::ffff:127.0.0.1]",
            "nats://127.0.0.1:1, nats://localhost:2",
        ] {
            assert!(unguarded(urls).is_empty(), "{urls}");
        }
    }

    #[test]
    fn every_other_server_does() {
        let cases: [(&str, &[&str]); 11] = [
            ("nats://nats:4222", &["nats"]),
            ("tls://nats.internal", &["nats.internal"]),
            ("10.0.0.1", &["10.0.0.1"]),
            ("nats://0.0.0.0:4222", &["0.0.0.0"]),
            ("nats://[::]:4222", &["::"]),
            ("nats://[fe80::1]", &["fe80::1"]),
            ("nats://[::ffff:10.0.0.1]", &["::ffff:a00:1"]),
            ("nats://127.0.0.1.example.com", &["127.0.0.1.example.com"]),
            ("nats://localhost.example.com", &["localhost.example.com"]),
            // Not only the first of several.
            ("nats://127.0.0.1,nats://a,localhost,b", &["a", "b"]),
            ("nats://127.1", &["127.1"]),
        ];
        for (urls, hosts) in cases {
            assert_eq!(unguarded(urls), hosts, "{urls}");
        }
    }

    #[test]
    fn any_login_will_do() {
        for urls in ["nats://me:hush@a", "nats://token@a,nats://b"] {
            assert!(unguarded(urls).is_empty(), "{urls}");
        }
        assert_eq!(unguarded("nats://@a"), ["a"]);
        let file = || Some("file".into());
        for options in [
            NatsOptions { credentials_file: file(), ..NatsOptions::new("a") },
            NatsOptions { nkey_file: file(), ..NatsOptions::new("a") },
            NatsOptions { tls: NatsTls { cert_file: file(), ..NatsTls::default() }, ..NatsOptions::new("a") },
        ] {
            assert!(options.unguarded().is_ok_and(|hosts| hosts.is_empty()), "{options:?}");
        }
        // Trusting an authority proves the server to us, and not us to it.
        let tls = NatsTls { ca_file: file(), ..NatsTls::default() };
        let options = NatsOptions { tls, ..NatsOptions::new("tls://a") };
        assert!(options.unguarded().is_ok_and(|hosts| hosts == ["a"]));
        for bad in ["http://a", "nats://me:@a"] {
            assert!(NatsOptions::new(bad).unguarded().is_err(), "{bad}");
        }
    }
}
