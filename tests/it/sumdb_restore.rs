//! Our own checksum database through a backup: what comes back is another one, that says the same, and nobody is shown two pasts.

use std::fs;
use std::io::{Cursor, Read as _, Write as _};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use modgate::durable::Disk;
use modgate::observe::chain;
use modgate::stop::Stop;
use modgate::store::backup::BackupError;
use modgate::store::{CarriedLog, CarryError, DataDir, Embedded, OpenError, RestoreError, Restored, restore, restore_with_log};
use modgate::sumdb::log::{self, Log, OwnName, carry};

use super::store_backup::{first_file, sealed};
use super::store_crash::{memory_dir, runtime};
use super::sumdb_log::{fill, holds, settings};
use super::sumdb_own::{ask, key, looked_up, module, publish, world};
use crate::support::gateway::Gateway;
use crate::support::go::Go;
use crate::support::process;

const FOOT: &str = "modgate-backup-end.json";

/// An archive of a store of nothing and a log of so many records; what is appended to it after its head was taken is not in it.
async fn archive(dir: &Path, records: usize) -> (Vec<u8>, Log) {
    let data = Arc::new(DataDir::open(dir).unwrap());
    let (stores, _) = Embedded::open(&data).unwrap();
    let log = Log::open(&data, &settings(None)).unwrap();
    fill(&log, "a", records).await;
    let mut snapshot = stores.backup.snapshot().await.unwrap();
    snapshot.add_log(log.archived(&Stop::default()).unwrap());
    fill(&log, "later", 300).await;
    let mut bytes = Vec::new();
    snapshot.write(&mut bytes).unwrap();
    (bytes, log)
}

fn make_log(folder: &Path) -> Result<CarriedLog, CarryError> {
    Ok(carry(folder, "new.example.com")?)
}

fn put_back(dir: &Path, archive: &[u8]) -> Result<Restored, RestoreError> {
    restore_with_log(&dir.join("restored"), Cursor::new(archive), make_log)
}

#[test]
fn the_records_of_any_number_become_a_log_with_a_new_key_that_goes_on() {
    runtime().block_on(async {
        for records in [0, 1, 255, 256, 600] {
            let dir = memory_dir();
            let (archive, old) = archive(&dir.path().join("original"), records).await;
            let refused = restore(&dir.path().join("restored"), Cursor::new(&archive)).unwrap_err();
            let RestoreError::Backup(BackupError::HoldsLog { name, records: told }) = &refused else { panic!("{refused}") };
            assert_eq!((name.as_str(), *told), (old.key().name(), records as u64));
            assert!(!dir.path().join("restored").exists());
            let carried = put_back(dir.path(), &archive).unwrap().log.unwrap();
            assert_eq!(&carried.old, old.key());
            let names = Archive::names(&archive);
            assert!(!names.iter().any(|name| name.ends_with("/key") || name.contains("tile/8/0")), "{names:?}");

            let log = Log::open(&Arc::new(DataDir::open(&dir.path().join("restored")).unwrap()), &settings(None)).unwrap();
            assert!(log.key().name().starts_with("new.example.com/"), "{}", log.key());
            assert_eq!(&carried.key, log.key());
            assert_eq!(log.latest().head().size, records as u64);
            let entries = fill(&log, "a", records).await;
            for entry in &entries {
                assert_eq!(old.find(&entry.record.path, &entry.record.version).await.unwrap().as_ref(), Some(entry));
            }
            for entry in entries.iter().take(3).chain(&fill(&log, "b", 260).await) {
                holds(&log, entry).await;
            }
        }
    });
}

/// An archive's files.
struct Archive;

impl Archive {
    fn files(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
        let mut tar = tar::Archive::new(archive);
        let read = |entry: Result<tar::Entry<&[u8]>, _>| {
            let mut entry = entry.unwrap();
            let (name, mut content) = (entry.path().unwrap().display().to_string(), Vec::new());
            entry.read_to_end(&mut content).unwrap();
            (name, content)
        };
        tar.entries().unwrap().map(read).collect()
    }

    fn names(archive: &[u8]) -> Vec<String> {
        Self::files(archive).into_iter().map(|(name, _)| name).collect()
    }

