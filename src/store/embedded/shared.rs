//! What the committer and readers share: the index, and what was last read from it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;

use super::effects::{Map, Pair, View, Writes, all, decode, keys, seal, version};
use super::event::StoredVersion;
use super::files::Files;
use super::sled::Index;
use crate::durable::Disk;
use crate::module::ModulePath;
use crate::store::{HostedIndex, HostedModule, Rev, StoreError, VersionRecord};

/// How much of hosted modules is kept decoded, bytes, about.
const MODULES_BYTES_MAX: u64 = 16 << 20;
/// What a decoded version takes, about.
const VERSION_BYTES: usize = 700;
/// How many sealed versions are remembered to be so.
const SEALED_MAX: u64 = 100_000;

/// What the committer shows to readers.
pub(super) struct Shared {
    /// The index. Written to under the write lock alone, so that what a reader puts into `modules` under the read lock is not older
    /// than what was taken out of it.
    index: RwLock<Held>,
    /// Reading the index failed since it was last put right.
    suspect: AtomicBool,
    hosted: RwLock<Arc<HostedIndex>>,
    pub(super) changes: watch::Sender<Rev>,
    /// Modules as last read.
    pub(super) modules: moka::sync::Cache<ModulePath, Arc<HostedModule>>,
    /// Live versions known to be sealed, by their revision.
    pub(super) sealed: moka::sync::Cache<Rev, ()>,
    pub(super) files: Arc<Files>,
}

impl Shared {
    pub(super) fn new(index: Index, hosted: Arc<HostedIndex>, files: Arc<Files>) -> Self {
        let weigh = |_: &ModulePath, module: &Arc<HostedModule>| {
            u32::try_from(module.versions.len().saturating_mul(VERSION_BYTES)).unwrap_or(u32::MAX)
        };
        Self {
            index: RwLock::new(Held::Sled(index)),
            suspect: AtomicBool::new(false),
            changes: watch::Sender::new(hosted.rev),
            hosted: RwLock::new(hosted),
            modules: moka::sync::Cache::builder().weigher(weigh).max_capacity(MODULES_BYTES_MAX).build(),
            sealed: moka::sync::Cache::new(SEALED_MAX),
            files,
        }
    }

    /// Reads the index. An error wakes the committer, to put the index right.
    pub(super) fn read<T>(&self, read: impl FnOnce(&dyn View) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let done = read(&*index);
        if done.is_err() {
            self.suspect.store(true, Ordering::Release);
            self.files.wake();
        }
        done
    }

    /// Whether reading the index failed since the last call.
    pub(super) fn take_suspicion(&self) -> bool {
        self.suspect.swap(false, Ordering::AcqRel)
    }

    /// Writes a batch to the index and makes it durable. `touched`: paths whose versions it changes; `gone`: versions that it deletes.
    pub(super) fn commit(
        &self,
        disk: &Disk,
        writes: &Writes,
        rev: Rev,
        touched: &[&ModulePath],
        gone: &[StoredVersion],
    ) -> Result<(), StoreError> {
        {
            let index = self.index.write().unwrap_or_else(PoisonError::into_inner);
            index.sled()?.apply(writes, Some(rev))?;
            touched.iter().for_each(|path| self.modules.invalidate(*path));
            gone.iter().for_each(|stored| self.sealed.invalidate(&stored.record.rev));
        }
        self.index.read().unwrap_or_else(PoisonError::into_inner).sled()?.flush(disk)
    }

    /// Replaces the index by what `open` makes, while readers wait. If it fails, they read `told` from now on, unless that is damaged:
    /// then nothing can be read.
    pub(super) fn replace<T>(&self, told: Map, open: impl FnOnce() -> Result<(Index, T), StoreError>) -> Result<T, StoreError> {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        // The old one goes first: sled locks its file.
        *index = Held::Memory(told);
        self.modules.invalidate_all();
        self.sealed.invalidate_all();
        match open() {
            Ok((new, with)) => {
                *index = Held::Sled(new);
                Ok(with)
            }
            Err(error) => {
                if matches!(error, StoreError::Corrupt(_)) {
                    *index = Held::Nowhere;
                }
                Err(error)
            }
        }
    }

