//! Our own checksum log, at rest: what it answers, what it keeps, and what a start refuses.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use bytes::Bytes;
use futures::future::join_all;
use modgate::durable::{Disk, Faults, Step as DiskStep};
use modgate::module::H1;
use modgate::stop::Stop;
use modgate::store::DataDir;
use modgate::sumdb::log::{Append, Entry, Log, LogError, LogSettings, OpenError};
use modgate::tlog::{Head, Lookup, ProofError, Proven, Record, SignedHead, Step, Tile, Tiles, consistency, inclusion, split_data};

use super::store_crash::{memory_dir, runtime};

/// The record of a version of `corp.example.com/NAME`.
pub(super) fn record(name: &str, content: u8) -> Record {
    let path = format!("corp.example.com/{name}").parse().unwrap();
    Record { path, version: "v1.0.0".parse().unwrap(), zip: H1([content; 32]), go_mod: H1([!content; 32]) }
}

pub(super) fn settings(head_path: Option<&Path>) -> LogSettings {
    LogSettings { host: "go.example.com".to_owned(), head_path: head_path.map(Path::to_owned) }
}

/// Opens the log of a data directory without faults.
pub(super) fn open(dir: &Path, head_path: Option<&Path>) -> Result<Log, OpenError> {
    Log::open(&Arc::new(DataDir::open(dir).unwrap()), &settings(head_path))
}

/// Appends `NAME0` to `NAME{count - 1}`, at once; gives them in the order that they came to.
pub(super) async fn fill(log: &Log, name: &str, count: usize) -> Vec<Entry> {
    let appends = join_all((0..count).map(|i| log.append(record(&format!("{name}{i}"), i as u8)))).await;
    let mut entries: Vec<Entry> = appends.into_iter().map(|append| append.unwrap().entry().clone()).collect();
    entries.sort_by_key(|entry| entry.id);
    entries
}

/// Goes on with a proof, with the tiles that the log hands out.
async fn proven(log: &Log, ask: impl Fn(&Tiles) -> Result<Step<Proven>, ProofError>) -> Result<(), ProofError> {
    let mut tiles = Tiles::default();
    loop {
        match ask(&tiles)? {
            Step::Done(_) => return Ok(()),
            Step::Missing(missing) => {
                for tile in missing {
                    tiles.insert(tile, log.tile(tile).await.unwrap().unwrap()).unwrap();
                }
            }
        }
    }
}

/// The log has this entry, at its place, and its newest head proves it.
pub(super) async fn holds(log: &Log, entry: &Entry) {
    let found = log.find(&entry.record.path, &entry.record.version).await.unwrap();
    assert_eq!(found.as_ref(), Some(entry));
    let head = *log.latest().head();
    proven(log, |tiles| inclusion(&head, entry.id, &entry.record.text(), tiles)).await.unwrap();
}

/// The log goes on from a head that was handed out.
pub(super) async fn follows(log: &Log, older: &Head) {
    let head = *log.latest().head();
    proven(log, |tiles| consistency(older, &head, tiles)).await.unwrap();
}

fn log_folder(dir: &Path) -> PathBuf {
    dir.join("sumdb/log")
}

pub(super) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn a_new_log_is_empty_and_named_after_its_host_and_key() {
    runtime().block_on(async {
        let dir = memory_dir();
        let log = open(dir.path(), None).unwrap();
        let (host, hash) = log.key().name().split_once('/').unwrap();
        assert_eq!((host, hash.len()), ("go.example.com", 8));
        assert_eq!(*log.latest().head(), Head::empty());
        assert_eq!(SignedHead::open(log.latest().note().clone(), log.key()).unwrap(), *log.latest());
        assert_eq!(log.tile("tile/8/0/000.p/1".parse().unwrap()).await.unwrap(), None);
        let name = log.key().name().to_owned();
        drop(log);
        // Whatever the host is now.
        let other = LogSettings { host: "other.example.com".to_owned(), head_path: None };
        let log = Log::open(&Arc::new(DataDir::open(dir.path()).unwrap()), &other).unwrap();
        assert_eq!(log.key().name(), name);
        let bad = LogSettings { host: "with a space".to_owned(), head_path: None };
        let dir = memory_dir();
        assert!(matches!(Log::open(&Arc::new(DataDir::open(dir.path()).unwrap()), &bad), Err(OpenError::Host { .. })));
    });
}

