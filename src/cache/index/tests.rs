mod room;

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::*;
use crate::durable::{DurableError, Faults, Step};

const MIB: u64 = 1 << 20;

/// An index over a folder, as a process has it.
struct World {
    dir: tempfile::TempDir,
    disk: Disk,
    bounds: Bounds,
    index: Arc<Index>,
    upkeep: Upkeep,
}

impl World {
    fn new(bytes_max: u64) -> Self {
        Self::on(Disk::default(), Bounds { bytes_max, free_min: 0 })
    }

    fn on(disk: Disk, bounds: Bounds) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["cache", "tmp"] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
        }
        let (index, upkeep) = start(dir.path(), &disk, bounds);
        index.wait_complete();
        Self { dir, disk, bounds, index, upkeep }
    }

    /// A new process; what the old one wrote down is `upkeep`'s doing.
    fn start(&mut self) {
        (self.index, self.upkeep) = start(self.dir.path(), &self.disk, self.bounds);
        self.index.wait_complete();
    }

    fn stop_and_start(&mut self) {
        self.upkeep.close();
        self.start();
    }

    fn kill_and_start(&mut self) {
        self.upkeep.kill();
        self.start();
    }

    fn put(&self, key: &str, bytes: usize) -> bool {
        put(&self.index, &self.dir.path().join("tmp"), key, bytes).is_some()
    }

    fn file(&self, key: &str) -> PathBuf {
        self.dir.path().join("cache").join(key)
    }

    /// Keys, oldest first, as evicting finds them.
    fn order(&self) -> Vec<String> {
        std::iter::from_fn(|| {
            let mut held = self.index.hold_oldest()?;
            held.remove_entry();
            Some(held.key().to_owned())
        })
        .collect()
    }
}

fn start(dir: &Path, disk: &Disk, bounds: Bounds) -> (Arc<Index>, Upkeep) {
    let index = Arc::new(Index::open(&dir.join("cache"), &dir.join("index"), disk.clone(), bounds).unwrap());
    let upkeep = Upkeep::start(index.clone()).unwrap();
    (index, upkeep)
}

fn put(index: &Arc<Index>, tmp: &Path, key: &str, bytes: usize) -> Option<Lease> {
    let mut reservation = index.reserve(bytes as u64)?;
    let staged = tempfile::NamedTempFile::new_in(tmp).unwrap();
    std::fs::write(staged.path(), vec![b'x'; bytes]).unwrap();
    let to = index.path(key);
    reservation
        .commit(key, bytes as u64, || {
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            staged.persist(&to).unwrap();
            Ok(())
        })
        .unwrap()
}

fn key(number: usize) -> String {
    format!("download/example.com/m{number}/@v/v1.0.0.mod")
}

#[test]
fn a_clean_stop_is_read_back_without_a_look_at_any_file() {
    let mut world = World::new(MIB);
    for number in 0..5 {
        assert!(world.put(&key(number), 100 + number));
    }
    drop(world.index.lease(&key(1)));
    world.index.set_last_copy(&key(2), true);
    let before = world.index.usage();
    world.upkeep.close();
    // The index believes the snapshot: it does not look.
    std::fs::remove_file(world.file(&key(4))).unwrap();
    world.start();
    assert_eq!(world.index.usage(), before);
    assert_eq!(world.order(), [0, 3, 4, 1, 2].map(key));
}

#[test]
fn a_second_start_after_a_clean_stop_reads_it_too_as_long_as_nothing_was_added() {
    let mut world = World::new(MIB);
    (0..3).for_each(|number| assert!(world.put(&key(number), 100)));
    world.upkeep.close();
    std::fs::remove_file(world.file(&key(0))).unwrap();
    // As a command does that opens the cache and ends before it is loaded.
    let (index, upkeep) = start(world.dir.path(), &world.disk, world.bounds);
    drop((index, upkeep));
    world.start();
    assert_eq!(world.index.usage().entries, 3);
    // Now something is added, and the process is killed: nothing is believed any more.
    assert!(world.put(&key(3), 100));
    world.kill_and_start();
    assert_eq!(world.index.usage().entries, 3);
    assert_eq!(world.index.usage().bytes, 300);
}

