//! Which paths and hosts are taken: the part of the index that is always in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::effects::{View, decode, keys};
use super::event::{Change, Event, HeldClaim, StoredVersion, Tombstone};
use crate::module::{ModulePath, OwnerName};
use crate::store::{Holding, HostedIndex, MadePublic, Rev, StoreError, VersionRecord};

/// The working copy of the [`HostedIndex`], and what decisions need beside it.
#[derive(Default)]
pub(super) struct Paths {
    index: Arc<HostedIndex>,
    /// Hosted paths and tombstones by their lower-case form.
    lower: BTreeMap<String, BTreeMap<ModulePath, OwnerName>>,
}

impl Paths {
    /// Reads all there is.
    pub(super) fn load(view: &dyn View, rev: Rev) -> Result<Self, StoreError> {
        let mut index = HostedIndex { rev, ..HostedIndex::default() };
        let mut from = keys::VERSIONS.to_vec();
        while let Some((key, value)) = view.next(&from, keys::VERSIONS)? {
            let StoredVersion { record, .. } = decode(&value)?;
            index.sizes.entry(record.path.clone()).or_default().add(record.holding());
            index.holdings.entry(record.owner.clone()).or_default().add(record.holding());
            index.hosted.entry(record.path).or_insert(record.owner);
            from = after(&key);
        }
        let mut from = keys::TOMBSTONES.to_vec();
        while let Some((key, value)) = view.next(&from, keys::TOMBSTONES)? {
            index.tombstones.insert(text(&key)?.parse().map_err(corrupt)?, decode::<Tombstone>(&value)?.owner);
            from = after(&key);
        }
        let mut from = keys::CLAIMS.to_vec();
        while let Some((key, value)) = view.next(&from, keys::CLAIMS)? {
            let held: HeldClaim = decode(&value)?;
            index.claims.insert(held.host, held.claim);
            from = after(&key);
        }
        let mut from = keys::MADE_PUBLIC.to_vec();
        while let Some((key, value)) = view.next(&from, keys::MADE_PUBLIC)? {
            index.made_public.insert(text(&key)?.to_owned(), decode(&value)?);
            from = after(&key);
        }
        let mut from = keys::RELEASED.to_vec();
        while let Some((key, _)) = view.next(&from, keys::RELEASED)? {
            index.released.insert(text(&key)?.to_owned());
            from = after(&key);
        }
        let mut paths = Self { index: Arc::default(), lower: BTreeMap::new() };
        for (path, owner) in index.hosted.iter().chain(&index.tombstones) {
            paths.lower.entry(lower(path)).or_default().insert(path.clone(), owner.clone());
        }
        paths.index = Arc::new(index);
        Ok(paths)
    }

    /// The index as of the last event that was followed.
    pub(super) fn index(&self) -> &Arc<HostedIndex> {
        &self.index
    }

    /// The owner of a hosted path or tombstone.
    pub(super) fn owner(&self, path: &ModulePath) -> Option<&OwnerName> {
        self.index.hosted.get(path).or_else(|| self.index.tombstones.get(path))
    }

    /// How much an owner holds.
    pub(super) fn holding(&self, owner: &OwnerName) -> Holding {
        self.index.holdings.get(owner).copied().unwrap_or_default()
    }

    /// Whether `path` is, but for case, or lies above or below a hosted path or tombstone of somebody else than `owner`.
    pub(super) fn crosses(&self, path: &ModulePath, owner: &OwnerName) -> bool {
        let path = lower(path);
        let others = |owners: &BTreeMap<ModulePath, OwnerName>| owners.values().any(|other| other != owner);
        let above_or_same = std::iter::once(path.len()).chain(path.match_indices('/').map(|(at, _)| at));
        if above_or_same.into_iter().any(|end| self.lower.get(&path[..end]).is_some_and(others)) {
            return true;
        }
        // '0' is what follows '/'.
        self.lower.range(format!("{path}/")..format!("{path}0")).any(|(_, owners)| others(owners))
    }

