//! Nothing enters that nobody vouches for, and nothing leaves that entered so.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use tokio::sync::Semaphore;

use super::*;
use crate::config::{Hop, Source};
use crate::module::dirhash::{hash_go_mod, hash_zip};
use crate::module::{H1, ModulePath, Version};
use crate::tlog::Lookup;

const DATABASE: &str = "sum.example.org";
const GO_MOD: &[u8] = b"module example.com/m\n";

/// A checksum database's client: it knows what it is told, keeps look-ups as verified, and answers from those that are kept.
struct Client {
    cache: Cache,
    says: Mutex<Result<Vouched, VouchError>>,
    /// How often it was asked, and how often it had to ask the database.
    asked: AtomicUsize,
    went_out: AtomicUsize,
    keeps: AtomicBool,
    gate: Mutex<Option<Arc<Semaphore>>>,
}

#[async_trait]
impl Vouch for Client {
    fn database(&self) -> &str {
        DATABASE
    }

    async fn vouch(&self, path: &ModulePath, version: &Version, _: &str) -> Result<Vouched, VouchError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if let Some(kept) = self.cache.kept_lookup(DATABASE, path, version).await? {
            let record = Lookup::parse(&kept).unwrap().record.find(path, version).unwrap();
            return Ok(Vouched { zip: record.zip, go_mod: record.go_mod });
        }
        self.went_out.fetch_add(1, Ordering::SeqCst);
        let gate = self.gate.lock().unwrap().clone();
        if let Some(gate) = gate {
            gate.acquire().await.unwrap().forget();
        }
        let vouched = self.says.lock().unwrap().clone()?;
        if self.keeps.load(Ordering::SeqCst) {
            let Vouched { zip, go_mod } = vouched;
            let lookup = format!("3\n{path} {version} {zip}\n{path} {version}/go.mod {go_mod}\n\nhead\n\n\u{2014} {DATABASE} AAAA\n");
            assert!(self.cache.keep_lookup(DATABASE, path, version, lookup.into()).await);
        }
        Ok(vouched)
    }

    fn admits(&self) -> Result<(), VouchError> {
        match &*self.says.lock().unwrap() {
            Err(error @ VouchError::Forked(_)) => Err(error.clone()),
            _ => Ok(()),
        }
    }
}

impl Client {
    fn says(&self, says: Result<Vouched, VouchError>) {
        *self.says.lock().unwrap() = says;
    }

    fn counts(&self) -> (usize, usize) {
        (self.asked.load(Ordering::SeqCst), self.went_out.load(Ordering::SeqCst))
    }

    fn away(&self) {
        self.says(Err(away()));
    }
}

fn away() -> VouchError {
    VouchError::Away(Arc::new(CacheError::Off))
}

/// What the database says of `example.com/m@v1.0.0` as [`stock`] has it.
fn truth() -> Vouched {
    Vouched { zip: h1(&zip_of("v1.0.0", 100_000)), go_mod: hash_go_mod(GO_MOD) }
}

fn h1(zip: &[u8]) -> H1 {
    hash_zip(std::io::Cursor::new(zip)).unwrap()
}

fn lie() -> Vouched {
    Vouched { zip: H1([1; 32]), go_mod: H1([2; 32]) }
}

fn go_mod() -> ModuleAsk {
    ModuleAsk::Mod(version("v1.0.0"))
}

fn main() -> ModuleAsk {
    ModuleAsk::Query("main".into())
}