#[test]
fn a_damaged_snapshot_is_not_believed() {
    for damage in ["gone", "cut", "changed", "older"] {
        let mut world = World::new(MIB);
        assert!(world.put(&key(0), 100));
        let snapshot = world.dir.path().join("index/snapshot");
        world.stop_and_start();
        let older = std::fs::read(&snapshot).unwrap();
        assert!(world.put(&key(1), 100));
        world.upkeep.close();
        let mut bytes = std::fs::read(&snapshot).unwrap();
        let (at, len) = (bytes.len() / 2, bytes.len());
        match damage {
            "gone" => std::fs::remove_file(&snapshot).unwrap(),
            "cut" => std::fs::write(&snapshot, &bytes[..len - 1]).unwrap(),
            "older" => std::fs::write(&snapshot, &older).unwrap(),
            _ => {
                bytes[at] ^= 1;
                std::fs::write(&snapshot, &bytes).unwrap();
            }
        }
        std::fs::remove_file(world.file(&key(0))).unwrap();
        world.start();
        let usage = world.index.usage();
        assert_eq!((usage.entries, usage.bytes), (1, 100), "{damage}");
    }
}

#[test]
fn what_a_snapshot_told_before_it_broke_off_is_looked_at() {
    let mut world = World::new(100 * MIB);
    // Long keys: the records fill several frames.
    let key = |number: usize| format!("download/example.com/{}/m{number}/@v/v1.0.0.mod", "x".repeat(200));
    (0..4000).for_each(|number| assert!(world.put(&key(number), 2)));
    world.upkeep.close();
    let snapshot = world.dir.path().join("index/snapshot");
    let bytes = std::fs::read(&snapshot).unwrap();
    std::fs::write(&snapshot, &bytes[..bytes.len() - 100_000]).unwrap();
    let mut told = Vec::new();
    let whole = snapshot::read(&world.dir.path().join("index"), None, |batch| told.extend(batch.iter().map(|(key, _)| (*key).to_owned())));
    assert!(!whole.unwrap() && !told.is_empty() && told.len() < 4000);
    std::fs::remove_file(world.file(&told[0])).unwrap();
    std::fs::write(world.file(&told[1]), "longer").unwrap();
    world.start();
    let usage = world.index.usage();
    assert_eq!((usage.entries, usage.bytes, usage.complete), (3999, 3999 * 2 + 4, true));
    assert!(world.index.lease(&told[0]).unwrap().is_none());
    assert_eq!(world.index.lease(&told[1]).unwrap().unwrap().bytes(), 6);
}

#[test]
fn what_was_used_survives_a_kill_also_behind_a_torn_tail() {
    let mut world = World::new(MIB);
    (0..4).for_each(|number| assert!(world.put(&key(number), 100)));
    for number in [2, 0] {
        drop(world.index.lease(&key(number)));
    }
    world.index.set_last_copy(&key(1), true);
    world.index.write_recency();
    // File times alone would say otherwise.
    let late = std::fs::File::options().write(true).open(world.file(&key(3))).unwrap();
    late.set_modified(UNIX_EPOCH).unwrap();
    let journal = world.dir.path().join("index/recency");
    let good = std::fs::metadata(&journal).unwrap().len();
    std::fs::OpenOptions::new()
        .append(true)
        .open(&journal)
        .map(|mut file| std::io::Write::write_all(&mut file, &[7; 20]))
        .unwrap()
        .unwrap();
    world.upkeep.kill();
    world.start();
    while world.index.recency.lock().unwrap().journal_len() != Some(good) {
        std::thread::yield_now();
    }
    drop(world.index.lease(&key(3)));
    world.index.write_recency();
    world.kill_and_start();
    assert_eq!(world.order(), [2, 0, 3, 1].map(key));
}

