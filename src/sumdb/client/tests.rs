use std::path::Path;
use std::sync::Mutex;

use futures::future::join_all;

use super::super::double::{Log, World};
use super::super::{Databases, Side};
use super::*;
use crate::durable::{Disk, Faults, Step};
use crate::tlog::Record;
use crate::upstream::fake::Act;

async fn look_up(world: &World, record: &Record) -> Result<LookedUp, VouchError> {
    world.client.look_up(&record.path, &record.version, "test").await
}

#[track_caller]
fn same(found: &Result<LookedUp, VouchError>, record: &Record, status: CacheStatus) {
    let found = found.as_ref().unwrap_or_else(|e| panic!("{e}"));
    assert_eq!((found.vouched, found.status), (Vouched { zip: record.zip, go_mod: record.go_mod }, status));
}

fn head_on_disk(world: &World) -> Head {
    *SignedHead::open(std::fs::read(world.known().join("head")).unwrap(), &world.key).unwrap().head()
}

#[tokio::test]
async fn what_was_verified_is_kept_and_answers_with_the_database_dead_also_after_a_restart() {
    let log = Log::new(700);
    let world = World::new(&log).await;
    let record = log.record(3);
    let first = look_up(&world, record).await;
    same(&first, record, CacheStatus::Miss);
    assert_eq!(first.unwrap().bytes, log.lookup(3).to_bytes());
    assert_eq!(head_on_disk(&world), log.head);
    world.fake.die();
    same(&look_up(&world, record).await, record, CacheStatus::Hit);
    let world = world.restart();
    same(&look_up(&world, record).await, record, CacheStatus::Hit);
    assert_eq!(world.client.database().newest(), Some(log.head));
    assert!(matches!(look_up(&world, log.record(4)).await, Err(VouchError::Away(_))));
}

#[tokio::test]
async fn an_older_head_is_ordinary_and_moves_nothing_back() {
    let mut log = Log::new(300);
    let old = log.clone();
    log.grow(500, "m");
    let world = World::new(&log).await;
    same(&look_up(&world, log.record(1)).await, log.record(1), CacheStatus::Miss);
    old.tell(&world.fake, 2, &old.lookup(2));
    same(&look_up(&world, log.record(2)).await, log.record(2), CacheStatus::Miss);
    assert_eq!((head_on_disk(&world), world.client.database().newest()), (log.head, Some(log.head)));
    // And a newer one moves it on.
    log.grow(1, "m");
    log.serve(&world.fake);
    same(&look_up(&world, log.record(800)).await, log.record(800), CacheStatus::Miss);
    assert_eq!(head_on_disk(&world), log.head);
}

#[tokio::test]
async fn many_at_once_ask_for_each_record_and_each_tile_once() {
    let mut log = Log::new(400);
    let old = log.clone();
    log.grow(600, "m");
    let world = World::new(&log).await;
    old.serve_tiles(&world.fake);
    for id in 0..125 {
        old.tell(&world.fake, id, &old.lookup(id));
    }
    let ids: Vec<u64> = (0..250).chain(0..250).collect();
    let found = join_all(ids.iter().map(|id| look_up(&world, log.record(*id)))).await;
    for (id, found) in ids.iter().zip(&found) {
        assert_eq!(found.as_ref().unwrap_or_else(|e| panic!("{e}")).vouched.zip, log.record(*id).zip);
    }
    let mut asked: Vec<String> = world.fake.seen().into_iter().map(|seen| seen.target).collect();
    let all = asked.len();
    asked.sort();
    asked.dedup();
    assert_eq!(asked.len(), all);
    // The tree of 1000 has four tiles below the edge's one, and that of 400 a narrower one.
    assert!(world.tiles_asked().len() <= 7, "{:?}", world.tiles_asked());
}

