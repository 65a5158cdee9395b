//! Growing a tree: the tiles to write and the new root, as `tlog.NewTiles` and `tlog.ReadTileData` of x/mod give them.

use bytes::Bytes;

use super::Step;
use super::hash::Hash;
use super::head::{Head, SIZE_MAX};
use super::proof::{self, ProofError};
use super::shape;
use super::tile::{Tile, TileLevel};
use super::tiles::Tiles;

/// A tree that has grown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grown {
    /// Its head.
    pub head: Head,
    /// The hash tiles that the older tree has not, or not as wide, each whole: lower levels first. Data tiles: [`Tile::new_data`].
    pub tiles: Vec<(Tile, Bytes)>,
}

/// Why a tree does not grow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrowError {
    /// It would have more records than a head can say.
    #[error("a log has at most 2^63 - 1 records")]
    TooLarge,
    /// The tiles of its right edge do not make its root: what is grown on them would be another log.
    #[error(transparent)]
    Edge(#[from] ProofError),
}

/// Puts records behind those of `head`'s tree: `leaves` are their hashes ([`super::RecordText::hash`]). Of the older tree it needs the
/// tiles of its right edge, at most eight, and believes them only if they make its root. Without leaves nothing changes.
///
/// Memory: about what the new tiles are long, 32 bytes a leaf and up to 8 KiB a level.
///
/// # Errors
///
/// [`GrowError`].
pub fn grow(head: &Head, leaves: &[Hash], edge: &Tiles) -> Result<Step<Grown>, GrowError> {
    let size = u64::try_from(leaves.len()).ok().and_then(|count| head.size.checked_add(count));
    let size = size.filter(|size| *size <= SIZE_MAX).ok_or(GrowError::TooLarge)?;
    let mut all = Tiles::default();
    match proof::read(head, &[], edge)? {
        Step::Missing(tiles) => return Ok(Step::Missing(tiles)),
        Step::Done((_, tiles)) => {
            for tile in tiles {
                keep(&mut all, tile, Bytes::copy_from_slice(edge.get(tile).unwrap_or_default()));
            }
        }
    }
    let mut grown = Vec::new();
    let mut new = leaves.to_vec();
    let mut level = 0;
    while !new.is_empty() {
        let (tiles, full) = grow_level(head.size, level, &new, &all);
        for (tile, content) in tiles {
            keep(&mut all, tile, content.clone());
            grown.push((tile, content));
        }
        new = full;
        level += 1;
    }
    let hashes = shape::peaks(size).rev().filter_map(|peak| peak.hash_from(all.get(peak.tile(size)?)?));
    Ok(Step::Done(Grown { head: Head { size, root: shape::root(hashes) }, tiles: grown }))
}

/// The tiles of a level with new hashes in them, and the hashes of those that are full now: new ones of the level above.
fn grow_level(size: u64, level: u8, new: &[Hash], all: &Tiles) -> (Vec<(Tile, Bytes)>, Vec<Hash>) {
    let width = u64::from(Tile::WIDTH);
    let mut n = shape::hash_count(size, level) / width;
    let old = shape::tile_in(size, level, n).and_then(|tile| all.get(tile)).unwrap_or_default();
    let mut content = old.to_vec();
    let mut tiles = Vec::new();
    let mut full = Vec::new();
    for (i, hash) in new.iter().enumerate() {
        content.extend_from_slice(&hash.0);
        let is_full = content.len() == Tile::BYTES;
        if is_full || i + 1 == new.len() {
            // At most 256.
            let tile = Tile::hashes(level, n, (content.len() / Hash::BYTES) as u16);
            if is_full {
                full.push(shape::subtree(&content));
            }
            tiles.push((tile, Bytes::from(std::mem::take(&mut content))));
            n += 1;
        }
    }
    (tiles, full)
}

fn keep(all: &mut Tiles, tile: Tile, content: Bytes) {
    debug_assert!(matches!(tile.level(), TileLevel::Hashes(_)));
    all.insert(tile, content).expect("made with its own length");
}

#[cfg(test)]
mod tests;
