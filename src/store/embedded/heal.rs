//! Start-up: the truth is read, the index made to agree, and what crashes left is cleaned away. Every start runs all of it.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use super::effects::{Writes, keys};
use super::files::Files;
use super::lost;
use super::paths::Paths;
use super::sled::{Index, Reconciled};
use super::truth::{Told, Truth};
use crate::store::data_dir::failed;
use crate::store::{BlobId, DataDir, Finding, FindingKind, HostedIndex, OpenError, Rev, StoreError};

/// Everything opened.
pub(super) struct Loaded {
    pub(super) index: Index,
    pub(super) how: Reconciled,
    pub(super) truth: Truth,
    pub(super) paths: Paths,
    pub(super) rev: Rev,
    pub(super) told: Told,
}

/// What a start did about what it found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct HealReport {
    /// Changes that `records/` had and the index did not.
    pub replayed: u64,
    /// The index was missing or unusable, and was made anew.
    pub rebuilt: bool,
    /// Where the unusable index is now; it may be removed.
    pub set_aside: Option<PathBuf>,
    /// Blobs of publishes that never committed, and of deleted versions: removed.
    pub blobs_removed: u64,
    /// Record files of deleted versions: removed.
    pub records_removed: u64,
    /// Leftovers in `tmp/`: removed.
    pub tmp_removed: u64,
    /// Lines that a crash left half written, at the end of journals: cut off. Nobody had been told of what they said.
    pub torn_lines: u64,
    /// What is wrong and cannot be mended.
    pub findings: Vec<Finding>,
}

impl HealReport {
    /// Whether there was nothing to do and nothing to find.
    pub fn is_clean(&self) -> bool {
        *self == Self::default()
    }
}

/// Reads `records/` while we run, after something failed. What readers are `shown` it must not have forgotten.
pub(super) fn read_again(data: &DataDir, shown: &HostedIndex) -> Result<Told, StoreError> {
    let told = Told::read(&data.records()).map_err(store_error)?;
    lost::against_shown(&told, shown)?;
    Truth::rewrite_journal(&data.records(), &data.tmp(), data.disk(), &told)?;
    Ok(told)
}

/// Opens the journal, makes what was told durable, and makes the index agree.
pub(super) fn load(data: &DataDir, told: Told) -> Result<Loaded, StoreError> {
    let (records, disk) = (data.records(), data.disk());
    let mut truth = None;
    let (index, how) = Index::reconcile(&data.meta(), disk, &told.index, told.rev, |found, held, wrong| {
        if let (Some(line), Some(found)) = (told.torn_line, found)
            && found > told.rev
        {
            // What the index has was durable in the journal: this is no torn line but a damaged one. It may have been a revoked token.
            let text = format!("not a line of the journal, though it was one (revision {}); restore the file from a backup", found.0);
            return Err(StoreError::Corrupt(format!("{}:{line}: {text}", Truth::journal_path(&records).display())));
        }
        lost::against_index(&told, found, held)?;
        truth = Some(Truth::open(&records, &data.tmp(), disk, &told)?);
        // Found after a crash, they may be in the kernel's memory alone. Once the index has them they count as kept.
        for folder in folders_of(&records, &told, wrong) {
            disk.sync_dir(&folder)?;
        }
        Ok(())
    })?;
    let rev = told.rev.max(how.found_rev.unwrap_or_default());
    let paths = Paths::load(&told.index, rev)?;
    let truth = truth.ok_or_else(|| StoreError::Unavailable("the journal was not opened".into()))?;
    Ok(Loaded { index, how, truth, paths, rev, told })
}

