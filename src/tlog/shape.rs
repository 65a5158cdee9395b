//! The shape of a tree of height-8 tiles: which nodes and tiles a tree of a size has. Numbers alone, right for every `u64`.

use super::hash::Hash;
use super::tile::Tile;

/// The height of a tile.
const HEIGHT: u8 = 8;

/// A complete subtree: the `index`th of those with `2^level` records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) level: u8,
    pub(super) index: u64,
}

/// The largest complete subtrees that `size` records make, from left to right, at most 64: what a root is made of.
pub(super) fn peaks(size: u64) -> impl DoubleEndedIterator<Item = Node> {
    // With its bit set the quotient is odd: the node before it is the complete one.
    (0..64u8).rev().filter(move |level| size >> level & 1 == 1).map(move |level| Node { level, index: (size >> level) - 1 })
}

/// The root over the peaks' hashes, which come from right to left.
pub(super) fn root(peaks_reversed: impl IntoIterator<Item = Hash>) -> Hash {
    peaks_reversed.into_iter().reduce(|right, left| Hash::of_node(left, right)).unwrap_or_else(Hash::of_empty_tree)
}

/// How many hashes the tree has at a tile level.
pub(super) fn hash_count(size: u64, tile_level: u8) -> u64 {
    size.checked_shr(u32::from(tile_level) * u32::from(HEIGHT)).unwrap_or(0)
}

/// The hash tile at a place in a tree of that size, as wide as it is there; `None` where it is not.
pub(super) fn tile_in(size: u64, tile_level: u8, n: u64) -> Option<Tile> {
    let start = n.checked_mul(u64::from(Tile::WIDTH))?;
    let width = hash_count(size, tile_level).checked_sub(start).filter(|left| *left > 0)?.min(u64::from(Tile::WIDTH));
    // At most 256.
    Some(Tile::hashes(tile_level, n, width as u16))
}

impl Node {
    /// The level of the tile that holds it, the tile's place, and how far above the tile's own hashes it lies.
    pub(super) fn place(self) -> (u8, u64, u8) {
        let above = self.level % HEIGHT;
        (self.level / HEIGHT, self.index >> (HEIGHT - above), above)
    }

    /// The tile that holds it, in a tree of that size.
    pub(super) fn tile(self, size: u64) -> Option<Tile> {
        let (tile_level, n, _) = self.place();
        tile_in(size, tile_level, n)
    }

    /// Its hash, out of the content of the tile that holds it. None where the content is too short.
    pub(super) fn hash_from(self, content: &[u8]) -> Option<Hash> {
        let (_, n, above) = self.place();
        // Below 256: what the place took off the index.
        let first = usize::try_from((self.index - (n << (HEIGHT - above))) << above).ok()?;
        let hashes = content.get(first * Hash::BYTES..(first + (1 << above)) * Hash::BYTES)?;
        Some(subtree(hashes))
    }
}

/// The hash over a power of two of hashes; `tlog.tileHash`.
pub(super) fn subtree(hashes: &[u8]) -> Hash {
    match hashes.try_into() {
        Ok(hash) => Hash(hash),
        Err(_) => {
            let (left, right) = hashes.split_at(hashes.len() / 2);
            Hash::of_node(subtree(left), subtree(right))
        }
    }
}
