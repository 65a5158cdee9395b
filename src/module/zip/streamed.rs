//! The h1 hash of a zip that passes once, front to back, and is not kept.
//!
//! A zip says twice what is in it: in a header before each entry, and in the directory at the end, which alone is believed. So
//! entries are hashed by their own headers as they pass, and the hash counts only if the directory then says the same of each.
//! Whoever reads the zip by its directory, as [`hash_zip`](crate::module::dirhash::hash_zip) and the go command do, finds what
//! was hashed, or there is no hash: [`Unverifiable`], for zips too that those would read.
//!
//! - Entries lie one behind the other from the first byte on, the directory behind the last, its end records behind it, and the
//!   comment ends with the file. The end record is found by the reader of directories itself ([`Recent`] is its file).
//! - Every entry is listed once, in any order; one that is not listed, or twice, is an error.
//! - Header, content, descriptor and directory agree: name, method, flags, checksum, sizes, offset. A header may leave checksum
//!   and sizes open (0) where a descriptor follows.
//! - Deflate ends by itself. A stored entry does not: with its size left open it could end anywhere, and is an error.
//!
//! Memory: some 250 KiB of buffers (one header with its name, extra field and comment among them), and for each entry its name
//! and about 100 bytes. Entries and names are limited as in the [page above](super), bytes unpacked by [`ZIP_BYTES_MAX`](super::ZIP_BYTES_MAX).

mod agreement;
mod entry;
mod recent;
#[cfg(test)]
mod tests;

use std::mem;

use super::ReadError;
use super::content::{LOCAL_HEADER, LOCAL_HEADER_LEN};
use super::directory::{DIRECTORY_HEADER, DIRECTORY_HEADER_LEN, END, END_64, Entry, Header, Source, read_end};
use crate::module::dirhash::H1;
use agreement::Passed;
use entry::{DESCRIPTOR_PIECE_LEN, Local, Unpacker, descriptor_len};
use recent::Recent;

/// Why there is no hash of a zip that passed: it is bad, or what it is cannot be told while it passes. Either way nothing vouches
/// for it.
#[derive(Debug, thiserror::Error)]
pub enum Unverifiable {
    /// Bad, or over a limit, as it would be at rest.
    #[error(transparent)]
    Zip(#[from] ReadError),
    /// A stored entry, the size of which only the directory tells.
    #[error("zip: a stored entry of unknown size")]
    StoredWithoutSize,
    /// An entry is encrypted, a patch, or has flags of no known meaning.
    #[error("zip: unsupported flags {0:#06x}")]
    Flags(u16),
    /// Something stands before, between or behind the parts of the zip, or the end record speaks of other parts.
    #[error("zip: not entries, directory and end record one behind the other")]
    Layout,
    /// What is said of an entry at two places is not the same.
    #[error("zip: two different {0}s of one entry")]
    Disagrees(Field),
    /// The directory does not list an entry that passed.
    #[error("zip: an entry that the directory does not list")]
    Unlisted,
    /// The bytes before were refused already.
    #[error("zip: refused before its end")]
    Refused,
}

/// What is said of an entry at several places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// Where its header stands; the directory's may point to no header that passed.
    Offset,
    /// Its name, byte for byte.
    Name,
    /// The flags that say how to read it.
    Flags,
    /// Stored or deflated.
    Method,
    /// CRC-32 of the file.
    Checksum,
    /// Bytes in the zip.
    Packed,
    /// Bytes of the file.
    Size,
}

impl std::fmt::Display for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Offset => "offset",
            Self::Name => "name",
            Self::Flags => "flag",
            Self::Method => "method",
            Self::Checksum => "checksum",
            Self::Packed => "packed size",
            Self::Size => "size",
        })
    }
}

/// Hashes a zip as it passes.
///
/// For every zip, [`finish`](Self::finish) gives the hash that [`hash_zip`](crate::module::dirhash::hash_zip) gives, or an error,
/// however the bytes are cut into pieces.
pub struct StreamHasher {
    state: State,
    /// The beginning of what the state waits for.
    held: Vec<u8>,
    /// Where that begins in the zip; once all headers have passed, where they end.
    at: u64,
    /// Where the directory begins, once it has.
    directory: Option<u64>,
    recent: Recent,
    unpacker: Unpacker,
    passed: Passed,
}

/// What stands at [`StreamHasher::at`].
enum State {
    /// The signature of whatever comes next.
    Signature,
    LocalHeader,
    /// Name and extra field behind that header.
    LocalName(Local),
    Data(Local),
    /// Behind the data of this entry.
    Descriptor(Entry),
    DirectoryHeader,
    /// Name, extra field and comment behind that header.
    DirectoryName(Header),
    /// The end records, to be read when all is here.
    End,
    /// Nothing: the zip is refused.
    Refused,
}

impl State {
    /// How many bytes it takes to go on; all are held until then, but for those of the data and the end.
    fn bytes_wanted(&self) -> usize {
        match self {
            Self::Signature => 4,
            Self::LocalHeader => LOCAL_HEADER_LEN,
            Self::LocalName(local) => local.rest_len(),
            Self::Descriptor(_) => DESCRIPTOR_PIECE_LEN,
            Self::DirectoryHeader => DIRECTORY_HEADER_LEN,
            Self::DirectoryName(header) => header.rest_len(),
            Self::Data(_) | Self::End | Self::Refused => 0,
        }
    }
}