    /// The archive with a file's content changed, or without it, and with a foot that fits.
    fn with(archive: &[u8], changed: &str, change: impl Fn(&mut Vec<u8>) -> bool) -> Vec<u8> {
        let mut files = Self::files(archive);
        files.retain_mut(|(name, content)| if name == changed { change(content) } else { name != FOOT });
        let files: Vec<(&str, &[u8])> = files[1..].iter().map(|(name, content)| (name.as_str(), content.as_slice())).collect();
        sealed(&first_file(archive), &files, 0, "")
    }
}

#[test]
fn an_archive_whose_records_are_not_those_of_its_head_is_refused_and_leaves_nothing() {
    runtime().block_on(async {
        let dir = memory_dir();
        let (whole, _) = archive(&dir.path().join("original"), 300).await;
        let (other, _) = archive(&dir.path().join("other"), 300).await;
        let others = |name: &str| Archive::files(&other).into_iter().find(|(found, _)| found == name).unwrap().1;
        let replaced = |name: &'static str| {
            let content = others(name);
            Archive::with(&whole, name, move |held| {
                held.clone_from(&content);
                true
            })
        };
        let flip = |content: &mut Vec<u8>| {
            let at = content.len() / 2;
            content[at] ^= 1;
            true
        };
        let mut archives = vec![replaced("sumdb/log/verifier"), replaced("sumdb/log/head")];
        for name in ["sumdb/log/tile/8/data/000", "sumdb/log/tile/8/data/001"] {
            archives.push(Archive::with(&whole, name, flip));
            archives.push(Archive::with(&whole, name, |_| false));
            archives.push(Archive::with(&whole, name, |content| {
                content.truncate(content.len() - 1);
                true
            }));
        }
        for name in ["sumdb/log/verifier", "sumdb/log/head"] {
            archives.push(Archive::with(&whole, name, flip));
            archives.push(Archive::with(&whole, name, |_| false));
        }
        for (i, archive) in archives.iter().enumerate() {
            let error = put_back(dir.path(), archive).unwrap_err();
            assert!(matches!(error, RestoreError::Log(_)), "{i}: {}", chain(&error));
            assert!(!dir.path().join("restored").exists(), "{i}");
        }
        // Records of another order, of the same number, have another root. Unchanged it is taken.
        put_back(dir.path(), &Archive::with(&whole, "", |_| true)).unwrap();
    });
}

#[test]
fn an_archive_with_the_beginning_of_a_log_alone_is_damaged() {
    runtime().block_on(async {
        let dir = memory_dir();
        let (whole, _) = archive(&dir.path().join("original"), 1).await;
        let files = Archive::files(&whole);
        for kept in ["verifier", "head", "tile/8/data/000"] {
            let kept = |name: &str| name.strip_prefix("sumdb/log/").is_none_or(|name| name == kept) && name != FOOT;
            let files: Vec<(&str, &[u8])> =
                files[1..].iter().filter(|(name, _)| kept(name)).map(|(name, content)| (name.as_str(), content.as_slice())).collect();
            let archive = sealed(&first_file(&whole), &files, 0, "");
            let error = restore(&dir.path().join("restored"), Cursor::new(&archive)).unwrap_err();
            assert!(matches!(error, RestoreError::Backup(BackupError::Damaged(_))), "{}", chain(&error));
            assert!(matches!(put_back(dir.path(), &archive), Err(RestoreError::Log(_))));
            assert!(!dir.path().join("restored").exists());
        }
    });
}

#[test]
fn that_there_is_a_log_is_told_from_the_restore_on() {
    runtime().block_on(async {
        let dir = memory_dir();
        let (whole, _) = archive(&dir.path().join("original"), 1).await;
        let carried = put_back(dir.path(), &whole).unwrap().log.unwrap();
        let data = DataDir::open(&dir.path().join("restored")).unwrap();
        assert_eq!(OwnName::of(None, &data), OwnName::Off(carried.key.name().to_owned()));
        fs::remove_dir_all(data.sumdb()).unwrap();
        let gone = Log::look(&data, &settings(None), &Stop::default()).err().unwrap();
        assert!(matches!(gone, log::OpenError::Gone { .. }), "{gone}");
    });
}

#[test]
fn reading_a_log_for_a_backup_ends_when_the_process_does() {
    runtime().block_on(async {
        let dir = memory_dir();
        let (_, log) = archive(dir.path(), 3).await;
        let stop = Stop::default();
        stop.ask();
        assert!(matches!(log.archived(&stop), Err(log::OpenError::Stopped)));
        drop(log);
        let data = DataDir::open(dir.path()).unwrap();
        assert!(matches!(Log::look(&data, &settings(None), &stop), Err(log::OpenError::Stopped)));
    });
}

