//! What tiles prove about a tree of which the root is known: that it holds a record, and that it holds an older tree.
//!
//! As `tlog.TileHashReader` and `sumdb.Client` of x/mod: every tile that is used is first authenticated against the root. The tiles of
//! the right edge are checked together, as the root is made of them; every other one against its parent.

use super::Step;
use super::hash::Hash;
use super::head::Head;
use super::record::RecordText;
use super::shape::{self, Node};
use super::tile::{Tile, TileLevel};
use super::tiles::Tiles;

/// A proof that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// The tiles that are authentic at this width, parents before children: what may be kept. Of a wider one that was at hand nothing is
    /// known beyond it.
    pub tiles: Vec<Tile>,
}

/// Why there is no proof.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The tree has no such record.
    #[error("cannot validate record {id} in tree of size {size}")]
    NotInTree {
        /// The record's number.
        id: u64,
        /// The tree's size.
        size: u64,
    },
    /// The record is not the one that the tree holds there.
    #[error("cannot authenticate record {id}")]
    WrongRecord {
        /// The record's number.
        id: u64,
    },
    /// The newer tree is smaller than the older one.
    #[error("a tree of size {newer} cannot hold one of size {older}")]
    Shrunk {
        /// The older head's size.
        older: u64,
        /// The newer head's size.
        newer: u64,
    },
    /// Both heads cannot be of one log: the newer tree's first records are not the older's.
    #[error("the log is forked: at size {size} one root is {older}, the other {newer}")]
    Fork {
        /// The older tree's size.
        size: u64,
        /// Its root, as its head has it.
        older: Hash,
        /// The root of that many records of the newer tree.
        newer: Hash,
    },
    /// One of these tiles is not the tree's: which, only a single one tells.
    #[error("inconsistent tile: one of {0:?}")]
    Inconsistent(Vec<Tile>),
}

/// Whether record `id` of the head's tree is this one.
///
/// # Errors
///
/// [`ProofError::NotInTree`], [`ProofError::WrongRecord`], [`ProofError::Inconsistent`].
pub fn inclusion(head: &Head, id: u64, record: &RecordText, tiles: &Tiles) -> Result<Step<Proven>, ProofError> {
    if id >= head.size {
        return Err(ProofError::NotInTree { id, size: head.size });
    }
    let (hashes, tiles) = match read(head, &[Node { level: 0, index: id }], tiles)? {
        Step::Missing(tiles) => return Ok(Step::Missing(tiles)),
        Step::Done(read) => read,
    };
    if hashes.first() == Some(&record.hash()) { Ok(Step::Done(Proven { tiles })) } else { Err(ProofError::WrongRecord { id }) }
}

/// Whether the newer head's tree begins with the older's. Tiles are of the newer tree.
///
/// # Errors
///
/// [`ProofError::Shrunk`], [`ProofError::Fork`], [`ProofError::Inconsistent`].
pub fn consistency(older: &Head, newer: &Head, tiles: &Tiles) -> Result<Step<Proven>, ProofError> {
    if older.size > newer.size {
        return Err(ProofError::Shrunk { older: older.size, newer: newer.size });
    }
    let judged = |root: Hash, tiles| {
        if root == older.root {
            Ok(Step::Done(Proven { tiles }))
        } else {
            Err(ProofError::Fork { size: older.size, older: older.root, newer: root })
        }
    };
    if older.size == newer.size {
        return judged(newer.root, Vec::new());
    }
    let peaks: Vec<Node> = shape::peaks(older.size).collect();
    if peaks.is_empty() {
        return judged(Hash::of_empty_tree(), Vec::new());
    }
    match read(newer, &peaks, tiles)? {
        Step::Missing(tiles) => Ok(Step::Missing(tiles)),
        Step::Done((hashes, tiles)) => judged(shape::root(hashes.into_iter().rev()), tiles),
    }
}