    /// Brings the index up to `event`, whose effects `view` shows already; `gone` is the version that it deleted.
    pub(super) fn follow(&mut self, event: &Event, gone: Option<&StoredVersion>, view: &dyn View) -> Result<(), StoreError> {
        let index = Arc::make_mut(&mut self.index);
        index.rev = event.rev();
        let path = match event {
            Event::Publish(stored) => {
                if let Some(held) = stored.claim() {
                    index.claims.insert(held.host, held.claim);
                }
                let VersionRecord { path, owner, .. } = &stored.record;
                index.sizes.entry(path.clone()).or_default().add(stored.record.holding());
                index.holdings.entry(owner.clone()).or_default().add(stored.record.holding());
                path
            }
            Event::Claim(_) => return Ok(()),
            Event::Change(entry) => match &entry.change {
                Change::Delete { path, .. } => {
                    if let Some(StoredVersion { record, .. }) = gone {
                        take(&mut index.sizes, path, record.holding());
                        take(&mut index.holdings, &record.owner, record.holding());
                    }
                    path
                }
                Change::Move { path, from, to } => {
                    if let Some(holding) = index.sizes.get(path).copied() {
                        take(&mut index.holdings, from, holding);
                        index.holdings.entry(to.clone()).or_default().add(holding);
                    }
                    path
                }
                Change::ReleasePath { path } => path,
                Change::ReleaseHost { host } => {
                    index.claims.remove(host);
                    index.released.insert(host.clone());
                    return Ok(());
                }
                Change::MakePublic { host } => {
                    let made = MadePublic { rev: entry.rev, by: entry.by.clone(), since_unix: entry.unix };
                    index.made_public.insert(host.clone(), made);
                    return Ok(());
                }
                Change::UnmakePublic { host } => {
                    index.made_public.remove(host);
                    return Ok(());
                }
                Change::Seal { .. } | Change::PutToken { .. } | Change::RevokeToken { .. } => return Ok(()),
            },
        };
        let prefix = keys::versions_of(path);
        let hosted = view.next(&prefix, &prefix)?.map(|(_, value)| decode::<StoredVersion>(&value)).transpose()?;
        let tombstone = view.get(&keys::tombstone(path))?.map(|value| decode::<Tombstone>(&value)).transpose()?;
        let (hosted, tombstone) = (hosted.map(|stored| stored.record.owner), tombstone.map(|t| t.owner));
        let owner = hosted.as_ref().or(tombstone.as_ref()).cloned();
        set(&mut index.hosted, path, hosted);
        set(&mut index.tombstones, path, tombstone);
        let twins = self.lower.entry(lower(path)).or_default();
        set(twins, path, owner);
        if twins.is_empty() {
            self.lower.remove(&lower(path));
        }
        Ok(())
    }

    /// Whether a publish under this host may claim it.
    pub(super) fn claimable(&self, host: &str) -> bool {
        let Self { index, .. } = self;
        !index.claims.contains_key(host) && !index.released.contains(host) && !index.made_public.contains_key(host)
    }

    /// Hosts that are claimed.
    pub(super) fn is_claimed(&self, host: &str) -> bool {
        self.index.claims.contains_key(host)
    }
}

fn set(map: &mut BTreeMap<ModulePath, OwnerName>, path: &ModulePath, owner: Option<OwnerName>) {
    match owner {
        Some(owner) => map.insert(path.clone(), owner),
        None => map.remove(path),
    };
}

/// Takes `less` off, and the entry out when nothing is left.
fn take<K: Ord>(holdings: &mut BTreeMap<K, Holding>, of: &K, less: Holding) {
    if let Some(holding) = holdings.get_mut(of) {
        holding.take(less);
        if holding.versions == 0 {
            holdings.remove(of);
        }
    }
}

fn lower(path: &ModulePath) -> String {
    path.as_str().to_ascii_lowercase()
}

/// The least key above `key`.
fn after(key: &[u8]) -> Vec<u8> {
    [key, b"\0"].concat()
}

/// A key's text behind its letter.
fn text(key: &[u8]) -> Result<&str, StoreError> {
    std::str::from_utf8(key.get(1..).unwrap_or_default()).map_err(corrupt)
}

fn corrupt(error: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt(format!("the index holds a bad key: {error}"))
}