    /// What is hosted and claimed.
    pub(super) fn hosted(&self) -> Arc<HostedIndex> {
        Arc::clone(&self.hosted.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Shows a new state of what is hosted and claimed.
    pub(super) fn show(&self, index: Arc<HostedIndex>) {
        let rev = index.rev;
        *self.hosted.write().unwrap_or_else(PoisonError::into_inner) = index;
        self.changes.send_if_modified(|shown| std::mem::replace(shown, rev) != rev);
    }
}

/// Where the index is.
enum Held {
    /// Where it belongs.
    Sled(Index),
    /// In memory, to be read, while sled can be neither used nor made anew: a full disk must not end reading.
    Memory(Map),
    /// What `records/` tells contradicts the index: neither is to be believed.
    Nowhere,
}

impl Held {
    fn sled(&self) -> Result<&Index, StoreError> {
        match self {
            Self::Sled(index) => Ok(index),
            Self::Memory(_) | Self::Nowhere => Err(StoreError::Unavailable("the index cannot be written".into())),
        }
    }
}

impl View for Held {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self {
            Self::Sled(index) => index.get(key),
            Self::Memory(index) => View::get(index, key),
            Self::Nowhere => Err(unreadable()),
        }
    }

    fn next(&self, from: &[u8], prefix: &[u8]) -> Result<Option<Pair>, StoreError> {
        match self {
            Self::Sled(index) => index.next(from, prefix),
            Self::Memory(index) => index.next(from, prefix),
            Self::Nowhere => Err(unreadable()),
        }
    }
}

fn unreadable() -> StoreError {
    StoreError::Unavailable("records/ and the index contradict each other".into())
}

impl Shared {
    /// All versions of a path; none if there are none.
    pub(super) fn module(&self, path: &ModulePath) -> Result<Option<Arc<HostedModule>>, StoreError> {
        self.read(|index| {
            let prefix = keys::versions_of(path);
            let decoded = all(index, &prefix)?.into_iter().map(|(_, value)| Ok(decode::<StoredVersion>(&value)?.record));
            let mut versions = decoded.collect::<Result<Vec<VersionRecord>, StoreError>>()?;
            versions.sort_by(|a, b| a.version.cmp(&b.version));
            let Some(owner) = versions.first().map(|record| record.owner.clone()) else { return Ok(None) };
            let module = Arc::new(HostedModule { owner, versions });
            // Still under the index's read lock: see `Shared::index`.
            self.modules.insert(path.clone(), Arc::clone(&module));
            Ok(Some(module))
        })
    }

    /// Whether this very version is hosted and sealed; remembers it.
    pub(super) fn is_sealed(&self, record: &VersionRecord) -> Result<bool, StoreError> {
        self.read(|index| {
            let here = version(index, &record.path, &record.version)?.is_some_and(|here| here.record == *record);
            let is = here && seal(index, &record.path, &record.version)?.is_some();
            if is {
                // Still under the index's read lock: see `Shared::index`.
                self.sealed.insert(record.rev, ());
            }
            Ok(is)
        })
    }

    /// All values whose key begins so.
    pub(super) fn all<T: serde::de::DeserializeOwned>(&self, prefix: &[u8]) -> Result<Vec<T>, StoreError> {
        self.read(|index| all(index, prefix)?.iter().map(|(_, value)| decode(value)).collect())
    }
}

/// The index with a batch's effects.
pub(super) struct Overlaid<'a> {
    pub(super) index: &'a dyn View,
    pub(super) overlay: &'a BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl View for Overlaid<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.overlay.get(key).map_or_else(|| self.index.get(key), |value| Ok(value.clone()))
    }

    fn next(&self, from: &[u8], prefix: &[u8]) -> Result<Option<Pair>, StoreError> {
        let mut from = from.to_vec();
        loop {
            let over = self.overlay.range(from.clone()..).next().filter(|(key, _)| key.starts_with(prefix));
            let under = self.index.next(&from, prefix)?;
            match (over, under) {
                (Some((key, value)), under) if under.as_ref().is_none_or(|(below, _)| key <= below) => match value {
                    Some(value) => return Ok(Some((key.clone(), value.clone()))),
                    None => from = [key.as_slice(), b"\0"].concat(),
                },
                (_, under) => return Ok(under),
            }
        }
    }
}
