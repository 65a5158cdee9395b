//! The public checksum databases of a process, whatever its settings: what is known of each, and of its tree what was proven of late.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use moka::sync::Cache as Memory;

use super::heads::{Fork, Heads, HeadsError, KeepError, Side, View};
use crate::cache::Vouched;
use crate::module::{ModulePath, Version};
use crate::store::DataDir;
use crate::tlog::{Hash, Head, Tile, TileLevel, Tiles, VerifierKey};

/// Bytes of proven tiles that are remembered of a database: a thousand full ones.
const TILES_BYTES_MAX: u64 = 8 << 20;
/// How many heads are remembered as consistent with the newest.
const HEADS_MAX: u64 = 10_000;
/// Bytes of look-ups that are remembered as signed by a database: some 7,000.
const SIGNED_BYTES_MAX: u64 = 8 << 20;
/// What one of these costs beside its bytes and names, about.
const SIGNED_ENTRY_BYTES: usize = 450;

/// All of a process. Cheap to clone.
#[derive(Clone)]
pub struct Databases {
    data: Arc<DataDir>,
    by_key: Arc<Mutex<BTreeMap<String, Arc<Database>>>>,
}

impl Databases {
    /// Of this data directory: none is open yet.
    pub fn new(data: Arc<DataDir>) -> Self {
        Self { data, by_key: Arc::default() }
    }

    /// The database of a key. What is known of it is read and verified when it is first asked for; that blocks on the disk.
    ///
    /// # Errors
    ///
    /// [`HeadsError`].
    pub fn of(&self, key: &VerifierKey) -> Result<Arc<Database>, HeadsError> {
        let mut by_key = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(database) = by_key.get(&key.to_string()) {
            return Ok(database.clone());
        }
        let database = Arc::new(Database::open(&self.data, key)?);
        by_key.insert(key.to_string(), database.clone());
        Ok(database)
    }
}

/// One database.
pub struct Database {
    pub(super) heads: Arc<Heads>,
    /// Proven tiles by level and place: the first hashes of each, as many as were proven.
    tiles: Memory<(u8, u64), Bytes>,
    /// Heads that were proven consistent with the newest of the era.
    consistent: Memory<(u64, Head), ()>,
    /// Kept look-ups that were read and found signed by the key, byte for byte, and what each says of its version.
    signed: Memory<(ModulePath, Version), (Bytes, Vouched)>,
}

impl Database {
    fn open(data: &Arc<DataDir>, key: &VerifierKey) -> Result<Self, HeadsError> {
        let weigher = |_: &(u8, u64), hashes: &Bytes| u32::try_from(hashes.len()).unwrap_or(u32::MAX);
        let of_look_up = |(path, version): &(ModulePath, Version), (bytes, _): &(Bytes, Vouched)| {
            let len = SIGNED_ENTRY_BYTES + path.as_str().len() + version.as_str().len() + bytes.len();
            u32::try_from(len).unwrap_or(u32::MAX)
        };
        Ok(Self {
            heads: Arc::new(Heads::open(data, key)?),
            tiles: Memory::builder().max_capacity(TILES_BYTES_MAX).weigher(weigher).build(),
            consistent: Memory::new(HEADS_MAX),
            signed: Memory::builder().max_capacity(SIGNED_BYTES_MAX).weigher(of_look_up).build(),
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.heads.key().name()
    }

    /// Its key.
    pub fn key(&self) -> &VerifierKey {
        self.heads.key()
    }

    /// The newest head that was seen.
    pub fn newest(&self) -> Option<Head> {
        self.heads.both().0.map(|newest| *newest.head())
    }

    /// The fork that it showed, until an operator decides.
    pub fn fork(&self) -> Option<Arc<Fork>> {
        self.heads.both().1
    }

    /// An operator decides which of the two trees is believed. The evidence stays in the data directory. None: there is no fork.
    ///
    /// # Errors
    ///
    /// [`KeepError`]: it is forked still.
    pub async fn trust(self: &Arc<Self>, side: Side) -> Result<Option<Arc<Fork>>, KeepError> {
        let database = self.clone();
        // What was proven was proven of the other tree, perhaps.
        self.heads.trust(side, move || database.tiles.invalidate_all()).await
    }

    /// A tile that was proven, at its own width.
    pub(super) fn tile(&self, tile: Tile) -> Option<Bytes> {
        let TileLevel::Hashes(level) = tile.level() else { return None };
        let (hashes, len) = (self.tiles.get(&(level, tile.n()))?, tile.byte_len()?);
        (len <= hashes.len()).then(|| hashes.slice(..len))
    }

    /// The hash of a record, if its tile was proven.
    pub(super) fn leaf(&self, id: u64) -> Option<Hash> {
        let width = u64::from(Tile::WIDTH);
        let hashes = self.tiles.get(&(0, id / width))?;
        // Below 256 times 32.
        let from = (id % width) as usize * Hash::BYTES;
        hashes.get(from..from + Hash::BYTES)?.try_into().ok().map(Hash)
    }

    /// Remembers tiles that were proven of the tree of `view`.
    pub(super) fn remember(&self, view: &View, proven: &[Tile], tiles: &Tiles) {
        self.heads.during(view, || {
            for tile in proven {
                let TileLevel::Hashes(level) = tile.level() else { continue };
                let place = (level, tile.n());
                if let Some(hashes) = tiles.get(*tile)
                    && self.tiles.get(&place).is_none_or(|known| known.len() < hashes.len())
                {
                    self.tiles.insert(place, Bytes::copy_from_slice(hashes));
                }
            }
        });
    }

    /// Forgets a tile: one that does not fit the tree any more.
    pub(super) fn forget(&self, tile: Tile) {
        if let TileLevel::Hashes(level) = tile.level() {
            self.tiles.invalidate(&(level, tile.n()));
        }
    }

    /// Whether a head was proven consistent with the newest one of the view's era. Newer ones follow from that.
    pub(super) fn is_consistent(&self, view: &View, head: &Head) -> bool {
        *head == view.head || self.consistent.contains_key(&(view.era, *head))
    }

    /// Remembers that it was.
    pub(super) fn remember_consistent(&self, view: &View, head: &Head) {
        self.consistent.insert((view.era, *head), ());
    }

    /// What these very bytes say of a version, if it is remembered that the key signed them.
    pub(super) fn signed(&self, of: &(ModulePath, Version), bytes: &Bytes) -> Option<Vouched> {
        self.signed.get(of).filter(|(signed, _)| signed == bytes).map(|(_, vouched)| vouched)
    }

    /// Remembers that the key signed these bytes, and what they say of a version.
    pub(super) fn remember_signed(&self, of: (ModulePath, Version), bytes: Bytes, vouched: Vouched) {
        self.signed.insert(of, (bytes, vouched));
    }
}
