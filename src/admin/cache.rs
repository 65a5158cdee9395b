//! `refresh --purge` and `gc`: what an operator drops of the cache.

use serde::{Deserialize, Serialize};

use super::{OperationError, Operations};
use crate::cache::{Cache, Garbage, GcReport, Swept};
use crate::module::{ModulePath, Version};
use crate::observe::audit::{Actor, Event};
use crate::store::StoreError;

/// Lines of a kind that are told, at most; the rest is counted.
const LINES_MAX: usize = 10_000;

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

/// `gc`
#[derive(Debug, Serialize, Deserialize)]
pub struct GcAsk {
    /// Removes what would go.
    pub force: bool,
}

/// A thing that goes, went, or stays for a reason.
#[derive(Debug, Serialize, Deserialize)]
pub struct GcLine {
    /// `cache-damaged`, `cache-stray`, `cache-expired`, or `last-copy`, which stays.
    pub kind: String,
    /// Which.
    pub path: String,
    /// Its bytes.
    pub bytes: u64,
}

/// What `gc` found.
#[derive(Debug, Serialize, Deserialize)]
pub struct GcDone {
    /// What goes, or went if that was asked for.
    pub goes: Vec<GcLine>,
    /// What stays though one might ask.
    pub stays: Vec<GcLine>,
    /// All that goes, also beyond the lines told.
    pub files: u64,
    /// Its bytes.
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

    pub(super) async fn gc(&self, ask: GcAsk, actor: &Actor) -> Result<GcDone, OperationError> {
        let GcReport { garbage, last_copies } =
            self.with_cache(move |cache| if ask.force { cache.gc() } else { cache.gc_report() }).await?;
        let (files, bytes) = (garbage.len() as u64, garbage.iter().map(|(_, swept)| swept.bytes).sum());
        if ask.force {
            self.audit.record_durably(actor, &[Event::Gc { removed: files, bytes }]).await;
        }
        let line = |kind: &str, swept: Swept| GcLine { kind: kind.to_owned(), path: swept.file, bytes: swept.bytes };
        let goes = garbage.into_iter().take(LINES_MAX).map(|(kind, swept)| line(kind_name(kind), swept)).collect();
        let stays = last_copies.into_iter().take(LINES_MAX).map(|swept| line("last-copy", swept)).collect();
        Ok(GcDone { goes, stays, files, bytes })
    }

    async fn with_cache<T: Send + 'static>(&self, run: impl FnOnce(&Cache) -> T + Send + 'static) -> Result<T, OperationError> {
        let cache = self.cache.clone();
        let ran = tokio::task::spawn_blocking(move || run(&cache)).await;
        Ok(ran.map_err(|stopped| StoreError::Unavailable(Box::new(stopped)))?)
    }
}

fn kind_name(kind: Garbage) -> &'static str {
    match kind {
        Garbage::Damaged => "cache-damaged",
        Garbage::Stray => "cache-stray",
        Garbage::Expired => "cache-expired",
    }
}
