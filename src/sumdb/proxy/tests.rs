use std::sync::Arc;
use std::time::Duration;

use super::super::double::{self, Log};
use super::*;
use crate::cache::{Body, CacheStatus, Stock};
use crate::config;
use crate::observe::audit::Audit;
use crate::observe::metrics::Metrics;
use crate::store::DataDir;
use crate::store::double::Double;
use crate::upstream::fake::{self, Act, Fake};

const NAME: &str = "sum.example.org";
const LOOKUP: &str = "/sumdb/sum.example.org/lookup/example.com/!m@v1.0.0";
const TILE: &str = "/sumdb/sum.example.org/tile/8/0/x001/234.p/5";
const LATEST: &str = "/sumdb/sum.example.org/latest";

struct World {
    dir: tempfile::TempDir,
    fake: Fake,
    records: Arc<Double>,
    data: Arc<DataDir>,
    proxy: Proxy,
}

impl World {
    async fn new() -> Self {
        let (fake, dir, records) = (Fake::start().await, tempfile::tempdir().unwrap(), Arc::new(Double::default()));
        let data = Arc::new(DataDir::open(dir.path()).unwrap());
        let proxy = proxy(&data, &fake.config(), &records);
        Self { dir, fake, records, data, proxy }
    }

    async fn ask(&self, what: SumdbWhat) -> Result<Resolved, ProxyError> {
        self.proxy.resolve(&SumdbAsk { name: NAME.into(), what }, "test").await
    }

    async fn get(&self, what: SumdbWhat) -> Result<(CacheStatus, Vec<u8>), ProxyError> {
        match self.ask(what).await? {
            Resolved::Found(cached) => match cached.body {
                Body::Bytes(bytes) => Ok((cached.status, bytes.to_vec())),
                other => panic!("{other:?}"),
            },
            Resolved::Absent(absence) => panic!("{absence:?}"),
        }
    }
}

fn proxy(data: &Arc<DataDir>, config: &config::Upstream, records: &Arc<Double>) -> Proxy {
    let gate = fake::gate(records.clone());
    let upstream = Arc::new(fake::upstream(config, gate.clone()));
    let (minute, memory) = (Duration::from_secs(60), 1 << 20);
    let settings = config::Cache { max_size: 1 << 20, min_free: 0, memory, fresh: minute, stale: minute, not_found: minute };
    let stock = Stock::open(data, &settings, gate, records.clone(), &Metrics::new().unwrap(), Audit::default()).unwrap();
    Proxy::new(Cache::new(stock, &settings, minute, upstream), config.sumdb.as_ref().map(|sumdb| sumdb.name.clone()), None)
}

fn lookup() -> SumdbWhat {
    SumdbWhat::Lookup("example.com/M".parse().unwrap(), "v1.0.0".parse().unwrap())
}

fn tile() -> SumdbWhat {
    SumdbWhat::Tile("tile/8/0/x001/234.p/5".parse().unwrap())
}

fn head(size: u32) -> String {
    format!("go.sum database tree\n{size}\nAAAA\n\n\u{2014} {NAME} AAAA\n")
}

fn record() -> String {
    format!("3\nexample.com/M v1.0.0 h1:x=\nexample.com/M v1.0.0/go.mod h1:y=\n\n{}", head(9))
}

fn stock(fake: &Fake) {
    fake.set(LOOKUP, Act::ok("text/plain", record()));
    fake.set(TILE, Act::ok("application/octet-stream", [7; 160]));
    fake.set(LATEST, Act::ok("text/plain", head(9)));
}

#[tokio::test]
async fn what_never_changes_is_served_with_the_database_dead_also_after_a_restart() {
    let mut world = World::new().await;
    stock(&world.fake);
    for (what, body) in [(lookup(), record().into_bytes()), (tile(), vec![7; 160])] {
        assert_eq!(world.get(what.clone()).await.unwrap(), (CacheStatus::Miss, body.clone()));
        assert_eq!(world.get(what.clone()).await.unwrap(), (CacheStatus::Hit, body));
    }
    assert!(world.dir.path().join("cache/queries/sumdb/sum.example.org/lookup/example.com/!m@v1.0.0").exists());
    assert!(world.dir.path().join("cache/download/sumdb/sum.example.org/tile/8/0/x001/234.p/5").exists());
    world.fake.die();
    world.proxy = proxy(&world.data, &world.fake.config(), &world.records);
    assert_eq!(world.get(lookup()).await.unwrap(), (CacheStatus::Hit, record().into_bytes()));
    assert_eq!(world.get(tile()).await.unwrap(), (CacheStatus::Hit, vec![7; 160]));
    let other = SumdbWhat::Tile("tile/8/0/000".parse().unwrap());
    assert!(matches!(world.ask(other).await, Err(ProxyError::Cache(CacheError::Upstream(_)))));
}

