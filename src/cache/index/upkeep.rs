//! The index's two threads, and its end: one thread fills it, the other writes down every second what was used and
//! keeps the file system's free space. At the end a snapshot is written.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::durable::DurableError;

use super::{Index, lock};

/// Between two writings.
const PERIOD: Duration = Duration::from_secs(1);

/// The threads. Dropped, or closed, they end and the index is written down.
pub struct Upkeep {
    index: Arc<Index>,
    running: Mutex<Option<Running>>,
}

struct Running {
    loading: JoinHandle<()>,
    writing: JoinHandle<()>,
    /// Ends the second when it is dropped.
    end: Sender<()>,
}

impl Upkeep {
    /// Begins to load the index, and to write down its use.
    ///
    /// # Errors
    ///
    /// There are no threads left.
    pub fn start(index: Arc<Index>) -> io::Result<Self> {
        let (end, ended) = mpsc::channel::<()>();
        let loading = thread::Builder::new().name("cache-load".to_owned()).spawn({
            let index = index.clone();
            move || index.load()
        })?;
        let writing = thread::Builder::new().name("cache-upkeep".to_owned()).spawn({
            let index = index.clone();
            move || {
                if let Err(error) = lock(&index.recency).open() {
                    tracing::warn!(%error, "what is used in the cache cannot be written down");
                }
                while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(PERIOD) {
                    index.write_recency();
                    index.watch_free();
                }
            }
        })?;
        Ok(Self { index, running: Mutex::new(Some(Running { loading, writing, end })) })
    }

    /// Ends the threads; false: that was done before.
    fn end(&self) -> bool {
        let Some(Running { loading, writing, end }) = lock(&self.running).take() else { return false };
        self.index.stopping.store(true, Ordering::Relaxed);
        // Under the lock, so that nobody misses it between looking and waiting.
        drop(lock(&self.index.loaded));
        self.index.loading_ended.notify_all();
        drop(end);
        for thread in [loading, writing] {
            if thread.join().is_err() {
                tracing::error!("a thread of the cache's index panicked");
            }
        }
        true
    }

    /// Ends the cache's writing: nothing is added from now on, what is added this moment is waited for, and the index is
    /// written down for the next start. What is being read goes on. Blocks on the disk; a second call does nothing.
    pub fn close(&self) {
        if !self.end() {
            return;
        }
        *self.index.open.write().unwrap_or_else(PoisonError::into_inner) = false;
        // What could not be looked at would be counted no more.
        let knows_all = self.index.is_complete() && self.index.ledger().unseen() == 0;
        if !knows_all || !self.index.differs_from_snapshot() {
            // The journal is all that there is to add.
            self.index.write_recency();
        } else if let Err(error) = self.index.write_down() {
            tracing::warn!(%error, "the cache's index is not written down: the next start looks at every file");
        }
    }
}

impl Drop for Upkeep {
    fn drop(&mut self) {
        self.close();
    }
}

impl Index {
    /// Whether the snapshot on disk is not of the files that there are.
    fn differs_from_snapshot(&self) -> bool {
        lock(&self.state).clean().is_none() || self.removed.load(Ordering::Relaxed)
    }

    /// Crash points: after the snapshot the state does not trust it yet; after the state the journal says nothing new.
    fn write_down(&self) -> Result<(), DurableError> {
        let mut recency = lock(&self.recency);
        let mut state = lock(&self.state);
        let bytes = self.write_snapshot(recency.folder(), state.generation())?;
        state.set_clean(bytes)?;
        recency.clear()
    }
}

#[cfg(test)]
impl Upkeep {
    /// As if the process had been killed: nothing is written down.
    pub(crate) fn kill(&self) {
        self.end();
        *self.index.open.write().unwrap_or_else(PoisonError::into_inner) = false;
    }
}
