//! The order of use between two snapshots: a journal of who was used when, written every second.
//!
//! Frames (`frames.rs`) of the entries that were used, or became or were last copies, since the frame before. A torn
//! tail is ignored and cut off. When the journal is as long as a snapshot would be, a snapshot takes its place: that
//! one is not trusted for what there is, and so may be written while files come and go.

use std::io;
use std::path::{Path, PathBuf};

use crate::durable::{Disk, DurableError, Journal};

use super::frames::{FRAME_HEAD_BYTES, Frames, PAYLOAD_BYTES, frame, put_record, records};
use super::shard::Entry;
use super::state::RECENCY;
use super::{Index, lock};

/// The journal is not replaced before it is this long, bytes.
const LEN_MIN: u64 = 16 << 20;
/// What a snapshot has for an entry, about, bytes.
const SNAPSHOT_BYTES_PER_ENTRY: u64 = 100;

/// The journal's place, and the journal once it is known how much of it is good.
pub(super) struct Recency {
    folder: PathBuf,
    disk: Disk,
    journal: Option<Journal>,
}

impl Recency {
    pub(super) fn new(folder: &Path, disk: Disk) -> Self {
        Self { folder: folder.to_owned(), disk, journal: None }
    }

    /// Where the index's own files are.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Opens the journal behind what of it is good.
    pub(super) fn open(&mut self) -> io::Result<()> {
        let len = read(&self.folder, |_, _| {})?;
        let path = self.folder.join(RECENCY);
        self.journal = Some(Journal::open(&self.disk, &path, len).map_err(io::Error::other)?);
        Ok(())
    }

    /// Begins anew: a snapshot holds it all.
    pub(super) fn clear(&mut self) -> Result<(), DurableError> {
        self.journal = Some(Journal::open(&self.disk, &self.folder.join(RECENCY), 0)?);
        Ok(())
    }

    /// Its length in bytes, if it is open.
    pub(super) fn journal_len(&self) -> Option<u64> {
        self.journal.as_ref().map(Journal::len)
    }
}

/// Gives what is good of the journal to `each`, in order; its length in bytes.
pub(super) fn read(folder: &Path, mut each: impl FnMut(&str, Entry)) -> io::Result<u64> {
    let mut frames = match Frames::open(&folder.join(RECENCY)) {
        Ok(frames) => frames,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(e) => return Err(e),
    };
    while let Some(payload) = frames.next()? {
        records(payload).for_each(|(key, entry)| each(key, entry));
    }
    Ok(frames.good())
}

impl Index {
    /// Writes down what was used since the last time.
    pub(super) fn write_recency(&self) {
        let mut recency = lock(&self.recency);
        if recency.journal.is_none() {
            return;
        }
        for cell in &self.shards {
            let mut payloads = vec![Vec::new()];
            cell.lock().shard.drain_dirty(|key, entry| {
                if payloads.last().is_none_or(|payload| payload.len() >= PAYLOAD_BYTES) {
                    payloads.push(Vec::new());
                }
                if let Some(payload) = payloads.last_mut() {
                    put_record(payload, key, entry);
                }
            });
            for payload in payloads.iter().filter(|payload| !payload.is_empty()) {
                let Some(journal) = &mut recency.journal else { return };
                if let Err(error) = journal.append(&frame(payload)) {
                    // The order after a crash is a little older: nobody waits for it.
                    tracing::warn!(%error, "cannot write down what was used in the cache");
                    return;
                }
            }
        }
        let snapshot_len = self.ledger().entries() * SNAPSHOT_BYTES_PER_ENTRY + FRAME_HEAD_BYTES as u64;
        if self.is_complete() && recency.journal_len() > Some(snapshot_len.max(LEN_MIN)) {
            self.replace_recency(&mut recency);
        }
    }

    fn replace_recency(&self, recency: &mut Recency) {
        let state = lock(&self.state);
        // The one that is trusted is not replaced by one that may be of other files.
        if state.clean().is_some() {
            return;
        }
        let written = self.write_snapshot(&recency.folder, state.generation()).and_then(|_| recency.clear());
        if let Err(error) = written {
            tracing::warn!(%error, "cannot write a snapshot of the cache's index");
        }
    }
}
