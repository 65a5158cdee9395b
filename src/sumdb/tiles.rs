//! Tiles for proofs: out of memory where they were proven before, else by way of the cache, together.
//!
//! A tile is asked for at the width that the tree has it; the full one answers where a narrower one is gone, as databases drop those once
//! there is more. One that does not fit is dropped and asked for once more: what was kept may be rotten, or of another tree.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};

use super::client::{Client, Got, Inner, bad};
use crate::cache::{Asker, VouchError};
use crate::protocol::SumdbWhat;
use crate::tlog::{self, ProofError, Proven, Step, Tile, Tiles};

/// Tiles that one proof asks for at once.
const AT_ONCE: usize = 8;
/// A tile names nobody's module: it is asked for by us.
const ASKER: Asker<'_> = Asker { principal: "modgate", anew: false };

/// Why something is not proven.
pub(super) enum Unproven {
    /// Both heads are the database's, and not of one log.
    Fork(String),
    /// The database's answers do not hold, or it cannot be asked.
    Failed(VouchError),
}

impl From<VouchError> for Unproven {
    fn from(error: VouchError) -> Self {
        Self::Failed(error)
    }
}

impl Client {
    /// Whether a tile that came for a client is the database's: of data tiles, and beyond the newest head, nothing is known, and that is
    /// true. What is not true does not stay in the cache.
    ///
    /// # Errors
    ///
    /// It cannot be found out.
    pub async fn is_authentic(&self, tile: Tile, hashes: &[u8]) -> Result<bool, VouchError> {
        let inner = &self.inner;
        let view = inner.view()?;
        if tile.in_tree(view.head.size).is_none() {
            return Ok(true);
        }
        let good = match inner.database.tile(tile) {
            Some(proven) => proven == hashes,
            None => match inner.prove(|tiles| tlog::membership(&view.head, tile, tiles)).await {
                Ok((proven, tiles)) => {
                    inner.database.remember(&view, &proven.tiles, &tiles);
                    tiles.get(tile) == Some(hashes)
                }
                Err(Unproven::Fork(why)) => return Err(bad(why)),
                Err(Unproven::Failed(error)) => return Err(error),
            },
        };
        if !good {
            inner.cache.drop_tile(inner.database.name(), &tile).await;
        }
        Ok(good)
    }

    /// Records a tile that does not fit, also when it was asked for once more.
    pub fn record_bad_tile(&self, tile: Tile) -> VouchError {
        let why = format!("{tile} does not fit the tree");
        self.inner.record_bad(&format!("{} {tile}", self.inner.database.name()), &why);
        bad(why)
    }
}

impl Inner {
    /// Carries a proof to its end: what it proves, and the tiles that it had.
    pub(super) async fn prove(
        self: &Arc<Self>,
        proof: impl Fn(&Tiles) -> Result<Step<Proven>, ProofError>,
    ) -> Result<(Proven, Tiles), Unproven> {
        let mut tiles = Tiles::default();
        let mut anew = BTreeSet::new();
        loop {
            match proof(&tiles) {
                Ok(Step::Done(proven)) => return Ok((proven, tiles)),
                Ok(Step::Missing(missing)) => {
                    for (tile, hashes) in self.bring(missing, &anew).await? {
                        tiles.insert(tile, hashes).map_err(bad)?;
                    }
                }
                Err(ProofError::Inconsistent(wrong)) if wrong.iter().any(|tile| !anew.contains(tile)) => {
                    for tile in wrong.into_iter().filter(|tile| anew.insert(*tile)).collect::<Vec<_>>() {
                        tiles.remove(tile);
                        self.discard(tile).await;
                    }
                }
                Err(ProofError::Fork { size, older, newer }) => {
                    return Err(Unproven::Fork(format!("of {size} records one root is {older}, the other {newer}")));
                }
                Err(error) => return Err(Unproven::Failed(bad(error))),
            }
        }
    }

    async fn bring(self: &Arc<Self>, missing: Vec<Tile>, anew: &BTreeSet<Tile>) -> Result<Vec<(Tile, Bytes)>, VouchError> {
        let mut brought = Vec::new();
        let mut asked = Vec::new();
        for tile in missing {
            match self.database.tile(tile).filter(|_| !anew.contains(&tile)) {
                Some(hashes) => brought.push((tile, hashes)),
                None => asked.push(tile),
            }
        }
        let each = futures::stream::iter(asked).map(|tile| {
            let inner = self.clone();
            async move { inner.ask(tile).await }
        });
        brought.extend(each.buffer_unordered(AT_ONCE).try_collect::<Vec<_>>().await?);
        Ok(brought)
    }

    /// A tile, or the full one at its place.
    async fn ask(&self, tile: Tile) -> Result<(Tile, Bytes), VouchError> {
        let mut names = vec![tile];
        if !tile.is_full() {
            names.push(tile.full());
        }
        for name in names {
            if let Got::Found(hashes) = self.get(SumdbWhat::Tile(name), ASKER).await? {
                return Ok((name, hashes));
            }
        }
        Err(bad(format!("it has no {tile}")))
    }

    /// Drops a tile that does not fit, and what may have answered for it.
    async fn discard(&self, tile: Tile) {
        self.database.forget(tile);
        for name in [tile, tile.full()] {
            self.cache.drop_tile(self.database.name(), &name).await;
        }
    }
}
