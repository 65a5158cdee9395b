//! `records/`: the truth about what is hosted, in files that need no engine.
//!
//! `<escaped module>/@v/<escaped version>.json` is a [`StoredVersion`]; it appears and changes by rename alone.
//! `changes.journal` has a [`Line`] a line; one append is one line, so that only the last one can be torn.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::effects::{Map, effects, encode, keys, version};
use super::event::{Change, Entry, Event, HeldClaim, Line, LineFormat, RECORD_FORMAT, StoredVersion};
use crate::durable::{Disk, DurableError, Journal};
use crate::module::{ModulePath, Version};
use crate::store::{OpenError, Rev, StoreError, VersionRecord};

/// Name of the journal in `records/`.
const JOURNAL: &str = "changes.journal";
/// Longest record file that is read, bytes: a record has a few hundred.
const RECORD_BYTES_MAX: u64 = 1 << 20;
/// What is wrong with something in a file's place.
const NO_FILE: &str = "is no file";

/// The folder, and the journal opened for appending.
pub(super) struct Truth {
    dir: PathBuf,
    tmp: PathBuf,
    disk: Disk,
    journal: Journal,
}

/// A commit failed.
pub(super) struct CommitError {
    pub(super) error: StoreError,
    /// It may be in `records/` all the same, now or after the next start.
    pub(super) may_have_happened: bool,
}

impl From<StoreError> for CommitError {
    fn from(error: StoreError) -> Self {
        Self { error, may_have_happened: false }
    }
}

/// What the folder says, as the index ought to hold it.
pub(super) struct Told {
    /// Every key and value but the revision.
    pub(super) index: Map,
    /// The last revision.
    pub(super) rev: Rev,
    /// The revision and the file of every live version.
    pub(super) live: Vec<(StoredVersion, PathBuf)>,
    /// Files of deleted versions: a crash came before they were removed.
    pub(super) dead: Vec<PathBuf>,
    /// Keys of the index that something ended, and when that last happened.
    ended: BTreeMap<Vec<u8>, Rev>,
    /// Every revision in the journal.
    pub(super) journal_revs: Vec<Rev>,
    /// The bytes of the journal that are good, and whether a torn line follows; its number.
    pub(super) journal_len: u64,
    pub(super) torn_line: Option<usize>,
}

impl Truth {
    /// Opens the journal behind its good part; cuts off the rest.
    pub(super) fn open(dir: &Path, tmp: &Path, disk: &Disk, told: &Told) -> Result<Self, DurableError> {
        let journal = Journal::open(disk, &dir.join(JOURNAL), told.journal_len)?;
        Ok(Self { dir: dir.to_owned(), tmp: tmp.to_owned(), disk: disk.clone(), journal })
    }

    /// The journal's good part as a new file. After a failed fsync the kernel takes pages for written that are not:
    /// what it shows of the old file is no proof.
    pub(super) fn rewrite_journal(dir: &Path, tmp: &Path, disk: &Disk, told: &Told) -> Result<(), StoreError> {
        let path = dir.join(JOURNAL);
        let mut bytes = fs::read(&path).map_err(|e| StoreError::Unavailable(e.into()))?;
        bytes.truncate(usize::try_from(told.journal_len).unwrap_or(usize::MAX));
        Ok(disk.write(tmp, &path, &bytes)?)
    }

    /// The commit point of a publish.
    ///
    /// Crash before the rename: a file in `tmp/`, swept; blobs without a record, swept. After it: the version is there,
    /// though nobody was told; the next start makes the name durable before it counts on it.
    pub(super) fn publish(&self, stored: &StoredVersion, new_path: bool) -> Result<(), CommitError> {
        let file = self.file(&stored.record.path, &stored.record.version);
        let bytes = record_bytes(stored)?;
        if let Some(folder) = file.parent() {
            self.disk.create_dirs(folder).map_err(StoreError::from)?;
            if new_path {
                // A folder may be left from a crash before its own name was durable.
                self.disk.sync_up_to(&self.dir, folder).map_err(StoreError::from)?;
            }
        }
        let written = self.disk.write(&self.tmp, &file, &bytes);
        written.map_err(|e| CommitError { may_have_happened: e.may_have_happened(), error: e.into() })
    }

    /// The commit point of everything else: all of `entries` or, when it fails, none.
    pub(super) fn append(&mut self, entries: &[Entry]) -> Result<(), CommitError> {
        let mut line = encode(&Line { format: RECORD_FORMAT, changes: entries.into() })?;
        line.push(b'\n');
        let appended = self.journal.append(&line);
        appended.map_err(|e| CommitError { may_have_happened: self.journal.is_torn(), error: e.into() })
    }

