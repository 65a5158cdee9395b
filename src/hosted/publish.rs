//! Publishing: a body becomes a durable version, or nothing.

use sha2::{Digest as _, Sha256};
use tracing::Instrument as _;

use super::form;
use super::refusal::{Id, Outside, PublishRefusal, Unpublished};
use super::upload::{Counted, Sink, Upload, disk_error};
use super::{Hosted, Publisher};
use crate::egress::{Rule, no_sumdb};
use crate::module::zip::{self, JudgeError, Judged};
use crate::module::{H1, ModulePath, OwnerName, Version};
use crate::observe::audit::Event;
use crate::observe::spawn_blocking;
use crate::store::{BlobId, NewVersion, Publish, Rev, Staged, StoreError, Stores};

/// A version that is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The module.
    pub path: ModulePath,
    /// The version.
    pub version: Version,
    /// The hash of the zip.
    pub h1: H1,
    /// When, in the order of the store.
    pub rev: Rev,
    /// The path had no hosted version and no tombstone before.
    pub new_path: bool,
    /// The host that this publish claimed.
    pub claimed: Option<Claimed>,
}

/// A host that a publish claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// The host.
    pub host: String,
    /// The rule that kept all of it private before.
    pub anyway: Option<Rule>,
}

impl Published {
    /// The body of the 201: `module version h1:…`, and what a claim means.
    pub fn text(&self) -> String {
        let mut text = format!("{} {} {}\n", self.path, self.version, self.h1);
        if let Some(Claimed { host, anyway }) = &self.claimed {
            let means = match anyway {
                None => format!(
                    "{host} is claimed: no path under it is asked for upstream any more. To undo, for good: modgate claim release {host}\n"
                ),
                Some(rule) => format!(
                    "{host} was private before (rule: {rule}), and is claimed too: it stays private if that rule goes. To undo the claim \
                     alone: modgate claim release {host}\n"
                ),
            };
            let hosts = format!("\"$(go env GONOSUMDB),{host}\"");
            text += &format!("{means}Clients whose GOSUMDB is not this gateway's have to be told, too: {}\n", no_sumdb(&hosts));
        }
        text
    }
}

impl Hosted {
    /// Takes a module zip, raw or as a form's first file (`content_type`), and makes it a version of `owner`.
    ///
    /// That `by` may publish to this owner was judged by the caller. When this returns `Ok`, the version is durable;
    /// whatever fails, nothing is left behind, and dropping the future before the body came whole is no exception.
    /// After that the publish goes on to its end, whoever waits for it.
    ///
    /// # Errors
    /// See [`PublishRefusal`]; with it what was known of the module by then.
    pub async fn publish(
        &self,
        owner: &OwnerName,
        by: &Publisher,
        content_type: Option<&str>,
        upload: &mut dyn Upload,
    ) -> Result<Published, Unpublished> {
        if !self.rules.owners().contains_key(owner) {
            return Err(PublishRefusal::Outside(Outside::NoOwner(owner.clone())).into());
        }
        let (zip, zip_id) = self.receive(content_type, upload).await?;
        let (judged, zip) = self.judge(zip).await?;
        let of = (judged.path.clone(), judged.version.clone());
        let kept = self.keep(owner, by, (judged, zip, zip_id)).await;
        kept.map_err(|why| Unpublished { of: Some(of), why })
    }

    /// Makes a judged zip a version, if the owner may publish it.
    async fn keep(
        &self,
        owner: &OwnerName,
        by: &Publisher,
        (judged, zip, zip_id): (Judged, Staged, BlobId),
    ) -> Result<Published, PublishRefusal> {
        let grant = self.rules.grant(owner, &judged.path).await?;
        let new = NewVersion {
            owner: owner.clone(),
            path: judged.path,
            version: judged.version,
            h1: judged.h1,
            go_mod_h1: judged.go_mod_h1,
            zip: zip_id,
            go_mod: BlobId { sha256: Sha256::digest(&judged.go_mod).into(), len: judged.go_mod.len() as u64 },
            by: by.actor.by.to_string(),
            shadows: grant.shadows,
            claim: grant.claim,
            needs_claim: grant.needs_claim,
            max_bytes: grant.max_bytes,
        };
        let anyway = grant.private_anyway;
        let (stores, audit, owner, by) = (self.stores.clone(), self.audit.clone(), owner.clone(), by.clone());
        // On a task of its own: a client that goes away now must leave neither blobs between their put and their record, nor a
        // version that the audit trail does not tell of.
        let committing = async move {
            let mut published = commit(stores, new, zip, judged.go_mod, by.may_read).await?;
            if let Some(claimed) = &mut published.claimed {
                claimed.anyway = anyway;
            }
            audit.record_durably(&by.actor, &events(owner, &published, grant.shadows)).await;
            Ok(published)
        };
        tokio::spawn(committing.in_current_span()).await.map_err(stopped)?
    }

