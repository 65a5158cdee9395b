//! A path that is given to another owner, what owners may hold, and versions that expire.

use modgate::store::{Holding, MovePath, Moved, OverQuota};

use super::*;

fn to(name: &str, by: &str) -> MovePath {
    MovePath { path: path(name), to: owner(by), needs_claim: false, max_bytes: None, by: "operator".to_owned() }
}

async fn holding(stores: &Stores, by: &str) -> Holding {
    stores.records.hosted_index().await.unwrap().holdings.get(&owner(by)).copied().unwrap_or_default()
}

#[test]
fn a_moved_path_is_the_new_owners_with_its_versions_seals_and_tombstone() {
    over_all(|place| async move {
        let mut stores = place.open();
        let name = "corp.example.com/lib";
        let moved = |outcome: Moved| matches!(outcome, Moved::Moved { from, .. } if from == owner("alice"));
        assert_eq!(stores.records.move_path(to(name, "bob")).await.unwrap(), Moved::Absent);
        plain(&stores, "alice", name, "v1.0.0", "one").await;
        plain(&stores, "alice", name, "v1.1.0", "two").await;
        plain(&stores, "alice", "corp.example.com/lib/sub", "v1.0.0", "one").await;
        let sealed = record(&stores, name, "v1.1.0").await.unwrap();
        stores.records.seal(&sealed).await.unwrap();
        delete(&stores, "alice", name, "v1.1.0").await;
        let before = record(&stores, name, "v1.0.0").await.unwrap();
        assert!(moved(stores.records.move_path(to(name, "bob")).await.unwrap()));
        assert_eq!(stores.records.move_path(to(name, "bob")).await.unwrap(), Moved::Theirs);
        for _ in 0..2 {
            let index = stores.records.hosted_index().await.unwrap();
            assert_eq!(index.hosted[&path(name)], owner("bob"));
            assert_eq!(index.hosted[&path("corp.example.com/lib/sub")], owner("alice"), "a path below is another path");
            // Its revision, by which it is named, stays.
            assert_eq!(record(&stores, name, "v1.0.0").await.unwrap(), VersionRecord { owner: owner("bob"), ..before.clone() });
            assert_eq!(plain(&stores, "alice", name, "v1.2.0", "two").await, Publish::NotYours);
            assert_eq!(delete(&stores, "alice", name, "v1.0.0").await, Delete::Absent);
            assert_eq!(plain(&stores, "bob", name, "v1.1.0", "other").await, sealed_other(&sealed, true));
            assert_eq!(stores.verify.verify(&Stop::default()).await.unwrap().findings, []);
            drop(stores);
            stores = place.open();
        }
        // A tombstone moves too.
        delete(&stores, "bob", name, "v1.0.0").await;
        assert!(matches!(stores.records.move_path(to(name, "carol")).await.unwrap(), Moved::Moved { from, .. } if from == owner("bob")));
        for _ in 0..2 {
            let index = stores.records.hosted_index().await.unwrap();
            assert_eq!((index.tombstones.get(&path(name)), index.hosted.len()), (Some(&owner("carol")), 1));
            assert_eq!(plain(&stores, "bob", name, "v1.0.0", "one").await, Publish::NotYours);
            drop(stores);
            stores = place.open();
        }
        assert!(matches!(plain(&stores, "carol", name, "v1.0.0", "one").await, Publish::Created { new_path: false, .. }));
    });
}

#[test]
fn what_only_a_claim_keeps_private_is_not_moved_without_it() {
    over_all(|place| async move {
        let stores = place.open();
        let name = "corp.example.com/lib";
        let needing = || MovePath { needs_claim: true, ..to(name, "bob") };
        plain(&stores, "alice", name, "v1.0.0", "one").await;
        assert_eq!(stores.records.move_path(needing()).await.unwrap(), Moved::NotClaimed);
        let claim = Some("corp.example.com".to_owned());
        publish(&stores, NewVersion { claim, ..module("alice", name, "v1.1.0", "two") }, "two").await.unwrap();
        assert!(matches!(stores.records.move_path(needing()).await.unwrap(), Moved::Moved { .. }));
        // The claim stays as it was made, also when the version that made it is deleted by its new owner.
        delete(&stores, "bob", name, "v1.1.0").await;
        drop(stores);
        let index = place.open().records.hosted_index().await.unwrap();
        assert_eq!(index.claims["corp.example.com"].owner, owner("alice"));
    });
}