#[test]
fn use_is_written_down_by_itself() {
    let world = World::new(MIB);
    assert!(world.put(&key(0), 100));
    let journal = world.dir.path().join("index/recency");
    let started = std::time::Instant::now();
    while recency::read(&world.dir.path().join("index"), |_, _| {}).unwrap() == 0 {
        assert!(started.elapsed() < Duration::from_secs(60), "{}", journal.display());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// As after a kill, when the thread that looks at the files has not begun.
fn unloaded(world: &World) -> Arc<Index> {
    world.upkeep.kill();
    let root = world.dir.path();
    Arc::new(Index::open(&root.join("cache"), &root.join("index"), world.disk.clone(), world.bounds).unwrap())
}

#[test]
fn while_nothing_is_known_all_that_may_be_there_counts_and_what_is_asked_for_is_found() {
    let world = World::new(10 * MIB);
    (0..9).for_each(|number| assert!(world.put(&key(number), MIB as usize)));
    let index = unloaded(&world);
    let usage = index.usage();
    assert!(!usage.complete && usage.bytes >= 9 * MIB && usage.bytes <= 10 * MIB, "{usage:?}");
    assert!(index.lease(&key(100)).unwrap().is_none());
    assert_eq!(index.lease(&key(3)).unwrap().unwrap().bytes(), MIB);
    // Nothing new fits beside what may be there, but for what makes room: the one that was come across.
    let tmp = world.dir.path().join("tmp");
    assert!(put(&index, &tmp, &key(20), MIB as usize).is_some());
    assert!(!world.file(&key(3)).exists());
    assert!(index.reserve(2 * MIB).is_none());
    index.load();
    let usage = index.usage();
    assert_eq!((usage.complete, usage.entries, usage.bytes), (true, 9, 9 * MIB));
    assert!(index.reserve(MIB).is_some());
}

#[test]
fn what_goes_while_a_snapshot_is_read_is_not_brought_back_by_it() {
    let mut world = World::new(10 * MIB);
    (0..3).for_each(|number| assert!(world.put(&key(number), 1000)));
    world.upkeep.close();
    let index = unloaded(&world);
    index.remove(&key(1)).unwrap();
    assert!(put(&index, &world.dir.path().join("tmp"), &key(2), 500).is_some());
    index.load();
    let usage = index.usage();
    assert_eq!((usage.entries, usage.bytes), (2, 1500));
    world.start();
}

#[test]
fn without_its_own_files_the_index_lets_nothing_be_added_until_all_is_known() {
    let mut world = World::new(MIB);
    assert!(world.put(&key(0), 1000));
    world.upkeep.kill();
    std::fs::remove_dir_all(world.dir.path().join("index")).unwrap();
    let index = unloaded(&world);
    assert_eq!(index.usage().bytes, MIB);
    assert!(index.reserve(1).is_none());
    index.load();
    assert!(index.reserve(1).is_some());
    world.start();
    assert_eq!(world.index.usage().bytes, 1000);
}

#[test]
fn a_closed_cache_takes_nothing_and_what_was_set_aside_is_not_placed() {
    let world = World::new(MIB);
    let mut reservation = world.index.reserve(10).unwrap();
    world.upkeep.close();
    assert!(world.index.reserve(1).is_none() && !reservation.grow(1));
    let placed = reservation.commit(&key(0), 10, || panic!("placed"));
    assert!(placed.unwrap().is_none());
}

#[test]
fn small_entries_are_bounded_by_their_number() {
    let world = World::new(MIB);
    for number in 0..1030 {
        assert!(world.put(&key(number), 1));
    }
    let usage = world.index.usage();
    assert_eq!((usage.entries, usage.evicted), (1024, 6));
    assert!(!world.file("download/example.com/m0").exists() && world.file(&key(6)).exists());
}

#[test]
fn a_folder_that_is_removed_while_a_file_is_placed_in_it_is_made_again() {
    let world = World::new(100 * MIB);
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let (index, tmp) = (world.index.clone(), world.dir.path().join("tmp"));
            std::thread::spawn(move || {
                for _ in 0..200 {
                    let key = format!("download/example.com/m/@v/v1.{thread}.0.mod");
                    let mut reservation = index.reserve(1).unwrap();
                    let staged = tempfile::NamedTempFile::new_in(&tmp).unwrap();
                    let place = || index.place(staged.path(), &index.path(&key));
                    drop(reservation.commit(&key, 1, place).unwrap().unwrap());
                    index.remove(&key).unwrap();
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(world.index.usage().bytes, 0);
}

/// Whenever a file is about to get its name, somebody removes the empty folder that it is to lie in, unless that is kept.
#[derive(Default)]
struct Pruning(std::sync::OnceLock<std::sync::Weak<Index>>);

impl Faults for Pruning {
    fn step(&self, step: Step, path: &Path, run: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
        if step == Step::Rename
            && let Some(index) = self.0.get().and_then(std::sync::Weak::upgrade)
            && index.folders.try_read().is_ok()
        {
            index.prune(path);
        }
        run()
    }
}

#[test]
fn a_folder_that_goes_again_and_again_is_kept_from_going() {
    let pruning = Arc::new(Pruning::default());
    let world = World::on(Disk::with_faults(pruning.clone()), Bounds { bytes_max: MIB, free_min: 0 });
    pruning.0.set(Arc::downgrade(&world.index)).unwrap();
    let mut reservation = world.index.reserve(1).unwrap();
    let staged = tempfile::NamedTempFile::new_in(world.dir.path().join("tmp")).unwrap();
    let place = || world.index.place(staged.path(), &world.index.path(&key(0)));
    assert!(reservation.commit(&key(0), 1, place).unwrap().is_some() && world.file(&key(0)).exists());
}

#[test]
fn placing_that_fails_gives_back_what_was_set_aside() {
    let world = World::new(MIB);
    assert!(world.put(&key(0), 100));
    let mut reservation = world.index.reserve(500).unwrap();
    let failed = || Err(DurableError { step: Step::Rename, path: PathBuf::new(), source: io::ErrorKind::Other.into() });
    assert!(reservation.commit(&key(0), 500, failed).is_err());
    drop(reservation);
    // The old file stands there still.
    let usage = world.index.usage();
    assert_eq!((usage.entries, usage.bytes), (1, 100));
}

#[test]
fn another_file_than_the_one_that_was_judged_is_not_set_aside() {
    let world = World::new(MIB);
    assert!(world.put(&key(0), 100));
    let judged = world.index.lease(&key(0)).unwrap().unwrap();
    assert!(world.put(&key(0), 100));
    assert!(!world.index.set_aside(&key(0), &judged) && world.file(&key(0)).exists());
    drop(judged);
    let judged = world.index.watch(&key(0)).unwrap();
    world.index.remove(&key(0)).unwrap();
    assert!(!world.index.set_aside(&key(0), &judged));
    drop(judged);
    let usage = world.index.usage();
    assert_eq!((usage.entries, usage.bytes, usage.corrupt), (0, 0, 0));
}

#[test]
fn watching_is_no_use() {
    let world = World::new(MIB);
    (0..4).for_each(|number| assert!(world.put(&key(number), 100)));
    for number in [2, 0, 1] {
        drop(world.index.watch(&key(number)).unwrap());
    }
    world.index.restore_order();
    assert_eq!(world.order(), [0, 1, 2, 3].map(key));
}

#[test]
fn what_was_not_come_across_is_not_known_and_is_not_looked_for() {
    let world = World::new(MIB);
    assert!(world.put(&key(0), 100));
    let index = unloaded(&world);
    assert!(!index.is_known(&key(0)) && index.usage().entries == 0);
    // Nor is waited for: its file is being changed this moment.
    let held = index.hold(&key(0));
    assert!(!index.is_known(&key(0)));
    drop(held);
    assert!(index.lease(&key(0)).unwrap().is_some() && index.is_known(&key(0)));
}

#[test]
fn a_bound_that_is_lowered_while_nothing_is_known_evicts_at_the_end_and_not_everything() {
    let world = World::new(10 * MIB);
    (0..4).for_each(|number| assert!(world.put(&key(number), MIB as usize)));
    let index = unloaded(&world);
    assert!(index.lease(&key(3)).unwrap().is_some());
    index.resize(Bounds { bytes_max: 2 * MIB, free_min: 0 });
    assert_eq!(index.usage().evicted, 0);
    index.load();
    let usage = index.usage();
    assert_eq!((usage.entries, usage.bytes, usage.evicted), (2, 2 * MIB, 2));
    assert!(index.lease(&key(3)).unwrap().is_some());
}
