//! Bytes that somebody has: set aside for a file that is being written, or of a file that is being read.

use std::sync::{Arc, PoisonError};

use crate::durable::DurableError;

use super::Index;
use super::ledger::Grant;
use super::shard::{Entry, SlotId};
use crate::cache::voucher::VoucherId;

/// A file that is read: not evicted, and counted, until this is dropped.
pub struct Lease {
    index: Arc<Index>,
    hash: u64,
    slot: SlotId,
    bytes: u64,
}

impl Lease {
    pub(super) fn new(index: Arc<Index>, hash: u64, slot: SlotId, bytes: u64) -> Self {
        Self { index, hash, slot, bytes }
    }

    /// The bytes of the key's files.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether this is the entry that stands in a slot now.
    pub(super) fn is_of(&self, slot: SlotId) -> bool {
        self.slot == slot
    }

    /// Its file cannot be read, as whoever sends it found out.
    pub(crate) fn set_unreadable(&self) {
        self.index.cell(self.hash).lock().shard.set_unreadable(self.slot, true);
    }

    /// Whether that was said, and nobody is to try again.
    pub(crate) fn is_unreadable(&self) -> bool {
        self.index.cell(self.hash).lock().shard.is_unreadable(self.slot)
    }

    /// Notes, until the process ends, who vouched for the file that was leased.
    pub(crate) fn vouch(&self, by: VoucherId) {
        self.index.cell(self.hash).lock().shard.vouch(self.slot, by);
    }

    /// Who did last.
    pub(crate) fn voucher(&self) -> Option<VoucherId> {
        self.index.cell(self.hash).lock().shard.voucher(self.slot)
    }

    /// Whether upstream has it no more.
    pub(crate) fn is_last_copy(&self) -> bool {
        self.index.cell(self.hash).lock().shard.entry(self.slot).last_copy
    }

    /// Whether the key's files are still those that were leased.
    pub(crate) fn is_current(&self) -> bool {
        self.index.cell(self.hash).lock().shard.is_live(self.slot)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.index.release(self.hash, self.slot);
    }
}

/// Bytes set aside, and room for one entry; given back when dropped.
pub struct Reservation {
    index: Arc<Index>,
    bytes: u64,
    /// Of these, on the disk.
    written: u64,
    /// Rooms for entries: one, until it was used.
    entries: u64,
}

impl Index {
    /// Sets bytes aside, making room first. `None`: they do not fit, whatever goes; or the disk has no room; or the
    /// cache is closed. Blocks on the disk.
    pub fn reserve(self: &Arc<Self>, bytes: u64) -> Option<Reservation> {
        let mut reservation = Reservation { index: self.clone(), bytes: 0, written: 0, entries: 0 };
        reservation.take(bytes, 1).then_some(reservation)
    }
}

impl Reservation {
    /// Bytes set aside.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The index that they are set aside in.
    pub(crate) fn index(&self) -> &Index {
        &self.index
    }

    /// Sets more aside, making room first; false if that does not fit. Blocks on the disk.
    pub(crate) fn grow(&mut self, more: u64) -> bool {
        self.take(more, 0)
    }

    fn take(&mut self, bytes: u64, entries: u64) -> bool {
        let index = &self.index;
        if !index.is_open() {
            return false;
        }
        if !index.keep_free(bytes) {
            index.watch_free();
            return false;
        }
        loop {
            let grant = index.ledger().grant(bytes, entries);
            let again = match grant {
                Grant::Given => {
                    self.bytes += bytes;
                    self.entries += entries;
                    return true;
                }
                Grant::Full => index.make_room(bytes, entries),
                Grant::AboveCeiling => index.raise_ceiling(bytes),
            };
            if !again {
                return false;
            }
        }
    }

    /// So many more of them are on the disk.
    pub(crate) fn wrote(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes - self.written);
        self.written += bytes;
        self.index.ledger().wrote(bytes);
    }

    /// Turns `bytes` of it into an entry: the sum of its files' lengths, at most what was set aside. `place` gives them
    /// their names; until it returns nobody else touches or looks up the key. A lease of the entry; `None`: nothing was
    /// placed, for the cache is closed. What was not turned stays set aside. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// Those of `place`. What stood there before may be gone then, too.
    pub(crate) fn commit(
        &mut self,
        key: &str,
        bytes: u64,
        place: impl FnOnce() -> Result<(), DurableError>,
    ) -> Result<Option<Lease>, DurableError> {
        let index = self.index.clone();
        let open = index.open.read().unwrap_or_else(PoisonError::into_inner);
        if !*open || bytes > self.bytes {
            return Ok(None);
        }
        let mut held = index.hold(key);
        let placed = place();
        held.remove_entry();
        if let Err(error) = placed {
            if let Some(stays) = index.salvage(key, bytes)
                && held.insert_entry(stays, true)
            {
                index.ledger().added(stays.bytes);
            }
            return Err(error);
        }
        if !held.insert_entry(Entry { bytes, used: index.now(), last_copy: false }, true) {
            return index.unlink(key).map(|()| None);
        }
        let unwritten = (self.bytes - self.written).min(bytes);
        index.ledger().became_entry(bytes, unwritten);
        self.bytes -= bytes;
        self.written -= bytes - unwritten;
        self.entries = 0;
        Ok(held.lease(&index))
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.index.ledger().give_back(self.bytes, self.bytes - self.written, self.entries);
    }
}
