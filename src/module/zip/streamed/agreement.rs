//! The entries that passed, held against the directory.

use super::entry::{check, flags_agree};
use super::{Field, Unverifiable};
use crate::module::H1;
use crate::module::dirhash::Summary;
use crate::module::zip::directory::Entry;
use crate::module::zip::{ENTRIES_MAX, NAME_BYTES_MAX, ReadError};

/// What passed, in the order of offsets.
#[derive(Default)]
pub(super) struct Passed {
    files: Vec<File>,
    names: Vec<u8>,
    listed: usize,
}

/// An entry that passed.
struct File {
    /// What is true of it.
    entry: Entry,
    sha256: [u8; 32],
    /// Its place in the directory, once it was listed there.
    place: Option<usize>,
}

impl Passed {
    /// An entry of this name begins.
    pub(super) fn begin(&mut self, name: &[u8]) -> Result<(), ReadError> {
        if self.files.len() == ENTRIES_MAX || self.names.len() + name.len() > NAME_BYTES_MAX {
            return Err(ReadError::Entries);
        }
        if name.contains(&b'\n') {
            return Err(ReadError::Newline);
        }
        self.names.extend_from_slice(name);
        Ok(())
    }

    /// The entry that began last is at its end: this is what is true of it, but for its name.
    pub(super) fn end(&mut self, mut entry: Entry, sha256: [u8; 32]) -> Result<(), ReadError> {
        let start = self.files.last().map_or(0, |file| file.entry.name.0 + file.entry.name.1);
        entry.name = (start, self.names.len() - start);
        if self.names.ends_with(b"/") && entry.name.1 > 0 && entry.size > 0 {
            // Readers take a folder to be empty, or refuse it.
            return Err(ReadError::Format);
        }
        self.files.push(File { entry, sha256, place: None });
        Ok(())
    }

    /// The directory lists an entry.
    pub(super) fn list(&mut self, entry: &Entry, name: &[u8]) -> Result<(), Unverifiable> {
        let at = self.files.binary_search_by_key(&entry.offset, |file| file.entry.offset);
        let file = &mut self.files[at.map_err(|_| Unverifiable::Disagrees(Field::Offset))?];
        let passed = &file.entry;
        check(name == &self.names[passed.name.0..][..passed.name.1], Field::Name)?;
        check(flags_agree(entry.flags, passed.flags), Field::Flags)?;
        check(entry.method == passed.method, Field::Method)?;
        check(entry.crc == passed.crc, Field::Checksum)?;
        check(entry.packed == passed.packed, Field::Packed)?;
        check(entry.size == passed.size, Field::Size)?;
        if file.place.replace(self.listed).is_some() {
            return Err(ReadError::Overlap.into());
        }
        self.listed += 1;
        Ok(())
    }

    /// How many entries the directory has listed.
    pub(super) fn listed(&self) -> usize {
        self.listed
    }

    /// The hash, if the directory has listed all.
    pub(super) fn finish(&self) -> Result<H1, Unverifiable> {
        if self.listed != self.files.len() {
            return Err(Unverifiable::Unlisted);
        }
        let name = |file: &File| &self.names[file.entry.name.0..][..file.entry.name.1];
        let mut files: Vec<_> = self.files.iter().collect();
        files.sort_unstable_by_key(|file| (name(file), file.place));
        let mut summary = Summary::default();
        // Of entries with one name the one that is listed last is read, as often as the name stands there.
        for same in files.chunk_by(|a, b| name(a) == name(b)) {
            let Some(last) = same.last() else { continue };
            for file in same {
                summary.add(name(file), last.sha256);
            }
        }
        Ok(summary.finish())
    }
}
