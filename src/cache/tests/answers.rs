//! What is answered, from where, and for how long.

use super::*;

#[tokio::test]
async fn what_came_once_is_served_from_disk_also_after_a_restart_with_upstream_dead() {
    let mut world = World::new().await;
    let asks = stock(&world.fake);
    let mut first = Vec::new();
    for ask in &asks {
        let (status, body) = world.get(ask).await.unwrap();
        assert_eq!(status, CacheStatus::Miss, "{ask:?}");
        first.push(body);
    }
    assert_eq!(first[0], b"v1.0.0\n");
    assert_eq!(first[5], zip_of("v1.0.0", 100_000));
    let requests = world.fake.seen().len();
    for (ask, body) in asks.iter().zip(&first) {
        assert_eq!(world.get(ask).await.unwrap(), (CacheStatus::Hit, body.clone()), "{ask:?}");
    }
    assert_eq!(world.fake.seen().len(), requests);

    let usage = world.cache.usage();
    world.fake.die();
    let config = world.fake.config();
    world.restart(&config, ROOMY);
    assert_eq!(world.cache.usage(), usage);
    world.pass(FRESH * 1_000_000);
    for (ask, body) in asks.iter().zip(&first) {
        let stale = matches!(ask, ModuleAsk::List | ModuleAsk::Latest | ModuleAsk::Query(_));
        let status = if stale { CacheStatus::Stale } else { CacheStatus::Hit };
        assert_eq!(world.get(ask).await.unwrap(), (status, body.clone()), "{ask:?}");
    }
    // And with upstream off.
    let mut off = config.clone();
    off.goproxy.clear();
    world.restart(&off, ROOMY);
    assert_eq!(world.get(&list()).await.unwrap().0, CacheStatus::Stale);
    assert!(matches!(world.get(&zip("v1.9.0")).await, Err(CacheError::Off)));
}

#[tokio::test]
async fn the_download_folder_is_a_file_goproxy() {
    let world = World::new().await;
    for ask in stock(&world.fake) {
        world.get(&ask).await.unwrap();
    }
    let dir = world.file("download/example.com/m/@v");
    let mut names: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|item| item.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["v1.0.0.info", "v1.0.0.mod", "v1.0.0.zip", "v1.0.0.ziphash"]);
    let zip = std::fs::File::open(dir.join("v1.0.0.zip")).unwrap();
    let h1 = crate::module::dirhash::hash_zip(zip).unwrap();
    assert_eq!(std::fs::read_to_string(dir.join("v1.0.0.ziphash")).unwrap(), h1.to_string());
}

#[tokio::test]
async fn an_absence_is_kept_with_its_text_for_a_while_and_stale_while_upstream_fails() {
    let mut world = World::new().await;
    let text = "not found: example.com/m@v1.0.0: unknown revision\n";
    let (mod_target, ask) = (target("@v/v1.0.0.mod"), ModuleAsk::Mod(version("v1.0.0")));
    world.fake.set(&mod_target, Act::status(410, "text/plain; charset=UTF-8", text));
    let absent = |status| Absence { code: 410, text: text.into(), status };
    assert_eq!(world.absence(&ask).await, absent(CacheStatus::Miss));
    assert_eq!(world.absence(&ask).await, absent(CacheStatus::Hit));
    world.fake.set(&mod_target, Act::status(503, "text/plain", "later"));
    world.pass(NOT_FOUND);
    assert_eq!(world.absence(&ask).await, absent(CacheStatus::Stale));
    let config = world.fake.config();
    world.restart(&config, ROOMY);
    assert_eq!(world.absence(&ask).await, absent(CacheStatus::Stale));

    world.fake.set(&mod_target, Act::ok("text/plain", "module example.com/m\n"));
    assert_eq!(world.get(&ask).await.unwrap().0, CacheStatus::Miss);
    assert_eq!(world.get(&ask).await.unwrap().0, CacheStatus::Hit);
    assert_eq!(files(&world.file("absent")), []);
}

#[tokio::test]
async fn a_failure_is_never_an_absence() {
    let world = World::new().await;
    let v1 = ModuleAsk::Info(version("v1.0.0"));
    let info = target("@v/v1.0.0.info");
    for status in [204, 206, 301, 400, 403, 429, 500, 502, 503, 504] {
        world.fake.set(&info, Act::status(status, "text/plain", ""));
        assert!(matches!(world.ask(&v1).await, Err(CacheError::Upstream(_))), "{status}");
    }
    world.fake.set(&info, Act::Hang(Vec::new()));
    assert!(matches!(world.ask(&v1).await, Err(CacheError::Timeout(_))));
    world.fake.set(&info, Act::lying(99, b"{"));
    assert!(matches!(world.ask(&v1).await, Err(CacheError::Upstream(_))));
    world.fake.die();
    assert!(matches!(world.ask(&v1).await, Err(CacheError::Upstream(_))));
    assert_eq!(world.cache.usage().entries, 0);
}

