//! What a backup copies, as of one moment between two batches of the committer.
//!
//! Records come from the index, which says what their files say; the journal and the ledger only grow, so that their lengths are
//! enough; blobs are pinned. What is published, deleted and noted meanwhile changes none of it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::iter;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;

use super::commit::Committer;
use super::effects::{decode, keys};
use super::event::StoredVersion;
use super::files::Pinned;
use super::ledger::Egress;
use super::truth::Truth;
use super::{Embedded, blocking};
use crate::store::archived::is_tls;
use crate::store::backup::{Content, Head, Snapshot};
use crate::store::data_dir::{DataDir, FORMAT, FORMAT_NEEDS};
use crate::store::{Backup, BlobId, StoreError, unix_now};

/// Longest file of `tls/` that is taken, bytes: certificates and keys have a few thousand, a bundle of all roots some 300,000.
const TLS_BYTES_MAX: u64 = 16 << 20;

/// Of a hosted version in the index.
#[derive(Deserialize)]
struct Blobs {
    zip: BlobId,
    go_mod: BlobId,
}

/// What the committer tells.
struct Told {
    head: Head,
    journal: (String, Content),
    /// As they lie in the index. They are many, and made into files when those are written: commits wait for this here.
    versions: Vec<Vec<u8>>,
    blobs: BTreeMap<[u8; 32], BlobId>,
    pins: Vec<Pinned>,
}

#[async_trait]
impl Backup for Embedded {
    async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let Told { head, journal, versions, blobs, pins } = self.between(tell).await?;
        let (egress, data, shared) = (Arc::clone(&self.egress), Arc::clone(&self.data), Arc::clone(&self.shared));
        blocking(move || {
            let mut others = ledger(&egress, &data).map_err(unavailable)?;
            others.extend(tls(&data).map_err(unavailable)?);
            let blobs = blobs.into_values().map(|id| (id, shared.files.file(&id))).collect();
            let count = versions.len() as u64;
            let records = versions.into_iter().map(|version| record(&version));
            let files = iter::once(Ok(journal)).chain(records).chain(others.into_iter().map(Ok));
            let files = Box::new(files);
            Ok(Snapshot { head, files, versions: count, blobs, log: None, findings: Vec::new(), _held: Box::new(pins) })
        })
        .await
    }
}

fn unavailable(error: io::Error) -> StoreError {
    StoreError::Unavailable(error.into())
}

/// The file of a version that lies in the index so.
fn record(version: &[u8]) -> io::Result<(String, Content)> {
    let stored: StoredVersion = decode(version).map_err(io::Error::other)?;
    let (name, bytes) = Truth::record(&stored).map_err(io::Error::other)?;
    Ok((format!("records/{name}"), Content::Bytes(bytes)))
}

fn tell(committer: &mut Committer) -> Result<Told, StoreError> {
    let files = &committer.shared().files;
    let (name, journal, len) = committer.truth().journal().map_err(unavailable)?;
    let mut told = Told {
        head: Head { backup: 1, format: FORMAT, needs: FORMAT_NEEDS.to_owned(), rev: committer.rev(), unix: unix_now() },
        journal: (format!("records/{name}"), Content::Start(journal, len)),
        versions: Vec::new(),
        blobs: BTreeMap::new(),
        pins: Vec::new(),
    };
    committer.shared().read(|index| {
        let mut from = keys::VERSIONS.to_vec();
        while let Some((key, value)) = index.next(&from, keys::VERSIONS)? {
            let Blobs { zip, go_mod } = decode(&value)?;
            told.versions.push(value);
            for id in [zip, go_mod] {
                if told.blobs.insert(id.sha256, id).is_none() {
                    told.pins.push(files.pin(id));
                }
            }
            from = [key.as_slice(), b"\0"].concat();
        }
        Ok(())
    })?;
    Ok(told)
}

/// What left, and what is known. A last line that is being written is cut off when it is read.
fn ledger(egress: &Egress, data: &DataDir) -> io::Result<Vec<(String, Content)>> {
    let known = data.ledger().join("known.log");
    let known = File::open(&known).map(|file| (known, file))?;
    let opened = egress.opened()?.into_iter().chain([known]);
    opened.map(|(path, file)| Ok((below("ledger", &path), Content::Start(file.try_clone()?, file.metadata()?.len())))).collect()
}

/// The local CA: whoever trusts it goes on trusting the restored gateway.
fn tls(data: &DataDir) -> io::Result<Vec<(String, Content)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(data.root().join(DataDir::TLS))? {
        let entry = entry?;
        let ours = entry.file_name().to_str().is_some_and(is_tls);
        if ours && entry.file_type()?.is_file() && entry.metadata()?.len() <= TLS_BYTES_MAX {
            files.push((below(DataDir::TLS, &entry.path()), Content::Bytes(fs::read(entry.path())?)));
        }
    }
    Ok(files)
}

fn below(folder: &str, path: &Path) -> String {
    format!("{folder}/{}", path.file_name().unwrap_or_default().to_string_lossy())
}
