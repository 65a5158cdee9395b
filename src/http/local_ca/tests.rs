use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn names(extra: &[&str]) -> Vec<String> {
    LOCAL_NAMES.iter().chain(extra).map(|&name| name.to_owned()).collect()
}

fn mended(dir: &Path, extra: &[&str], now: SystemTime) -> Vec<u8> {
    mend(dir, &names(extra), now).unwrap().cert[0].to_vec()
}

fn ca_of(dir: &Path) -> Vec<u8> {
    fs::read(dir.join("ca.pem")).unwrap()
}

fn mode(path: PathBuf) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_new_folder_gets_a_ca_a_certificate_and_a_bundle() {
    let dir = tempfile::tempdir().unwrap();
    let tls = dir.path().join("tls");
    let local = ensure(&tls, &["go.example.com".to_owned(), "[2001:db8::1]".to_owned(), "localhost".to_owned()]).unwrap();
    assert_eq!(local.names, ["localhost", "127.0.0.1", "::1", "go.example.com", "2001:db8::1"]);
    assert_eq!(mode(tls.join("ca-key.pem")), 0o600);
    assert_eq!(mode(tls.join("key.pem")), 0o600);
    assert_eq!(mode(ca_file(&tls)), 0o644);
    let bundle = fs::read_to_string(bundle_file(&tls)).unwrap();
    assert!(bundle.starts_with(fs::read_to_string(ca_file(&tls)).unwrap().trim_end().replace('\r', "").as_str()));
}

#[test]
fn nothing_changes_while_all_is_well() {
    let dir = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let first = mended(dir.path(), &["go.example.com"], now);
    let ca = ca_of(dir.path());
    assert_eq!(mended(dir.path(), &["go.example.com"], now + 59 * DAY), first);
    assert_eq!(ca_of(dir.path()), ca);
}

#[test]
fn a_certificate_is_made_anew_thirty_days_before_its_end_by_the_same_ca() {
    let dir = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let first = mended(dir.path(), &[], now);
    let ca = ca_of(dir.path());
    assert_ne!(mended(dir.path(), &[], now + 61 * DAY), first);
    assert_eq!(ca_of(dir.path()), ca);
}

#[test]
fn a_certificate_is_renewed_while_the_server_runs() {
    let dir = tempfile::tempdir().unwrap();
    let mut local = ensure(dir.path(), &[]).unwrap();
    let before = local.pair();
    local.renew(SystemTime::now() + 61 * DAY).unwrap();
    assert_ne!(before.cert, local.pair().cert);
}

#[test]
fn a_new_name_makes_a_new_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let first = mended(dir.path(), &[], now);
    assert_ne!(mended(dir.path(), &["10.1.2.3"], now), first);
}

#[test]
fn damaged_and_missing_files_are_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    for file in ["key.pem", "cert.pem"] {
        let (first, ca) = (mended(dir.path(), &[], now), ca_of(dir.path()));
        write(&dir.path().join(file), b"torn", 0o600).unwrap();
        let second = mended(dir.path(), &[], now);
        assert_ne!(first, second, "{file}");
        fs::remove_file(dir.path().join(file)).unwrap();
        assert_ne!(second, mended(dir.path(), &[], now), "{file}");
        assert_eq!(ca, ca_of(dir.path()), "{file}");
    }
    for file in ["ca-key.pem", "ca.pem"] {
        let (first, ca) = (mended(dir.path(), &[], now), ca_of(dir.path()));
        write(&dir.path().join(file), b"torn", 0o600).unwrap();
        assert_ne!(first, mended(dir.path(), &[], now), "{file}");
        assert_ne!(ca, ca_of(dir.path()), "{file}");
    }
}

#[test]
fn a_ca_about_to_end_or_not_yet_valid_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    mended(dir.path(), &[], now);
    let ca = ca_of(dir.path());
    mended(dir.path(), &[], now + CA_LIFE - 89 * DAY);
    assert_ne!(ca, ca_of(dir.path()));
    // Made while the clock was wrong.
    let ca = ca_of(dir.path());
    mended(dir.path(), &[], now);
    assert_ne!(ca, ca_of(dir.path()));
}

#[test]
fn a_ca_key_that_others_may_read_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    mended(dir.path(), &[], SystemTime::now());
    fs::set_permissions(dir.path().join("ca-key.pem"), Permissions::from_mode(0o644)).unwrap();
    let error = ensure(dir.path(), &[]).unwrap_err();
    assert!(matches!(error, TlsError::OpenKey { mode: 0o644, .. }), "{error}");
    assert!(error.to_string().contains("chmod o= "), "{error}");
}
