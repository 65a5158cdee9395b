//! The directory itself: whose it is, its format, its rights, and copies of it.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicBool, Ordering};

use modgate::durable::{Room, Shortage};

use super::*;

#[test]
fn a_directory_in_use_is_refused_naming_who_uses_it() {
    let dir = memory_dir();
    let held = DataDir::open(dir.path()).unwrap();
    let error = DataDir::open(dir.path()).unwrap_err();
    assert!(matches!(&error, OpenError::InUse { pid: Some(pid), .. } if *pid == std::process::id()), "{error:?}");
    let text = error.to_string();
    assert!(
        text.contains(&dir.path().display().to_string()) && text.contains(&format!("in use by process {}", std::process::id())),
        "{text}"
    );
    drop(held);
    DataDir::open(dir.path()).unwrap();
}

/// As by a process that is just ending, or by a child between its fork and its exec, which holds what its parent held.
#[test]
fn a_directory_that_is_let_go_in_a_moment_is_waited_for() {
    let dir = memory_dir();
    let held = DataDir::open(dir.path()).unwrap();
    std::thread::scope(|scope| {
        let next = scope.spawn(|| DataDir::open(dir.path()));
        drop(held);
        next.join().unwrap().unwrap();
    });
}

#[test]
fn a_directory_of_a_newer_format_is_refused_naming_the_version_that_is_needed() {
    let dir = memory_dir();
    drop(DataDir::open(dir.path()).unwrap());
    let newer = modgate::store::FORMAT + 1;
    fs::write(dir.path().join("format"), format!("{{\"format\":{newer},\"needs\":\"9.1.0\",\"more\":[]}}")).unwrap();
    fs::write(dir.path().join("tmp/precious"), "").unwrap();
    let text = DataDir::open(dir.path()).unwrap_err().to_string();
    assert!(text.contains(&format!("has format {newer}")) && text.contains("start modgate 9.1.0 or newer"), "{text}");
    assert!(dir.path().join("tmp/precious").exists());
    fs::write(dir.path().join("format"), "what").unwrap();
    assert!(DataDir::open(dir.path()).unwrap_err().to_string().contains("format: not a format file"));
}

#[test]
fn a_strangers_directory_is_refused_and_left_alone() {
    let dir = memory_dir();
    fs::create_dir(dir.path().join("tmp")).unwrap();
    fs::write(dir.path().join("tmp/precious"), "").unwrap();
    let text = DataDir::open(dir.path()).unwrap_err().to_string();
    assert!(text.contains("is not a modgate data directory") && text.contains("copy the file format too"), "{text}");
    assert!(dir.path().join("tmp/precious").exists());
    fs::remove_file(dir.path().join("tmp/precious")).unwrap();
    DataDir::open(dir.path()).unwrap();
}

#[test]
fn a_directory_that_cannot_be_written_is_refused() {
    let dir = memory_dir();
    fs::write(dir.path().join("file"), "").unwrap();
    let text = DataDir::open(&dir.path().join("file")).unwrap_err().to_string();
    assert!(text.contains("file cannot be written: "), "{text}");
    // Root may write anywhere; so the disk says no.
    struct ReadOnly(i32);
    impl Faults for ReadOnly {
        fn step(&self, step: Step, _: &Path, run: &mut dyn FnMut() -> std::io::Result<()>) -> std::io::Result<()> {
            if step == Step::Write { Err(std::io::Error::from_raw_os_error(self.0)) } else { run() }
        }
    }
    let data = dir.path().join("data");
    let text = DataDir::open_on(&data, Disk::with_faults(Arc::new(ReadOnly(30)))).unwrap_err().to_string();
    assert!(text.contains("data cannot be written: cannot write to") && text.contains("Read-only file system"), "{text}");
    let error = DataDir::open_on(&data, Disk::with_faults(Arc::new(ReadOnly(28)))).unwrap_err();
    assert!(matches!(error, OpenError::Full { .. }), "{error:?}");
    DataDir::open(&data).unwrap();
}

/// A disk without room until somebody gives way.
#[derive(Default)]
struct Full(AtomicBool);

impl Faults for Full {
    fn step(&self, _: Step, _: &Path, run: &mut dyn FnMut() -> std::io::Result<()>) -> std::io::Result<()> {
        if self.0.load(Ordering::SeqCst) { Err(std::io::ErrorKind::StorageFull.into()) } else { run() }
    }

    fn room(&self, room: Room) -> Room {
        if self.0.load(Ordering::SeqCst) { Room { bytes: 0, ..room } } else { room }
    }
}

#[test]
fn room_is_made_before_a_start_writes_anything_also_where_it_upgrades() {
    let dir = memory_dir();
    drop(DataDir::open(dir.path()).unwrap());
    fs::write(dir.path().join("format"), r#"{"format":1}"#).unwrap();
    fs::remove_dir(dir.path().join("tls")).unwrap();
    fs::remove_file(dir.path().join("node")).unwrap();
    let full = Arc::new(Full::default());
    full.0.store(true, Ordering::SeqCst);
    let cache = dir.path().join("cache");
    let make_room = |data: &DataDir, short: Shortage| {
        assert_eq!((data.cache(), short.is_none()), (cache.clone(), false));
        full.0.store(false, Ordering::SeqCst);
    };
    let data = DataDir::open_with(dir.path(), Disk::with_faults(full.clone()), make_room).unwrap();
    assert!(!data.node().is_empty() && dir.path().join("tls").is_dir());
    let format = fs::read_to_string(dir.path().join("format")).unwrap();
    assert!(format.contains(&format!("\"format\":{}", modgate::store::FORMAT)), "{format}");
}

#[test]
fn what_is_made_is_for_its_user_alone() {
    runtime().block_on(async {
        let (dir, _) = after(RICH).await;
        let mut folders = vec![dir.path().join("blobs"), dir.path().join("records"), dir.path().join("tls"), dir.path().join("ledger")];
        while let Some(folder) = folders.pop() {
            assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700, "{}", folder.display());
            for entry in fs::read_dir(&folder).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path());
                } else {
                    assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{}", entry.path().display());
                }
            }
        }
    });
}

/// A backup is a copy of these, however it is made.
#[test]
fn format_records_blobs_and_ledger_are_all_that_a_copy_needs() {
    runtime().block_on(async {
        for steps in [RICH, SCRIPT] {
            let (dir, said) = after(steps).await;
            assert!(said.contains("tokens") && said.contains("left example.com/out"), "{said}");
            let to = memory_dir();
            for folder in ["records", "blobs", "ledger"] {
                copy(&dir.path().join(folder), &to.path().join(folder));
            }
            assert!(matches!(refused(to.path()), OpenError::NotOurs { .. }));
            fs::copy(dir.path().join("format"), to.path().join("format")).unwrap();
            let (stores, report) = start(to.path());
            assert!(report.rebuilt && report.findings.is_empty(), "{report:?}");
            assert_eq!((report.blobs_removed, report.records_removed, report.torn_lines), (0, 0, 0));
            assert_eq!(dump(&stores).await, said);
            // Nobody else gets what a tombstone or a module holds.
            let index = stores.records.hosted_index().await.unwrap();
            for held in index.tombstones.keys().chain(index.hosted.keys()) {
                assert_eq!(plain(&stores, "mallory", held.as_str(), "v9.0.0", "other").await, Publish::NotYours);
            }
        }
    });
}
