//! `blobs/`: the bytes of hosted modules, a file each, named by its SHA-256.
//!
//! A blob is durable before a record names it, and outlives the last record that does. In between it is pinned.
//! Only the committer removes blobs, between its batches, so that no record can come to name one that is being removed.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tempfile::TempPath;

use crate::durable::Disk;
use crate::store::hex::{hex, unhex};
use crate::store::{BlobId, StoreError};

/// The folder.
pub(super) struct Files {
    dir: PathBuf,
    tmp: PathBuf,
    disk: Disk,
    pins: Mutex<Pins>,
    /// Called when a pin goes and leaves work for [`Files::garbage`].
    wake: Box<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct Pins {
    /// How often a blob is pinned, by SHA-256: that is its name.
    held: HashMap<[u8; 32], usize>,
    /// Blobs that lost their last pin and may have no record.
    dropped: Vec<BlobId>,
}

/// A blob cannot be removed as long as this lives.
pub(super) struct Pinned {
    files: Arc<Files>,
    id: BlobId,
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let mut pins = self.files.pins();
        let Some(count) = pins.held.get_mut(&self.id.sha256) else { return };
        *count -= 1;
        if *count == 0 {
            pins.held.remove(&self.id.sha256);
            pins.dropped.push(self.id);
            drop(pins);
            (self.files.wake)();
        }
    }
}

impl Files {
    pub(super) fn new(dir: PathBuf, tmp: PathBuf, disk: Disk, wake: Box<dyn Fn() + Send + Sync>) -> Self {
        Self { dir, tmp, disk, pins: Mutex::default(), wake }
    }

    fn pins(&self) -> MutexGuard<'_, Pins> {
        self.pins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the committer.
    pub(super) fn wake(&self) {
        (self.wake)();
    }

    /// Where a blob is.
    pub(super) fn file(&self, id: &BlobId) -> PathBuf {
        self.dir.join(name(id))
    }

    /// Keeps a blob, there or not, from being removed.
    pub(super) fn pin(self: &Arc<Self>, id: BlobId) -> Pinned {
        *self.pins().held.entry(id.sha256).or_default() += 1;
        Pinned { files: Arc::clone(self), id }
    }

    /// Whether it is pinned.
    pub(super) fn is_pinned(&self, id: &BlobId) -> bool {
        self.pins().held.contains_key(&id.sha256)
    }

    /// Blobs that were unpinned since the last call.
    pub(super) fn garbage(&self) -> Vec<BlobId> {
        std::mem::take(&mut self.pins().dropped)
    }

    /// Leaves a blob to the next look at the garbage.
    pub(super) fn try_again(&self, id: &BlobId) {
        self.pins().dropped.push(*id);
    }

    /// A new file in `tmp/`.
    pub(super) fn stage(&self) -> Result<(File, TempPath), StoreError> {
        Ok(self.disk.stage(&self.tmp)?.into_parts())
    }

    /// Makes a staged file a blob. One that is there is replaced: these bytes were hashed just now, those may have rotted.
    pub(super) fn put(self: &Arc<Self>, id: BlobId, file: &File, staged: TempPath) -> Result<Pinned, StoreError> {
        let len = file.metadata().map_err(|e| StoreError::Unavailable(e.into()))?.len();
        if len != id.len {
            return Err(StoreError::Corrupt(format!("the staged file has {len} bytes, not {}", id.len)));
        }
        // Before there is anything to remove.
        let pin = self.pin(id);
        self.disk.persist(file, staged, &self.file(&id))?;
        Ok(pin)
    }

    /// Opens a blob; `None`: it is not there.
    pub(super) fn open(&self, id: &BlobId) -> Result<Option<File>, StoreError> {
        let file = match File::open(self.file(id)) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(StoreError::Unavailable(e.into())),
        };
        let len = file.metadata().map_err(|e| StoreError::Unavailable(e.into()))?.len();
        if len != id.len {
            return Err(StoreError::Corrupt(format!("blobs/{} has {len} bytes, not {}", name(id), id.len)));
        }
        Ok(Some(file))
    }

    /// Removes a blob unless it is pinned; the caller knows that no record names it. Whether it went.
    pub(super) fn remove(&self, id: &BlobId) -> Result<bool, StoreError> {
        let pins = self.pins();
        let path = self.file(id);
        if pins.held.contains_key(&id.sha256) || !path.exists() {
            return Ok(false);
        }
        // Under the lock: a put pins first and renames then. It may come back after a power failure; the next start removes it.
        self.disk.unlink(&path)?;
        Ok(true)
    }

    /// Every file in the folder, with what it would be a blob of.
    pub(super) fn list(&self) -> Result<Vec<(PathBuf, Option<BlobId>)>, StoreError> {
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(|e| StoreError::Unavailable(e.into()))? {
            let entry = entry.map_err(|e| StoreError::Unavailable(e.into()))?;
            let len = match entry.metadata() {
                Ok(metadata) => metadata.len(),
                // Removed meanwhile.
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(StoreError::Unavailable(e.into())),
            };
            let sha256 = entry.file_name().to_str().and_then(unhex);
            all.push((entry.path(), sha256.map(|sha256| BlobId { sha256, len })));
        }
        Ok(all)
    }
}

/// The file name of a blob.
pub(super) fn name(id: &BlobId) -> String {
    hex(&id.sha256)
}
