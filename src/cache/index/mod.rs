//! What is on disk, in the order of last use, and how much of it there may be.
//!
//! Promise: the lengths of all files under the root, and of what is staged for them, never sum to more than the bound.
//! Bytes are reserved before they are written, and room is made before they are reserved: files are unlinked, oldest
//! use first, last copies last, and only then are their bytes given out again. Last copies beyond half of the bound go
//! before all else: they come back from nowhere, so that nothing else would ever take their place. What is being read is
//! leased: it is not evicted, and if it loses its name all the same its bytes stay counted until the last reader lets go.
//! The number of entries is bounded too, by one for 16 KiB of the bound and 1024 at least: small ones exhaust neither
//! inodes nor memory. Absences are at most an eighth of them: anyone can make up what is not there.
//!
//! At a start the index is empty and is filled by a thread (`load.rs`), from the snapshot of a clean stop or by a scan.
//! Meanwhile look-ups adopt what they find under its name, and everything that was not come across yet counts as much
//! as the journal says that it can be (`state.rs`). The order of use is written down every second (`recency.rs`).
//!
//! Locks: a shard's, then the ledger's; never two shards'. Nothing blocks on the disk while holding one of them. That of the folders is
//! taken last, with none of these.

mod change;
mod frames;
mod ledger;
mod load;
mod names;
mod recency;
mod reservation;
mod room;
mod shard;
mod snapshot;
mod state;
mod upkeep;

use std::collections::HashSet;
use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::durable::Disk;

use ledger::Ledger;
use recency::Recency;
pub use reservation::{Lease, Reservation};
use room::FreeSpace;
use shard::{Order, Shard, SlotId, Tally};
use state::State;
pub use upkeep::Upkeep;

/// Where corrupt files go.
pub(crate) const ASIDE: &str = "aside";
/// Shards: more than there are threads that look up at once.
const SHARDS: usize = 16;

/// How much may be kept.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// All files together, bytes.
    pub bytes_max: u64,
    /// The file system keeps so much free, bytes.
    pub free_min: u64,
}

/// The index. A key is a file's path relative to the root, with `/`.
pub struct Index {
    root: PathBuf,
    disk: Disk,
    shards: Vec<ShardCell>,
    hasher: RandomState,
    ledger: Mutex<Ledger>,
    /// Taken before the ledger's lock, and held while its file is written.
    state: Mutex<State>,
    recency: Mutex<Recency>,
    free: FreeSpace,
    /// The last stamp that was given out: microseconds since 1970.
    clock: AtomicU64,
    /// Read for as long as a file is being added; false from the snapshot of a clean stop on.
    open: RwLock<bool>,
    /// Read while an empty folder is removed, written while none may be. What blocks on the disk is all that it is for.
    folders: RwLock<()>,
    loaded: Mutex<bool>,
    loading_ended: Condvar,
    /// Whether the state says that the snapshot is all there is, and nobody emptied the cache since.
    trusted: bool,
    /// A copy of `loaded`, for look-ups.
    complete: AtomicBool,
    stopping: AtomicBool,
    /// Whether an entry went since the start.
    removed: AtomicBool,
    counts: Counts,
}

/// Events since the start.
#[derive(Default)]
struct Counts {
    evicted: AtomicU64,
    evicted_bytes: AtomicU64,
    corrupt: AtomicU64,
}

struct ShardCell {
    state: Mutex<ShardState>,
    idle: Condvar,
}

struct ShardState {
    shard: Shard,
    /// Keys whose files are being renamed or unlinked.
    busy: HashSet<Box<str>>,
    /// While loading: keys that had a file and have none any more, whatever the snapshot says.
    gone: HashSet<Box<str>>,
}

/// How much is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Files. While the index is being loaded: those that were come across.
    pub entries: u64,
    /// Bytes of files and of what is being filled. While the index is being loaded: an upper bound of them.
    pub bytes: u64,
    /// What they may be at most.
    pub bytes_max: u64,
    /// Files that upstream has no more; of `entries`.
    pub last_copies: u64,
    /// Files that had to go for others since the start.
    pub evicted: u64,
    /// Their bytes.
    pub evicted_bytes: u64,
    /// Files that were not what they should be, since the start.
    pub corrupt: u64,
    /// Whether the index knows every file.
    pub complete: bool,
}

