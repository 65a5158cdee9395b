//! `tls = "local"`: a certification authority of our own, and a certificate of it for this server, so that https works from the first
//! minute. Everything is in one folder, and is checked and mended at each start and, by a [`Keeper`](super::keeper::Keeper), every hour after:
//!
//! | file | mode | what |
//! |---|---|---|
//! | `ca.pem`, `ca-key.pem` | 0644, 0600 | the CA: ECDSA P-256, 10 years |
//! | `cert.pem`, `key.pem` | 0644, 0600 | the server's: 90 days, made anew 30 days before its end, for other names, or if damaged |
//! | `ca-bundle.pem` | 0644 | the system's roots and the CA: for `SSL_CERT_FILE` |
//!
//! A key is written before its certificate: a crash between the two leaves a pair that does not fit, which the next start takes for
//! damaged and makes anew.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;

use super::tls::{self, Certificates, TlsError};
use crate::durable::Disk;
use crate::store::DataDir;

const DAY: Duration = Duration::from_secs(86_400);
const CA_LIFE: Duration = Duration::from_secs(3650 * 86_400);
const CERT_LIFE: Duration = Duration::from_secs(90 * 86_400);

/// A certificate with less than this left is made anew: at two thirds of its life.
const CERT_LEFT_MIN: Duration = Duration::from_secs(30 * 86_400);

/// Clients' clocks may be this much behind ours.
const CLOCK_SKEW: Duration = Duration::from_secs(3600);

/// Names that every certificate carries.
const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Where a data directory has its local CA.
pub fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join(DataDir::TLS)
}

/// The CA's certificate in its folder: for the system's or a browser's store.
pub fn ca_file(dir: &Path) -> PathBuf {
    dir.join("ca.pem")
}

/// The system's roots and the CA, in its folder: for `SSL_CERT_FILE`.
pub fn bundle_file(dir: &Path) -> PathBuf {
    dir.join("ca-bundle.pem")
}

/// The local CA's folder, and the certificate that it holds.
#[derive(Debug)]
pub struct LocalCa {
    dir: PathBuf,
    names: Vec<String>,
    pair: Arc<CertifiedKey>,
}

/// Makes or mends what is in `dir`: a certificate for localhost, 127.0.0.1, ::1 and `names` (hosts or addresses, no ports). Reads and
/// writes files: not for an async thread, but at start.
///
/// # Errors
/// A file that cannot be read or written, a CA key that others may read, a name that is none. Files that are missing or damaged are
/// made anew.
pub fn ensure(dir: &Path, names: &[String]) -> Result<LocalCa, TlsError> {
    let mut all: Vec<String> = LOCAL_NAMES.map(str::to_owned).to_vec();
    for name in names {
        // As a URL writes an IPv6 address.
        let name = name.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        if !all.contains(&name) {
            all.push(name);
        }
    }
    let pair = mend(dir, &all, SystemTime::now())?;
    Ok(LocalCa { dir: dir.to_owned(), names: all, pair })
}

impl LocalCa {
    /// For the HTTPS listeners.
    pub fn certificates(&self) -> Arc<Certificates> {
        Certificates::of(self.pair())
    }

    /// What is shown now.
    pub(super) fn pair(&self) -> Arc<CertifiedKey> {
        self.pair.clone()
    }

    /// Makes anew what is due at `now`.
    pub(super) fn renew(&mut self, now: SystemTime) -> Result<(), TlsError> {
        self.pair = mend(&self.dir, &self.names, now)?;
        Ok(())
    }
}

/// A CA and what signs for it.
struct Ca {
    cert: CertificateDer<'static>,
    key: KeyPair,
}

/// Brings the folder in order, and returns the server's certificate.
fn mend(dir: &Path, names: &[String], now: SystemTime) -> Result<Arc<CertifiedKey>, TlsError> {
    Disk::default().create_dirs(dir)?;
    let ca = match read_ca(dir, now)? {
        Some(ca) => ca,
        None => make_ca(dir, now)?,
    };
    write_bundle(dir, &ca)?;
    if let Some(pair) = read_pair(dir, &ca, names, now)? {
        return Ok(pair);
    }
    make_pair(dir, &ca, names, now)?;
    read_pair(dir, &ca, names, now)?.ok_or_else(|| TlsError::Malformed { path: dir.join("cert.pem") })
}

/// `None` where `read` says that a file is missing or not what it should be; other trouble with a file must not cost a CA.
fn unless_damaged<T>(read: Result<T, TlsError>) -> Result<Option<T>, TlsError> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(TlsError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error @ (TlsError::Read { .. } | TlsError::OpenKey { .. })) => Err(error),
        Err(_) => Ok(None),
    }
}

fn read_files(cert: &Path, key: &Path) -> Result<Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>, TlsError> {
    let cert = unless_damaged(tls::read_chain(cert))?;
    let key = unless_damaged(tls::read_key(key))?;
    Ok(cert.zip(key))
}

/// The CA, if it is whole and outlives the certificates that it would sign.
fn read_ca(dir: &Path, now: SystemTime) -> Result<Option<Ca>, TlsError> {
    let Some((chain, key)) = read_files(&ca_file(dir), &dir.join("ca-key.pem"))? else { return Ok(None) };
    let cert = chain[0].clone();
    let fits = CertifiedKey::from_der(chain, key.clone_key(), &tls::provider()).is_ok();
    let (Ok(key), true) = (KeyPair::try_from(&key), fits && is_valid_ca(&cert, now, now + CERT_LIFE)) else { return Ok(None) };
    Ok(Some(Ca { cert, key }))
}

