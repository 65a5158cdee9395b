use std::sync::Arc;
use std::time::Duration;

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
    Proxy::new(Cache::new(stock, &settings, minute, upstream), config.sumdb.clone())
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
