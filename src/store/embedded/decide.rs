//! Decisions: what is asked of the record store, judged against what it holds at that moment. No I/O but reading.

use super::effects::{View, keys, seal, version};
use super::event::{Change, Entry, Event, RECORD_FORMAT, StoredVersion};
use super::paths::Paths;
use crate::module::{ModulePath, OwnerName, Version};
use crate::store::{
    Delete, MakePublic, MovePath, Moved, NewVersion, OverQuota, Publish, Release, Rev, Seal, StoreError, TokenRecord, VersionRecord,
};

/// The moment of a decision.
pub(super) struct Now<'a> {
    pub(super) view: &'a dyn View,
    pub(super) paths: &'a Paths,
    /// The revision that a change gets.
    pub(super) rev: Rev,
    /// The store's clock, seconds since 1970.
    pub(super) unix: u64,
}

/// What is to happen.
pub(super) enum Decision<T> {
    /// Nothing; this is the answer.
    Answer(T),
    /// This, and when it is durable, that is the answer.
    Change(Event, T),
}

/// Something asked.
pub(super) trait Ask: Send + 'static {
    /// The answer.
    type Out: Send + 'static;

    /// What it reads and changes: asks with other subjects do not change its answer. `None`: everything may, and it may change theirs.
    fn subject(&self) -> Option<Vec<u8>>;

    /// Judges it.
    fn decide(&self, now: &Now<'_>) -> Result<Decision<Self::Out>, StoreError>;
}

impl Now<'_> {
    fn entry(&self, by: &str, change: Change) -> Event {
        Event::Change(Box::new(Entry { rev: self.rev, unix: self.unix, by: by.to_owned(), change }))
    }
}

impl Ask for NewVersion {
    type Out = Publish;

    fn subject(&self) -> Option<Vec<u8>> {
        None
    }

    fn decide(&self, now: &Now<'_>) -> Result<Decision<Publish>, StoreError> {
        let held_by = now.paths.owner(&self.path);
        if held_by.is_some_and(|owner| *owner != self.owner) {
            return Ok(Decision::Answer(Publish::NotYours));
        }
        if let Some(there) = version(now.view, &self.path, &self.version)? {
            return Ok(Decision::Answer(Publish::VersionExists(there.record.h1, there.record.go_mod_h1)));
        }
        let new_path = held_by.is_none();
        if new_path && !self.shadows && now.paths.crosses(&self.path, &self.owner) {
            return Ok(Decision::Answer(Publish::OutsideOwner));
        }
        if let Some(sealed) = seal(now.view, &self.path, &self.version)?
            && (sealed.h1, sealed.go_mod_h1) != (self.h1, self.go_mod_h1)
        {
            let yours = sealed.owner.as_ref() == Some(&self.owner);
            return Ok(Decision::Answer(Publish::SealedOther { h1: sealed.h1, go_mod_h1: sealed.go_mod_h1, yours }));
        }
        let claimed = self.claim.as_ref().map(|host| host.to_ascii_lowercase()).filter(|host| now.paths.claimable(host));
        let host = self.path.host().to_ascii_lowercase();
        if self.needs_claim && claimed.as_ref() != Some(&host) && !now.paths.is_claimed(&host) {
            return Ok(Decision::Answer(Publish::NotClaimed));
        }
        let record = VersionRecord {
            rev: now.rev,
            owner: self.owner.clone(),
            path: self.path.clone(),
            version: self.version.clone(),
            h1: self.h1,
            go_mod_h1: self.go_mod_h1,
            zip: self.zip,
            go_mod: self.go_mod,
            published_unix: now.unix,
            by: self.by.clone(),
        };
        let used = now.paths.holding(&self.owner).bytes;
        if let Some(over) = OverQuota::judge(used, record.holding().bytes, self.max_bytes) {
            return Ok(Decision::Answer(Publish::OverQuota(over)));
        }
        let stored = StoredVersion { format: RECORD_FORMAT, record, claimed: claimed.clone(), moved: None };
        Ok(Decision::Change(Event::Publish(Box::new(stored)), Publish::Created { rev: now.rev, new_path, claimed }))
    }
}