/// Whether a hash tile is the tree's, as wide as the tree has it ([`Tile::in_tree`]).
///
/// # Errors
///
/// [`ProofError::NotInTree`] where the tree has no such tile, naming the first record below it; [`ProofError::Inconsistent`].
pub fn membership(head: &Head, tile: Tile, tiles: &Tiles) -> Result<Step<Proven>, ProofError> {
    let last = match (tile.level(), tile.in_tree(head.size)) {
        // It is in the tree: nothing overflows.
        (TileLevel::Hashes(level), Some(at)) => {
            Some(Node { level: level * 8, index: at.n() * u64::from(Tile::WIDTH) + u64::from(at.width() - 1) })
        }
        _ => None,
    };
    let Some(last) = last else {
        let above = if let TileLevel::Hashes(level) = tile.level() { u32::from(level) } else { 0 };
        let id = u64::from(Tile::WIDTH).saturating_pow(above + 1).saturating_mul(tile.n());
        return Err(ProofError::NotInTree { id, size: head.size });
    };
    Ok(match read(head, &[last], tiles)? {
        Step::Missing(tiles) => Step::Missing(tiles),
        Step::Done((_, tiles)) => Step::Done(Proven { tiles }),
    })
}

/// Hashes of a tree's nodes, in the order asked, and the tiles that were authenticated for them.
pub(super) type Authentic = (Vec<Hash>, Vec<Tile>);

/// The hashes of nodes of the head's tree, and the tiles that were authenticated for them. The nodes are in the tree.
///
/// Memory: at most a tile a level (8) for each node and for the edge.
pub(super) fn read(head: &Head, nodes: &[Node], tiles: &Tiles) -> Result<Step<Authentic>, ProofError> {
    let peaks: Vec<Node> = shape::peaks(head.size).collect();
    let mut needed: Vec<Tile> = Vec::new();
    for tile in peaks.iter().filter_map(|peak| peak.tile(head.size)) {
        if !needed.contains(&tile) {
            needed.push(tile);
        }
    }
    let edge = needed.len();
    for node in nodes {
        below_known(head.size, *node, &mut needed);
    }
    let missing: Vec<Tile> = needed.iter().copied().filter(|tile| tiles.get(*tile).is_none()).collect();
    if !missing.is_empty() {
        return Ok(Step::Missing(missing));
    }
    let hash = |node: &Node| node.tile(head.size).and_then(|tile| node.hash_from(tiles.get(tile)?));
    // All tiles are there: a hash is missing of a node that is not in the tree, and only of that.
    let hashes = |nodes: &[Node]| nodes.iter().map(hash).collect::<Option<Vec<_>>>();
    let wrong = |tiles: &[Tile]| ProofError::Inconsistent(tiles.to_vec());
    let of_peaks = hashes(&peaks).ok_or_else(|| wrong(&needed[..edge]))?;
    if shape::root(of_peaks.into_iter().rev()) != head.root {
        return Err(wrong(&needed[..edge]));
    }
    for tile in &needed[edge..] {
        let parent = parent_node(*tile).as_ref().and_then(hash);
        if parent.is_none() || tiles.get(*tile).map(shape::subtree) != parent {
            return Err(wrong(&[*tile]));
        }
    }
    let hashes = hashes(nodes).ok_or_else(|| wrong(&needed))?;
    Ok(Step::Done((hashes, needed)))
}

/// Adds the tile of a node, and before it those above it, up to one that is there already. Only full tiles have one above; a tile that
/// is not full holds a peak, so it is there.
fn below_known(size: u64, node: Node, needed: &mut Vec<Tile>) {
    let mut way = Vec::new();
    let mut next = node.tile(size);
    while let Some(tile) = next.filter(|tile| !needed.contains(tile)) {
        way.push(tile);
        next = parent_node(tile).and_then(|node| node.tile(size));
    }
    needed.extend(way.into_iter().rev());
}

/// The node that a full hash tile is below.
fn parent_node(tile: Tile) -> Option<Node> {
    match tile.level() {
        TileLevel::Hashes(level) => Some(Node { level: level.checked_add(1)?.checked_mul(8)?, index: tile.n() }),
        TileLevel::Data => None,
    }
}

#[cfg(test)]
mod tests;
