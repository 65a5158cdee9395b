//! What is remembered, for how long, and what makes it be asked again.

use super::*;

const V1: &[u8] = b"v1.0.0\n";
const V2: &[u8] = b"v1.0.0\nv1.1.0\n";

/// A world that remembers [`V1`], whose upstream has [`V2`].
async fn behind() -> World {
    let world = World::patient().await;
    world.fake.set(&target("@v/list"), Act::ok("text/plain", V1));
    world.get(&list()).await.unwrap();
    world.fake.set(&target("@v/list"), Act::ok("text/plain", V2));
    world
}

async fn anew(world: &World, ask: &ModuleAsk) -> Result<Resolved, CacheError> {
    world.cache.resolve(&"example.com/m".parse().unwrap(), ask, Asker { anew: true, ..TEST }).await
}

#[tokio::test]
async fn an_answer_is_a_hit_then_stale_once_and_then_the_new_one() {
    let world = behind().await;
    world.pass(FRESH - Duration::from_millis(1));
    assert_eq!(world.get(&list()).await.unwrap(), (CacheStatus::Hit, V1.to_vec()));
    world.pass(Duration::from_millis(1));
    assert_eq!(world.get(&list()).await.unwrap(), (CacheStatus::Stale, V1.to_vec()));
    world.settled(2).await;
    assert_eq!(world.get(&list()).await.unwrap(), (CacheStatus::Hit, V2.to_vec()));
    assert_eq!(world.fake.count(&target("@v/list")), 2);
}

#[tokio::test]
async fn while_upstream_takes_its_time_all_are_answered_at_once_and_it_is_asked_once() {
    let world = behind().await;
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    world.fake.set(&target("@v/list"), Act::Gate(gate.clone(), Box::new(Act::ok("text/plain", V2))));
    world.pass(FRESH);
    for _ in 0..20 {
        assert_eq!(world.get(&list()).await.unwrap(), (CacheStatus::Stale, V1.to_vec()));
    }
    until(|| world.fake.count(&target("@v/list")) == 2).await;
    assert_eq!(world.get(&list()).await.unwrap().0, CacheStatus::Stale);
    gate.add_permits(1);
    world.settled(2).await;
    assert_eq!(world.get(&list()).await.unwrap(), (CacheStatus::Hit, V2.to_vec()));
}

#[tokio::test]
async fn asking_again_takes_a_permit_of_its_own_for_whom_it_is_asked() {
    let world = behind().await;
    assert_eq!(world.attempts(), 1);
    world.pass(FRESH);
    world.get(&list()).await.unwrap();
    world.settled(2).await;
    assert_eq!(world.fake.count(&target("@v/list")), 2);
}

#[tokio::test]
async fn past_the_age_for_stale_answers_upstream_is_asked_first() {
    let world = behind().await;
    world.pass(STALE - Duration::from_millis(1));
    assert_eq!(world.get(&list()).await.unwrap().0, CacheStatus::Stale);
    world.settled(2).await;
    world.fake.set(&target("@v/list"), Act::ok("text/plain", "v2.0.0\n"));
    world.pass(STALE);
    assert_eq!(world.get(&list()).await.unwrap(), (CacheStatus::Miss, b"v2.0.0\n".to_vec()));
    // A clock that went back makes nothing fresh for ever.
    *world.now.lock().unwrap() -= STALE * 2;
    assert_eq!(world.get(&list()).await.unwrap().0, CacheStatus::Miss);
}

#[tokio::test]
async fn what_fails_to_be_asked_again_stays_whatever_its_age() {
    let world = behind().await;
    for failure in [Act::status(500, "text/plain", ""), Act::ok("text/html", "<html>"), Act::lying(99, b"v1")] {
        world.fake.set(&target("@v/list"), failure);
        for time in [FRESH, STALE, STALE * 1000] {
            world.pass(time);
            let before = world.attempts();
            assert_eq!(world.get(&list()).await.unwrap(), (CacheStatus::Stale, V1.to_vec()));
            world.settled(before + 1).await;
        }
    }
}

#[tokio::test]
async fn what_is_gone_when_asked_again_is_absent_from_then_on() {
    let world = behind().await;
    world.fake.set(&target("@v/list"), Act::status(410, "text/plain", "gone\n"));
    world.pass(FRESH);
    assert_eq!(world.get(&list()).await.unwrap().0, CacheStatus::Stale);
    world.settled(2).await;
    assert_eq!(world.absence(&list()).await, Absence { code: 410, text: "gone\n".into(), status: CacheStatus::Hit });
}

#[tokio::test]
async fn no_cache_skips_lists_branches_and_absences_but_nothing_that_never_changes() {
    let world = World::new().await;
    let missing = ModuleAsk::Mod(version("v1.9.0"));
    for ask in stock(&world.fake) {
        world.get(&ask).await.unwrap();
        let status = if ask.file().unwrap().starts_with("@v/v1") { CacheStatus::Hit } else { CacheStatus::Miss };
        assert_eq!(read_or_panic_at_once(anew(&world, &ask).await.unwrap()).await.unwrap().0, status, "{ask:?}");
        assert_eq!(world.get(&ask).await.unwrap().0, CacheStatus::Hit);
    }
    assert_eq!((world.absence(&missing).await.status, world.absence(&missing).await.status), (CacheStatus::Miss, CacheStatus::Hit));
    world.fake.set(&target("@v/v1.9.0.mod"), Act::ok("text/plain", "module example.com/m\n"));
    let (status, body) = read_or_panic_at_once(anew(&world, &missing).await.unwrap()).await.unwrap();
    assert_eq!((status, body), (CacheStatus::Miss, b"module example.com/m\n".to_vec()));
    // An outage is no reason to know nothing.
    world.fake.die();
    let (status, body) = read_or_panic_at_once(anew(&world, &list()).await.unwrap()).await.unwrap();
    assert_eq!((status, body), (CacheStatus::Stale, V1.to_vec()));
}

