//! Starts of the embedded stores over damage: what can be mended is, what cannot is told, and nothing is guessed.
//! Here: the records, blobs and ledgers.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use modgate::durable::{Disk, Faults, Step};
use modgate::stop::Stop;
use modgate::store::{DataDir, FindingKind, HealReport, Ledger, MovePath, NewVersion, OpenError, Publish, StoreError, Stores};

use super::store_contract::{delete, module, owner, path, plain, publish, put, record, token, version};
use super::store_crash::{SCRIPT, act, dump, memory_dir, open, runtime};

mod directory;
mod index;
mod lost;

/// Steps of the script that leave something of every kind.
const RICH: usize = 8;

/// A data directory after some steps of the script, and what it says.
async fn after(steps: usize) -> (tempfile::TempDir, String) {
    let dir = memory_dir();
    let (stores, report) = open(dir.path(), Disk::default()).unwrap();
    assert!(report.is_clean(), "{report:?}");
    for step in 0..steps {
        act(&stores, step).await.unwrap();
    }
    let said = dump(&stores).await;
    (dir, said)
}

fn start(dir: &Path) -> (Stores, HealReport) {
    open(dir, Disk::default()).unwrap()
}

fn refused(dir: &Path) -> OpenError {
    open(dir, Disk::default()).map(|(_, report)| report).unwrap_err()
}

pub(super) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() { copy(&entry.path(), &to) } else { fs::copy(entry.path(), to).map(drop).unwrap() }
    }
}

fn journal(dir: &Path) -> PathBuf {
    dir.join("records/changes.journal")
}

fn append(file: &Path, bytes: &[u8]) {
    fs::OpenOptions::new().append(true).create(true).open(file).unwrap().write_all(bytes).unwrap();
}

#[test]
fn a_second_start_has_nothing_to_do() {
    runtime().block_on(async {
        for steps in [0, RICH, SCRIPT] {
            let (dir, said) = after(steps).await;
            let (stores, report) = start(dir.path());
            assert!(report.is_clean(), "{report:?}");
            assert_eq!(dump(&stores).await, said);
        }
    });
}

