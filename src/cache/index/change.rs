//! Changing what stands under a key: one at a time, and nobody looks meanwhile.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use crate::durable::DurableError;

use super::shard::{Entry, Order, SlotId};
use super::{ASIDE, Index, Lease, is_gone, lock, micros};
use crate::cache::place::sidecar;

/// A key that nobody else changes or looks up, and whose entry, if it has one, is not evicted. Ends when dropped.
pub(super) struct Held<'a> {
    index: &'a Index,
    hash: u64,
    key: Box<str>,
    /// Its entry; pinned.
    slot: Option<SlotId>,
    /// Where the entry stands in its list afterwards.
    newest: bool,
}

impl Held<'_> {
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// Whether it has an entry.
    pub(super) fn is_entry(&self) -> bool {
        self.slot.is_some()
    }

    /// What is known of it.
    pub(super) fn entry(&self) -> Option<Entry> {
        let state = self.index.cell(self.hash).lock();
        self.slot.map(|slot| state.shard.entry(slot))
    }

    /// The files of the entry, if it is one, have lost their names. The bytes that left the disk: none while somebody reads them.
    pub(super) fn remove_entry(&mut self) -> u64 {
        let mut state = self.index.cell(self.hash).lock();
        if self.index.trusted && !self.index.is_complete() {
            state.gone.insert(self.key.clone());
        }
        let Some(slot) = self.slot.take() else { return 0 };
        self.index.removed.store(true, Ordering::Relaxed);
        // Pinned: that frees nothing yet.
        state.shard.take(self.hash, slot);
        let freed = state.shard.release(slot, self.newest).unwrap_or(0);
        let mut ledger = self.index.ledger();
        ledger.lost_entry();
        ledger.freed(freed);
        freed
    }

    /// There is a file now, where there is no entry. False: there is no room for another key.
    pub(super) fn insert_entry(&mut self, entry: Entry, newest: bool) -> bool {
        let mut state = self.index.cell(self.hash).lock();
        self.slot = state.shard.insert(self.hash, &self.key, entry, |key| self.index.hash(key));
        self.newest = newest;
        self.slot.is_some()
    }

    /// A lease of the entry, used now.
    pub(super) fn lease(&self, index: &Arc<Index>) -> Option<Lease> {
        let mut state = self.index.cell(self.hash).lock();
        let slot = self.slot?;
        state.shard.lease(slot, index.now());
        let bytes = state.shard.entry(slot).bytes;
        Some(Lease::new(index.clone(), self.hash, slot, bytes))
    }

    /// Whether its file went since the start, whatever the snapshot says.
    pub(super) fn is_gone(&self) -> bool {
        self.index.cell(self.hash).lock().gone.contains(&self.key)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let cell = self.index.cell(self.hash);
        let mut state = cell.lock();
        if let Some(slot) = self.slot {
            // Live: it frees nothing.
            state.shard.release(slot, self.newest);
        }
        state.busy.remove(&self.key);
        drop(state);
        cell.idle.notify_all();
    }
}

impl Index {
    /// Waits until nobody else changes this key.
    pub(super) fn hold(&self, key: &str) -> Held<'_> {
        let hash = self.hash(key);
        let cell = self.cell(hash);
        let mut state = cell.lock();
        while state.busy.contains(key) {
            state = cell.idle.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let slot = state.shard.find(hash, key);
        if let Some(slot) = slot {
            state.shard.pin(slot);
        }
        state.busy.insert(key.into());
        Held { index: self, hash, key: key.into(), slot, newest: true }
    }

