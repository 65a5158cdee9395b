//! What is durable about the cache as a whole: how much there can be at most, and whether the snapshot is all there is.
//!
//! `state`, a line of JSON, replaced whole. It says `clean` from a clean stop until the first file is added after it.
//!
//! Crash points. Before a file is added that might pass the ceiling, a higher one is durable: the next start believes
//! that there is as much. At a clean stop the snapshot is durable first, then `clean`: in between, the next start scans.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::durable::{Disk, DurableError};

use super::gone;

/// The format that is written and read.
const FORMAT: u32 = 1;
const STATE: &str = "state";
pub(super) const SNAPSHOT: &str = "snapshot";
pub(super) const RECENCY: &str = "recency";

/// The line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Line {
    format: u32,
    /// Of the snapshot that is to be trusted, if `clean`.
    generation: u64,
    /// The cache's files are never longer together, bytes.
    ceiling: u64,
    clean: bool,
}

/// The line as it stands on the disk, and the way to replace it.
pub(super) struct State {
    folder: PathBuf,
    disk: Disk,
    /// `None`: there is none, or none that can be understood.
    line: Option<Line>,
}

impl State {
    /// Opens the index's folder, makes it if need be, and removes what a crash left half-written there.
    pub(super) fn open(folder: &Path, disk: &Disk) -> io::Result<Self> {
        disk.create_dirs(folder).map_err(io::Error::other)?;
        for item in std::fs::read_dir(folder)? {
            let item = item?;
            if ![STATE, SNAPSHOT, RECENCY].iter().any(|name| item.file_name() == *name) && item.file_type()?.is_file() {
                // The process before this one may still be ending.
                gone(std::fs::remove_file(item.path()))?;
            }
        }
        let text = match std::fs::read(folder.join(STATE)) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(e),
        };
        let line = serde_json::from_slice(&text).ok().filter(|line: &Line| line.format == FORMAT);
        Ok(Self { folder: folder.to_owned(), disk: disk.clone(), line })
    }

    /// What the cache's files do not exceed, bytes, if that is known.
    pub(super) fn ceiling(&self) -> Option<u64> {
        self.line.map(|line| line.ceiling)
    }

    /// The generation of the snapshot that holds all there is.
    pub(super) fn clean(&self) -> Option<u64> {
        self.line.filter(|line| line.clean).map(|line| line.generation)
    }

    /// The generation that a snapshot written now has.
    pub(super) fn generation(&self) -> u64 {
        self.line.map_or(1, |line| line.generation)
    }

    /// Durably: files are added now, up to this ceiling.
    pub(super) fn set_ceiling(&mut self, ceiling: u64) -> Result<(), DurableError> {
        let generation = self.generation() + u64::from(self.clean().is_some());
        self.write(Line { format: FORMAT, generation, ceiling, clean: false })
    }

    /// Durably: the snapshot of this generation holds all there is, so many bytes.
    pub(super) fn set_clean(&mut self, bytes: u64) -> Result<(), DurableError> {
        self.write(Line { format: FORMAT, generation: self.generation(), ceiling: bytes, clean: true })
    }

    fn write(&mut self, line: Line) -> Result<(), DurableError> {
        let text = serde_json::to_vec(&line).unwrap_or_default();
        self.disk.write(&self.folder, &self.folder.join(STATE), &text)?;
        self.line = Some(line);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(dir: &Path) -> State {
        State::open(dir, &Disk::default()).unwrap()
    }

    #[test]
    fn a_snapshot_is_trusted_until_a_file_is_added_and_never_again_by_its_generation() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!((open(dir.path()).ceiling(), open(dir.path()).clean()), (None, None));
        open(dir.path()).set_ceiling(100).unwrap();
        assert_eq!((open(dir.path()).ceiling(), open(dir.path()).clean()), (Some(100), None));
        open(dir.path()).set_clean(70).unwrap();
        assert_eq!((open(dir.path()).ceiling(), open(dir.path()).clean()), (Some(70), Some(1)));
        let mut state = open(dir.path());
        state.set_ceiling(100).unwrap();
        state.set_ceiling(120).unwrap();
        assert_eq!((open(dir.path()).clean(), open(dir.path()).generation()), (None, 2));
    }

    #[test]
    fn a_damaged_state_knows_nothing_and_left_overs_go() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["", "{", r#"{"format":2,"generation":1,"ceiling":1,"clean":true}"#] {
            std::fs::write(dir.path().join(STATE), text).unwrap();
            assert_eq!((open(dir.path()).ceiling(), open(dir.path()).clean()), (None, None), "{text}");
        }
        std::fs::write(dir.path().join("half"), "").unwrap();
        open(dir.path());
        assert!(!dir.path().join("half").exists() && dir.path().join(STATE).exists());
    }
}