/// Whether it is a CA's, valid from `now` until `then` at least.
fn is_valid_ca(cert: &CertificateDer<'_>, now: SystemTime, then: SystemTime) -> bool {
    let secs = |at: SystemTime| at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()) as i64;
    x509_parser::parse_x509_certificate(cert).is_ok_and(|(_, parsed)| {
        let validity = parsed.validity();
        parsed.is_ca() && validity.not_before.timestamp() <= secs(now) && validity.not_after.timestamp() > secs(then)
    })
}

fn make_ca(dir: &Path, now: SystemTime) -> Result<Ca, TlsError> {
    let path = ca_file(dir);
    if path.exists() {
        tracing::warn!(path = %path.display(), "the local CA is damaged, not valid yet or near its end: made a new one, which clients must trust anew");
    }
    let key = KeyPair::generate().map_err(TlsError::Make)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    // A name of its own for each: a client that trusts several then finds the right one.
    params.distinguished_name.push(DnType::CommonName, format!("modgate local CA {}", random_hex()));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_life(&mut params, now, CA_LIFE);
    let cert = params.self_signed(&key).map_err(TlsError::Make)?;
    write(&dir.join("ca-key.pem"), key.serialize_pem().as_bytes(), 0o600)?;
    write(&path, cert.pem().as_bytes(), 0o644)?;
    Ok(Ca { cert: cert.into(), key })
}

/// The server's certificate, if it fits its key, is of this CA, and will do for all `names` for a while.
fn read_pair(dir: &Path, ca: &Ca, names: &[String], now: SystemTime) -> Result<Option<Arc<CertifiedKey>>, TlsError> {
    let Some((chain, key)) = read_files(&dir.join("cert.pem"), &dir.join("key.pem"))? else { return Ok(None) };
    let good = serves(&chain[0], &ca.cert, names, now) && serves(&chain[0], &ca.cert, names, now + CERT_LEFT_MIN);
    Ok(CertifiedKey::from_der(chain, key, &tls::provider()).ok().filter(|_| good).map(Arc::new))
}

/// Whether a client that trusts `ca` would, at that time, believe `cert` to be each of `names`.
fn serves(cert: &CertificateDer<'_>, ca: &CertificateDer<'_>, names: &[String], at: SystemTime) -> bool {
    let mut roots = RootCertStore::empty();
    if roots.add(ca.clone().into_owned()).is_err() {
        return false;
    }
    let Ok(verifier) = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), tls::provider()).build() else { return false };
    let at = UnixTime::since_unix_epoch(at.duration_since(UNIX_EPOCH).unwrap_or_default());
    names
        .iter()
        .all(|name| ServerName::try_from(name.as_str()).is_ok_and(|name| verifier.verify_server_cert(cert, &[], &name, &[], at).is_ok()))
}

fn make_pair(dir: &Path, ca: &Ca, names: &[String], now: SystemTime) -> Result<(), TlsError> {
    let key = KeyPair::generate().map_err(TlsError::Make)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "modgate");
    params.subject_alt_names = names.iter().map(|name| alt_name(name)).collect::<Result<_, _>>()?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    set_life(&mut params, now, CERT_LIFE);
    let issuer = Issuer::from_ca_cert_der(&ca.cert, &ca.key).map_err(TlsError::Make)?;
    let cert = params.signed_by(&key, &issuer).map_err(TlsError::Make)?;
    write(&dir.join("key.pem"), key.serialize_pem().as_bytes(), 0o600)?;
    write(&dir.join("cert.pem"), cert.pem().as_bytes(), 0o644)?;
    tracing::info!(names = names.join(" "), days = CERT_LIFE.as_secs() / DAY.as_secs(), "made a certificate of the local CA");
    Ok(())
}

fn alt_name(name: &str) -> Result<SanType, TlsError> {
    match name.parse::<IpAddr>() {
        Ok(address) => Ok(SanType::IpAddress(address)),
        Err(_) => Ok(SanType::DnsName(name.try_into().map_err(TlsError::Make)?)),
    }
}

fn set_life(params: &mut CertificateParams, now: SystemTime, life: Duration) {
    params.not_before = (now - CLOCK_SKEW).into();
    params.not_after = (now + life).into();
}

/// Writes the bundle if it is not as it should be.
fn write_bundle(dir: &Path, ca: &Ca) -> Result<(), TlsError> {
    let system = rustls_native_certs::load_native_certs();
    if system.certs.is_empty() {
        tracing::warn!("found no root certificates of the system: ca-bundle.pem holds the local CA alone");
    }
    let mut bundle = pem(&ca.cert);
    // The server may itself run with SSL_CERT_FILE set to this very file.
    bundle.extend(system.certs.iter().filter(|cert| **cert != ca.cert).map(pem));
    let path = bundle_file(dir);
    if fs::read(&path).is_ok_and(|old| old == bundle.as_bytes()) {
        return Ok(());
    }
    write(&path, bundle.as_bytes(), 0o644)
}

fn pem(cert: &CertificateDer<'_>) -> String {
    let text = STANDARD.encode(cert);
    let mut pem = String::with_capacity(text.len() + text.len() / 64 + 64);
    pem.push_str("-----BEGIN CERTIFICATE-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = more;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

fn random_hex() -> String {
    let mut bytes = [0; 4];
    // The name need not be secret, and the key is the CA's identity: zeros would do.
    let _ = getrandom::fill(&mut bytes);
    format!("{:08x}", u32::from_be_bytes(bytes))
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), TlsError> {
    // Staged beside it: the folder may be a file system of its own.
    let dir = path.parent().unwrap_or(Path::new("."));
    Ok(Disk::default().write_with_mode(dir, path, bytes, mode)?)
}

#[cfg(test)]
mod tests;