    /// The body, or the form's first file, in a staging file.
    async fn receive(&self, content_type: Option<&str>, upload: &mut dyn Upload) -> Result<(Staged, BlobId), PublishRefusal> {
        let limit = self.upload_bytes_max;
        let form_type = content_type.filter(|_| form::is_form(content_type));
        let frame = if form_type.is_some() { form::FRAME_BYTES_MAX } else { 0 };
        if upload.declared_len().is_some_and(|declared| declared > limit.saturating_add(frame)) {
            return Err(PublishRefusal::TooLarge { limit });
        }
        let mut sink = Sink::new(self.stores.blobs.stage().await?, limit);
        let mut body = Counted::new(upload);
        if let Some(form_type) = form_type {
            form::first_file(form_type, &mut body, &mut sink).await?;
        } else {
            while let Some(piece) = body.next().await? {
                sink.write(piece).await?;
            }
        }
        sink.finish().await
    }

    /// Judges a zip on a blocking thread, few at a time: what inflates and hashes must not take every core.
    async fn judge(&self, staged: Staged) -> Result<(Judged, Staged), PublishRefusal> {
        let permit = self.judges.clone().acquire_owned().await.map_err(stopped)?;
        let judging = spawn_blocking(move || {
            // Kept here, so that a client that goes away frees the place only when the work is done.
            let _permit = permit;
            zip::judge(&staged.file).map(|judged| (judged, staged))
        });
        judging.await.map_err(stopped)?.map_err(|error| match error {
            JudgeError::Bad(problems) => PublishRefusal::BadZip(problems),
            JudgeError::Io(error) => disk_error(error),
        })
    }
}

/// What the audit trail tells of a publish.
fn events(owner: OwnerName, published: &Published, shadows: bool) -> Vec<Event> {
    let Published { path, version, h1, new_path, claimed, .. } = published;
    let mut events = vec![Event::Publish { owner: owner.clone(), path: path.clone(), version: version.clone(), h1: *h1 }];
    if let Some(Claimed { host, .. }) = claimed {
        events.push(Event::ClaimMade { host: host.clone(), owner: owner.clone(), path: path.clone() });
    }
    if shadows && *new_path {
        events.push(Event::Shadowing { owner, path: path.clone() });
    }
    events
}

/// A task that was to do a step ended before it.
fn stopped(error: impl std::error::Error + Send + Sync + 'static) -> PublishRefusal {
    PublishRefusal::Storage(StoreError::Unavailable(Box::new(error)))
}

/// Makes a judged module durable, or takes back what was put.
async fn commit(stores: Stores, new: NewVersion, zip: Staged, go_mod: Vec<u8>, may_read: bool) -> Result<Published, PublishRefusal> {
    let (path, owner, blobs) = (new.path.clone(), new.owner.clone(), [new.zip, new.go_mod]);
    let id = Id { path: new.path.clone(), version: new.version.clone(), h1: new.h1 };
    let known = |h1: H1| may_read.then_some(h1);
    let refusal = match put(&stores, new, zip, go_mod).await {
        Ok(Publish::Created { rev, new_path, claimed }) => {
            let claimed = claimed.map(|host| Claimed { host, anyway: None });
            return Ok(Published { path: id.path, version: id.version, h1: id.h1, rev, new_path, claimed });
        }
        Ok(Publish::VersionExists(h1, _)) => PublishRefusal::VersionExists { same: h1 == id.h1, known: known(h1), id },
        Ok(Publish::NotYours) => PublishRefusal::NotYours { path, owner },
        Ok(Publish::OutsideOwner) => {
            let why = "is, but for case, or lies above or below, a path that is taken".to_owned();
            PublishRefusal::Outside(Outside::Shadows { path, owner, why })
        }
        Ok(Publish::NotClaimed) => {
            let why = format!("the claim of {} was released", path.host());
            PublishRefusal::Outside(Outside::NotPrivate { path, owner, why })
        }
        Ok(Publish::OverQuota(over)) => PublishRefusal::OverQuota { owner, over },
        // May read what is this owner's: a path that was released may have been another's.
        Ok(Publish::SealedOther { h1, yours, .. }) => PublishRefusal::SealedOther { known: known(h1).filter(|_| yours), id },
        Err(refusal) => refusal,
    };
    for blob in blobs {
        if let Err(error) = stores.blobs.sweep(&blob).await {
            tracing::warn!(%error, "the blob of a refused publish could not be removed now; the next start removes it");
        }
    }
    Err(refusal)
}

/// Blobs, then the record. What is on disk if we die
///
/// 1. before the first `put` ends: a staging file, that start-up removes;
/// 2. after a `put`, before the record: blobs that no record names, that start-up removes and counts; nothing of
///    the publish can be seen, and the client got no 201;
/// 3. after the record, before this returns: the version, whole. The client got no 201, and a second try gets
///    409 "exists with the same content".
///
/// The store decides in 3 whether there is a record at all: of two publishes of one version, one is created.
/// The pins live until then, so that no sweep takes a blob that a record is about to name.
async fn put(stores: &Stores, new: NewVersion, zip: Staged, go_mod: Vec<u8>) -> Result<Publish, PublishRefusal> {
    let mut staged = stores.blobs.stage().await?;
    let writing = spawn_blocking(move || staged.write(&go_mod).map(|()| staged));
    let staged = writing.await.map_err(stopped)?.map_err(disk_error)?;
    let _go_mod = stores.blobs.put(new.go_mod, staged).await?;
    let _zip = stores.blobs.put(new.zip, zip).await?;
    Ok(stores.records.publish(new).await?)
}
