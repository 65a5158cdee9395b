use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::http::local_ca;

/// Writes a pair, in place as an editor would, and returns the certificate.
fn write_pair(cert_file: &Path, key_file: &Path) -> Vec<u8> {
    let (cert, key) = pair();
    write(cert_file, &cert.pem());
    write(key_file, &key.serialize_pem());
    cert.der().to_vec()
}

fn pair() -> (rcgen::Certificate, rcgen::KeyPair) {
    let key = rcgen::KeyPair::generate().unwrap();
    let cert = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    (cert, key)
}

fn write(file: &Path, text: &str) {
    fs::write(file, text).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
}

fn shown(keeper: &Keeper) -> Vec<u8> {
    keeper.certificates.current().cert[0].to_vec()
}

fn told(keeper: &Keeper) -> Option<String> {
    match &*keeper.source.lock().unwrap() {
        Source::Files(files) => files.told.clone(),
        Source::Local { .. } => None,
    }
}

#[test]
fn files_that_do_not_fit_yet_change_nothing_until_they_do() {
    let dir = tempfile::tempdir().unwrap();
    let (cert_file, key_file) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let first = write_pair(&cert_file, &key_file);
    let keeper = Keeper::new(Prepared::from_files(&cert_file, &key_file).unwrap());
    keeper.look();
    assert_eq!((shown(&keeper), told(&keeper)), (first.clone(), None));

    let (cert, key) = pair();
    let half = cert.pem();
    for (text, problem) in [(&half[..half.len() / 2], "holds no PEM certificate"), (half.as_str(), "is not that of the certificate")] {
        write(&cert_file, text);
        keeper.look();
        assert_eq!(shown(&keeper), first);
        assert!(told(&keeper).is_some_and(|told| told.contains(problem)), "{:?}", told(&keeper));
    }
    fs::remove_file(&key_file).unwrap();
    keeper.look();
    assert_eq!(shown(&keeper), first);
    write(&key_file, &key.serialize_pem());
    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o644)).unwrap();
    keeper.look();
    assert!(told(&keeper).is_some_and(|told| told.contains("0644")), "{:?}", told(&keeper));
    // A mode is no content: the time of the file itself tells.
    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o600)).unwrap();
    keeper.look();
    assert_eq!((shown(&keeper), told(&keeper)), (cert.der().to_vec(), None));
}

#[test]
fn files_that_take_the_names_of_others_are_seen() {
    let dir = tempfile::tempdir().unwrap();
    let new = |name: &str| {
        let (cert, key) = (dir.path().join(format!("{name}.pem")), dir.path().join(format!("{name}-key.pem")));
        (write_pair(&cert, &key), cert, key)
    };
    let (_, old_cert, old_key) = new("old");
    let (second, new_cert, new_key) = new("new");
    // What stands at the names is a link, as in a mounted secret: it leads elsewhere at once.
    let (cert, key) = (dir.path().join("cert"), dir.path().join("key"));
    std::os::unix::fs::symlink(&old_cert, &cert).unwrap();
    std::os::unix::fs::symlink(&old_key, &key).unwrap();
    let keeper = Keeper::new(Prepared::from_files(&cert, &key).unwrap());
    for (link, target) in [(&cert, new_cert), (&key, new_key)] {
        let beside = dir.path().join("beside");
        std::os::unix::fs::symlink(target, &beside).unwrap();
        fs::rename(beside, link).unwrap();
    }
    keeper.look();
    assert_eq!(shown(&keeper), second);
}

#[tokio::test(start_paused = true)]
async fn a_certificate_of_the_local_ca_is_looked_at_when_it_is_due() {
    let dir = tempfile::tempdir().unwrap();
    let keeper = Keeper::new(Prepared::from_local(local_ca::ensure(dir.path(), &[]).unwrap()));
    let first = shown(&keeper);
    fs::remove_file(dir.path().join("cert.pem")).unwrap();
    keeper.look();
    assert_eq!(shown(&keeper), first);
    tokio::time::advance(RENEW_EVERY).await;
    keeper.look();
    assert_ne!(shown(&keeper), first);
}
