//! Modules published here: publish, read, delete, seal.
//!
//! Invariants. What was answered 201 is durable, and what was refused left nothing. A version whose bytes have left
//! is sealed before they do. A hosted path shadows the public one whole: nothing here is ever mixed with upstream's.
//! Who may publish and delete is judged by the caller; who may see what, by the [`View`] that the caller hands in.

mod form;
mod packages;
mod publish;
mod record;
mod read;
mod refusal;
mod retention;
mod rules;
mod select;
mod upload;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio::sync::Semaphore;
use tracing::Instrument as _;

pub use packages::{Listing, Sums};
pub use publish::{Claimed, Published};
pub use read::{Answer, Read, View};
pub use record::{Recorded, Sight};
pub use refusal::{Id, Outside, PublishRefusal, Unpublished};
pub use retention::expired;
pub use rules::{Given, NotForOwner, Rules};
pub use upload::{Upload, UploadError};

use crate::config::Config;
use crate::egress::Policy;
use crate::module::{ModulePath, OwnerName, Version};
use crate::observe::audit::{Actor, Audit, Event};
use crate::store::{Delete, StoreError, Stores};
use crate::sumdb::log::Log;

/// Who publishes.
#[derive(Clone, Debug)]
pub struct Publisher {
    /// Who, as it stands in logs and records, and in which request.
    pub actor: Actor,
    /// May read what is published under this owner: hashes of what is there are told.
    pub may_read: bool,
}

/// The use cases over hosted modules.
pub struct Hosted {
    stores: Stores,
    rules: Rules,
    audit: Audit,
    /// Our own checksum database, which what is sealed goes to.
    log: Option<Arc<Log>>,
    upload_bytes_max: u64,
    judges: Arc<Semaphore>,
    /// Of zips, by their SHA-256.
    sums: moka::sync::Cache<[u8; 32], Sums>,
}

impl Hosted {
    /// Over these stores, with the owners and limits of `config`. `log`: our own checksum database, if there is one.
    pub fn new(config: &Config, stores: Stores, policy: Arc<Policy>, audit: Audit, log: Option<Arc<Log>>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            rules: Rules::new(config, policy, stores.records.clone()),
            stores,
            audit,
            log,
            upload_bytes_max: config.limits.upload,
            judges: Arc::new(Semaphore::new(cores.div_ceil(2))),
            sums: moka::sync::Cache::new(packages::SUMS_MAX),
        }
    }

    /// Removes a version of this owner, durably. The last version of a path leaves a tombstone: the path stays private
    /// and its owner's. Another owner's version is [`Delete::Absent`], like none.
    ///
    /// That `actor` may delete from this owner was judged by the caller.
    ///
    /// # Errors
    /// The store's.
    pub async fn delete(&self, owner: &OwnerName, path: &ModulePath, version: &Version, actor: &Actor) -> Result<Delete, StoreError> {
        let (records, audit) = (self.stores.records.clone(), self.audit.clone());
        let (owner, path, version, actor) = (owner.clone(), path.clone(), version.clone(), actor.clone());
        // On a task of its own: what is deleted is audited, whoever waits for it.
        let deleting = async move {
            let deleted = records.delete(&owner, &path, &version, &actor.by).await?;
            if let Delete::Deleted { last, .. } = deleted {
                audit.record_durably(&actor, &[Event::Delete { owner, path, version, last }]).await;
            }
            Ok(deleted)
        };
        let deleted = tokio::spawn(deleting.in_current_span()).await;
        deleted.map_err(|stopped| StoreError::Unavailable(Box::new(stopped)))?
    }
}

impl std::fmt::Debug for Hosted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hosted").field("owners", &self.rules.owners().keys()).finish_non_exhaustive()
    }
}