/// [`crate::store::Records::delete`] and [`crate::store::Records::expire`]
pub(super) struct DeleteVersion {
    pub(super) owner: OwnerName,
    pub(super) path: ModulePath,
    pub(super) version: Version,
    /// Only the version that was published then.
    pub(super) rev: Option<Rev>,
    pub(super) by: String,
}

impl Ask for DeleteVersion {
    type Out = Delete;

    fn subject(&self) -> Option<Vec<u8>> {
        Some(path_subject(&self.path))
    }

    fn decide(&self, now: &Now<'_>) -> Result<Decision<Delete>, StoreError> {
        let is_meant = |record: &VersionRecord| record.owner == self.owner && self.rev.is_none_or(|rev| rev == record.rev);
        let Some(stored) = version(now.view, &self.path, &self.version)?.filter(|stored| is_meant(&stored.record)) else {
            return Ok(Decision::Answer(Delete::Absent));
        };
        let last = !super::effects::other_version(now.view, &self.path, &self.version)?;
        let Self { owner, path, version, by, rev: _ } = self;
        let change = Change::Delete { owner: owner.clone(), path: path.clone(), version: version.clone(), claim: stored.claim() };
        Ok(Decision::Change(now.entry(by, change), Delete::Deleted { rev: now.rev, last }))
    }
}

impl Ask for MovePath {
    type Out = Moved;

    fn subject(&self) -> Option<Vec<u8>> {
        None
    }

    fn decide(&self, now: &Now<'_>) -> Result<Decision<Moved>, StoreError> {
        let Self { path, to, .. } = self;
        let Some(from) = now.paths.owner(path).cloned() else { return Ok(Decision::Answer(Moved::Absent)) };
        if from == *to {
            return Ok(Decision::Answer(Moved::Theirs));
        }
        if self.needs_claim && !now.paths.is_claimed(&path.host().to_ascii_lowercase()) {
            return Ok(Decision::Answer(Moved::NotClaimed));
        }
        let holding = now.paths.index().sizes.get(path).copied().unwrap_or_default();
        if let Some(over) = OverQuota::judge(now.paths.holding(to).bytes, holding.bytes, self.max_bytes) {
            return Ok(Decision::Answer(Moved::OverQuota(over)));
        }
        let change = Change::Move { path: path.clone(), from: from.clone(), to: to.clone() };
        Ok(Decision::Change(now.entry(&self.by, change), Moved::Moved { rev: now.rev, from, holding }))
    }
}

/// [`crate::store::Records::seal`]
pub(super) struct SealVersion(pub(super) VersionRecord);

impl Ask for SealVersion {
    type Out = Seal;

    fn subject(&self) -> Option<Vec<u8>> {
        Some(path_subject(&self.0.path))
    }

    fn decide(&self, now: &Now<'_>) -> Result<Decision<Seal>, StoreError> {
        let VersionRecord { path, version, h1, go_mod_h1, .. } = &self.0;
        let same = |there: &StoredVersion| (there.record.h1, there.record.go_mod_h1) == (*h1, *go_mod_h1);
        let Some(there) = super::effects::version(now.view, path, version)?.filter(same) else {
            return Ok(Decision::Answer(Seal::Gone));
        };
        if seal(now.view, path, version)?.is_some_and(|sealed| (sealed.h1, sealed.go_mod_h1) == (*h1, *go_mod_h1)) {
            return Ok(Decision::Answer(Seal::Sealed { first: false }));
        }
        let owner = Some(there.record.owner);
        let change = Change::Seal { path: path.clone(), version: version.clone(), h1: *h1, go_mod_h1: *go_mod_h1, owner };
        Ok(Decision::Change(now.entry("", change), Seal::Sealed { first: true }))
    }
}

