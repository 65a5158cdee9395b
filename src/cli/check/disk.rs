//! The data directory's file system.

use std::path::Path;

use rustix::fs::Access;
use rustix::io::Errno;

use crate::config::Config;
use crate::durable::Disk;
use crate::store::RESERVE_BYTES;

/// Too little room, or no way to make the directory.
pub(super) fn findings(config: &Config) -> Vec<String> {
    let dir = &config.data_dir;
    let Some(there) = dir.ancestors().find(|above| above.exists() || above.as_os_str().is_empty()) else { return Vec::new() };
    // What is left of a relative path is the working directory.
    let there = if there.as_os_str().is_empty() { Path::new(".") } else { there };
    let mut findings = Vec::new();
    if let Err(why) = may_write(there) {
        findings.push(if there == dir {
            format!("data_dir: {} cannot be written: {why}", dir.display())
        } else {
            format!("data_dir: {} cannot be made below {}: {why}", dir.display(), there.display())
        });
    }
    match Disk::default().room(there) {
        Ok(room) => findings.extend(too_little(dir, room.bytes, config.limits.upload)),
        Err(error) => findings.push(format!("data_dir: the room on the file system of {} is not known: {error}", dir.display())),
    }
    findings
}

fn may_write(folder: &Path) -> Result<(), Errno> {
    if !folder.is_dir() {
        return Err(Errno::NOTDIR);
    }
    rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK)
}

fn too_little(dir: &Path, room: u64, upload: u64) -> Option<String> {
    let needed = upload.saturating_add(RESERVE_BYTES);
    (room < needed).then(|| {
        let mib = |bytes: u64| bytes >> 20;
        format!(
            "data_dir: the file system of {} has {} MiB left: one upload of limits.upload and a reserve take {} MiB",
            dir.display(),
            mib(room),
            mib(needed)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(data_dir: &Path) -> Config {
        let text = format!("data_dir = {:?}\n[limits]\nupload = \"1MiB\"\n", data_dir.display());
        Config::from_toml(&text).unwrap()
    }

    #[test]
    fn room_for_one_upload_and_the_reserve_is_enough() {
        let dir = Path::new("/data");
        assert_eq!(too_little(dir, (1 << 20) + RESERVE_BYTES, 1 << 20), None);
        let told = too_little(dir, (1 << 20) + RESERVE_BYTES - 1, 1 << 20).unwrap();
        assert_eq!(told, "data_dir: the file system of /data has 8 MiB left: one upload of limits.upload and a reserve take 9 MiB");
    }

    #[test]
    fn a_directory_that_is_not_there_is_judged_by_where_it_would_be_made() {
        let scratch = tempfile::tempdir().unwrap();
        assert_eq!(findings(&config(&scratch.path().join("a/b"))), Vec::<String>::new());
        std::fs::write(scratch.path().join("file"), "").unwrap();
        let told = findings(&config(&scratch.path().join("file/b")));
        assert!(told[0].contains("cannot be made below"), "{told:?}");
        assert!(!scratch.path().join("a").exists());
    }
}
