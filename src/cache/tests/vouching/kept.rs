//! What is kept: by what it was verified, and what becomes of it.

use super::*;

/// Another go.mod than the record says, as long as the right one.
const ROTTEN: &[u8] = b"module example.com/n\n";

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
async fn what_another_key_vouched_for_is_checked_before_it_is_served_again() {
    for memory in [0, 1 << 20] {
        let mut world = World::remembering(memory).await;
        world.require_of("the first key");
        stock(&world.fake);
        let asks = [go_mod(), zip("v1.0.0"), main()];
        for ask in &asks {
            world.get(ask).await.unwrap();
            world.get(ask).await.unwrap();
        }
        // And back: what the first vouched for meanwhile is not known any more.
        for identity in ["the second key", "the first key"] {
            let client = world.require_of(identity);
            for _ in 0..3 {
                for ask in &asks {
                    assert_eq!(world.get(ask).await.unwrap().0, CacheStatus::Hit, "{ask:?}");
                }
            }
            assert_eq!(client.counts().0, asks.len(), "{identity}, {memory}");
            // By the same key under other settings: nothing is to be found out.
            let client = world.require_of(identity);
            world.get(&go_mod()).await.unwrap();
            assert_eq!(client.counts().0, 0, "{identity}, {memory}");
        }
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
