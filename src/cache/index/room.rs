//! Making room: within the bound, and on the file system that others write to as well.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::durable::{Disk, Room, Shortage};

use super::change::Held;
use super::shard::Order;
use super::{Bounds, Index, lock};

/// How old an answer about the free space may be,
const FREE_AGE_MAX: Duration = Duration::from_secs(1);
/// but not for so many bytes.
const BIG_BYTES: u64 = 1 << 20;
/// One inode of so many stays free.
const INODES_PER_FREE_ONE: u64 = 100;
/// How often free space is asked for again after something went.
const FREE_TRIES: u32 = 3;
/// How long those for whom something is to go wait for a start to find it,
const FOUND_WAIT: Duration = Duration::from_secs(10);
/// and how often they take what was found meanwhile.
const FOUND_PAUSE: Duration = Duration::from_millis(20);
/// Files that cannot be removed: so many, and no more are tried.
const FAILURES_MAX: u32 = 16;

/// The free space of the file system, as far as it is known.
pub(super) struct FreeSpace {
    /// To keep free, bytes; 0: nobody asks.
    min: AtomicU64,
    known: Mutex<Option<(Instant, Room)>>,
    /// There was too little at the last look, whatever went.
    is_short: AtomicBool,
}

impl FreeSpace {
    pub(super) fn new(min: u64) -> Self {
        Self { min: AtomicU64::new(min), known: Mutex::new(None), is_short: AtomicBool::new(false) }
    }
}

/// What came of evicting.
enum Evicted {
    /// So many bytes went.
    Bytes(u64),
    /// A file cannot be removed.
    Failed,
    /// There is nothing that may go.
    Nothing,
}

impl Index {
    /// Holds to other bounds from now on; while the index is being loaded, from the end of that on: no eviction frees what was not come
    /// across yet. What is set aside already may stay above them until it is written or given back. Blocks on the disk.
    pub(crate) fn resize(&self, bounds: Bounds) {
        self.ledger().resize(bounds.bytes_max);
        self.free.min.store(bounds.free_min, Ordering::Relaxed);
        // Whoever ends the loading this moment finds the new bound, for that is set first.
        if self.is_complete() {
            self.make_room(0, 0);
            self.bound_absences();
        }
    }

    /// Comes down to the share of absences, least recently used first. Blocks on the disk.
    pub(crate) fn bound_absences(&self) {
        let absences_max = self.ledger().shares().absences;
        let mut failures = 0;
        while self.tally(Order::Absence).entries > absences_max {
            let Some(held) = self.hold_oldest_of(&[Order::Absence]) else { return };
            match self.evict_held(held) {
                Evicted::Failed if failures < FAILURES_MAX => failures += 1,
                Evicted::Failed => return,
                Evicted::Bytes(_) | Evicted::Nothing => {}
            }
        }
    }

    /// Evicts until so much more would fit; whether it does. Others may take the room meanwhile. What can never fit
    /// evicts nothing.
    pub(super) fn make_room(&self, bytes: u64, entries: u64) -> bool {
        let mut failures = 0;
        loop {
            {
                let ledger = self.ledger();
                if ledger.fits(bytes, entries) {
                    return true;
                }
                // Nobody waits for nothing more: then it is about coming down to a bound that was lowered.
                if bytes + entries > 0 && !ledger.is_reachable(bytes, entries) {
                    return false;
                }
            }
            match self.evict() {
                Evicted::Bytes(_) => {}
                Evicted::Failed if failures < FAILURES_MAX => failures += 1,
                Evicted::Failed | Evicted::Nothing => return false,
            }
        }
    }

    /// Removes the files of the entry that goes first.
    fn evict(&self) -> Evicted {
        self.hold_oldest().map_or(Evicted::Nothing, |held| self.evict_held(held))
    }

    fn evict_held(&self, mut held: Held<'_>) -> Evicted {
        if let Err(error) = self.unlink(held.key()) {
            tracing::warn!(file = held.key(), %error, "cannot remove a cached file to make room");
            return Evicted::Failed;
        }
        let bytes = held.remove_entry();
        self.counts.evicted.fetch_add(1, Ordering::Relaxed);
        self.counts.evicted_bytes.fetch_add(bytes, Ordering::Relaxed);
        Evicted::Bytes(bytes)
    }

