//! Races and failures on the way out.

use std::sync::Arc;

use super::world::{World, path};
use crate::durable::Disk;
use crate::egress::{Denied, Gate, Rule};
use crate::observe::audit::Audit;
use crate::observe::metrics::Metrics;
use crate::store::StoreError;
use crate::store::double::Double;

const PUBLIC: &str = "example.org/lib";

fn meanwhile(world: &World, change: impl FnOnce(&Double) + Send + 'static) {
    *world.store.meanwhile.lock().unwrap() = Some(Box::new(change));
}

#[tokio::test]
async fn a_path_leaves_with_one_ledger_line_however_often() {
    let world = World::new("modgate.toml");
    let gate = world.gate();
    for principal in ["user:alice", "anonymous"] {
        assert_eq!(gate.permit(&path(PUBLIC), principal).await.unwrap().path(), &path(PUBLIC));
    }
    let ledger = world.store.ledger.lock().unwrap();
    let lines: Vec<_> = ledger.iter().map(|line| (line.path.as_str(), line.principal.as_str(), line.rule.as_str())).collect();
    assert_eq!(lines, [(PUBLIC, "user:alice", "public")]);
}

#[tokio::test]
async fn a_publish_while_the_ledger_is_written_stops_the_path() {
    type Change = fn(&Double);
    let cases: [(&str, Change); 4] = [
        ("hosted", |store| store.host(PUBLIC, "platform")),
        ("ancestor", |store| store.host("example.org/lib/sub", "platform")),
        ("below", |store| store.host("example.org", "platform")),
        ("claim", |store| store.claim("example.org", "example.org/other")),
    ];
    for (rule, change) in cases {
        let world = World::new("modgate.toml");
        meanwhile(&world, change);
        let denied = world.gate().permit(&path(PUBLIC), "anonymous").await.unwrap_err();
        let Denied::Private(verdict) = denied else { panic!("{denied}") };
        assert_eq!(verdict.rule.name(), rule);
    }
}

#[tokio::test]
async fn a_policy_that_comes_into_force_while_the_ledger_is_written_stops_the_path() {
    let mut world = World::new("modgate.toml");
    let gate = Arc::new(world.gate());
    world.pattern("example.org", 3);
    let (stricter, put) = (Arc::new(world.policy()), gate.clone());
    meanwhile(&world, move |_| put.enforce(stricter));
    let denied = gate.permit(&path(PUBLIC), "anonymous").await.unwrap_err();
    let Denied::Private(verdict) = denied else { panic!("{denied}") };
    assert_eq!(verdict.rule, Rule::Pattern);
}

#[tokio::test]
async fn an_unrelated_publish_while_the_ledger_is_written_stops_nothing() {
    let world = World::new("modgate.toml");
    meanwhile(&world, |store| store.host("code.example.com/a", "platform"));
    assert!(world.gate().permit(&path(PUBLIC), "anonymous").await.is_ok());
}

#[tokio::test]
async fn strangers_do_not_fill_the_audit_trail_with_unknown_hosts() {
    let mut world = World::new("modgate.toml");
    world.unknown_hosts("audit");
    let (dir, metrics) = (tempfile::tempdir().unwrap(), Metrics::new().unwrap());
    let audit = Audit::open(dir.path(), &Disk::default(), "n0de", metrics.audit.clone()).unwrap();
    let gate = Gate::new(Arc::new(world.policy()), audit.clone());
    for n in 0..3 {
        gate.permit(&path(&format!("known{n}.example.com/m")), "anonymous").await.unwrap();
        gate.permit(&path(&format!("known{n}.example.com/other")), "anonymous").await.unwrap();
    }
    for n in 0..1500 {
        gate.permit(&path(&format!("made-up{n}.example.com/m")), "anonymous").await.unwrap();
    }
    audit.close();
    let lines = audit.page(time::OffsetDateTime::UNIX_EPOCH, None, 5000).unwrap().lines;
    assert_eq!(lines.len(), 1000);
    assert_eq!(lines.iter().filter(|line| line.contains("known")).filter(|line| !line.contains("made-up")).count(), 3);
    assert!(metrics.text().unwrap().contains("modgate_audit_events_total{event=\"unknown-host\"} 1506\n"));
}

#[tokio::test]
async fn without_a_ledger_nothing_leaves() {
    let world = World::new("modgate.toml");
    *world.store.ledger_fails.lock().unwrap() = true;
    let denied = world.gate().permit(&path(PUBLIC), "anonymous").await.unwrap_err();
    assert!(matches!(denied, Denied::Store(StoreError::Full)), "{denied}");
}

#[tokio::test]
async fn while_the_store_is_away_nothing_leaves_or_is_judged() {
    let world = World::new("modgate.toml");
    let gate = world.gate();
    assert!(gate.permit(&path(PUBLIC), "anonymous").await.is_ok());
    *world.store.away.lock().unwrap() = true;
    assert!(matches!(gate.permit(&path(PUBLIC), "anonymous").await, Err(Denied::Store(_))));
    assert!(gate.policy().decide(&path(PUBLIC)).await.is_err());

    let world = World::new("modgate.toml");
    meanwhile(&world, |store| *store.away.lock().unwrap() = true);
    assert!(matches!(world.gate().permit(&path(PUBLIC), "anonymous").await, Err(Denied::Store(_))));
}

#[tokio::test]
async fn a_tombstone_counts_from_its_first_moment_to_its_last() {
    let world = World::new("modgate.toml");
    let gate = world.gate();
    assert!(gate.permit(&path(PUBLIC), "anonymous").await.is_ok());
    // Published and deleted between two questions: what is hosted is as before.
    world.store.host(PUBLIC, "platform");
    world.store.bury(PUBLIC, "platform");
    assert!(gate.permit(&path(PUBLIC), "anonymous").await.is_err());
    assert!(gate.permit(&path("example.org"), "anonymous").await.is_err());
    world.store.change(|index| index.tombstones.clear());
    assert!(gate.permit(&path(PUBLIC), "anonymous").await.is_ok());
}

#[tokio::test]
async fn claims_count_from_their_first_moment_to_their_last() {
    let world = World::new("modgate.toml");
    let gate = world.gate();
    assert!(gate.permit(&path(PUBLIC), "anonymous").await.is_ok());
    world.store.claim("example.org", "example.org/other");
    assert!(gate.permit(&path(PUBLIC), "anonymous").await.is_err());
    world.store.change(|index| index.claims.clear());
    assert!(gate.permit(&path(PUBLIC), "anonymous").await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_see_every_acknowledged_publish() {
    let world = World::new("modgate.toml");
    let gate = Arc::new(world.gate());
    let asked: Vec<_> = (0..16).map(|i| path(&format!("example.org/m{i}"))).collect();
    for (i, module) in asked.iter().enumerate() {
        let tasks = [0, 1].map(|_| {
            let (gate, module) = (Arc::clone(&gate), module.clone());
            tokio::spawn(async move { gate.permit(&module, "anonymous").await.is_ok() })
        });
        for task in tasks {
            assert!(task.await.unwrap(), "{i}");
        }
        world.store.host(module.as_str(), "platform");
        assert_eq!(gate.policy().decide(module).await.unwrap().rule, Rule::Hosted);
        assert!(gate.permit(module, "anonymous").await.is_err());
    }
}
