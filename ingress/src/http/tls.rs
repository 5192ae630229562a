//! TLS of the listener.

use std::path::Path;
use std::sync::Arc;

use common::service::ConfigError;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// What is offered to clients, best first (ALPN). The protocol itself is told by its first bytes, with TLS as without.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Reads a certificate chain and its private key, both PEM.
///
/// # Errors
/// [`ConfigError`] if a file cannot be used, or the key is not the certificate's.
pub fn acceptor(cert: &Path, key: &Path) -> Result<TlsAcceptor, ConfigError> {
    let bad = |flag: &str, path: &Path, why: &dyn std::fmt::Display| {
        ConfigError::new(format_args!("{flag} {}: {why}", path.display()))
    };
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| bad("--tls-cert", cert, &error))?;
    if chain.is_empty() {
        return Err(bad("--tls-cert", cert, &"there is no certificate in it; it must be PEM"));
    }
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| bad("--tls-key", key, &error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| bad("--tls-cert", cert, &error))?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(|error| bad("--tls-cert and --tls-key", key, &error))?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    Ok(TlsAcceptor::from(Arc::new(config)))
}