#[test]
fn what_is_appended_is_found_proven_and_there_after_a_restart() {
    runtime().block_on(async {
        let dir = memory_dir();
        let log = open(dir.path(), None).unwrap();
        let mut entries = vec![];
        let mut heads = vec![log.latest()];
        for (name, count) in [("a", 1), ("b", 2), ("c", 252), ("d", 1), ("e", 3), ("f", 300)] {
            entries.extend(fill(&log, name, count).await);
            heads.push(log.latest());
        }
        assert_eq!(entries.iter().map(|entry| entry.id).collect::<Vec<_>>(), (0..559).collect::<Vec<_>>());
        let name = log.key().to_string();
        drop(log);
        let log = open(dir.path(), None).unwrap();
        assert_eq!((log.key().to_string(), log.latest()), (name, heads.last().unwrap().clone()));
        entries.extend(fill(&log, "g", 2).await);
        for entry in &entries {
            holds(&log, entry).await;
        }
        for head in heads {
            follows(&log, head.head()).await;
        }
        let entry = &entries[300];
        let lookup = Lookup::parse(&log.lookup(entry).to_bytes()).unwrap();
        assert_eq!((lookup.id, lookup.record, lookup.note), (300, entry.record.text(), log.latest().note().to_vec()));
        let nobody = record("nobody", 1);
        assert_eq!(log.find(&nobody.path, &nobody.version).await.unwrap(), None);
    });
}

#[test]
fn of_one_version_the_first_record_is_the_log_s_word() {
    runtime().block_on(async {
        let dir = memory_dir();
        let log = open(dir.path(), None).unwrap();
        let first = Entry { id: 0, record: record("a", 1) };
        assert_eq!(log.append(record("a", 1)).await.unwrap(), Append::Added(first.clone()));
        for content in [1, 2] {
            assert_eq!(log.append(record("a", content)).await.unwrap(), Append::Held(first.clone()));
        }
        // At once, too.
        let answers = join_all((0..20).map(|i| log.append(record("b", i)))).await;
        let answers: Vec<Append> = answers.into_iter().map(Result::unwrap).collect();
        assert!(answers.iter().all(|answer| answer.entry() == answers[0].entry()));
        assert_eq!(answers.iter().filter(|answer| matches!(answer, Append::Added(_))).count(), 1);
        assert_eq!(log.latest().head().size, 2);
        drop(log);
        let log = open(dir.path(), None).unwrap();
        assert_eq!(log.append(record("a", 2)).await.unwrap(), Append::Held(first));
    });
}

#[test]
fn a_tile_of_any_width_is_the_beginning_of_the_full_one() {
    runtime().block_on(async {
        let dir = memory_dir();
        let log = open(dir.path(), None).unwrap();
        let entries = fill(&log, "a", 300).await;
        let tile = |path: &str| path.parse::<Tile>().unwrap();
        let get = async |path: &str| log.tile(tile(path)).await.unwrap();
        let (full, data) = (get("tile/8/0/000").await.unwrap(), get("tile/8/data/000").await.unwrap());
        for width in [1, 2, 255] {
            assert_eq!(get(&format!("tile/8/0/000.p/{width}")).await.unwrap(), full[..width * 32]);
            let records = get(&format!("tile/8/data/000.p/{width}")).await.unwrap();
            assert!(data.starts_with(&records));
            let texts: Vec<_> = entries[..width].iter().map(|entry| entry.record.text()).collect();
            assert_eq!(split_data(&records, width as u16), Some(texts));
        }
        for (widest, beyond) in [
            ("tile/8/0/001.p/44", "tile/8/0/001.p/45"),
            ("tile/8/data/001.p/44", "tile/8/data/001.p/45"),
            ("tile/8/1/000.p/1", "tile/8/1/000.p/2"),
            ("tile/8/0/000", "tile/8/0/001"),
            ("tile/8/0/000", "tile/8/2/000.p/1"),
            ("tile/8/0/000", "tile/8/63/x999/x999/x999/x999/x999/999"),
        ] {
            assert!(get(widest).await.is_some(), "{widest}");
            assert_eq!(get(beyond).await, None, "{beyond}");
        }
    });
}

/// A disk that stops a commit at its head until it is let go, and counts heads.
#[derive(Default)]
struct Gate {
    closed: Mutex<bool>,
    changed: Condvar,
    heads: AtomicUsize,
}

impl Gate {
    fn set(&self, closed: bool) {
        *self.closed.lock().unwrap() = closed;
        self.changed.notify_all();
    }
}