/// The folders of records that the index does not have, up to `records/`.
fn folders_of(records: &Path, told: &Told, wrong: &Writes) -> BTreeSet<PathBuf> {
    let wrong: BTreeSet<&[u8]> = wrong.iter().filter(|(_, value)| value.is_some()).map(|(key, _)| key.as_slice()).collect();
    let adopted = told.live.iter().filter(|(stored, _)| {
        let key = keys::version(&stored.record.path, &stored.record.version);
        wrong.contains(key.as_slice())
    });
    adopted.flat_map(|(_, file)| file.ancestors().skip(1).take_while(|dir| dir.starts_with(records)).map(Path::to_owned)).collect()
}

/// All of a start but the ledger.
pub(super) fn start(data: &DataDir) -> Result<(Loaded, HealReport), OpenError> {
    let told = Told::read(&data.records())?;
    let torn_lines = u64::from(told.torn_line.is_some());
    let loaded = load(data, told).map_err(|e| open_error(data, e))?;
    let Loaded { how, told, .. } = &loaded;
    let since = how.found_rev.unwrap_or_default();
    let revs = told.live.iter().map(|(stored, _)| stored.record.rev).chain(told.journal_revs.iter().copied());
    let mut report = HealReport {
        replayed: if how.corrected > 0 { revs.filter(|rev| *rev > since).count() as u64 } else { 0 },
        rebuilt: how.rebuilt,
        set_aside: how.set_aside.clone(),
        tmp_removed: data.swept(),
        torn_lines,
        ..HealReport::default()
    };
    for file in &told.dead {
        data.disk().unlink(file).map_err(|e| failed(data.root(), e))?;
        report.records_removed += 1;
    }
    Ok((loaded, report))
}

/// Removes blobs that no record names; says which records lack theirs. Nothing is in flight yet.
pub(super) fn blobs(told: &Told, files: &Files, report: &mut HealReport) -> Result<(), StoreError> {
    let mut named: HashMap<[u8; 32], Option<u64>> = HashMap::new();
    for (stored, _) in &told.live {
        named.extend([(stored.record.zip.sha256, None), (stored.record.go_mod.sha256, None)]);
    }
    for (file, id) in files.list()? {
        match id {
            None => report.findings.push(Finding { kind: FindingKind::Stray, path: file, text: "is no blob".to_owned() }),
            Some(BlobId { sha256, len }) => match named.get_mut(&sha256) {
                Some(found) => *found = Some(len),
                None => report.blobs_removed += u64::from(files.remove(&BlobId { sha256, len })?),
            },
        }
    }
    for (stored, _) in &told.live {
        for (what, id) in [("zip", stored.record.zip), ("go.mod", stored.record.go_mod)] {
            let found = named.get(&id.sha256).copied().flatten();
            if found != Some(id.len) {
                report.findings.push(missing_blob(&files.file(&id), &stored.record, what, id.len, found));
            }
        }
    }
    Ok(())
}

/// The finding that a record's blob is not there or has another length.
pub(super) fn missing_blob(file: &Path, record: &crate::store::VersionRecord, what: &str, len: u64, found: Option<u64>) -> Finding {
    let of = format!("the {what} of {}@{}", record.path, record.version);
    match found {
        None => Finding { kind: FindingKind::BlobMissing, path: file.to_owned(), text: format!("{of} is gone") },
        Some(found) => {
            Finding { kind: FindingKind::BlobDamaged, path: file.to_owned(), text: format!("{of} has {found} bytes, not {len}") }
        }
    }
}

/// What a failure means at start.
pub(super) fn open_error(data: &DataDir, error: StoreError) -> OpenError {
    let dir = data.root().to_owned();
    match error {
        StoreError::Full => OpenError::Full { dir },
        StoreError::Corrupt(text) => OpenError::Damaged { dir, text },
        StoreError::Unavailable(source) => OpenError::Unavailable { dir, source },
    }
}

/// What a refusal to start means while we run.
fn store_error(error: OpenError) -> StoreError {
    match error {
        OpenError::Full { .. } => StoreError::Full,
        OpenError::Corrupt { .. } | OpenError::Damaged { .. } => StoreError::Corrupt(error.to_string()),
        other => StoreError::Unavailable(other.into()),
    }
}
