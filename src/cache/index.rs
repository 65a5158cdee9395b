//! What is on disk, in the order of last use, and how much of it there may be.
//!
//! Promise: the lengths of all files under the root, and of what is staged for them, never sum to more than the bound.
//! Bytes are reserved before they are written, and room is made before they are reserved: files are unlinked, oldest
//! use first, and only then are their bytes given out again. A file that is being read is open; unlinking is harmless.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, DirEntry};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::durable::{Disk, DurableError};

use super::place::sidecar;

/// Where corrupt files go.
pub(crate) const ASIDE: &str = "aside";
/// Stamps count up from here, and down for what goes first.
const STAMP_FIRST: u64 = 1 << 32;

/// The index. A key is a file's path relative to the root, with `/`.
pub(crate) struct Index {
    root: PathBuf,
    disk: Disk,
    state: Mutex<State>,
    idle: Condvar,
}

struct State {
    bytes_max: u64,
    entries: HashMap<Arc<str>, Entry>,
    /// Keys by last use.
    order: BTreeMap<u64, Arc<str>>,
    stamp: u64,
    /// Bytes of entries and of reservations.
    used: u64,
    /// Of those, reservations.
    reserved: u64,
    /// Keys whose files are being renamed or unlinked.
    busy: HashSet<Arc<str>>,
    evicted: u64,
    corrupt: u64,
    /// The lowest stamp given out.
    oldest: u64,
}

struct Entry {
    /// Of the file and its sidecar.
    bytes: u64,
    stamp: u64,
}

/// How much is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Files.
    pub entries: u64,
    /// Bytes of files and of what is being filled.
    pub bytes: u64,
    /// Files that had to go for others since the start.
    pub evicted: u64,
    /// Files that were not what they should be, since the start.
    pub corrupt: u64,
}

impl State {
    fn new(bytes_max: u64) -> Self {
        Self {
            bytes_max,
            entries: HashMap::new(),
            order: BTreeMap::new(),
            stamp: STAMP_FIRST,
            used: 0,
            reserved: 0,
            busy: HashSet::new(),
            evicted: 0,
            corrupt: 0,
            oldest: STAMP_FIRST,
        }
    }

    fn insert(&mut self, key: Arc<str>, bytes: u64) {
        self.stamp += 1;
        self.insert_at(self.stamp, key, bytes);
    }

    fn insert_at(&mut self, stamp: u64, key: Arc<str>, bytes: u64) {
        self.order.insert(stamp, key.clone());
        self.entries.insert(key, Entry { bytes, stamp });
    }

    /// Takes the entry out; its bytes stay counted.
    fn take(&mut self, key: &str) -> Option<(Arc<str>, u64)> {
        let (key, entry) = self.entries.remove_entry(key)?;
        self.order.remove(&entry.stamp);
        Some((key, entry.bytes))
    }
}