    /// Removes the file of a deleted version. It may come back after a crash: the journal says that it is dead.
    pub(super) fn remove(&self, path: &ModulePath, version: &Version) -> Result<(), StoreError> {
        Ok(self.disk.unlink(&self.file(path, version))?)
    }

    /// What the file of a version holds; `None`: there is no such file.
    pub(super) fn read(&self, path: &ModulePath, version: &Version) -> Result<Option<StoredVersion>, String> {
        read(&self.dir, path, version)
    }

    /// What is wrong with the journal's file, if anything is: what is appended must be found there by the next start.
    pub(super) fn journal_damage(&self) -> Option<(PathBuf, String)> {
        let (path, written) = (self.dir.join(JOURNAL), self.journal.len());
        let text = match fs::symlink_metadata(&path) {
            Ok(found) if !found.is_file() => NO_FILE.to_owned(),
            Ok(found) if found.len() < written => format!("has {} bytes, and {written} were written", found.len()),
            Ok(_) => return None,
            Err(e) if e.kind() == io::ErrorKind::NotFound => "the journal of changes is gone".to_owned(),
            Err(e) => e.to_string(),
        };
        Some((path, text))
    }

    /// The journal as it stands: its name below the records' folder, and as many bytes as are durable.
    pub(super) fn journal(&self) -> io::Result<(&'static str, fs::File, u64)> {
        Ok((JOURNAL, fs::File::open(self.dir.join(JOURNAL))?, self.journal.len()))
    }

    /// The bytes of a version's record, and its name below the records' folder.
    pub(super) fn record(stored: &StoredVersion) -> Result<(String, Vec<u8>), StoreError> {
        let name = file(Path::new(""), &stored.record.path, &stored.record.version);
        Ok((name.to_string_lossy().into_owned(), record_bytes(stored)?))
    }

    /// The journal's name.
    pub(super) fn journal_path(dir: &Path) -> PathBuf {
        dir.join(JOURNAL)
    }

    /// Where a version's record is.
    pub(super) fn file(&self, path: &ModulePath, version: &Version) -> PathBuf {
        file(&self.dir, path, version)
    }
}

fn record_bytes(stored: &StoredVersion) -> Result<Vec<u8>, StoreError> {
    let mut bytes = encode(&stored.filed())?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn file(dir: &Path, path: &ModulePath, version: &Version) -> PathBuf {
    dir.join(path.escaped()).join("@v").join(format!("{}.json", version.escaped()))
}

/// What the file of a version in the records' folder holds; `None`: there is no such file.
pub(super) fn read(dir: &Path, path: &ModulePath, version: &Version) -> Result<Option<StoredVersion>, String> {
    let file = file(dir, path, version);
    if fs::symlink_metadata(&file).is_ok() { read_version(&file).map(Some) } else { Ok(None) }
}

impl Told {
    /// Reads all of `records/`. What cannot be understood is an error, never left out: a path that were forgotten would leave the house.
    pub(super) fn read(dir: &Path) -> Result<Self, OpenError> {
        let (entries, journal_len, torn_line) = read_journal(&dir.join(JOURNAL))?;
        let mut found = Vec::new();
        walk(dir, dir, &mut found)?;
        let journal_revs = entries.iter().map(|entry| entry.rev).collect();
        let mut events: Vec<Event> = entries.iter().filter_map(buried_claim).map(Event::Claim).collect();
        events.extend(found.iter().map(|(stored, _)| Event::Publish(Box::new(stored.clone()))));
        events.extend(entries.into_iter().map(|entry| Event::Change(Box::new(entry))));
        // Of one revision are at most a publish and its own claim, told twice.
        events.sort_by_key(Event::rev);
        let rev = events.last().map(Event::rev).unwrap_or_default();
        let (mut index, mut ended) = (Map::new(), BTreeMap::new());
        let wrong = |e: StoreError| OpenError::Corrupt { path: dir.to_owned(), line: None, text: e.to_string() };
        for event in &events {
            if let Event::Change(entry) = event
                && let Change::Delete { path, version, .. } = &entry.change
            {
                // Its record may be gone, and then it has no effect.
                ended.insert(keys::version(path, version), entry.rev);
            }
            for (key, value) in effects(event, &index).map_err(wrong)? {
                match value {
                    Some(value) => drop(index.insert(key, value)),
                    None => {
                        index.remove(&key);
                        ended.insert(key, event.rev());
                    }
                }
            }
        }
        let (mut live, mut dead) = (Vec::new(), Vec::new());
        for (stored, file) in found {
            let live_now = index.contains_key(&keys::version(&stored.record.path, &stored.record.version));
            if live_now { live.push((stored, file)) } else { dead.push(file) }
        }
        one_owner(&index, &live)?;
        Ok(Self { index, rev, live, dead, ended, journal_revs, journal_len, torn_line })
    }
}

impl Told {
    /// Whether something told here ended what this key of the index stood for at `rev`.
    pub(super) fn ended_after(&self, key: &[u8], rev: Rev) -> bool {
        self.ended.get(key).is_some_and(|ended| *ended > rev)
    }
}

/// The claim that a deleted version had made.
fn buried_claim(entry: &Entry) -> Option<HeldClaim> {
    match &entry.change {
        Change::Delete { claim, .. } => claim.clone(),
        _ => None,
    }
}

/// The good entries, their length in bytes, and the number of a torn line behind them.
fn read_journal(path: &Path) -> Result<(Vec<Entry>, u64, Option<usize>), OpenError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), 0, None)),
        Err(source) => return Err(OpenError::NotReadable { path: path.to_owned(), source }),
    };
    let (mut entries, mut good) = (Vec::new(), 0);
    for (at, line) in bytes.split_inclusive(|b| *b == b'\n').enumerate() {
        let corrupt = |text: String| OpenError::Corrupt { path: path.to_owned(), line: Some(at + 1), text };
        let last = good + line.len() == bytes.len();
        // First of all: what a newer format says cannot be read, and must not pass for a torn line.
        if let Ok(LineFormat { format }) = serde_json::from_slice(line)
            && format > RECORD_FORMAT
        {
            return Err(corrupt(format!("format {format} is a newer modgate's; this one knows {RECORD_FORMAT}")));
        }
        match serde_json::from_slice::<Line>(line) {
            Ok(read) if line.ends_with(b"\n") => entries.extend(read.changes.into_owned()),
            _ if last => return Ok((entries, good as u64, Some(at + 1))),
            Ok(_) => return Err(corrupt("no end of line".to_owned())),
            Err(e) => return Err(corrupt(format!("not a line of the journal ({e}); restore the file from a backup"))),
        }
        good += line.len();
    }
    Ok((entries, good as u64, None))
}

