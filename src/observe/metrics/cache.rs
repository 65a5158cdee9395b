//! What is kept of what came from upstream. Hits and misses are in the requests' `cache` label.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{IntCounter, IntGauge, Result};

use super::{Families, set};

/// The cache as it is when the page is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheState {
    /// Entries.
    pub entries: u64,
    /// Bytes of files, and of what is being filled.
    pub bytes: u64,
    /// `cache.max_size`.
    pub bytes_max: u64,
    /// Entries that upstream has no more.
    pub last_copies: u64,
    /// Entries that had to go for others since the start.
    pub evicted: u64,
    /// Entries that were not as they were written, since the start.
    pub corrupt: u64,
    /// Nothing new is kept: too little of the file system is free.
    pub paused: bool,
    /// Every file is known; until then `bytes` is an upper bound.
    pub complete: bool,
    /// Bytes of small answers that are in memory as well.
    pub memory: u64,
}

/// What is kept. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CacheMetrics {
    entries: IntGauge,
    bytes: IntGauge,
    bytes_max: IntGauge,
    last_copies: IntGauge,
    evicted: IntCounter,
    corrupt: IntCounter,
    complete: IntGauge,
    paused: IntGauge,
    memory: IntGauge,
    /// Two pages that are written at once must not both add what came since the last.
    counting: Arc<Mutex<()>>,
}

impl CacheMetrics {
    pub(super) fn new(families: &mut Families) -> Result<Self> {
        Ok(Self {
            entries: families.gauge("modgate_cache_entries", "Files in the cache.")?,
            bytes: families.gauge("modgate_cache_bytes", "Bytes of the cache's files, with those being filled.")?,
            bytes_max: families.gauge("modgate_cache_max_bytes", "The bound of modgate_cache_bytes (cache.max_size).")?,
            last_copies: families.gauge("modgate_cache_last_copies", "Files in the cache that upstream has no more.")?,
            evicted: families.counter("modgate_cache_evictions_total", "Entries that had to go for others.")?,
            corrupt: families.counter("modgate_cache_corrupt_total", "Entries that were not as they were written, and were set aside.")?,
            complete: families.gauge("modgate_cache_index_complete", "1 once every file of the cache is known, after a start.")?,
            paused: families.gauge(
                "modgate_cache_paused",
                "1 while nothing new is kept, since too little of the file system is free (cache.min_free).",
            )?,
            memory: families.gauge("modgate_cache_memory_bytes", "Bytes of small answers that are kept in memory as well.")?,
            counting: Arc::default(),
        })
    }

    /// The state is now this.
    pub fn state(&self, state: &CacheState) {
        set(&self.entries, state.entries);
        set(&self.bytes, state.bytes);
        set(&self.bytes_max, state.bytes_max);
        set(&self.last_copies, state.last_copies);
        set(&self.complete, state.complete.into());
        set(&self.paused, state.paused.into());
        set(&self.memory, state.memory);
        let _counting = self.counting.lock().unwrap_or_else(PoisonError::into_inner);
        for (counter, total) in [(&self.evicted, state.evicted), (&self.corrupt, state.corrupt)] {
            counter.inc_by(total.saturating_sub(counter.get()));
        }
    }
}
