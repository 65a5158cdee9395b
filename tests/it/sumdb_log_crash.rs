//! Our own checksum log under faults: every step to the disk fails, before or after it took effect, once or for good; and the power
//! goes at every step. Afterwards every record that was answered stands under its number, and the log goes on from every head that was
//! ever handed out.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures::future::join_all;
use modgate::durable::{Disk, Faults, Step};
use modgate::store::DataDir;
use modgate::sumdb::log::{Append, Entry, Log, LogError};
use modgate::tlog::Head;

use super::store_crash::{Blow, Script, memory_dir, runtime};
use super::store_power::Forgetful;
use super::sumdb_log::{copy, fill, follows, holds, open, record, settings};

/// Tries until an append must have succeeded where a fault does not last.
const TRIES: usize = 8;

/// A data directory, the volume of its `head_path`, and how many records each of the script's groups has, which are appended at once.
struct World {
    dir: tempfile::TempDir,
    volume: tempfile::TempDir,
    groups: &'static [usize],
}

impl World {
    /// No log yet; and one that is about to fill its first tiles.
    async fn all() -> [Self; 2] {
        let empty = Self { dir: memory_dir(), volume: memory_dir(), groups: &[1, 2] };
        let edge = Self { dir: memory_dir(), volume: memory_dir(), groups: &[1, 3, 1] };
        fill(&open(edge.dir.path(), Some(&edge.head_path())).unwrap(), "old", 254).await;
        [empty, edge]
    }

    fn again(&self) -> Self {
        let again = Self { dir: memory_dir(), volume: memory_dir(), groups: self.groups };
        copy(self.dir.path(), again.dir.path());
        copy(self.volume.path(), again.volume.path());
        again
    }

    fn head_path(&self) -> PathBuf {
        self.volume.path().join("head")
    }
}

/// What was handed out.
#[derive(Default)]
struct Witness {
    seen: Mutex<Vec<(Option<Entry>, Head)>>,
}

impl Witness {
    fn sees(&self, entry: Option<Entry>, log: &Log) {
        self.seen.lock().unwrap().push((entry, *log.latest().head()));
    }

    /// Appends the records of a group at once. `each` runs when one was answered.
    async fn append(&self, log: &Log, group: usize, count: usize, each: impl Fn()) -> Result<(), LogError> {
        let appends = (0..count).map(async |i| {
            let append = log.append(record(&format!("new{group}-{i}"), i as u8)).await?;
            self.sees(Some(append.entry().clone()), log);
            each();
            Ok(())
        });
        join_all(appends).await.into_iter().collect()
    }

    /// The first `count` of all that was handed out holds; and the log goes on.
    async fn vouches(&self, log: &Log, count: usize) {
        let seen = self.seen.lock().unwrap()[..count].to_vec();
        for (entry, head) in &seen {
            follows(log, head).await;
            if let Some(entry) = entry {
                holds(log, entry).await;
            }
        }
        let size = log.latest().head().size;
        let next = record("next", 7);
        assert_eq!(log.append(next.clone()).await.unwrap(), Append::Added(Entry { id: size, record: next }));
        for (entry, _) in seen.into_iter().rev().take(3) {
            if let Some(entry) = entry {
                assert_eq!(log.append(entry.record.clone()).await.unwrap(), Append::Held(entry));
            }
        }
    }

    fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

/// Runs a script with a blow at step `at` to the disk. Whether that step was reached.
async fn strike(world: &World, at: usize, blow: Blow) -> bool {
    let (script, witness) = (Arc::new(Script::new(at, blow)), Witness::default());
    let opened = DataDir::open_on(world.dir.path(), Disk::with_faults(script.clone()));
    if let Ok(log) = opened.map(Arc::new).map_err(drop).and_then(|data| Log::open(&data, &settings(Some(&world.head_path()))).map_err(drop))
    {
        witness.sees(None, &log);
        for (group, count) in world.groups.iter().enumerate() {
            let mut outcome = witness.append(&log, group, *count, || {}).await;
            for _ in 0..TRIES {
                if outcome.is_err() && !blow.lasts() {
                    outcome = witness.append(&log, group, *count, || {}).await;
                }
            }
            witness.sees(None, &log);
            if let Err(error) = outcome {
                assert!(blow.lasts(), "{blow:?} at {at}: goes on failing: {error}");
                break;
            }
        }
    }
    let log = open(world.dir.path(), Some(&world.head_path())).unwrap_or_else(|error| panic!("{blow:?} at {at}: {error}"));
    witness.vouches(&log, witness.count()).await;
    drop(log);
    // Also what was appended after it.
    let log = open(world.dir.path(), Some(&world.head_path())).unwrap_or_else(|error| panic!("{blow:?} at {at}, again: {error}"));
    let seen = std::mem::take(&mut *witness.seen.lock().unwrap());
    for (entry, head) in &seen {
        follows(&log, head).await;
        assert!(entry.as_ref().is_none_or(|entry| entry.id < log.latest().head().size));
    }
    script.steps() > at
}

fn strike_everywhere(blow: Blow, steps: usize) {
    runtime().block_on(async {
        let mut struck = 0;
        for world in World::all().await {
            // Not the data directory's own steps.
            let quiet = Arc::new(Script::new(usize::MAX / 2, blow));
            drop(DataDir::open_on(world.again().dir.path(), Disk::with_faults(quiet.clone())).unwrap());
            let mut at = quiet.steps();
            while strike(&world.again(), at, blow).await {
                at += 1;
                struck += 1;
            }
        }
        assert!(struck >= steps, "only {struck} steps");
    });
}

#[test]
fn a_step_of_the_log_that_fails_once_is_an_error_and_no_more() {
    strike_everywhere(Blow::Fails, 100);
}

#[test]
fn a_step_of_the_log_that_happens_and_tells_an_error_breaks_nothing() {
    strike_everywhere(Blow::HappensAndFails, 100);
}

#[test]
fn a_disk_that_is_full_for_a_moment_takes_nothing_from_the_log() {
    strike_everywhere(Blow::Full, 100);
}

#[test]
fn a_write_that_ends_halfway_leaves_no_half_record() {
    strike_everywhere(Blow::Half, 15);
}

#[test]
fn a_crash_before_any_step_of_the_log_forks_nothing() {
    strike_everywhere(Blow::Dies, 100);
}

#[test]
fn a_crash_after_any_step_of_the_log_forks_nothing() {
    strike_everywhere(Blow::HappensAndDies, 100);
}

/// What a start finds after the power came back, where the log's disk and that of its `head_path` forgot the same.
fn after(disk: &super::store_power::Kept, world: &World) -> World {
    let after = World { dir: memory_dir(), volume: memory_dir(), groups: world.groups };
    disk.write_to(world.dir.path(), after.dir.path());
    disk.write_to(world.volume.path(), after.volume.path());
    after
}

/// The disk as it is, fsynced.
fn fsync_all(disk: &Forgetful, folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            fsync_all(disk, &entry.path());
        } else {
            disk.step(Step::SyncFile, &entry.path(), &mut || Ok(())).unwrap();
        }
    }
    disk.step(Step::SyncDir, folder, &mut || Ok(())).unwrap();
}

/// The world's log on that disk, if it opens.
fn open_on(world: &World, disk: &Arc<Forgetful>) -> Option<Log> {
    let data = Arc::new(DataDir::open_on(world.dir.path(), Disk::with_faults(disk.clone())).ok()?);
    Log::open(&data, &settings(Some(&world.head_path()))).ok()
}

/// The world's disk, everything on it fsynced; steps count from there.
fn forgetful(world: &World) -> Forgetful {
    let disk = Forgetful::new(world.dir.path(), usize::MAX);
    fsync_all(&disk, world.dir.path());
    fsync_all(&disk, world.volume.path());
    disk.count.store(0, Ordering::SeqCst);
    disk
}

#[test]
fn when_the_power_goes_at_any_step_the_log_forks_nothing() {
    runtime().block_on(async {
        let mut seen = 0;
        for world in World::all().await {
            let mut disk = forgetful(&world);
            disk.films = true;
            let (disk, witness) = (Arc::new(disk), Witness::default());
            let data = Arc::new(DataDir::open_on(world.dir.path(), Disk::with_faults(disk.clone())).unwrap());
            let log = Log::open(&data, &settings(Some(&world.head_path()))).unwrap();
            drop(data);
            let told = || {
                disk.done.fetch_add(1, Ordering::SeqCst);
            };
            witness.sees(None, &log);
            told();
            for (group, count) in world.groups.iter().enumerate() {
                witness.append(&log, group, *count, told).await.unwrap();
            }
            let now = (witness.count(), disk.kept.lock().unwrap().clone(), None);
            let mut images = std::mem::take(&mut *disk.images.lock().unwrap());
            images.push(now);
            for (nth, (done, image, _)) in images.iter().enumerate() {
                let after = after(image, &world);
                // Before there is a data directory there is nothing to open.
                if !after.dir.path().join("format").exists() {
                    assert_eq!(*done, 0);
                    continue;
                }
                let log = open(after.dir.path(), Some(&after.head_path()));
                let log = log.unwrap_or_else(|error| panic!("power cut before step {nth}, {done} told: {error}"));
                witness.vouches(&log, *done).await;
                seen += 1;
            }
        }
        assert!(seen > 80, "{seen} images");
    });
}

