//! Everything that the index knows, in one file.
//!
//! Frames (`frames.rs`): first the generation and the magic, then the records, last their number. Whole only if all of
//! that is there. Only the snapshot of the generation that the state calls clean is trusted for what there is; of any
//! other, only when an entry was last used and whether it is a last copy is believed.

use std::io;
use std::path::{Path, PathBuf};

use crate::durable::{Disk, DurableError};

use super::Index;
use super::frames::{Frames, PAYLOAD_BYTES, frame, put_record, records};
use super::shard::Entry;
use super::state::SNAPSHOT;

/// What a snapshot begins with, after its generation.
const MAGIC: &[u8] = b"modgate cache index 1";

fn path(folder: &Path) -> PathBuf {
    folder.join(SNAPSHOT)
}

fn head(generation: u64) -> Vec<u8> {
    [&generation.to_le_bytes(), MAGIC].concat()
}

/// Reads the snapshot once: gives the records of each frame that is as it was written to `each`. Whether all of it is; false also
/// where it is of another generation than `wanted`, or there is none: then nothing was given. Where it breaks off in the middle,
/// what was given before was written, but is not all.
pub(super) fn read(folder: &Path, wanted: Option<u64>, mut each: impl FnMut(&[(&str, Entry)])) -> io::Result<bool> {
    let mut frames = match Frames::open(&path(folder)) {
        Ok(frames) => frames,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(e),
    };
    let first = frames.next()?.and_then(|first| first.split_first_chunk());
    let generation = first.filter(|(_, magic)| *magic == MAGIC).map(|(word, _)| u64::from_le_bytes(*word));
    if generation.is_none() || wanted.is_some_and(|wanted| generation != Some(wanted)) {
        return Ok(false);
    }
    let mut count: u64 = 0;
    while let Some(payload) = frames.next()? {
        // No record is as short.
        if let Ok(number) = payload.try_into() {
            return Ok(u64::from_le_bytes(number) == count);
        }
        let batch: Vec<_> = records(payload).collect();
        count += batch.len() as u64;
        each(&batch);
    }
    Ok(false)
}

impl Index {
    /// Durably writes a snapshot of this generation; the bytes of all its entries.
    pub(super) fn write_snapshot(&self, folder: &Path, generation: u64) -> Result<u64, DurableError> {
        let mut writer = Writer::create(&self.disk, folder)?;
        writer.frame(&head(generation))?;
        let (mut count, mut bytes): (u64, u64) = (0, 0);
        for cell in &self.shards {
            let mut payloads = vec![Vec::new()];
            {
                let state = cell.lock();
                for (key, entry) in state.shard.entries() {
                    if payloads.last().is_none_or(|payload| payload.len() >= PAYLOAD_BYTES) {
                        payloads.push(Vec::new());
                    }
                    // Keys have a length that fits: their names do.
                    count += u64::from(payloads.last_mut().is_some_and(|payload| put_record(payload, key, entry)));
                    bytes += entry.bytes;
                }
            }
            for payload in payloads.iter().filter(|payload| !payload.is_empty()) {
                writer.frame(payload)?;
            }
        }
        writer.frame(&count.to_le_bytes())?;
        writer.finish(&path(folder))?;
        Ok(bytes)
    }
}

/// A file that appears whole.
struct Writer<'a> {
    disk: &'a Disk,
    file: std::fs::File,
    staged: tempfile::TempPath,
    len: u64,
}

impl<'a> Writer<'a> {
    fn create(disk: &'a Disk, folder: &Path) -> Result<Self, DurableError> {
        let (file, staged) = disk.stage(folder)?.into_parts();
        Ok(Self { disk, file, staged, len: 0 })
    }

    fn frame(&mut self, payload: &[u8]) -> Result<(), DurableError> {
        let frame = frame(payload);
        self.disk.write_at(&self.file, &self.staged, &frame, self.len)?;
        self.len += frame.len() as u64;
        Ok(())
    }

    fn finish(self, to: &Path) -> Result<(), DurableError> {
        self.disk.persist(&self.file, self.staged, to)
    }
}
