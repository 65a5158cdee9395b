//! Backups of the embedded stores, put back: the same, whatever happened meanwhile; and archives that are not what they should be.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use modgate::durable::Disk;
use modgate::store::backup::BackupError;
use modgate::store::{OpenError, RestoreError, Restored, Stores, restore};
use sha2::{Digest as _, Sha256};

use super::store_contract::{module, owner, path, publish, version};
use super::store_crash::{SCRIPT, act, dump, memory_dir, open, reopen, runtime};

async fn archive(stores: &Stores) -> Vec<u8> {
    let mut bytes = Vec::new();
    let foot = stores.backup.snapshot().await.unwrap().write(&mut bytes).unwrap();
    assert_eq!(foot.findings, Vec::<String>::new());
    bytes
}

fn put_back(dir: &Path, archive: &[u8]) -> Result<Restored, RestoreError> {
    restore(&dir.join("restored"), Cursor::new(archive))
}

#[test]
fn what_is_restored_is_what_was_there_after_any_step() {
    runtime().block_on(async {
        for steps in 0..=SCRIPT {
            let dir = memory_dir();
            let (stores, _) = open(&dir.path().join("original"), Disk::default()).unwrap();
            for step in 0..steps {
                act(&stores, step).await.unwrap();
            }
            let archive = archive(&stores).await;
            let restored = put_back(dir.path(), &archive).unwrap();
            assert_eq!(restored.damaged, Vec::<String>::new());
            let said = dump(&reopen(&dir.path().join("restored"))).await;
            assert_eq!(said, dump(&stores).await, "after {steps} steps");
        }
    });
}

#[test]
fn what_happens_while_a_backup_is_written_is_not_in_it_and_takes_nothing_from_it() {
    runtime().block_on(async {
        let dir = memory_dir();
        let (stores, _) = open(&dir.path().join("original"), Disk::default()).unwrap();
        for step in 0..4 {
            act(&stores, step).await.unwrap();
        }
        let before = dump(&stores).await;
        let snapshot = stores.backup.snapshot().await.unwrap();
        let lib = path("corp.example.com/lib");
        stores.records.delete(&owner("alice"), &lib, &version("v1.1.0"), "alice").await.unwrap();
        publish(&stores, module("alice", "corp.example.com/lib", "v9.0.0", "nine"), "nine").await.unwrap();
        stores.records.known_put(&path("example.com/Known")).await.unwrap();
        let mut archive = Vec::new();
        let foot = snapshot.write(&mut archive).unwrap();
        assert_eq!((foot.versions, foot.findings.len()), (3, 0));
        put_back(dir.path(), &archive).unwrap();
        let after = dump(&reopen(&dir.path().join("restored"))).await;
        assert_eq!(after.replace("known true", "known false"), before);
        // What was deleted meanwhile is gone where it was deleted.
        assert!(!dump(&stores).await.contains("v1.1.0 h1:"));
    });
}

#[test]
fn a_lost_blob_is_told_and_keeps_nothing_else_from_being_saved() {
    runtime().block_on(async {
        let dir = memory_dir();
        let original = dir.path().join("original");
        let (stores, _) = open(&original, Disk::default()).unwrap();
        for step in 0..4 {
            act(&stores, step).await.unwrap();
        }
        let mut blobs: Vec<_> = fs::read_dir(original.join("blobs")).unwrap().map(|blob| blob.unwrap().path()).collect();
        blobs.sort();
        fs::remove_file(&blobs[0]).unwrap();
        let mut bytes = fs::read(&blobs[1]).unwrap();
        bytes[0] ^= 1;
        fs::write(&blobs[1], bytes).unwrap();
        let mut archive = Vec::new();
        let foot = stores.backup.snapshot().await.unwrap().write(&mut archive).unwrap();
        assert_eq!(foot.findings.len(), 2, "{:?}", foot.findings);
        let restored = put_back(dir.path(), &archive).unwrap();
        assert_eq!((restored.damaged.len(), restored.foot.findings), (1, foot.findings));
        let (_, report) = open(&dir.path().join("restored"), Disk::default()).unwrap();
        assert_eq!(report.findings.len(), 1, "{:?}", report.findings);
    });
}

