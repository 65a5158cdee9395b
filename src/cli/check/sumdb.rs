//! The gateway's own checksum database: its key's file, where `sumdb.head_path` lies, and, of a gateway that runs, what it has.
//! Whether the log is whole is told with what is hosted.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::Access;

use super::keys::open_to_others;
use crate::admin::LogLine;
use crate::cli::connection::Connection;
use crate::cli::out;
use crate::config::Config;
use crate::sumdb::log::head_path_folder;

/// What is wrong with the files.
pub(super) fn findings(config: &Config) -> Vec<String> {
    if !config.sumdb.enabled {
        return Vec::new();
    }
    let key = config.data_dir.join("sumdb/log/key");
    let mut findings: Vec<String> = open_to_others(&key).into_iter().collect();
    if let Err(error) = File::open(&key)
        && error.kind() != io::ErrorKind::NotFound
    {
        findings.push(format!("sumdb: cannot read {}: {error}", key.display()));
    }
    findings.extend(config.sumdb.head_path.as_deref().and_then(|path| head_path(path, &config.data_dir)));
    findings
}

/// Says on standard error what the gateway that runs has: it is no finding.
pub(super) async fn tell(connection: &Connection) {
    if matches!(connection, Connection::Local(_)) {
        return;
    }
    // One that has none says so, which its settings tell as well.
    if let Ok(LogLine { key, size, .. }) = connection.call("sumdb-own", &()).await {
        out::tell(&format!("sumdb: {key} has {size} records"));
    }
}

/// What keeps `sumdb.head_path` from being written, or from doing what it is for.
fn head_path(path: &Path, data_dir: &Path) -> Option<String> {
    let folder = head_path_folder(path);
    let told = |what: &str| format!("sumdb.head_path: {} {what}", folder.display());
    let Ok(there) = fs::metadata(folder) else { return Some(told("is not there: is its volume mounted?")) };
    if let Err(why) = rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK) {
        return Some(told(&format!("cannot be written: {why}")));
    }
    let data = data_dir.ancestors().find_map(|above| fs::metadata(above).ok())?;
    (data.dev() == there.dev())
        .then(|| told("lies on the file system of data_dir, and goes back in time with it: name a file on another volume"))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_that_others_can_read_and_a_head_path_that_is_of_no_use_are_found() {
        let scratch = tempfile::tempdir().unwrap();
        let data = scratch.path().join("data");
        let told = |head_path: &str| {
            let text = format!("data_dir = {:?}\n[sumdb]\nhead_path = {head_path:?}\n", data.display());
            findings(&Config::from_toml(&text).unwrap())
        };
        let lost = scratch.path().join("away/head").display().to_string();
        assert_eq!(
            told(&lost),
            [format!("sumdb.head_path: {} is not there: is its volume mounted?", scratch.path().join("away").display())]
        );
        let near = scratch.path().join("head").display().to_string();
        assert!(matches!(&told(&near)[..], [near] if near.contains("lies on the file system of data_dir")), "{:?}", told(&near));
        let key = data.join("sumdb/log/key");
        fs::create_dir_all(key.parent().unwrap()).unwrap();
        fs::write(&key, "").unwrap();
        fs::set_permissions(&key, Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(&told(&near)[..], [key, _] if key.contains("has mode 0640")), "{:?}", told(&near));
    }
}
