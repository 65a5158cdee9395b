//! The bound on bytes, and what does not fit.

use super::*;

fn set_zip(world: &World, version: &str, bytes: usize) -> Vec<u8> {
    let body = zip_of(version, bytes);
    world.fake.set(&target(&format!("@v/{version}.zip")), Act::ok("application/zip", body.clone()));
    body
}

/// A body whose length is not told.
pub(super) fn chunked(body: &[u8]) -> Act {
    let mut raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for piece in body.chunks(10_000) {
        raw.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        raw.extend_from_slice(piece);
        raw.extend_from_slice(b"\r\n");
    }
    raw.extend_from_slice(b"0\r\n\r\n");
    Act::Raw(raw)
}

/// All files below a folder, by identity.
fn inodes(dir: &Path) -> Vec<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    let paths = kept_files(dir).into_iter();
    let mut found: Vec<_> = paths.filter_map(|(path, _)| path.metadata().ok()).map(|meta| (meta.ino(), meta.len())).collect();
    found.sort_unstable();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn the_disk_never_holds_more_than_the_bound_while_fills_compete() {
    const BOUND: u64 = 1_000_000;
    let world = World::with(BOUND).await;
    let mut bodies = Vec::new();
    for i in 0..40 {
        let version = format!("v1.{i}.0");
        let body = set_zip(&world, &version, 50_000 + 10_000 * (i % 7));
        if i % 2 == 0 {
            world.fake.set(&target(&format!("@v/{version}.zip")), chunked(&body));
        }
        bodies.push((version, body));
    }
    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (dir, stop) = (world.dir.path().to_owned(), done.clone());
    let watch = std::thread::spawn(move || {
        // What two walks in a row saw alike was all there between them.
        let (mut most, mut before) = (0, Vec::new());
        while !stop.load(std::sync::atomic::Ordering::SeqCst) {
            let now = inodes(&dir);
            if now == before {
                most = most.max(now.iter().map(|(_, len)| len).sum());
            }
            before = now;
        }
        most
    });
    let asked: Vec<_> = bodies
        .clone()
        .into_iter()
        .map(|(version, body)| {
            let cache = world.cache.clone();
            tokio::spawn(async move {
                let resolved = cache.resolve(&"example.com/m".parse().unwrap(), &zip(&version), TEST).await.unwrap();
                assert_eq!(read_or_panic_at_once(resolved).await.unwrap().1, body);
            })
        })
        .collect();
    for one in asked {
        one.await.unwrap();
    }
    for (version, body) in bodies {
        assert!(world.get(&zip(&version)).await.unwrap().1 == body);
    }
    done.store(true, std::sync::atomic::Ordering::SeqCst);
    let most = watch.join().unwrap();
    assert!(most <= BOUND, "{most}");
    let usage = world.cache.usage();
    assert_eq!(usage.bytes, world.disk_bytes());
    assert!(usage.evicted > 0 && usage.entries > 0);
}

#[tokio::test]
async fn the_oldest_use_goes_first() {
    let world = World::with(350_000).await;
    for version in ["v1.0.0", "v1.1.0", "v1.2.0"] {
        set_zip(&world, version, 100_000);
        world.get(&zip(version)).await.unwrap();
    }
    assert_eq!(world.get(&zip("v1.0.0")).await.unwrap().0, CacheStatus::Hit);
    set_zip(&world, "v1.3.0", 100_000);
    world.get(&zip("v1.3.0")).await.unwrap();
    for (version, status) in [("v1.0.0", CacheStatus::Hit), ("v1.2.0", CacheStatus::Hit), ("v1.1.0", CacheStatus::Miss)] {
        assert_eq!(world.get(&zip(version)).await.unwrap().0, status, "{version}");
    }
    assert!(
        !world.file("download/example.com/m/@v/v1.3.0.ziphash").exists() || world.file("download/example.com/m/@v/v1.3.0.zip").exists()
    );
}

