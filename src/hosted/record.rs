//! What a checksum database of our own says of hosted versions: what was sealed, and nothing else.
//!
//! A version is in the log soon after it is sealed. Sealing neither waits for that nor fails with it: what the log did not take then, it
//! takes when it is asked for it.

use tracing::Instrument as _;

use super::read::{READS_MAX, find};
use super::{Hosted, View, select};
use crate::module::{ModulePath, Version};
use crate::observe::audit::{Actor, Event};
use crate::store::{Seal, SealedContent, StoreError, VersionRecord};
use crate::tlog::Record;

/// The kind under which it is recorded that a version is not what the log has of it.
const CONTRADICTED: &str = "checksum-log";

/// What is to be said of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// No hosted module of this path is in sight, nor one that was.
    NotHosted,
    /// The module is in sight, and has no such version, and never gave one out: 404 with this text.
    Missing(String),
    /// This; it is sealed.
    Sealed(Record),
    /// It is there and in sight, and was not given out yet.
    Unsealed,
}

/// Whether what was sealed may be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// Nothing was.
    NoSeal,
    /// It may.
    InSight,
    /// It may not, or nobody knows whose it was.
    OutOfSight,
}

impl Hosted {
    /// What a checksum database says of a version that is in sight. `seal`: one that is there is sealed now, durably, as by reading it.
    /// One that was sealed and deleted has its record all the same, for those who see whose it was then.
    ///
    /// # Errors
    /// The store's.
    pub async fn record(&self, view: &View<'_>, path: &ModulePath, version: &Version, seal: bool) -> Result<Recorded, StoreError> {
        for _ in 0..READS_MAX {
            let Some(module) = self.in_sight(view, path).await? else {
                // Its last version is gone, and the path is still its owner's.
                let index = self.stores.records.hosted_index().await?;
                let in_sight = index.tombstones.get(path).is_some_and(|owner| view.shows(owner));
                let sealed = if in_sight { self.sealed(view, path, version).await? } else { None };
                return Ok(sealed.map_or(Recorded::NotHosted, Recorded::Sealed));
            };
            let Some(record) = find(&module, version) else {
                let missing = || Recorded::Missing(select::no_such(path, version.as_str(), &module.versions));
                return Ok(self.sealed(view, path, version).await?.map_or_else(missing, Recorded::Sealed));
            };
            if !seal {
                return Ok(if self.is_sealed(record).await? { Recorded::Sealed(record_of(record)) } else { Recorded::Unsealed });
            }
            match self.seal(record, view.actor).await? {
                Seal::Sealed { .. } => return Ok(Recorded::Sealed(record_of(record))),
                // Deleted meanwhile, or published anew.
                Seal::Gone => {}
            }
        }
        Err(StoreError::Unavailable(format!("{path} changes faster than it can be read").into()))
    }

    /// What was sealed as this version by an owner in sight, whether it is still there or not.
    async fn sealed(&self, view: &View<'_>, path: &ModulePath, version: &Version) -> Result<Option<Record>, StoreError> {
        let sealed = self.stores.records.sealed(path, version).await?;
        // Where nobody knows whose it was, it counts as the path's, which is in sight.
        let sealed = sealed.filter(|sealed| sealed.owner.as_ref().is_none_or(|owner| view.shows(owner)));
        Ok(sealed.map(|SealedContent { h1, go_mod_h1, .. }| Record {
            path: path.clone(),
            version: version.clone(),
            zip: h1,
            go_mod: go_mod_h1,
        }))
    }

    /// Who may see what was ever sealed as this version, whosever the path is now.
    ///
    /// # Errors
    /// The store's.
    pub async fn sight_of_seal(&self, view: &View<'_>, path: &ModulePath, version: &Version) -> Result<Sight, StoreError> {
        Ok(match self.stores.records.sealed(path, version).await? {
            None => Sight::NoSeal,
            Some(sealed) if sealed.owner.as_ref().is_some_and(|owner| view.shows(owner)) => Sight::InSight,
            Some(_) => Sight::OutOfSight,
        })
    }

    /// Seals a version, durably, and records that it was.
    pub(super) async fn seal(&self, record: &VersionRecord, actor: &Actor) -> Result<Seal, StoreError> {
        let seal = self.stores.records.seal(record).await?;
        if let Seal::Sealed { first: true } = seal {
            let VersionRecord { owner, path, version, .. } = record.clone();
            // The bytes that are about to leave cannot be called back.
            self.audit.record_durably(actor, &[Event::Seal { owner, path, version }]).await;
            self.contradicts(record).await;
        }
        Ok(seal)
    }

    /// Tells, once, of a version that is given out and is not what the log has said of it: of a public module of this path, say. The
    /// log's word stands.
    async fn contradicts(&self, record: &VersionRecord) {
        let Some(log) = &self.log else { return };
        let VersionRecord { path, version, .. } = record;
        match log.find(path, version).await {
            Ok(Some(entry)) if entry.record != record_of(record) => {
                let text = format!("sealed with {}, and our checksum database has {}: clients refuse it", record.h1, entry.record.zip);
                let event = Event::Integrity { kind: CONTRADICTED.to_owned(), path: format!("{path}@{version}"), text };
                self.audit.record_durably(&Actor::local("modgate"), &[event]).await;
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%path, %version, %error, "what the checksum database has of this version cannot be read"),
        }
    }

    /// Has the log take what was sealed, while nobody waits.
    pub(super) fn note(&self, record: &VersionRecord) {
        let Some(log) = self.log.clone() else { return };
        let record = record_of(record);
        let appending = async move {
            let (path, version) = (record.path.clone(), record.version.clone());
            match log.append(record.clone()).await {
                Ok(append) if append.entry().record != record => {
                    tracing::warn!(%path, %version, "the checksum database has another record of this version, which stands: clients refuse what was published");
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%path, %version, %error, "the checksum database takes this version when it is asked for it"),
            }
        };
        tokio::spawn(appending.in_current_span());
    }
}

fn record_of(record: &VersionRecord) -> Record {
    Record { path: record.path.clone(), version: record.version.clone(), zip: record.h1, go_mod: record.go_mod_h1 }
}