#[tokio::test]
async fn what_was_proven_is_proven_again_without_a_tile() {
    let log = Log::new(1000);
    let world = World::new(&log).await;
    same(&look_up(&world, log.record(300)).await, log.record(300), CacheStatus::Miss);
    let asked = world.tiles_asked();
    for tile in log.all_tiles() {
        world.cache.drop_tile(world.key.name(), &tile).await;
    }
    for id in 301..400 {
        same(&look_up(&world, log.record(id)).await, log.record(id), CacheStatus::Miss);
    }
    assert_eq!(world.tiles_asked(), asked);
}

#[tokio::test]
async fn a_narrow_tile_that_is_gone_is_had_from_the_full_one() {
    let mut log = Log::new(500);
    let old = log.clone();
    log.grow(500, "m");
    let world = World::new(&log).await;
    // As a mirror that is behind shows it.
    old.tell(&world.fake, 400, &old.lookup(400));
    assert!(old.all_tiles().iter().any(|tile| !tile.is_full() && !log.all_tiles().contains(tile)));
    let edge = log.target("tile/8/1/000");
    let missing = log.target("tile/8/1/000.p/1");
    assert_eq!(world.fake.count(&missing), 0);
    // The upper tile is full nowhere: it is served at its old width.
    for tile in old.all_tiles().into_iter().filter(|tile| tile.to_string().starts_with("tile/8/1/")) {
        world.fake.set(&log.target(&tile.to_string()), Act::ok("application/octet-stream", old.hashes(tile)));
    }
    same(&look_up(&world, log.record(400)).await, log.record(400), CacheStatus::Miss);
    assert_eq!((world.fake.count(&missing), world.fake.count(&edge)), (1, 0));
    assert_eq!(world.fake.count(&log.target("tile/8/0/001.p/244")), 1);
    assert_eq!(world.fake.count(&log.target("tile/8/0/001")), 1);
}

#[tokio::test]
async fn a_tile_that_does_not_fit_is_asked_for_once_more_and_is_no_fork() {
    let log = Log::new(1000);
    let world = World::new(&log).await;
    let tile = log.target("tile/8/0/001");
    world.fake.set(&tile, Act::ok("application/octet-stream", [7; 8192]));
    let refused = look_up(&world, log.record(300)).await;
    assert!(matches!(&refused, Err(VouchError::Bad(why)) if why.contains("tile/8/0/001")), "{refused:?}");
    assert_eq!(world.fake.count(&tile), 2);
    assert!(world.client.database().fork().is_none() && !world.is_kept(&log.record(300).path, &log.record(300).version).await);
    // Nothing of it stays.
    log.serve(&world.fake);
    same(&look_up(&world, log.record(300)).await, log.record(300), CacheStatus::Miss);
    // One that is rotten in the cache is mended without a word.
    let world = world.restart();
    std::fs::write(world.dir.path().join(format!("cache/download{tile}")), [8; 8192]).unwrap();
    same(&look_up(&world, log.record(301)).await, log.record(301), CacheStatus::Miss);
}

#[tokio::test]
async fn what_does_not_hold_is_refused_and_not_kept() {
    let log = Log::new(600);
    let world = World::new(&log).await;
    let record = log.record(10);
    // The same head in another hand.
    let other = Log::new(0).signer.sign(&log.head).note().to_vec();
    let good = log.lookup(10);
    let altered = Record { zip: log.record(11).zip, ..record.clone() };
    let cases = [
        ("of another module", Lookup { record: log.record(11).text(), id: 11, ..good.clone() }, "not one record of example.com/m10@v1.0.0"),
        ("altered", Lookup { record: altered.text(), ..good.clone() }, "cannot authenticate record 10"),
        ("at another number", Lookup { id: 12, ..good.clone() }, "cannot authenticate record 12"),
        ("beyond its tree", Lookup { id: 600, ..good.clone() }, "record 600 is not in its own tree"),
        ("another key's", Lookup { note: other, ..good.clone() }, "not signed by"),
        ("unsigned", Lookup { note: b"go.sum database tree\n600\n\n\xe2\x80\x94 x y\n".to_vec(), ..good.clone() }, "malformed note"),
    ];
    for (what, lookup, why) in cases {
        log.tell(&world.fake, 10, &lookup);
        let refused = look_up(&world, record).await;
        assert!(matches!(&refused, Err(VouchError::Bad(text)) if text.contains(why)), "{what}: {refused:?}");
        assert!(!world.is_kept(&record.path, &record.version).await, "{what}");
    }
    world.fake.set(&log.lookup_target(10), Act::status(404, "text/plain", "not found: no such thing\n"));
    assert!(matches!(look_up(&world, record).await, Err(VouchError::Unknown(words)) if words == "not found: no such thing\n"));
    world.fake.set(&log.lookup_target(10), Act::ok("text/plain", "9\n".repeat(40_000)));
    assert!(matches!(look_up(&world, record).await, Err(VouchError::Bad(_))));
    log.tell(&world.fake, 10, &good);
    same(&look_up(&world, record).await, record, CacheStatus::Miss);
}