impl Index {
    /// Reads what is under `root` and brings it within the bound. What no cache writes is removed: what is no
    /// regular file, and a sidecar without its file (a crash between the two renames).
    ///
    /// # Errors
    ///
    /// The folder cannot be read.
    pub(crate) fn load(root: &Path, disk: Disk, bytes_max: u64) -> io::Result<Self> {
        let mut found = Vec::new();
        scan(root, root, &mut found)?;
        found.sort_by(|a, b| a.used.cmp(&b.used).then_with(|| a.key.cmp(&b.key)));
        let mut state = State::new(bytes_max);
        for file in found {
            state.used += file.bytes;
            state.insert(file.key.into(), file.bytes);
        }
        let index = Self { root: root.to_owned(), disk, state: Mutex::new(state), idle: Condvar::new() };
        index.make_room(0);
        Ok(index)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while holding it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the file of a key lies.
    pub(crate) fn path(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }

    /// If the key is there, the bytes of its files; it counts as used now.
    pub(crate) fn touch(&self, key: &str) -> Option<u64> {
        let mut state = self.state();
        let (key, bytes) = state.take(key)?;
        state.insert(key, bytes);
        Some(bytes)
    }

    /// All keys.
    pub(crate) fn keys(&self) -> Vec<Arc<str>> {
        self.state().entries.keys().cloned().collect()
    }

    /// How much is there.
    pub(crate) fn usage(&self) -> Usage {
        let state = self.state();
        Usage { entries: state.entries.len() as u64, bytes: state.used, evicted: state.evicted, corrupt: state.corrupt }
    }

    /// Holds to another bound from now on. What is set aside already may stay above it until it is written or given back. Blocks on
    /// the disk.
    pub(crate) fn resize(&self, bytes_max: u64) {
        self.state().bytes_max = bytes_max;
        self.make_room(0);
    }

    /// Sets bytes aside if that needs nothing else to go. Never blocks on the disk.
    pub(crate) fn try_reserve(self: &Arc<Self>, bytes: u64) -> Option<Reservation> {
        let mut state = self.state();
        if state.used.checked_add(bytes)? > state.bytes_max {
            return None;
        }
        state.used += bytes;
        state.reserved += bytes;
        Some(Reservation { index: self.clone(), bytes })
    }

    /// Sets bytes aside, making room first. `None`: they do not fit, whatever goes. Blocks on the disk.
    pub(crate) fn reserve(self: &Arc<Self>, bytes: u64) -> Option<Reservation> {
        let mut reservation = Reservation { index: self.clone(), bytes: 0 };
        reservation.grow(bytes).then_some(reservation)
    }

    /// Unlinks, oldest use first, until `bytes` more would fit; whether they do. Others may take the room meanwhile.
    fn make_room(&self, bytes: u64) -> bool {
        // Each entry is tried once: what cannot be unlinked stays, and stays counted.
        let mut tried = 0;
        loop {
            let victim = {
                let mut state = self.state();
                let wanted = state.used.saturating_add(bytes);
                if wanted <= state.bytes_max {
                    return true;
                }
                let reachable = state.reserved.saturating_add(bytes) <= state.bytes_max;
                if (!reachable && bytes > 0) || tried > state.entries.len() {
                    return false;
                }
                let Some(key) = state.order.first_key_value().map(|(_, key)| key.clone()) else { return false };
                let taken = state.take(&key);
                state.busy.insert(key);
                taken
            };
            let Some((key, bytes_gone)) = victim else { return false };
            let gone = self.unlink(&key);
            let mut state = self.state();
            state.busy.remove(&key);
            match gone {
                Ok(()) => {
                    state.used -= bytes_gone;
                    state.evicted += 1;
                }
                Err(e) => {
                    tracing::warn!(file = %key, error = %e, "cannot remove a cached file to make room");
                    tried += 1;
                    state.insert(key, bytes_gone);
                }
            }
            drop(state);
            self.idle.notify_all();
        }
    }

    /// Removes the file and its sidecar; the file first, which alone makes an entry.
    fn unlink(&self, key: &str) -> Result<(), DurableError> {
        self.disk.unlink(&self.path(key))?;
        sidecar(key).map_or(Ok(()), |key| self.disk.unlink(&self.path(&key)))
    }

    /// After a failed placing: what stands there is the old file or the new one, each whole. Two files that belong
    /// together may not, so they go. The bytes of what stays; `bytes` if that cannot be known.
    fn salvage(&self, key: &str, bytes: u64) -> Option<u64> {
        if sidecar(key).is_some() {
            return self.unlink(key).is_err().then_some(bytes);
        }
        match fs::metadata(self.path(key)) {
            Ok(meta) => Some(meta.len()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(_) => Some(bytes),
        }
    }

    /// Removes an entry and its files. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// The file cannot be removed; it stays counted.
    pub(crate) fn remove(&self, key: &str) -> Result<(), DurableError> {
        let held = self.hold(key);
        let result = self.unlink(key);
        let kept = if result.is_err() { held.old_bytes } else { None };
        held.finish(kept, 0);
        result
    }

    /// Drops the entry of a file that somebody else removed. Blocks on the disk.
    pub(crate) fn forget_if_gone(&self, key: &str) {
        let held = self.hold(key);
        let gone = fs::metadata(self.path(key)).is_err_and(|e| e.kind() == io::ErrorKind::NotFound);
        if gone && let Some(beside) = sidecar(key) {
            // If it cannot go, the next start finds it.
            let _ = self.disk.unlink(&self.path(&beside));
        }
        let kept = if gone { None } else { held.old_bytes };
        held.finish(kept, 0);
    }

    /// Takes a file that is not what it should be out of the way, for people to look at, as the first to be evicted.
    /// Blocks on the disk.
    pub(crate) fn set_aside(&self, key: &str) {
        let held = self.hold(key);
        let aside = {
            let mut state = self.state();
            state.corrupt += 1;
            format!("{ASIDE}/{}-{}", state.oldest, key.rsplit('/').next().unwrap_or_default())
        };
        let to = self.path(&aside);
        let len = fs::metadata(self.path(key)).map_or(0, |m| m.len());
        let moved = self.disk.create_dirs(&self.root.join(ASIDE)).and_then(|()| self.disk.rename(&self.path(key), &to));
        let gone = match &moved {
            Ok(()) => sidecar(key).map_or(Ok(()), |key| self.disk.unlink(&self.path(&key))),
            Err(_) => self.unlink(key),
        };
        if moved.is_ok() {
            let mut state = self.state();
            state.used += len;
            state.oldest -= 1;
            let stamp = state.oldest;
            state.insert_at(stamp, aside.into(), len);
        }
        let kept = if gone.is_err() { held.old_bytes } else { None };
        held.finish(kept, 0);
    }

    /// Waits until nobody renames or unlinks this key's files, and keeps others from it.
    fn hold(&self, key: &str) -> Held<'_> {
        let mut state = self.state();
        while state.busy.contains(key) {
            state = self.idle.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let (key, old_bytes) = match state.take(key) {
            Some((key, bytes)) => (key, Some(bytes)),
            None => (key.into(), None),
        };
        state.busy.insert(key.clone());
        Held { index: self, key, old_bytes }
    }
}

/// A key that nobody else changes, taken out of the index; its bytes stay counted.
struct Held<'a> {
    index: &'a Index,
    key: Arc<str>,
    old_bytes: Option<u64>,
}

impl Held<'_> {
    /// Puts it back with `bytes` if its file is there. The old bytes, and so many of a reservation, are given up in
    /// the same moment: the sum is never too low.
    fn finish(self, bytes: Option<u64>, reserved: u64) {
        let mut state = self.index.state();
        state.busy.remove(&self.key);
        state.used -= self.old_bytes.unwrap_or(0) + reserved;
        state.reserved -= reserved;
        if let Some(bytes) = bytes {
            state.used += bytes;
            state.insert(self.key, bytes);
        }
        drop(state);
        self.index.idle.notify_all();
    }
}