#[test]
fn an_archive_that_is_cut_or_changed_anywhere_is_refused_and_leaves_nothing() {
    runtime().block_on(async {
        let dir = memory_dir();
        let (stores, _) = open(&dir.path().join("original"), Disk::default()).unwrap();
        for step in 0..8 {
            act(&stores, step).await.unwrap();
        }
        let whole = archive(&stores).await;
        // Two blocks of zeros follow the last file.
        let content = whole.len() - 1024;
        for cut in (0..content).step_by(512).chain([1, 511, 513, content - 513]) {
            let error = put_back(dir.path(), &whole[..cut]).unwrap_err();
            assert!(matches!(error, RestoreError::Backup(_)), "cut at {cut}: {error}");
            assert!(leaves_nothing(&dir.path().join("restored")), "cut at {cut}");
        }
        for at in (0..content).step_by(97) {
            let mut changed = whole.clone();
            changed[at] ^= 0x01;
            match put_back(dir.path(), &changed) {
                Err(RestoreError::Backup(_)) => assert!(leaves_nothing(&dir.path().join("restored")), "changed at {at}"),
                Err(other) => panic!("changed at {at}: {other}"),
                // Padding, and fields of headers that say nothing.
                Ok(_) => {
                    assert_eq!(dump(&reopen(&dir.path().join("restored"))).await, dump(&stores).await, "changed at {at}");
                    fs::remove_dir_all(dir.path().join("restored")).unwrap();
                }
            }
        }
        put_back(dir.path(), &whole).unwrap();
    });
}

/// It was not there before, and is not there now.
fn leaves_nothing(root: &Path) -> bool {
    !root.exists()
}

#[test]
fn what_is_no_backup_is_told_as_what_it_is_and_the_directory_is_left_as_it_was() {
    runtime().block_on(async {
        let dir = memory_dir();
        let (stores, _) = open(&dir.path().join("original"), Disk::default()).unwrap();
        act(&stores, 0).await.unwrap();
        let whole = archive(&stores).await;
        let told = |archive: &[u8]| {
            let error = put_back(dir.path(), archive).unwrap_err();
            assert!(leaves_nothing(&dir.path().join("restored")));
            modgate::observe::chain(&error)
        };
        assert_eq!(
            told(&[b"\x1f\x8b\x08\0", &whole[..1024]].concat()),
            "nothing was restored: this is no backup of modgate: it is compressed; unpack it with gunzip, and restore what comes out"
        );
        // In the midst of a file's content, where whoever writes it down meets the end.
        let cut = told(&whole[..1024 + 512 + 7]);
        assert_eq!(cut, "nothing was restored: the backup is cut short: its last file, modgate-backup-end.json, is missing");
        let head = first_file(&whole);
        let second = &whole[head.len()..][..512];
        let len = usize::from_str_radix(std::str::from_utf8(&second[124..135]).unwrap(), 8).unwrap().next_multiple_of(512);
        let entry = &whole[head.len()..][..512 + len];
        let name = std::str::from_utf8(&entry[..100]).unwrap().trim_end_matches('\0');
        let twice = told(&[&head, entry, entry, &[0; 1024]].concat());
        assert_eq!(twice, format!("nothing was restored: the backup is damaged: {name:?} stands in it twice"));

        let root = dir.path().join("empty");
        fs::create_dir(&root).unwrap();
        restore(&root, Cursor::new(&whole[..1024])).unwrap_err();
        assert_eq!(fs::read_dir(&root).unwrap().count(), 0, "neither lock nor tmp");
        fs::create_dir(root.join("tmp")).unwrap();
        restore(&root, Cursor::new(&whole[..1024])).unwrap_err();
        assert!(root.join("tmp").is_dir() && !root.join("lock").exists(), "a tmp that was there stays");
        restore(&dir.path().join("far/below/here"), Cursor::new(&whole[..1024])).unwrap_err();
        assert!(!dir.path().join("far").exists(), "nor what was made above it");
        let home = dir.path().join("home");
        fs::create_dir_all(home.join("records/mine")).unwrap();
        restore(&home, Cursor::new(&whole)).unwrap_err();
        assert!(!home.join("lock").exists(), "nor where others live");
    });
}

