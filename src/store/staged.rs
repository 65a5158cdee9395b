//! A file on its way to be a blob.

use std::fs::File;
use std::io::{self, Write as _};
use std::sync::Weak;

use tempfile::TempPath;

use super::DataDir;
use super::room::UNTOLD_BYTES;
use crate::durable::is_full;

/// Room is made for so many bytes at once.
const STEP_BYTES: u64 = 4 << 20;

/// A file being written; removed when dropped.
#[derive(Debug)]
pub struct Staged {
    /// Open for reading and writing, at the start.
    pub file: File,
    pub(in crate::store) path: TempPath,
    /// Not held: what is being uploaded keeps no process from letting go of the directory.
    data: Weak<DataDir>,
    /// Bytes that room was made for.
    room: u64,
}

impl Staged {
    pub(in crate::store) fn new(file: File, path: TempPath, data: Weak<DataDir>) -> Self {
        Self { file, path, data, room: 0 }
    }

    /// Writes where the file stands. Where the disk is full, what is cached gives way first. Blocks.
    ///
    /// # Errors
    ///
    /// Those of the disk; some of `bytes` may be written then.
    pub fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let wanted = bytes.len() as u64;
        if self.room < wanted
            && let Some(data) = self.data.upgrade()
        {
            self.room = wanted.max(STEP_BYTES);
            // Whether there is so much, writing shows.
            let _ = data.make_room(self.room);
        }
        self.room = self.room.saturating_sub(wanted);
        let mut gave_way = false;
        while !bytes.is_empty() {
            match self.file.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => bytes = &bytes[written..],
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // A quota, say, of which the file system does not tell.
                Err(e) if is_full(&e) && !gave_way && self.gives_way() => gave_way = true,
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn gives_way(&self) -> bool {
        self.data.upgrade().is_some_and(|data| data.give_way(UNTOLD_BYTES))
    }
}