#[test]
fn a_restore_that_was_cut_between_its_renames_is_no_data_directory() {
    runtime().block_on(async {
        let dir = memory_dir();
        let (whole, _) = archive(&dir.path().join("original"), 3).await;
        let (root, cut) = (dir.path().join("restored"), dir.path().join("cut"));
        put_back(dir.path(), &whole).unwrap();
        // The log alone has its place, or the file that tells of it.
        for placed in ["sumdb", "sumdb-verifier"] {
            fs::create_dir_all(cut.join("tmp/restore/records")).unwrap();
            fs::rename(root.join(placed), cut.join(placed)).unwrap();
            let again = restore_with_log(&cut, Cursor::new(&whole), make_log).unwrap_err();
            assert!(matches!(&again, RestoreError::DataDir(OpenError::NotOurs { found, .. }) if found.ends_with(placed)), "{again}");
            assert!(matches!(DataDir::open_on(&cut, Disk::default()), Err(OpenError::NotOurs { .. })));
            // And it is left as it was.
            fs::rename(cut.join(placed), root.join(placed)).unwrap();
        }
        assert!(root.join("sumdb/log/key").exists());
    });
}

/// The key of the line that `restore` prints for clients.
fn printed_key(stdout: &str) -> String {
    let line = stdout.lines().find_map(|line| line.strip_prefix("go env -w GOSUMDB=\"")).expect("a line for clients");
    line.strip_suffix('"').expect("a quote").to_owned()
}

#[test]
fn a_restored_database_is_another_one_with_the_same_records_and_old_clients_are_told() {
    let scratch = tempfile::tempdir().unwrap();
    let volume = tempfile::tempdir().unwrap();
    let head_path = volume.path().join("head");
    let (mut gateway, _upstream) = world(&format!("[sumdb]\nhead_path = {head_path:?}\n"));
    publish(&gateway, "pub", &module("corp.example.com/a"));
    let old = key(&gateway);
    let (_, record) = looked_up(&gateway, &ask(&gateway, None, "lookup/corp.example.com/a@v1.0.0"));
    let file = scratch.path().join("backup.tar");
    let name = file.to_str().unwrap();
    gateway.cli(&["backup", name]).ok();
    // What the backup does not know, and a client does.
    publish(&gateway, "pub", &module("corp.example.com/b"));
    let client = Go::new(&gateway.url(), &old.to_string());
    for path in ["corp.example.com/a@v1.0.0", "corp.example.com/b@v1.0.0"] {
        client.run(&["mod", "download", path]).ok();
    }
    gateway.kill();
    let newest = fs::read(&head_path).unwrap();

    let restored = scratch.path().join("restored");
    gateway.configure(&format!("data_dir = {restored:?}\n{}", gateway.settings()));
    let refused = gateway.cli_over(&restored, &[], &["restore", name]);
    assert!(refused.code == Some(1) && refused.stderr.contains(old.name()) && refused.stderr.contains("with 1 records"), "{refused}");
    assert!(refused.stderr.contains("restore with --new-log"), "{refused}");
    assert!(!restored.exists() && fs::read(&head_path).unwrap() == newest, "nothing was touched");
    let ran = restored_as_set(&gateway, name);
    let new = printed_key(ran.ok());
    assert!(ran.stdout.contains("checksum database: 1 records"), "{ran}");
    let aside: Vec<_> = fs::read_dir(volume.path()).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(
        aside.len() == 1 && aside[0].display().to_string().contains("/head.old-") && fs::read(&aside[0]).unwrap() == newest,
        "{aside:?}"
    );
    assert!(ran.stderr.contains(&aside[0].display().to_string()), "{ran}");

    let lost = scratch.path().join("lost");
    fs::rename(gateway.data_dir(), &lost).unwrap();
    fs::rename(&restored, gateway.data_dir()).unwrap();
    // The token stays good; its file is not in a backup.
    fs::copy(lost.join("admin-token"), gateway.data_dir().join("admin-token")).unwrap();
    gateway.start();
    assert_eq!(key(&gateway).to_string(), new);
    assert_eq!(looked_up(&gateway, &ask(&gateway, None, "lookup/corp.example.com/a@v1.0.0")), (0, record));
    let fresh = Go::new(&gateway.url(), &new);
    fresh.run(&["mod", "download", "corp.example.com/a@v1.0.0"]).ok();
    publish(&gateway, "pub", &module("corp.example.com/c"));
    let told = client.run(&["mod", "download", "corp.example.com/c@v1.0.0"]);
    told.failed();
    let words = format!("the checksum database {} is not served here any more", old.name());
    assert!(told.stderr.contains(&words) && client.dialled().is_empty(), "{told}");
    assert_eq!(gateway.cli(&["check"]).stdout.lines().filter(|line| line.starts_with("sumdb: ")).count(), 0);
    gateway.restart();
}

