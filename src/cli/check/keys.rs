//! Certificates and keys: whether they can be used, for how long, and by whom.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::client::verify_server_name;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;

use crate::access::ADMIN_TOKEN_FILE;
use crate::cli::certificates;
use crate::config::{self, Config, Tls};
use crate::http::keeper::Prepared;
use crate::http::local_ca;
use crate::observe::chain;
use crate::upstream;

/// A certificate with less left than this is near its end. A running server renews its own 30 days before, so one
/// of its own that is this near was not renewed.
const LEFT_MIN: Duration = Duration::from_secs(14 * 86_400);

/// What is wrong with the files of `server.tls`, and with secrets in the data directory.
pub(super) fn findings(config: &Config) -> Vec<String> {
    let mut findings = Vec::new();
    match &config.server.tls {
        Some(Tls::Files { cert, key }) => match Prepared::from_files(&cert.value, &key.value) {
            Ok(_) => {
                findings.extend(certificate(&cert.value, SystemTime::now()));
                findings.extend(other_name(&cert.value, &config.server));
            }
            Err(error) => findings.push(chain(certificates::named(error, cert, key).as_ref())),
        },
        Some(Tls::Local) => findings.extend(folder(&local_ca::folder(&config.data_dir), SystemTime::now())),
        None => {}
    }
    findings.extend(open_to_others(&config.data_dir.join(ADMIN_TOKEN_FILE)));
    findings.extend(upstream(&config.upstream));
    findings
}

/// What stops the way upstream from being set up, and secrets of `upstream.auth` that everyone can read. Those are the operator's
/// files: a group may be let in on purpose.
fn upstream(config: &config::Upstream) -> Vec<String> {
    let wrong = upstream::check_files(config).err().map(|error| error.to_string());
    let files = config.auth.iter().map(|auth| auth.secret.file());
    wrong.into_iter().chain(files.filter_map(|file| open_to(file, 0o007))).collect()
}

/// Every PEM file of a local CA's folder. What is missing there is made at the next start.
fn folder(dir: &Path, now: SystemTime) -> Vec<String> {
    let files = match pem_files(dir) {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => return vec![format!("server.tls: cannot read {}: {error}", dir.display())],
    };
    let mut findings = Vec::new();
    for file in files {
        if let Err(error) = fs::read(&file) {
            findings.push(format!("server.tls: cannot read {}: {error}", file.display()));
        } else if PrivateKeyDer::from_pem_file(&file).is_ok() {
            findings.extend(open_to_others(&file));
        } else {
            findings.extend(certificate(&file, now));
        }
    }
    findings
}

fn pem_files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files: Vec<_> = fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "pem"));
    files.sort();
    Ok(files)
}

/// A file of the first certificate in which there is something to say.
fn certificate(file: &Path, now: SystemTime) -> Option<String> {
    let wrong = || format!("server.tls: {} holds no certificate", file.display());
    let Ok(first) = CertificateDer::from_pem_file(file) else { return Some(wrong()) };
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(&first) else { return Some(wrong()) };
    let end = parsed.validity().not_after;
    let soon = now + LEFT_MIN;
    let soon = soon.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
    (end.timestamp() < soon).then(|| format!("server.tls: the certificate in {} ends on {end}", file.display()))
}

/// A certificate that is not for the name that clients are told. Where a front stands before us, `server.public_url` is the front's.
fn other_name(file: &Path, server: &config::Server) -> Option<String> {
    let proxies = &server.trusted_proxies;
    if proxies.unix || !proxies.networks.is_empty() {
        return None;
    }
    let (told, host) = match &server.public_url {
        Some(url) if url.scheme() == "https" => (format!("server.public_url is {url}"), url.host_str()?.to_owned()),
        Some(_) => return None,
        None => {
            let first = server.tls_listen.first()?;
            (format!("without server.public_url clients are told https://{first}"), first.ip().to_string())
        }
    };
    let first = CertificateDer::from_pem_file(file).ok()?;
    let certificate = ParsedCertificate::try_from(&first).ok()?;
    // As a URL writes an IPv6 address.
    let name = ServerName::try_from(host.trim_matches(['[', ']'])).ok()?;
    let wrong = verify_server_name(&certificate, &name).is_err();
    wrong.then(|| format!("server.tls: the certificate in {} is not for {host}, and {told}", file.display()))
}

