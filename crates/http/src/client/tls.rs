//! TLS for requests to `https`, by rustls.
//!
//! The cryptography is ring's. The roots to trust are the system's, not a list in the program: so the machine's owner can
//! add an own root and withdraw another, and a program that was built long ago trusts what is right today. Where a system
//! has none, as in an empty container, `SSL_CERT_FILE` names a file, or [`Tls::with_roots`] takes them.

use std::io;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::client::ClientError;
use crate::client::connect::Connected;

/// Why there is no TLS.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The system has no roots to trust.
    #[error("the system has no root certificates{}", found.as_deref().map(|text| format!(": {text}")).unwrap_or_default())]
    NoRoots {
        /// What went wrong where they were looked for.
        found: Option<String>,
    },
    /// A root is not a certificate.
    #[error("a root is not a certificate: {0}")]
    Root(String),
    /// The provider of cryptography lacks what is needed.
    #[error("no TLS: {0}")]
    Provider(String),
}

/// How connections to `https` are made: TLS 1.2 or 1.3, with a certificate of a trusted root for the host. HTTP/2 is used
/// where the server offers it.
#[derive(Clone)]
pub struct Tls {
    connector: TlsConnector,
}

impl Tls {
    /// Trusts what the system trusts. It reads files: do so before the process is confined.
    ///
    /// # Errors
    /// The system has no roots.
    pub fn platform() -> Result<Tls, TlsError> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        // One that can't be read is not trusted; the others are.
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            return Err(TlsError::NoRoots {
                found: found.errors.first().map(ToString::to_string),
            });
        }
        Tls::new(roots)
    }

    /// Trusts these roots, each a certificate in DER form, and no others.
    ///
    /// # Errors
    /// One is not a certificate.
    pub fn with_roots(certificates: impl IntoIterator<Item = Vec<u8>>) -> Result<Tls, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            let added = roots.add(CertificateDer::from(certificate));
            added.map_err(|error| TlsError::Root(error.to_string()))?;
        }
        Tls::new(roots)
    }

    fn new(roots: RootCertStore) -> Result<Tls, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Provider(error.to_string()))?;
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Tls {
            connector: TlsConnector::from(Arc::new(config)),
        })
    }

    pub(crate) async fn connect(
        &self,
        host: &str,
        tcp: TcpStream,
    ) -> Result<Connected, ClientError> {
        let name = ServerName::try_from(host.to_string()).map_err(|_| ClientError::Authority)?;
        let stream = self
            .connector
            .connect(name, tcp)
            .await
            .map_err(|error| failure(&error))?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok(Connected {
            io: Box::new(stream),
            is_http2,
        })
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

fn failure(error: &io::Error) -> ClientError {
    let cause = error
        .get_ref()
        .and_then(|cause| cause.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(cause)) => {
            ClientError::TlsCertificate(cause.to_string())
        }
        Some(cause) => ClientError::Tls(cause.to_string()),
        None => ClientError::Tls(error.to_string()),
    }
}
