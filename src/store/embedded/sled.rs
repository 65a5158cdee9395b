//! The index: sled, and all that is to be known about living with it.
//!
//! sled 0.34.7 is trusted with nothing. A file cut short opens without an error as an older state; bytes changed in the
//! middle make it panic, when it opens or when it reads; its `flush` is `sync_file_range` alone. So whatever it holds is under
//! `records/` first, every start compares all of it, panics are caught, and a commit ends with an fsync of our own.
#![allow(clippy::disallowed_types, reason = "the one file that knows the engine")]

use std::error::Error;
use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use super::effects::{Map, Pair, View, Writes, keys};
use crate::durable::Disk;
use crate::store::{Rev, StoreError, unix_now};

/// How much of its file sled keeps in memory, bytes.
const CACHE_BYTES: u64 = 64 << 20;
/// Longest time to open the index and read all of it.
const OPEN_TIME_MAX: Duration = Duration::from_secs(300);
/// Longest time for one commit.
const COMMIT_TIME_MAX: Duration = Duration::from_secs(60);
/// How long an index that was closed in this process may keep its file: sled lets go of it in the background.
const RELEASE_TIME_MAX: Duration = Duration::from_secs(10);
/// How often that is looked at.
const RELEASE_POLL: Duration = Duration::from_millis(2);
/// Keys written at once when the index is made anew.
const REBUILD_KEYS_MAX: usize = 10_000;

/// The open index.
pub(super) struct Index {
    db: sled::Db,
    /// sled's own file, for fsync.
    file: File,
    path: PathBuf,
}

/// How an index came to be opened.
#[derive(Debug, Default)]
pub(super) struct Reconciled {
    /// There was none, though there should have been one, or it was unusable.
    pub(super) rebuilt: bool,
    /// Where the unusable one is now.
    pub(super) set_aside: Option<PathBuf>,
    /// The revision that the found index told.
    pub(super) found_rev: Option<Rev>,
    /// Keys that had to be put right.
    pub(super) corrected: u64,
}

impl Index {
    /// Opens the index in `dir` and makes it hold `told`, key by key, and the revision. If it cannot be used, the folder is set aside
    /// and a new one made. `before_commit` is called before anything is written, with the revision that was found, all that was found,
    /// and the keys that were not as they should be; its error stops it.
    pub(super) fn reconcile(
        dir: &Path,
        disk: &Disk,
        told: &Map,
        rev: Rev,
        before_commit: impl FnOnce(Option<Rev>, &Map, &Writes) -> Result<(), StoreError>,
    ) -> Result<(Self, Reconciled), StoreError> {
        let mut how = Reconciled::default();
        let existed = dir.join("db").exists();
        let (index, mut held) = match Self::open(dir) {
            Ok(opened) => opened,
            Err(error) => {
                let aside = set_aside(dir, disk)?;
                tracing::error!(%error, set_aside = %aside.display(), "the index is unusable; it is made anew from records/");
                how.set_aside = Some(aside);
                Self::open(dir)?
            }
        };
        let mut expected = told.clone();
        how.found_rev = held.remove(keys::REV).and_then(|bytes| Some(Rev(u64::from_be_bytes(bytes.try_into().ok()?))));
        // A revision is never used twice, not even if records/ is an older copy.
        let rev = rev.max(how.found_rev.unwrap_or_default());
        expected.retain(|key, value| held.get(key) != Some(value));
        let mut wrong: Writes = held.keys().filter(|key| !told.contains_key(*key)).map(|key| (key.clone(), None)).collect();
        wrong.extend(expected.into_iter().map(|(key, value)| (key, Some(value))));
        how.corrected = wrong.len() as u64;
        how.rebuilt = how.set_aside.is_some() || (!existed && !wrong.is_empty());
        before_commit(how.found_rev, &held, &wrong)?;
        if how.corrected > 0 || how.found_rev != Some(rev) {
            for some in wrong.chunks(REBUILD_KEYS_MAX) {
                index.apply(some, None)?;
            }
            // The revision comes last: an index that tells it holds all that it covers.
            index.apply(&[], Some(rev))?;
            index.flush(disk)?;
        }
        Ok((index, how))
    }

