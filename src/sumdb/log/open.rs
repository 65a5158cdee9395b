//! What every start does: all of the log is read, and must be what its head signs; `head_path` must not be ahead of it.
//!
//! A log is made as a folder with a key and the head of no records, which gets its name when both are durable: so a log without a key,
//! or without a head, is one that lost it. Nothing is ever made anew in its place: clients have the key, and remember the head.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::LogSettings;
use super::commit::write_head_path;
use super::index::Index;
use super::layout::{Layout, TileError};
use crate::durable::{Disk, DurableError};
use crate::store::DataDir;
use crate::tlog::{
    GrowError, Hash, Head, KeyError, NoteError, ProofError, Record, RecordText, SignedHead, SignerKey, Step, Tile, TileLevel, Tiles,
    consistency, grow, write_data,
};

/// Below `sumdb/`.
const LOG: &str = "log";
/// Below `sumdb/`: a log that is being made.
const UNMADE: &str = "log.new";

/// Why the log is not opened; the text is for the operator.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The key or the head is gone, and the log is not.
    #[error("{} is gone: put it back from a copy; a log without it is at its end, and a new one has another key, which every client must be given: to make one, move {} away", path.display(), path.parent().unwrap_or(path).display())]
    Lost {
        /// The file.
        path: PathBuf,
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
    #[error("sumdb.head_path: {} is not a head of this log ({source}): it is another log's, or the log's key was replaced", path.display())]
    HeadPath {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: NoteError,
    },
    /// The log is older than what was handed out.
    #[error("the checksum log has {found} records, and {} knows {known}: the data directory is an older copy, and what would be signed now contradicts what clients saw; put the newer copy back, or make a new log (move {} and that file away), which every client must be given the key of", path.display(), folder.display())]
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
    let (disk, folder) = (data.disk(), data.sumdb().join(LOG));
    if !folder.try_exists().map_err(|source| OpenError::Read { path: folder.clone(), source })? {
        make(disk, &data.sumdb(), &settings.host)?;
    }
    // Whoever was killed before its last fsync left names that the next power failure would take back.
    disk.sync_up_to(data.root(), &folder)?;
    let layout = Layout::new(folder);
    let key = read_key(layout.key())?;
    let path = layout.head();
    let note = read(&path)?.ok_or_else(|| OpenError::Lost { path: path.clone() })?;
    let head = SignedHead::open(note, &key.verifier()).map_err(|source| OpenError::Head { path, source })?;
    let (index, data_bytes) = read_all(&layout, head.head())?;
    if let Some(path) = &settings.head_path {
        judge_head_path(disk, path, &layout, &key, &head)?;
    }
    Ok(Opened { layout, key, head, index, data_bytes })
}

/// Makes a log of no records.
fn make(disk: &Disk, sumdb: &Path, host: &str) -> Result<(), OpenError> {
    let key = SignerKey::generate(host).map_err(|source| OpenError::Host { host: host.to_owned(), source })?;
    // What a crash left there is replaced, file by file.
    let unmade = Layout::new(sumdb.join(UNMADE));
    disk.create_dirs(unmade.folder())?;
    disk.write(unmade.folder(), &unmade.key(), format!("{}\n", key.secret()).as_bytes())?;
    disk.write(unmade.folder(), &unmade.head(), key.sign(&Head::empty()).note())?;
    Ok(disk.rename(unmade.folder(), &sumdb.join(LOG))?)
}

fn read_key(path: PathBuf) -> Result<SignerKey, OpenError> {
    let text = read(&path)?.ok_or_else(|| OpenError::Lost { path: path.clone() })?;
    let key = std::str::from_utf8(&text).map_err(|_| KeyError::Malformed).and_then(|text| text.trim_end().parse());
    key.map_err(|source| OpenError::Key { path, source })
}

/// A file's content, if it is there.
fn read(path: &Path) -> Result<Option<Bytes>, OpenError> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content.into())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(OpenError::Read { path: path.to_owned(), source }),
    }
}