/// One of the things that can be done, by number.
async fn random(stores: &Stores, what: u32) -> Result<(), StoreError> {
    let names = ["corp.example.com/a", "corp.example.com/a/b", "corp.example.com/A", "example.org/x"];
    let pick = |n: u32, of: &[&'static str]| of[(what / n) as usize % of.len()];
    let (by, name, v, content) =
        (pick(9, &["alice", "bob"]), pick(18, &names), pick(72, &["v1.0.0", "v1.1.0"]), pick(144, &["one", "two"]));
    let records = &stores.records;
    match what % 10 {
        0..=2 => {
            let host = name.split('/').next().map(str::to_owned);
            let new = NewVersion { claim: host, shadows: what.is_multiple_of(3), ..module(by, name, v, content) };
            publish(stores, new, content).await.map(drop)
        }
        3 | 4 => records.delete(&owner(by), &path(name), &version(v), by).await.map(drop),
        5 => match record(stores, name, v).await {
            Some(held) => records.seal(&held).await.map(drop),
            None => Ok(()),
        },
        6 => records.release_path(&path(name), by).await.map(drop),
        7 => records.release_host("corp.example.com", by).await.map(drop),
        8 => {
            let ask = MovePath { path: path(name), to: owner(by), needs_claim: what & 512 == 0, max_bytes: None, by: by.to_owned() };
            records.move_path(ask).await.map(drop)
        }
        _ if what & 512 == 0 => records.token_put(token(by, u8::try_from(what % 250).unwrap())).await.map(drop),
        _ => records.token_revoke(by).await.map(drop),
    }
}

/// Whatever happened, in whatever batches: the files tell it again.
#[test]
fn random_histories_come_back_the_same_from_the_records_alone() {
    let config = proptest::test_runner::Config { cases: 60, failure_persistence: None, ..Default::default() };
    let steps = proptest::collection::vec(proptest::collection::vec(0u32..10_000, 1..6), 1..12);
    let runtime = runtime();
    proptest::proptest!(config, |(history in steps)| {
        runtime.block_on(async {
            let (dir, _) = after(0).await;
            let (stores, _) = start(dir.path());
            for at_once in &history {
                for done in futures::future::join_all(at_once.iter().map(|what| random(&stores, *what))).await {
                    done.unwrap();
                }
            }
            let said = say(&stores).await;
            assert_eq!(stores.verify.verify(&Stop::default()).await.unwrap().findings, []);
            drop(stores);
            assert!(start(dir.path()).1.is_clean());
            fs::remove_dir_all(dir.path().join("meta")).unwrap();
            let (stores, report) = start(dir.path());
            assert_eq!((report.blobs_removed, report.records_removed, &report.findings[..]), (0, 0, &[][..]));
            assert_eq!(say(&stores).await, said);
        });
    });
}

/// All that is decided upon.
async fn say(stores: &Stores) -> String {
    let index = stores.records.hosted_index().await.unwrap();
    let mut said = format!("{:?} {:?} {:?} {:?}\n", index.hosted, index.tombstones, index.claims, index.released);
    said += &format!("{:?} {:?}\n", index.sizes, index.holdings);
    for name in ["corp.example.com/a", "corp.example.com/a/b", "corp.example.com/A", "example.org/x"] {
        said += &format!("{:?}\n", stores.records.module(&path(name)).await.unwrap());
        for v in ["v1.0.0", "v1.1.0"] {
            said += &format!("{:?}\n", stores.records.sealed(&path(name), &version(v)).await.unwrap());
        }
    }
    said + &format!("{:?}", stores.records.tokens().await.unwrap())
}

#[test]
fn a_torn_last_line_of_the_journal_is_cut_off() {
    runtime().block_on(async {
        for torn in [&b"{\"format\":1,\"changes\":[{\"rev\":99"[..], b"{\"format\":1,\"changes\":[]}", b"\0\0\0\0\0\0\0\0\0\n", b"{}\n"] {
            let (dir, said) = after(RICH).await;
            let good = fs::read(journal(dir.path())).unwrap();
            append(&journal(dir.path()), torn);
            let (stores, report) = start(dir.path());
            assert_eq!((report.torn_lines, report.findings), (1, vec![]));
            assert_eq!(fs::read(journal(dir.path())).unwrap(), good);
            assert_eq!(dump(&stores).await, said);
            act(&stores, 8).await.unwrap();
            drop(stores);
            assert!(start(dir.path()).1.is_clean());
        }
    });
}

#[test]
fn a_damaged_journal_stops_the_start_naming_file_and_line() {
    runtime().block_on(async {
        let (dir, _) = after(RICH).await;
        let good = fs::read_to_string(journal(dir.path())).unwrap();
        let lines: Vec<&str> = good.lines().collect();
        assert_eq!(lines.len(), 4);
        for at in 0..lines.len() {
            let mut bad = lines.clone();
            let half = bad[at][..30].to_owned();
            bad[at] = &half;
            fs::write(journal(dir.path()), bad.join("\n") + "\n").unwrap();
            let text = refused(dir.path()).to_string();
            // The last one too: it is no torn line, the index had it.
            assert!(text.contains(&format!("records/changes.journal:{}: ", at + 1)), "{text}");
        }
        fs::write(journal(dir.path()), good.replacen("\"format\":2", "\"format\":3", 1)).unwrap();
        assert!(refused(dir.path()).to_string().contains("format 3 is a newer modgate's"));
        fs::write(journal(dir.path()), &good).unwrap();
        assert!(start(dir.path()).1.is_clean());
    });
}

#[test]
fn what_a_program_of_the_format_before_wrote_is_read() {
    fn rewrite(dir: &Path) {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                rewrite(&entry.path());
            } else {
                let text = fs::read_to_string(entry.path()).unwrap();
                assert!(text.contains("\"format\":2"), "{text}");
                fs::write(entry.path(), text.replace("\"format\":2", "\"format\":1")).unwrap();
            }
        }
    }
    runtime().block_on(async {
        // All but the move, which that program could not do.
        let (dir, said) = after(13).await;
        rewrite(&dir.path().join("records"));
        let (stores, report) = start(dir.path());
        assert_eq!(report.findings, []);
        assert_eq!(dump(&stores).await, said);
        act(&stores, 13).await.unwrap();
        assert_eq!(stores.verify.verify(&Stop::default()).await.unwrap().findings, []);
    });
}

#[test]
fn a_last_line_that_a_newer_program_wrote_is_no_torn_one() {
    runtime().block_on(async {
        let (dir, _) = after(RICH).await;
        let good = fs::read_to_string(journal(dir.path())).unwrap();
        fs::write(journal(dir.path()), good.clone() + "{\"format\":3,\"changes\":[{\"rev\":99,\"unix\":1,\"op\":\"later\"}]}\n").unwrap();
        assert!(refused(dir.path()).to_string().contains("format 3 is a newer modgate's"));
        fs::write(journal(dir.path()), good).unwrap();
        start(dir.path());
    });
}

