//! From a module version to its record's number, in memory: 17 bytes a record, whatever its name is long.
//!
//! It holds hashes of names, keyed so that nobody can choose names that meet: what it finds is a number to look at, and the record decides.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{PoisonError, RwLock};

use hashbrown::HashTable;

use crate::module::{ModulePath, Version};

/// A record's number, and the hash of what it is about.
#[derive(Clone, Copy)]
struct Slot {
    hash: u64,
    id: u64,
}

#[derive(Default)]
pub(super) struct Index {
    hasher: RandomState,
    slots: RwLock<HashTable<Slot>>,
}

impl Index {
    /// Adds a record.
    pub(super) fn add(&self, path: &ModulePath, version: &Version, id: u64) {
        let hash = self.hash(path, version);
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        slots.insert_unique(hash, Slot { hash, id }, |slot| slot.hash);
    }

    /// The records that can be about this version, oldest first: none or one, nearly always.
    pub(super) fn find(&self, path: &ModulePath, version: &Version) -> Vec<u64> {
        let hash = self.hash(path, version);
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        let mut found: Vec<u64> = slots.iter_hash(hash).filter(|slot| slot.hash == hash).map(|slot| slot.id).collect();
        found.sort_unstable();
        found
    }

    fn hash(&self, path: &ModulePath, version: &Version) -> u64 {
        self.hasher.hash_one((path.as_str(), version.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_by_its_path_and_itself() {
        let (index, path, version) = (Index::default(), "example.com/a".parse().unwrap(), "v1.0.0".parse().unwrap());
        for id in 0..1000 {
            index.add(&format!("example.com/m{id}").parse().unwrap(), &version, id);
        }
        assert_eq!(index.find(&path, &version), [0; 0]);
        index.add(&path, &version, 1001);
        index.add(&path, &version, 1000);
        assert_eq!(index.find(&path, &version), [1000, 1001]);
        assert_eq!(index.find(&path, &"v1.0.1".parse().unwrap()), [0; 0]);
        assert_eq!(index.find(&"example.com/m7".parse().unwrap(), &version), [7]);
    }
}
