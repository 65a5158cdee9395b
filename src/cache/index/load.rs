//! Filling the index at a start, while it serves already.
//!
//! After a clean stop the snapshot holds all there is. It is believed a frame at a time, as it is read. Otherwise every file is looked
//! at, those as well that a snapshot told of before it broke off; and what no cache writes is removed: what is no regular file, a
//! sidecar without its file (a crash between the two renames), an empty folder. Then the order of use is put right from the snapshot
//! and the journal, whatever they are worth.

use std::ffi::OsStr;
use std::fs::{self, DirEntry};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::cache::place::whose_sidecar;

use super::shard::Entry;
use super::{Index, SHARDS, lock, recency, snapshot};

impl Index {
    /// Fills the index, and comes down to the bound. Ends early when the index is being closed.
    pub(super) fn load(&self) {
        let started = Instant::now();
        let folder = lock(&self.recency).folder().to_owned();
        let trusted = lock(&self.state).clean().filter(|_| self.trusted);
        let from = match trusted.map(|generation| self.load_snapshot(&folder, generation)) {
            Some(Ok(true)) => "snapshot",
            Some(_) => {
                tracing::warn!("the snapshot of the cache's index is missing or damaged: every file is looked at");
                let whole = self.look_again();
                self.load_by_scan(whole);
                "scan"
            }
            None => {
                self.load_by_scan(true);
                "scan"
            }
        };
        if self.is_stopping() {
            return;
        }
        if let Err(error) = self.load_recency(&folder, from == "scan") {
            tracing::warn!(%error, "the order of use in the cache is not known");
        }
        self.restore_order();
        self.complete.store(true, Ordering::Release);
        self.shards.iter().for_each(|cell| cell.lock().gone = Default::default());
        self.make_room(0, 0);
        self.bound_absences();
        self.better_ceiling();
        let usage = self.usage();
        let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(from, files = usage.entries, bytes = usage.bytes, ms, "the cache's index is complete");
        *lock(&self.loaded) = true;
        self.loading_ended.notify_all();
    }

    /// Whether the snapshot of this generation is there and whole.
    fn load_snapshot(&self, folder: &Path, generation: u64) -> io::Result<bool> {
        let whole = snapshot::read(folder, Some(generation), |batch| {
            if !self.is_stopping() {
                self.believe(batch);
            }
        })?;
        if whole {
            self.ledger().all_seen();
        }
        Ok(whole)
    }

    /// Makes entries of these, but for keys that changed since the start. Each shard is locked once: there may be millions.
    fn believe(&self, batch: &[(&str, Entry)]) {
        let newest = batch.iter().map(|(_, entry)| entry.used).max().unwrap_or(0);
        self.clock.fetch_max(newest, Ordering::Relaxed);
        let mut of_shards: [Vec<(u64, &str, Entry)>; SHARDS] = Default::default();
        for (key, entry) in batch {
            let hash = self.hash(key);
            of_shards[Self::shard_of(hash)].push((hash, key, *entry));
        }
        let mut busy = Vec::new();
        for (cell, records) in self.shards.iter().zip(of_shards) {
            let mut state = cell.lock();
            let (mut entries, mut bytes) = (0, 0);
            for (hash, key, entry) in records {
                if state.busy.contains(key) {
                    busy.push((key, entry));
                } else if state.shard.find(hash, key).is_none()
                    && !state.gone.contains(key)
                    && let Some(slot) = state.shard.insert(hash, key, entry, |key| self.hash(key))
                {
                    // Live: it frees nothing.
                    state.shard.release(slot, false);
                    (entries, bytes) = (entries + 1, bytes + entry.bytes);
                }
            }
            // Before anyone can evict them.
            self.ledger().found(bytes, entries);
        }
        for (key, entry) in busy {
            let mut held = self.hold(key);
            if !held.is_entry() && !held.is_gone() {
                self.found(&mut held, entry, false);
            }
        }
    }

    /// Looks at the files of all entries that there are; false if one cannot be looked at.
    fn look_again(&self) -> bool {
        let mut whole = true;
        for key in self.keys(|_| true) {
            if self.is_stopping() {
                return false;
            }
            whole &= self.look_at_entry(&key).unwrap_or_else(|error| {
                tracing::warn!(file = key, %error, "cannot look at a cached file");
                false
            });
        }
        whole
    }

    /// Puts an entry right by its file. False: there is no room for its key.
    fn look_at_entry(&self, key: &str) -> io::Result<bool> {
        let mut held = self.hold(key);
        let known = held.entry();
        let seen = self.look_at(key)?;
        if known.map(|known| known.bytes) == seen.map(|seen| seen.bytes) {
            return Ok(true);
        }
        held.remove_entry();
        match seen {
            Some(entry) => Ok(self.found(&mut held, entry, false)),
            None => Ok(true),
        }
    }

