//! TLS towards the NATS server.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::options::{NatsOptionsError, read};

/// TLS towards the NATS server. Setting any of it requires TLS; so does a `tls://` URL or the server.
#[derive(Debug, Clone, Default)]
pub struct NatsTls {
    /// PEM file of the certificates to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM file of the certificate chain to show to the server. Needs `key_file`.
    pub cert_file: Option<PathBuf>,
    /// PEM file of the private key of `cert_file`.
    pub key_file: Option<PathBuf>,
}

impl NatsTls {
    pub(super) fn is_required(&self) -> bool {
        self.ca_file.is_some() || self.cert_file.is_some() || self.key_file.is_some()
    }

    /// Always made, since a server may ask for TLS unannounced: left to itself, the library would then look for a
    /// process-wide choice of cryptography, and panic without one.
    pub(super) async fn config(&self) -> Result<ClientConfig, NatsOptionsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| NatsOptionsError::Tls(error.to_string()))?
            .with_root_certificates(self.roots().await?);
        match (&self.cert_file, &self.key_file) {
            (None, None) => Ok(builder.with_no_client_auth()),
            (Some(cert_file), Some(key_file)) => builder
                .with_client_auth_cert(certificates(cert_file).await?, key(key_file).await?)
                .map_err(|error| NatsOptionsError::Tls(format!("certificate and key do not fit: {error}"))),
            _ => Err(NatsOptionsError::Tls("a client certificate and its key come together".into())),
        }
    }

    async fn roots(&self) -> Result<RootCertStore, NatsOptionsError> {
        let mut roots = RootCertStore::empty();
        match &self.ca_file {
            None => {
                // What cannot be read or parsed among the system's certificates is not trusted; that is all.
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
            Some(path) => {
                for certificate in certificates(path).await? {
                    roots.add(certificate).map_err(|error| NatsOptionsError::content(path, error))?;
                }
            }
        }
        Ok(roots)
    }
}

async fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, NatsOptionsError> {
    let pem = read(path).await?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => {
            Err(NatsOptionsError::content(path, "no PEM certificate in it"))
        }
        Ok(certificates) => Ok(certificates),
        Err(_) => Err(NatsOptionsError::content(path, "bad PEM")),
    }
}

async fn key(path: &Path) -> Result<PrivateKeyDer<'static>, NatsOptionsError> {
    let pem = read(path).await?;
    // The parser's own message may quote what it stumbled over.
    PrivateKeyDer::from_pem_slice(pem.as_bytes())
        .map_err(|_| NatsOptionsError::content(path, "no PEM private key in it"))
}