#[tokio::test]
async fn a_malformed_answer_is_a_failure_and_not_kept() {
    let world = World::new().await;
    let asks = stock(&world.fake);
    let long_head = |len: u64| Act::Hang(format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n").into_bytes());
    let endless = || Act::Endless { head: b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), body: b"v1.0.0\n".repeat(10_000) };
    let targets = ["@v/list", "@latest", "@v/v1.0.0.info", "@v/main.info", "@v/v1.0.0.mod", "@v/v1.0.0.zip"];
    let sizes = [16 << 20, 64 << 10, 64 << 10, 64 << 10, 16 << 20, 500 << 20];
    for ((ask, at), size) in asks.iter().zip(targets).zip(sizes) {
        world.fake.set(&target(at), Act::ok("text/html; charset=utf-8", "<html>"));
        assert!(matches!(world.ask(ask).await, Err(CacheError::Upstream(_))), "html {at}");
        world.fake.set(&target(at), long_head(size + 1));
        assert!(matches!(world.ask(ask).await, Err(CacheError::Upstream(_))), "length {at}");
        if size < 500 << 20 {
            world.fake.set(&target(at), endless());
            assert!(matches!(world.ask(ask).await, Err(CacheError::Upstream(_))), "endless {at}");
        }
    }
    world.fake.set(&target("@v/v1.0.0.info"), Act::ok("application/json", r#"{"Version":"v1.0.1"}"#));
    assert!(matches!(world.ask(&asks[2]).await, Err(CacheError::Upstream(_))));
    for body in [&b"no zip"[..], b"", &zip_of("v1.0.0", 9)[..90]] {
        world.fake.set(&target("@v/v1.0.0.zip"), Act::ok("application/zip", body));
        assert!(matches!(world.ask(&asks[5]).await, Err(CacheError::Upstream(_))));
    }
    assert_eq!((world.cache.usage().entries, world.disk_bytes()), (0, 0));
}

#[tokio::test]
async fn what_is_judged_in_memory_may_be_as_long_as_its_limit_and_no_longer() {
    let world = World::new().await;
    let info = |len: usize| {
        let info = r#"{"Version":"v1.0.0"}"#.to_owned();
        info.clone() + &" ".repeat(len - info.len())
    };
    let line = format!("v1.0.0-{}\n", "x".repeat(8000));
    let lines = |len: usize| line.repeat(len / line.len()) + &"\n".repeat(len % line.len());
    let module = |len: usize| "/".repeat(len);
    type Body<'a> = &'a dyn Fn(usize) -> String;
    let cases: [(ModuleAsk, &str, usize, Body<'_>); 5] = [
        (ModuleAsk::Latest, "@latest", 64 << 10, &info),
        (ModuleAsk::Info(version("v1.0.0")), "@v/v1.0.0.info", 64 << 10, &info),
        (ModuleAsk::Query("main".into()), "@v/main.info", 64 << 10, &info),
        (list(), "@v/list", 16 << 20, &lines),
        (ModuleAsk::Mod(version("v1.0.0")), "@v/v1.0.0.mod", 16 << 20, &module),
    ];
    for (ask, at, max, body) in cases {
        for chunked in [false, true] {
            let act = |len: usize| match chunked {
                true => Act::Raw([b"HTTP/1.0 200 OK\r\n\r\n", body(len).as_bytes()].concat()),
                false => Act::ok("text/plain", body(len)),
            };
            world.fake.set(&target(at), act(max + 1));
            let asker = Asker { anew: true, ..TEST };
            let asked = world.cache.resolve(&"example.com/m".parse().unwrap(), &ask, asker).await;
            assert!(matches!(asked, Err(CacheError::Upstream(_))), "{at} {chunked}");
            assert_eq!(world.cache.usage().entries, 0, "{at} {chunked}");
            for len in [max, max - 1] {
                world.fake.set(&target(at), act(len));
                let asked = world.cache.resolve(&"example.com/m".parse().unwrap(), &ask, asker).await.unwrap();
                assert_eq!(read_or_panic_at_once(asked).await.unwrap().0, CacheStatus::Miss, "{at} {chunked} {len}");
                world.purge(&ask);
            }
        }
    }
}

#[tokio::test]
async fn a_page_of_html_is_no_answer_whatever_it_calls_itself() {
    let world = World::new().await;
    let page = "\n<!DOCTYPE html>\n<html><body>sign in to this network</body></html>\n";
    for (ask, at) in
        stock(&world.fake).iter().zip(["@v/list", "@latest", "@v/v1.0.0.info", "@v/main.info", "@v/v1.0.0.mod", "@v/v1.0.0.zip"])
    {
        for kind in ["text/html", "application/xhtml+xml; charset=utf-8", "text/plain", "application/json"] {
            world.fake.set(&target(at), Act::ok(kind, page));
            assert!(matches!(world.ask(ask).await, Err(CacheError::Upstream(_))), "{at} {kind}");
        }
    }
    assert_eq!((world.cache.usage().entries, world.disk_bytes()), (0, 0));
}

#[tokio::test]
async fn bad_lines_of_a_list_are_dropped_and_good_ones_stay_as_they_are() {
    let world = World::new().await;
    let lines = "v1.0.0\nv1.1\nlatest\n\u{0}\nv1.2.0 2024-01-02T03:04:05Z\nv1.3.0 yesterday\n  v2.0.0+incompatible  \r\nv0.0.0-20240102030405-0123456789ab\n<b>v9.0.0</b>\n";
    world.fake.set(&target("@v/list"), Act::ok("text/plain", lines));
    let kept = "v1.0.0\nv1.2.0 2024-01-02T03:04:05Z\nv1.3.0\nv2.0.0+incompatible\nv0.0.0-20240102030405-0123456789ab\n";
    for status in [CacheStatus::Miss, CacheStatus::Hit] {
        assert_eq!(world.get(&list()).await.unwrap(), (status, kept.as_bytes().to_vec()));
    }
}

#[tokio::test]
async fn what_is_no_version_is_absent_without_a_request() {
    let world = World::new().await;
    for ask in [ModuleAsk::NoVersion("main".into()), ModuleAsk::Alias(crate::protocol::Ext::Zip), ModuleAsk::Query("a/../b".into())] {
        assert_eq!(world.absence(&ask).await.code, 404);
    }
    assert!(world.fake.seen().is_empty());
}

#[tokio::test]
async fn a_private_path_is_denied_and_nothing_goes_out_even_when_something_stale_is_there() {
    let world = World::new().await;
    stock(&world.fake);
    world.get(&list()).await.unwrap();
    world.records.host("example.com/m", "owner");
    let seen = world.fake.seen().len();
    // Neither in the background, nor where it is asked first.
    world.pass(FRESH);
    assert_eq!(world.get(&list()).await.unwrap().0, CacheStatus::Stale);
    world.pass(STALE);
    assert!(matches!(world.ask(&list()).await, Err(CacheError::Denied(_))));
    let corp = "corp.example.com/x".parse().unwrap();
    assert!(matches!(world.cache.resolve(&corp, &list(), TEST).await, Err(CacheError::Denied(_))));
    assert_eq!(world.fake.seen().len(), seen);
}

#[tokio::test]
async fn a_path_that_turns_private_during_a_redirect_goes_no_further() {
    let world = World::new().await;
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    world.fake.set(&target("@v/list"), Act::Gate(gate.clone(), Box::new(Act::redirect("/elsewhere"))));
    let cache = world.cache.clone();
    let asked = tokio::spawn(async move { cache.resolve(&"example.com/m".parse().unwrap(), &list(), TEST).await });
    while world.fake.seen().is_empty() {
        tokio::task::yield_now().await;
    }
    world.records.host("example.com/m", "owner");
    gate.add_permits(1);
    assert!(matches!(asked.await.unwrap(), Err(CacheError::Denied(_))));
    assert_eq!(world.fake.count("/elsewhere"), 0);
}

#[tokio::test]
async fn a_chain_falls_through_with_a_permit_for_each_hop() {
    let (first, second) = (Fake::start().await, Fake::start().await);
    stock(&second);
    let mut config = first.config();
    config.goproxy.push(second.hop());
    let mut world = World::over(first, config.clone(), ROOMY);
    assert_eq!(world.get(&list()).await.unwrap().1, b"v1.0.0\n");
    assert_eq!(world.records.permits.load(std::sync::atomic::Ordering::SeqCst), 2);
    // A cut answer is an error like any other: after `|` the next one is asked, after `,` it is not.
    let mod_target = target("@v/v1.0.0.mod");
    world.fake.set(&mod_target, Act::lying(100, b"module"));
    let ask = ModuleAsk::Mod(version("v1.0.0"));
    assert!(matches!(world.ask(&ask).await, Err(CacheError::Upstream(_))));
    config.goproxy[0].any_error = true;
    world.restart(&config, ROOMY);
    assert_eq!(world.get(&ask).await.unwrap().1, b"module example.com/m\n");
}

#[tokio::test]
async fn answers_carry_their_type_and_a_tag_that_outlives_a_restart() {
    let mut world = World::new().await;
    let asks = stock(&world.fake);
    let text = "text/plain; charset=utf-8";
    let types = [text, "application/json", "application/json", "application/json", text, "application/zip"];
    let mut tags = Vec::new();
    for round in 0..3 {
        for (i, ask) in asks.iter().enumerate() {
            let Ok(Resolved::Found(cached)) = world.ask(ask).await else { panic!("{ask:?}") };
            assert_eq!(cached.content_type, types[i]);
            let tag = cached.etag.unwrap();
            assert_eq!(tag.starts_with("W/\"h1:"), i == 5);
            if round == 0 { tags.push(tag) } else { assert_eq!(tag, tags[i]) }
        }
        if round == 1 {
            let config = world.fake.config();
            world.restart(&config, ROOMY);
        }
    }
}

#[test]
fn cache_status_is_that_of_rfc_9211() {
    let all = [CacheStatus::Hit, CacheStatus::Miss, CacheStatus::Stale, CacheStatus::Offline, CacheStatus::Bypass];
    let texts = ["modgate; hit", "modgate; fwd=miss", "modgate; fwd=stale", "modgate; fwd=stale; detail=offline", "modgate; fwd=bypass"];
    assert_eq!(all.map(|status| status.to_string()), texts);
}

#[tokio::test]
async fn paths_that_somebody_made_up_leave_few_folders_and_no_more_than_an_eighth_of_the_entries() {
    let folders = |world: &World| {
        let mut count = 0;
        let mut left = vec![world.dir.path().join("cache")];
        while let Some(dir) = left.pop() {
            let below = std::fs::read_dir(dir).unwrap().map(|item| item.unwrap().path()).filter(|path| path.is_dir());
            left.extend(below.inspect(|_| count += 1));
        }
        count
    };
    let world = World::with(1 << 20).await;
    let path: ModulePath = format!("example.com{}", "/a".repeat(500)).parse().unwrap();
    for number in 0..140 {
        let ask = ModuleAsk::Mod(version(&format!("v1.{number}.0")));
        assert!(matches!(world.cache.resolve(&path, &ask, TEST).await.unwrap(), Resolved::Absent(_)));
    }
    assert_eq!((folders(&world), world.cache.usage().entries), (2, 128));
}

#[tokio::test]
async fn an_absence_that_an_older_version_kept_counts_until_upstream_is_asked_again() {
    let mut world = World::new().await;
    let ask = ModuleAsk::Mod(version("v1.9.0"));
    let key = "queries/example.com/m/@v/v1.9.0.mod";
    let now = *world.now.lock().unwrap();
    std::fs::create_dir_all(world.file(key).parent().unwrap()).unwrap();
    std::fs::write(world.file(key), memo::Memo::new(key, 404, now, b"not found\n").file(b"not found\n").unwrap()).unwrap();
    let config = world.fake.config();
    world.restart_after_kill(&config, ROOMY);
    assert_eq!(world.absence(&ask).await.status, CacheStatus::Hit);
    world.pass(NOT_FOUND);
    assert_eq!(world.absence(&ask).await.status, CacheStatus::Miss);
    assert!(!world.file(key).exists());
    assert_eq!((world.absence(&ask).await.status, files(&world.file("absent")).len()), (CacheStatus::Hit, 1));
}

#[tokio::test]
async fn of_an_answer_and_an_absence_that_a_crash_left_both_the_later_counts() {
    let world = World::new().await;
    stock(&world.fake);
    world.get(&list()).await.unwrap();
    world.fake.set(&target("@v/list"), Act::status(404, "text/plain", "gone\n"));
    world.pass(STALE);
    // As if the process had been killed before the old answer was removed.
    world.fail(Step::Remove, "/queries/");
    world.absence(&list()).await;
    world.heal();
    assert!(world.file("queries/example.com/m/@v/list").exists());
    assert_eq!(world.absence(&list()).await.status, CacheStatus::Hit);
    world.pass(NOT_FOUND);
    stock(&world.fake);
    world.fail(Step::Remove, "/absent/");
    assert_eq!(world.get(&list()).await.unwrap().0, CacheStatus::Miss);
    assert_eq!((world.get(&list()).await.unwrap().0, files(&world.file("absent")).len()), (CacheStatus::Hit, 1));
}