impl Index {
    /// An index of what is under `root`; it knows nothing of it until [`Upkeep`] has loaded it. Its own files are in
    /// `folder`, which is made if need be.
    ///
    /// # Errors
    ///
    /// A folder cannot be made or read.
    pub fn open(root: &Path, folder: &Path, disk: Disk, bounds: Bounds) -> io::Result<Self> {
        let state = State::open(folder, &disk)?;
        let is_empty = fs::read_dir(root)?.next().is_none();
        let unseen = match state.ceiling() {
            _ if is_empty => 0,
            Some(ceiling) => ceiling,
            // Whatever there is, it must not become more.
            None => bounds.bytes_max,
        };
        let ceiling = if state.clean().is_some() { 0 } else { state.ceiling().unwrap_or(0) };
        let trusted = state.clean().is_some() && !is_empty;
        let cell = || ShardCell {
            state: Mutex::new(ShardState { shard: Shard::default(), busy: HashSet::new(), gone: HashSet::new() }),
            idle: Condvar::new(),
        };
        Ok(Self {
            root: root.to_owned(),
            disk: disk.clone(),
            shards: (0..SHARDS).map(|_| cell()).collect(),
            hasher: RandomState::new(),
            ledger: Mutex::new(Ledger::new(bounds.bytes_max, unseen, ceiling)),
            state: Mutex::new(state),
            recency: Mutex::new(Recency::new(folder, disk)),
            free: FreeSpace::new(bounds.free_min),
            clock: AtomicU64::new(0),
            open: RwLock::new(true),
            folders: RwLock::new(()),
            loaded: Mutex::new(false),
            loading_ended: Condvar::new(),
            trusted,
            complete: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            removed: AtomicBool::new(false),
            counts: Counts::default(),
        })
    }

    fn hash(&self, key: &str) -> u64 {
        self.hasher.hash_one(key)
    }

    /// The shard of a hash. The table takes the lowest and the highest bits.
    fn cell(&self, hash: u64) -> &ShardCell {
        &self.shards[Self::shard_of(hash)]
    }

