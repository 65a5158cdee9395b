//! `gc`: what may go, and removing it, only when it is asked for.

use serde::{Deserialize, Serialize};

use super::{OperationError, Operations};
use crate::cache::{Cache, Garbage, GcReport, Swept};
use crate::observe::audit::{Actor, Event};

/// Lines of a kind that are told, at most; the rest is counted.
const LINES_MAX: usize = 10_000;

/// `gc`
#[derive(Debug, Serialize, Deserialize)]
pub struct GcAsk {
    /// Removes what would go.
    pub force: bool,
}

/// A thing that goes, went, or stays for a reason.
#[derive(Debug, Serialize, Deserialize)]
pub struct GcLine {
    /// `hosted-expired`, `cache-damaged`, `cache-stray`, `cache-expired`, or `last-copy`, which stays.
    pub kind: String,
    /// Which.
    pub path: String,
    /// Its bytes.
    pub bytes: u64,
    /// Why, for people.
    pub why: String,
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
    pub(super) async fn gc(&self, ask: GcAsk, actor: &Actor) -> Result<GcDone, OperationError> {
        let mut goes = self.expired(ask.force, actor).await?;
        let stop = self.stop.clone();
        let gc = move |cache: &Cache| if ask.force { cache.gc(&stop) } else { cache.gc_report(&stop) };
        let GcReport { garbage, last_copies } = self.with_cache(gc).await?;
        let files = (goes.len() + garbage.len()) as u64;
        let bytes = goes.iter().map(|line| line.bytes).chain(garbage.iter().map(|(_, swept)| swept.bytes)).sum();
        if ask.force {
            self.audit.record_durably(actor, &[Event::Gc { removed: files, bytes }]).await;
        }
        if self.stop.is_asked() {
            return Err(OperationError::Ending("not all was looked at; what had gone by then is in the audit trail".to_owned()));
        }
        goes.truncate(LINES_MAX);
        goes.extend(garbage.into_iter().take(LINES_MAX).map(|(kind, swept)| {
            let (kind, why) = told(kind);
            line(kind, swept, why)
        }));
        let stays =
            last_copies.into_iter().take(LINES_MAX).map(|swept| line("last-copy", swept, "upstream has it no more; stays")).collect();
        Ok(GcDone { goes, stays, files, bytes })
    }
}

fn line(kind: &str, swept: Swept, why: &str) -> GcLine {
    GcLine { kind: kind.to_owned(), path: swept.file, bytes: swept.bytes, why: why.to_owned() }
}

/// The word for it, and why it goes.
fn told(kind: Garbage) -> (&'static str, &'static str) {
    match kind {
        Garbage::Damaged => ("cache-damaged", "was not as it was written, and set aside"),
        Garbage::Stray => ("cache-stray", "is nobody's"),
        Garbage::Expired => ("cache-expired", "an absence that nobody asked for in a month"),
    }
}
