//! A checksum database for tests: a tree that grows, and what a fake upstream is to answer for it.

use std::sync::Arc;
use std::time::Duration;

use super::{Client, Databases};
use crate::cache::{Cache, Stock};
use crate::config;
use crate::durable::Disk;
use crate::module::{H1, ModulePath, Version};
use crate::observe::audit::Audit;
use crate::observe::metrics::Metrics;
use crate::store::DataDir;
use crate::store::double::Double;
use crate::tlog::{Head, Lookup, Record, SignedHead, SignerKey, Step, Tile, Tiles, VerifierKey, grow};
use crate::upstream::fake::{self, Act, Fake};

/// A database.
#[derive(Clone)]
pub(super) struct Log {
    pub(super) signer: SignerKey,
    pub(super) head: Head,
    records: Vec<Record>,
    tiles: Tiles,
}

impl Log {
    /// One of a new key, with so many records.
    pub(super) fn new(records: u64) -> Self {
        let signer = SignerKey::generate("sum.example.org").unwrap();
        let mut log = Self { signer, head: Head::empty(), records: Vec::new(), tiles: Tiles::default() };
        log.grow(records, "m");
        log
    }

    /// Of the same key, with the first so many records, and then others.
    pub(super) fn forked(&self, same: u64, others: u64) -> Self {
        let mut fork = Self { head: Head::empty(), records: Vec::new(), tiles: Tiles::default(), ..self.clone() };
        fork.append(self.records[..usize::try_from(same).unwrap()].to_vec());
        fork.grow(others, "other");
        fork
    }

    /// So many records more.
    pub(super) fn grow(&mut self, more: u64, what: &str) {
        let from = self.head.size;
        let record = |id| Record {
            path: format!("example.com/{what}{id}").parse().unwrap(),
            version: "v1.0.0".parse().unwrap(),
            zip: H1([u8::try_from(id % 256).unwrap(); 32]),
            go_mod: H1([u8::try_from(id / 256 % 256).unwrap(); 32]),
        };
        self.append((from..from + more).map(record).collect());
    }

    fn append(&mut self, records: Vec<Record>) {
        let leaves: Vec<_> = records.iter().map(|record| record.text().hash()).collect();
        let Step::Done(grown) = grow(&self.head, &leaves, &self.tiles).unwrap() else { panic!("all tiles are at hand") };
        grown.tiles.into_iter().for_each(|(tile, hashes)| self.tiles.insert(tile, hashes).unwrap());
        self.records.extend(records);
        self.head = grown.head;
    }

    pub(super) fn key(&self) -> VerifierKey {
        self.signer.verifier()
    }

    pub(super) fn record(&self, id: u64) -> &Record {
        &self.records[usize::try_from(id).unwrap()]
    }

    pub(super) fn signed(&self) -> SignedHead {
        self.signer.sign(&self.head)
    }

    /// The answer to the look-up of a record.
    pub(super) fn lookup(&self, id: u64) -> Lookup {
        Lookup { id, record: self.record(id).text(), note: self.signed().note().to_vec() }
    }

    /// The path of what is asked of it.
    pub(super) fn target(&self, ask: &str) -> String {
        format!("/sumdb/{}/{ask}", self.signer.name())
    }

    /// Where a record is looked up.
    pub(super) fn lookup_target(&self, id: u64) -> String {
        self.target(&format!("lookup/{}@v1.0.0", self.record(id).path))
    }

    /// Has the upstream answer so to the look-up of a record.
    pub(super) fn tell(&self, fake: &Fake, id: u64, lookup: &Lookup) {
        fake.set(&self.lookup_target(id), Act::ok("text/plain", lookup.to_bytes()));
    }

    /// Its tiles as they are now: the full ones, and those at the edge at their width.
    pub(super) fn all_tiles(&self) -> Vec<Tile> {
        let at = |level: u8, n: u64| format!("tile/8/{level}/{n:03}.p/1").parse::<Tile>().unwrap().in_tree(self.head.size);
        (0..3).flat_map(|level| (0..).map_while(move |n| at(level, n)).collect::<Vec<_>>()).collect()
    }

