//! The same over TLS.

use std::path::Path;

use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::desk::{House, NOWHERE};
use super::keeping::{CURL, HURRY, answer, fail, with};
use super::*;
use crate::core::Input;
use crate::fair::Bounds;
use crate::http::Certificate;
use crate::reload::Reload as _;

const CALL: &str = "{\"model\":\"m\"}";

/// A certificate of its own for `localhost`, as files, and who trusts it.
struct Identity {
    directory: tempfile::TempDir,
    roots: RootCertStore,
}

impl Identity {
    fn new() -> Self {
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("cert"), cert.pem()).unwrap();
        std::fs::write(directory.path().join("key"), signing_key.serialize_pem()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        Self { directory, roots }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    fn certificate(&self) -> Arc<Certificate> {
        Certificate::new(&self.path("cert"), &self.path("key")).unwrap()
    }

    async fn connect(&self, address: SocketAddr, protocols: &[&[u8]]) -> TlsStream<TcpStream> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config = builder.unwrap().with_root_certificates(self.roots.clone()).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        let tcp = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        soon(TlsConnector::from(Arc::new(config)).connect(name, tcp)).await.unwrap()
    }
}

async fn house(identity: &Identity, hold_status: bool) -> House {
    serving(&identity.certificate(), hold_status).await
}

async fn serving(certificate: &Arc<Certificate>, hold_status: bool) -> House {
    let bounds = Bounds { most: Amount { count: 10, bytes: 100_000_000 }, most_each: 10 };
    House::built(bounds, NOWHERE, Some(certificate.acceptor().unwrap()), |config| {
        config.hold_status = hold_status
    })
    .await
}

#[tokio::test]
async fn calls_over_http_1() {
    let identity = Identity::new();
    let mut house = house(&identity, false).await;
    for protocols in [&[][..], &[&b"http/1.1"[..]]] {
        let stream = identity.connect(house.address, protocols).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), protocols.first().copied());
        let mut client = Wire(stream);
        // Far more than the system and TLS take at once.
        let body = "x".repeat(20_000_000);
        for _ in 0..2 {
            client.send(post("/v1/responses", CALL)).await;
            answer(house.held().await, 200, body.clone());
            assert!(client.message().await.1 == body);
            assert!(house.received().await);
        }
        // An orderly end.
        soon(client.0.shutdown()).await.unwrap();
        assert_eq!(client.rest().await.unwrap(), "");
    }
}

#[tokio::test]
async fn http_2_is_agreed_on() {
    let identity = Identity::new();
    let mut house = house(&identity, false).await;
    let stream = identity.connect(house.address, &[b"http/1.1", b"h2"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut client, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post("https://localhost/v1/responses").header("authorization", "Bearer k");
    let answering = tokio::spawn(client.send_request(request.body(Full::new(Bytes::from(CALL))).unwrap()));
    answer(house.held().await, 200, "{}");
    let response = soon(answering).await.unwrap().unwrap();
    assert_eq!(soon(response.into_body().collect()).await.unwrap().to_bytes(), "{}");
}

#[tokio::test]
async fn interim_responses_and_answers_that_begin_early() {
    let identity = Identity::new();
    let mut house = house(&identity, true).await;
    let mut client = Wire(identity.connect(house.address, &[]).await);
    let lines = format!("{CURL}{HURRY}");
    client.send(with(&lines, "/v1/responses", CALL)).await;
    let waiter = house.held().await;
    for _ in 0..3 {
        assert_eq!(client.head().await, "HTTP/1.1 102 Processing\r\n\r\n");
    }
    answer(waiter, 200, "{}");
    let mut head = client.head().await;
    while status(&head) == "102" {
        head = client.head().await;
    }
    assert_eq!((status(&head), line(&head, "content-length")), ("200", Some("2")));
    assert_eq!(client.until("{}").await, "{}");
    assert!(house.received().await);
    client.send(with(HURRY, "/v1/responses", CALL)).await;
    let waiter = house.held().await;
    assert_eq!(status(&client.head().await), "200");
    answer(waiter, 200, "{\"n\": 1}");
    assert_eq!(client.after_beats().await, "{\"n\": 1}");
}

#[tokio::test]
async fn an_error_after_the_beginning_is_no_orderly_end() {
    let identity = Identity::new();
    let mut house = house(&identity, false).await;
    let mut client = Wire(identity.connect(house.address, &[]).await);
    client.send(with(HURRY, "/v1/responses", CALL).replacen("HTTP/1.1", "HTTP/1.0", 1)).await;
    let waiter = house.held().await;
    client.head().await;
    fail(waiter);
    let error = client.rest().await.expect_err("no orderly end");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert!(!house.received().await, "kept for the next try");
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed() {
    let identity = Identity::new();
    let mut house = house(&identity, false).await;
    let mut client = Wire(identity.connect(house.address, &[]).await);
    client.send(post("/v1/responses", CALL)).await;
    let _waiter = house.held().await;
    drop(client);
    assert!(matches!(soon(house.inputs.recv()).await, Some(Input::Gone(_))));
}

#[tokio::test]
async fn nothing_is_served_in_the_clear() {
    let identity = Identity::new();
    let house = house(&identity, false).await;
    let mut client = house.client().await;
    client.send("GET /healthz HTTP/1.1\r\nhost: p\r\n\r\n").await;
    let mut said = Vec::new();
    let _ = soon(client.0.read_to_end(&mut said)).await;
    assert!(!said.windows(4).any(|bytes| bytes == b"HTTP"), "{said:?}");
}

#[tokio::test(start_paused = true)]
async fn handshakes_that_do_not_come_are_not_waited_for() {
    let house = house(&Identity::new(), false).await;
    for beginning in [&b""[..], &[0x16, 3, 1, 0, 200, 1]] {
        let mut client = house.client().await;
        client.0.write_all(beginning).await.unwrap();
        let mut rest = Vec::new();
        let _ = client.0.read_to_end(&mut rest).await;
        assert!(rest.is_empty());
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_served_and_a_broken_one_is_not() {
    let (identity, renewed) = (Identity::new(), Identity::new());
    let certificate = identity.certificate();
    let house = serving(&certificate, false).await;
    identity.connect(house.address, &[]).await;
    std::fs::copy(renewed.path("cert"), identity.path("cert")).unwrap();
    // Of another certificate, for the moment.
    assert!(certificate.reload().unwrap_err().to_string().contains("--tls-key"));
    identity.connect(house.address, &[]).await;
    std::fs::copy(renewed.path("key"), identity.path("key")).unwrap();
    certificate.reload().unwrap();
    renewed.connect(house.address, &[]).await;
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let (identity, other) = (Identity::new(), Identity::new());
    let said = |cert: &Path, key: &Path| Certificate::new(cert, key).err().unwrap().to_string();
    let (cert, key) = (identity.path("cert"), identity.path("key"));
    let missing = Path::new("/nonexistent/file");
    assert!(said(missing, &key).contains("--tls-cert /nonexistent/file"));
    assert!(said(&cert, missing).contains("--tls-key /nonexistent/file"));
    assert!(said(&key, &key).contains("no certificate in it"));
    assert!(said(&cert, &cert).contains("--tls-key"));
    assert!(said(&cert, &other.path("key")).contains("--tls-cert and --tls-key"));
}