impl Default for StreamHasher {
    fn default() -> Self {
        Self::new()
    }
}

impl StreamHasher {
    /// Nothing has passed yet.
    pub fn new() -> Self {
        Self {
            state: State::Signature,
            held: Vec::new(),
            at: 0,
            directory: None,
            recent: Recent::default(),
            unpacker: Unpacker::new(),
            passed: Passed::default(),
        }
    }

    /// Takes the next bytes. After an error every further call is one.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), Unverifiable> {
        self.recent.push(bytes);
        loop {
            // Where anything below fails, this stays.
            let state = mem::replace(&mut self.state, State::Refused);
            self.state = match state {
                State::Refused => return Err(Unverifiable::Refused),
                State::End => {
                    self.state = State::End;
                    return Ok(());
                }
                State::Data(local) if bytes.is_empty() => {
                    self.state = State::Data(local);
                    return Ok(());
                }
                State::Data(local) => {
                    let (taken, ended) = self.unpacker.take(bytes)?;
                    bytes = &bytes[taken..];
                    self.at += taken as u64;
                    if ended { self.data_ended(local)? } else { State::Data(local) }
                }
                state => {
                    if !self.hold(state.bytes_wanted(), &mut bytes) {
                        self.state = state;
                        return Ok(());
                    }
                    self.held_all(state)?
                }
            };
        }
    }

    /// The hash, if all that passed was one zip and its directory says of every entry what passed.
    pub fn finish(self) -> Result<H1, Unverifiable> {
        match self.state {
            State::End => {}
            State::Refused => return Err(Unverifiable::Refused),
            _ => return Err(ReadError::Truncated.into()),
        }
        let end = Source::new(self.recent).and_then(|mut source| read_end(&mut source)).map_err(|error| match error {
            // It was asked for what has passed long since: no end record points there if all lies as it should.
            ReadError::Io(_) => Unverifiable::Layout,
            error => error.into(),
        })?;
        let is_at = |place: i64, at: u64| u64::try_from(place) == Ok(at);
        // The reader of directories would begin at `start` and end where the headers ended here.
        let same = end.base == 0 && self.directory.is_some_and(|at| is_at(end.start, at)) && is_at(end.at, self.at);
        if !same || !end.dense || !end.counts(self.passed.listed()) {
            return Err(Unverifiable::Layout);
        }
        self.passed.finish()
    }

    /// Fills up what is held to `len` bytes; whether that many are there.
    fn hold(&mut self, len: usize, bytes: &mut &[u8]) -> bool {
        let lacking = len.saturating_sub(self.held.len()).min(bytes.len());
        let (taken, rest) = bytes.split_at(lacking);
        self.held.extend_from_slice(taken);
        *bytes = rest;
        self.held.len() >= len
    }

    /// Goes past the first `len` bytes held, and hands them out.
    fn pass(&mut self, len: usize) -> Vec<u8> {
        self.at += len as u64;
        let rest = self.held.split_off(len);
        mem::replace(&mut self.held, rest)
    }

    /// Deals with what the state waited for, which is held as a whole.
    fn held_all(&mut self, state: State) -> Result<State, Unverifiable> {
        match state {
            State::Signature => self.signature(),
            State::LocalHeader => {
                let at = self.at;
                let header = self.pass(LOCAL_HEADER_LEN);
                Ok(State::LocalName(Local::parse(&header, at)?))
            }
            State::LocalName(local) => self.entry_begins(local),
            State::Descriptor(entry) => {
                let len = descriptor_len(&self.held, &entry)?;
                self.pass(len);
                Ok(State::Signature)
            }
            State::DirectoryHeader => {
                let header = self.pass(DIRECTORY_HEADER_LEN);
                Ok(State::DirectoryName(Header::parse(header.as_array().ok_or(ReadError::Format)?)))
            }
            State::DirectoryName(header) => {
                let rest = self.pass(header.rest_len());
                self.passed.list(&header.entry(&rest)?, &rest[..header.name_len])?;
                Ok(State::Signature)
            }
            state @ (State::Data(_) | State::End | State::Refused) => Ok(state),
        }
    }

    fn signature(&mut self) -> Result<State, Unverifiable> {
        let state = match self.held.first_chunk::<4>().map(|signature| u32::from_le_bytes(*signature)) {
            Some(LOCAL_HEADER) if self.directory.is_none() => return Ok(State::LocalHeader),
            Some(DIRECTORY_HEADER) => State::DirectoryHeader,
            Some(END | END_64) => State::End,
            _ => return Err(Unverifiable::Layout),
        };
        self.directory.get_or_insert(self.at);
        Ok(state)
    }

    fn entry_begins(&mut self, mut local: Local) -> Result<State, Unverifiable> {
        let rest = self.pass(local.rest_len());
        let (name, extra) = rest.split_at(local.name_len);
        local.widen(extra)?;
        self.passed.begin(name)?;
        self.unpacker.begin(&local)?;
        if self.unpacker.is_ended() { self.data_ended(local) } else { Ok(State::Data(local)) }
    }

    fn data_ended(&mut self, local: Local) -> Result<State, Unverifiable> {
        let (entry, sha256) = self.unpacker.end(&local);
        local.agrees(&entry)?;
        self.passed.end(entry, sha256)?;
        Ok(if local.has_descriptor() { State::Descriptor(entry) } else { State::Signature })
    }
}
