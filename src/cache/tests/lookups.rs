//! Look-ups of a checksum database: as memos, or as verified, and never the one for the other.

use super::*;
use crate::protocol::SumdbWhat;

const DATABASE: &str = "sum.example.org";
const LOOKUP: &str = "/sumdb/sum.example.org/lookup/example.com/m@v1.0.0";
const KEPT: &str = "download/sumdb/sum.example.org/lookup/example.com/m@v1.0.0";
const MEMO: &str = "queries/sumdb/sum.example.org/lookup/example.com/m@v1.0.0";

fn record(size: u32) -> String {
    format!(
        "3\nexample.com/m v1.0.0 h1:x=\nexample.com/m v1.0.0/go.mod h1:y=\n\ngo.sum database tree\n{size}\nAAAA\n\n\u{2014} {DATABASE} AAAA\n"
    )
}

fn lookup() -> Asset {
    Asset::Sumdb(DATABASE.to_owned(), SumdbWhat::Lookup("example.com/m".parse().unwrap(), version("v1.0.0")))
}

async fn kept(cache: &Cache) -> Option<bytes::Bytes> {
    cache.kept_lookup(DATABASE, &"example.com/m".parse().unwrap(), &version("v1.0.0")).await.unwrap().map(|(bytes, _)| bytes)
}

async fn get(cache: &Cache, anew: bool) -> (CacheStatus, Vec<u8>) {
    let asker = Asker { anew, ..TEST };
    read_or_panic_at_once(cache.get(lookup(), asker).await.unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_lookup_that_nobody_verified_is_a_memo_and_counts_as_verified_for_nobody() {
    let mut world = World::remembering(1 << 20).await;
    world.fake.set(LOOKUP, Act::ok("text/plain", record(9)));
    assert_eq!(get(&world.cache, false).await.0, CacheStatus::Miss);
    assert!(world.file(MEMO).exists() && !world.file(KEPT).exists());
    // It never grows old: the record is what it is.
    world.pass(STALE * 1000);
    world.fake.set(LOOKUP, Act::ok("text/plain", record(10)));
    assert_eq!(get(&world.cache, false).await, (CacheStatus::Hit, record(9).into_bytes()));
    assert_eq!(kept(&world.cache).await, None);
    let config = world.fake.config();
    world.restart(&config, ROOMY);
    assert_eq!(kept(&world.cache).await, None);
    // But it can be asked for anew.
    assert_eq!(get(&world.cache, true).await, (CacheStatus::Miss, record(10).into_bytes()));
}

#[tokio::test]
async fn a_lookup_that_was_verified_is_kept_as_such_in_place_of_the_memo_and_outlives_a_restart() {
    let mut world = World::remembering(1 << 20).await;
    world.fake.set(LOOKUP, Act::ok("text/plain", record(9)));
    get(&world.cache, false).await;
    let (path, v1) = ("example.com/m".parse().unwrap(), version("v1.0.0"));
    assert!(world.cache.keep_lookup(DATABASE, &path, &v1, record(10).into()).await);
    assert!(world.file(KEPT).exists() && !world.file(MEMO).exists());
    world.fake.die();
    let config = world.fake.config();
    for _ in 0..2 {
        assert_eq!(kept(&world.cache).await.unwrap(), record(10));
        assert_eq!(get(&world.cache, true).await, (CacheStatus::Hit, record(10).into_bytes()));
        world.restart(&config, ROOMY);
    }
    assert_eq!(world.cache.purge(&path, Some(&v1)).files, 1);
    assert_eq!(kept(&world.cache).await, None);
}

#[tokio::test]
async fn for_the_databases_client_a_lookup_is_not_kept_before_it_says_so() {
    let world = World::remembering(1 << 20).await;
    let client = world.cache.for_database();
    world.fake.set(LOOKUP, Act::ok("text/plain", record(9)));
    for _ in 0..2 {
        assert_eq!(get(&client, false).await, (CacheStatus::Miss, record(9).into_bytes()));
    }
    assert_eq!((world.cache.usage().entries, kept(&client).await), (0, None));
}

#[tokio::test]
async fn a_tile_that_is_dropped_is_asked_for_anew() {
    let world = World::remembering(1 << 20).await;
    let at: crate::tlog::Tile = "tile/8/0/x001/234.p/5".parse().unwrap();
    let tile = || Asset::Sumdb(DATABASE.to_owned(), SumdbWhat::Tile(at));
    for (count, byte) in [(1, 7), (2, 8)] {
        world.fake.set("/sumdb/sum.example.org/tile/8/0/x001/234.p/5", Act::ok("application/octet-stream", [byte; 160]));
        for status in [CacheStatus::Miss, CacheStatus::Hit] {
            let got = read_or_panic_at_once(world.cache.get(tile(), TEST).await.unwrap()).await.unwrap();
            assert_eq!(got, (status, vec![byte; 160]));
        }
        assert_eq!(world.fake.seen().len(), count);
        world.cache.drop_tile(DATABASE, &at).await;
    }
}
