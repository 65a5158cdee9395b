//! Small answers in memory say what the disk says.

use super::*;

const MEMORY: u64 = 1 << 20;

/// Asks until it is in memory, then takes the disk's files away by a trick that the index does not see: what is answered
/// then comes from memory.
async fn is_remembered(world: &World, ask: &ModuleAsk) -> bool {
    world.get(ask).await.unwrap();
    let (cache, away) = (world.dir.path().join("cache"), world.dir.path().join("away"));
    let memory = world.cache.memory_usage().entries;
    std::fs::rename(&cache, &away).unwrap();
    let remembered = world.cache.inner.stock.memory.get(&Asset::Module("example.com/m".parse().unwrap(), ask.clone())).is_some();
    if remembered {
        assert_eq!(world.get(ask).await.unwrap().0, CacheStatus::Hit, "{ask:?}");
    }
    std::fs::rename(&away, &cache).unwrap();
    assert_eq!(world.cache.memory_usage().entries, memory);
    remembered
}

#[tokio::test]
async fn a_small_answer_is_served_without_the_disk_a_long_one_is_not() {
    let world = World::remembering(MEMORY).await;
    world.fake.set(&target("@v/v1.1.0.zip"), Act::ok("application/zip", zip_of("v1.1.0", 1000)));
    for ask in stock(&world.fake).into_iter().chain([zip("v1.1.0")]) {
        world.get(&ask).await.unwrap();
        assert_eq!(is_remembered(&world, &ask).await, ask != zip("v1.0.0"), "{ask:?}");
    }
    // To the byte.
    for (len, remembered) in [(SMALL as usize, true), (SMALL as usize + 1, false)] {
        let ask = ModuleAsk::Mod(version(&format!("v2.0.{len}")));
        world.fake.set(&target(&format!("@v/v2.0.{len}.mod")), Act::ok("text/plain", "/".repeat(len)));
        world.get(&ask).await.unwrap();
        assert_eq!(is_remembered(&world, &ask).await, remembered, "{len}");
    }
}

const SMALL: u64 = super::super::shelf::SMALL_BYTES_MAX;

#[tokio::test]
async fn an_absence_is_remembered_with_its_date() {
    let world = World::remembering(MEMORY).await;
    let missing = ModuleAsk::Mod(version("v1.9.0"));
    assert_eq!(world.absence(&missing).await.status, CacheStatus::Miss);
    for _ in 0..2 {
        assert_eq!(world.absence(&missing).await.status, CacheStatus::Hit);
    }
    assert_eq!(world.cache.memory_usage().entries, 1);
    world.pass(NOT_FOUND);
    assert_eq!(world.absence(&missing).await.status, CacheStatus::Miss);
    world.fake.set(&target("@v/v1.9.0.mod"), Act::ok("text/plain", "module example.com/m\n"));
    world.absence(&missing).await;
    world.pass(NOT_FOUND);
    for status in [CacheStatus::Miss, CacheStatus::Hit, CacheStatus::Hit] {
        assert_eq!(world.get(&missing).await.unwrap(), (status, b"module example.com/m\n".to_vec()));
    }
}

#[tokio::test]
async fn what_is_replaced_purged_evicted_or_set_aside_is_not_served_from_memory() {
    let world = World::remembering(MEMORY).await;
    stock(&world.fake);
    let remember = async || {
        for _ in 0..2 {
            world.get(&list()).await.unwrap();
        }
        assert!(is_remembered(&world, &list()).await);
    };
    remember().await;
    // Replaced.
    world.fake.set(&target("@v/list"), Act::ok("text/plain", "v1.0.0\nv1.1.0\n"));
    world.pass(STALE);
    assert_eq!(world.get(&list()).await.unwrap().0, CacheStatus::Miss);
    assert_eq!(world.get(&list()).await.unwrap(), (CacheStatus::Hit, b"v1.0.0\nv1.1.0\n".to_vec()));
    // Purged.
    remember().await;
    world.purge(&list());
    assert_eq!(world.get(&list()).await.unwrap().0, CacheStatus::Miss);
    // Set aside.
    remember().await;
    std::fs::write(world.file("queries/example.com/m/@v/list"), "damaged").unwrap();
    assert_eq!(world.get(&list()).await.unwrap().0, CacheStatus::Hit);
    assert_eq!(world.cache.verify(&Stop::default()).findings.len(), 1);
    assert_eq!(world.get(&list()).await.unwrap().0, CacheStatus::Miss);
}

#[tokio::test]
async fn what_is_evicted_is_not_served_from_memory() {
    let fake = Fake::start().await;
    let config = fake.config();
    let large = zip_of("v1.1.0", 20_000);
    // With its hash it fits, and nothing beside it.
    let world = World::of(fake, &config, settings(large.len() as u64 + 64, MEMORY));
    stock(&world.fake);
    for _ in 0..2 {
        world.get(&list()).await.unwrap();
    }
    assert!(is_remembered(&world, &list()).await);
    world.fake.set(&target("@v/v1.1.0.zip"), Act::ok("application/zip", large));
    assert_eq!(world.get(&zip("v1.1.0")).await.unwrap().0, CacheStatus::Miss);
    assert_eq!(world.get(&list()).await.unwrap().0, CacheStatus::Miss);
}

#[tokio::test]
async fn a_hit_in_memory_counts_as_use_on_disk() {
    let fake = Fake::start().await;
    let config = fake.config();
    let world = World::of(fake, &config, settings(30_000, MEMORY));
    for name in ["v1.0.0", "v1.1.0", "v1.2.0"] {
        world.fake.set(&target(&format!("@v/{name}.mod")), Act::ok("text/plain", "/".repeat(9_000)));
        for _ in 0..2 {
            world.get(&ModuleAsk::Mod(version(name))).await.unwrap();
        }
    }
    assert!(is_remembered(&world, &ModuleAsk::Mod(version("v1.0.0"))).await);
    world.fake.set(&target("@v/v1.3.0.mod"), Act::ok("text/plain", "/".repeat(9_000)));
    world.get(&ModuleAsk::Mod(version("v1.3.0"))).await.unwrap();
    assert_eq!(world.get(&ModuleAsk::Mod(version("v1.0.0"))).await.unwrap().0, CacheStatus::Hit);
    assert_eq!(world.get(&ModuleAsk::Mod(version("v1.1.0"))).await.unwrap().0, CacheStatus::Miss);
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_never_see_an_older_answer_after_a_newer_one() {
    let world = World::remembering(MEMORY).await;
    world.fake.set(&target("@v/list"), Act::ok("text/plain", "v1.0.0\n"));
    world.get(&list()).await.unwrap();
    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let readers: Vec<_> = (0..8)
        .map(|_| {
            let (cache, done) = (world.cache.clone(), done.clone());
            tokio::spawn(async move {
                let mut longest = 0;
                while !done.load(std::sync::atomic::Ordering::SeqCst) {
                    let resolved = cache.resolve(&"example.com/m".parse().unwrap(), &list(), TEST).await.unwrap();
                    let len = read_or_panic_at_once(resolved).await.unwrap().1.len();
                    assert!(len >= longest, "{len} after {longest}");
                    longest = len;
                    // A hit in memory never waits for anything.
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for i in 2..100 {
        world.fake.set(&target("@v/list"), Act::ok("text/plain", "v1.0.0\n".repeat(i)));
        let asker = Asker { anew: true, ..TEST };
        world.cache.resolve(&"example.com/m".parse().unwrap(), &list(), asker).await.unwrap();
    }
    done.store(true, std::sync::atomic::Ordering::SeqCst);
    for reader in readers {
        reader.await.unwrap();
    }
}
