//! What is said of a module while upstream fails.

use super::*;

const PSEUDO: &str = "v0.0.0-20240102030405-0123456789ab";
const NEWER: &str = "v0.0.0-20240203040506-fedcba987654";

/// A world whose upstream died after these files were fetched, with nothing else known.
async fn after(files: &[&str]) -> World {
    let world = World::new().await;
    fetch(&world, files).await;
    world.fake.die();
    world
}

async fn fetch(world: &World, files: &[&str]) {
    for file in files {
        let (version, ext) = file.rsplit_once('.').unwrap();
        let version: crate::module::Version = version.parse().unwrap();
        let (ask, body) = match ext {
            "mod" => (ModuleAsk::Mod(version), b"module example.com/m\n".to_vec()),
            "zip" => (ModuleAsk::Zip(version.clone()), zip_of(version.as_str(), 1000)),
            _ => (ModuleAsk::Info(version.clone()), format!(r#"{{"Version":"{version}","Time":"2024-05-06T07:08:09Z"}}"#).into_bytes()),
        };
        world.fake.set(&target(&format!("@v/{file}")), Act::ok("text/plain", body));
        assert_eq!(world.get(&ask).await.unwrap().0, CacheStatus::Miss, "{file}");
    }
}

async fn offline(world: &World, ask: &ModuleAsk) -> String {
    let (status, body) = world.get(ask).await.unwrap();
    assert_eq!(status, CacheStatus::Offline, "{ask:?}");
    String::from_utf8(body).unwrap()
}

#[tokio::test]
async fn a_list_that_was_never_asked_for_is_the_versions_that_are_cached() {
    let world = after(&["v1.10.0.zip", "v1.9.0.zip", "v1.9.0.mod", "v1.11.0-rc.1.zip", &format!("{PSEUDO}.zip")]).await;
    assert_eq!(offline(&world, &list()).await, "v1.9.0\nv1.10.0\nv1.11.0-rc.1\n");
    // Where no zip is, with any of their files.
    let world = after(&["v1.1.0.mod", "v1.0.0.info"]).await;
    assert_eq!(offline(&world, &list()).await, "v1.0.0\nv1.1.0\n");
    // What is not complete does not outshine what is.
    let world = after(&["v1.0.0.zip", "v1.1.0.mod"]).await;
    assert_eq!(offline(&world, &list()).await, "v1.0.0\n");
}

#[tokio::test]
async fn the_last_list_is_united_with_the_versions_that_are_cached() {
    let world = World::new().await;
    world.fake.set(&target("@v/list"), Act::ok("text/plain", "v1.2.0 2024-01-02T03:04:05Z\nv1.0.0\n"));
    world.get(&list()).await.unwrap();
    fetch(&world, &["v1.1.0.zip", "v1.0.0.zip"]).await;
    world.fake.die();
    let union = "v1.0.0\nv1.1.0\nv1.2.0 2024-01-02T03:04:05Z\n";
    // Fresh, it is what upstream said; stale, too, until upstream is known to be away.
    assert_eq!(world.get(&list()).await.unwrap().0, CacheStatus::Hit);
    world.pass(FRESH);
    assert_eq!(world.get(&list()).await.unwrap().0, CacheStatus::Stale);
    for _ in 0..10 {
        world.ask(&zip("v1.9.9")).await.unwrap_err();
    }
    assert_eq!(offline(&world, &list()).await, union);
    world.pass(STALE);
    assert_eq!(offline(&world, &list()).await, union);
    // Nothing of it is kept.
    assert_eq!(world.cache.verify(&Stop::default()).findings, []);
    let kept = std::fs::read_to_string(world.file("queries/example.com/m/@v/list")).unwrap();
    assert!(kept.ends_with("\nv1.2.0 2024-01-02T03:04:05Z\nv1.0.0\n"), "{kept}");
}

#[tokio::test]
async fn a_long_list_is_united_too() {
    let world = World::new().await;
    let long: String = (0..10_000).map(|i| format!("v1.0.{i}\n")).collect();
    world.fake.set(&target("@v/list"), Act::ok("text/plain", long.clone()));
    world.get(&list()).await.unwrap();
    fetch(&world, &["v2.0.0+incompatible.zip"]).await;
    world.fake.die();
    world.pass(STALE);
    assert_eq!(offline(&world, &list()).await, long + "v2.0.0+incompatible\n");
}

#[tokio::test]
async fn latest_is_the_highest_release_else_pre_release_else_pseudo_version_that_is_cached() {
    let newer = format!("{NEWER}.zip");
    let older = format!("{PSEUDO}.zip");
    for (files, latest) in [
        (vec!["v1.9.0.zip", "v1.10.0.zip", "v2.0.0-rc.1.zip", &newer], r#"{"Version":"v1.10.0"}"#.to_owned()),
        (vec!["v1.0.0-rc.1.zip", "v1.0.0-rc.2.zip", &newer], r#"{"Version":"v1.0.0-rc.2"}"#.to_owned()),
        (vec![&newer, &older], format!(r#"{{"Time":"2024-02-03T04:05:06Z","Version":"{NEWER}"}}"#)),
        (vec!["v1.0.0.mod"], r#"{"Version":"v1.0.0"}"#.to_owned()),
        (vec!["v1.0.0.zip", "v1.1.0.mod"], r#"{"Version":"v1.0.0"}"#.to_owned()),
        // As upstream gave it, where that is known.
        (vec!["v1.0.0.zip", "v1.0.0.info"], r#"{"Version":"v1.0.0","Time":"2024-05-06T07:08:09Z"}"#.to_owned()),
    ] {
        let world = after(&files).await;
        assert_eq!(offline(&world, &ModuleAsk::Latest).await, latest, "{files:?}");
    }
    // A list is better than nothing.
    let world = World::new().await;
    world.fake.set(&target("@v/list"), Act::ok("text/plain", "v1.0.0\nv1.1.0-rc.1\n"));
    world.get(&list()).await.unwrap();
    world.fake.die();
    assert_eq!(offline(&world, &ModuleAsk::Latest).await, r#"{"Version":"v1.0.0"}"#);
}

#[tokio::test]
async fn what_upstream_said_last_stands_before_what_can_be_guessed() {
    let world = World::new().await;
    world.fake.set(&target("@latest"), Act::ok("application/json", r#"{"Version":"v1.0.0"}"#));
    world.get(&ModuleAsk::Latest).await.unwrap();
    let missing = ModuleAsk::Info(version("v1.1.0"));
    assert_eq!(world.absence(&missing).await.code, 404);
    fetch(&world, &["v1.1.0.zip"]).await;
    world.fake.die();
    world.pass(STALE);
    // It may be retracted, which nobody can tell who asks for `@latest`.
    assert_eq!(world.get(&ModuleAsk::Latest).await.unwrap(), (CacheStatus::Stale, br#"{"Version":"v1.0.0"}"#.to_vec()));
    assert_eq!(world.absence(&missing).await.status, CacheStatus::Stale);
}

#[tokio::test]
async fn the_info_of_a_cached_version_and_of_a_cached_commit_is_made() {
    let world = after(&["v1.0.0.mod", &format!("{PSEUDO}.zip")]).await;
    assert_eq!(offline(&world, &ModuleAsk::Info(version("v1.0.0"))).await, r#"{"Version":"v1.0.0"}"#);
    let info = format!(r#"{{"Time":"2024-01-02T03:04:05Z","Version":"{PSEUDO}"}}"#);
    for query in ["0123456789ab", "0123456", "0123456789abcdef0123456789abcdef01234567"] {
        assert_eq!(offline(&world, &ModuleAsk::Query(query.into())).await, info, "{query}");
    }
    for ask in [
        ModuleAsk::Info(version("v1.1.0")),
        ModuleAsk::Query("012345".into()),
        ModuleAsk::Query("1123456789ab".into()),
        ModuleAsk::Query("main".into()),
        ModuleAsk::Mod(version(PSEUDO)),
        zip("v1.0.0"),
    ] {
        assert!(matches!(world.ask(&ask).await, Err(CacheError::Upstream(_))), "{ask:?}");
    }
}

#[tokio::test]
async fn a_module_of_which_nothing_is_cached_is_a_failure_and_no_absence() {
    let world = after(&["v1.0.0.zip"]).await;
    for path in ["example.com", "example.com/m/below", "example.com/M"] {
        for ask in [list(), ModuleAsk::Latest, ModuleAsk::Info(version("v1.0.0"))] {
            let asked = world.cache.resolve(&path.parse().unwrap(), &ask, TEST).await;
            assert!(matches!(asked, Err(CacheError::Upstream(_))), "{path} {ask:?}");
        }
    }
}

#[tokio::test]
async fn one_module_that_fails_is_no_outage_for_the_lists_of_others() {
    let world = World::new().await;
    world.fake.set(&target("@v/list"), Act::ok("text/plain", "v1.0.0\n"));
    world.get(&list()).await.unwrap();
    fetch(&world, &["v1.1.0.zip"]).await;
    world.pass(FRESH);
    world.fake.set("/example.com/n/@v/list", Act::status(500, "text/plain", ""));
    let failed = world.cache.resolve(&"example.com/n".parse().unwrap(), &list(), TEST).await;
    assert!(matches!(failed, Err(CacheError::Upstream(_))));
    assert_eq!(world.get(&list()).await.unwrap(), (CacheStatus::Stale, b"v1.0.0\n".to_vec()));
}

#[tokio::test]
async fn what_is_held_and_cannot_be_read_is_no_absence() {
    let mut world = after(&["v1.0.0.zip"]).await;
    let mut off = world.fake.config();
    off.goproxy.clear();
    world.restart(&off, ROOMY);
    let folder = faults::Unreadable::make(&world, "download/example.com/m/@v");
    for ask in [list(), ModuleAsk::Latest, ModuleAsk::Query("0123456".into()), ModuleAsk::Info(version("v1.0.0"))] {
        assert!(matches!(world.ask(&ask).await, Err(CacheError::Storage(_))), "{ask:?}");
    }
    folder.heal();
    assert_eq!(offline(&world, &list()).await, "v1.0.0\n");
}

#[tokio::test]
async fn an_upstream_that_is_off_is_like_one_that_fails() {
    let mut world = after(&["v1.0.0.zip"]).await;
    let mut off = world.fake.config();
    off.goproxy.clear();
    world.restart(&off, ROOMY);
    assert_eq!(offline(&world, &list()).await, "v1.0.0\n");
    assert_eq!(offline(&world, &ModuleAsk::Latest).await, r#"{"Version":"v1.0.0"}"#);
    assert!(matches!(world.ask(&zip("v1.9.0")).await, Err(CacheError::Off)));
}