#[tokio::test]
async fn the_newest_head_is_asked_for_each_time_and_stale_only_while_upstream_fails() {
    let world = World::new().await;
    stock(&world.fake);
    assert_eq!(world.get(SumdbWhat::Latest).await.unwrap(), (CacheStatus::Miss, head(9).into_bytes()));
    world.fake.set(LATEST, Act::ok("text/plain", head(10)));
    assert_eq!(world.get(SumdbWhat::Latest).await.unwrap(), (CacheStatus::Miss, head(10).into_bytes()));
    world.fake.die();
    assert_eq!(world.get(SumdbWhat::Latest).await.unwrap(), (CacheStatus::Stale, head(10).into_bytes()));
}

#[tokio::test]
async fn an_absence_is_never_kept() {
    let world = World::new().await;
    world.fake.set(LOOKUP, Act::status(404, "text/plain", "not found: unknown revision v1.0.0\n"));
    for count in 1..3 {
        let Ok(Resolved::Absent(absence)) = world.ask(lookup()).await else { panic!() };
        assert_eq!((absence.code, absence.text.as_str()), (404, "not found: unknown revision v1.0.0\n"));
        assert_eq!(world.fake.count(LOOKUP), count);
    }
    world.fake.set(LOOKUP, Act::status(500, "text/plain", "x"));
    assert!(matches!(world.ask(lookup()).await, Err(ProxyError::Cache(CacheError::Upstream(_)))));
}

#[tokio::test]
async fn what_is_no_record_or_too_long_is_a_failure_and_not_kept() {
    let world = World::new().await;
    for body in ["<html>".to_owned(), "9\n".repeat(40_000), String::new(), record().replace("\u{2014}", "-")] {
        world.fake.set(LOOKUP, Act::ok("text/plain", body));
        assert!(matches!(world.ask(lookup()).await, Err(ProxyError::Cache(CacheError::Upstream(_)))));
    }
    world.fake.set(TILE, Act::ok("application/octet-stream", [7; 161]));
    assert!(matches!(world.ask(tile()).await, Err(ProxyError::Cache(CacheError::Upstream(_)))));
    stock(&world.fake);
    assert_eq!(world.get(lookup()).await.unwrap().0, CacheStatus::Miss);
}

#[tokio::test]
async fn a_private_name_is_not_looked_up() {
    let world = World::new().await;
    let private = SumdbWhat::Lookup("corp.example.com/secret".parse().unwrap(), "v1.0.0".parse().unwrap());
    assert!(matches!(world.ask(private).await, Err(ProxyError::Cache(CacheError::Denied(_)))));
    assert!(world.fake.seen().is_empty());
}

#[tokio::test]
async fn another_database_is_unknown_and_none_is_off_and_neither_is_asked() {
    let world = World::new().await;
    let other = SumdbAsk { name: "sum.other.example".into(), what: SumdbWhat::Latest };
    assert!(matches!(world.proxy.resolve(&other, "test").await, Err(ProxyError::Unknown)));
    assert!(matches!(world.ask(SumdbWhat::Supported).await, Err(ProxyError::Unknown)));
    let mut config = world.fake.config();
    config.sumdb = None;
    let off = proxy(&world.data, &config, &world.records);
    let ask = SumdbAsk { name: NAME.into(), what: SumdbWhat::Latest };
    assert!(matches!(off.resolve(&ask, "test").await, Err(ProxyError::Off)));
    assert!(world.fake.seen().is_empty());
}

/// A proxy whose client verifies, and the database behind it.
async fn verifying(log: &Log) -> (double::World, Proxy) {
    let world = double::World::new(log).await;
    let proxy = Proxy::new(world.cache.clone(), Some(world.key.name().to_owned()), Some(world.client.clone()));
    (world, proxy)
}

async fn ask(proxy: &Proxy, log: &Log, what: SumdbWhat) -> Result<(CacheStatus, Vec<u8>), ProxyError> {
    match proxy.resolve(&SumdbAsk { name: log.signer.name().to_owned(), what }, "test").await? {
        Resolved::Found(Cached { body: Body::Bytes(bytes), status, etag: Some(_), .. }) => Ok((status, bytes.to_vec())),
        other => panic!("{other:?}"),
    }
}

fn lookup_of(log: &Log, id: u64) -> SumdbWhat {
    SumdbWhat::Lookup(log.record(id).path.clone(), log.record(id).version.clone())
}