#[test]
fn names_that_lead_elsewhere_and_what_is_no_file_are_refused() {
    runtime().block_on(async {
        let dir = memory_dir();
        let (stores, _) = open(&dir.path().join("original"), Disk::default()).unwrap();
        let whole = archive(&stores).await;
        let head = first_file(&whole);
        let hostile = [
            "../outside",
            "/etc/passwd",
            "records/../../outside",
            "blobs//x",
            "format",
            "meta/db",
            "tmp/x",
            "records/a\\b",
            "records/x",
            "ledger/zz",
            "tls/evil",
            "blobs/x",
        ];
        for name in hostile {
            let mut header = tar::Header::new_gnu();
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            let error = put_back(dir.path(), &with(&head, header)).unwrap_err();
            assert!(matches!(&error, RestoreError::Backup(BackupError::Damaged(_))), "{name}: {error}");
        }
        for kind in [tar::EntryType::Symlink, tar::EntryType::Link, tar::EntryType::Directory, tar::EntryType::Fifo] {
            let mut header = tar::Header::new_gnu();
            header.set_path("records/link").unwrap();
            header.set_entry_type(kind);
            let error = put_back(dir.path(), &with(&head, header)).unwrap_err();
            assert!(matches!(&error, RestoreError::Backup(BackupError::Damaged(_))), "{kind:?}: {error}");
        }
        assert!(!dir.path().join("outside").exists());
        assert!(leaves_nothing(&dir.path().join("restored")));
    });
}

/// An archive of these files after the head: its foot says that it is whole, and has so many bytes more, and this finding.
pub(super) fn sealed(head: &[u8], files: &[(&str, &[u8])], more: u64, finding: &str) -> Vec<u8> {
    let len = u64::from_str_radix(std::str::from_utf8(&head[124..135]).unwrap(), 8).unwrap();
    let first = ("modgate-backup.json", &head[512..512 + usize::try_from(len).unwrap()]);
    let (mut print, mut bytes) = (Sha256::new(), 0);
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in std::iter::once(&first).chain(files) {
        print.update([name.as_bytes(), b"\0", &(content.len() as u64).to_be_bytes(), content].concat());
        append(&mut tar, name, content);
    }
    bytes += files.iter().map(|(_, content)| content.len() as u64).sum::<u64>();
    let sha256: String = print.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let foot = serde_json::json!({ "versions": 0, "blobs": 0, "bytes": bytes + more, "sha256": sha256, "findings": [finding] });
    append(&mut tar, "modgate-backup-end.json", foot.to_string().as_bytes());
    tar.into_inner().unwrap()
}

fn append(tar: &mut tar::Builder<Vec<u8>>, name: &str, content: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    tar.append_data(&mut header, name, content).unwrap();
}

#[test]
fn a_backup_of_nothing_is_restored_and_what_contradicts_itself_says_how() {
    runtime().block_on(async {
        let dir = memory_dir();
        let (stores, _) = open(&dir.path().join("original"), Disk::default()).unwrap();
        let head = first_file(&archive(&stores).await);
        put_back(dir.path(), &sealed(&head, &[], 0, "")).unwrap();
        let restored = dir.path().join("restored");
        drop(open(&restored, Disk::default()).unwrap());
        fs::remove_dir_all(&restored).unwrap();
        let told = |archive: &[u8]| {
            let error = put_back(dir.path(), archive).unwrap_err();
            assert!(leaves_nothing(&restored));
            modgate::observe::chain(&error)
        };
        assert!(told(&sealed(&head, &[], 5, "")).ends_with("damaged: its files have 0 bytes, and 5 when it was taken"));
        // A host may be called like the journal.
        let clash = "records/changes.journal/@v/v1.0.0.json";
        for names in [["records/changes.journal", clash], [clash, "records/changes.journal"]] {
            let told = told(&sealed(&head, &names.map(|name| (name, &b""[..])), 0, ""));
            let end = format!("{:?}, or what it lies below, stands in it as a file and as a folder", names[1]);
            assert!(told.ends_with(&end), "{told}");
        }
    });
}

