//! What an operator drops: everything of a module, or what is of no use any more.

use std::time::{Duration, SystemTime};

use crate::module::{ModulePath, Version};
use crate::stop::Stop;

use super::index::ASIDE;
use super::memo::Memo;
use super::place::{Belongings, QUERIES, is_absence};
use super::shelf::Shelf;

/// An absence that was not asked for again in so long is of no use.
const ABSENCE_AGE_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What a purge dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Files, a zip and its hash being one.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Why a file is garbage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Garbage {
    /// It was found damaged, and set aside.
    Damaged,
    /// It belongs to nothing that is kept: somebody put it there.
    Stray,
    /// An absence that nobody asked for in a month.
    Expired,
}

/// A file of the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swept {
    /// The file, below `cache/`.
    pub file: String,
    /// Its bytes; with those of its hash, if it is a zip.
    pub bytes: u64,
}

/// What goes, and what is kept though upstream has it no more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Garbage, by kind and name.
    pub garbage: Vec<(Garbage, Swept)>,
    /// Last copies: they are kept, and evicted after everything else, but for those beyond half of the bound.
    pub last_copies: Vec<Swept>,
}

impl Shelf {
    /// Drops all files of a module, or of one version of it, once all files are known. What cannot be removed is logged.
    pub(super) fn purge(&self, path: &ModulePath, version: Option<&Version>) -> Purged {
        self.index.wait_complete();
        let mut purged = Purged::default();
        let belongings = Belongings::of(path, version);
        for key in self.index.keys(|key| belongings.contain(key)) {
            let Some(bytes) = self.index.watch(&key).map(|lease| lease.bytes()) else { continue };
            match self.index.remove(&key) {
                Ok(()) => {
                    purged.files += 1;
                    purged.bytes += bytes;
                }
                Err(error) => tracing::warn!(file = key, %error, "cannot remove a purged file"),
            }
        }
        purged
    }

    /// Finds garbage, once all files are known; with `remove`, removes it. Ends early once `stop` is asked.
    pub(super) fn gc(&self, now: SystemTime, remove: bool, stop: &Stop) -> GcReport {
        self.index.wait_complete();
        let mut garbage = Vec::new();
        for key in self.index.keys(|key| key.starts_with(ASIDE) || key.starts_with(QUERIES) || is_absence(key)) {
            if stop.is_asked() {
                break;
            }
            let kind = if key.starts_with(ASIDE) { Garbage::Damaged } else { Garbage::Expired };
            if kind == Garbage::Expired && !self.is_expired(&key, now) {
                continue;
            }
            let Ok(meta) = std::fs::symlink_metadata(self.index.path(&key)) else { continue };
            if !remove || self.index.remove(&key).is_ok() {
                garbage.push((kind, Swept { file: key, bytes: meta.len() }));
            }
        }
        for path in self.index.strays() {
            if stop.is_asked() {
                break;
            }
            let bytes = std::fs::symlink_metadata(&path).map_or(0, |meta| meta.len());
            if !remove || self.index.remove_stray(&path) {
                let file = path.strip_prefix(self.index.path("")).unwrap_or(&path);
                garbage.push((Garbage::Stray, Swept { file: file.display().to_string(), bytes }));
            }
        }
        self.index.restore_order();
        garbage.sort_by(|a, b| (a.0, &a.1.file).cmp(&(b.0, &b.1.file)));
        let mut last_copies: Vec<_> = self.index.last_copies().into_iter().map(|(file, bytes)| Swept { file, bytes }).collect();
        last_copies.sort_by(|a, b| a.file.cmp(&b.file));
        GcReport { garbage, last_copies }
    }

    /// Whether a file is an absence of that age; what cannot be read is none.
    fn is_expired(&self, key: &str, now: SystemTime) -> bool {
        let is_old = |memo: Memo| memo.status != 200 && now.duration_since(memo.at()).is_ok_and(|age| age >= ABSENCE_AGE_MAX);
        self.memo_head(key).ok().flatten().is_some_and(is_old)
    }
}