    /// A tile's hashes.
    pub(super) fn hashes(&self, tile: Tile) -> Vec<u8> {
        self.tiles.get(tile).unwrap().to_vec()
    }

    /// Has the upstream answer with the tree as it is now.
    pub(super) fn serve_tiles(&self, fake: &Fake) {
        for tile in self.all_tiles() {
            fake.set(&self.target(&tile.to_string()), Act::ok("application/octet-stream", self.hashes(tile)));
        }
    }

    /// And with the look-ups of all records, by the head of now.
    pub(super) fn serve(&self, fake: &Fake) {
        self.serve_tiles(fake);
        for id in 0..self.head.size {
            self.tell(fake, id, &self.lookup(id));
        }
    }
}

/// A client, the cache below it, and the upstream that it asks.
pub(super) struct World {
    pub(super) dir: tempfile::TempDir,
    pub(super) fake: Fake,
    pub(super) key: VerifierKey,
    pub(super) cache: Cache,
    pub(super) client: Client,
    disk: Disk,
    pub(super) data: Arc<DataDir>,
}

impl World {
    pub(super) async fn new(log: &Log) -> Self {
        Self::on(log, Disk::default()).await
    }

    /// Whose every step on the disk goes that way.
    pub(super) async fn on(log: &Log, disk: Disk) -> Self {
        let (fake, dir) = (Fake::start().await, tempfile::tempdir().unwrap());
        log.serve(&fake);
        let (data, cache, client) = open(dir.path(), &disk, &fake, &log.key());
        Self { dir, fake, key: log.key(), cache, client, disk, data }
    }

    /// Ends the process, and starts the next one over the same data directory.
    pub(super) fn restart(self) -> Self {
        let Self { dir, fake, key, cache, client, disk, data } = self;
        cache.close();
        drop((cache, client, data));
        let (data, cache, client) = open(dir.path(), &disk, &fake, &key);
        Self { dir, fake, key, cache, client, disk, data }
    }

    /// So many tiles were asked of the upstream.
    pub(super) fn tiles_asked(&self) -> Vec<String> {
        self.fake.seen().into_iter().map(|seen| seen.target).filter(|target| target.contains("/tile/")).collect()
    }

    /// Whether the look-up of a version is kept.
    pub(super) async fn is_kept(&self, path: &ModulePath, version: &Version) -> bool {
        self.cache.kept_lookup(self.key.name(), path, version).await.unwrap().is_some()
    }

    /// The folder of what is known of the database.
    pub(super) fn known(&self) -> std::path::PathBuf {
        let mut folders = std::fs::read_dir(self.dir.path().join("sumdb/public")).unwrap();
        let folder = folders.next().unwrap().unwrap().path();
        assert!(folders.next().is_none());
        folder
    }
}

fn open(dir: &std::path::Path, disk: &Disk, fake: &Fake, key: &VerifierKey) -> (Arc<DataDir>, Cache, Client) {
    let data = Arc::new(DataDir::open_on(dir, disk.clone()).unwrap());
    let records = Arc::new(Double::default());
    let gate = fake::gate(records.clone());
    let sumdb = config::Sumdb { name: key.name().to_owned(), key: Some(key.clone()), url: None };
    let upstream = Arc::new(fake::upstream(&config::Upstream { sumdb: Some(sumdb), ..fake.config() }, gate.clone()));
    let minute = Duration::from_secs(60);
    let settings = config::Cache { max_size: 64 << 20, min_free: 0, memory: 1 << 20, fresh: minute, stale: minute, not_found: minute };
    let metrics = Metrics::new().unwrap();
    let stock = Stock::open(&data, &settings, gate, records, &metrics, Audit::default()).unwrap();
    let cache = Cache::new(stock, &settings, minute, upstream).for_database();
    let database = Databases::new(data.clone()).of(key).unwrap();
    (data, cache.clone(), Client::new(database, cache, Audit::default(), metrics.sumdb))
}