#[test]
fn nothing_of_an_archive_is_told_raw_or_at_length() {
    runtime().block_on(async {
        let dir = memory_dir();
        let (stores, _) = open(&dir.path().join("original"), Disk::default()).unwrap();
        let head = first_file(&archive(&stores).await);
        let evil = format!("\u{1b}]0;evil\u{7}\n{}", "x".repeat(5000));
        let harmless = |text: &str| assert!(text.len() < 1000 && !text.contains(char::is_control), "{text:?}");
        let restored = put_back(dir.path(), &sealed(&head, &[], 0, &evil)).unwrap();
        harmless(&restored.foot.findings[0]);
        let described = |head: &str| {
            let mut tar = tar::Builder::new(Vec::new());
            append(&mut tar, "modgate-backup.json", head.as_bytes());
            tar.into_inner().unwrap()
        };
        let newer = serde_json::json!({ "backup": 9, "format": 1, "needs": evil, "rev": 0, "unix": 0 }).to_string();
        let wrong = serde_json::json!({ "backup": evil }).to_string();
        let named = sealed(&head, &[(&evil.replace('\n', "/"), b"")], 0, "");
        let mut number = first_file(&archive(&stores).await);
        number[124..135].copy_from_slice(b"\x1b[31mevil\n\x07");
        for archive in [described(&newer), described(&wrong), named, number] {
            let error = restore(&dir.path().join("other"), Cursor::new(archive)).unwrap_err();
            harmless(&modgate::observe::chain(&error));
        }
    });
}

/// The archive's first header and content.
pub(super) fn first_file(archive: &[u8]) -> Vec<u8> {
    let mut entries = tar::Archive::new(archive);
    let len = entries.entries().unwrap().next().unwrap().unwrap().header().size().unwrap();
    archive[..512 + usize::try_from(len.next_multiple_of(512)).unwrap()].to_vec()
}

/// The archive's beginning, and an empty entry after it.
fn with(head: &[u8], mut header: tar::Header) -> Vec<u8> {
    header.set_size(0);
    header.set_cksum();
    [head, header.as_bytes(), &[0; 1024]].concat()
}

#[test]
fn a_backup_goes_into_an_empty_directory_only_and_not_into_an_older_program() {
    runtime().block_on(async {
        let dir = memory_dir();
        let original = dir.path().join("original");
        let (stores, _) = open(&original, Disk::default()).unwrap();
        let whole = archive(&stores).await;
        // Somebody works there.
        assert!(matches!(restore(&original, Cursor::new(&whole)), Err(RestoreError::DataDir(OpenError::InUse { .. }))));
        drop(stores);
        assert!(matches!(restore(&original, Cursor::new(&whole)), Err(RestoreError::NotEmpty(_))));
        let home = dir.path().join("home");
        fs::create_dir_all(home.join("tmp/mine")).unwrap();
        assert!(matches!(restore(&home, Cursor::new(&whole)), Err(RestoreError::DataDir(OpenError::NotOurs { .. }))));
        assert!(home.join("tmp/mine").exists());
        // What an interrupted one left is no obstacle.
        fs::create_dir_all(dir.path().join("restored/tmp/restore/blobs")).unwrap();
        put_back(dir.path(), &whole).unwrap();
        let newer = String::from_utf8_lossy(&whole).replacen("\"format\": 3", "\"format\": 9", 1);
        let error = restore(&dir.path().join("other"), Cursor::new(newer.as_bytes())).unwrap_err();
        assert!(matches!(&error, RestoreError::Backup(BackupError::Newer(needs)) if needs == "0.3.0"), "{error}");
    });
}

#[test]
fn an_index_made_anew_while_serving_says_the_same_and_a_loss_stops_it() {
    runtime().block_on(async {
        let dir = memory_dir();
        let (stores, _) = open(dir.path(), Disk::default()).unwrap();
        for step in 0..8 {
            act(&stores, step).await.unwrap();
        }
        let before = dump(&stores).await;
        let old = fs::metadata(dir.path().join("meta/db")).unwrap();
        stores.verify.rebuild().await.unwrap();
        let new = fs::metadata(dir.path().join("meta/db")).unwrap();
        assert!(std::os::unix::fs::MetadataExt::ino(&old) != std::os::unix::fs::MetadataExt::ino(&new), "it is another file");
        assert_eq!(dump(&stores).await, before);
        act(&stores, 8).await.unwrap();
        act(&stores, 9).await.unwrap();
        let before = dump(&stores).await;
        let record = dir.path().join("records/corp.example.com/lib/@v/v1.0.0.json");
        let bytes = fs::read(&record).unwrap();
        fs::remove_file(&record).unwrap();
        stores.verify.rebuild().await.unwrap_err();
        fs::write(&record, bytes).unwrap();
        stores.verify.rebuild().await.unwrap();
        assert_eq!(dump(&stores).await, before);
        drop(stores);
        assert_eq!(dump(&reopen(dir.path())).await, before);
    });
}
