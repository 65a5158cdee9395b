//! Answers of the GOPROXY protocol from hosted versions.

use std::sync::Arc;

use bytes::Bytes;

use super::{Hosted, select};
use crate::cache::Body;
use crate::module::{ModulePath, OwnerName, Version};
use crate::observe::audit::Actor;
use crate::protocol::{Ext, ModuleAsk};
use crate::store::{BlobId, HostedModule, Seal, StoreError, VersionRecord, hex};

/// How often a version that is replaced while it is read is read again.
pub(super) const READS_MAX: usize = 8;

/// What of the hosted modules is in sight: authorised by the caller.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// At an owner's base: that owner's modules alone.
    pub owner: Option<&'a OwnerName>,
    /// Whether the principal may see this owner's modules.
    pub sees: &'a (dyn Fn(&OwnerName) -> bool + Sync),
    /// Who looks, for the audit trail.
    pub actor: &'a Actor,
}

impl View<'_> {
    /// Whether this owner's modules are in sight.
    pub fn shows(&self, owner: &OwnerName) -> bool {
        self.owner.is_none_or(|only| only == owner) && (self.sees)(owner)
    }
}

impl std::fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").field("owner", &self.owner).finish_non_exhaustive()
    }
}

/// What became of a question.
#[derive(Debug)]
pub enum Read {
    /// No hosted module of this path is in sight: whether it may be sought elsewhere, the egress policy knows.
    NotHosted,
    /// The module is here and in sight, and has no such thing: 404 with this text. Never sought elsewhere: a hosted
    /// path shadows the public one whole.
    Missing(String),
    /// Here it is.
    Found(Answer),
}

/// What a read found.
#[derive(Debug)]
pub struct Answer {
    /// Its bytes.
    pub body: Body,
    /// A strong validator, quoted. None where a hash would be shown of a version that is not sealed.
    pub etag: Option<String>,
    /// Whose it is.
    pub owner: OwnerName,
}

impl Answer {
    fn text(text: String, owner: &OwnerName) -> Read {
        Read::Found(Self { body: Bytes::from(text).into(), etag: None, owner: owner.clone() })
    }

    fn info(record: &VersionRecord) -> Read {
        let json = Bytes::from(select::info(record));
        Read::Found(Self { body: json.into(), etag: None, owner: record.owner.clone() })
    }
}

impl Hosted {
    /// Answers `ask` about `path` from what `view` shows.
    ///
    /// `seal`: the bytes of a `.mod` or `.zip` will be sent (a GET, no HEAD). Then the version is sealed, durably,
    /// before this returns: what has left can never be replaced.
    ///
    /// # Errors
    /// The store's. A version whose bytes are not there is [`StoreError::Corrupt`]: a failure, never an absence.
    pub async fn read(&self, view: &View<'_>, path: &ModulePath, ask: &ModuleAsk, seal: bool) -> Result<Read, StoreError> {
        let Some(module) = self.in_sight(view, path).await? else {
            return Ok(Read::NotHosted);
        };
        let versions = &module.versions;
        let info = |found: Option<&VersionRecord>, asked: &str| {
            Ok(found.map_or_else(|| Read::Missing(select::no_such(path, asked, versions)), Answer::info))
        };
        match ask {
            ModuleAsk::List => Ok(Answer::text(select::list(versions), &module.owner)),
            ModuleAsk::Latest | ModuleAsk::Alias(Ext::Info) => info(select::latest(versions), "latest"),
            ModuleAsk::Info(version) => info(find(&module, version), version.as_str()),
            ModuleAsk::Query(query) => info(select::by_revision(versions, query), query),
            ModuleAsk::NoVersion(query) => info(None, query),
            ModuleAsk::Mod(version) => self.file(view, path, Some(version), File::Mod, seal).await,
            ModuleAsk::Zip(version) => self.file(view, path, Some(version), File::Zip, seal).await,
            ModuleAsk::Alias(Ext::Mod) => self.file(view, path, None, File::Mod, seal).await,
            ModuleAsk::Alias(Ext::Zip) => self.file(view, path, None, File::Zip, seal).await,
        }
    }