impl Faults for Gate {
    fn step(&self, step: DiskStep, path: &Path, run: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
        if step == DiskStep::Rename && path.ends_with("sumdb/log/head") {
            self.heads.fetch_add(1, Ordering::SeqCst);
            drop(self.changed.wait_while(self.closed.lock().unwrap(), |closed| *closed).unwrap());
        }
        run()
    }
}

#[test]
fn all_that_wait_share_one_commit_and_reads_wait_for_none() {
    runtime().block_on(async {
        let (dir, gate) = (memory_dir(), Arc::new(Gate::default()));
        let data = Arc::new(DataDir::open_on(dir.path(), Disk::with_faults(gate.clone())).unwrap());
        let log = Log::open(&data, &settings(None)).unwrap();
        let held = log.append(record("a", 1)).await.unwrap();
        gate.set(true);
        let mut first = std::pin::pin!(log.append(record("b", 1)));
        assert!(futures::poll!(&mut first).is_pending());
        let mut others: Vec<_> = (0..64).map(|i| Box::pin(log.append(record(&format!("c{i}"), 1)))).collect();
        for other in &mut others {
            assert!(futures::poll!(other).is_pending());
        }
        // Nothing of them is seen, and nobody waits to see that.
        assert_eq!(log.latest().head().size, 1);
        holds(&log, held.entry()).await;
        assert_eq!(log.find(&record("b", 1).path, &record("b", 1).version).await.unwrap(), None);
        assert_eq!(log.tile("tile/8/0/000.p/2".parse().unwrap()).await.unwrap(), None);
        gate.set(false);
        assert!(first.await.is_ok() && join_all(others).await.iter().all(Result::is_ok));
        assert_eq!(log.latest().head().size, 66);
        // One of the first; one or two of those that came while the second was under way.
        assert!(gate.heads.load(Ordering::SeqCst) <= 4, "{:?}", gate.heads);
    });
}

#[test]
fn a_key_or_a_head_that_is_gone_or_another_s_is_refused_and_nothing_is_made_anew() {
    runtime().block_on(async {
        let (dir, other) = (memory_dir(), memory_dir());
        for dir in [&dir, &other] {
            fill(&open(dir.path(), None).unwrap(), "a", 3).await;
        }
        for name in ["key", "head"] {
            let path = log_folder(dir.path()).join(name);
            let kept = fs::read(&path).unwrap();
            fs::remove_file(&path).unwrap();
            assert!(matches!(open(dir.path(), None), Err(OpenError::Lost { path: lost }) if lost == path));
            fs::write(&path, b"no such thing").unwrap();
            assert!(matches!(open(dir.path(), None), Err(OpenError::Key { .. } | OpenError::Head { .. })));
            fs::copy(log_folder(other.path()).join(name), &path).unwrap();
            assert!(matches!(open(dir.path(), None), Err(OpenError::Head { .. })), "another log's {name}");
            fs::write(&path, kept).unwrap();
            assert_eq!(open(dir.path(), None).unwrap().latest().head().size, 3);
        }
    });
}

#[test]
fn a_log_that_is_not_what_it_signed_is_refused() {
    runtime().block_on(async {
        let dir = memory_dir();
        let log = open(dir.path(), None).unwrap();
        fill(&log, "a", 100).await;
        let older = log.latest();
        drop(log);
        let other = memory_dir();
        copy(dir.path(), other.path());
        fill(&open(other.path(), None).unwrap(), "z", 200).await;
        fill(&open(dir.path(), None).unwrap(), "b", 200).await;
        let folder = log_folder(dir.path());
        let tiles = ["tile/8/0/000", "tile/8/0/001", "tile/8/1/000", "tile/8/data/000", "tile/8/data/001"];
        for path in tiles.map(|tile| folder.join(tile)) {
            let kept = fs::read(&path).unwrap();
            let mut wrong = kept.clone();
            wrong[20] ^= 1;
            for wrong in [Some(&wrong[..]), Some(&kept[..20]), Some(b""), None] {
                fs::remove_file(&path).unwrap();
                if let Some(wrong) = wrong {
                    fs::write(&path, wrong).unwrap();
                }
                let error = open(dir.path(), None).err().unwrap();
                assert!(matches!(error, OpenError::Tile(_) | OpenError::Disagrees { .. }), "{}: {error}", path.display());
            }
            fs::write(&path, kept).unwrap();
        }
        // The same key signed it, of other records.
        let kept = fs::read(folder.join("head")).unwrap();
        fs::copy(log_folder(other.path()).join("head"), folder.join("head")).unwrap();
        assert!(matches!(open(dir.path(), None), Err(OpenError::Disagrees { size: 300, .. })));
        fs::write(folder.join("head"), kept).unwrap();
        assert_eq!(open(dir.path(), None).unwrap().latest().head().size, 300);
        // What lies beyond the head was never committed, and is written over.
        fs::write(folder.join("head"), older.note()).unwrap();
        let log = open(dir.path(), None).unwrap();
        assert_eq!(log.latest(), older);
        let entries = fill(&log, "c", 157).await;
        drop(log);
        let log = open(dir.path(), None).unwrap();
        for entry in &entries {
            holds(&log, entry).await;
        }
        assert_eq!(log.append(record("b1", 1)).await.unwrap().entry().id, 257);
    });
}

