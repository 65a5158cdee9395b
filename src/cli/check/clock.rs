//! The clock, against what was written here before: a clock that is behind that is wrong now, or was wrong then.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// What a file system's clock may differ from ours.
const SLACK: Duration = Duration::from_secs(60);
/// Folders of the data directory in which some file is written whenever something happens.
const WRITTEN: [&str; 5] = ["", "records", "meta", "ledger", "tls"];

/// A clock that is behind the newest file, or behind a certificate of the local CA.
pub(super) fn findings(data_dir: &Path) -> Vec<String> {
    behind(data_dir, SystemTime::now()).into_iter().collect()
}

fn behind(data_dir: &Path, now: SystemTime) -> Option<String> {
    let files: Vec<PathBuf> = WRITTEN.iter().flat_map(|folder| files(&data_dir.join(folder))).collect();
    let written = files.iter().filter_map(|file| Some((fs::metadata(file).ok()?.modified().ok()?, file)));
    if let Some((at, file)) = written.max_by_key(|(at, _)| *at)
        && at > now + SLACK
    {
        return Some(format!("the clock is behind: {} was written {} s from now", file.display(), ahead(at, now)));
    }
    let valid = files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "pem"));
    let valid = valid.filter_map(|file| Some((not_before(file)?, file)));
    let (at, file) = valid.max_by_key(|(at, _)| *at).filter(|(at, _)| *at > now)?;
    Some(format!("the clock is behind: the certificate in {} is not valid for another {} s", file.display(), ahead(at, now)))
}

fn ahead(at: SystemTime, now: SystemTime) -> u64 {
    at.duration_since(now).map_or(0, |ahead| ahead.as_secs())
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file())).map(|entry| entry.path()).collect()
}

fn not_before(file: &Path) -> Option<SystemTime> {
    let first = CertificateDer::from_pem_file(file).ok()?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&first).ok()?;
    UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(parsed.validity().not_before.timestamp()).ok()?))
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::http::local_ca;

    #[test]
    fn a_clock_behind_what_was_written_is_told() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path();
        let now = SystemTime::now();
        assert_eq!(behind(&dir.join("none"), now), None);
        fs::create_dir(dir.join("ledger")).unwrap();
        let file = File::create(dir.join("ledger/egress")).unwrap();
        file.set_modified(now + SLACK).unwrap();
        assert_eq!(behind(dir, now), None);
        file.set_modified(now + 2 * SLACK).unwrap();
        let told = behind(dir, now).unwrap();
        assert!(told.contains("ledger/egress was written 120 s from now"), "{told}");
    }

    #[test]
    fn a_clock_behind_the_local_ca_is_told() {
        let scratch = tempfile::tempdir().unwrap();
        let tls = scratch.path().join("tls");
        local_ca::ensure(&tls, &[]).unwrap();
        let now = SystemTime::now();
        assert_eq!(behind(scratch.path(), now), None);
        // Copied files are as old as the copy says; what is in them is not.
        let then = now - Duration::from_secs(2 * 86_400);
        for file in files(&tls) {
            File::options().write(true).open(file).unwrap().set_modified(then).unwrap();
        }
        let told = behind(scratch.path(), then).unwrap();
        assert!(told.contains("is not valid for another"), "{told}");
    }
}
