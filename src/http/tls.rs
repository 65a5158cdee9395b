//! TLS for the HTTPS listeners: which certificate is shown, read from files and checked before anything listens. rustls with ring,
//! TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1 by ALPN.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::durable::DurableError;

/// Why a certificate and its key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file cannot be written.
    #[error(transparent)]
    Write(#[from] DurableError),
    /// No `CERTIFICATE` block.
    #[error("{} holds no PEM certificate", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// No private key block.
    #[error("{} holds no PEM private key (PKCS#8, PKCS#1 or SEC1, not encrypted)", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// Everyone may read or change the key.
    #[error("{} has mode {mode:04o}: others can use the key; `chmod o= {0}` mends it", path.display())]
    OpenKey {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The key belongs to another certificate.
    #[error("the key in {} is not that of the certificate in {}", key.display(), cert.display())]
    Mismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// Over.
    #[error("the certificate in {} expired on {on}", path.display())]
    Expired {
        /// The certificate's file.
        path: PathBuf,
        /// When.
        on: String,
    },
    /// The certificate or key is malformed or of an unknown kind.
    #[error("cannot use the certificate in {}", path.display())]
    Unusable {
        /// The certificate's file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// The certificate's dates cannot be read.
    #[error("the certificate in {} is malformed", path.display())]
    Malformed {
        /// The certificate's file.
        path: PathBuf,
    },
    /// A certificate of our own cannot be made.
    #[error("cannot make a certificate")]
    Make(#[source] rcgen::Error),
}

impl TlsError {
    /// The file that is wrong, if it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Read { path, .. }
            | Self::NoCertificate { path }
            | Self::NoKey { path }
            | Self::OpenKey { path, .. }
            | Self::Expired { path, .. }
            | Self::Unusable { path, .. }
            | Self::Malformed { path } => Some(path),
            Self::Mismatch { key, .. } => Some(key),
            Self::Write(_) | Self::Make(_) => None,
        }
    }
}

/// The certificate that new connections are shown; those that stand keep theirs.
pub struct Certificates {
    current: RwLock<Arc<CertifiedKey>>,
}

impl Certificates {
    pub(super) fn of(pair: Arc<CertifiedKey>) -> Arc<Self> {
        Arc::new(Self { current: RwLock::new(pair) })
    }

    pub(super) fn current(&self) -> Arc<CertifiedKey> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// New connections are shown `pair` from now on.
    pub(super) fn swap(&self, pair: Arc<CertifiedKey>) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = pair;
    }
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Certificates")
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

pub(super) fn server_config(certificates: Arc<Certificates>) -> Arc<ServerConfig> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .expect("ring has suites for TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

/// Reads a chain and its key, PEM.
///
/// # Errors
/// What is wrong with which file.
pub(super) fn load(cert_path: &Path, key_path: &Path) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = read_chain(cert_path)?;
    let key = read_key(key_path)?;
    check_dates(cert_path, &chain[0])?;
    CertifiedKey::from_der(chain, key, &provider()).map(Arc::new).map_err(|source| match source {
        rustls::Error::InconsistentKeys(_) => TlsError::Mismatch { cert: cert_path.to_owned(), key: key_path.to_owned() },
        source => TlsError::Unusable { path: cert_path.to_owned(), source },
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

/// The chain in a PEM file; not empty.
pub(super) fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    chain.ok().filter(|chain| !chain.is_empty()).ok_or_else(|| TlsError::NoCertificate { path: path.to_owned() })
}

/// The private key in a PEM file that others have no access to.
pub(super) fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let pem = read(path)?;
    let meta = std::fs::metadata(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })?;
    let mode = meta.permissions().mode() & 0o7777;
    if mode & 0o007 != 0 {
        return Err(TlsError::OpenKey { path: path.to_owned(), mode });
    }
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| TlsError::NoKey { path: path.to_owned() })
}

fn check_dates(path: &Path, cert: &CertificateDer<'_>) -> Result<(), TlsError> {
    let (_, parsed) = x509_parser::parse_x509_certificate(cert).map_err(|_| TlsError::Malformed { path: path.to_owned() })?;
    let until = parsed.validity().not_after;
    if until < x509_parser::time::ASN1Time::now() {
        return Err(TlsError::Expired { path: path.to_owned(), on: until.to_string() });
    }
    Ok(())
}
