//! `refresh --purge`: what an operator drops of the cache.

use serde::{Deserialize, Serialize};

use super::{OperationError, Operations};
use crate::cache::Cache;
use crate::module::{ModulePath, Version};
use crate::observe::audit::{Actor, Event};
use crate::observe::spawn_blocking;
use crate::store::StoreError;

/// `purge`
#[derive(Debug, Serialize, Deserialize)]
pub struct PurgeAsk {
    /// `MODULE[@VERSION]`
    pub module: String,
}

/// What was dropped.
#[derive(Debug, Serialize, Deserialize)]
pub struct PurgeDone {
    /// Files; a zip and its hash are one.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Operations {
    pub(super) async fn purge(&self, ask: PurgeAsk, actor: &Actor) -> Result<PurgeDone, OperationError> {
        let bad = |e: &dyn std::fmt::Display| OperationError::Bad(e.to_string());
        let (path, version) = match ask.module.split_once('@') {
            Some((path, version)) => (path, Some(version.parse::<Version>().map_err(|e| bad(&e))?)),
            None => (ask.module.as_str(), None),
        };
        let path: ModulePath = path.parse().map_err(|e| bad(&e))?;
        let (of, only) = (path.clone(), version.clone());
        let purged = self.with_cache(move |cache| cache.purge(&of, only.as_ref())).await?;
        self.audit.record_durably(actor, &[Event::Purge { path, version, removed: purged.files }]).await;
        Ok(PurgeDone { files: purged.files, bytes: purged.bytes })
    }

    pub(super) async fn with_cache<T: Send + 'static>(&self, run: impl FnOnce(&Cache) -> T + Send + 'static) -> Result<T, OperationError> {
        let cache = self.cache.clone();
        let ran = spawn_blocking(move || run(&cache)).await;
        Ok(ran.map_err(|stopped| StoreError::Unavailable(Box::new(stopped)))?)
    }
}
