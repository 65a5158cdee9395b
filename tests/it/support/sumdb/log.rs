//! The fixture's tree: go.sum lines of module versions, and the Merkle hashes over them as golang.org/x/mod/sumdb/tlog stores them.

use std::collections::BTreeMap;

use modgate::module::H1;
use sha2::{Digest as _, Sha256};
use tlog_tiles::{Error, Hash, HashReader, Tile, stored_hashes, tree_hash};

/// So many records are made up before the first true one: two full tiles, a third that is not full, and a second level.
pub(super) const PADDING: u64 = 600;
/// A tile's height.
const HEIGHT: u8 = 8;
/// The highest level of tiles that a tree could have.
const LEVEL_MAX: u8 = 7;

/// A tree. It grows, and nothing in it changes.
pub(super) struct Log {
    records: Vec<String>,
    hashes: Hashes,
    /// Record numbers by `path@version`.
    numbers: BTreeMap<String, u64>,
}

/// In the order of stored hash indexes.
struct Hashes(Vec<Hash>);

impl HashReader for Hashes {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, Error> {
        let one = |index: &u64| usize::try_from(*index).ok().and_then(|index| self.0.get(index)).copied();
        indexes.iter().map(one).collect::<Option<_>>().ok_or(Error::IndexesNotInTree)
    }
}

/// What a record says of a version: two lines of go.sum.
pub(super) fn go_sum(path: &str, version: &str, zip: H1, go_mod: H1) -> String {
    format!("{path} {version} {zip}\n{path} {version}/go.mod {go_mod}\n")
}

impl Log {
    /// A tree of [`PADDING`] records that are made up.
    pub(super) fn padded() -> Self {
        let mut log = Self { records: Vec::new(), hashes: Hashes(Vec::new()), numbers: BTreeMap::new() };
        drop(log.pad(PADDING, "made-up"));
        log
    }

    /// Another tree: its first record is not that of this one, the others are, and `more` made-up ones follow.
    pub(super) fn forked(&self, more: u64) -> Self {
        let mut fork = Self { records: Vec::new(), hashes: Hashes(Vec::new()), numbers: self.numbers.clone() };
        fork.push(made_up("example.org/forked", "v1.0.0"));
        for record in self.records.iter().skip(1) {
            fork.push(record.clone());
        }
        drop(fork.pad(more, "forked"));
        fork
    }

    /// Adds made-up records; their versions, `PATH@VERSION`.
    pub(super) fn pad(&mut self, count: u64, what: &str) -> Vec<String> {
        let one = |_| {
            let path = format!("example.org/{what}/{}", self.size());
            self.append(&path, "v1.0.0", made_up(&path, "v1.0.0"));
            format!("{path}@v1.0.0")
        };
        (0..count).map(one).collect()
    }

    /// Adds the record of a version that has none; returns its number.
    pub(super) fn append(&mut self, path: &str, version: &str, record: String) -> u64 {
        let number = self.push(record);
        let before = self.numbers.insert(format!("{path}@{version}"), number);
        assert!(before.is_none(), "{path}@{version} has a record");
        number
    }

    fn push(&mut self, record: String) -> u64 {
        let number = self.size();
        let hashes = stored_hashes(number, record.as_bytes(), &self.hashes).expect("the hashes before it are there");
        self.hashes.0.extend(hashes);
        self.records.push(record);
        number
    }

    /// The record's number.
    pub(super) fn number(&self, path: &str, version: &str) -> Option<u64> {
        self.numbers.get(&format!("{path}@{version}")).copied()
    }

    /// The number of a record of the same module and another version.
    pub(super) fn number_of_another_version(&self, path: &str, version: &str) -> Option<u64> {
        let own = format!("{path}@{version}");
        let others = self.numbers.iter().filter(|(name, _)| **name != own && name.rsplit_once('@').is_some_and(|(of, _)| of == path));
        others.map(|(_, number)| *number).next()
    }

    /// How many records there are.
    pub(super) fn size(&self) -> u64 {
        self.records.len() as u64
    }

    /// A record that is there, by number.
    pub(super) fn record(&self, number: u64) -> &str {
        &self.records[usize::try_from(number).expect("a number")]
    }

    /// The root of the tree of the first `size` records, which are there.
    pub(super) fn root(&self, size: u64) -> Hash {
        tree_hash(size, &self.hashes).expect("the records are there")
    }

    /// A tile's bytes; `None` if the tree has no such tile, or not of that width, or it has another height.
    pub(super) fn tile(&self, tile: &Tile) -> Option<Vec<u8>> {
        if tile.height() != HEIGHT || tile.level() > LEVEL_MAX {
            return None;
        }
        if !tile.is_data() {
            return tile.read_data(&self.hashes).ok();
        }
        let first = usize::try_from(tile.level_index()).ok()?.checked_mul(1 << HEIGHT)?;
        let records = self.records.get(first..first.checked_add(tile.width() as usize)?)?;
        Some(records.iter().map(|record| format!("{record}\n")).collect::<String>().into_bytes())
    }

    /// The bytes of another tile of that width. The tree has two full tiles.
    pub(super) fn tile_elsewhere(&self, tile: &Tile) -> Option<Vec<u8>> {
        self.tile(tile)?;
        let place = u64::from((tile.level(), tile.level_index()) == (0, 0));
        self.tile(&Tile::new(HEIGHT, 0, place, tile.width(), tile.is_data()))
    }
}

/// The tile of a path, `tile/8/…`.
pub(super) fn tile_at(path: &str) -> Option<Tile> {
    // tlog_tiles panics at a level or a width that no tile has.
    let level = path.split('/').nth(2)?;
    let possible = level == "data" || level.parse().is_ok_and(|level: u8| level < 64);
    if !possible || path.ends_with(".p/0") {
        return None;
    }
    Tile::from_path(path).ok()
}

/// The record of a version with files that nobody has.
pub(super) fn made_up(path: &str, version: &str) -> String {
    let hash = |what: &str| H1(Sha256::digest(format!("{path}@{version} {what}")).into());
    go_sum(path, version, hash("zip"), hash("go.mod"))
}
