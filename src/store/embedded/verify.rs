//! Verification while serving: every record file against the index, every blob against its record.
//!
//! The long work is done beside the committer. What looks wrong then is looked at again between two of its batches: what is
//! still wrong there was not merely in motion.

use std::collections::HashMap;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use sha2::{Digest as _, Sha256};

use super::commit::Committer;
use super::effects::{decode, encode, keys};
use super::event::StoredVersion;
use super::files::Files;
use super::heal::missing_blob;
use super::shared::Shared;
use super::truth;
use super::{Embedded, blocking};
use crate::stop::Stop;
use crate::store::{BlobId, Finding, FindingKind, StoreError, Verified, Verify};

/// Versions looked at under one lock of the index.
const PAGE_VERSIONS: usize = 256;
/// Bytes read at once.
const CHUNK_BYTES: usize = 128 << 10;

/// What is wrong with a blob.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Gone,
    Length(u64),
    Content,
    Unreadable,
}

/// Something that looks wrong.
enum Suspect {
    /// The record file of this version.
    Record(StoredVersion),
    /// The journal's file.
    Journal,
    /// A blob of this version.
    Blob(StoredVersion, Finding),
    /// This blob seems to be nobody's.
    Unused(PathBuf, BlobId),
}

/// Verification under way.
struct Pass {
    shared: Arc<Shared>,
    records: PathBuf,
    /// The key to go on from.
    from: Vec<u8>,
    /// What was found out about blobs: many versions may share a go.mod.
    judged: HashMap<[u8; 32], Option<Wrong>>,
    hosted: u64,
    stop: Stop,
}

#[async_trait]
impl Verify for Embedded {
    async fn verify(&self, stop: &Stop) -> Result<Verified, StoreError> {
        let mut findings = Vec::new();
        let mut pass = Pass {
            shared: Arc::clone(&self.shared),
            records: self.data.records(),
            from: keys::VERSIONS.to_vec(),
            judged: HashMap::new(),
            hosted: 0,
            stop: stop.clone(),
        };
        loop {
            let (suspects, done);
            (pass, suspects, done) = blocking(move || {
                let (suspects, done) = pass.page()?;
                Ok((pass, suspects, done))
            })
            .await?;
            findings.extend(self.confirm(suspects).await?);
            if done {
                break;
            }
        }
        findings.extend(self.confirm(vec![Suspect::Journal]).await?);
        let files = Arc::clone(&self.shared.files);
        let (mut unused, strays) = blocking(move || {
            let mut strays = Vec::new();
            Ok((unnamed(&files, &mut strays)?, strays))
        })
        .await?;
        findings.extend(strays);
        while !unused.is_empty() {
            let rest = unused.split_off(unused.len().min(PAGE_VERSIONS));
            findings.extend(self.confirm(std::mem::replace(&mut unused, rest)).await?);
        }
        Ok(Verified { hosted: pass.hosted, findings })
    }

    async fn rebuild(&self) -> Result<(), StoreError> {
        self.between(Committer::rebuild).await
    }
}

impl Embedded {
    /// Those that are as they looked.
    async fn confirm(&self, suspects: Vec<Suspect>) -> Result<Vec<Finding>, StoreError> {
        if suspects.is_empty() {
            return Ok(Vec::new());
        }
        self.between(move |committer| suspects.iter().filter_map(|suspect| committer.confirm(suspect).transpose()).collect()).await
    }
}

impl Pass {
    /// Looks at the next versions; whether they were the last.
    fn page(&mut self) -> Result<(Vec<Suspect>, bool), StoreError> {
        let page: Vec<StoredVersion> = self.shared.read(|index| {
            let mut page = Vec::new();
            while page.len() < PAGE_VERSIONS
                && let Some((key, value)) = index.next(&self.from, keys::VERSIONS)?
            {
                page.push(decode(&value)?);
                self.from = [key.as_slice(), b"\0"].concat();
            }
            Ok(page)
        })?;
        self.hosted += page.len() as u64;
        let done = page.len() < PAGE_VERSIONS;
        let mut suspects = Vec::new();
        for stored in page {
            let record = &stored.record;
            if truth::read(&self.records, &record.path, &record.version).ok().flatten() != Some(stored.filed()) {
                suspects.push(Suspect::Record(stored.clone()));
            }
            for (what, id) in [("zip", record.zip), ("go.mod", record.go_mod)] {
                let files = &self.shared.files;
                let wrong = *self.judged.entry(id.sha256).or_insert_with(|| judge(files, &id, &self.stop));
                // What was being read then failed for no fault of its own.
                if self.stop.is_asked() {
                    return Err(StoreError::Unavailable("the process ends: not all was verified".into()));
                }
                if let Some(wrong) = wrong {
                    suspects.push(Suspect::Blob(stored.clone(), wrong.finding(files, &stored, what, &id)));
                }
            }
        }
        Ok((suspects, done))
    }
}