/// Each way to fork: what the database showed before, and what it shows then.
fn forks() -> Vec<(&'static str, Log, Log)> {
    let log = Log::new(600);
    vec![
        ("newer", log.clone(), log.forked(100, 900)),
        ("older", log.clone(), log.forked(100, 300)),
        ("as large", log.clone(), log.forked(599, 1)),
    ]
}

#[tokio::test]
async fn a_fork_stops_all_that_is_new_and_is_known_after_a_restart() {
    for (what, log, fork) in forks() {
        let world = World::new(&log).await;
        same(&look_up(&world, log.record(50)).await, log.record(50), CacheStatus::Miss);
        // Also where the other tree is shown after a restart.
        let world = world.restart();
        // The tiles by which the older head is judged are the newer tree's.
        if fork.head.size >= log.head.size {
            fork.serve_tiles(&world.fake);
        }
        fork.tell(&world.fake, 60, &fork.lookup(60));
        let refused = look_up(&world, fork.record(60)).await;
        assert!(matches!(&refused, Err(VouchError::Forked(_))), "{what}: {refused:?}");
        let evidence = |name: &str| std::fs::read(world.known().join("fork").join(name)).unwrap();
        assert_eq!((evidence("kept"), evidence("shown")), (log.signed().note().to_vec(), fork.signed().note().to_vec()), "{what}");
        assert_eq!(head_on_disk(&world), log.head);
        let world = world.restart();
        log.serve(&world.fake);
        let asked = world.fake.seen().len();
        assert!(matches!(look_up(&world, log.record(61)).await, Err(VouchError::Forked(_))), "{what}");
        assert_eq!(world.fake.seen().len(), asked);
        assert!(matches!(world.client.admits(), Err(VouchError::Forked(_))));
        same(&look_up(&world, log.record(50)).await, log.record(50), CacheStatus::Hit);
    }
}

#[tokio::test]
async fn an_operator_decides_which_tree_is_believed_and_the_evidence_stays() {
    for side in [Side::Kept, Side::Shown] {
        let log = Log::new(600);
        let fork = log.forked(100, 400);
        let world = World::new(&log).await;
        same(&look_up(&world, log.record(550)).await, log.record(550), CacheStatus::Miss);
        fork.tell(&world.fake, 60, &fork.lookup(60));
        assert!(matches!(look_up(&world, fork.record(60)).await, Err(VouchError::Forked(_))));
        let known = world.known();
        let decided = world.client.database().trust(side).await.unwrap().unwrap();
        let (believed, other) = match side {
            Side::Kept => (&log, &fork),
            Side::Shown => (&fork, &log),
        };
        assert_eq!(decided.side(side).head(), &believed.head);
        assert!(world.client.database().trust(side).await.unwrap().is_none());
        let world = world.restart();
        assert_eq!((head_on_disk(&world), world.client.database().fork().is_none()), (believed.head, true));
        let folders = std::fs::read_dir(&known).unwrap().map(|entry| entry.unwrap().path());
        let [evidence] = &folders.filter(|path| path.is_dir()).collect::<Vec<_>>()[..] else { panic!() };
        assert_eq!(std::fs::read(evidence.join("shown")).unwrap(), fork.signed().note().to_vec());
        believed.serve(&world.fake);
        same(&look_up(&world, believed.record(499)).await, believed.record(499), CacheStatus::Miss);
        // The other one is a fork again.
        other.serve(&world.fake);
        let again = look_up(&world, other.record(130)).await;
        assert!(matches!(&again, Err(VouchError::Forked(_) | VouchError::Bad(_))), "{side:?} {again:?}");
    }
}