    /// Removes the index in `dir`, which is closed. Crash within: the next start makes it anew.
    pub(super) fn remove(dir: &Path, disk: &Disk) -> Result<(), StoreError> {
        wait_until_free(&dir.join("db"));
        match fs::remove_dir_all(dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::Unavailable(error.into())),
            _ => Ok(disk.create_dirs(dir)?),
        }
    }

    /// Opens and reads everything.
    fn open(dir: &Path) -> Result<(Self, Map), StoreError> {
        let path = dir.join("db");
        wait_until_free(&path);
        let dir = dir.to_owned();
        bounded("opening the index", OPEN_TIME_MAX, move || {
            let db = sled::Config::new().path(&dir).cache_capacity(CACHE_BYTES).flush_every_ms(None).open()?;
            let all = db.iter().map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec()))).collect::<Result<_, _>>()?;
            let file = File::open(dir.join("db"))?;
            Ok((Self { db, file, path: dir.join("db") }, all))
        })
    }

    /// Makes the writes visible to readers.
    pub(super) fn apply(&self, writes: &[(Vec<u8>, Option<Vec<u8>>)], rev: Option<Rev>) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        for (key, value) in writes {
            match value {
                Some(value) => batch.insert(key.as_slice(), value.as_slice()),
                None => batch.remove(key.as_slice()),
            }
        }
        if let Some(rev) = rev {
            batch.insert(keys::REV, &rev.0.to_be_bytes());
        }
        let db = self.db.clone();
        bounded("writing to the index", COMMIT_TIME_MAX, move || Ok(db.apply_batch(batch)?))
    }

    /// Makes what was applied durable.
    pub(super) fn flush(&self, disk: &Disk) -> Result<(), StoreError> {
        let db = self.db.clone();
        bounded("flushing the index", COMMIT_TIME_MAX, move || Ok(db.flush()?))?;
        Ok(disk.sync_file(&self.file, &self.path)?)
    }
}

impl View for Index {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        caught(|| Ok(self.db.get(key)?.map(|value| value.to_vec())))
    }

    fn next(&self, from: &[u8], prefix: &[u8]) -> Result<Option<Pair>, StoreError> {
        caught(|| match self.db.range(from..).next().transpose()? {
            Some((key, value)) if key.starts_with(prefix) => Ok(Some((key.to_vec(), value.to_vec()))),
            _ => Ok(None),
        })
    }
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Index({})", self.path.display())
    }
}

type Failure = Box<dyn Error + Send + Sync>;

/// Runs `work` and makes a panic an error.
fn caught<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<T, StoreError> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => done.map_err(StoreError::Unavailable),
        Err(_) => Err(StoreError::Unavailable("the index panicked".into())),
    }
}

/// Runs `work` on a thread of its own: it may panic, and after damage it may wait for a thread that is gone.
fn bounded<T: Send + 'static>(
    what: &'static str,
    time_max: Duration,
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, StoreError> {
    let (tell, told) = mpsc::sync_channel(1);
    std::thread::Builder::new()
        .name("modgate-index".to_owned())
        .spawn(move || tell.send(caught(work)))
        .map_err(|e| StoreError::Unavailable(e.into()))?;
    told.recv_timeout(time_max)
        .unwrap_or_else(|_| Err(StoreError::Unavailable(format!("{what} took longer than {} s", time_max.as_secs()).into())))
}

/// Waits until sled's lock on its file is free. We hold the data directory's lock, so it can only be our own, of an index closed before.
fn wait_until_free(path: &Path) {
    let Ok(file) = File::open(path) else { return };
    let mut waited = Duration::ZERO;
    while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() && waited < RELEASE_TIME_MAX {
        std::thread::sleep(RELEASE_POLL);
        waited += RELEASE_POLL;
    }
}

/// Renames the folder and makes an empty one.
fn set_aside(dir: &Path, disk: &Disk) -> Result<PathBuf, StoreError> {
    let name = format!("{}.corrupt-{}", dir.file_name().unwrap_or_default().to_string_lossy(), unix_now());
    let free = (0u32..).map(|n| dir.with_file_name(if n == 0 { name.clone() } else { format!("{name}-{n}") })).find(|to| !to.exists());
    let aside = free.ok_or_else(|| StoreError::Unavailable(io::Error::from(io::ErrorKind::AlreadyExists).into()))?;
    if let Err(error) = fs::metadata(dir)
        && error.kind() == io::ErrorKind::NotFound
    {
        disk.create_dirs(dir)?;
    }
    disk.rename(dir, &aside)?;
    disk.create_dirs(dir)?;
    Ok(aside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_the_engine_is_an_error() {
        let panics = || -> Result<(), Failure> { std::panic::resume_unwind(Box::new("as sled does")) };
        assert!(matches!(caught(panics), Err(StoreError::Unavailable(_))));
        assert!(matches!(bounded("a test", COMMIT_TIME_MAX, panics), Err(StoreError::Unavailable(_))));
    }

    #[test]
    fn an_engine_that_hangs_is_an_error() {
        let (stop, stopped) = mpsc::channel::<()>();
        let hangs = move || stopped.recv().map_err(Failure::from);
        let error = bounded("a test", Duration::from_millis(1), hangs).unwrap_err();
        assert!(error.to_string().contains("a test took longer"), "{error}");
        drop(stop);
    }

    #[test]
    fn an_index_can_be_opened_again_as_soon_as_it_was_closed() {
        let dir = tempfile::tempdir().unwrap();
        for n in 0..20u64 {
            let told = Map::from([(b"vkey".to_vec(), n.to_be_bytes().to_vec())]);
            let (index, how) = Index::reconcile(dir.path(), &Disk::default(), &told, Rev(n), |_, _, _| Ok(())).unwrap();
            assert!(how.set_aside.is_none());
            assert_eq!(index.get(b"vkey").unwrap(), Some(n.to_be_bytes().to_vec()));
        }
    }
}