fn judge(files: &Files, id: &BlobId, stop: &Stop) -> Option<Wrong> {
    let mut file = match std::fs::File::open(files.file(id)).map(|file| stop.ends(file)) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Some(Wrong::Gone),
        Err(_) => return Some(Wrong::Unreadable),
    };
    let (mut hash, mut len, mut chunk) = (Sha256::new(), 0, vec![0; CHUNK_BYTES]);
    loop {
        match file.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => {
                hash.update(&chunk[..n]);
                len += n as u64;
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return Some(Wrong::Unreadable),
        }
    }
    if len != id.len {
        return Some(Wrong::Length(len));
    }
    (<[u8; 32]>::from(hash.finalize()) != id.sha256).then_some(Wrong::Content)
}

impl Wrong {
    fn finding(self, files: &Files, stored: &StoredVersion, what: &str, id: &BlobId) -> Finding {
        let (path, record) = (files.file(id), &stored.record);
        let damaged = |text: &str| {
            let text = format!("the {what} of {}@{} {text}", record.path, record.version);
            Finding { kind: FindingKind::BlobDamaged, path: path.clone(), text }
        };
        match self {
            Self::Gone => missing_blob(&path, record, what, id.len, None),
            Self::Length(len) => missing_blob(&path, record, what, id.len, Some(len)),
            Self::Content => damaged("has other content than was published"),
            Self::Unreadable => damaged("cannot be read"),
        }
    }
}

/// Blobs that nobody pins, suspected to be nobody's; what is no blob at all goes to `strays`.
fn unnamed(files: &Files, strays: &mut Vec<Finding>) -> Result<Vec<Suspect>, StoreError> {
    let mut suspects = Vec::new();
    for (path, id) in files.list()? {
        match id {
            Some(id) if files.is_pinned(&id) => {}
            Some(id) => suspects.push(Suspect::Unused(path, id)),
            None => strays.push(Finding { kind: FindingKind::Stray, path, text: "is no blob".to_owned() }),
        }
    }
    Ok(suspects)
}

impl Committer {
    /// Whether it is as it looked. Nothing is half done now, but publishes whose blobs are pinned.
    fn confirm(&self, suspect: &Suspect) -> Result<Option<Finding>, StoreError> {
        match suspect {
            Suspect::Unused(path, id) => {
                // In this order: a pin goes after the record has come.
                let unused = !self.shared().files.is_pinned(id) && !self.is_used(id)? && path.exists();
                let text = "no record names it; it goes at the next start".to_owned();
                Ok(unused.then(|| Finding { kind: FindingKind::BlobUnused, path: path.clone(), text }))
            }
            Suspect::Journal => {
                let damage = self.truth().journal_damage();
                Ok(damage.map(|(path, text)| Finding { kind: FindingKind::RecordDamaged, path, text }))
            }
            Suspect::Blob(stored, finding) => Ok(self.stands(stored)?.then(|| finding.clone())),
            Suspect::Record(stored) => {
                let record = &stored.record;
                let text = match self.truth().read(&record.path, &record.version) {
                    Ok(Some(found)) if found == stored.filed() => return Ok(None),
                    Ok(Some(_)) => "says something else than what is served".to_owned(),
                    Ok(None) => format!("the record of {}@{} is gone", record.path, record.version),
                    Err(text) => text,
                };
                let path = self.truth().file(&record.path, &record.version);
                Ok(self.stands(stored)?.then_some(Finding { kind: FindingKind::RecordDamaged, path, text }))
            }
        }
    }

    /// Whether this very version is hosted.
    fn stands(&self, stored: &StoredVersion) -> Result<bool, StoreError> {
        let (key, value) = (keys::version(&stored.record.path, &stored.record.version), encode(stored)?);
        self.shared().read(|index| Ok(index.get(&key)? == Some(value)))
    }
}
