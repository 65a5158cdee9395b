//! Where the log's files lie, and how the committed part of them is read.
//!
//! ```text
//! key                the signer key, a secret (0600)
//! head               the note of the newest head: the commit point
//! head-path          where sumdb.head_path was written last
//! tile/8/L/N…        the hashes of a tile, 32 bytes each
//! tile/8/data/N…     the records of a tile, an empty line behind each
//! ```
//!
//! A tile of any width is the beginning of the one file at its place, which grows until it is full. What lies in a file beyond the tree of
//! `head` was never committed: it is not read, and the next commit writes over it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::tlog::{Hash, RecordText, Step, Tile, Tiles, split_data};

/// The log's folder.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    folder: PathBuf,
}

/// A tile of the tree cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TileError {
    /// The disk.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Arc<io::Error>,
    },
    /// It does not hold what was committed.
    #[error("{} is damaged: {text}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        text: String,
    },
}

impl Layout {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn key(&self) -> PathBuf {
        self.folder.join("key")
    }

    pub(super) fn head(&self) -> PathBuf {
        self.folder.join("head")
    }

    pub(super) fn head_path_note(&self) -> PathBuf {
        self.folder.join("head-path")
    }

    /// The file of a tile, of whatever width.
    pub(super) fn tile(&self, tile: Tile) -> PathBuf {
        self.folder.join(tile.full().to_string())
    }

    /// The content of a hash tile.
    pub(super) fn hashes(&self, tile: Tile) -> Result<Bytes, TileError> {
        let path = self.tile(tile);
        let mut content = vec![0; usize::from(tile.width()) * Hash::BYTES];
        File::open(&path).and_then(|file| file.read_exact_at(&mut content, 0)).map_err(|source| read_error(path, source))?;
        Ok(content.into())
    }

    /// The first `width` records of a data tile.
    pub(super) fn records(&self, tile: Tile, width: u16) -> Result<Vec<RecordText>, TileError> {
        let path = self.tile(tile);
        let content = fs::read(&path).map_err(|source| read_error(path.clone(), source))?;
        split_data(&content, width).ok_or_else(|| TileError::Damaged { path, text: format!("it does not begin with {width} records") })
    }

    /// A record of a tree that has it, if it is the one that the tree's hash is of.
    pub(super) fn record(&self, id: u64) -> Result<RecordText, TileError> {
        let (n, nth) = (id / u64::from(Tile::WIDTH), id % u64::from(Tile::WIDTH));
        let (hashes, data) = Tile::of_records(n);
        // Below 256.
        let nth = nth as u16;
        let record = self.records(data, nth + 1)?.pop();
        let mut leaf = [0; Hash::BYTES];
        let path = self.tile(hashes);
        let at = u64::from(nth) * Hash::BYTES as u64;
        File::open(&path).and_then(|file| file.read_exact_at(&mut leaf, at)).map_err(|source| read_error(path, source))?;
        record
            .filter(|record| record.hash() == Hash(leaf))
            .ok_or_else(|| TileError::Damaged { path: self.tile(data), text: format!("record {id} is not the one that was committed") })
    }

    /// Goes on with a computation until it has all the tiles that it wants.
    pub(super) fn with_tiles<T, E: From<TileError>>(&self, ask: impl Fn(&Tiles) -> Result<Step<T>, E>) -> Result<T, E> {
        let mut tiles = Tiles::default();
        loop {
            match ask(&tiles)? {
                Step::Done(done) => return Ok(done),
                Step::Missing(missing) => {
                    for tile in missing {
                        let wrong = |e| TileError::Damaged { path: self.tile(tile), text: format!("{e}") };
                        tiles.insert(tile, self.hashes(tile)?).map_err(wrong)?;
                    }
                }
            }
        }
    }
}

fn read_error(path: PathBuf, source: io::Error) -> TileError {
    match source.kind() {
        io::ErrorKind::NotFound => TileError::Damaged { path, text: "it is gone".to_owned() },
        io::ErrorKind::UnexpectedEof => TileError::Damaged { path, text: "it is too short".to_owned() },
        _ => TileError::Read { path, source: Arc::new(source) },
    }
}