#[test]
fn a_damaged_record_stops_the_start_naming_the_file() {
    runtime().block_on(async {
        let (dir, _) = after(2).await;
        let file = dir.path().join("records/corp.example.com/!other/x/@v/v0.1.0-pre.json");
        let good = fs::read_to_string(&file).unwrap();
        for bad in [
            String::new(),
            good[..good.len() / 2].to_owned(),
            good.replace("v0.1.0-pre", "v0.1.0-other"),
            good.replace("\"format\":2", "\"format\":3"),
            good.replace("\"alice\"", "\"../alice\""),
        ] {
            fs::write(&file, bad).unwrap();
            let text = refused(dir.path()).to_string();
            assert!(text.contains("records/corp.example.com/!other/x/@v/v0.1.0-pre.json: "), "{text}");
        }
        // Fields of later programs are no damage.
        fs::write(&file, good.replace("\"format\":2", "\"format\":2,\"later\":true")).unwrap();
        assert_eq!(start(dir.path()).1.findings, []);
        let twin = file.with_file_name("v0.2.0.json");
        fs::write(&twin, good.replace("v0.1.0-pre", "v0.2.0").replace("\"owner\":\"alice\"", "\"owner\":\"bob\"")).unwrap();
        assert!(refused(dir.path()).to_string().contains("another version of it says"));
    });
}

#[test]
fn blobs_without_a_record_go_and_are_counted() {
    runtime().block_on(async {
        let (dir, said) = after(RICH).await;
        let (stores, _) = start(dir.path());
        let (_, pin) = put(&stores, b"never published").await;
        // As after kill -9: nothing is swept on the way out.
        fs::copy(dir.path().join("blobs").join(name(b"never published")), dir.path().join("kept")).unwrap();
        drop(pin);
        drop(stores);
        fs::rename(dir.path().join("kept"), dir.path().join("blobs").join(name(b"never published"))).unwrap();
        fs::write(dir.path().join("tmp/half"), b"half").unwrap();
        fs::create_dir_all(dir.path().join("tmp/folder/inside")).unwrap();
        fs::write(dir.path().join("blobs/README"), b"?").unwrap();
        let (stores, report) = start(dir.path());
        assert_eq!((report.blobs_removed, report.tmp_removed), (1, 1), "empty folders are no leftovers");
        assert_eq!(report.findings.iter().map(|finding| finding.kind).collect::<Vec<_>>(), [FindingKind::Stray]);
        assert!(!dir.path().join("blobs").join(name(b"never published")).exists());
        assert_eq!(stores.verify.verify(&Stop::default()).await.unwrap().findings, report.findings);
        fs::remove_file(dir.path().join("blobs/README")).unwrap();
        assert_eq!(dump(&stores).await, said);
    });
}

