//! Certificates: from files, and of the local CA as real clients see it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use modgate::http::keeper::Prepared;
use modgate::http::tls::TlsError;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::http_toy::*;

/// A pair in files, valid from 2020 to `until`.
fn pair(dir: &Path, name: &str, until: i32) -> (PathBuf, PathBuf) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    let cert = params.self_signed(&key).unwrap();
    let (cert_path, key_path) = (dir.join(format!("{name}.pem")), dir.join(format!("{name}-key.pem")));
    fs::write(&cert_path, cert.pem()).unwrap();
    fs::write(&key_path, key.serialize_pem()).unwrap();
    fs::set_permissions(&key_path, fs::Permissions::from_mode(0o600)).unwrap();
    (cert_path, key_path)
}

fn error(cert: &Path, key: &Path) -> TlsError {
    Prepared::from_files(cert, key).expect_err("they must not do")
}

#[test]
fn files_that_do_not_do_are_named_with_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = pair(dir.path(), "good", 2200);
    assert!(Prepared::from_files(&cert, &key).is_ok());
    let (other_cert, other_key) = pair(dir.path(), "other", 2200);
    let (old_cert, old_key) = pair(dir.path(), "old", 2021);
    let none = dir.path().join("none.pem");

    assert!(matches!(error(&none, &key), TlsError::Read { .. }));
    assert!(error(&cert, &none).to_string().contains("none.pem"));
    assert!(matches!(error(&key, &key), TlsError::NoCertificate { .. }));
    assert!(matches!(error(&cert, &cert_copy(dir.path(), &cert)), TlsError::NoKey { .. }));
    let mismatch = error(&cert, &other_key).to_string();
    assert!(mismatch.contains("good.pem") && mismatch.contains("other-key.pem"), "{mismatch}");
    let expired = error(&old_cert, &old_key).to_string();
    assert!(expired.contains("old.pem") && expired.contains("2021"), "{expired}");
    fs::set_permissions(&other_key, fs::Permissions::from_mode(0o644)).unwrap();
    let open = error(&other_cert, &other_key).to_string();
    assert!(open.contains("0644") && open.contains("chmod o= ") && open.contains("other-key.pem"), "{open}");
}

/// With a mode that a key may have.
fn cert_copy(dir: &Path, cert: &Path) -> PathBuf {
    let copy = dir.join("copy.pem");
    fs::copy(cert, &copy).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o600)).unwrap();
    copy
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_trusts_the_bundle_reaches_every_local_name() {
    let running = start().await;
    let bundle = running.dir.path().join("tls/ca-bundle.pem");
    let resolve = format!("localhost:{}:127.0.0.1", running.tls.port());
    let url = format!("https://localhost:{}/", running.tls.port());
    for file in [bundle.to_str().unwrap(), &running.ca] {
        running.curl(&["--resolve", &resolve, "--cacert", file, &url]).await.answered(200, "hello\n");
        running.curl(&["--cacert", file, &running.https("/")]).await.answered(200, "hello\n");
    }
    let wrong = format!("https://wrong.example:{}/", running.tls.port());
    let resolve = format!("wrong.example:{}:127.0.0.1", running.tls.port());
    assert_eq!(running.curl(&["--resolve", &resolve, &wrong]).await.exit, 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_1_2_and_1_3_are_spoken_and_nothing_older() {
    let running = start().await;
    for version in ["--tlsv1.2", "--tlsv1.3"] {
        running.curl(&[version, "--tls-max", &version[6..], &running.https("/")]).await.answered(200, "hello\n");
    }
    let old = running.curl(&["--tlsv1.0", "--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0", &running.https("/")]).await;
    assert_eq!(old.exit, 35, "{old:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_on_the_tls_port_is_closed_and_harms_nobody() {
    let running = start().await;
    let mut stream = TcpStream::connect(running.tls).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    let mut scrap = Vec::new();
    let _ = within(stream.read_to_end(&mut scrap)).await;
    assert!(!scrap.starts_with(b"HTTP"), "{scrap:?}");
    running.curl(&[&running.https("/")]).await.answered(200, "hello\n");
}