#[test]
fn a_record_that_is_damaged_while_the_log_runs_is_an_error_and_no_answer() {
    runtime().block_on(async {
        let dir = memory_dir();
        let log = open(dir.path(), None).unwrap();
        let entries = fill(&log, "a", 3).await;
        let read = &entries[2];
        assert_eq!(log.find(&read.record.path, &read.record.version).await.unwrap().as_ref(), Some(read));
        let path = log_folder(dir.path()).join("tile/8/data/000");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replacen("h1:AA", "h1:BA", 1).replacen("h1:Ag", "h1:Bg", 1)).unwrap();
        let Entry { record, .. } = entries[0].clone();
        assert!(matches!(log.find(&record.path, &record.version).await, Err(LogError::Tile(_))));
        assert!(matches!(log.append(record).await, Err(LogError::Tile(_))));
        holds(&log, &entries[1]).await;
        // What was read before that is the record that was committed.
        assert_eq!(log.append(read.record.clone()).await.unwrap(), Append::Held(read.clone()));
    });
}

#[test]
fn a_log_behind_head_path_is_refused_and_one_ahead_brings_it_up_to_date() {
    runtime().block_on(async {
        let (dir, volume, older) = (memory_dir(), memory_dir(), memory_dir());
        let head_path = volume.path().join("head");
        let log = open(dir.path(), Some(&head_path)).unwrap();
        assert_eq!(fs::read(&head_path).unwrap(), **log.latest().note());
        fill(&log, "a", 5).await;
        let at_five = log.latest();
        assert_eq!(fs::read(&head_path).unwrap(), **at_five.note());
        drop(log);
        copy(dir.path(), older.path());
        let log = open(dir.path(), Some(&head_path)).unwrap();
        fill(&log, "b", 2).await;
        let at_seven = log.latest();
        drop(log);
        assert!(matches!(open(older.path(), Some(&head_path)), Err(OpenError::Behind { found: 5, known: 7, .. })));
        // The older copy went its own way.
        let another = open(older.path(), None).unwrap();
        fill(&another, "c", 2).await;
        let another_seven = another.latest();
        drop(another);
        assert!(matches!(open(older.path(), Some(&head_path)), Err(OpenError::Fork { .. })));
        fill(&open(older.path(), None).unwrap(), "d", 2).await;
        assert!(matches!(open(older.path(), Some(&head_path)), Err(OpenError::Fork { .. })));
        assert_eq!(fs::read(&head_path).unwrap(), **at_seven.note(), "what is refused changes nothing");
        // A crash between the two heads.
        fs::write(&head_path, at_five.note()).unwrap();
        assert_eq!(open(dir.path(), Some(&head_path)).unwrap().latest(), at_seven);
        assert_eq!(fs::read(&head_path).unwrap(), **at_seven.note());
        // Two that sign with one key: the one that finds the other's head there signs nothing more.
        let log = open(dir.path(), Some(&head_path)).unwrap();
        fs::write(&head_path, at_five.note()).unwrap();
        for _ in 0..2 {
            assert!(matches!(log.append(record("e", 1)).await, Err(LogError::HeadPath { .. })));
        }
        assert_eq!(log.latest(), at_seven);
        for (note, told) in
            [(at_five.note(), "a head of 5 records, and the log has 7"), (another_seven.note(), "another head of 7 records")]
        {
            fs::write(&head_path, note).unwrap();
            let standing = log.standing();
            assert!(matches!(&standing[..], [one] if one.path == head_path && one.text.contains(told)), "{standing:?}");
        }
        fs::write(&head_path, at_seven.note()).unwrap();
        assert_eq!(log.standing(), []);
        fill(&log, "f", 1).await;
        drop(log);
        // Another log's.
        let other = memory_dir();
        drop(open(other.path(), None).unwrap());
        assert!(matches!(open(other.path(), Some(&head_path)), Err(OpenError::HeadPath { .. })));
        fs::write(&head_path, Bytes::from_static(b"no head")).unwrap();
        assert!(matches!(open(dir.path(), Some(&head_path)), Err(OpenError::HeadPath { .. })));
        // Neither waited for nor read without end.
        fs::remove_file(&head_path).unwrap();
        for device in ["/dev/zero", "/dev/tty"] {
            std::os::unix::fs::symlink(device, &head_path).unwrap();
            assert!(matches!(open(dir.path(), Some(&head_path)), Err(OpenError::Read { .. })), "{device}");
            fs::remove_file(&head_path).unwrap();
        }
    });
}

