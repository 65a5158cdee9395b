//! `known.log`: public modules of which a `.mod` or `.zip` was fetched here, a path a line.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use super::{Group, Lines};
use crate::durable::{Disk, DurableError, Journal};
use crate::module::ModulePath;
use crate::store::{Finding, FindingKind, KnownModules, OpenError, StoreError};

/// The known modules, and the way to make more known.
pub(in crate::store::embedded) struct Known {
    set: Arc<Set>,
    group: Group<Log>,
}

/// Paths in lower case, ordered; one with capitals is followed by a NUL and itself. NUL comes before all that paths hold.
#[derive(Default)]
struct Set(RwLock<BTreeSet<Box<str>>>);

impl Known {
    /// Reads the file. How many torn lines it cut off goes into the second.
    pub(in crate::store::embedded) fn open(dir: &Path, disk: &Disk, findings: &mut Vec<Finding>) -> Result<(Self, u64), OpenError> {
        let path = dir.join("known.log");
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(OpenError::NotReadable { path, source }),
        };
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let mut set = BTreeSet::new();
        let mut bad = 0;
        for line in bytes[..whole].split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
            match std::str::from_utf8(line).ok().and_then(|text| text.parse::<ModulePath>().ok()) {
                Some(module) => drop(set.insert(entry(&module))),
                None => bad += 1,
            }
        }
        if bad > 0 {
            findings.push(Finding { kind: FindingKind::LedgerDamaged, path: path.clone(), text: format!("{bad} lines are no paths") });
        }
        let set = Arc::new(Set(RwLock::new(set)));
        let wrong = |source: DurableError| crate::store::data_dir::failed(dir, source);
        let journal = Journal::open(disk, &path, whole as u64).map_err(wrong)?;
        let log = Log { journal, set: Arc::clone(&set) };
        let group = Group::start("modgate-known", log).map_err(|source| OpenError::NotReadable { path: PathBuf::from(dir), source })?;
        Ok((Self { set, group }, u64::from(whole < bytes.len())))
    }

    /// Makes a module known, durably.
    pub(in crate::store::embedded) async fn put(&self, path: &ModulePath) -> Result<(), StoreError> {
        if self.set.contains(path) {
            return Ok(());
        }
        self.group.note(path.clone()).await.map(|_| ())
    }

    /// The set, as it is and as it grows.
    pub(in crate::store::embedded) fn modules(&self) -> Arc<dyn KnownModules> {
        Arc::clone(&self.set) as Arc<dyn KnownModules>
    }
}

fn entry(path: &ModulePath) -> Box<str> {
    let lower = path.as_str().to_ascii_lowercase();
    if lower == path.as_str() { lower.into() } else { format!("{lower}\0{path}").into() }
}

impl Set {
    fn any_in(&self, from: &str, to: &str) -> bool {
        self.any_between(from, to, &|_| true)
    }
}

impl KnownModules for Set {
    fn contains(&self, path: &ModulePath) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(&entry(path))
    }

    fn any_at(&self, path: &str) -> bool {
        // With or without capitals.
        self.any_in(path, &format!("{path}\u{1}"))
    }

    fn any_at_or_below(&self, prefix: &str) -> bool {
        // Below: '0' is what follows '/'.
        self.any_at(prefix) || self.any_in(&format!("{prefix}/"), &format!("{prefix}0"))
    }

    fn any_between(&self, from: &str, to: &str, is: &dyn Fn(&str) -> bool) -> bool {
        let set = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut entries = set.range::<str, _>((Bound::Included(from), Bound::Excluded(to)));
        entries.any(|entry| is(entry.split('\0').next().unwrap_or_default()))
    }
}

struct Log {
    journal: Journal,
    set: Arc<Set>,
}

impl Lines for Log {
    type Note = ModulePath;
    type Key = ModulePath;

    fn key(note: &ModulePath) -> ModulePath {
        note.clone()
    }

    fn holds(&self, key: &ModulePath) -> bool {
        self.set.contains(key)
    }

    fn line(note: &ModulePath) -> String {
        note.as_str().to_owned()
    }

    fn append(&mut self, lines: &[String]) -> Result<(), DurableError> {
        self.journal.append((lines.join("\n") + "\n").as_bytes())
    }

    fn noted(&mut self, key: ModulePath) {
        self.set.0.write().unwrap_or_else(PoisonError::into_inner).insert(entry(&key));
    }
}