    /// The entry that goes first, if any may go: of what has more than its share, else by use, last copies last.
    pub(super) fn hold_oldest(&self) -> Option<Held<'_>> {
        let shares = self.ledger().shares();
        let over_its_share = if self.tally(Order::Absence).entries > shares.absences {
            Some(Order::Absence)
        } else if self.tally(Order::LastCopy).bytes > shares.last_copies_bytes {
            Some(Order::LastCopy)
        } else {
            None
        };
        let of_that = over_its_share.and_then(|order| self.hold_oldest_of(&[order]));
        of_that.or_else(|| self.hold_oldest_of(&[Order::Absence, Order::Ordinary])).or_else(|| self.hold_oldest_of(&[Order::LastCopy]))
    }

    /// The least recently used entry of these orders, if any of them may go.
    pub(super) fn hold_oldest_of(&self, orders: &[Order]) -> Option<Held<'_>> {
        let oldest = |cell: &super::ShardCell| {
            let state = cell.lock();
            orders.iter().filter_map(|order| state.shard.oldest(*order)).min()
        };
        // Another thread may take it between the two looks.
        while let Some((_, cell)) = self.shards.iter().filter_map(|cell| Some((oldest(cell)?.0, cell))).min_by_key(|a| a.0) {
            let mut state = cell.lock();
            let Some((_, slot)) = orders.iter().filter_map(|order| state.shard.oldest(*order)).min() else { continue };
            let key: Box<str> = state.shard.key(slot).into();
            // Who holds a key has pinned its slot: this one is in a list, so nobody does.
            state.shard.pin(slot);
            state.busy.insert(key.clone());
            return Some(Held { index: self, hash: self.hash(&key), key, slot: Some(slot), newest: true });
        }
        None
    }

    /// Removes the file and its sidecar; the file first, which alone makes an entry.
    pub(super) fn unlink(&self, key: &str) -> Result<(), DurableError> {
        let path = self.path(key);
        self.disk.unlink(&path)?;
        if let Some(beside) = sidecar(key) {
            self.disk.unlink(&self.path(&beside))?;
        }
        self.prune(&path);
        Ok(())
    }

    /// Removes the folders above a file that are empty now; the layout's own stay. Whoever puts a file into one makes
    /// it again if it went meanwhile.
    pub(super) fn prune(&self, path: &Path) {
        let is_layout = |dir: &Path| dir == self.root || dir.parent() == Some(&self.root);
        for dir in path.ancestors().skip(1).take_while(|dir| !is_layout(dir)) {
            if !self.remove_folder(dir) {
                break;
            }
        }
    }

    /// Removes a folder if it is empty, and nobody needs it to stay; whether it is gone.
    pub(super) fn remove_folder(&self, dir: &Path) -> bool {
        let _shared = self.folders.read().unwrap_or_else(PoisonError::into_inner);
        fs::remove_dir(dir).is_ok()
    }

    /// Gives a synced file its name, durably, and makes the folder that it lies in. Until then that folder is empty, and may go at any
    /// moment with the last file of another key: so it is made again, and then kept from going.
    pub(crate) fn place(&self, tmp: &Path, to: &Path) -> Result<(), DurableError> {
        let place = || to.parent().map_or(Ok(()), |dir| self.disk.create_dirs(dir)).and_then(|()| self.disk.rename(tmp, to));
        match place() {
            Err(e) if e.source.kind() == io::ErrorKind::NotFound => {
                let _alone = self.folders.write().unwrap_or_else(PoisonError::into_inner);
                place()
            }
            placed => placed,
        }
    }

    /// The lengths of a key's file and sidecar, and when it was written; `None`: it has no file.
    pub(super) fn look_at(&self, key: &str) -> io::Result<Option<Entry>> {
        let length = |path: &Path| match fs::symlink_metadata(path) {
            Ok(meta) if meta.is_file() => Ok(Some(meta)),
            Ok(_) => Ok(None),
            // No file system keeps what it cannot name.
            Err(e) if is_gone(&e) || e.kind() == io::ErrorKind::InvalidFilename => Ok(None),
            Err(e) => Err(e),
        };
        let Some(meta) = length(&self.path(key))? else { return Ok(None) };
        let beside = sidecar(key).map(|beside| length(&self.path(&beside))).transpose()?.flatten();
        let used = if key.starts_with(ASIDE) { 0 } else { micros(meta.modified()?) };
        Ok(Some(Entry { bytes: meta.len() + beside.map_or(0, |meta| meta.len()), used, last_copy: false }))
    }

    /// Makes an entry of a file that was there before the start, unless it is one; false if there is no room for its key.
    ///
    /// # Errors
    ///
    /// It cannot be looked at.
    pub(super) fn adopt(&self, key: &str, newest: bool) -> io::Result<bool> {
        let mut held = self.hold(key);
        if held.is_entry() {
            return Ok(true);
        }
        match self.look_at(key)? {
            Some(entry) => Ok(self.found(&mut held, entry, newest)),
            None => {
                held.remove_entry();
                Ok(true)
            }
        }
    }

    /// An entry for a file from before the start; false if there is no room for its key.
    pub(super) fn found(&self, held: &mut Held<'_>, entry: Entry, newest: bool) -> bool {
        let found = held.insert_entry(entry, newest);
        if found {
            self.ledger().found(entry.bytes, 1);
        }
        found
    }

    /// Removes an entry and its files. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// The file cannot be removed; it stays counted.
    pub(crate) fn remove(&self, key: &str) -> Result<(), DurableError> {
        let mut held = self.hold(key);
        self.unlink(key)?;
        held.remove_entry();
        Ok(())
    }

    /// Drops the entry of a file that somebody else removed. Blocks on the disk.
    pub(crate) fn forget_if_gone(&self, key: &str) {
        let mut held = self.hold(key);
        if fs::metadata(self.path(key)).is_err_and(|e| is_gone(&e)) {
            // If its sidecar cannot go, a scan finds it.
            let _ = self.unlink(key);
            held.remove_entry();
        }
    }

    /// Takes a file that is not what it should be out of the way, for people to look at, as the first to be evicted.
    /// `judged`: the lease under which it was looked at. False: another one stands there by now, or none; nothing happens.
    /// Blocks on the disk.
    pub(crate) fn set_aside(&self, key: &str, judged: &Lease) -> bool {
        let mut held = self.hold(key);
        if !held.slot.is_some_and(|slot| judged.is_of(slot)) {
            return false;
        }
        self.counts.corrupt.fetch_add(1, Ordering::Relaxed);
        let aside = format!("{ASIDE}/{}-{}", self.now(), key.rsplit('/').next().unwrap_or_default());
        if self.mark_unclean() {
            let dir = self.disk.create_dirs(&self.root.join(ASIDE));
            if let Err(error) = dir.and_then(|()| self.disk.rename(&self.path(key), &self.path(&aside))) {
                tracing::warn!(file = key, %error, "a corrupt file may not be kept");
            }
            // Also when that failed: it may have been moved all the same. Counted twice while somebody reads it; never too little.
            self.adopt_aside(&aside, judged.bytes());
        }
        match self.unlink(key) {
            Ok(()) => {
                held.remove_entry();
            }
            Err(error) => tracing::warn!(file = key, %error, "cannot remove a corrupt file"),
        }
        true
    }

    /// Makes an entry of a file that was just set aside, if it is there; `bytes` long if that cannot be told.
    fn adopt_aside(&self, aside: &str, bytes: u64) {
        let mut held = self.hold(aside);
        let Some(entry) = self.look_at(aside).unwrap_or(Some(Entry { bytes, used: 0, last_copy: false })) else { return };
        if !held.is_entry() && held.insert_entry(entry, false) {
            self.ledger().added(entry.bytes);
        } else if let Err(error) = self.unlink(aside) {
            tracing::warn!(file = aside, %error, "cannot remove a corrupt file");
        }
    }

    /// After a failed placing: what stands there is the old file or the new one, each whole. Two files that belong
    /// together may not, so they go. What stays; `bytes` of it if that cannot be known.
    pub(super) fn salvage(&self, key: &str, bytes: u64) -> Option<Entry> {
        if sidecar(key).is_some() && self.unlink(key).is_ok() {
            return None;
        }
        self.look_at(key).unwrap_or(Some(Entry { bytes, used: self.now(), last_copy: false }))
    }

    /// Durably: the snapshot is not all there is any more. False if that cannot be written.
    pub(super) fn mark_unclean(&self) -> bool {
        lock(&self.state).clean().is_none() || self.raise_ceiling(0)
    }
}
