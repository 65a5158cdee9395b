//! So many transfers at once, and no more.

use super::*;

use crate::cache::queue::TRANSFERS_MAX;

fn branch(i: usize) -> ModuleAsk {
    ModuleAsk::Query(format!("branch-{i}"))
}

/// Sets so many questions to be answered when the gate opens, and one that is at once.
fn slow(world: &World) -> Arc<tokio::sync::Semaphore> {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let info = || Act::ok("application/json", r#"{"Version":"v1.0.0"}"#);
    for i in 0..TRANSFERS_MAX {
        world.fake.set(&target(&format!("@v/branch-{i}.info")), Act::Gate(gate.clone(), Box::new(info())));
    }
    world.fake.set(&target("@v/main.info"), info());
    gate
}

#[tokio::test(flavor = "multi_thread")]
async fn when_too_many_transfers_are_under_way_the_next_waits_and_what_is_kept_is_served() {
    let world = World::patient().await;
    stock(&world.fake);
    world.get(&list()).await.unwrap();
    world.pass(STALE);
    let gate = slow(&world);
    let queue = &world.cache.inner.stock.queue;
    let asked: Vec<_> = (0..TRANSFERS_MAX)
        .map(|i| {
            let cache = world.cache.clone();
            tokio::spawn(async move { cache.resolve(&"example.com/m".parse().unwrap(), &branch(i), TEST).await.map(drop) })
        })
        .collect();
    until(|| queue.under_way() == TRANSFERS_MAX).await;

    let impatient = world.impatient();
    let path = "example.com/m".parse().unwrap();
    let main = ModuleAsk::Query("main".into());
    assert!(matches!(impatient.resolve(&path, &main, TEST).await, Err(CacheError::Busy(_))));
    // No absence, and no reason to withhold what is known.
    let stale = impatient.resolve(&path, &list(), TEST).await.unwrap();
    assert_eq!(read_or_panic_at_once(stale).await.unwrap().0, CacheStatus::Stale);
    assert_eq!(world.fake.count(&target("@v/main.info")), 0);

    let cache = world.cache.clone();
    let waiting =
        tokio::spawn(async move { cache.resolve(&"example.com/m".parse().unwrap(), &ModuleAsk::Query("main".into()), TEST).await });
    until(|| queue.waiting() == 1).await;
    gate.add_permits(TRANSFERS_MAX);
    assert_eq!(read_or_panic_at_once(waiting.await.unwrap().unwrap()).await.unwrap().0, CacheStatus::Miss);
    for one in asked {
        one.await.unwrap().unwrap();
    }
    assert_eq!((queue.under_way(), queue.waiting()), (0, 0));
}
