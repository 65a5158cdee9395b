//! The public checksum database, by way of the upstream chain.
//!
//! Look-ups and tiles never change: they are kept beside the modules, within the same bound, and served with the
//! database dead. Its newest head is asked for each time, and served stale only while upstream fails. An absence
//! is never kept: the database may learn of a module at any moment. What it says is not checked here: its clients do.

use crate::cache::{Asker, Asset, Cache, CacheError, Resolved};
use crate::protocol::{SumdbAsk, SumdbWhat};

/// The one public database that is proxied.
#[derive(Clone)]
pub struct Proxy {
    cache: Cache,
    name: Option<String>,
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
}

impl Proxy {
    /// `name`: the database's, host[/path]; `None` where it is off.
    pub fn new(cache: Cache, name: Option<String>) -> Self {
        Self { cache, name }
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
        let asker = Asker { principal, anew: false };
        Ok(self.cache.get(Asset::Sumdb(name.clone(), ask.what.clone()), asker).await?)
    }
}

#[cfg(test)]
mod tests;