#[tokio::test]
async fn many_who_want_it_anew_at_once_make_one_request() {
    let world = behind().await;
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    world.fake.set(&target("@v/list"), Act::Gate(gate.clone(), Box::new(Act::ok("text/plain", V2))));
    let (path, ask) = ("example.com/m".parse().unwrap(), list());
    let all = futures::future::join_all((0..20).map(|_| world.cache.resolve(&path, &ask, Asker { anew: true, ..TEST })));
    let opened = async {
        until(|| world.fake.count(&target("@v/list")) == 2).await;
        gate.add_permits(1);
    };
    let (all, ()) = tokio::join!(all, opened);
    for one in all {
        assert_eq!(read_or_panic_at_once(one.unwrap()).await.unwrap(), (CacheStatus::Miss, V2.to_vec()));
    }
    assert_eq!(world.fake.count(&target("@v/list")), 2);
}

fn outcomes(renewed: &[Renewed]) -> Vec<(&str, Option<u16>)> {
    renewed.iter().map(|one| (one.file.as_str(), one.outcome.as_ref().ok().copied())).collect()
}

#[tokio::test]
async fn a_refresh_asks_again_for_all_that_changes_of_this_module_and_no_other() {
    let world = World::new().await;
    stock(&world.fake);
    let (path, below): (ModulePath, ModulePath) = ("example.com/m".parse().unwrap(), "example.com/m/below".parse().unwrap());
    for ask in [list(), ModuleAsk::Query("main".into()), ModuleAsk::Mod(version("v1.0.0"))] {
        world.get(&ask).await.unwrap();
    }
    let missing = ModuleAsk::Info(version("v1.9.0"));
    world.absence(&missing).await;
    world.cache.resolve(&below, &list(), TEST).await.unwrap();
    let seen = world.fake.seen().len();

    world.fake.set(&target("@v/list"), Act::ok("text/plain", V2));
    world.fake.set(&target("@v/v1.9.0.info"), Act::ok("application/json", r#"{"Version":"v1.9.0"}"#));
    let renewed = world.cache.refresh(&path, None, "operator").await.unwrap();
    let all = [("@latest", Some(200)), ("@v/list", Some(200)), ("@v/main.info", Some(200)), ("@v/v1.9.0.info", Some(200))];
    assert_eq!(outcomes(&renewed), all);
    assert_eq!(world.fake.seen().len(), seen + 4);
    assert_eq!(world.get(&list()).await.unwrap(), (CacheStatus::Hit, V2.to_vec()));
    assert_eq!(world.get(&missing).await.unwrap().0, CacheStatus::Hit);
}

#[tokio::test]
async fn a_refresh_of_a_version_asks_for_its_absences_alone_and_one_that_fails_loses_nothing() {
    let world = World::new().await;
    stock(&world.fake);
    let path = "example.com/m".parse().unwrap();
    world.get(&list()).await.unwrap();
    for missing in ["v1.8.0", "v1.9.0"] {
        world.absence(&ModuleAsk::Mod(version(missing))).await;
    }
    let renewed = world.cache.refresh(&path, Some(&version("v1.9.0")), "operator").await.unwrap();
    assert_eq!(outcomes(&renewed), [("@v/v1.9.0.mod", Some(404))]);
    assert_eq!(world.cache.refresh(&path, Some(&version("v1.0.0")), "operator").await.unwrap().len(), 0);
    world.fake.die();
    let renewed = world.cache.refresh(&path, None, "operator").await.unwrap();
    let all = [("@latest", None), ("@v/list", None), ("@v/v1.8.0.mod", None), ("@v/v1.9.0.mod", None)];
    assert_eq!(outcomes(&renewed), all);
    assert_eq!(world.get(&list()).await.unwrap().0, CacheStatus::Hit);
    assert_eq!(world.absence(&ModuleAsk::Mod(version("v1.9.0"))).await.code, 404);
}

#[tokio::test]
async fn what_is_forgotten_of_a_module_is_what_changes_and_nothing_of_its_neighbours() {
    let world = World::remembering(1 << 20).await;
    let asks = stock(&world.fake);
    let paths: [ModulePath; 3] = ["example.com/m", "example.com/m/below", "example.com"].map(|path| path.parse().unwrap());
    for path in &paths {
        for ask in asks.iter().chain([&ModuleAsk::Mod(version("v1.9.0"))]) {
            for _ in 0..2 {
                world.cache.resolve(path, ask, TEST).await.unwrap();
            }
        }
    }
    world.cache.forget(&paths[0]).await;
    let left: Vec<_> = kept_files(world.dir.path()).into_iter().map(|(path, _)| path.to_str().unwrap().to_owned()).collect();
    for path in left.iter().filter_map(|path| path.split_once("queries/")) {
        assert!(!path.1.starts_with("example.com/m/@"), "{path:?}");
    }
    // Upstream has nothing of the neighbours: absences, all of them.
    assert_eq!(files(&world.file("absent")).len(), 2 * 7);
    for ask in &asks {
        let status = if ask.file().unwrap().starts_with("@v/v1") { CacheStatus::Hit } else { CacheStatus::Miss };
        assert_eq!(world.get(ask).await.unwrap().0, status, "{ask:?}");
    }
}
