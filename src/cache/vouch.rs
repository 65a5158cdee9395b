//! What the cache asks of whoever knows what public modules hold, and what it says when nobody vouches for them. How that is known is
//! no matter of its own: the client of a checksum database, further down the layers, is who answers.

use std::fmt;
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

/// A file of a version that a record speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The zip.
    Zip,
    /// The go.mod.
    Mod,
}

impl Part {
    /// How its file's name ends.
    pub fn ext(self) -> &'static str {
        match self {
            Self::Zip => ".zip",
            Self::Mod => ".mod",
        }
    }

    /// What it is to hash to.
    pub fn of(self, vouched: &Vouched) -> H1 {
        match self {
            Self::Zip => vouched.zip,
            Self::Mod => vouched.go_mod,
        }
    }
}

/// Who vouches for what public modules hold: a checksum database. Cheap to ask for what was asked before.
#[async_trait]
pub trait Vouch: Send + Sync {
    /// The database's name, under which what it said is kept: host[/path].
    fn database(&self) -> &str;

    /// What tells it from other vouchers: what another vouched for is checked before it is answered with. Of a database its verifier key.
    fn identity(&self) -> String;

    /// The verified record of a version. However many ask for one at once, it is fetched once; it is kept in the cache, by
    /// [`Cache::keep_lookup`](super::Cache::keep_lookup), before this returns. Whoever stops waiting need not stop it.
    /// `principal`: for whom, as it stands in the egress ledger.
    ///
    /// # Errors
    ///
    /// [`VouchError`]. None of these says that the module is absent.
    async fn vouch(&self, path: &ModulePath, version: &Version, principal: &str) -> Result<Vouched, VouchError>;

    /// Whether anything that is not kept yet may enter, also where its record is known.
    ///
    /// # Errors
    ///
    /// [`VouchError::Forked`].
    fn admits(&self) -> Result<(), VouchError>;
}

/// Nobody vouches for anything: there is no database, and nothing comes in.
#[derive(Clone, Copy, Debug)]
pub struct NoDatabase;

#[async_trait]
impl Vouch for NoDatabase {
    fn database(&self) -> &str {
        "(none)"
    }

    fn identity(&self) -> String {
        self.database().to_owned()
    }

    async fn vouch(&self, _: &ModulePath, _: &Version, _: &str) -> Result<Vouched, VouchError> {
        Err(VouchError::Away(Arc::new(CacheError::Off)))
    }

    fn admits(&self) -> Result<(), VouchError> {
        Err(VouchError::Away(Arc::new(CacheError::Off)))
    }
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
            CacheError::Unvouched(unvouched) => unvouched.error.clone(),
            CacheError::Mismatch(mismatch) => Self::Bad(mismatch.to_string()),
        }
    }
}

/// Nobody vouches for a version: what the client is told.
#[derive(Clone, Debug)]
pub struct Unvouched {
    /// The module.
    pub path: ModulePath,
    /// The version.
    pub version: Version,
    /// The database that was asked.
    pub database: String,
    /// Why.
    pub error: VouchError,
}

impl std::error::Error for Unvouched {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl fmt::Display for Unvouched {
    /// What to do comes first: the go command cuts what is long.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, version, database, error } = self;
        write!(f, "{path}@{version} is not verified: ")?;
        match error {
            VouchError::Unknown(words) => {
                let words = words.lines().next().unwrap_or_default();
                write!(
                    f,
                    "upstream has it, but {database} does not know it; if no checksum database can, upstream.unverified names it here: {words}"
                )
            }
            VouchError::Away(why) => {
                write!(f, "the checksum database {database} cannot be reached, and nothing new enters without it: {why}")
            }
            VouchError::Bad(why) => write!(f, "what the checksum database {database} answers does not hold: {why}"),
            VouchError::Forked(why) => {
                write!(f, "{database} shows two trees, and nothing new enters until an operator decides (modgate sumdb trust): {why}")
            }
            VouchError::Denied(_) | VouchError::Storage(_) => error.fmt(f),
        }
    }
}

/// What came, or was kept, is not what the database says. Nothing of it is given out or kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}@{version}{}: checksum mismatch: {found} by {from}, {expected} by {database}; it is not given out and not kept", part.ext())]
pub struct Mismatch {
    /// The module.
    pub path: ModulePath,
    /// The version.
    pub version: Version,
    /// Which file of it.
    pub part: Part,
    /// What the database says.
    pub expected: H1,
    /// What it is.
    pub found: H1,
    /// The database.
    pub database: String,
    /// Where it came from: an upstream's host, or `the cache`.
    pub from: String,
}
