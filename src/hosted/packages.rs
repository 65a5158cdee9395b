//! What an owner has, a version at a time, and the checksums of a version's zip.

use std::io::Read as _;

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha512};

use super::Hosted;
use super::read::{find, lost};
use crate::module::{ModulePath, OwnerName, Version};
use crate::observe::spawn_blocking;
use crate::store::{StoreError, VersionRecord};

/// Checksums that are remembered.
pub(super) const SUMS_MAX: u64 = 10_000;
/// Bytes read at once.
const CHUNK_BYTES: usize = 128 << 10;

/// Some of an owner's versions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// How many there are.
    pub total: u64,
    /// Those that were asked for: by path, then by version.
    pub versions: Vec<VersionRecord>,
}

/// The checksums of a zip that clients of old ask for, beside its SHA-256. No record holds them: they are taken when somebody asks,
/// and remembered for as long as there is room, since content that is named by its hash never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sums {
    /// MD5.
    pub md5: [u8; 16],
    /// SHA-1.
    pub sha1: [u8; 20],
    /// SHA-256.
    pub sha256: [u8; 32],
    /// SHA-512.
    pub sha512: [u8; 64],
}

impl Hosted {
    /// The versions of this owner whose path contains `contains` (lower case, compared without regard to case), but for the first `skip`,
    /// at most `limit`. That they may be seen was judged by the caller.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(&self, owner: &OwnerName, contains: &str, skip: u64, limit: u64) -> Result<Listing, StoreError> {
        let index = self.stores.records.hosted_index().await?;
        let is_meant = |path: &ModulePath| contains.is_empty() || path.as_str().to_ascii_lowercase().contains(contains);
        let mut listing = Listing::default();
        for path in index.hosted.iter().filter(|(path, of)| *of == owner && is_meant(path)).map(|(path, _)| path) {
            let before = listing.total;
            let count = index.sizes.get(path).map_or(0, |size| size.versions);
            listing.total += count;
            if listing.total <= skip || before >= skip.saturating_add(limit) {
                continue;
            }
            let Some(module) = self.stores.records.module(path).await?.filter(|module| module.owner == *owner) else { continue };
            let skip = usize::try_from(skip.saturating_sub(before)).unwrap_or(usize::MAX);
            let room = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(listing.versions.len());
            listing.versions.extend(module.versions.iter().skip(skip).take(room).cloned());
        }
        Ok(listing)
    }

    /// A version of this owner. That it may be seen was judged by the caller.
    ///
    /// # Errors
    /// The store's.
    pub async fn version(&self, owner: &OwnerName, path: &ModulePath, version: &Version) -> Result<Option<VersionRecord>, StoreError> {
        let module = self.stores.records.module(path).await?.filter(|module| module.owner == *owner);
        Ok(module.and_then(|module| find(&module, version).cloned()))
    }

    /// Whether the bytes of this very version have left.
    ///
    /// # Errors
    /// The store's.
    pub async fn is_sealed(&self, record: &VersionRecord) -> Result<bool, StoreError> {
        Ok(self.stores.records.sealed(&record.path, &record.version).await?.is_some_and(|sealed| sealed.is_of(record)))
    }

    /// The checksums of a version's zip, of bytes that are what they were when they were published. Reads all of it the first time.
    ///
    /// # Errors
    /// The store's; bytes that are not what they should be are [`StoreError::Corrupt`].
    pub async fn sums(&self, record: &VersionRecord) -> Result<Sums, StoreError> {
        let name = record.zip.sha256;
        if let Some(sums) = self.sums.get(&name) {
            return Ok(sums);
        }
        // Few at a time, as zips are judged: who reads and hashes must not take every core.
        let permit = self.judges.clone().acquire_owned().await.map_err(|e| StoreError::Unavailable(Box::new(e)))?;
        if let Some(sums) = self.sums.get(&name) {
            return Ok(sums);
        }
        let file = self.stores.blobs.open(&record.zip).await?.ok_or_else(|| lost(record, "is not there"))?;
        let (remembered, record) = (self.sums.clone(), record.clone());
        let summing = spawn_blocking(move || {
            let _permit = permit;
            let sums = take(&file).map_err(|e| StoreError::Unavailable(Box::new(e)))?;
            if sums.sha256 != name {
                return Err(lost(&record, "has other content than was published"));
            }
            remembered.insert(name, sums);
            Ok(sums)
        });
        summing.await.map_err(|e| StoreError::Unavailable(Box::new(e)))?
    }
}

fn take(file: &std::fs::File) -> std::io::Result<Sums> {
    let mut file = file;
    let (mut md5, mut sha1, mut sha256, mut sha512) = (Md5::new(), Sha1::new(), Sha256::new(), Sha512::new());
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match file.read(&mut chunk)? {
            0 => break,
            n => {
                let piece = &chunk[..n];
                md5.update(piece);
                sha1.update(piece);
                sha256.update(piece);
                sha512.update(piece);
            }
        }
    }
    Ok(Sums {
        md5: md5.finalize().into(),
        sha1: sha1.finalize().into(),
        sha256: sha256.finalize().into(),
        sha512: sha512.finalize().into(),
    })
}