/// [`crate::store::Records::make_public`]
pub(super) struct MakeHostPublic {
    /// Lower case.
    pub(super) host: String,
    pub(super) by: String,
}

impl Ask for MakeHostPublic {
    type Out = MakePublic;

    fn subject(&self) -> Option<Vec<u8>> {
        Some(host_subject(&self.host))
    }

    fn decide(&self, now: &Now<'_>) -> Result<Decision<MakePublic>, StoreError> {
        if now.paths.is_claimed(&self.host) {
            return Ok(Decision::Answer(MakePublic::Claimed));
        }
        if let Some(made) = now.paths.index().made_public.get(&self.host) {
            return Ok(Decision::Answer(MakePublic::Public(made.rev)));
        }
        let change = Change::MakePublic { host: self.host.clone() };
        Ok(Decision::Change(now.entry(&self.by, change), MakePublic::Public(now.rev)))
    }
}

/// [`crate::store::Records::release_host`]
pub(super) struct ReleaseHost {
    /// Lower case.
    pub(super) host: String,
    pub(super) by: String,
}

impl Ask for ReleaseHost {
    type Out = Release;

    fn subject(&self) -> Option<Vec<u8>> {
        Some(host_subject(&self.host))
    }

    fn decide(&self, now: &Now<'_>) -> Result<Decision<Release>, StoreError> {
        let host = self.host.clone();
        let change = if now.paths.is_claimed(&host) {
            Change::ReleaseHost { host }
        } else if now.paths.index().made_public.contains_key(&host) {
            Change::UnmakePublic { host }
        } else {
            return Ok(Decision::Answer(Release::Absent));
        };
        Ok(Decision::Change(now.entry(&self.by, change), Release::Released(now.rev)))
    }
}

/// [`crate::store::Records::release_path`]
pub(super) struct ReleasePath {
    pub(super) path: ModulePath,
    pub(super) by: String,
}

impl Ask for ReleasePath {
    type Out = Release;

    fn subject(&self) -> Option<Vec<u8>> {
        Some(path_subject(&self.path))
    }

    fn decide(&self, now: &Now<'_>) -> Result<Decision<Release>, StoreError> {
        let index = now.paths.index();
        if index.hosted.contains_key(&self.path) {
            return Ok(Decision::Answer(Release::Hosted));
        }
        if !index.tombstones.contains_key(&self.path) {
            return Ok(Decision::Answer(Release::Absent));
        }
        let change = Change::ReleasePath { path: self.path.clone() };
        Ok(Decision::Change(now.entry(&self.by, change), Release::Released(now.rev)))
    }
}

/// [`crate::store::Records::token_put`]
pub(super) struct PutToken(pub(super) TokenRecord);

impl Ask for PutToken {
    type Out = Rev;

    fn subject(&self) -> Option<Vec<u8>> {
        Some(TOKENS.to_vec())
    }

    fn decide(&self, now: &Now<'_>) -> Result<Decision<Rev>, StoreError> {
        Ok(Decision::Change(now.entry("", Change::PutToken { token: self.0.clone() }), now.rev))
    }
}

/// [`crate::store::Records::token_revoke`]
pub(super) struct RevokeToken(pub(super) String);

impl Ask for RevokeToken {
    type Out = bool;

    fn subject(&self) -> Option<Vec<u8>> {
        Some(TOKENS.to_vec())
    }

    fn decide(&self, now: &Now<'_>) -> Result<Decision<bool>, StoreError> {
        if now.view.get(&keys::token_id(&self.0))?.is_none() {
            return Ok(Decision::Answer(false));
        }
        Ok(Decision::Change(now.entry("", Change::RevokeToken { id: self.0.clone() }), true))
    }
}

/// The subject of all that is asked about tokens: they are few.
const TOKENS: &[u8] = b"tokens";

fn host_subject(host: &str) -> Vec<u8> {
    [b"host ", host.as_bytes()].concat()
}

fn path_subject(path: &ModulePath) -> Vec<u8> {
    [b"path ", path.as_str().as_bytes()].concat()
}
