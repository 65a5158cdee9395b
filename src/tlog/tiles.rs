//! The tiles at hand, for proofs and for growing.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::tile::{Tile, TileLevel};

/// Hash tiles at hand: not yet believed, but each of its right length. Of one place the widest is kept, and answers for the narrower.
#[derive(Clone, Debug, Default)]
pub struct Tiles(BTreeMap<(u8, u64), Bytes>);

/// A tile's content has a length that is not its own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{tile} is {found} bytes long")]
pub struct TileLengthError {
    /// The tile, or a data tile, of which there are none here.
    pub tile: Tile,
    /// The length of what was said to be it.
    pub found: usize,
}

impl Tiles {
    /// Adds a tile. What stood at its place goes, unless it is wider.
    ///
    /// # Errors
    ///
    /// [`TileLengthError`] where the content is not of the tile's length, and for data tiles.
    pub fn insert(&mut self, tile: Tile, content: Bytes) -> Result<(), TileLengthError> {
        let TileLevel::Hashes(level) = tile.level() else { return Err(TileLengthError { tile, found: content.len() }) };
        if tile.byte_len() != Some(content.len()) {
            return Err(TileLengthError { tile, found: content.len() });
        }
        let held = self.0.entry((level, tile.n())).or_default();
        if held.len() <= content.len() {
            *held = content;
        }
        Ok(())
    }

    /// Takes a tile away, of whatever width: one that did not fit.
    pub fn remove(&mut self, tile: Tile) {
        if let TileLevel::Hashes(level) = tile.level() {
            self.0.remove(&(level, tile.n()));
        }
    }

    /// A tile's content, at its own width.
    pub fn get(&self, tile: Tile) -> Option<&[u8]> {
        let TileLevel::Hashes(level) = tile.level() else { return None };
        self.0.get(&(level, tile.n()))?.get(..tile.byte_len()?)
    }
}
