//! What is kept of checksum databases. A look-up stands among what never changes only if its record was verified: that it is there is
//! what an entry remembers of having been vouched for. What was not verified is a memo, or not kept at all.

use bytes::Bytes;

use crate::module::{ModulePath, Version};
use crate::protocol::SumdbWhat;
use crate::tlog::Tile;

use super::place::Asset;
use super::shelf::{Content, Kept};
use super::{Cache, CacheError};

/// What is asked of a database about a version.
pub(super) fn lookup(database: &str, path: &ModulePath, version: &Version) -> Asset {
    Asset::Sumdb(database.to_owned(), SumdbWhat::Lookup(path.clone(), version.clone()))
}

impl Cache {
    /// The look-up of a version that was kept as verified, whole, and its entity tag. It counts as used now.
    ///
    /// # Errors
    ///
    /// [`CacheError::Storage`]: it is there, or may be, and cannot be read.
    pub async fn kept_lookup(
        &self,
        database: &str,
        path: &ModulePath,
        version: &Version,
    ) -> Result<Option<(Bytes, Option<String>)>, CacheError> {
        let kept = self.inner.stock.look_up(&lookup(database, path, version)).await?;
        // With a date it is a memo.
        Ok(kept.filter(|answer| answer.at.is_none()).and_then(|answer| match &answer.kept {
            Kept::Found { content: Content::Bytes(bytes), etag } => Some((bytes.clone(), etag.clone())),
            // Longer than any look-up may be.
            Kept::Found { content: Content::File { .. }, .. } | Kept::Absent(_) => None,
        }))
    }

    /// Keeps a look-up whose record was verified: note, inclusion and consistency. `bytes`: as they came. False: it
    /// could not be kept, which is logged.
    pub async fn keep_lookup(&self, database: &str, path: &ModulePath, version: &Version, bytes: Bytes) -> bool {
        let asset = lookup(database, path, version);
        let kept = self.inner.stock.write(&asset, move |shelf, asset| {
            let place = asset.place();
            shelf.keep_file(place.file.as_deref(), &bytes)?;
            shelf.forget(place.memo.as_deref());
            Ok(())
        });
        kept.await.inspect_err(|why| tracing::warn!(%asset, %why, "a verified look-up is not kept")).is_ok()
    }

    /// Drops what was kept as verified: it is asked for anew when it is next wanted.
    pub async fn drop_lookup(&self, database: &str, path: &ModulePath, version: &Version) {
        self.inner.doubt(database, path, version).await;
    }

    /// Drops a tile that does not fit its tree: it is asked for anew when it is next wanted.
    pub async fn drop_tile(&self, database: &str, tile: &Tile) {
        let asset = Asset::Sumdb(database.to_owned(), SumdbWhat::Tile(*tile));
        let dropped = self.inner.stock.write(&asset, |shelf, asset| {
            shelf.forget(asset.place().file.as_deref());
            Ok(())
        });
        if let Err(why) = dropped.await {
            tracing::warn!(%asset, %why, "a tile that does not fit cannot be dropped");
        }
    }
}