    /// `whole`: nothing could not be looked at so far.
    fn load_by_scan(&self, mut whole: bool) {
        self.scan(&self.root, &mut whole);
        if whole && !self.is_stopping() {
            self.ledger().all_seen();
        }
    }

    /// Adopts the files under `dir`; true if none are left in it. `whole` becomes false where something could not be looked at:
    /// what may be there stays counted.
    fn scan(&self, dir: &Path, whole: &mut bool) -> bool {
        let mut folders = Vec::new();
        let mut empty = true;
        let listed = fs::read_dir(dir).and_then(|items| {
            for item in items {
                if self.is_stopping() {
                    break;
                }
                let item = item?;
                if item.file_type()?.is_dir() {
                    folders.push(item.path());
                } else {
                    *whole &= self.scan_file(&item, &mut empty);
                }
            }
            Ok(())
        });
        if let Err(error) = listed
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(dir = %dir.display(), %error, "cannot look at a folder of the cache");
            *whole = false;
            return false;
        }
        for folder in folders {
            if self.is_stopping() {
                return false;
            }
            // The top folders are the layout's own.
            let gone = self.scan(&folder, whole) && dir != self.root && self.remove_folder(&folder);
            empty &= gone;
        }
        empty
    }

    /// False: it cannot be looked at.
    fn scan_file(&self, item: &DirEntry, empty: &mut bool) -> bool {
        let regular = item.file_type().is_ok_and(|kind| kind.is_file());
        let Some(key) = self.key_of(&item.path()).filter(|_| regular) else {
            return fs::remove_file(item.path()).is_ok();
        };
        let Some(file) = whose_sidecar(&key) else {
            *empty = false;
            return self.adopt(&key, false).unwrap_or_else(|error| {
                tracing::warn!(file = key, %error, "cannot look at a cached file");
                false
            });
        };
        // With the file's key in hand: it may be getting its name this moment.
        let _held = self.hold(&file);
        if self.path(&file).exists() {
            *empty = false;
            return true;
        }
        fs::remove_file(item.path()).is_ok()
    }

    fn key_of(&self, path: &Path) -> Option<String> {
        let parts: Option<Vec<&str>> = path.strip_prefix(&self.root).ok()?.iter().map(OsStr::to_str).collect();
        Some(parts?.join("/"))
    }

    /// What was used when, and what upstream has no more: from the snapshot, if that was not read yet, and the journal.
    fn load_recency(&self, folder: &Path, from_snapshot: bool) -> io::Result<()> {
        let learn = |key: &str, entry: Entry| {
            self.clock.fetch_max(entry.used, Ordering::Relaxed);
            let hash = self.hash(key);
            let mut state = self.cell(hash).lock();
            if let Some(slot) = state.shard.find(hash, key) {
                state.shard.learn(slot, entry.used, entry.last_copy);
            }
        };
        if from_snapshot {
            snapshot::read(folder, None, |batch| batch.iter().for_each(|(key, entry)| learn(key, *entry)))?;
        }
        recency::read(folder, learn)?;
        Ok(())
    }

    /// Notes a ceiling that is nearer, if the one that stands there is far off.
    fn better_ceiling(&self) {
        let mut state = lock(&self.state);
        let Some(ceiling) = self.ledger().better_ceiling() else { return };
        match state.set_ceiling(ceiling) {
            Ok(()) => self.ledger().set_ceiling(ceiling),
            Err(error) => tracing::warn!(%error, "cannot note how much the cache may come to"),
        }
    }

    /// Files below the root that neither are an entry's nor its sidecar.
    pub(crate) fn strays(&self) -> Vec<PathBuf> {
        let mut strays = Vec::new();
        let mut folders = vec![self.root.clone()];
        while let Some(dir) = folders.pop() {
            for item in fs::read_dir(&dir).into_iter().flatten().flatten() {
                match item.file_type() {
                    Ok(kind) if kind.is_dir() => folders.push(item.path()),
                    Ok(_) if self.with_owner(&item.path(), |owned| !owned) => strays.push(item.path()),
                    _ => {}
                }
            }
        }
        strays
    }

    /// Removes such a file, unless it has become an entry's; whether it is gone. Blocks on the disk.
    pub(crate) fn remove_stray(&self, path: &Path) -> bool {
        self.with_owner(path, |owned| !owned && fs::remove_file(path).is_ok())
    }

    /// Tells whether a file belongs to an entry, which nobody changes meanwhile.
    fn with_owner<T>(&self, path: &Path, tell: impl FnOnce(bool) -> T) -> T {
        match self.key_of(path).map(|key| whose_sidecar(&key).unwrap_or(key)) {
            Some(key) => tell(self.hold(&key).is_entry()),
            None => tell(false),
        }
    }
}
