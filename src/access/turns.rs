//! The queue before password verifications: a few at a time, each in memory of its own that is used again, and so many may wait.

use std::sync::{Arc, Mutex, PoisonError};

use argon2::Block;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Verifications wait here for their turn, and get the memory to work in with it. That is not left to the allocator:
/// it would keep a piece of the size for every thread that ever verified.
pub(super) struct Turns {
    free: Arc<Semaphore>,
    /// Permits to have a turn or to wait for one.
    places: Arc<Semaphore>,
    /// What no turn has now. As many as there are permits, less those in use; empty until its first turn.
    memories: Mutex<Vec<Vec<Block>>>,
}

/// The right to verify, and the memory for it.
pub(super) struct Turn {
    turns: Arc<Turns>,
    memory: Vec<Block>,
    /// Given back last: whoever gets it finds memory.
    _permit: OwnedSemaphorePermit,
    _place: OwnedSemaphorePermit,
}

/// As many wait as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Busy;

impl Turns {
    /// So many turns at once, and so many that may wait for one.
    pub(super) fn new(at_once: usize, waiting: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(at_once)),
            places: Arc::new(Semaphore::new(at_once + waiting)),
            memories: Mutex::new(vec![Vec::new(); at_once]),
        }
    }

    /// Waits for a turn, first come first served.
    pub(super) async fn take(self: &Arc<Self>) -> Result<Turn, Busy> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Busy)?;
        // The semaphore is never closed, and there is a memory for each of its permits.
        let permit = Arc::clone(&self.free).acquire_owned().await.map_err(|_| Busy)?;
        let memory = self.memories.lock().unwrap_or_else(PoisonError::into_inner).pop().ok_or(Busy)?;
        Ok(Turn { turns: Arc::clone(self), memory, _permit: permit, _place: place })
    }

    /// Addresses and capacities, KiB, of what lies free.
    #[cfg(test)]
    pub(super) fn memories(&self) -> Vec<(*const Block, usize)> {
        self.memories.lock().unwrap().iter().map(|memory| (memory.as_ptr(), memory.capacity())).collect()
    }
}

impl Turn {
    /// Zeros, at least so many KiB; fewer if the system has no memory.
    pub(super) fn memory(&mut self, blocks: usize) -> &mut [Block] {
        if self.memory.len() < blocks {
            match self.memory.try_reserve_exact(blocks - self.memory.len()) {
                Ok(()) => self.memory.resize(blocks, Block::new()),
                Err(error) => tracing::error!(%error, kib = blocks, "no memory to verify a password in"),
            }
        }
        &mut self.memory
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let memory = std::mem::take(&mut self.memory);
        self.turns.memories.lock().unwrap_or_else(PoisonError::into_inner).push(memory);
    }
}
