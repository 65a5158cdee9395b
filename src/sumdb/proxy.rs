//! The public checksum database, by way of the upstream chain, for clients that verify by themselves.
//!
//! Look-ups and tiles never change: they are kept beside the modules, within the same bound, and served with the
//! database dead. Its newest head is asked for each time, and served stale only while upstream fails. An absence
//! is never kept: the database may learn of a module at any moment. Where the gateway has a client of its own, a look-up goes through
//! that, so that one that is kept is one that was verified; and a tile of the tree that is known is held against that tree.

use crate::cache::{Absence, Asker, Asset, Body, Cache, CacheError, CacheStatus, Cached, Resolved, VouchError};
use crate::module::{ModulePath, Version};
use crate::protocol::{SumdbAsk, SumdbWhat, media};
use crate::tlog::Tile;

use super::client::Client;

/// The one public database that is proxied.
#[derive(Clone)]
pub struct Proxy {
    cache: Cache,
    name: Option<String>,
    client: Option<Client>,
}

/// Why there is no answer. None of these is an absence but [`ProxyError::Unknown`].
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProxyError {
    /// `upstream.sumdb = "off"`.
    #[error("the public checksum database is off here (upstream.sumdb)")]
    Off,
    /// It is not the database that is proxied, or not a question that is passed on.
    #[error("no such checksum database here")]
    Unknown,
    /// The path is private, or upstream failed.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// A tile that is not of the database's tree, or nobody can tell.
    #[error(transparent)]
    Tile(VouchError),
}

impl Proxy {
    /// `name`: the database's, host[/path]; `None` where it is off. `client`: who verifies what it says; the cache is then that client's.
    pub fn new(cache: Cache, name: Option<String>, client: Option<Client>) -> Self {
        Self { cache, name, client }
    }

    /// Whether it is this database that is proxied.
    pub fn is_of(&self, name: &str) -> bool {
        self.name.as_deref() == Some(name)
    }

    /// Answers `/lookup/`, `/tile/` and `/latest`; `/supported` is answered without asking anyone, and not here.
    /// A look-up goes out only with the egress policy's permit for its module; `principal` is for whom.
    ///
    /// # Errors
    ///
    /// [`ProxyError`].
    pub async fn resolve(&self, ask: &SumdbAsk, principal: &str) -> Result<Resolved, ProxyError> {
        let name = self.name.as_ref().ok_or(ProxyError::Off)?;
        if *name != ask.name || ask.what == SumdbWhat::Supported {
            return Err(ProxyError::Unknown);
        }
        match (&self.client, &ask.what) {
            (Some(client), SumdbWhat::Lookup(path, version)) => look_up(client, path, version, principal).await,
            (Some(client), SumdbWhat::Tile(tile)) => self.tile(client, *tile, name, principal).await,
            _ => self.get(name, &ask.what, principal).await,
        }
    }

    async fn get(&self, name: &str, what: &SumdbWhat, principal: &str) -> Result<Resolved, ProxyError> {
        Ok(self.cache.get(Asset::Sumdb(name.to_owned(), what.clone()), Asker { principal, anew: false }).await?)
    }

    /// A tile that does not fit is asked for once more: what is kept may be rotten. While that cannot be told, what is kept is served:
    /// clients verify it themselves.
    async fn tile(&self, client: &Client, tile: Tile, name: &str, principal: &str) -> Result<Resolved, ProxyError> {
        let what = SumdbWhat::Tile(tile);
        for _ in 0..2 {
            let resolved = self.get(name, &what, principal).await?;
            let Resolved::Found(Cached { body: Body::Bytes(hashes), status, .. }) = &resolved else { return Ok(resolved) };
            match client.is_authentic(tile, hashes).await {
                Ok(true) => return Ok(resolved),
                Ok(false) => {}
                Err(VouchError::Away(_) | VouchError::Forked(_)) if *status == CacheStatus::Hit => return Ok(resolved),
                Err(error) => {
                    self.cache.drop_tile(name, &tile).await;
                    return Err(ProxyError::Tile(error));
                }
            }
        }
        Err(ProxyError::Tile(client.record_bad_tile(tile)))
    }
}

async fn look_up(client: &Client, path: &ModulePath, version: &Version, principal: &str) -> Result<Resolved, ProxyError> {
    match client.look_up(path, version, principal).await {
        Ok(found) => Ok(Resolved::Found(Cached::whole(found.bytes, found.etag, media::TEXT, found.status))),
        Err(VouchError::Unknown(text)) => Ok(Resolved::Absent(Absence { code: 404, text, status: CacheStatus::Miss })),
        Err(error) => Err(ProxyError::Cache(error.of(path, version, client.database().name()))),
    }
}

#[cfg(test)]
mod tests;