    /// Evicts until so many bytes could be written and enough of the file system, and of its inodes, would be free still; whether
    /// that is so.
    pub(super) fn keep_free(&self, bytes: u64) -> bool {
        let free_min = self.free.min.load(Ordering::Relaxed);
        if free_min == 0 {
            return true;
        }
        let mut age_max = if bytes < BIG_BYTES { FREE_AGE_MAX } else { Duration::ZERO };
        for _ in 0..FREE_TRIES {
            let Some(room) = self.room(age_max) else { return true };
            let wanted = free_min.saturating_add(self.ledger().unwritten()).saturating_add(bytes);
            let short = room.lacks(wanted, room.inodes.map_or(0, |inodes| inodes.all / INODES_PER_FREE_ONE));
            if short.is_none() {
                return true;
            }
            if age_max > Duration::ZERO {
                age_max = Duration::ZERO;
                continue;
            }
            let can_help = {
                let ledger = self.ledger();
                short.bytes <= ledger.evictable() && short.inodes <= ledger.entries()
            };
            if !can_help || !self.evict_until(short).covers(short) {
                return false;
            }
        }
        false
    }

    /// Keeps free what is to be free; says once when that cannot be done, and once when it can be again. Blocks on the disk.
    pub(super) fn watch_free(&self) {
        let is_short = !self.keep_free(0);
        if self.free.is_short.swap(is_short, Ordering::Relaxed) == is_short {
            return;
        }
        match is_short {
            true => tracing::warn!(
                "nothing new is cached: less of the file system is free than cache.min_free, and no cached file could change that"
            ),
            false => tracing::warn!("what is new is cached again: enough of the file system is free"),
        }
    }

    /// Whether nothing new is kept because too little of the file system is free.
    pub(crate) fn is_paused(&self) -> bool {
        self.free.is_short.load(Ordering::Relaxed)
    }

    /// Evicts so much for others, as far as there is any; whether anything went. What there is may still be being found out: that is
    /// waited for, but not for long. Blocks on the disk.
    pub(crate) fn give_way(&self, short: Shortage) -> bool {
        if !self.is_open() {
            return false;
        }
        let deadline = Instant::now() + FOUND_WAIT;
        let mut gone = Shortage::default();
        loop {
            // Whether more will be found, known before what is known goes.
            let knows_all = self.is_complete();
            gone += self.evict_until(short.beyond(gone));
            let left = deadline.saturating_duration_since(Instant::now());
            if knows_all || gone.covers(short) || left.is_zero() || self.is_stopping() {
                return !gone.is_none();
            }
            self.wait_complete_for(left.min(FOUND_PAUSE));
        }
    }

    /// As [`Index::give_way`], of an index that nobody has open. The next one looks at every file.
    ///
    /// # Errors
    ///
    /// Those of [`Index::open`].
    pub(crate) fn give_way_closed(root: &Path, folder: &Path, disk: &Disk, bounds: Bounds, short: Shortage) -> io::Result<()> {
        let index = Self::open(root, folder, disk.clone(), bounds)?;
        index.load();
        index.evict_until(short);
        // Written only now that there is room; without it, entries whose files are gone are believed until they are asked for.
        index.mark_unclean();
        Ok(())
    }

    /// Evicts so much, as far as there is any; what went.
    fn evict_until(&self, short: Shortage) -> Shortage {
        let (mut gone, mut failures) = (Shortage::default(), 0);
        while !gone.covers(short) {
            match self.evict() {
                Evicted::Bytes(bytes) => gone += Shortage { bytes, inodes: 1 },
                Evicted::Failed if failures < FAILURES_MAX => failures += 1,
                Evicted::Failed | Evicted::Nothing => break,
            }
        }
        gone
    }

    /// The room on the file system, as it was at most so long ago. `None`: it cannot be told; writing will show.
    fn room(&self, age_max: Duration) -> Option<Room> {
        let mut known = lock(&self.free.known);
        if let Some((at, room)) = *known
            && at.elapsed() < age_max
        {
            return Some(room);
        }
        let room = self.disk.room(&self.root).ok();
        *known = room.map(|room| (Instant::now(), room));
        room
    }

    /// Durably raises the ceiling over what would be used with `bytes` more; false if that cannot be written.
    pub(super) fn raise_ceiling(&self, bytes: u64) -> bool {
        let mut state = lock(&self.state);
        let Some(ceiling) = self.ledger().next_ceiling(bytes) else { return true };
        match state.set_ceiling(ceiling) {
            Ok(()) => {
                self.ledger().set_ceiling(ceiling);
                true
            }
            Err(error) => {
                tracing::warn!(%error, "cannot note how much the cache may come to");
                false
            }
        }
    }

    /// Whether files may still be added.
    pub(super) fn is_open(&self) -> bool {
        *self.open.read().unwrap_or_else(PoisonError::into_inner)
    }
}