#[test]
fn where_a_log_was_no_other_is_made_and_a_log_that_is_looked_at_is_left_as_it_is() {
    runtime().block_on(async {
        let (dir, volume) = (memory_dir(), memory_dir());
        let head_path = volume.path().join("head");
        let data = |dir: &Path| Arc::new(DataDir::open(dir).unwrap());
        assert!(Log::look(&data(dir.path()), &settings(Some(&head_path)), &Stop::default()).unwrap().is_none());
        assert!(!dir.path().join("sumdb").exists() && !head_path.exists(), "nothing was made");
        fill(&open(dir.path(), Some(&head_path)).unwrap(), "a", 3).await;
        let looked = Log::look(&data(dir.path()), &settings(Some(&head_path)), &Stop::default()).unwrap().unwrap();
        assert_eq!(looked.latest().head().size, 3);
        assert!(matches!(looked.append(record("b", 1)).await, Err(LogError::Closed)));
        let (witness, folder) = (dir.path().join("sumdb-verifier"), log_folder(dir.path()));
        fs::remove_dir_all(&folder).unwrap();
        for known_by in [&witness, &head_path] {
            for _ in 0..2 {
                let gone = open(dir.path(), Some(&head_path)).err().unwrap();
                assert!(matches!(&gone, OpenError::Gone { witness, .. } if witness == known_by), "{gone}");
            }
            assert!(matches!(Log::look(&data(dir.path()), &settings(Some(&head_path)), &Stop::default()), Err(OpenError::Gone { .. })));
            fs::remove_file(known_by).unwrap();
        }
        assert!(!folder.exists());
        let begun = open(dir.path(), Some(&head_path)).unwrap();
        assert_ne!(begun.key(), looked.key());
        drop(begun);
        // A whole other log in its place is signed as well as it was.
        fs::write(&witness, format!("{}\n", looked.key())).unwrap();
        assert!(matches!(open(dir.path(), Some(&head_path)), Err(OpenError::Other { .. })));
    });
}

#[test]
fn a_head_path_that_was_written_and_is_gone_is_refused_and_another_one_begins() {
    runtime().block_on(async {
        let (dir, volume) = (memory_dir(), memory_dir());
        let paths = ["one", "other"].map(|name| volume.path().join(name));
        fill(&open(dir.path(), None).unwrap(), "a", 1).await;
        // Of a log that is there already.
        drop(open(dir.path(), Some(&paths[0])).unwrap());
        let kept = fs::read(&paths[0]).unwrap();
        fs::remove_file(&paths[0]).unwrap();
        assert!(matches!(open(dir.path(), Some(&paths[0])), Err(OpenError::HeadPathGone { .. })));
        assert!(!paths[0].exists(), "it is not written anew");
        // A crash between the file and the note of it, when another was named.
        fs::write(&paths[1], &kept).unwrap();
        drop(open(dir.path(), Some(&paths[1])).unwrap());
        fs::remove_file(&paths[1]).unwrap();
        assert!(matches!(open(dir.path(), Some(&paths[1])), Err(OpenError::HeadPathGone { .. })));
        fs::remove_file(log_folder(dir.path()).join("head-path")).unwrap();
        drop(open(dir.path(), Some(&paths[1])).unwrap());
        assert_eq!(fs::read(&paths[1]).unwrap(), kept, "the way out that the refusal names");
    });
}