/// Bytes set aside; given back when dropped.
pub(crate) struct Reservation {
    index: Arc<Index>,
    bytes: u64,
}

impl Reservation {
    /// Bytes set aside.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Sets more aside, making room first; false if that does not fit. Blocks on the disk.
    pub(crate) fn grow(&mut self, more: u64) -> bool {
        loop {
            if let Some(mut extra) = self.index.try_reserve(more) {
                self.bytes += std::mem::take(&mut extra.bytes);
                return true;
            }
            if !self.index.make_room(more) {
                return false;
            }
        }
    }

    /// Turns the reservation into an entry. `place` gives the files their names; until it returns nobody else touches
    /// them. `bytes`: the sum of their lengths, at most what was reserved. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// Those of `place`. What stood there before may be gone then, too.
    pub(crate) fn commit(mut self, key: &str, bytes: u64, place: impl FnOnce() -> Result<(), DurableError>) -> Result<(), DurableError> {
        let index = self.index.clone();
        let held = index.hold(key);
        let placed = place();
        let reserved = std::mem::take(&mut self.bytes);
        let kept = match &placed {
            Ok(()) => Some(bytes),
            Err(_) => index.salvage(key, bytes),
        };
        held.finish(kept, reserved);
        placed
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.bytes > 0 {
            let mut state = self.index.state();
            state.used -= self.bytes;
            state.reserved -= self.bytes;
        }
    }
}

struct Found {
    key: String,
    bytes: u64,
    used: SystemTime,
}

/// Collects the files under `dir`; true if none are left in it.
fn scan(root: &Path, dir: &Path, found: &mut Vec<Found>) -> io::Result<bool> {
    let mut files: HashMap<String, (u64, SystemTime)> = HashMap::new();
    let mut empty = true;
    for item in fs::read_dir(dir)? {
        let item = item?;
        let kind = item.file_type()?;
        if kind.is_dir() {
            // The top folders are the layout's own.
            if scan(root, &item.path(), found)? && dir != root {
                fs::remove_dir(item.path())?;
            } else {
                empty = false;
            }
            continue;
        }
        match (kind.is_file(), key_of(root, &item)) {
            (true, Some(key)) => {
                let meta = item.metadata()?;
                files.insert(key, (meta.len(), meta.modified().unwrap_or(SystemTime::UNIX_EPOCH)));
            }
            _ => fs::remove_file(item.path())?,
        }
    }
    let keys: Vec<String> = files.keys().cloned().collect();
    for key in keys {
        if let Some(beside) = sidecar(&key)
            && let Some((bytes, _)) = files.remove(&beside)
            && let Some(file) = files.get_mut(&key)
        {
            file.0 += bytes;
        }
    }
    for (key, (bytes, used)) in files {
        if super::place::is_sidecar(&key) {
            fs::remove_file(root.join(&key))?;
            continue;
        }
        empty = false;
        found.push(Found { key, bytes, used });
    }
    Ok(empty)
}

fn key_of(root: &Path, item: &DirEntry) -> Option<String> {
    let path = item.path();
    let parts: Option<Vec<&str>> = path.strip_prefix(root).ok()?.iter().map(OsStr::to_str).collect();
    Some(parts?.join("/"))
}
