//! One transfer, however many ask and whoever leaves.

use super::*;
use crate::config::Hop;

use tokio::sync::Semaphore;

#[tokio::test(flavor = "multi_thread")]
async fn fifty_who_ask_at_once_make_one_request() {
    let world = World::new().await;
    for ask in stock(&world.fake) {
        let gate = Arc::new(Semaphore::new(0));
        let at = match &ask {
            ModuleAsk::List => "@v/list",
            ModuleAsk::Zip(_) => "@v/v1.0.0.zip",
            _ => continue,
        };
        let body = if ask == list() { b"v1.0.0\n".to_vec() } else { zip_of("v1.0.0", 100_000) };
        world.fake.set(&target(at), Act::Gate(gate.clone(), Box::new(Act::ok("text/plain", body.clone()))));
        let asked: Vec<_> = (0..50)
            .map(|_| {
                let (cache, ask) = (world.cache.clone(), ask.clone());
                tokio::spawn(async move { cache.resolve(&"example.com/m".parse().unwrap(), &ask, TEST).await })
            })
            .collect();
        until(|| world.fake.count(&target(at)) == 1).await;
        gate.add_permits(50);
        for one in asked {
            let (_, got) = read_or_panic_at_once(one.await.unwrap().unwrap()).await.unwrap();
            assert_eq!(got, body);
        }
        assert_eq!(world.fake.count(&target(at)), 1);
    }
}

#[tokio::test]
async fn a_fill_goes_on_when_everyone_has_left() {
    let world = World::new().await;
    stock(&world.fake);
    let gate = Arc::new(Semaphore::new(0));
    let body = zip_of("v1.0.0", 1000);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    let (first, second) = body.split_at(500);
    world.fake.set(&target("@v/v1.0.0.zip"), Act::Halves([head.as_bytes(), first].concat(), gate.clone(), second.to_vec()));
    let cache = world.cache.clone();
    let asked = tokio::spawn(async move { cache.resolve(&"example.com/m".parse().unwrap(), &zip("v1.0.0"), TEST).await });
    until(|| world.fake.count(&target("@v/v1.0.0.zip")) == 1).await;
    asked.abort();
    assert!(asked.await.unwrap_err().is_cancelled());
    gate.add_permits(1);
    until(|| world.cache.usage().entries == 1).await;
    assert_eq!(world.get(&zip("v1.0.0")).await.unwrap(), (CacheStatus::Hit, body));
    assert_eq!(world.fake.count(&target("@v/v1.0.0.zip")), 1);
}

#[tokio::test]
async fn a_fill_that_is_abandoned_leaves_nothing_and_lets_go_of_the_directory() {
    let world = World::new().await;
    stock(&world.fake);
    let body = zip_of("v1.0.0", 1000);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    let never = Arc::new(Semaphore::new(0));
    let (first, second) = body.split_at(500);
    world.fake.set(&target("@v/v1.0.0.zip"), Act::Halves([head.as_bytes(), first].concat(), never, second.to_vec()));
    let held = Arc::strong_count(&world.data);
    let cache = world.cache.clone();
    let asked = tokio::spawn(async move { cache.resolve(&"example.com/m".parse().unwrap(), &zip("v1.0.0"), TEST).await });
    until(|| world.disk_bytes() > 0 || !kept_files(world.dir.path()).is_empty()).await;
    world.cache.abandon_fills();
    assert!(matches!(asked.await.unwrap(), Err(CacheError::Storage(_))));
    until(|| kept_files(world.dir.path()).is_empty() && Arc::strong_count(&world.data) == held).await;
}

#[tokio::test]
async fn a_mod_and_a_zip_make_the_module_known_before_they_are_kept() {
    let world = World::new().await;
    let path = "example.com/m".parse().unwrap();
    for ask in stock(&world.fake) {
        world.get(&ask).await.unwrap();
        let counts = matches!(ask, ModuleAsk::Mod(_) | ModuleAsk::Zip(_));
        assert_eq!(world.records.knows(&path), counts, "{ask:?}");
    }
    let world = World::new().await;
    stock(&world.fake);
    world.records.known_fails.store(true, std::sync::atomic::Ordering::SeqCst);
    for ask in [ModuleAsk::Mod(version("v1.0.0")), zip("v1.0.0")] {
        assert_eq!(world.get(&ask).await.unwrap().0, CacheStatus::Bypass);
    }
    assert_eq!((world.cache.usage().entries, world.disk_bytes()), (0, 0));
}

#[tokio::test]
async fn a_failed_fill_is_not_remembered() {
    let world = World::new().await;
    world.fake.set(&target("@v/list"), Act::status(500, "text/plain", ""));
    assert!(world.ask(&list()).await.is_err());
    stock(&world.fake);
    assert_eq!(world.get(&list()).await.unwrap().0, CacheStatus::Miss);
}

#[tokio::test]
async fn a_cut_zip_leaves_nothing() {
    let world = World::new().await;
    let body = zip_of("v1.0.0", 600_000);
    world.fake.set(&target("@v/v1.0.0.zip"), Act::lying(body.len(), &body[..590_000]));
    assert!(matches!(world.ask(&zip("v1.0.0")).await, Err(CacheError::Upstream(_))));
    assert_eq!((world.cache.usage().bytes, world.disk_bytes()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_being_replaced_are_never_taken_for_corrupt() {
    let world = World::new().await;
    world.fake.set(&target("@v/list"), Act::ok("text/plain", "v1.0.0\n"));
    world.get(&list()).await.unwrap();
    let readers: Vec<_> = (0..8)
        .map(|_| {
            let cache = world.cache.clone();
            tokio::spawn(async move {
                for _ in 0..100 {
                    let resolved = cache.resolve(&"example.com/m".parse().unwrap(), &list(), TEST).await.unwrap();
                    assert!(read_or_panic_at_once(resolved).await.unwrap().1.starts_with(b"v1.0.0\n"));
                }
            })
        })
        .collect();
    for i in 0..50 {
        world.fake.set(&target("@v/list"), Act::ok("text/plain", "v1.0.0\n".repeat(i % 7 + 1)));
        world.pass(FRESH);
        world.get(&list()).await.unwrap();
    }
    for reader in readers {
        reader.await.unwrap();
    }
    let usage = world.cache.usage();
    assert_eq!((usage.corrupt, usage.entries, usage.bytes), (0, 1, world.disk_bytes()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_comes_into_force_stops_the_next_attempt_of_what_is_under_way() {
    // The next attempt: where a redirect leads, the same again on another connection, the next of the chain.
    for act in [Act::redirect("/elsewhere"), Act::Raw(Vec::new()), Act::status(500, "text/plain", "")] {
        let fake = Fake::start().await;
        let config = fake::config(vec![Hop { any_error: true, ..fake.hop() }, fake.hop()]);
        let world = World::over(fake, config, ROOMY);
        let held = Arc::new(Semaphore::new(0));
        world.fake.set(&target("@v/list"), Act::Gate(held.clone(), Box::new(act)));
        let asked = world.ask(&ModuleAsk::List);
        let stricter = async {
            while world.fake.seen().is_empty() {
                tokio::task::yield_now().await;
            }
            let settings = config::Config::from_toml("[private]\npatterns = [\"example.com/m\"]\n").unwrap();
            world.cache.inner.stock.gate.enforce(Arc::new(crate::egress::Policy::new(&settings, world.records.clone())));
            held.add_permits(10);
        };
        let (answer, ()) = tokio::join!(asked, stricter);
        assert!(matches!(answer, Err(CacheError::Denied(_))), "{answer:?}");
        assert_eq!(world.fake.seen().len(), 1);
    }
}
