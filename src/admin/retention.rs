//! Hosted versions that `owners.NAME.retain` lets go. None goes unasked: that would be a surprise.

use super::gc::GcLine;
use super::{Operations, rfc3339};
use crate::hosted::expired;
use crate::observe::audit::{Actor, Event};
use crate::store::{Delete, StoreError, VersionRecord, unix_now};

impl Operations {
    /// What may go now, sealed versions too; with `force`, what went. Ends early once the process ends.
    pub(super) async fn expired(&self, force: bool, actor: &Actor) -> Result<Vec<GcLine>, StoreError> {
        let index = self.stores.records.hosted_index().await?;
        let mut lines = Vec::new();
        for (path, owner) in &index.hosted {
            let Some(retain) = self.config.owners.get(owner).and_then(|owner| owner.retain) else { continue };
            let Some(module) = self.stores.records.module(path).await?.filter(|module| module.owner == *owner) else { continue };
            for record in expired(&module.versions, retain, unix_now()) {
                if self.stop.is_asked() {
                    return Ok(lines);
                }
                let line = self.expired_line(record).await?;
                if !force || self.expire(record, actor).await? {
                    lines.push(line);
                }
            }
        }
        Ok(lines)
    }

    async fn expired_line(&self, record: &VersionRecord) -> Result<GcLine, StoreError> {
        let VersionRecord { owner, path, version, .. } = record;
        let sealed = self.stores.records.sealed(path, version).await?.is_some();
        let fetched = if sealed { ", fetched since" } else { "" };
        Ok(GcLine {
            kind: "hosted-expired".to_owned(),
            path: format!("{path}@{version}"),
            bytes: record.holding().bytes,
            why: format!("owners.{owner}.retain: published {}{fetched}", rfc3339(record.published_unix)),
        })
    }

    /// Removes a version; not one that took its place since it was judged.
    async fn expire(&self, record: &VersionRecord, actor: &Actor) -> Result<bool, StoreError> {
        let Delete::Deleted { last, .. } = self.stores.records.expire(record, &actor.by).await? else { return Ok(false) };
        let VersionRecord { owner, path, version, .. } = record.clone();
        self.audit.record_durably(actor, &[Event::Delete { owner, path, version, last }]).await;
        Ok(true)
    }
}