#[test]
fn of_a_release_and_a_move_that_needs_the_claim_one_is_too_late() {
    over_all(|place| async move {
        let stores = place.open();
        for round in 0..20 {
            let host = format!("h{round}.example.com");
            let name = format!("{host}/lib");
            publish(&stores, NewVersion { claim: Some(host.clone()), ..module("alice", &name, "v1.0.0", "one") }, "one").await.unwrap();
            let ask = MovePath { needs_claim: true, ..to(&name, "bob") };
            let (released, moved) = tokio::join!(stores.records.release_host(&host, "admin"), stores.records.move_path(ask));
            let (Release::Released(released), moved) = (released.unwrap(), moved.unwrap()) else { panic!("not released") };
            match moved {
                Moved::Moved { rev, .. } => assert!(rev < released),
                other => assert_eq!(other, Moved::NotClaimed),
            }
        }
    });
}

#[test]
fn an_owner_holds_no_byte_more_than_it_may_whoever_publishes_at_once() {
    over_all(|place| async move {
        let mut stores = place.open();
        let size =
            module("alice", "corp.example.com/a0", "v1.0.0", "one").zip.len + module("x", "corp.example.com/a0", "v1.0.0", "").go_mod.len;
        let limit = 3 * size;
        let publishing = (0..8).map(|n| {
            let (stores, name) = (stores.clone(), format!("corp.example.com/a{n}"));
            async move {
                publish(&stores, NewVersion { max_bytes: Some(limit), ..module("alice", &name, "v1.0.0", "one") }, "one").await.unwrap()
            }
        });
        let outcomes = futures::future::join_all(publishing).await;
        let over = Publish::OverQuota(OverQuota { used: limit, size, limit });
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == over).count(), 5, "{outcomes:?}");
        assert_eq!(holding(&stores, "alice").await, Holding { versions: 3, bytes: limit });
        let kept = stores.records.hosted_index().await.unwrap().hosted.keys().next().unwrap().to_string();
        // One byte less is not enough, another owner's quota is its own, and deleting makes room.
        let new = |by: &str, max: u64| NewVersion { max_bytes: Some(max), ..module(by, "corp.example.com/b0", "v1.0.0", "one") };
        delete(&stores, "alice", &kept, "v1.0.0").await;
        let refused = publish(&stores, new("alice", limit - 1), "one").await.unwrap();
        assert_eq!(refused, Publish::OverQuota(OverQuota { used: 2 * size, size, limit: limit - 1 }));
        assert!(matches!(publish(&stores, new("alice", limit), "one").await.unwrap(), Publish::Created { .. }));
        plain(&stores, "bob", "example.org/bobs", "v1.0.0", "one").await;
        // A move is bound by it too, and takes its bytes along.
        let bobs = holding(&stores, "bob").await;
        let moving = |max: u64| MovePath { max_bytes: Some(max), ..to("example.org/bobs", "alice") };
        let refused = stores.records.move_path(moving(limit + bobs.bytes - 1)).await.unwrap();
        assert_eq!(refused, Moved::OverQuota(OverQuota { used: limit, size: bobs.bytes, limit: limit + bobs.bytes - 1 }));
        assert!(
            matches!(stores.records.move_path(moving(limit + bobs.bytes)).await.unwrap(), Moved::Moved { holding, .. } if holding == bobs)
        );
        for _ in 0..2 {
            assert_eq!(holding(&stores, "alice").await, Holding { versions: 4, bytes: limit + bobs.bytes });
            assert_eq!(holding(&stores, "bob").await, Holding::default());
            drop(stores);
            stores = place.open();
        }
    });
}

#[test]
fn only_the_very_version_that_was_looked_at_expires() {
    over_all(|place| async move {
        let stores = place.open();
        let name = "corp.example.com/lib";
        plain(&stores, "alice", name, "v1.0.0", "one").await;
        let old = record(&stores, name, "v1.0.0").await.unwrap();
        delete(&stores, "alice", name, "v1.0.0").await;
        plain(&stores, "alice", name, "v1.0.0", "one").await;
        assert_eq!(stores.records.expire(&old, "operator").await.unwrap(), Delete::Absent);
        let new = record(&stores, name, "v1.0.0").await.unwrap();
        stores.records.move_path(to(name, "bob")).await.unwrap();
        assert_eq!(stores.records.expire(&new, "operator").await.unwrap(), Delete::Absent, "it is another owner's by now");
        let new = record(&stores, name, "v1.0.0").await.unwrap();
        assert!(matches!(stores.records.expire(&new, "operator").await.unwrap(), Delete::Deleted { last: true, .. }));
    });
}
