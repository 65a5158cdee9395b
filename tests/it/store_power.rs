//! The embedded stores when the power goes: a disk that forgets what was not fsynced. What was acknowledged was.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use modgate::durable::{Disk, Faults, Step};

use super::store_crash::{SCRIPT, act, dump, memory_dir, open, reopen, runtime, states};

/// A disk that keeps what was fsynced and forgets the rest: what each folder's last fsync saw, and each file's.
pub(super) struct Forgetful {
    root: PathBuf,
    pub(super) kept: Mutex<Kept>,
    /// How many steps of the script were acknowledged.
    pub(super) done: AtomicUsize,
    /// How many steps were made, and after how many the process dies; the machine does not.
    pub(super) count: AtomicUsize,
    pub(super) dies_at: AtomicUsize,
    /// The step that does not happen, once.
    pub(super) fails_at: AtomicUsize,
    /// Whether to take an image at every step.
    pub(super) films: bool,
    pub(super) images: Mutex<Vec<Image>>,
}

/// How much was acknowledged at a step, what was kept by then, and sled's file.
pub(super) type Image = (usize, Kept, Option<Vec<u8>>);

/// By inode: a folder keeps what is in it under another name too.
#[derive(Clone, Default)]
pub(super) struct Kept {
    folders: BTreeMap<u64, BTreeMap<PathBuf, Entry>>,
    files: BTreeMap<u64, Vec<u8>>,
}

#[derive(Clone, Copy)]
enum Entry {
    Folder(u64),
    File(u64),
}

impl Kept {
    /// What a start would find after the power came back.
    pub(super) fn write_to(&self, from: &Path, to: &Path) {
        self.write_folder(fs::metadata(from).unwrap().ino(), to);
    }

    fn write_folder(&self, from: u64, to: &Path) {
        for (name, entry) in self.folders.get(&from).into_iter().flatten() {
            match entry {
                Entry::Folder(inode) => {
                    fs::create_dir(to.join(name)).unwrap();
                    self.write_folder(*inode, &to.join(name));
                }
                // Never fsynced: the name without the bytes.
                Entry::File(inode) => fs::write(to.join(name), self.files.get(inode).map_or(&b""[..], Vec::as_slice)).unwrap(),
            }
        }
    }
}

impl Forgetful {
    pub(super) fn new(root: &Path, dies_at: usize) -> Self {
        Self {
            root: root.to_owned(),
            kept: Mutex::default(),
            done: AtomicUsize::new(0),
            count: AtomicUsize::new(0),
            dies_at: AtomicUsize::new(dies_at),
            fails_at: AtomicUsize::new(usize::MAX),
            films: false,
            images: Mutex::default(),
        }
    }
}

impl Faults for Forgetful {
    fn step(&self, step: Step, path: &Path, run: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
        if self.films {
            let image = self.kept.lock().unwrap().clone();
            let index = fs::read(self.root.join("meta/db")).ok();
            self.images.lock().unwrap().push((self.done.load(Ordering::SeqCst), image, index));
        }
        let nth = self.count.fetch_add(1, Ordering::SeqCst);
        if nth >= self.dies_at.load(Ordering::SeqCst) {
            return Err(io::Error::other("the process is dead"));
        }
        if nth == self.fails_at.load(Ordering::SeqCst) {
            return Err(io::Error::other("a fault that a test made"));
        }
        run()?;
        let mut kept = self.kept.lock().unwrap();
        match step {
            Step::SyncFile if !path.starts_with(self.root.join("meta")) => {
                let inode = fs::metadata(path)?.ino();
                kept.files.insert(inode, fs::read(path)?);
            }
            Step::SyncDir => {
                let mut names = BTreeMap::new();
                for entry in fs::read_dir(path)? {
                    let entry = entry?;
                    let inode = entry.metadata()?.ino();
                    let what = if entry.file_type()?.is_dir() { Entry::Folder(inode) } else { Entry::File(inode) };
                    names.insert(PathBuf::from(entry.file_name()), what);
                }
                kept.folders.insert(fs::metadata(path)?.ino(), names);
            }
            _ => {}
        }
        Ok(())
    }
}

#[test]
fn when_the_power_goes_at_any_step_what_was_acknowledged_was_fsynced() {
    runtime().block_on(async {
        let states = states().await;
        let dir = memory_dir();
        let disk = Arc::new(Forgetful { films: true, ..Forgetful::new(dir.path(), usize::MAX) });
        let (stores, _) = open(dir.path(), Disk::with_faults(disk.clone())).unwrap();
        for step in 0..SCRIPT {
            act(&stores, step).await.unwrap();
            disk.done.fetch_add(1, Ordering::SeqCst);
        }
        // Now too, and with nothing closed in an orderly way.
        let now = (SCRIPT, disk.kept.lock().unwrap().clone(), fs::read(dir.path().join("meta/db")).ok());
        let mut images = std::mem::take(&mut *disk.images.lock().unwrap());
        images.push(now);
        drop(stores);
        assert!(images.len() > 100);
        for (nth, (done, image, index)) in images.iter().enumerate() {
            // sled's file is lost, or is further than anybody promised.
            for index in [None, index.as_ref()] {
                let after = memory_dir();
                image.write_to(dir.path(), after.path());
                if let Some(index) = index {
                    fs::create_dir_all(after.path().join("meta")).unwrap();
                    fs::write(after.path().join("meta/db"), index).unwrap();
                }
                let (stores, report) = open(after.path(), Disk::default()).unwrap();
                assert_eq!(report.findings, [], "power cut before step {nth}");
                let found = dump(&stores).await;
                let good = [Some(&states[*done]), states.get(done + 1)].contains(&Some(&found));
                assert!(good, "power cut before step {nth}, {done} acknowledged:\n{found}\nexpected\n{}", states[*done]);
            }
        }
    });
}

/// The kernel remembers what a killed process wrote and did not fsync; the next start sees it and shows it to clients.
#[test]
fn what_a_start_found_after_a_crash_survives_the_power_going_then() {
    runtime().block_on(async {
        for at in 0.. {
            let dir = memory_dir();
            let disk = Arc::new(Forgetful::new(dir.path(), at));
            let (mut reached, mut done) = (true, 0);
            if let Ok((stores, _)) = open(dir.path(), Disk::with_faults(disk.clone())) {
                while done < SCRIPT && act(&stores, done).await.is_ok() {
                    done += 1;
                }
                reached = done < SCRIPT;
            }
            // Alive again.
            disk.dies_at.store(usize::MAX, Ordering::SeqCst);
            let (stores, _) = open(dir.path(), Disk::with_faults(disk.clone())).unwrap();
            for step in done..=SCRIPT {
                let shown = dump(&stores).await;
                let after = memory_dir();
                let kept = disk.kept.lock().unwrap().clone();
                kept.write_to(dir.path(), after.path());
                assert_eq!(dump(&reopen(after.path())).await, shown, "killed before step {at}, then up to {step}");
                // What is found at once, and what is built on what was found.
                if step == SCRIPT || step > done + 1 {
                    break;
                }
                act(&stores, step).await.unwrap();
            }
            drop(stores);
            if !reached {
                break;
            }
        }
    });
}