/// `restore --new-log` into the data directory that the settings file names.
fn restored_as_set(gateway: &Gateway, archive: &str) -> process::Ran {
    let mut command = gateway.command_of(env!("CARGO_BIN_EXE_modgate"));
    command.args(["restore", "--new-log", archive, "--config"]).arg(gateway.config_file());
    process::run(command, Duration::from_secs(30))
}

#[test]
fn a_backup_that_is_tried_beside_the_gateway_leaves_it_the_head_that_it_lives_by() {
    let (scratch, volume) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let head_path = volume.path().join("head");
    let (mut gateway, _upstream) = world(&format!("[sumdb]\nhead_path = {head_path:?}\n"));
    publish(&gateway, "pub", &module("corp.example.com/a"));
    looked_up(&gateway, &ask(&gateway, None, "lookup/corp.example.com/a@v1.0.0"));
    let (file, head) = (scratch.path().join("backup.tar"), fs::read(&head_path).unwrap());
    let name = file.to_str().unwrap();
    gateway.cli(&["backup", name]).ok();
    let (tried, other) = (scratch.path().join("tried"), scratch.path().join("other"));
    let ran = gateway.cli_over(&tried, &[], &["restore", "--new-log", name]);
    printed_key(ran.ok());
    let stays = format!("sumdb.head_path: {} stays", head_path.display());
    assert!(ran.stderr.contains(&stays) && ran.stderr.contains(&format!("before a start on {}", tried.display())), "{ran}");
    let (code, told) = gateway.start_refused_in(&tried);
    assert!(code == Some(1) && told.contains("is not a head of this log"), "{told}");
    gateway.restart();
    assert_eq!(fs::read(&head_path).unwrap(), head);

    // Nor does a restore in earnest take what another database wrote there.
    gateway.terminate();
    fs::write(&head_path, "of another").unwrap();
    gateway.configure(&format!("data_dir = {other:?}\n{}", gateway.settings()));
    let ran = restored_as_set(&gateway, name);
    printed_key(ran.ok());
    assert!(ran.stderr.contains(&stays) && ran.stderr.contains("no head of the database in the backup"), "{ran}");
    assert_eq!(fs::read_dir(volume.path()).unwrap().count(), 1);
}

#[test]
fn a_restore_that_is_killed_midway_is_done_again() {
    let (mut gateway, _upstream) = world("");
    publish(&gateway, "pub", &module("corp.example.com/a"));
    looked_up(&gateway, &ask(&gateway, None, "lookup/corp.example.com/a@v1.0.0"));
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("backup.tar");
    gateway.cli(&["backup", file.to_str().unwrap()]).ok();
    gateway.terminate();
    let (whole, restored) = (fs::read(&file).unwrap(), scratch.path().join("restored"));
    let args = ["restore", "--new-log", "-"];
    let mut command = gateway.command_of(env!("CARGO_BIN_EXE_modgate"));
    command.args(args).arg("--config").arg(gateway.config_file()).arg("--data-dir").arg(&restored).stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let stdin = child.stdin.as_mut().unwrap();
    stdin.write_all(&whole[..whole.len() / 2]).unwrap();
    let unpacked = restored.join("tmp/restore/sumdb/log/head");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !unpacked.exists() {
        assert!(std::time::Instant::now() < deadline);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let (_, told) = gateway.start_refused_in(&restored);
    assert!(told.contains("is not a modgate data directory"), "{told}");
    printed_key(gateway.cli_over(&restored, &[], &["restore", "--new-log", file.to_str().unwrap()]).ok());
}
