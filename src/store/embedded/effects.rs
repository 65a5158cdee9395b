//! What an event does to the index. The one reading of events: the committer and every start use it.
//!
//! The index is an ordered map. Its keys are a letter and text; no text of ours holds a NUL.

use std::collections::BTreeMap;
use std::ops::Bound;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::event::{Change, Event, HeldToken, Sealed, StoredVersion, Tombstone};
use crate::module::{ModulePath, OwnerName, Version};
use crate::store::{MadePublic, Rev, StoreError, TokenHash, VersionRecord};

/// Keys of the index.
pub(super) mod keys {
    use crate::module::{ModulePath, Version};
    use crate::store::{BlobId, TokenHash};

    /// The revision up to which the index holds everything: 8 bytes, big endian.
    pub(in crate::store::embedded) const REV: &[u8] = b"!rev";
    /// Before every version's key.
    pub(in crate::store::embedded) const VERSIONS: &[u8] = b"v";
    /// Before every tombstone's key.
    pub(in crate::store::embedded) const TOMBSTONES: &[u8] = b"p";
    /// Before every claim's key.
    pub(in crate::store::embedded) const CLAIMS: &[u8] = b"c";
    /// Before every released host's key.
    pub(in crate::store::embedded) const RELEASED: &[u8] = b"r";
    /// Before the key of every host that was made public.
    pub(in crate::store::embedded) const MADE_PUBLIC: &[u8] = b"u";
    /// Before every seal's key.
    pub(in crate::store::embedded) const SEALS: &[u8] = b"s";
    /// Before every token's key.
    pub(in crate::store::embedded) const TOKENS: &[u8] = b"t";

    fn key(kind: &[u8], parts: &[&[u8]]) -> Vec<u8> {
        [kind, &parts.join(&0)].concat()
    }

    pub(in crate::store::embedded) fn version(path: &ModulePath, version: &Version) -> Vec<u8> {
        key(VERSIONS, &[path.as_str().as_bytes(), version.as_str().as_bytes()])
    }

    pub(in crate::store::embedded) fn versions_of(path: &ModulePath) -> Vec<u8> {
        key(VERSIONS, &[path.as_str().as_bytes(), b""])
    }

    pub(in crate::store::embedded) fn seal(path: &ModulePath, version: &Version) -> Vec<u8> {
        key(SEALS, &[path.as_str().as_bytes(), version.as_str().as_bytes()])
    }

    pub(in crate::store::embedded) fn seals_of(path: &ModulePath) -> Vec<u8> {
        key(SEALS, &[path.as_str().as_bytes(), b""])
    }

    pub(in crate::store::embedded) fn tombstone(path: &ModulePath) -> Vec<u8> {
        key(TOMBSTONES, &[path.as_str().as_bytes()])
    }

    pub(in crate::store::embedded) fn claim(host: &str) -> Vec<u8> {
        key(CLAIMS, &[host.as_bytes()])
    }

    pub(in crate::store::embedded) fn released(host: &str) -> Vec<u8> {
        key(RELEASED, &[host.as_bytes()])
    }

    pub(in crate::store::embedded) fn made_public(host: &str) -> Vec<u8> {
        key(MADE_PUBLIC, &[host.as_bytes()])
    }

    pub(in crate::store::embedded) fn token(hash: &TokenHash) -> Vec<u8> {
        key(TOKENS, &[&hash.0])
    }

    pub(in crate::store::embedded) fn token_id(id: &str) -> Vec<u8> {
        key(b"i", &[id.as_bytes()])
    }

    /// Before the key of every version that names this blob.
    pub(in crate::store::embedded) fn users_of(blob: &BlobId) -> Vec<u8> {
        key(b"b", &[&blob.sha256])
    }

    pub(in crate::store::embedded) fn user_of(blob: &BlobId, path: &ModulePath, version: &Version) -> Vec<u8> {
        [users_of(blob).as_slice(), path.as_str().as_bytes(), b"\0", version.as_str().as_bytes()].concat()
    }
}

/// The whole index in memory.
pub(super) type Map = BTreeMap<Vec<u8>, Vec<u8>>;
/// A key and its value.
pub(super) type Pair = (Vec<u8>, Vec<u8>);

/// Something with the index's content.
pub(super) trait View {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
    /// The first key that is not below `from` and has this prefix, with its value.
    fn next(&self, from: &[u8], prefix: &[u8]) -> Result<Option<Pair>, StoreError>;
}

impl View for Map {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(Map::get(self, key).cloned())
    }

    fn next(&self, from: &[u8], prefix: &[u8]) -> Result<Option<Pair>, StoreError> {
        let found = self.range::<[u8], _>((Bound::Included(from), Bound::Unbounded)).next();
        Ok(found.filter(|(key, _)| key.starts_with(prefix)).map(|(key, value)| (key.clone(), value.clone())))
    }
}

/// A value of the index, decoded.
pub(super) fn decode<T: DeserializeOwned>(value: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(value).map_err(|e| StoreError::Corrupt(format!("the index holds something unreadable: {e}")))
}

/// A value for the index or the disk.
pub(super) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|e| StoreError::Corrupt(format!("cannot be written as JSON: {e}")))
}

/// A hosted version.
pub(super) fn version(view: &dyn View, path: &ModulePath, version: &Version) -> Result<Option<StoredVersion>, StoreError> {
    view.get(&keys::version(path, version))?.as_deref().map(decode).transpose()
}

