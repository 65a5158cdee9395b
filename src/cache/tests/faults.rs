//! A disk that fails, and files that are not what they should be.

use std::path::PathBuf;

use super::*;
use crate::stop::Stop;

#[tokio::test]
async fn every_step_of_the_disk_may_fail_and_everything_is_served_all_the_same() {
    for step in [Step::CreateDir, Step::Create, Step::Write, Step::SyncFile, Step::Rename, Step::SyncDir] {
        let world = World::new().await;
        let asks = stock(&world.fake);
        world.fail(step, "");
        for ask in &asks {
            assert_eq!(world.get(ask).await.unwrap().0, CacheStatus::Bypass, "{step:?} {ask:?}");
        }
        assert_eq!(world.absence(&ModuleAsk::Mod(version("v9.0.0"))).await.code, 404);
        world.heal();
        let known = world.cache.usage().bytes;
        assert_eq!(known, world.disk_bytes(), "{step:?}");
        for ask in &asks {
            let (status, _) = world.get(ask).await.unwrap();
            assert_ne!(status, CacheStatus::Bypass, "{step:?} {ask:?}");
        }
        assert_eq!(world.cache.verify(&Stop::default()).findings, []);
    }
}

#[tokio::test]
async fn a_disk_that_fills_up_in_the_middle_passes_the_rest_through() {
    let world = World::new().await;
    let body = zip_of("v1.0.0", 2_000_000);
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    let (first, second) = body.split_at(900_000);
    world.fake.set(&target("@v/v1.0.0.zip"), Act::Halves([head.as_bytes(), first].concat(), gate.clone(), second.to_vec()));
    let cache = world.cache.clone();
    let asked = tokio::spawn(async move { cache.resolve(&"example.com/m".parse().unwrap(), &zip("v1.0.0"), TEST).await });
    while world.disk_bytes() < 500_000 {
        tokio::task::yield_now().await;
    }
    world.fail(Step::Write, "");
    gate.add_permits(1);
    let (status, got) = read_or_panic_at_once(asked.await.unwrap().unwrap()).await.unwrap();
    assert_eq!(status, CacheStatus::Bypass);
    assert!(got == body);
    assert_eq!((world.disk_bytes(), world.cache.usage().bytes), (0, 0));
}

#[tokio::test]
async fn a_refresh_that_cannot_be_written_leaves_the_old_answer() {
    let world = World::new().await;
    stock(&world.fake);
    world.get(&list()).await.unwrap();
    for step in [Step::Create, Step::Write, Step::SyncFile, Step::Rename] {
        world.fail(step, "");
        world.pass(STALE);
        assert_eq!(world.get(&list()).await.unwrap().0, CacheStatus::Bypass);
        world.fake.set(&target("@v/list"), Act::status(500, "text/plain", ""));
        assert_eq!(world.get(&list()).await.unwrap().0, CacheStatus::Stale, "{step:?}");
        world.heal();
        stock(&world.fake);
    }
}

#[tokio::test]
async fn a_torn_or_corrupt_file_is_a_miss_is_set_aside_and_counted() {
    let world = World::new().await;
    let asks = stock(&world.fake);
    let keys = [
        "queries/example.com/m/@v/list",
        "queries/example.com/m/@latest",
        "download/example.com/m/@v/v1.0.0.info",
        "queries/example.com/m/@v/main.info",
        "download/example.com/m/@v/v1.0.0.mod",
        "download/example.com/m/@v/v1.0.0.zip",
    ];
    let mut corrupt = 0;
    for (ask, key) in asks.iter().zip(keys) {
        let (_, body) = world.get(ask).await.unwrap();
        for damage in ["empty", "short", "changed"] {
            let whole = std::fs::read(world.file(key)).unwrap();
            let damaged = match damage {
                "empty" => Vec::new(),
                "short" => whole[..whole.len() - 1].to_vec(),
                _ => whole.iter().rev().copied().collect(),
            };
            // Bytes that changed in what is not looked into are found by `verify`, or by nobody.
            if (key.ends_with(".mod") || key.ends_with(".zip")) && damage == "changed" {
                continue;
            }
            std::fs::write(world.file(key), damaged).unwrap();
            corrupt += 1;
            assert_eq!(world.get(ask).await.unwrap(), (CacheStatus::Miss, body.clone()), "{key} {damage}");
            assert_eq!(world.cache.usage().corrupt, corrupt);
        }
    }
    assert_eq!(std::fs::read_dir(world.file("aside")).unwrap().count() as u64, corrupt);
    assert_eq!(world.cache.usage().bytes, world.disk_bytes());
}