#[tokio::test]
async fn a_look_up_goes_through_the_client_and_is_kept_once_it_is_verified() {
    let log = Log::new(300);
    let (world, proxy) = verifying(&log).await;
    let bytes = log.lookup(5).to_bytes();
    assert_eq!(ask(&proxy, &log, lookup_of(&log, 5)).await.unwrap(), (CacheStatus::Miss, bytes.clone()));
    world.fake.die();
    assert_eq!(ask(&proxy, &log, lookup_of(&log, 5)).await.unwrap(), (CacheStatus::Hit, bytes));
    let away = ask(&proxy, &log, lookup_of(&log, 6)).await;
    assert!(matches!(&away, Err(ProxyError::Cache(CacheError::Unvouched(_)))), "{away:?}");
}

#[tokio::test]
async fn a_look_up_that_does_not_hold_is_a_failure_and_one_that_is_absent_an_absence() {
    let log = Log::new(300);
    let (world, proxy) = verifying(&log).await;
    log.tell(&world.fake, 5, &crate::tlog::Lookup { id: 6, ..log.lookup(5) });
    let refused = ask(&proxy, &log, lookup_of(&log, 5)).await;
    assert!(
        matches!(&refused, Err(ProxyError::Cache(CacheError::Unvouched(why))) if why.to_string().contains("does not hold")),
        "{refused:?}"
    );
    assert!(!world.is_kept(&log.record(5).path, &log.record(5).version).await);
    world.fake.set(&log.lookup_target(5), Act::status(410, "text/plain", "not found: gone\n"));
    let asked = SumdbAsk { name: log.signer.name().to_owned(), what: lookup_of(&log, 5) };
    let Ok(Resolved::Absent(absence)) = proxy.resolve(&asked, "test").await else { panic!() };
    assert_eq!((absence.code, absence.text.as_str()), (404, "not found: gone\n"));
}

#[tokio::test]
async fn a_tile_of_the_tree_that_is_known_is_held_against_it() {
    let log = Log::new(700);
    let (world, proxy) = verifying(&log).await;
    let tile = |path: &str| SumdbWhat::Tile(path.parse().unwrap());
    let target = |path: &str| log.target(path);
    // Of a tree that nobody knows anything may be true.
    world.fake.set(&target("tile/8/0/001"), Act::ok("application/octet-stream", [7; 8192]));
    assert_eq!(ask(&proxy, &log, tile("tile/8/0/001")).await.unwrap(), (CacheStatus::Miss, vec![7; 8192]));
    ask(&proxy, &log, lookup_of(&log, 5)).await.unwrap();
    let refused = ask(&proxy, &log, tile("tile/8/0/001")).await;
    assert!(matches!(&refused, Err(ProxyError::Tile(VouchError::Bad(_)))), "{refused:?}");
    assert!(!world.dir.path().join(format!("cache/download{}", target("tile/8/0/001"))).exists());
    log.serve_tiles(&world.fake);
    let right = log.hashes("tile/8/0/001".parse().unwrap());
    assert_eq!(ask(&proxy, &log, tile("tile/8/0/001")).await.unwrap(), (CacheStatus::Miss, right.clone()));
    assert_eq!(ask(&proxy, &log, tile("tile/8/0/001")).await.unwrap(), (CacheStatus::Hit, right.clone()));
    // A narrower one is a part of it.
    world.fake.set(&target("tile/8/0/001.p/9"), Act::ok("application/octet-stream", &right[32..320]));
    assert!(matches!(ask(&proxy, &log, tile("tile/8/0/001.p/9")).await, Err(ProxyError::Tile(VouchError::Bad(_)))));
    world.fake.set(&target("tile/8/0/001.p/9"), Act::ok("application/octet-stream", &right[..288]));
    assert_eq!(ask(&proxy, &log, tile("tile/8/0/001.p/9")).await.unwrap(), (CacheStatus::Miss, right[..288].to_vec()));
    // Beyond the newest head, and of records, nothing is known.
    for path in ["tile/8/0/003", "tile/8/data/001"] {
        world.fake.set(&target(path), Act::ok("application/octet-stream", [9; 8192]));
        assert_eq!(ask(&proxy, &log, tile(path)).await.unwrap(), (CacheStatus::Miss, vec![9; 8192]));
    }
}

#[tokio::test]
async fn what_is_kept_is_served_where_it_cannot_be_held_against_the_tree() {
    let log = Log::new(700);
    let (world, proxy) = verifying(&log).await;
    let tile = || SumdbWhat::Tile("tile/8/0/000".parse().unwrap());
    ask(&proxy, &log, lookup_of(&log, 5)).await.unwrap();
    drop(proxy);
    let world = world.restart();
    let proxy = Proxy::new(world.cache.clone(), Some(world.key.name().to_owned()), Some(world.client.clone()));
    world.cache.drop_tile(world.key.name(), &"tile/8/1/000.p/2".parse().unwrap()).await;
    world.fake.die();
    let right = log.hashes("tile/8/0/000".parse().unwrap());
    assert_eq!(ask(&proxy, &log, tile()).await.unwrap(), (CacheStatus::Hit, right));
}
