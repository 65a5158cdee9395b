//! What every start does: all of the log is read, and must be what its head signs; `head_path` must not be ahead of it.
//!
//! A log is made as a folder with a key and the head of no records, which gets its name when both are durable: so a log without a key,
//! or without a head, is one that lost it. Nothing is ever made anew in its place: clients have the key, and remember the head. That
//! there is one is told by a file outside its folder too, which holds the verifier key: without it a folder that is gone would be a
//! first start. *Crash before that file is written: nothing of the log was handed out, and the next start writes it.*

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::index::Index;
use super::layout::{Layout, TileError};
use super::reread::{Reread, compare, reread};
use super::{LogSettings, head_path};
use crate::durable::{Disk, DurableError};
use crate::stop::Stop;
use crate::store::DataDir;
use crate::tlog::{GrowError, Hash, Head, KeyError, NoteError, ProofError, SignedHead, SignerKey, VerifierKey};

/// Below `sumdb/`.
pub(super) const LOG: &str = "log";
/// Below `sumdb/`: a log that is being made.
const UNMADE: &str = "log.new";

/// Longest of the small files: paths are some 4 KiB at most, all else is shorter.
const SMALL_BYTES_MAX: u64 = 64 << 10;

/// Why the log is not opened; the text is for the operator.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The key or the head is gone, and the log is not.
    #[error("{} is gone: put it back from a copy; a log without it is at its end, and a new one has another key, which every client must be given: to make one, move {} and sumdb-verifier away", path.display(), path.parent().unwrap_or(path).display())]
    Lost {
        /// The file.
        path: PathBuf,
    },
    /// The whole log is gone, and something tells of it.
    #[error("{} is gone, and {} tells that there was a checksum log: put it back from a copy of the data directory; to begin a new log instead, whose key every client must be given, move {} away", folder.display(), witness.display(), witness.display())]
    Gone {
        /// The log.
        folder: PathBuf,
        /// The file that tells of it.
        witness: PathBuf,
    },
    /// Another log stands in its place.
    #[error("{} holds the checksum log {found}, and {} tells of {known}: put back the one that was; if the other one is meant, move {} away", folder.display(), witness.display(), witness.display())]
    Other {
        /// The log.
        folder: PathBuf,
        /// The file that tells of the one that was.
        witness: PathBuf,
        /// The key of the one that is there.
        found: String,
        /// The key of the one that was.
        known: String,
    },
    /// The key file holds no key.
    #[error("{}: {source}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: KeyError,
    },
    /// The name of a new log.
    #[error("no checksum log can be named after the host {host:?}: {source}; sumdb.host is a host name")]
    Host {
        /// The host.
        host: String,
        /// Why.
        #[source]
        source: KeyError,
    },
    /// The head is not signed by the key.
    #[error("{} is not signed by the key beside it ({source}): one of the two was replaced; put back the one that was", path.display())]
    Head {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: NoteError,
    },
    /// A tile.
    #[error(transparent)]
    Tile(#[from] TileError),
    /// The records make another tree than the head's.
    #[error("{} holds {size} records whose root is {found}, and the head signs {signed}: it is damaged, and signs nothing more", folder.display())]
    Disagrees {
        /// The log.
        folder: PathBuf,
        /// How many records.
        size: u64,
        /// Their root.
        found: Hash,
        /// The root that was signed.
        signed: Hash,
    },
    /// What is there makes no tree.
    #[error("the checksum log: {0}")]
    Grow(#[from] GrowError),
    /// `head_path` is not this log's.
    #[error("sumdb.head_path: {} is not a head of this log ({source}): it is another log's, or the log's key was replaced; if this log was begun on purpose, move that file away", path.display())]
    HeadPath {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: NoteError,
    },
    /// `head_path` is not there any more.
    #[error("sumdb.head_path: {} is gone, and it held a head of this log: is its volume mounted? Put it back; only if it is lost for good, move {} away, and it is written anew", path.display(), noted.display())]
    HeadPathGone {
        /// The file.
        path: PathBuf,
        /// What tells that it was there.
        noted: PathBuf,
    },
    /// The log is older than what was handed out.
    #[error("the checksum log has {found} records, and {} knows {known}: the data directory is an older copy, and what would be signed now contradicts what clients saw; put the newer copy back, or make a new log (move {}, sumdb-verifier and that file away), which every client must be given the key of", path.display(), folder.display())]
    Behind {
        /// The log.
        folder: PathBuf,
        /// `head_path`.
        path: PathBuf,
        /// How many records the log has.
        found: u64,
        /// How many it had.
        known: u64,
    },
    /// The log holds other records than those that were handed out.
    #[error("the checksum log contradicts the head in {}: {source}", path.display())]
    Fork {
        /// `head_path`.
        path: PathBuf,
        /// How.
        #[source]
        source: ProofError,
    },
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something cannot be written.
    #[error(transparent)]
    Write(#[from] DurableError),
    /// The log's thread.
    #[error("cannot start the checksum log: {0}")]
    Thread(#[source] io::Error),
    /// It was not read to its end.
    #[error("the process ends")]
    Stopped,
}

/// A log as it was found.
pub(super) struct Opened {
    pub(super) layout: Layout,
    pub(super) key: SignerKey,
    pub(super) head: SignedHead,
    pub(super) index: Index,
    /// How long the records of the last data tile are, if that is not full.
    pub(super) data_bytes: u64,
}

pub(super) fn open(data: &DataDir, settings: &LogSettings) -> Result<Opened, OpenError> {
    let (disk, folder) = (data.disk(), folder(data));
    if !is_there(&folder)? {
        refuse_gone(data, &folder, settings)?;
        make(disk, &data.sumdb(), &settings.host)?;
    }
    // Whoever was killed before its last fsync left names that the next power failure would take back.
    disk.sync_up_to(data.root(), &folder)?;
    let opened = read_log(data, folder, &Stop::default())?;
    let Opened { layout, key, head, .. } = &opened;
    if let Some(path) = &settings.head_path {
        let standing = head_path::judge(path, layout, &key.verifier(), head)?;
        head_path::settle(disk, &data.tmp(), path, layout, head, standing)?;
    }
    let witness = data.log_verifier();
    if read(&witness)?.is_none() {
        disk.write(&data.tmp(), &witness, format!("{}\n", key.verifier()).as_bytes())?;
    }
    Ok(opened)
}

/// The log as it is, if there is one: judged like at a start, and nothing is made or written.
pub(super) fn look(data: &DataDir, settings: &LogSettings, stop: &Stop) -> Result<Option<Opened>, OpenError> {
    let folder = folder(data);
    if !is_there(&folder)? {
        return refuse_gone(data, &folder, settings).map(|()| None);
    }
    let opened = read_log(data, folder, stop)?;
    if let Some(path) = &settings.head_path {
        head_path::judge(path, &opened.layout, &opened.key.verifier(), &opened.head)?;
    }
    Ok(Some(opened))
}

fn folder(data: &DataDir) -> PathBuf {
    data.sumdb().join(LOG)
}

fn is_there(path: &Path) -> Result<bool, OpenError> {
    path.try_exists().map_err(|source| OpenError::Read { path: path.to_owned(), source })
}

/// There is no log: an error where there was one.
fn refuse_gone(data: &DataDir, folder: &Path, settings: &LogSettings) -> Result<(), OpenError> {
    for witness in [Some(data.log_verifier()), settings.head_path.clone()].into_iter().flatten() {
        if is_there(&witness)? {
            return Err(OpenError::Gone { folder: folder.to_owned(), witness });
        }
    }
    Ok(())
}

/// Reads all of a log, which must be the one that was there.
fn read_log(data: &DataDir, folder: PathBuf, stop: &Stop) -> Result<Opened, OpenError> {
    let layout = Layout::new(folder);
    let key = read_key(layout.key())?;
    let path = layout.head();
    let note = read(&path)?.ok_or_else(|| OpenError::Lost { path: path.clone() })?;
    let head = SignedHead::open(note, &key.verifier()).map_err(|source| OpenError::Head { path, source })?;
    let witness = data.log_verifier();
    if let Some(known) = read(&witness)?.filter(|known| known.trim_ascii_end() != key.verifier().to_string().as_bytes()) {
        let known = String::from_utf8_lossy(&known).trim_end().to_owned();
        return Err(OpenError::Other { folder: layout.folder().to_owned(), witness, found: key.verifier().to_string(), known });
    }
    let (index, data_bytes) = read_all(&layout, head.head(), stop)?;
    Ok(Opened { layout, key, head, index, data_bytes })
}

/// Makes a log of no records.
fn make(disk: &Disk, sumdb: &Path, host: &str) -> Result<(), OpenError> {
    // What a crash left there is replaced, file by file.
    let unmade = Layout::new(sumdb.join(UNMADE));
    disk.create_dirs(unmade.folder())?;
    sign_anew(disk, &unmade, host, &Head::empty())?;
    Ok(disk.rename(unmade.folder(), &sumdb.join(LOG))?)
}

/// Gives a log a new key, which is named after the host, and has it sign this head; both durable.
pub(super) fn sign_anew(disk: &Disk, layout: &Layout, host: &str, head: &Head) -> Result<VerifierKey, OpenError> {
    let key = SignerKey::generate(host).map_err(|source| OpenError::Host { host: host.to_owned(), source })?;
    disk.write(layout.folder(), &layout.key(), format!("{}\n", key.secret()).as_bytes())?;
    disk.write(layout.folder(), &layout.head(), key.sign(head).note())?;
    Ok(key.verifier())
}

pub(super) fn read_key(path: PathBuf) -> Result<SignerKey, OpenError> {
    let text = read(&path)?.ok_or_else(|| OpenError::Lost { path: path.clone() })?;
    let key = std::str::from_utf8(&text).map_err(|_| KeyError::Malformed).and_then(|text| text.trim_end().parse());
    key.map_err(|source| OpenError::Key { path, source })
}

/// The content of a key, a head or a note, if it is there. What is no file, or longer than any of these, is an error.
pub(super) fn read(path: &Path) -> Result<Option<Bytes>, OpenError> {
    let content = || {
        // A pipe would be waited for, and a device read without end.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::other("it is no regular file"));
        }
        let mut content = Vec::new();
        match File::open(path)?.take(SMALL_BYTES_MAX + 1).read_to_end(&mut content)? as u64 {
            0..=SMALL_BYTES_MAX => Ok(content),
            _ => Err(io::Error::other("it is too long")),
        }
    };
    match content() {
        Ok(content) => Ok(Some(content.into())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(OpenError::Read { path: path.to_owned(), source }),
    }
}

/// Reads every tile: what the head signs is made of these records, and every hash that will be handed out follows from them.
/// Gives the index, and how long the records of the last data tile are, if that is not full.
fn read_all(layout: &Layout, signed: &Head, stop: &Stop) -> Result<(Index, u64), OpenError> {
    let (index, mut data_bytes) = (Index::default(), 0);
    reread(layout, signed, stop, |read| {
        match read {
            Reread::Hashes(tile, content) => compare(layout, tile, content)?,
            Reread::Records { tile, first, records, bytes } => {
                data_bytes = if tile.is_full() { 0 } else { bytes };
                (first..).zip(records).for_each(|(id, record)| index.add(&record.path, &record.version, id));
            }
        }
        Ok(())
    })?;
    Ok((index, data_bytes))
}