    fn shard_of(hash: u64) -> usize {
        (hash >> 32) as usize % SHARDS
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    /// Now, and later than any use before.
    fn now(&self) -> u64 {
        let now = micros(SystemTime::now());
        let later = |last: u64| Some(now.max(last + 1));
        self.clock.fetch_update(Ordering::Relaxed, Ordering::Relaxed, later).map_or(now, |last| now.max(last + 1))
    }

    /// Where the file of a key lies.
    pub fn path(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }

    /// If the key is there: its file, kept from eviction while the lease lives; it counts as used now. Blocks on the
    /// disk while the index is being loaded.
    ///
    /// # Errors
    ///
    /// Whether it is there cannot be told: it cannot be looked at.
    pub fn lease(self: &Arc<Self>, key: &str) -> io::Result<Option<Lease>> {
        let known = self.lease_known(key, true);
        if known.is_some() || self.is_complete() {
            return Ok(known);
        }
        self.adopt(key, true)?;
        Ok(self.lease_known(key, true))
    }

    /// As [`Index::lease`], of what is known, and without waiting; `used`: it counts as used now.
    fn lease_known(self: &Arc<Self>, key: &str, used: bool) -> Option<Lease> {
        let hash = self.hash(key);
        let mut state = self.cell(hash).lock();
        let slot = state.shard.find(hash, key)?;
        if !state.busy.is_empty() && state.busy.contains(key) {
            return None;
        }
        if used {
            state.shard.lease(slot, self.now());
        } else {
            state.shard.pin(slot);
        }
        let bytes = state.shard.entry(slot).bytes;
        Some(Lease::new(self.clone(), hash, slot, bytes))
    }

    /// Whether the key is known to be there; it counts as used now. Never waits: while the index is being loaded, what it did not
    /// come across yet is not known.
    pub(crate) fn is_known(self: &Arc<Self>, key: &str) -> bool {
        self.lease_known(key, true).is_some()
    }

    /// Has the key's file be read again, though it could not be.
    pub(crate) fn try_again(&self, key: &str) {
        let hash = self.hash(key);
        let mut state = self.cell(hash).lock();
        if let Some(slot) = state.shard.find(hash, key) {
            state.shard.set_unreadable(slot, false);
        }
    }

    /// A lease that does not count as use, once all files are known. Many of them shuffle the order of use, until
    /// [`Index::restore_order`].
    pub(crate) fn watch(self: &Arc<Self>, key: &str) -> Option<Lease> {
        self.lease_known(key, false)
    }

    /// Puts the entries into the order of their last use again.
    pub(crate) fn restore_order(&self) {
        self.shards.iter().for_each(|cell| cell.lock().shard.sort());
    }

    /// Notes that upstream has, or has no more, what is kept under this key. It is written down within a second or so.
    pub(crate) fn set_last_copy(&self, key: &str, last_copy: bool) {
        if !self.is_complete()
            && let Err(error) = self.adopt(key, true)
        {
            tracing::warn!(file = key, %error, "cannot look at a cached file");
        }
        let hash = self.hash(key);
        let mut state = self.cell(hash).lock();
        if let Some(slot) = state.shard.find(hash, key) {
            state.shard.set_last_copy(slot, last_copy);
        }
    }

    /// The keys that are wanted, a shard at a time: there may be millions. What comes or goes meanwhile may be missed.
    pub(crate) fn keys(&self, wanted: impl Fn(&str) -> bool) -> impl Iterator<Item = String> {
        let of = move |cell: &ShardCell| {
            let state = cell.lock();
            state.shard.entries().filter(|(key, _)| wanted(key)).map(|(key, _)| key.to_owned()).collect::<Vec<_>>()
        };
        self.shards.iter().flat_map(of)
    }

    /// The keys of one shard that are wanted; none where there is no such shard.
    pub(crate) fn keys_of_shard(&self, shard: usize, wanted: impl Fn(&str) -> bool) -> Option<Vec<String>> {
        let state = self.shards.get(shard)?.lock();
        Some(state.shard.entries().filter(|(key, _)| wanted(key)).map(|(key, _)| key.to_owned()).collect())
    }

    /// Whether there are last copies, as far as is known.
    pub(crate) fn has_last_copies(&self) -> bool {
        self.tally(Order::LastCopy).entries > 0
    }

    fn tally(&self, order: Order) -> Tally {
        let mut sum = Tally::default();
        self.shards.iter().for_each(|cell| sum += cell.lock().shard.tally(order));
        sum
    }

    /// The last copies, with their bytes.
    pub(crate) fn last_copies(&self) -> Vec<(String, u64)> {
        let of = |cell: &ShardCell| {
            let state = cell.lock();
            let last = state.shard.entries().filter(|(_, entry)| entry.last_copy);
            last.map(|(key, entry)| (key.to_owned(), entry.bytes)).collect::<Vec<_>>()
        };
        self.shards.iter().flat_map(of).collect()
    }

    /// How much is there.
    pub fn usage(&self) -> Usage {
        let last_copies = self.tally(Order::LastCopy).entries;
        let (entries, bytes, bytes_max) = {
            let ledger = self.ledger();
            (ledger.entries(), ledger.used(), ledger.bytes_max())
        };
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Usage {
            entries,
            bytes,
            bytes_max,
            last_copies,
            evicted: count(&self.counts.evicted),
            evicted_bytes: count(&self.counts.evicted_bytes),
            corrupt: count(&self.counts.corrupt),
            complete: self.is_complete(),
        }
    }

    /// Whether it knows every file.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Acquire)
    }

    /// Waits until it knows every file, or is being closed.
    pub fn wait_complete(&self) {
        let mut loaded = lock(&self.loaded);
        while !*loaded && !self.is_stopping() {
            loaded = self.loading_ended.wait(loaded).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// As [`Index::wait_complete`], at most so long.
    fn wait_complete_for(&self, at_most: Duration) {
        let loading = |loaded: &mut bool| !*loaded && !self.is_stopping();
        drop(self.loading_ended.wait_timeout_while(lock(&self.loaded), at_most, loading).unwrap_or_else(PoisonError::into_inner));
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// A lease or a pin of a slot ended.
    fn release(&self, hash: u64, slot: SlotId) {
        let mut state = self.cell(hash).lock();
        if let Some(bytes) = state.shard.release(slot, true) {
            self.ledger().freed(bytes);
        }
    }
}

impl ShardCell {
    fn lock(&self) -> MutexGuard<'_, ShardState> {
        lock(&self.state)
    }
}

/// Nothing panics while holding one of these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether there is no such file.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Of removing: what is gone already is removed.
pub(super) fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(e) if is_gone(&e) => Ok(()),
        removed => removed,
    }
}

/// Microseconds since 1970.
fn micros(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