/// Both files, with their keys.
fn files() -> [(ModuleAsk, &'static str); 2] {
    [(go_mod(), "download/example.com/m/@v/v1.0.0.mod"), (zip("v1.0.0"), "download/example.com/m/@v/v1.0.0.zip")]
}

const LOOKUP: &str = "download/sumdb/sum.example.org/lookup/example.com/m@v1.0.0";

impl World {
    /// From now on everything is to be vouched for, by a client that is made for it.
    fn require(&mut self) -> Arc<Client> {
        let client = Client {
            cache: self.cache.for_database(),
            says: Mutex::new(Ok(truth())),
            asked: AtomicUsize::new(0),
            went_out: AtomicUsize::new(0),
            keeps: AtomicBool::new(true),
            gate: Mutex::default(),
        };
        let client = Arc::new(client);
        self.cache = self.cache.vouched(client.clone(), &[]);
        client
    }

    fn restart_and_require(&mut self) -> Arc<Client> {
        let config = self.fake.config();
        self.restart(&config, ROOMY);
        self.require()
    }

    /// The mismatches in the audit trail, once there are so many.
    async fn mismatches(&self, count: usize) -> Vec<String> {
        let of_trail = || {
            let lines = self.audit.page(time::OffsetDateTime::UNIX_EPOCH, None, 100).unwrap().lines;
            lines.into_iter().filter(|line| line.contains(r#""event":"mismatch""#)).collect::<Vec<_>>()
        };
        until(|| of_trail().len() >= count).await;
        of_trail()
    }
}

#[tokio::test]
async fn what_is_vouched_for_is_kept_and_a_hit_asks_nobody_also_after_a_restart_with_the_database_away() {
    for memory in [0, 1 << 20] {
        let mut world = World::remembering(memory).await;
        let client = world.require();
        stock(&world.fake);
        for (ask, _) in files() {
            let (status, body) = world.get(&ask).await.unwrap();
            assert_eq!(status, CacheStatus::Miss);
            assert_eq!(world.get(&ask).await.unwrap(), (CacheStatus::Hit, body));
        }
        assert_eq!(client.counts(), (2, 1), "{memory}");
        assert!(world.file(LOOKUP).exists());
        let client = world.restart_and_require();
        client.away();
        world.fake.die();
        for (ask, _) in files() {
            for _ in 0..3 {
                assert_eq!(world.get(&ask).await.unwrap().0, CacheStatus::Hit, "{ask:?}");
            }
        }
        assert_eq!(client.counts(), (2, 0), "{memory}");
    }
}

#[tokio::test]
async fn the_record_is_asked_for_beside_the_transfer_and_nothing_is_answered_or_kept_before_it_came() {
    let mut world = World::patient().await;
    let client = world.require();
    let gate = Arc::new(Semaphore::new(0));
    *client.gate.lock().unwrap() = Some(gate.clone());
    let body = zip_of("v1.0.0", 100_000);
    let more = Arc::new(Semaphore::new(0));
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    world.fake.set(&target("@v/v1.0.0.zip"), Act::Halves([head.as_bytes(), &body[..500]].concat(), more.clone(), body[500..].to_vec()));
    let cache = world.cache.clone();
    let asked = tokio::spawn(async move { cache.resolve(&"example.com/m".parse().unwrap(), &zip("v1.0.0"), TEST).await });
    // Half of it is here, the rest is not, and the record is wanted already.
    until(|| client.counts() == (1, 1) && !kept_files(world.dir.path()).is_empty()).await;
    more.add_permits(1);
    until(|| world.disk_bytes() >= body.len() as u64).await;
    assert!(!asked.is_finished() && !world.file("download").exists());
    gate.add_permits(1);
    assert!(read_or_panic_at_once(asked.await.unwrap().unwrap()).await.unwrap() == (CacheStatus::Miss, body));
}

#[tokio::test]
async fn a_mismatch_is_a_failure_of_its_own_leaves_nothing_is_recorded_and_the_next_tries_afresh() {
    for (ask, key) in files() {
        let mut world = World::new().await;
        let client = world.require();
        stock(&world.fake);
        client.says(Ok(lie()));
        for count in 1..3 {
            let Err(CacheError::Mismatch(mismatch)) = world.ask(&ask).await else { panic!("{ask:?}") };
            assert_eq!(mismatch.from, world.fake.url.authority());
            assert!(!world.file(key).exists());
            // Also the look-up is doubted.
            assert!(!world.file(LOOKUP).exists());
            assert_eq!((world.fake.seen().len(), client.counts()), (count, (count, count)));
        }
        assert_eq!(world.cache.usage().entries, 0);
        let recorded = world.mismatches(2).await;
        let (ext, expected, found) = match ask {
            ModuleAsk::Mod(_) => (".mod", lie().go_mod, truth().go_mod),
            _ => (".zip", lie().zip, truth().zip),
        };
        assert_eq!(recorded.len(), 2);
        for part in [
            format!(r#""path":"example.com/m","version":"v1.0.0","file":"{ext}","expected":"{expected}","found":"{found}""#),
            format!(r#""database":"{DATABASE}","from":"{}""#, world.fake.url.authority()),
        ] {
            assert!(recorded[0].contains(&part), "{part} {}", recorded[0]);
        }
        client.says(Ok(truth()));
        assert_eq!(world.get(&ask).await.unwrap().0, CacheStatus::Miss);
    }
}

#[tokio::test]
async fn a_mismatch_is_no_outage_after_which_another_upstream_is_asked() {
    let (first, second) = (Fake::start().await, Fake::start().await);
    stock(&first);
    stock(&second);
    let config = fake::config(vec![Hop { any_error: true, ..first.hop() }, second.hop()]);
    let mut world = World::over(first, config, ROOMY);
    let client = world.require();
    client.says(Ok(lie()));
    for (ask, _) in files() {
        assert!(matches!(world.ask(&ask).await, Err(CacheError::Mismatch(_))));
    }
    assert_eq!(second.seen().len(), 0);
    // An outage is one.
    client.says(Ok(truth()));
    world.fake.set(&target("@v/v1.0.0.mod"), Act::status(500, "text/plain", ""));
    assert_eq!(world.get(&go_mod()).await.unwrap().0, CacheStatus::Miss);
    assert_eq!(second.seen().len(), 1);
}

#[tokio::test]
async fn what_nobody_vouches_for_is_a_failure_that_says_what_to_do_and_an_absence_stays_an_absence() {
    let cases: [(VouchError, &str); 4] = [
        (VouchError::Unknown("not found\n".into()), "upstream.unverified"),
        (away(), "cannot be reached"),
        (VouchError::Bad("a tile".into()), "does not hold: a tile"),
        (VouchError::Forked("1 and 2".into()), "modgate sumdb trust"),
    ];
    for (error, text) in cases {
        let mut world = World::new().await;
        let client = world.require();
        client.says(Err(error));
        for (ask, _) in files() {
            assert_eq!(world.absence(&ask).await.code, 404);
        }
        stock(&world.fake);
        world.pass(NOT_FOUND);
        for (ask, key) in files() {
            for _ in 0..2 {
                let Err(error @ CacheError::Unvouched(_)) = world.ask(&ask).await else { panic!("{ask:?}") };
                assert!(error.to_string().contains(text), "{error}");
            }
            assert!(!world.file(key).exists());
        }
        // What the record says nothing of passes as ever.
        assert_eq!(world.get(&ModuleAsk::Info(version("v1.0.0"))).await.unwrap().0, CacheStatus::Miss);
        assert_eq!(world.get(&ModuleAsk::Latest).await.unwrap().0, CacheStatus::Miss);
    }
}

#[tokio::test]
async fn a_transfer_ends_once_it_is_known_that_nobody_vouches_for_it() {
    let mut world = World::patient().await;
    let client = world.require();
    client.away();
    let body = zip_of("v1.0.0", 100_000);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    let never = Arc::new(Semaphore::new(0));
    world.fake.set(&target("@v/v1.0.0.zip"), Act::Halves([head.as_bytes(), &body[..500]].concat(), never, body[500..].to_vec()));
    assert!(matches!(world.ask(&zip("v1.0.0")).await, Err(CacheError::Unvouched(_))));
    until(|| kept_files(world.dir.path()).is_empty()).await;
}

#[tokio::test]
async fn what_entered_while_nothing_was_verified_is_checked_before_it_is_served_again() {
    for memory in [0, 1 << 20] {
        let mut world = World::remembering(memory).await;
        stock(&world.fake);
        for ask in [go_mod(), zip("v1.0.0"), main()] {
            world.get(&ask).await.unwrap();
            // From memory, where there is one.
            world.get(&ask).await.unwrap();
        }
        let requests = world.fake.seen().len();
        let client = world.require();
        client.away();
        for ask in [go_mod(), zip("v1.0.0"), main()] {
            assert!(matches!(world.ask(&ask).await, Err(CacheError::Unvouched(_))), "{ask:?}");
        }
        client.says(Ok(truth()));
        let (asked, _) = client.counts();
        for _ in 0..3 {
            for ask in [go_mod(), zip("v1.0.0"), main()] {
                assert_eq!(world.get(&ask).await.unwrap().0, CacheStatus::Hit, "{ask:?}");
            }
        }
        // Once each, and all by one record.
        assert_eq!((client.counts().0 - asked, client.counts().1), (3, 4), "{memory}");
        assert_eq!(world.fake.seen().len(), requests);
    }
}

#[tokio::test]
async fn what_was_kept_and_is_not_what_it_is_to_be_is_set_aside_recorded_and_fetched_anew_once() {
    for (ask, key) in files() {
        let mut world = World::remembering(1 << 20).await;
        stock(&world.fake);
        world.fake.set(&target("@v/v1.0.0.mod"), Act::ok("text/plain", "module example.com/evil\n"));
        world.fake.set(&target("@v/v1.0.0.zip"), Act::ok("application/zip", zip_of("v1.0.0", 7)));
        world.get(&ask).await.unwrap();
        world.get(&ask).await.unwrap();
        world.require();
        // Upstream is no better.
        assert!(matches!(world.ask(&ask).await, Err(CacheError::Mismatch(_))), "{ask:?}");
        assert_eq!((world.cache.usage().corrupt, world.fake.seen().len()), (1, 2));
        let recorded = world.mismatches(2).await;
        assert_eq!(recorded.len(), 2);
        assert!(recorded.iter().any(|line| line.contains(r#""from":"the cache""#)));
        assert!(!world.file(key).exists() && std::fs::read_dir(world.file("aside")).unwrap().count() == 1);
        // Now it is.
        stock(&world.fake);
        assert_eq!(world.get(&ask).await.unwrap().0, CacheStatus::Miss);
        assert_eq!(world.get(&ask).await.unwrap().0, CacheStatus::Hit);
    }
}

#[tokio::test]
async fn where_the_lookup_is_gone_it_is_asked_for_again_before_the_file_is_served() {
    let mut world = World::remembering(1 << 20).await;
    let client = world.require();
    stock(&world.fake);
    for (ask, _) in files() {
        world.get(&ask).await.unwrap();
        world.get(&ask).await.unwrap();
        world.cache.inner.stock.shelf.index.remove(LOOKUP).unwrap();
        client.away();
        assert!(matches!(world.ask(&ask).await, Err(CacheError::Unvouched(_))), "{ask:?}");
        client.says(Ok(truth()));
        assert_eq!(world.get(&ask).await.unwrap().0, CacheStatus::Hit);
        assert!(world.file(LOOKUP).exists());
    }
}

#[tokio::test]
async fn a_lookup_is_never_evicted_before_the_file_that_it_vouches_for() {
    for last_copy in [false, true] {
        let mut world = World::with(2_000_000).await;
        let client = world.require();
        stock(&world.fake);
        world.get(&zip("v1.0.0")).await.unwrap();
        if last_copy {
            world.fake.set(&target("@v/v1.0.0.info"), Act::status(410, "text/plain", "gone\n"));
            world.absence(&ModuleAsk::Info(version("v1.0.0"))).await;
        }
        let other = zip_of("v1.0.1", 300_000);
        client.says(Ok(Vouched { zip: h1(&other), ..truth() }));
        client.keeps.store(false, Ordering::SeqCst);
        for i in 1..30 {
            // A zip whose names belong to v1.0.1 is a zip all the same.
            world.fake.set(&target(&format!("@v/v1.0.{i}.zip")), Act::ok("application/zip", other.clone()));
            world.get(&zip(&format!("v1.0.{i}"))).await.unwrap();
            if !last_copy {
                assert_eq!(world.get(&zip("v1.0.0")).await.unwrap().0, CacheStatus::Hit, "{i}");
            }
        }
        assert!(world.cache.usage().evicted > 10);
        client.away();
        assert_eq!(world.get(&zip("v1.0.0")).await.unwrap().0, CacheStatus::Hit, "{last_copy}");
        assert!(world.file(LOOKUP).exists());
    }
}

#[tokio::test]
async fn what_a_branch_resolves_to_must_be_known_to_the_database() {
    let mut world = World::new().await;
    let client = world.require();
    stock(&world.fake);
    for error in [VouchError::Unknown("no".into()), away()] {
        client.says(Err(error));
        assert!(matches!(world.ask(&main()).await, Err(CacheError::Unvouched(_))));
    }
    assert_eq!(world.cache.usage().entries, 0);
    client.says(Ok(truth()));
    assert_eq!(world.get(&main()).await.unwrap().0, CacheStatus::Miss);
    // The last answer stands while the database is away, and upstream's new one is not believed.
    world.fake.set(&target("@v/main.info"), Act::ok("application/json", r#"{"Version":"v1.0.1"}"#));
    client.away();
    world.pass(STALE);
    let (status, body) = world.get(&main()).await.unwrap();
    assert_eq!((status, body.starts_with(br#"{"Version":"v1.0.0""#)), (CacheStatus::Stale, true));
    client.says(Ok(truth()));
    assert_eq!(world.get(&main()).await.unwrap(), (CacheStatus::Miss, br#"{"Version":"v1.0.1"}"#.to_vec()));
}

#[tokio::test]
async fn what_a_branch_resolves_to_must_fit_the_paths_major_whoever_vouches() {
    let world = World::new().await;
    for version in ["v2.0.0", "v3.1.0-pre"] {
        world.fake.set(&target("@v/main.info"), Act::ok("application/json", format!(r#"{{"Version":"{version}"}}"#)));
        assert!(matches!(world.ask(&main()).await, Err(CacheError::Upstream(_))), "{version}");
    }
    world.fake.set(&target("@v/main.info"), Act::ok("application/json", r#"{"Version":"v2.0.0+incompatible"}"#));
    assert_eq!(world.get(&main()).await.unwrap().0, CacheStatus::Miss);
}

#[tokio::test]
async fn what_a_pattern_names_is_believed_and_checked_once_the_pattern_is_gone() {
    let mut world = World::new().await;
    let client = world.require();
    client.says(Err(VouchError::Unknown("no".into())));
    stock(&world.fake);
    let pattern = Sourced { value: "example.com/*".parse().unwrap(), source: Source::Default };
    let required = world.cache.clone();
    world.cache = required.vouched(client.clone(), &[pattern]);
    for ask in [go_mod(), zip("v1.0.0"), main()] {
        assert_eq!(world.get(&ask).await.unwrap().0, CacheStatus::Miss);
        assert_eq!(world.get(&ask).await.unwrap().0, CacheStatus::Hit);
    }
    assert_eq!(client.counts().0, 0);
    world.cache = required;
    for ask in [go_mod(), zip("v1.0.0"), main()] {
        assert!(matches!(world.ask(&ask).await, Err(CacheError::Unvouched(_))), "{ask:?}");
    }
    client.says(Ok(truth()));
    for ask in [go_mod(), zip("v1.0.0")] {
        assert_eq!(world.get(&ask).await.unwrap().0, CacheStatus::Hit);
    }
}

#[tokio::test]
async fn a_zip_that_passes_through_is_given_out_whole_only_if_somebody_vouches_for_it() {
    let mut world = World::with(1000).await;
    let client = world.require();
    client.keeps.store(false, Ordering::SeqCst);
    let body = zip_of("v1.0.0", 1_000_000);
    // In small pieces: the end that is held back is many of them.
    world.fake.set(&target("@v/v1.0.0.zip"), super::bound::chunked(&body));
    client.says(Ok(Vouched { zip: h1(&body), ..truth() }));
    assert!(world.get(&zip("v1.0.0")).await.unwrap() == (CacheStatus::Bypass, body.clone()));

    client.says(Ok(lie()));
    let Resolved::Found(Cached { body: Body::Stream { mut stream, .. }, .. }) = world.ask(&zip("v1.0.0")).await.unwrap() else { panic!() };
    let mut passed = 0;
    let error = loop {
        match stream.next().await.unwrap() {
            Ok(chunk) => passed += chunk.len(),
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains("mismatch"), "{error}");
    // Most of it, and not so much that it could be read.
    assert!(passed + super::super::passing::END_BYTES <= body.len() && passed > body.len() / 2, "{passed}");
    assert_eq!(world.mismatches(1).await.len(), 1);

    for error in [VouchError::Unknown("no".into()), away()] {
        client.says(Err(error));
        match world.ask(&zip("v1.0.0")).await {
            Ok(resolved) => assert!(read_or_panic_at_once_fails(resolved).await),
            Err(error) => assert!(matches!(error, CacheError::Unvouched(_)), "{error}"),
        }
    }
    // What cannot be told as it passes is not given out whole either: a zip with something before it.
    let odd = [b"#!/bin/sh\n", &body[..]].concat();
    client.says(Ok(Vouched { zip: h1(&body), ..truth() }));
    world.fake.set(&target("@v/v1.0.0.zip"), Act::ok("application/zip", odd));
    assert!(read_or_panic_at_once_fails(world.ask(&zip("v1.0.0")).await.unwrap()).await);
    assert_eq!((world.disk_bytes(), world.cache.usage().bytes), (0, 0));
}

async fn read_or_panic_at_once_fails(resolved: Resolved) -> bool {
    match resolved {
        Resolved::Found(cached) => read(cached.body).await.is_err(),
        Resolved::Absent(absence) => panic!("{absence:?}"),
    }
}

#[tokio::test]
async fn a_mod_that_cannot_be_kept_is_vouched_for_all_the_same() {
    let mut world = World::with(0).await;
    let client = world.require();
    client.keeps.store(false, Ordering::SeqCst);
    stock(&world.fake);
    assert_eq!(world.get(&go_mod()).await.unwrap().0, CacheStatus::Bypass);
    client.says(Ok(lie()));
    assert!(matches!(world.ask(&go_mod()).await, Err(CacheError::Mismatch(_))));
}

#[tokio::test]
async fn whoever_requires_it_does_not_take_what_others_fetch_without() {
    let mut world = World::patient().await;
    let unchecked = world.cache.clone();
    let client = world.require();
    client.says(Ok(lie()));
    for (ask, at) in [(go_mod(), "@v/v1.0.0.mod"), (zip("v1.0.0"), "@v/v1.0.0.zip")] {
        let gate = Arc::new(Semaphore::new(0));
        let body = if ask == go_mod() { GO_MOD.to_vec() } else { zip_of("v1.0.0", 100_000) };
        world.fake.set(&target(at), Act::Gate(gate.clone(), Box::new(Act::ok("text/plain", body))));
        let spawn = |cache: Cache| {
            let ask = ask.clone();
            tokio::spawn(async move { cache.resolve(&"example.com/m".parse().unwrap(), &ask, TEST).await })
        };
        let first = spawn(unchecked.clone());
        until(|| world.fake.count(&target(at)) == 1).await;
        let second = spawn(world.cache.clone());
        let (asked, _) = client.counts();
        tokio::task::yield_now().await;
        gate.add_permits(10);
        assert!(first.await.unwrap().is_ok());
        assert!(matches!(second.await.unwrap(), Err(CacheError::Mismatch(_))), "{ask:?}");
        assert!(client.counts().0 > asked);
    }
}

#[tokio::test]
async fn records_do_not_wait_for_the_turn_of_files() {
    let world = World::new().await;
    let queue = world.cache.inner.stock.queue.clone();
    let mut turns = Vec::new();
    for _ in 0..crate::cache::queue::TRANSFERS_MAX {
        turns.push(queue.turn(Duration::ZERO).await.ok().unwrap());
    }
    let head = "go.sum database tree\n9\nAAAA\n\n\u{2014} sum.example.org AAAA\n";
    world.fake.set("/sumdb/sum.example.org/latest", Act::ok("text/plain", head));
    let latest = Asset::Sumdb(DATABASE.to_owned(), crate::protocol::SumdbWhat::Latest);
    assert!(world.impatient().get(latest, TEST).await.is_ok());
    assert!(matches!(world.impatient().resolve(&"example.com/m".parse().unwrap(), &list(), TEST).await, Err(CacheError::Busy(_))));
}

#[tokio::test]
async fn a_fork_stops_what_is_not_here_yet_also_where_its_record_is_and_not_what_is_here() {
    let mut world = World::new().await;
    let client = world.require();
    stock(&world.fake);
    // The record of both, and one of the files.
    assert_eq!(world.get(&go_mod()).await.unwrap().0, CacheStatus::Miss);
    drop(client);
    let client = world.restart_and_require();
    client.says(Err(VouchError::Forked("why".into())));
    assert!(world.file(LOOKUP).exists());
    let refused = world.ask(&zip("v1.0.0")).await;
    assert!(matches!(&refused, Err(CacheError::Unvouched(why)) if matches!(why.error, VouchError::Forked(_))), "{refused:?}");
    assert_eq!(world.get(&go_mod()).await.unwrap().0, CacheStatus::Hit);
}

/// Another go.mod than the record says, as long as the right one.
const ROTTEN: &[u8] = b"module example.com/n\n";

#[tokio::test]
async fn a_verification_holds_what_is_kept_against_its_records_too() {
    let mut world = World::new().await;
    world.require();
    stock(&world.fake);
    for (ask, _) in files() {
        world.get(&ask).await.unwrap();
    }
    let stop = crate::stop::Stop::default();
    let verified = world.cache.verify(&stop);
    assert_eq!((verified.good, verified.findings.len()), (3, 0));
    // Each is what its neighbour says, and not what the record says.
    let [(_, go_mod_key), (_, zip_key)] = files();
    std::fs::write(world.file(go_mod_key), ROTTEN).unwrap();
    let findings = world.cache.verify(&stop).findings;
    assert_eq!(findings.iter().map(|finding| finding.file.as_str()).collect::<Vec<_>>(), [go_mod_key]);
    assert!(findings[0].text.contains(DATABASE), "{}", findings[0].text);
    // The record went with it: it is asked for anew, for the zip too.
    assert!(!world.file(go_mod_key).exists() && !world.file(LOOKUP).exists() && world.file(zip_key).exists());
    for (ask, _) in files() {
        world.get(&ask).await.unwrap();
    }
    let other = zip_of("v1.0.0", 100_001);
    let old = std::fs::read(world.file(zip_key)).unwrap();
    assert_eq!(old.len() + 1, other.len());
    let lookup = std::fs::read_to_string(world.file(LOOKUP)).unwrap();
    std::fs::write(world.file(LOOKUP), lookup.replace(&h1(&old).to_string(), &h1(&other).to_string())).unwrap();
    let findings = world.cache.verify(&stop).findings;
    assert_eq!(findings.iter().map(|finding| finding.file.as_str()).collect::<Vec<_>>(), [zip_key]);
}

#[tokio::test]
async fn what_rots_is_found_in_the_background_and_a_miss_from_then_on() {
    let mut world = World::remembering(1 << 20).await;
    world.require();
    stock(&world.fake);
    for (ask, _) in files() {
        world.get(&ask).await.unwrap();
        world.get(&ask).await.unwrap();
    }
    let stop = crate::stop::Stop::default();
    let mut rounds = Rounds::default();
    for _ in 0..6 {
        assert!(world.cache.recheck(&mut rounds, &stop).await > Duration::ZERO);
    }
    assert_eq!(world.cache.usage().corrupt, 0);
    let [(ask, key), _] = files();
    std::fs::write(world.file(key), ROTTEN).unwrap();
    // Nobody sees it who asks.
    assert_eq!(world.get(&ask).await.unwrap().0, CacheStatus::Hit);
    for _ in 0..3 {
        world.cache.recheck(&mut rounds, &stop).await;
    }
    assert_eq!(world.cache.usage().corrupt, 1);
    assert_eq!(world.get(&ask).await.unwrap(), (CacheStatus::Miss, GO_MOD.to_vec()));
    let of_trail = || world.audit.page(time::OffsetDateTime::UNIX_EPOCH, None, 100).unwrap().lines;
    until(|| of_trail().iter().any(|line| line.contains("cache-damaged") && line.contains(key))).await;
    let text = world.metrics.text().unwrap();
    assert!(text.contains("modgate_cache_rechecked_total 9\n") && text.contains("modgate_cache_rotten_total 1\n"), "{text}");
    assert!(text.contains("modgate_verifications_total{outcome=\"vouched\"} 3\n"), "{text}");
    // Stopped, it reads nothing.
    stop.ask();
    world.cache.recheck(&mut rounds, &stop).await;
    assert!(world.metrics.text().unwrap().contains("modgate_cache_rechecked_total 9\n"));
}