/// What a step left that failed is not taken for durable by those that come after it.
#[test]
fn when_the_power_goes_after_a_step_that_failed_once_the_log_forks_nothing() {
    runtime().block_on(async {
        for start in World::all().await {
            for at in 0.. {
                let world = start.again();
                let disk = forgetful(&world);
                disk.fails_at.store(at, Ordering::SeqCst);
                let (disk, witness) = (Arc::new(disk), Witness::default());
                let on_disk = || open_on(&world, &disk);
                let log = on_disk().or_else(on_disk).unwrap();
                for (group, count) in world.groups.iter().enumerate() {
                    if witness.append(&log, group, *count, || {}).await.is_err() {
                        witness.append(&log, group, *count, || {}).await.unwrap();
                    }
                }
                let reached = disk.count.load(Ordering::SeqCst) > at;
                let after = after(&disk.kept.lock().unwrap().clone(), &world);
                drop(log);
                let log = open(after.dir.path(), Some(&after.head_path())).unwrap_or_else(|error| panic!("step {at} failed: {error}"));
                witness.vouches(&log, witness.count()).await;
                if !reached {
                    break;
                }
            }
        }
    });
}

/// A head gets its name and tells an error; then the process dies when it has written other records.
#[derive(Default)]
struct Unsure(AtomicUsize);

impl Faults for Unsure {
    fn step(&self, step: Step, path: &Path, run: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
        let broken = || Err(io::Error::other("a fault that a test made"));
        match self.0.load(Ordering::SeqCst) {
            1 if step == Step::Rename && path.ends_with("log/head") => self.0.store(2, Ordering::SeqCst),
            2 if step == Step::Write && path.ends_with("tile/8/data/000") => self.0.store(3, Ordering::SeqCst),
            3 => return broken(),
            _ => return run(),
        }
        run().and_then(|()| broken())
    }
}

/// No head gets its name any more, once told so.
#[derive(Default)]
struct Headless(AtomicBool);

impl Faults for Headless {
    fn step(&self, step: Step, path: &Path, run: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
        let refused = self.0.load(Ordering::SeqCst) && step == Step::Rename && path.ends_with("log/head");
        if refused { Err(io::Error::other("a fault that a test made")) } else { run() }
    }
}

#[test]
fn what_the_log_has_is_answered_while_nothing_can_be_appended() {
    runtime().block_on(async {
        let (dir, headless) = (memory_dir(), Arc::new(Headless::default()));
        let data = Arc::new(DataDir::open_on(dir.path(), Disk::with_faults(headless.clone())).unwrap());
        let log = Log::open(&data, &settings(None)).unwrap();
        drop(data);
        let first = log.append(record("one", 1)).await.unwrap();
        headless.0.store(true, Ordering::SeqCst);
        assert!(log.append(record("two", 2)).await.is_err());
        assert_eq!(log.append(record("one", 7)).await.unwrap(), Append::Held(first.entry().clone()));
        headless.0.store(false, Ordering::SeqCst);
        assert_eq!(log.append(record("three", 3)).await.unwrap().entry().id, 2);
    });
}

#[test]
fn nothing_is_written_over_records_whose_head_may_be_on_the_disk() {
    runtime().block_on(async {
        let (dir, unsure) = (memory_dir(), Arc::new(Unsure::default()));
        let data = Arc::new(DataDir::open_on(dir.path(), Disk::with_faults(unsure.clone())).unwrap());
        let log = Log::open(&data, &settings(None)).unwrap();
        drop(data);
        unsure.0.store(1, Ordering::SeqCst);
        assert!(log.append(record("one", 1)).await.is_err());
        assert_eq!(log.latest().head().size, 0);
        assert!(log.append(record("two", 2)).await.is_err());
        assert_eq!((unsure.0.load(Ordering::SeqCst), log.latest().head().size), (3, 1));
        drop(log);
        let log = open(dir.path(), None).unwrap();
        holds(&log, &Entry { id: 0, record: record("one", 1) }).await;
        assert_eq!(log.append(record("two", 2)).await.unwrap().entry().id, 1);
    });
}

/// The kernel remembers what a killed process wrote and did not fsync; the next start sees it and signs it to clients.
#[test]
fn a_head_that_a_start_found_after_a_crash_survives_the_power_going_then() {
    runtime().block_on(async {
        for start in World::all().await {
            for at in 0.. {
                let world = start.again();
                let disk = forgetful(&world);
                disk.dies_at.store(at, Ordering::SeqCst);
                let (disk, witness) = (Arc::new(disk), Witness::default());
                let on_disk = || open_on(&world, &disk);
                let mut died = true;
                if let Some(log) = on_disk() {
                    died = false;
                    for (group, count) in world.groups.iter().enumerate() {
                        died |= witness.append(&log, group, *count, || {}).await.is_err();
                    }
                }
                // Alive again.
                disk.dies_at.store(usize::MAX, Ordering::SeqCst);
                let log = on_disk().unwrap();
                witness.sees(None, &log);
                let after = after(&disk.kept.lock().unwrap().clone(), &world);
                drop(log);
                let log =
                    open(after.dir.path(), Some(&after.head_path())).unwrap_or_else(|error| panic!("killed before step {at}: {error}"));
                witness.vouches(&log, witness.count()).await;
                if !died {
                    break;
                }
            }
        }
    });
}