fn walk(root: &Path, dir: &Path, found: &mut Vec<(StoredVersion, PathBuf)>) -> Result<(), OpenError> {
    let unreadable = |source| OpenError::NotReadable { path: dir.to_owned(), source };
    for entry in fs::read_dir(dir).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let path = entry.path();
        let kind = entry.file_type().map_err(unreadable)?;
        let corrupt = |text: String| OpenError::Corrupt { path: path.clone(), line: None, text };
        let is_records_place = dir.ends_with("@v") && path.extension().is_some_and(|ext| ext == "json");
        if !(kind.is_file() || kind.is_dir() && !is_records_place) {
            // A link to a folder would else be skipped, with all records behind it.
            return Err(corrupt(format!("{NO_FILE}; restore it from a backup")));
        }
        if kind.is_dir() {
            walk(root, &path, found)?;
        } else if path.extension().is_some_and(|ext| ext == "json") {
            let stored = read_version(&path).map_err(corrupt)?;
            let VersionRecord { path: module, version, .. } = &stored.record;
            let name = Path::new(&module.escaped()).join("@v").join(format!("{}.json", version.escaped()));
            if path.strip_prefix(root) != Ok(name.as_path()) {
                return Err(corrupt(format!("holds the record of {module} {version}, which belongs elsewhere")));
            }
            found.push((stored, path));
        }
    }
    Ok(())
}

fn read_version(file: &Path) -> Result<StoredVersion, String> {
    let found = fs::symlink_metadata(file).map_err(|e| e.to_string())?;
    if !found.is_file() {
        return Err(NO_FILE.to_owned());
    }
    if found.len() > RECORD_BYTES_MAX {
        return Err("too long for a record".to_owned());
    }
    let bytes = fs::read(file).map_err(|e| e.to_string())?;
    let stored: StoredVersion =
        serde_json::from_slice(&bytes).map_err(|e| format!("not a record ({e}); restore the file from a backup"))?;
    if stored.format > RECORD_FORMAT {
        return Err(format!("format {} is a newer modgate's; this one knows {RECORD_FORMAT}", stored.format));
    }
    Ok(stored)
}

/// All versions of a path are one owner's, whomever they were published under.
fn one_owner(index: &Map, live: &[(StoredVersion, PathBuf)]) -> Result<(), OpenError> {
    let mut owners = BTreeMap::new();
    for (StoredVersion { record, .. }, file) in live {
        let corrupt = |text| OpenError::Corrupt { path: file.clone(), line: None, text };
        let now = version(index, &record.path, &record.version).map_err(|e| corrupt(e.to_string()))?;
        let owner = now.map_or_else(|| record.owner.clone(), |now| now.record.owner);
        let first = owners.entry(&record.path).or_insert_with(|| owner.clone());
        if *first != owner {
            return Err(corrupt(format!("says that {} is {owner}'s, another version of it says {first}'s", record.path)));
        }
    }
    Ok(())
}