/// A secret that not only its owner can read.
pub(super) fn open_to_others(file: &Path) -> Option<String> {
    open_to(file, 0o077)
}

/// A secret that is open to any of these bits of a mode.
fn open_to(file: &Path, bits: u32) -> Option<String> {
    let mode = fs::metadata(file).ok()?.permissions().mode() & 0o777;
    (mode & bits != 0).then(|| format!("{} has mode {mode:04o}: others can read it; `chmod 600` it", file.display()))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    #[test]
    fn a_secret_of_an_upstream_is_readable_and_not_by_everyone() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("secret");
        fs::write(&file, "hunter2").unwrap();
        let auth = format!("url = \"https://a.example\", bearer_file = \"{}\"", file.display());
        let config = Config::from_toml(&format!("[upstream]\nauth = [{{ {auth} }}]\n")).unwrap().upstream;
        for (mode, told) in [(0o600, 0), (0o640, 0), (0o644, 1), (0o602, 1)] {
            fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
            let findings = upstream(&config);
            assert_eq!(findings.len(), told, "{mode:o}: {findings:?}");
        }
        fs::remove_file(&file).unwrap();
        let findings = upstream(&config);
        assert!(matches!(&findings[..], [told] if told.starts_with("upstream.auth: ") && told.contains("secret")), "{findings:?}");
    }

    #[test]
    fn a_certificate_is_for_the_name_that_clients_are_told() {
        let scratch = tempfile::tempdir().unwrap();
        local_ca::ensure(scratch.path(), &["go.example.com".to_owned()]).unwrap();
        let told = |settings: &str| {
            let files = format!("tls = {{ cert = \"{0}/cert.pem\", key = \"{0}/key.pem\" }}", scratch.path().display());
            findings(&Config::from_toml(&format!("[server]\n{files}\n{settings}\n")).unwrap())
        };
        for fits in [
            "tls_listen = [\"0.0.0.0:8443\"]\npublic_url = \"https://go.example.com:8443/go\"",
            "tls_listen = [\"[::1]:8443\"]",
            "tls_listen = [\"0.0.0.0:8443\"]\npublic_url = \"https://other.example.com\"\ntrusted_proxies = [\"127.0.0.1/32\"]",
        ] {
            assert_eq!(told(fits), Vec::<String>::new(), "{fits}");
        }
        for (settings, host) in [
            ("tls_listen = [\"0.0.0.0:8443\"]\npublic_url = \"https://other.example.com\"", "other.example.com"),
            ("tls_listen = [\"127.0.0.2:8443\"]", "127.0.0.2"),
        ] {
            let told = told(settings);
            assert!(matches!(&told[..], [told] if told.contains(&format!("cert.pem is not for {host}, and"))), "{told:?}");
        }
    }

    #[test]
    fn a_local_ca_is_good_until_near_its_end_or_open_to_others() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path();
        let now = SystemTime::now();
        assert_eq!(folder(&dir.join("none"), now), Vec::<String>::new());
        local_ca::ensure(dir, &[]).unwrap();
        assert_eq!(folder(dir, now), Vec::<String>::new());
        let day = Duration::from_secs(86_400);
        assert_eq!(folder(dir, now + 75 * day), Vec::<String>::new());
        let told = folder(dir, now + 77 * day);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("ends on"), "{told:?}");

        let key = pem_files(dir).unwrap().into_iter().find(|file| PrivateKeyDer::from_pem_file(file).is_ok()).unwrap();
        fs::set_permissions(&key, Permissions::from_mode(0o640)).unwrap();
        let told = folder(dir, now);
        assert_eq!(told, [format!("{} has mode 0640: others can read it; `chmod 600` it", key.display())]);
        fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
        let ca = local_ca::ca_file(dir);
        fs::write(&ca, "damaged").unwrap();
        let told = folder(dir, now);
        assert_eq!(told, [format!("server.tls: {} holds no certificate", ca.display())]);
    }
}
