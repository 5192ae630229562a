//! The TLS that `deploy/nats.conf` shows, with certificates on both sides.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use simulator::Config;
use tempfile::TempDir;
use tests::calls::{Call, Got, make_all};

use super::told::lines;
use super::work::url;
use super::{Stage, assert_hushed, password, server_with};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Writes a certificate for a name and its key.
fn certify(authority: &Authority, name: &str, dir: &Path, file: &str) {
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, authority).unwrap();
    std::fs::write(dir.join(format!("{file}-cert.pem")), certificate.pem()).unwrap();
    std::fs::write(dir.join(format!("{file}-key.pem")), key.serialize_pem()).unwrap();
}

/// Takes the block of TLS out of its comments.
fn with_tls(rules: &str, dir: &Path) -> String {
    let (before, block) = rules.split_once("# tls {\n").unwrap();
    let lines: Vec<&str> = block.lines().map(|line| line.strip_prefix("# ").unwrap()).collect();
    format!("{before}tls {{\n{}\n", lines.join("\n").replace("/etc/nats", dir.to_str().unwrap()))
}

/// A server that asks for TLS and for certificates, and the files.
async fn stage() -> (Stage, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let (authority, stranger) = (authority("ours"), authority("a stranger"));
    certify(&authority, "127.0.0.1", dir.path(), "server");
    certify(&authority, "role", dir.path(), "role");
    certify(&stranger, "role", dir.path(), "stranger");
    std::fs::write(dir.path().join("ca.pem"), authority.pem()).unwrap();
    std::fs::write(dir.path().join("other-ca.pem"), stranger.pem()).unwrap();
    let place = dir.path().to_owned();
    let nats = server_with(move |rules| with_tls(&rules, &place)).await;
    (Stage { scheme: "tls", ..Stage::start_on(nats, Config::default()).await }, dir)
}

fn variables(dir: &TempDir, ca: &str, certificate: Option<&str>) -> Vec<(&'static str, String)> {
    let file = |name: String| dir.path().join(name).to_str().unwrap().to_owned();
    let mut variables = vec![("LLM_PROXY_NATS_CA", file(format!("{ca}.pem")))];
    if let Some(name) = certificate {
        variables.push(("LLM_PROXY_NATS_CERT", file(format!("{name}-cert.pem"))));
        variables.push(("LLM_PROXY_NATS_KEY", file(format!("{name}-key.pem"))));
    }
    variables
}

#[tokio::test(flavor = "multi_thread")]
async fn the_roles_work_over_tls() {
    let (mut stage, dir) = stage().await;
    stage.variables = variables(&dir, "ca", Some("role"));
    let roles = ["submitter", "batcher", "ingress"].map(|role| stage.own(role, role));
    let calls = Call::spread("tls", 10, 2, 1);
    assert_eq!(make_all(&calls, &[url(&roles[2]).await]).await.unwrap(), vec![Got::Own; 10]);
    for role in &roles {
        assert_hushed(&role.log());
    }
}

/// The password is in the first thing that a client says: it must not be said in the clear.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_tls_hears_no_password() {
    let stage = Stage { scheme: "tls", ..Stage::start(Config::default()).await };
    let batcher = stage.own("batcher", "batcher");
    batcher.says("no connection to NATS").await.unwrap();
    assert!(!batcher.log().contains(" connected to NATS"), "{}", batcher.log());
    assert_hushed(&stage.nats.log());
}

/// Nor to a server that is not ours; and a server that asks who we are is told so, or why not is told here.
#[tokio::test(flavor = "multi_thread")]
async fn what_tls_refuses_is_told_once() {
    let (mut stage, dir) = stage().await;
    let cases = [
        ("a server of another authority", "other-ca", Some("role"), "invalid peer certificate"),
        ("no certificate of its own", "ca", None, "received fatal alert"),
        ("a certificate of another authority", "ca", Some("stranger"), "received fatal alert"),
    ];
    for (name, ca, certificate, why) in cases {
        stage.variables = variables(&dir, ca, certificate);
        let before = lines(&stage.nats.log(), "TLS handshake error").len();
        let batcher = stage.role("batcher", name, "batcher", password("batcher"));
        stage.refuses_again("TLS handshake error", before).await;
        let log = batcher.log();
        let told = lines(&log, "no connection to NATS");
        assert!(told.len() == 1 && told[0].contains(why), "{name}: {log}");
        assert!(!log.contains(" connected to NATS"), "{name}: {log}");
    }
}
