//! What goes, for whom, and in which order.

use super::*;
use crate::durable::{Inodes, Room, Shortage};

/// A disk with so much free space, less what lies in a folder.
struct Small {
    free: AtomicU64,
}

impl Faults for Small {
    fn step(&self, _: Step, path: &Path, run: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
        let len = std::fs::metadata(path).map_or(0, |meta| meta.len());
        run()?;
        if !path.exists() {
            self.free.fetch_add(len, Ordering::Relaxed);
        }
        Ok(())
    }

    fn room(&self, room: Room) -> Room {
        Room { bytes: self.free.load(Ordering::Relaxed), ..room }
    }
}

#[test]
fn the_file_system_keeps_its_free_space_as_far_as_evicting_helps() {
    let small = Arc::new(Small { free: AtomicU64::new(20 * MIB) });
    let world = World::on(Disk::with_faults(small.clone()), Bounds { bytes_max: 100 * MIB, free_min: 10 * MIB });
    for number in 0..10 {
        assert!(world.put(&key(number), MIB as usize));
        small.free.fetch_sub(MIB, Ordering::Relaxed);
    }
    assert_eq!((small.free.load(Ordering::Relaxed), world.index.usage().evicted), (10 * MIB, 0));
    // At the limit: each that comes makes one go.
    assert!(world.put(&key(10), MIB as usize));
    small.free.fetch_sub(MIB, Ordering::Relaxed);
    assert_eq!((world.index.usage().evicted, world.file(&key(0)).exists()), (1, false));
    // What is set aside and not yet written is as good as gone.
    let reservation = world.index.reserve(4 * MIB).unwrap();
    assert_eq!(world.index.usage().evicted, 5);
    assert!(world.index.reserve(4 * MIB).is_some());
    assert_eq!(world.index.usage().evicted, 9);
    drop(reservation);
    // Others took the rest: what cannot help is left alone.
    small.free.store(0, Ordering::Relaxed);
    let entries = world.index.usage().entries;
    assert!(!world.put(&key(11), MIB as usize));
    assert_eq!(world.index.usage().entries, entries);
}

#[test]
fn that_nothing_is_kept_for_want_of_free_room_lasts_from_one_look_to_another() {
    let small = Arc::new(Small { free: AtomicU64::new(20 * MIB) });
    let world = World::on(Disk::with_faults(small.clone()), Bounds { bytes_max: 100 * MIB, free_min: 10 * MIB });
    // Too big for what is free is no pause: others fit.
    assert!(!world.put(&key(0), 11 * MIB as usize) && !world.index.is_paused());
    small.free.store(10 * MIB - 1, Ordering::Relaxed);
    assert!(!world.put(&key(0), MIB as usize) && world.index.is_paused());
    small.free.store(11 * MIB, Ordering::Relaxed);
    let started = std::time::Instant::now();
    while world.index.is_paused() {
        assert!(started.elapsed() < Duration::from_secs(60), "nobody looks");
        std::thread::yield_now();
    }
    assert!(world.put(&key(0), MIB as usize));
}

#[test]
fn what_gives_way_for_others_is_the_oldest_as_far_as_there_is_any() {
    let world = World::new(100 * MIB);
    (0..4).for_each(|number| assert!(world.put(&key(number), MIB as usize)));
    assert!(world.index.give_way(Shortage { bytes: MIB + 1, inodes: 0 }));
    assert_eq!((world.index.usage().entries, world.file(&key(1)).exists()), (2, false));
    assert!(world.index.give_way(Shortage { bytes: 0, inodes: 1 }));
    assert!(world.index.give_way(Shortage { bytes: 100 * MIB, inodes: 0 }), "less than was asked for may be enough");
    assert_eq!(world.index.usage().entries, 0);
    assert!(!world.index.give_way(Shortage { bytes: 1, inodes: 1 }), "there is nothing left");
    world.upkeep.close();
    assert!(!world.index.give_way(Shortage { bytes: 0, inodes: 0 }), "the next process has the directory");
}

