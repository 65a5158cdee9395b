//! What the cache asks of whoever knows what public modules hold. It says nothing of how that is known: the client of a checksum
//! database, further down the layers, is who answers.

use std::sync::Arc;

use async_trait::async_trait;

use super::CacheError;
use crate::egress::Denied;
use crate::module::{H1, ModulePath, Version};

/// What a checksum database says of a module version; verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vouched {
    /// The hash of its zip.
    pub zip: H1,
    /// The hash of its go.mod.
    pub go_mod: H1,
}

/// Who vouches for what public modules hold: a checksum database. Cheap to ask for what was asked before.
#[async_trait]
pub trait Vouch: Send + Sync {
    /// The database's name, under which what it said is kept: host[/path].
    fn database(&self) -> &str;

    /// The verified record of a version. However many ask for one at once, it is fetched once; it is kept in the cache, by
    /// [`Cache::keep_lookup`](super::Cache::keep_lookup), before this returns. Whoever stops waiting need not stop it.
    /// `principal`: for whom, as it stands in the egress ledger.
    ///
    /// # Errors
    ///
    /// [`VouchError`]. None of these says that the module is absent.
    async fn vouch(&self, path: &ModulePath, version: &Version, principal: &str) -> Result<Vouched, VouchError>;
}

/// Why nobody vouches for a version.
#[derive(Clone, Debug, thiserror::Error)]
pub enum VouchError {
    /// The database says that it has no such version; its own words.
    #[error("{0}")]
    Unknown(String),
    /// The database cannot be asked.
    #[error("the checksum database cannot be reached: {0}")]
    Away(#[source] Arc<CacheError>),
    /// What it answered does not hold: a note, a tile, a record, a proof.
    #[error("the checksum database's answer does not hold: {0}")]
    Bad(String),
    /// It shows another tree than it showed before; nothing of it is believed until an operator decides.
    #[error("the checksum database shows two trees: {0}")]
    Forked(String),
    /// The path may not leave, by now.
    #[error(transparent)]
    Denied(Arc<Denied>),
    /// It broke here.
    #[error("{0}")]
    Storage(String),
}

impl From<CacheError> for VouchError {
    /// Of asking the database by way of a cache.
    fn from(error: CacheError) -> Self {
        match error {
            CacheError::Denied(denied) => Self::Denied(denied),
            CacheError::Storage(why) => Self::Storage(why),
            CacheError::Timeout(_) | CacheError::Upstream(_) | CacheError::Off | CacheError::Busy(_) => Self::Away(Arc::new(error)),
        }
    }
}