/// Fails whatever is done to files of this name.
struct Failing(Mutex<Option<&'static str>>);

impl Faults for Failing {
    fn step(&self, step: Step, path: &Path, run: &mut dyn FnMut() -> std::io::Result<()>) -> std::io::Result<()> {
        let fails = self.0.lock().unwrap().is_some_and(|name| step == Step::Rename && path.ends_with(name));
        if fails { Err(std::io::Error::from_raw_os_error(28)) } else { run() }
    }
}

#[tokio::test]
async fn nobody_is_told_what_rests_on_a_head_that_is_not_on_disk() {
    let log = Log::new(300);
    let failing = Arc::new(Failing(Mutex::new(Some("head"))));
    let world = World::on(&log, Disk::with_faults(failing.clone())).await;
    for _ in 0..2 {
        assert!(matches!(look_up(&world, log.record(1)).await, Err(VouchError::Storage(_))));
        assert!(!world.is_kept(&log.record(1).path, &log.record(1).version).await);
    }
    *failing.0.lock().unwrap() = None;
    same(&look_up(&world, log.record(1)).await, log.record(1), CacheStatus::Miss);
    assert_eq!(head_on_disk(&world), log.head);
}

#[tokio::test]
async fn a_head_that_is_damaged_is_not_guessed_at() {
    let log = Log::new(300);
    let world = World::new(&log).await;
    same(&look_up(&world, log.record(1)).await, log.record(1), CacheStatus::Miss);
    let head = world.known().join("head");
    std::fs::write(&head, log.signed().note().to_ascii_uppercase()).unwrap();
    let error = Databases::new(world.data.clone()).of(&world.key).err().unwrap().to_string();
    assert!(error.contains("/head: ") && error.contains("or remove it"), "{error}");
}

#[tokio::test]
async fn a_look_up_that_another_key_signed_counts_as_kept_for_that_one_alone() {
    let log = Log::new(300);
    let world = World::new(&log).await;
    let record = log.record(1);
    let other = Lookup { note: Log::new(0).signer.sign(&log.head).note().to_vec(), ..log.lookup(1) };
    assert!(world.cache.keep_lookup(world.key.name(), &record.path, &record.version, other.to_bytes().into()).await);
    let found = look_up(&world, record).await;
    assert_eq!(found.as_ref().unwrap_or_else(|e| panic!("{e}")).bytes, log.lookup(1).to_bytes());
    same(&look_up(&world, record).await, record, CacheStatus::Hit);
}

#[tokio::test]
async fn what_was_found_signed_is_believed_while_its_bytes_are_the_same() {
    let log = Log::new(300);
    let world = World::new(&log).await;
    let record = log.record(1);
    same(&look_up(&world, record).await, record, CacheStatus::Miss);
    same(&look_up(&world, record).await, record, CacheStatus::Hit);
    assert!(world.client.database().signed(&(record.path.clone(), record.version.clone()), &log.lookup(1).to_bytes().into()).is_some());
    let lie = Record { zip: log.record(2).zip, ..record.clone() };
    let forged = Lookup { record: lie.text(), note: Log::new(0).signer.sign(&log.head).note().to_vec(), ..log.lookup(1) };
    assert!(world.cache.keep_lookup(world.key.name(), &record.path, &record.version, forged.to_bytes().into()).await);
    let found = look_up(&world, record).await;
    same(&found, record, CacheStatus::Miss);
    assert_eq!(found.unwrap().bytes, log.lookup(1).to_bytes());
}