/// Reads every tile: what the head signs is made of these records, and every hash that will be handed out follows from them.
/// Gives the index, and how long the records of the last data tile are, if that is not full.
fn read_all(layout: &Layout, signed: &Head) -> Result<(Index, u64), OpenError> {
    let (index, mut head, mut edge, mut data_bytes) = (Index::default(), Head::empty(), Tiles::default(), 0);
    for tile in Tile::new_data(0, signed.size) {
        let records = layout.records(tile, tile.width())?;
        data_bytes = if tile.is_full() { 0 } else { write_data(&records).len() as u64 };
        for (id, text) in (head.size..).zip(&records) {
            let wrong = |e| TileError::Damaged { path: layout.tile(tile), text: format!("record {id}: {e}") };
            let record: Record = text.as_str().parse().map_err(wrong)?;
            index.add(&record.path, &record.version, id);
        }
        let leaves: Vec<Hash> = records.iter().map(RecordText::hash).collect();
        let Step::Done(grown) = grow(&head, &leaves, &edge)? else { break };
        for (tile, content) in grown.tiles {
            if tile.is_full() {
                compare(layout, tile, &content)?;
            }
            keep(&mut edge, tile, content);
        }
        head = grown.head;
        edge = right_edge(&head, &edge)?;
    }
    if head != *signed {
        return Err(OpenError::Disagrees { folder: layout.folder().to_owned(), size: head.size, found: head.root, signed: signed.root });
    }
    for tile in edge_tiles(&head)? {
        compare(layout, tile, edge.get(tile).unwrap_or_default())?;
    }
    Ok((index, data_bytes))
}

fn compare(layout: &Layout, tile: Tile, content: &[u8]) -> Result<(), TileError> {
    let text = || "its hashes are not those of the records".to_owned();
    if layout.hashes(tile)? == content { Ok(()) } else { Err(TileError::Damaged { path: layout.tile(tile), text: text() }) }
}

/// The tiles of a tree's right edge.
fn edge_tiles(head: &Head) -> Result<Vec<Tile>, GrowError> {
    Ok(match grow(head, &[], &Tiles::default())? {
        Step::Missing(tiles) => tiles,
        Step::Done(_) => Vec::new(),
    })
}

/// Only these of the tiles are needed from here on.
fn right_edge(head: &Head, tiles: &Tiles) -> Result<Tiles, GrowError> {
    let mut edge = Tiles::default();
    for tile in edge_tiles(head)? {
        keep(&mut edge, tile, Bytes::copy_from_slice(tiles.get(tile).unwrap_or_default()));
    }
    Ok(edge)
}

fn keep(tiles: &mut Tiles, tile: Tile, content: Bytes) {
    debug_assert!(matches!(tile.level(), TileLevel::Hashes(_)));
    // One that is not of its length is missed when it is asked for.
    let _ = tiles.insert(tile, content);
}

/// `head_path` holds a head of this log, or nothing yet; and this log holds that head. Then it is brought up to date.
fn judge_head_path(disk: &Disk, path: &Path, layout: &Layout, key: &SignerKey, head: &SignedHead) -> Result<(), OpenError> {
    let Some(note) = read(path)? else {
        tracing::info!(path = %path.display(), "sumdb.head_path holds no head yet");
        return Ok(write_head_path(disk, path, head.note())?);
    };
    let known = SignedHead::open(note, &key.verifier()).map_err(|source| OpenError::HeadPath { path: path.to_owned(), source })?;
    let (known, found) = (*known.head(), *head.head());
    if known.size > found.size {
        let folder = layout.folder().to_owned();
        return Err(OpenError::Behind { folder, path: path.to_owned(), found: found.size, known: known.size });
    }
    let fork = |source| OpenError::Fork { path: path.to_owned(), source };
    layout.with_tiles(|tiles| consistency(&known, &found, tiles).map_err(fork))?;
    if known.size < found.size {
        write_head_path(disk, path, head.note())?;
    }
    Ok(())
}
