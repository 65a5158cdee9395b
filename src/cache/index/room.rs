//! Making room: within the bound, and on the file system that others write to as well.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Bounds, Index, lock};

/// How old an answer about the free space may be,
const FREE_AGE_MAX: Duration = Duration::from_secs(1);
/// but not for so many bytes.
const BIG_BYTES: u64 = 1 << 20;
/// How often free space is asked for again after something went.
const FREE_TRIES: u32 = 3;
/// Files that cannot be removed: so many, and no more are tried.
const FAILURES_MAX: u32 = 16;

/// The free space of the file system, as far as it is known.
pub(super) struct FreeSpace {
    /// To keep free, bytes; 0: nobody asks.
    min: AtomicU64,
    known: Mutex<Option<(Instant, u64)>>,
}

impl FreeSpace {
    pub(super) fn new(min: u64) -> Self {
        Self { min: AtomicU64::new(min), known: Mutex::new(None) }
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
        let Some(mut held) = self.hold_oldest() else { return Evicted::Nothing };
        if let Err(error) = self.unlink(held.key()) {
            tracing::warn!(file = held.key(), %error, "cannot remove a cached file to make room");
            return Evicted::Failed;
        }
        let bytes = held.remove_entry();
        self.counts.evicted.fetch_add(1, Ordering::Relaxed);
        self.counts.evicted_bytes.fetch_add(bytes, Ordering::Relaxed);
        Evicted::Bytes(bytes)
    }

    /// Evicts until so many bytes could be written and enough of the file system would be free still; whether that is so.
    pub(super) fn keep_free(&self, bytes: u64) -> bool {
        let free_min = self.free.min.load(Ordering::Relaxed);
        if free_min == 0 {
            return true;
        }
        let mut age_max = if bytes < BIG_BYTES { FREE_AGE_MAX } else { Duration::ZERO };
        for _ in 0..FREE_TRIES {
            let Some(free) = self.free_bytes(age_max) else { return true };
            let (wanted, evictable) = {
                let ledger = self.ledger();
                (free_min.saturating_add(ledger.unwritten()).saturating_add(bytes), ledger.evictable())
            };
            let short = wanted.saturating_sub(free);
            if short == 0 {
                return true;
            }
            if age_max > Duration::ZERO {
                age_max = Duration::ZERO;
                continue;
            }
            if short > evictable || !self.evict_bytes(short) {
                return false;
            }
        }
        false
    }

    fn evict_bytes(&self, bytes: u64) -> bool {
        let (mut gone, mut failures) = (0, 0);
        while gone < bytes {
            match self.evict() {
                Evicted::Bytes(bytes) => gone += bytes,
                Evicted::Failed if failures < FAILURES_MAX => failures += 1,
                Evicted::Failed | Evicted::Nothing => return false,
            }
        }
        true
    }

    /// The free space, as it was at most so long ago. `None`: it cannot be told; writing will show.
    fn free_bytes(&self, age_max: Duration) -> Option<u64> {
        let mut known = lock(&self.free.known);
        if let Some((at, bytes)) = *known
            && at.elapsed() < age_max
        {
            return Some(bytes);
        }
        let bytes = self.disk.room(&self.root).ok();
        *known = bytes.map(|bytes| (Instant::now(), bytes));
        bytes
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