/// A file or folder of the cache that cannot be opened, whoever asks: a link to itself stands there.
pub(super) struct Unreadable {
    at: PathBuf,
    away: tempfile::TempDir,
}

impl Unreadable {
    pub(super) fn make(world: &World, key: &str) -> Self {
        let (at, away) = (world.file(key), tempfile::tempdir_in(world.dir.path()).unwrap());
        std::fs::rename(&at, away.path().join("it")).unwrap();
        std::os::unix::fs::symlink(&at, &at).unwrap();
        Self { at, away }
    }

    pub(super) fn heal(self) {
        std::fs::remove_file(&self.at).unwrap();
        std::fs::rename(self.away.path().join("it"), &self.at).unwrap();
    }
}

const KEYS: [&str; 7] = [
    "queries/example.com/m/@v/list",
    "queries/example.com/m/@latest",
    "download/example.com/m/@v/v1.0.0.info",
    "queries/example.com/m/@v/main.info",
    "download/example.com/m/@v/v1.0.0.mod",
    "download/example.com/m/@v/v1.0.0.zip",
    "download/example.com/m/@v/v1.0.0.ziphash",
];

/// As many as [`KEYS`].
fn asks_of_keys(world: &World) -> Vec<ModuleAsk> {
    let mut asks = stock(&world.fake);
    asks.push(zip("v1.0.0"));
    asks
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_a_failure_and_no_absence_and_stays() {
    let mut world = World::new().await;
    let asks = asks_of_keys(&world);
    for ask in &asks {
        world.get(ask).await.unwrap();
    }
    let mut off = world.fake.config();
    off.goproxy.clear();
    world.restart(&off, ROOMY);
    for (ask, key) in asks.iter().zip(KEYS) {
        let unreadable = Unreadable::make(&world, key);
        match ask {
            // It can be made of what is held.
            ModuleAsk::List => assert_eq!(world.get(ask).await.unwrap(), (CacheStatus::Offline, b"v1.0.0\n".to_vec())),
            _ => assert!(matches!(world.ask(ask).await, Err(CacheError::Storage(_))), "{key}"),
        }
        unreadable.heal();
        assert_eq!(world.get(ask).await.unwrap().0, CacheStatus::Hit, "{key}");
    }
    // One that opens and cannot be read.
    let hash = world.file(KEYS[6]);
    let text = std::fs::read(&hash).unwrap();
    std::fs::remove_file(&hash).unwrap();
    std::fs::create_dir(&hash).unwrap();
    assert!(matches!(world.ask(&zip("v1.0.0")).await, Err(CacheError::Storage(_))));
    std::fs::remove_dir(&hash).unwrap();
    std::fs::write(&hash, text).unwrap();
    assert_eq!(world.get(&zip("v1.0.0")).await.unwrap().0, CacheStatus::Hit);
    assert_eq!((world.cache.usage().corrupt, world.file("aside").exists()), (0, false));
}

#[tokio::test]
async fn what_cannot_be_read_is_had_from_upstream_and_kept_in_its_place() {
    let world = World::new().await;
    let asks = asks_of_keys(&world);
    for ask in &asks {
        world.get(ask).await.unwrap();
    }
    for (ask, key) in asks.iter().zip(KEYS) {
        std::fs::remove_file(world.file(key)).unwrap();
        std::os::unix::fs::symlink(world.file(key), world.file(key)).unwrap();
        for status in [CacheStatus::Miss, CacheStatus::Hit] {
            assert_eq!(world.get(ask).await.unwrap().0, status, "{key}");
        }
    }
    assert_eq!(world.cache.usage().bytes, world.disk_bytes());
    // It is here, if upstream has it or not.
    let unreadable = Unreadable::make(&world, KEYS[4]);
    world.fake.set(&target("@v/v1.0.0.mod"), Act::status(410, "text/plain", "gone"));
    assert!(matches!(world.ask(&asks[4]).await, Err(CacheError::Storage(_))));
    unreadable.heal();
    assert_eq!(world.get(&asks[4]).await.unwrap().0, CacheStatus::Hit);
}

/// How the zip came, whose reading then fails so.
async fn fails_while_it_is_sent(world: &World, errno: rustix::io::Errno) -> CacheStatus {
    let Ok(Resolved::Found(Cached { body: Body::File { file, .. }, status, .. })) = world.ask(&zip("v1.0.0")).await else { panic!() };
    file.failed(&errno.into());
    status
}

#[tokio::test]
async fn a_body_that_could_not_be_read_to_its_end_is_had_from_upstream_the_next_time() {
    use rustix::io::Errno;
    let world = World::new().await;
    stock(&world.fake);
    world.get(&zip("v1.0.0")).await.unwrap();
    for (errno, status) in [(Errno::MFILE, CacheStatus::Hit), (Errno::IO, CacheStatus::Hit), (Errno::IO, CacheStatus::Miss)] {
        assert_eq!(fails_while_it_is_sent(&world, errno).await, status);
    }
    world.fake.die();
    assert!(matches!(world.ask(&zip("v1.0.0")).await, Err(CacheError::Storage(_))));
    assert_eq!(world.get(&zip("v1.0.0")).await.unwrap().0, CacheStatus::Hit);
}

#[tokio::test]
async fn verify_leaves_what_cannot_be_read_where_it_is_and_says_so() {
    let world = World::new().await;
    for ask in stock(&world.fake) {
        world.get(&ask).await.unwrap();
    }
    for key in KEYS {
        let unreadable = Unreadable::make(&world, key);
        let found = world.cache.verify(&Stop::default());
        unreadable.heal();
        let file = key.replace(".ziphash", ".zip");
        assert!(matches!(&found.findings[..], [one] if one.file == file && one.text.starts_with("cannot be read: ")), "{found:?}");
        assert_eq!(found.good, 5);
    }
    assert_eq!((world.cache.verify(&Stop::default()).good, world.cache.usage().corrupt, world.file("aside").exists()), (6, 0, false));
}

#[tokio::test]
async fn what_is_set_aside_is_counted_also_where_that_cannot_be_made_durable() {
    let world = World::new().await;
    let asks = stock(&world.fake);
    for (ask, key) in [(&asks[4], KEYS[4]), (&asks[5], KEYS[5])] {
        world.get(ask).await.unwrap();
        std::fs::write(world.file(key), "").unwrap();
        world.fail(Step::SyncDir, "/aside");
        assert_eq!(world.get(ask).await.unwrap().0, CacheStatus::Miss);
        world.heal();
    }
    // Long ones: what is not counted would show.
    world.get(&asks[5]).await.unwrap();
    let mut bytes = std::fs::read(world.file(KEYS[5])).unwrap();
    bytes.pop();
    std::fs::write(world.file(KEYS[5]), bytes).unwrap();
    world.fail(Step::SyncDir, "/aside");
    assert_eq!(world.get(&asks[5]).await.unwrap().0, CacheStatus::Miss);
    assert_eq!(files(&world.file("aside")).len(), 3);
    assert_eq!(world.cache.usage().bytes, world.disk_bytes());
}

#[tokio::test]
async fn a_folder_that_cannot_be_read_is_no_module_of_which_nothing_is_remembered() {
    let world = World::new().await;
    stock(&world.fake);
    world.get(&list()).await.unwrap();
    world.absence(&ModuleAsk::Mod(version("v9.0.0"))).await;
    let absent = Asset::Module("example.com/m".parse().unwrap(), list()).place().absence.unwrap();
    for folder in ["queries/example.com/m/@v", absent.rsplit_once('/').unwrap().0] {
        let unreadable = Unreadable::make(&world, folder);
        let renewed = world.cache.refresh(&"example.com/m".parse().unwrap(), None, "operator").await;
        assert!(matches!(renewed, Err(CacheError::Storage(_))), "{folder}: {renewed:?}");
        unreadable.heal();
    }
    assert_eq!(world.cache.refresh(&"example.com/m".parse().unwrap(), None, "operator").await.unwrap().len(), 3);
}

#[tokio::test]
async fn what_a_look_up_sets_aside_is_recorded_once() {
    let world = World::new().await;
    let ask = ModuleAsk::Mod(version("v1.0.0"));
    stock(&world.fake);
    world.get(&ask).await.unwrap();
    std::fs::write(world.file(KEYS[4]), "").unwrap();
    for status in [CacheStatus::Miss, CacheStatus::Hit] {
        assert_eq!(world.get(&ask).await.unwrap().0, status);
    }
    world.audit.close();
    let lines = world.audit.page(time::OffsetDateTime::UNIX_EPOCH, None, 10).unwrap().lines;
    assert!(matches!(&lines[..], [one] if one.contains("integrity") && one.contains(KEYS[4])), "{lines:?}");
}

#[tokio::test]
async fn a_file_that_somebody_removed_is_a_miss() {
    let world = World::new().await;
    for ask in stock(&world.fake) {
        world.get(&ask).await.unwrap();
    }
    std::fs::remove_dir_all(world.file("download")).unwrap();
    std::fs::remove_dir_all(world.file("queries")).unwrap();
    for ask in stock(&world.fake) {
        assert_eq!(world.get(&ask).await.unwrap().0, CacheStatus::Miss);
    }
    assert_eq!(world.cache.usage().bytes, world.disk_bytes());
}

#[tokio::test]
async fn verify_finds_what_is_not_as_it_was_written_and_the_next_request_heals_it() {
    let world = World::new().await;
    let asks = stock(&world.fake);
    for ask in &asks {
        world.get(ask).await.unwrap();
    }
    let clean = world.cache.verify(&Stop::default());
    assert_eq!((clean.good, clean.findings.len()), (6, 0));
    let zip_file = world.file("download/example.com/m/@v/v1.0.0.zip");
    let mut bytes = std::fs::read(&zip_file).unwrap();
    bytes[50_000] ^= 1;
    std::fs::write(&zip_file, bytes).unwrap();
    std::fs::write(world.file("queries/example.com/m/@v/list"), "v1.0.0\n").unwrap();
    let found = world.cache.verify(&Stop::default());
    let files: Vec<_> = found.findings.iter().map(|f| f.file.as_str()).collect();
    assert_eq!((found.good, files), (4, vec!["download/example.com/m/@v/v1.0.0.zip", "queries/example.com/m/@v/list"]));
    assert_eq!(world.cache.verify(&Stop::default()).findings, []);
    for ask in [zip("v1.0.0"), list()] {
        assert_eq!(world.get(&ask).await.unwrap().0, CacheStatus::Miss);
    }
    assert_eq!(world.cache.verify(&Stop::default()).good, 6);
    assert_eq!(world.cache.usage().bytes, world.disk_bytes());
}

#[tokio::test]
async fn a_start_sweeps_what_no_cache_wrote_and_what_a_crash_left() {
    let mut world = World::new().await;
    for ask in stock(&world.fake) {
        world.get(&ask).await.unwrap();
    }
    let entries = world.cache.usage().entries;
    std::fs::write(world.dir.path().join("tmp/cache/half"), [0; 1000]).unwrap();
    std::fs::write(world.file("download/example.com/m/@v/v1.1.0.ziphash"), "h1:").unwrap();
    std::fs::create_dir_all(world.file("download/example.com/empty/@v")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", world.file("download/example.com/m/@v/v1.2.0.mod")).unwrap();
    let config = world.fake.config();
    world.restart_after_kill(&config, ROOMY);
    assert_eq!(world.cache.usage().entries, entries);
    assert_eq!(world.cache.usage().bytes, world.disk_bytes());
    assert!(!world.file("download/example.com/empty").exists());
    assert!(world.file("download/example.com/m/@v/v1.2.0.mod").symlink_metadata().is_err());
    // A zip that lost its hash is fetched anew.
    std::fs::remove_file(world.file("download/example.com/m/@v/v1.0.0.ziphash")).unwrap();
    assert_eq!(world.get(&zip("v1.0.0")).await.unwrap().0, CacheStatus::Miss);
}