fn name(bytes: &[u8]) -> String {
    super::store_contract::id_of(bytes).sha256.iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn a_record_without_its_blob_is_a_finding_and_an_error_to_readers_until_the_blob_is_back() {
    runtime().block_on(async {
        for damage in ["gone", "short", "other"] {
            let dir = memory_dir();
            let (stores, _) = start(dir.path());
            plain(&stores, "alice", "corp.example.com/lib", "v1.0.0", "one").await;
            plain(&stores, "alice", "corp.example.com/lib", "v1.1.0", "two").await;
            let damaged = module("alice", "corp.example.com/lib", "v1.0.0", "one");
            let blob = dir.path().join("blobs").join(name(b"zip of corp.example.com/lib one"));
            match damage {
                "gone" => fs::remove_file(&blob).unwrap(),
                "short" => fs::OpenOptions::new().write(true).open(&blob).unwrap().set_len(5).unwrap(),
                _ => fs::OpenOptions::new().write(true).open(&blob).unwrap().write_all_at(b"ZIP", 0).unwrap(),
            }
            let kind = if damage == "gone" { FindingKind::BlobMissing } else { FindingKind::BlobDamaged };
            let running = stores.verify.verify(&Stop::default()).await.unwrap();
            assert_eq!(running.hosted, 2);
            assert_eq!(running.findings.iter().map(|f| (f.kind, f.path.as_path())).collect::<Vec<_>>(), [(kind, blob.as_path())]);
            assert!(running.findings[0].text.contains("the zip of corp.example.com/lib@v1.0.0"));
            drop(stores);
            let (stores, report) = start(dir.path());
            if damage == "other" {
                // A start does not read what is long; verification does.
                assert_eq!(report.findings, []);
            } else {
                assert_eq!(report.findings, running.findings);
                assert!(matches!(stores.blobs.open(&damaged.zip).await, Err(StoreError::Corrupt(_))));
            }
            assert_eq!(stores.verify.verify(&Stop::default()).await.unwrap().findings, running.findings);
            // Still private, still its owner's, still published; the other version is well.
            assert_eq!(stores.records.module(&path("corp.example.com/lib")).await.unwrap().unwrap().versions.len(), 2);
            let other = module("alice", "corp.example.com/lib", "v1.1.0", "two");
            assert!(stores.blobs.open(&other.zip).await.unwrap().is_some());
            let again = plain(&stores, "alice", "corp.example.com/lib", "v1.0.0", "one").await;
            assert_eq!(again, Publish::VersionExists(damaged.h1, damaged.go_mod_h1));
            // That brought the bytes, though.
            assert!(stores.blobs.open(&damaged.zip).await.unwrap().is_some());
            assert_eq!(stores.verify.verify(&Stop::default()).await.unwrap().findings, []);
        }
    });
}

#[test]
fn verification_sees_record_files_change_under_a_running_store() {
    runtime().block_on(async {
        let (dir, _) = after(2).await;
        let (stores, _) = start(dir.path());
        let file = dir.path().join("records/corp.example.com/lib/@v/v1.0.0.json");
        let good = fs::read_to_string(&file).unwrap();
        for bad in [Some(good.replace("user:alice", "user:mallory")), Some("{".to_owned()), None] {
            match bad {
                Some(bad) => fs::write(&file, bad).unwrap(),
                None => fs::remove_file(&file).unwrap(),
            }
            let findings = stores.verify.verify(&Stop::default()).await.unwrap().findings;
            let seen: Vec<_> = findings.iter().map(|f| (f.kind, f.path.as_path())).collect();
            assert_eq!(seen, [(FindingKind::RecordDamaged, file.as_path())]);
        }
        fs::write(&file, &good).unwrap();
        assert_eq!(stores.verify.verify(&Stop::default()).await.unwrap().findings, []);
    });
}

#[test]
fn a_record_of_a_deleted_version_that_comes_back_is_removed() {
    runtime().block_on(async {
        let (dir, _) = after(1).await;
        let file = dir.path().join("records/corp.example.com/lib/@v/v1.0.0.json");
        let bytes = fs::read(&file).unwrap();
        let (stores, _) = start(dir.path());
        delete(&stores, "alice", "corp.example.com/lib", "v1.0.0").await;
        assert!(!file.exists());
        let said = dump(&stores).await;
        drop(stores);
        fs::write(&file, bytes).unwrap();
        let (stores, report) = start(dir.path());
        assert_eq!((report.records_removed, report.findings), (1, vec![]));
        assert!(!file.exists() && record(&stores, "corp.example.com/lib", "v1.0.0").await.is_none());
        assert_eq!(dump(&stores).await, said);
    });
}

#[test]
fn a_torn_or_damaged_ledger_loses_no_line() {
    runtime().block_on(async {
        let dir = memory_dir();
        let (stores, _) = start(dir.path());
        for n in 0..3 {
            stores.records.ledger_first(&path(&format!("example.com/m{n}")), "anonymous", "public").await.unwrap();
            stores.records.known_put(&path(&format!("example.com/m{n}"))).await.unwrap();
        }
        drop(stores);
        let (egress, known) = (dir.path().join("ledger/egress.log"), dir.path().join("ledger/known.log"));
        append(&egress, b"2026-01-01T00:00:00Z\texample.com/torn\tano");
        append(&known, b"example.com/tor");
        let (stores, report) = start(dir.path());
        assert_eq!((report.torn_lines, report.findings.len()), (2, 0));
        assert_eq!(stores.records.ledger_first(&path("example.com/torn"), "anonymous", "public").await.unwrap(), Ledger::First);
        drop(stores);
        let bytes = fs::read_to_string(&egress).unwrap().replacen("example.com/m1\t", "example com/m1\t", 1);
        fs::write(&egress, bytes).unwrap();
        append(&known, b"not a path\n");
        let (stores, report) = start(dir.path());
        assert_eq!(report.findings.iter().map(|f| f.kind).collect::<Vec<_>>(), [FindingKind::LedgerDamaged; 2]);
        let left: Vec<String> = stores.records.ledger(0, 10).await.unwrap().into_iter().map(|line| line.path.to_string()).collect();
        assert_eq!(left, ["example.com/m0", "example.com/m2", "example.com/torn"]);
        assert_eq!(stores.records.ledger_first(&path("example.com/m1"), "anonymous", "public").await.unwrap(), Ledger::First);
        assert_eq!(stores.records.ledger(3, 10).await.unwrap()[0].path.as_str(), "example.com/m1");
        assert!(stores.records.known().contains(&path("example.com/m1")));
    });
}