#[test]
fn what_gave_way_before_a_start_is_not_believed_to_be_there() {
    let mut world = World::new(100 * MIB);
    (0..4).for_each(|number| assert!(world.put(&key(number), MIB as usize)));
    for stop in [Upkeep::close, Upkeep::kill] {
        stop(&world.upkeep);
        let (root, folder) = (world.dir.path().join("cache"), world.dir.path().join("index"));
        Index::give_way_closed(&root, &folder, &world.disk, world.bounds, Shortage { bytes: 1, inodes: 0 }).unwrap();
        let left = std::fs::read_dir(root.join("download/example.com")).unwrap().count() as u64;
        world.start();
        assert_eq!((world.index.usage().entries, world.index.usage().bytes), (left, left * MIB));
    }
    assert_eq!(world.order(), [2, 3].map(key));
}

#[test]
fn what_a_start_has_not_found_yet_is_waited_for_before_others_do_without() {
    let world = World::new(100 * MIB);
    (0..4).for_each(|number| assert!(world.put(&key(number), MIB as usize)));
    world.upkeep.kill();
    let index = unloaded(&world);
    assert!(index.lease(&key(3)).unwrap().is_some());
    std::thread::scope(|scope| {
        let giving = scope.spawn(|| index.give_way(Shortage { bytes: 3 * MIB, inodes: 0 }));
        while index.usage().evicted == 0 {
            std::thread::yield_now();
        }
        index.load();
        assert!(giving.join().unwrap());
    });
    assert_eq!((index.usage().entries, index.usage().evicted), (1, 3));
}

/// A disk with so many free inodes of a thousand.
struct FewInodes(AtomicU64);

impl Faults for FewInodes {
    fn step(&self, step: Step, _: &Path, run: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
        self.0.fetch_add(u64::from(step == Step::Remove), Ordering::Relaxed);
        run()
    }

    fn room(&self, room: Room) -> Room {
        Room { inodes: Some(Inodes { free: self.0.load(Ordering::Relaxed), all: 1000 }), ..room }
    }
}

#[test]
fn few_free_inodes_end_caching_as_few_free_bytes_do() {
    let few = Arc::new(FewInodes(AtomicU64::new(500)));
    let world = World::on(Disk::with_faults(few.clone()), Bounds { bytes_max: 100 * MIB, free_min: 1 });
    // Big ones: what is known of the free room is asked for anew.
    (0..6).for_each(|number| assert!(world.put(&key(number), MIB as usize)));
    few.0.store(7, Ordering::Relaxed);
    assert!(world.put(&key(6), MIB as usize));
    assert_eq!((world.index.usage().evicted, world.file(&key(2)).exists(), world.file(&key(3)).exists()), (3, false, true));
    // Others took them all, and what is here is too little to make up for it.
    few.0.store(0, Ordering::Relaxed);
    assert!(!world.put(&key(7), MIB as usize));
    assert_eq!(world.index.usage().entries, 4);
}

fn absent(number: usize) -> String {
    format!("absent/00/{number}")
}

#[test]
fn absences_take_an_eighth_of_the_entries_and_no_others_go_for_them() {
    let mut world = World::new(MIB);
    assert!(world.put(&key(0), 1));
    for number in 0..200 {
        assert!(world.put(&absent(number), 1));
        world.index.bound_absences();
    }
    assert_eq!((world.index.usage().entries, world.index.usage().evicted), (129, 72));
    assert!(world.file(&key(0)).exists() && !world.file(&absent(71)).exists() && world.file(&absent(72)).exists());
    // Also those that a scan finds.
    std::fs::write(world.file("absent/00/old"), "x").unwrap();
    world.kill_and_start();
    assert_eq!(world.index.usage().entries, 129);
    assert!(world.file(&key(0)).exists());
}

#[test]
fn last_copies_go_last_but_for_those_beyond_half_of_the_bound() {
    let world = World::new(10 * MIB);
    for number in 0..8 {
        assert!(world.put(&key(number), MIB as usize));
        world.index.set_last_copy(&key(number), true);
    }
    // As long as there is room for all they stay.
    (8..10).for_each(|number| assert!(world.put(&key(number), MIB as usize)));
    assert_eq!(world.index.usage().last_copies, 8);
    // Then the oldest of them go, down to half; then what is ordinary.
    (10..14).for_each(|number| assert!(world.put(&key(number), MIB as usize)));
    let there: Vec<_> = (0..14).filter(|number| world.file(&key(*number)).exists()).collect();
    assert_eq!((world.index.usage().last_copies, there), (5, vec![3, 4, 5, 6, 7, 9, 10, 11, 12, 13]));
}