#[tokio::test]
async fn what_is_being_read_is_not_evicted_while_others_can_go() {
    let world = World::with(350_000).await;
    for version in ["v1.0.0", "v1.1.0", "v1.2.0"] {
        set_zip(&world, version, 100_000);
        world.get(&zip(version)).await.unwrap();
    }
    let reading = world.ask(&zip("v1.0.0")).await.unwrap();
    for version in ["v1.1.0", "v1.2.0"] {
        world.get(&zip(version)).await.unwrap();
    }
    for version in ["v1.3.0", "v1.4.0", "v1.5.0"] {
        set_zip(&world, version, 100_000);
        assert_eq!(world.get(&zip(version)).await.unwrap().0, CacheStatus::Miss);
        assert!(world.file("download/example.com/m/@v/v1.0.0.zip").exists());
    }
    drop(reading);
    for version in ["v1.6.0", "v1.7.0", "v1.8.0"] {
        set_zip(&world, version, 100_000);
        world.get(&zip(version)).await.unwrap();
    }
    assert!(!world.file("download/example.com/m/@v/v1.0.0.zip").exists());
}

#[tokio::test]
async fn what_is_read_without_a_name_counts_until_the_last_reader_lets_go() {
    let world = World::with(150_000).await;
    let body = set_zip(&world, "v1.0.0", 100_000);
    world.get(&zip("v1.0.0")).await.unwrap();
    let (one, two) = (world.ask(&zip("v1.0.0")).await.unwrap(), world.ask(&zip("v1.0.0")).await.unwrap());
    world.cache.inner.stock.shelf.index.remove("download/example.com/m/@v/v1.0.0.zip").unwrap();
    assert_eq!(world.disk_bytes(), 0);
    assert!(world.cache.usage().bytes > 100_000 && world.cache.usage().entries == 0);
    // There is no room as long as its blocks are taken.
    set_zip(&world, "v1.1.0", 100_000);
    assert_eq!(world.get(&zip("v1.1.0")).await.unwrap().0, CacheStatus::Bypass);
    assert_eq!(read_or_panic_at_once(one).await.unwrap().1, body);
    assert_eq!(world.get(&zip("v1.1.0")).await.unwrap().0, CacheStatus::Bypass);
    assert_eq!(read_or_panic_at_once(two).await.unwrap().1, body);
    assert_eq!(world.get(&zip("v1.1.0")).await.unwrap().0, CacheStatus::Miss);
    assert_eq!(world.cache.usage().bytes, world.disk_bytes());
}

#[tokio::test]
async fn a_zip_that_could_not_be_kept_counts_until_its_reader_lets_go() {
    let world = World::with(150_000).await;
    set_zip(&world, "v1.0.0", 100_000);
    world.fail(Step::Rename, "v1.0.0.zip");
    let reading = world.ask(&zip("v1.0.0")).await.unwrap();
    assert_eq!(world.disk_bytes(), 0);
    assert!(world.cache.usage().bytes > 100_000);
    drop(reading);
    assert_eq!(world.cache.usage().bytes, 0);
}

#[tokio::test]
async fn what_does_not_fit_passes_through_whole_and_evicts_nothing() {
    let world = World::with(200_000).await;
    stock(&world.fake);
    world.get(&list()).await.unwrap();
    let body = set_zip(&world, "v1.0.0", 300_000);
    for _ in 0..2 {
        assert_eq!(world.get(&zip("v1.0.0")).await.unwrap(), (CacheStatus::Bypass, body.clone()));
    }
    // Without a length this shows only when part of it is on disk.
    let body = zip_of("v1.1.0", 600_000);
    world.fake.set(&target("@v/v1.1.0.zip"), chunked(&body));
    assert_eq!(world.get(&zip("v1.1.0")).await.unwrap(), (CacheStatus::Bypass, body));
    assert_eq!(world.disk_bytes(), world.cache.usage().bytes);
    // Nobody judged it.
    assert!(!world.records.knows(&"example.com/m".parse().unwrap()));
}

#[tokio::test]
async fn what_passes_through_is_cut_where_upstream_cuts_it() {
    let world = World::with(200_000).await;
    let body = zip_of("v1.0.0", 600_000);
    world.fake.set(&target("@v/v1.0.0.zip"), Act::lying(body.len(), &body[..500_000]));
    let Ok(Resolved::Found(cached)) = world.ask(&zip("v1.0.0")).await else { panic!() };
    assert_eq!((cached.status, cached.body.len()), (CacheStatus::Bypass, Some(body.len() as u64)));
    assert!(read(cached.body).await.is_err());
    world.fake.set(&target("@v/v1.0.0.zip"), Act::lying(body.len(), b""));
    let Ok(Resolved::Found(cached)) = world.ask(&zip("v1.0.0")).await else { panic!() };
    assert!(read(cached.body).await.is_err());
    assert!(!world.records.knows(&"example.com/m".parse().unwrap()));
}

