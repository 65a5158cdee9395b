//! All records of a log, read again, and the tree that they make.

use bytes::Bytes;

use super::layout::{Layout, TileError};
use super::open::OpenError;
use crate::stop::Stop;
use crate::tlog::{GrowError, Hash, Head, Record, RecordText, Step, Tile, TileLevel, Tiles, grow, write_data};

/// What was read, or follows from it.
pub(super) enum Reread<'a> {
    /// The records of a data tile.
    Records {
        /// The tile, as wide as the tree has it.
        tile: Tile,
        /// The first one's number.
        first: u64,
        /// All of them.
        records: &'a [Record],
        /// How long they are in the file.
        bytes: u64,
    },
    /// A hash tile of the tree, as wide as the tree has it. One that is full may come twice.
    Hashes(Tile, &'a [u8]),
}

/// Reads the data tiles of the tree that `signed` is the head of, in order, and gives what they hold and every hash tile that follows.
///
/// # Errors
///
/// Those of `on`, [`OpenError::Stopped`] once `stop` is asked, and another where the records make another tree. What was given before is
/// proven by nothing then.
pub(super) fn reread(
    layout: &Layout,
    signed: &Head,
    stop: &Stop,
    mut on: impl FnMut(Reread<'_>) -> Result<(), OpenError>,
) -> Result<(), OpenError> {
    let (mut head, mut edge) = (Head::empty(), Tiles::default());
    for tile in Tile::new_data(0, signed.size) {
        if stop.is_asked() {
            return Err(OpenError::Stopped);
        }
        let texts = layout.records(tile, tile.width())?;
        let records = parsed(layout, tile, head.size, &texts)?;
        on(Reread::Records { tile, first: head.size, records: &records, bytes: write_data(&texts).len() as u64 })?;
        let leaves: Vec<Hash> = texts.iter().map(RecordText::hash).collect();
        let Step::Done(grown) = grow(&head, &leaves, &edge)? else { break };
        for (tile, content) in grown.tiles {
            if tile.is_full() {
                on(Reread::Hashes(tile, &content))?;
            }
            keep(&mut edge, tile, content);
        }
        head = grown.head;
        edge = right_edge(&head, &edge)?;
    }
    if head != *signed {
        let folder = layout.folder().to_owned();
        return Err(OpenError::Disagrees { folder, size: head.size, found: head.root, signed: signed.root });
    }
    for tile in edge_tiles(&head)? {
        on(Reread::Hashes(tile, edge.get(tile).unwrap_or_default()))?;
    }
    Ok(())
}

/// Holds a hash tile on the disk against the one that follows from the records.
pub(super) fn compare(layout: &Layout, tile: Tile, content: &[u8]) -> Result<(), TileError> {
    let text = || "its hashes are not those of the records".to_owned();
    if layout.hashes(tile)? == content { Ok(()) } else { Err(TileError::Damaged { path: layout.tile(tile), text: text() }) }
}

fn parsed(layout: &Layout, tile: Tile, first: u64, texts: &[RecordText]) -> Result<Vec<Record>, OpenError> {
    let parse = |(id, text): (u64, &RecordText)| {
        let wrong = |e| TileError::Damaged { path: layout.tile(tile), text: format!("record {id}: {e}") };
        text.as_str().parse().map_err(wrong)
    };
    Ok((first..).zip(texts).map(parse).collect::<Result<_, TileError>>()?)
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