/// A seal.
pub(super) fn seal(view: &dyn View, path: &ModulePath, version: &Version) -> Result<Option<Sealed>, StoreError> {
    view.get(&keys::seal(path, version))?.as_deref().map(decode).transpose()
}

/// Keys with their new values, or none where they go.
pub(super) type Writes = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// What `event` changes in the index that `view` shows. Events come in the order of their revisions.
pub(super) fn effects(event: &Event, view: &dyn View) -> Result<Writes, StoreError> {
    let mut writes = Writes::new();
    match event {
        Event::Publish(stored) => {
            let VersionRecord { path, version, zip, go_mod, .. } = &stored.record;
            writes.push((keys::version(path, version), Some(encode(stored)?)));
            for blob in [zip, go_mod] {
                writes.push((keys::user_of(blob, path, version), Some(Vec::new())));
            }
            writes.push((keys::tombstone(path), None));
            if let Some(claim) = stored.claim() {
                writes.push((keys::claim(&claim.host), Some(encode(&claim)?)));
            }
        }
        Event::Claim(claim) => writes.push((keys::claim(&claim.host), Some(encode(claim)?))),
        Event::Change(entry) => match &entry.change {
            Change::Delete { owner, path, version, claim: _ } => {
                // At start the record of an older delete is not there any more. Whether a tombstone results from it comes out right
                // nevertheless: a version that is live now was there at every delete after its publish, and its publish undoes those before.
                if let Some(stored) = self::version(view, path, version)? {
                    for blob in [&stored.record.zip, &stored.record.go_mod] {
                        writes.push((keys::user_of(blob, path, version), None));
                    }
                    writes.push((keys::version(path, version), None));
                }
                if !other_version(view, path, version)? {
                    writes.push((keys::tombstone(path), Some(encode(&Tombstone { rev: entry.rev, owner: owner.clone() })?)));
                }
            }
            Change::Seal { path, version, h1, go_mod_h1, owner } => {
                let sealed = Sealed { rev: entry.rev, h1: *h1, go_mod_h1: *go_mod_h1, owner: owner.clone() };
                writes.push((keys::seal(path, version), Some(encode(&sealed)?)));
            }
            Change::Move { path, from, to } => writes.extend(moved(path, from, to, entry.rev, view)?),
            Change::ReleasePath { path } => writes.push((keys::tombstone(path), None)),
            Change::ReleaseHost { host } => {
                writes.push((keys::claim(host), None));
                writes.push((keys::released(host), Some(encode(&entry.rev)?)));
            }
            Change::MakePublic { host } => {
                let made = MadePublic { rev: entry.rev, by: entry.by.clone(), since_unix: entry.unix };
                writes.push((keys::made_public(host), Some(encode(&made)?)));
            }
            Change::UnmakePublic { host } => writes.push((keys::made_public(host), None)),
            Change::PutToken { token } => {
                if let Some(before) = view.get(&keys::token_id(&token.id))? {
                    writes.push((keys::token(&decode::<TokenHash>(&before)?), None));
                }
                let held = HeldToken { rev: entry.rev, token: token.clone() };
                writes.push((keys::token(&token.hash), Some(encode(&held)?)));
                writes.push((keys::token_id(&token.id), Some(encode(&token.hash)?)));
            }
            Change::RevokeToken { id } => {
                if let Some(hash) = view.get(&keys::token_id(id))? {
                    writes.push((keys::token(&decode::<TokenHash>(&hash)?), None));
                    writes.push((keys::token_id(id), None));
                }
            }
        },
    }
    Ok(writes)
}

/// What makes a path another owner's.
fn moved(path: &ModulePath, from: &OwnerName, to: &OwnerName, rev: Rev, view: &dyn View) -> Result<Writes, StoreError> {
    let mut writes = Writes::new();
    for (key, value) in all(view, &keys::versions_of(path))? {
        let stored = decode::<StoredVersion>(&value)?.moved_to(to, rev);
        writes.push((key, Some(encode(&stored)?)));
    }
    for (key, value) in all(view, &keys::seals_of(path))? {
        let sealed: Sealed = decode(&value)?;
        // Of a path that was released before, seals may be somebody else's: whose, they go on saying.
        if sealed.owner.as_ref() == Some(from) {
            writes.push((key, Some(encode(&Sealed { rev, owner: Some(to.clone()), ..sealed })?)));
        }
    }
    let tombstone = keys::tombstone(path);
    if view.get(&tombstone)?.is_some() {
        writes.push((tombstone, Some(encode(&Tombstone { rev, owner: to.clone() })?)));
    }
    Ok(writes)
}

/// Every key that begins so, with its value.
pub(super) fn all(view: &dyn View, prefix: &[u8]) -> Result<Vec<Pair>, StoreError> {
    let (mut all, mut from) = (Vec::new(), prefix.to_vec());
    while let Some(pair) = view.next(&from, prefix)? {
        from = [pair.0.as_slice(), b"\0"].concat();
        all.push(pair);
    }
    Ok(all)
}

/// Whether the path has a version besides this one.
pub(super) fn other_version(view: &dyn View, path: &ModulePath, version: &Version) -> Result<bool, StoreError> {
    let mine = keys::version(path, version);
    let prefix = keys::versions_of(path);
    // The first one, or the first after this one.
    for from in [prefix.clone(), [mine.as_slice(), b"\0"].concat()] {
        match view.next(&from, &prefix)? {
            Some((key, _)) if key != mine => return Ok(true),
            _ => {}
        }
    }
    Ok(false)
}
