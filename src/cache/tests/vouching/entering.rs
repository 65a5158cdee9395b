//! Fills, and what passes: the record beside the transfer.

use super::*;

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
        // Once, however often it is asked for; and counted.
        let recorded = world.mismatches(1).await;
        let counted = "modgate_audit_events_total{event=\"mismatch\"} 2\n";
        assert!(world.metrics.text().unwrap().contains(counted));
        let (ext, expected, found) = match ask {
            ModuleAsk::Mod(_) => (".mod", lie().go_mod, truth().go_mod),
            _ => (".zip", lie().zip, truth().zip),
        };
        assert_eq!(recorded.len(), 1);
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