#[tokio::test]
async fn a_stream_that_never_ends_is_cut_at_the_limit_for_zips() {
    let world = World::with(1).await;
    let head = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    world.fake.set(&target("@v/v1.0.0.zip"), Act::Endless { head, body: vec![0; 1 << 20] });
    let Ok(Resolved::Found(Cached { body: Body::Stream { mut stream, .. }, .. })) = world.ask(&zip("v1.0.0")).await else { panic!() };
    let mut bytes = 0;
    loop {
        match stream.next().await {
            Some(Ok(chunk)) => bytes += chunk.len() as u64,
            Some(Err(_)) => break,
            None => panic!("it ended well"),
        }
    }
    assert!(bytes <= judge::ZIP_BYTES_MAX);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_ask_for_what_does_not_fit_all_get_it() {
    let world = World::with(1000).await;
    let body = set_zip(&world, "v1.0.0", 300_000);
    let asked: Vec<_> = (0..10)
        .map(|_| {
            let cache = world.cache.clone();
            tokio::spawn(async move { cache.resolve(&"example.com/m".parse().unwrap(), &zip("v1.0.0"), TEST).await })
        })
        .collect();
    for one in asked {
        let resolved = one.await.unwrap().unwrap();
        assert_eq!(read_or_panic_at_once(resolved).await.unwrap(), (CacheStatus::Bypass, body.clone()));
    }
}

#[tokio::test]
async fn a_smaller_bound_is_kept_from_the_start() {
    let mut world = World::new().await;
    for ask in stock(&world.fake).iter().rev() {
        world.get(ask).await.unwrap();
    }
    // File times are coarse: what was filled in one tick has no order.
    let newest = std::fs::File::options().write(true).open(world.file("download/example.com/m/@v/v1.0.0.mod")).unwrap();
    newest.set_modified(std::time::SystemTime::now() + std::time::Duration::from_secs(1)).unwrap();
    let config = world.fake.config();
    world.restart(&config, 50_000);
    assert!(world.disk_bytes() <= 50_000);
    assert_eq!(world.cache.usage().bytes, world.disk_bytes());
    assert_eq!(world.get(&ModuleAsk::Mod(version("v1.0.0"))).await.unwrap().0, CacheStatus::Hit);
    assert_eq!(world.get(&zip("v1.0.0")).await.unwrap().0, CacheStatus::Bypass);
}

#[tokio::test]
async fn a_bound_of_nothing_serves_everything() {
    let world = World::with(0).await;
    for ask in stock(&world.fake) {
        assert_eq!(world.get(&ask).await.unwrap().0, CacheStatus::Bypass, "{ask:?}");
    }
    let absence = world.absence(&ModuleAsk::Mod(version("v9.0.0"))).await;
    assert_eq!((absence.code, absence.status), (404, CacheStatus::Bypass));
    assert_eq!(world.disk_bytes(), 0);
}

#[tokio::test]
async fn names_too_long_for_a_file_pass_through() {
    let world = World::new().await;
    let path: ModulePath = format!("example.com/{}", "a".repeat(300)).parse().unwrap();
    world.fake.set(&format!("/{path}/@v/list"), Act::ok("text/plain", "v1.0.0\n"));
    let body = zip_of("v1.0.0", 300_000);
    world.fake.set(&format!("/{path}/@v/v1.0.0.zip"), Act::ok("application/zip", body.clone()));
    for (ask, body) in [(list(), b"v1.0.0\n".to_vec()), (zip("v1.0.0"), body)] {
        let resolved = world.cache.resolve(&path, &ask, TEST).await.unwrap();
        assert_eq!(read_or_panic_at_once(resolved).await.unwrap(), (CacheStatus::Bypass, body));
    }
    assert_eq!(world.disk_bytes(), 0);
}

fn bounded(max_size: u64) -> config::Cache {
    settings(max_size, 0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_smaller_bound_evicts_at_once_and_a_larger_one_keeps_more() {
    let world = World::with(200_000).await;
    let versions = ["v1.0.0", "v1.1.0", "v1.2.0"].map(|version| (version, set_zip(&world, version, 50_000)));
    for (version, body) in &versions {
        assert_eq!(world.get(&ModuleAsk::Zip(version.parse().unwrap())).await.unwrap().1, *body);
    }
    world.cache.inner.stock.resize(&bounded(120_000));
    assert!(world.disk_bytes() <= 120_000 && world.cache.usage().entries == 2, "{:?}", world.cache.usage());
    world.cache.inner.stock.resize(&bounded(0));
    assert_eq!(world.disk_bytes(), 0);
    let (status, body) = world.get(&ModuleAsk::Zip("v1.0.0".parse().unwrap())).await.unwrap();
    assert_eq!((status, &body), (CacheStatus::Bypass, &versions[0].1));
    world.cache.inner.stock.resize(&bounded(200_000));
    for _ in 0..2 {
        world.get(&ModuleAsk::Zip("v1.0.0".parse().unwrap())).await.unwrap();
    }
    assert_eq!(world.get(&ModuleAsk::Zip("v1.0.0".parse().unwrap())).await.unwrap().0, CacheStatus::Hit);
}

#[tokio::test]
async fn last_copies_go_last_also_after_a_restart_until_upstream_has_them_again() {
    let mut world = World::with(350_000).await;
    for version in ["v1.0.0", "v1.1.0", "v1.2.0"] {
        set_zip(&world, version, 100_000);
        world.get(&zip(version)).await.unwrap();
    }
    let mod_of = |text| ModuleAsk::Mod(version(text));
    world.fake.set(&target("@v/v1.0.0.mod"), Act::status(410, "text/plain", "gone"));
    assert_eq!(world.absence(&mod_of("v1.0.0")).await.code, 410);
    assert_eq!(world.cache.usage().last_copies, 1);
    let config = world.fake.config();
    world.restart(&config, 350_000);
    for version in ["v1.3.0", "v1.4.0", "v1.5.0", "v1.6.0"] {
        set_zip(&world, version, 100_000);
        world.get(&zip(version)).await.unwrap();
    }
    let gone = world.cache.gc_report(&Stop::default()).last_copies;
    assert_eq!(gone.iter().map(|copy| copy.file.as_str()).collect::<Vec<_>>(), ["download/example.com/m/@v/v1.0.0.zip"]);
    world.fake.set(&target("@v/v1.0.0.mod"), Act::ok("text/plain", "module example.com/m\n"));
    world.pass(NOT_FOUND);
    world.get(&mod_of("v1.0.0")).await.unwrap();
    assert_eq!(world.cache.usage().last_copies, 0);
}

#[tokio::test]
async fn a_list_that_is_gone_makes_all_that_is_kept_of_the_module_last_copies() {
    let world = World::new().await;
    for ask in stock(&world.fake) {
        world.get(&ask).await.unwrap();
    }
    world.pass(STALE);
    world.fake.set(&target("@v/list"), Act::status(404, "text/plain", "gone"));
    world.absence(&list()).await;
    assert_eq!(world.cache.usage().last_copies, 3);
    world.pass(NOT_FOUND);
    world.fake.set(&target("@v/list"), Act::ok("text/plain", "v1.1.0\n"));
    world.get(&list()).await.unwrap();
    assert_eq!(world.cache.usage().last_copies, 3);
    world.pass(STALE);
    world.fake.set(&target("@v/list"), Act::ok("text/plain", "v1.1.0\nv1.0.0\n"));
    world.get(&list()).await.unwrap();
    assert_eq!(world.cache.usage().last_copies, 0);
}

#[tokio::test]
async fn garbage_is_what_was_set_aside_and_absences_that_nobody_asked_for_in_a_month() {
    let world = World::new().await;
    for ask in stock(&world.fake) {
        world.get(&ask).await.unwrap();
    }
    world.absence(&ModuleAsk::Mod(version("v9.0.0"))).await;
    std::fs::write(world.file("queries/example.com/m/@v/list"), "torn").unwrap();
    world.get(&list()).await.unwrap();
    let month = Duration::from_secs(30 * 24 * 60 * 60);
    let kinds = || world.cache.gc_report(&Stop::default()).garbage.iter().map(|(kind, _)| *kind).collect::<Vec<_>>();
    world.pass(month - Duration::from_millis(1));
    assert_eq!(kinds(), [Garbage::Damaged]);
    world.pass(Duration::from_millis(1));
    assert_eq!(kinds(), [Garbage::Damaged, Garbage::Expired]);
    let before = world.cache.usage().entries;
    assert_eq!(world.cache.gc(&Stop::default()).garbage.len(), 2);
    assert_eq!((kinds(), world.cache.usage().entries), (vec![], before - 2));
    assert_eq!(world.cache.usage().bytes, world.disk_bytes());
}
