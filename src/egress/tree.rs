//! What is hosted, as the rules ask for it: made once a change, then shared.

use std::collections::{BTreeSet, HashMap};

use super::names::{Name, key_is_below, path_prefixes, repository_root};
use super::rule::Place;
use crate::config::PublicHosts;
use crate::module::{ModulePath, OwnerName};
use crate::store::HostedIndex;

/// Hosted paths and tombstones, sorted so that what lies below a path follows it.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// Sorted by key.
    leaves: Vec<Leaf>,
    /// What lies above hosted paths, and of which owners those are.
    above: HashMap<String, BTreeSet<OwnerName>>,
    /// Repository roots at shared hosts, by key, with one of the leaves in them.
    roots: HashMap<String, usize>,
}

#[derive(Debug)]
struct Leaf {
    name: Name,
    place: Place,
}

impl Tree {
    pub(super) fn build(index: &HostedIndex, hosts: &PublicHosts) -> Self {
        let leaf = |(path, owner): (&ModulePath, &OwnerName), tombstone| Leaf {
            name: Name::new(path),
            place: Place { path: path.clone(), owner: owner.clone(), tombstone },
        };
        let hosted = index.hosted.iter().map(|entry| leaf(entry, false));
        let tombstones = index.tombstones.iter().map(|entry| leaf(entry, true));
        let mut leaves: Vec<Leaf> = hosted.chain(tombstones).collect();
        // Stable: of two leaves with one key the hosted one stays before the tombstone.
        leaves.sort_by(|a, b| a.name.key().cmp(b.name.key()));
        let mut above: HashMap<String, BTreeSet<OwnerName>> = HashMap::new();
        for (path, owner) in &index.hosted {
            for parent in path_prefixes(path.as_str()).filter(|parent| *parent != path.as_str()) {
                above.entry(parent.to_owned()).or_default().insert(owner.clone());
            }
        }
        let mut roots = HashMap::new();
        for (i, leaf) in leaves.iter().enumerate() {
            if hosts.shared.contains(leaf.name.host()) {
                roots.entry(repository_root(hosts, &leaf.name)).or_insert(i);
            }
        }
        Self { leaves, above, roots }
    }

    /// The leaf at `path`, else one that differs from it in case alone.
    pub(super) fn at(&self, path: &ModulePath, name: &Name) -> Option<&Place> {
        let twins = || self.with_key(name.key()).filter(|leaf| leaf.name.lower() == name.lower());
        twins().find(|leaf| leaf.place.path == *path).or_else(|| twins().next()).map(|leaf| &leaf.place)
    }

    /// A leaf with this key: the same path, but for case and `.git`.
    pub(super) fn like(&self, key: &str) -> Option<&Place> {
        self.with_key(key).next().map(|leaf| &leaf.place)
    }

    /// A leaf below this key.
    pub(super) fn below(&self, key: &str) -> Option<&Place> {
        let after = self.leaves.partition_point(|leaf| leaf.name.key() <= key);
        self.leaves.get(after).filter(|leaf| key_is_below(leaf.name.key(), key)).map(|leaf| &leaf.place)
    }

    /// The owners of what is hosted below this path, in this spelling. As quick for a host with everything below it as for a leaf.
    pub(super) fn owners_below(&self, path: &ModulePath) -> impl Iterator<Item = &OwnerName> {
        self.above.get(path.as_str()).into_iter().flatten()
    }

    /// A leaf in the repository with this root.
    pub(super) fn in_repository(&self, root: &str) -> Option<&Place> {
        self.roots.get(root).and_then(|&i| self.leaves.get(i)).map(|leaf| &leaf.place)
    }

    fn with_key(&self, key: &str) -> impl Iterator<Item = &Leaf> {
        let first = self.leaves.partition_point(|leaf| leaf.name.key() < key);
        self.leaves[first..].iter().take_while(move |leaf| leaf.name.key() == key)
    }
}
