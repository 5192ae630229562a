//! TLS of the listener.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use common::service::ConfigError;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

use crate::reload::Reload;

/// What is offered to clients, best first (ALPN). The protocol itself is told by its first bytes, with TLS as without.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// A certificate chain and its private key, from two PEM files.
#[derive(Debug)]
pub struct Certificate {
    chain: PathBuf,
    key: PathBuf,
    provider: Arc<CryptoProvider>,
    /// As the files were last read.
    current: RwLock<Arc<CertifiedKey>>,
}

impl Certificate {
    /// Reads the files.
    ///
    /// # Errors
    /// [`ConfigError`] if a file cannot be used, or the key is not the certificate's.
    pub fn new(chain: &Path, key: &Path) -> Result<Arc<Self>, ConfigError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let current = RwLock::new(Arc::new(read(chain, key, &provider)?));
        let (chain, key) = (chain.to_owned(), key.to_owned());
        Ok(Arc::new(Self { chain, key, provider, current }))
    }

    /// What serves it.
    ///
    /// # Errors
    /// [`ConfigError`] if the library cannot do TLS at all.
    pub fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor, ConfigError> {
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| ConfigError::new(format_args!("--tls-cert: {error}")))?
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    fn current(&self) -> Arc<CertifiedKey> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl Reload for Certificate {
    fn reload(&self) -> Result<(), ConfigError> {
        let read = read(&self.chain, &self.key, &self.provider)?;
        if read.cert != self.current().cert {
            *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(read);
            tracing::info!("the certificate has changed");
        }
        Ok(())
    }
}

fn read(chain: &Path, key: &Path, provider: &CryptoProvider) -> Result<CertifiedKey, ConfigError> {
    let bad = |flag: &str, path: &Path, why: &dyn std::fmt::Display| {
        ConfigError::new(format_args!("{flag} {}: {why}", path.display()))
    };
    let certificates = CertificateDer::pem_file_iter(chain)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| bad("--tls-cert", chain, &error))?;
    if certificates.is_empty() {
        return Err(bad("--tls-cert", chain, &"there is no certificate in it; it must be PEM"));
    }
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| bad("--tls-key", key, &error))?;
    CertifiedKey::from_der(certificates, secret, provider)
        .map_err(|error| bad("--tls-cert and --tls-key", key, &error))
}
