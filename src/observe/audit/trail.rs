//! The trail's files: `audit/DAY.NUMBER.ndjson`, a new one each day (UTC) and when one is full; the oldest go when all together are
//! over their bound. Invariants: lines are never changed, a line that was acknowledged is durable, and after a crash the file that
//! was being written is cut behind its last whole line before anything is added.
//!
//! Nothing is opened or made before there is something to write: a disk that is full or read-only hinders no start.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use time::format_description::FormatItem;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

use crate::durable::{Disk, DurableError, Journal, Step};

const DAY: &[FormatItem<'_>] = format_description!("[year]-[month]-[day]");
const SUFFIX: &str = ".ndjson";

/// How much may be kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Bytes of one file.
    pub(super) file_bytes: u64,
    /// Bytes of all files.
    pub(super) total_bytes: u64,
}

/// Some three million events.
pub(super) const BOUNDS: Bounds = Bounds { file_bytes: 16 << 20, total_bytes: 1 << 30 };

/// A file's name, in the order of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) day: Date,
    number: u32,
}

impl Name {
    /// Reads what [`Name::file`] writes, and nothing else.
    pub(super) fn parse(file: &str) -> Option<Self> {
        let (day, number) = file.strip_suffix(SUFFIX)?.split_once('.')?;
        let name = Self { day: Date::parse(day, DAY).ok()?, number: number.parse().ok()? };
        (name.file() == file).then_some(name)
    }

    pub(super) fn file(self) -> String {
        // A year that is no four digits has no such name; clocks do not go so far.
        format!("{}.{:04}{SUFFIX}", self.day.format(DAY).unwrap_or_default(), self.number)
    }
}

/// The files that are there, oldest first, with their lengths in bytes. What is not ours is left out.
pub(super) fn files(dir: &Path) -> io::Result<BTreeMap<Name, u64>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        entries => entries?,
    };
    let mut files = BTreeMap::new();
    for entry in entries {
        let entry = entry?;
        if let Some(name) = entry.file_name().to_str().and_then(Name::parse) {
            files.insert(name, entry.metadata()?.len());
        }
    }
    Ok(files)
}

/// The writing end.
pub(super) struct Trail {
    dir: PathBuf,
    disk: Disk,
    bounds: Bounds,
    current: Option<(Name, Journal)>,
}

/// What was removed to stay within the bound.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Trimmed {
    pub(super) file: String,
    pub(super) bytes: u64,
}

impl Trail {
    pub(super) fn new(dir: &Path, disk: &Disk, bounds: Bounds) -> Self {
        Self { dir: dir.to_owned(), disk: disk.clone(), bounds, current: None }
    }

    /// Appends whole lines, each with its end, durably. On an error none of them counts as written; the next call tries anew.
    pub(super) fn append(&mut self, lines: &str, now: OffsetDateTime) -> Result<Vec<Trimmed>, DurableError> {
        let mut trimmed = Vec::new();
        let is_due = |name: Name, journal: &Journal| {
            let full = !journal.is_empty() && journal.len() + lines.len() as u64 > self.bounds.file_bytes;
            // A clock that was set back begins no file before the newest.
            full || now.date() > name.day
        };
        match &self.current {
            Some((name, journal)) if !is_due(*name, journal) => {}
            _ => trimmed = self.rotate(lines.len() as u64, now)?,
        }
        if let Some((_, journal)) = &mut self.current {
            journal.append(lines.as_bytes())?;
        }
        Ok(trimmed)
    }

    /// Opens the newest file, or begins one if that is full or of another day; makes room for `coming` bytes.
    fn rotate(&mut self, coming: u64, now: OffsetDateTime) -> Result<Vec<Trimmed>, DurableError> {
        let failed = |source| DurableError { step: Step::Create, path: self.dir.clone(), source };
        self.disk.create_dirs(&self.dir)?;
        let mut files = files(&self.dir).map_err(failed)?;
        let newest = files.last_key_value().map(|(name, len)| (*name, *len));
        let next = match newest {
            Some((name, len)) if name.day >= now.date() && (len == 0 || len + coming <= self.bounds.file_bytes) => name,
            Some((name, _)) if name.day >= now.date() => Name { day: name.day, number: name.number + 1 },
            _ => Name { day: now.date(), number: 1 },
        };
        self.current = None;
        files.entry(next).or_default();
        let trimmed = self.trim(files, next)?;
        let path = self.dir.join(next.file());
        let len = good_len(&path).map_err(failed)?;
        self.current = Some((next, Journal::open(&self.disk, &path, len)?));
        Ok(trimmed)
    }

    /// Removes the oldest files until a whole one fits beside the rest.
    fn trim(&self, mut files: BTreeMap<Name, u64>, keep: Name) -> Result<Vec<Trimmed>, DurableError> {
        let mut trimmed = Vec::new();
        files.remove(&keep);
        while files.values().sum::<u64>() + self.bounds.file_bytes > self.bounds.total_bytes {
            let Some((name, bytes)) = files.pop_first() else { break };
            let file = name.file();
            self.disk.remove(&self.dir.join(&file))?;
            trimmed.push(Trimmed { file, bytes });
        }
        Ok(trimmed)
    }
}

/// How much of a file, from its beginning, is whole lines: what a crash tore off its end does not count.
fn good_len(path: &Path) -> io::Result<u64> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        bytes => bytes?,
    };
    let mut good = bytes.as_slice();
    while let Some(end) = good.iter().rposition(|byte| *byte == b'\n') {
        let start = good[..end].iter().rposition(|byte| *byte == b'\n').map_or(0, |before| before + 1);
        if serde_json::from_slice::<serde::de::IgnoredAny>(&good[start..end]).is_ok() {
            good = &good[..=end];
            break;
        }
        good = &good[..start];
    }
    let len = if good.ends_with(b"\n") { good.len() } else { 0 };
    if len < bytes.len() {
        tracing::warn!(file = %path.display(), bytes = bytes.len() - len, "cut what a crash left of the audit trail's last lines");
    }
    Ok(len as u64)
}

#[cfg(test)]
mod tests;