    /// Whether the path is absent or not to be seen, neither is told from the other by the answer or by its time: both are
    /// judged by the index in memory, and the records are read only for those who may see them.
    pub(super) async fn in_sight(&self, view: &View<'_>, path: &ModulePath) -> Result<Option<Arc<HostedModule>>, StoreError> {
        let index = self.stores.records.hosted_index().await?;
        if !index.hosted.get(path).is_some_and(|owner| view.shows(owner)) {
            return Ok(None);
        }
        let module = self.stores.records.module(path).await?;
        // It may have become another's meanwhile.
        Ok(module.filter(|module| view.shows(&module.owner)))
    }

    /// A `.mod` or `.zip` of `version`, or of the latest. The version may be deleted and published anew at any
    /// moment: what is opened is answered only if the seal, or for a HEAD the record, says that it still is its content.
    async fn file(
        &self,
        view: &View<'_>,
        path: &ModulePath,
        version: Option<&Version>,
        file: File,
        seal: bool,
    ) -> Result<Read, StoreError> {
        for _ in 0..READS_MAX {
            let Some(module) = self.in_sight(view, path).await? else {
                return Ok(Read::NotHosted);
            };
            let found = version.map_or_else(|| select::latest(&module.versions), |version| find(&module, version));
            let Some(record) = found else {
                let asked = version.map_or("latest", Version::as_str);
                return Ok(Read::Missing(select::no_such(path, asked, &module.versions)));
            };
            let blob = file.blob(record);
            let open = match self.stores.blobs.open(&blob).await {
                Ok(Some(open)) => open,
                // Swept with its record, or put anew with another, since that was read: look again.
                Ok(None) | Err(StoreError::Corrupt(_)) if !self.is_current(record).await? => continue,
                Ok(None) => return Err(lost(record, "is not there")),
                Err(error) => return Err(error),
            };
            // Half a file must not pass for a whole one.
            if open.metadata().map_err(|error| StoreError::Unavailable(Box::new(error)))?.len() != blob.len {
                return Err(lost(record, "has another length"));
            }
            let sealed = if seal {
                match self.seal(record, view.actor).await? {
                    Seal::Sealed { first } => {
                        if first {
                            self.note(record);
                        }
                        true
                    }
                    Seal::Gone => continue,
                }
            } else {
                self.is_sealed(record).await?
            };
            let body = Body::File { file: open.into(), from: 0, len: blob.len };
            return Ok(Read::Found(Answer { body, etag: sealed.then(|| etag(&blob)), owner: record.owner.clone() }));
        }
        Err(StoreError::Unavailable(format!("{path} changes faster than it can be read").into()))
    }

    /// Whether `record` is still what the store holds.
    async fn is_current(&self, record: &VersionRecord) -> Result<bool, StoreError> {
        let module = self.stores.records.module(&record.path).await?;
        Ok(module.is_some_and(|module| find(&module, &record.version) == Some(record)))
    }
}

/// The files that are kept of a version.
#[derive(Clone, Copy)]
enum File {
    Mod,
    Zip,
}

impl File {
    fn blob(self, record: &VersionRecord) -> BlobId {
        match self {
            Self::Mod => record.go_mod,
            Self::Zip => record.zip,
        }
    }
}

pub(super) fn find<'a>(module: &'a HostedModule, version: &Version) -> Option<&'a VersionRecord> {
    module.versions.iter().find(|record| record.version == *version)
}

pub(super) fn lost(record: &VersionRecord, what: &str) -> StoreError {
    StoreError::Corrupt(format!("a blob of {}@{} {what}", record.path, record.version))
}

/// The blob's name, quoted.
fn etag(blob: &BlobId) -> String {
    format!("\"{}\"", hex(&blob.sha256))
}
