//! The data directory's file system.

use std::path::Path;

use rustix::fs::Access;
use rustix::io::Errno;

use crate::config::Config;
use crate::durable::{Disk, Room};
use crate::store::{RESERVE_BYTES, RESERVE_INODES};

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
        Ok(room) => {
            findings.extend(too_few_bytes(dir, room, config.limits.upload));
            findings.extend(too_few_inodes(dir, room));
        }
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

fn too_few_bytes(dir: &Path, room: Room, upload: u64) -> Option<String> {
    let needed = upload.saturating_add(RESERVE_BYTES);
    (room.bytes < needed).then(|| {
        let mib = |bytes: u64| bytes >> 20;
        format!(
            "data_dir: the file system of {} has {} MiB left: one upload of limits.upload and a reserve take {} MiB",
            dir.display(),
            mib(room.bytes),
            mib(needed)
        )
    })
}

fn too_few_inodes(dir: &Path, room: Room) -> Option<String> {
    let free = room.inodes.map(|inodes| inodes.free).filter(|free| *free < RESERVE_INODES)?;
    Some(format!("data_dir: the file system of {} has {free} free inodes left: a reserve takes {RESERVE_INODES}", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::Inodes;

    fn config(data_dir: &Path) -> Config {
        let text = format!("data_dir = {:?}\n[limits]\nupload = \"1MiB\"\n", data_dir.display());
        Config::from_toml(&text).unwrap()
    }

    #[test]
    fn room_for_one_upload_and_the_reserve_is_enough() {
        let dir = Path::new("/data");
        let room = |bytes| Room { bytes, inodes: None };
        assert_eq!(too_few_bytes(dir, room((1 << 20) + RESERVE_BYTES), 1 << 20), None);
        let told = too_few_bytes(dir, room((1 << 20) + RESERVE_BYTES - 1), 1 << 20).unwrap();
        assert_eq!(told, "data_dir: the file system of /data has 8 MiB left: one upload of limits.upload and a reserve take 9 MiB");
    }

    #[test]
    fn inodes_for_the_reserve_are_enough() {
        let dir = Path::new("/data");
        let room = |free| Room { bytes: 0, inodes: Some(Inodes { free, all: 1000 }) };
        assert_eq!(too_few_inodes(dir, room(RESERVE_INODES)), None);
        assert_eq!(too_few_inodes(dir, Room { bytes: 0, inodes: None }), None, "as many as there are bytes for");
        let told = too_few_inodes(dir, room(RESERVE_INODES - 1)).unwrap();
        assert_eq!(told, "data_dir: the file system of /data has 63 free inodes left: a reserve takes 64");
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
