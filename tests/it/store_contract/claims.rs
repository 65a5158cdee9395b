//! Hosts that a publish makes private, and hosts that an operator makes public.

use super::*;

#[test]
fn the_first_publish_under_a_host_claims_it_and_a_release_is_for_good() {
    over_all(|place| async move {
        let mut stores = place.open();
        let claiming = |name: &str, v: &str| NewVersion { claim: Some("corp.example.com".to_owned()), ..module("alice", name, v, "one") };
        let first = publish(&stores, claiming("corp.example.com/a", "v1.0.0"), "one").await.unwrap();
        assert!(matches!(&first, Publish::Created { claimed: Some(host), .. } if host == "corp.example.com"), "{first:?}");
        let second = publish(&stores, claiming("corp.example.com/b", "v1.0.0"), "one").await.unwrap();
        assert!(matches!(second, Publish::Created { claimed: None, .. }), "{second:?}");
        // The claim outlives the version that made it.
        delete(&stores, "alice", "corp.example.com/a", "v1.0.0").await;
        for _ in 0..2 {
            let index = stores.records.hosted_index().await.unwrap();
            let claim = &index.claims["corp.example.com"];
            assert_eq!((claim.path.as_str(), claim.owner.as_str(), claim.by.as_str()), ("corp.example.com/a", "alice", "user:alice"));
            drop(stores);
            stores = place.open();
        }
        assert!(matches!(stores.records.release_host("corp.example.com", "admin").await.unwrap(), Release::Released(_)));
        assert_eq!(stores.records.release_host("corp.example.com", "admin").await.unwrap(), Release::Absent);
        for v in ["v1.1.0", "v1.2.0"] {
            let again = publish(&stores, claiming("corp.example.com/b", v), "one").await.unwrap();
            assert!(matches!(again, Publish::Created { claimed: None, .. }), "{again:?}");
            let index = stores.records.hosted_index().await.unwrap();
            assert!(index.claims.is_empty() && index.released.contains("corp.example.com"));
            drop(stores);
            stores = place.open();
        }
    });
}

#[test]
fn a_failed_publish_claims_nothing() {
    over_all(|place| async move {
        let stores = place.open();
        plain(&stores, "alice", "corp.example.com/lib", "v1.0.0", "one").await;
        let new = NewVersion { claim: Some("corp.example.com".to_owned()), ..module("bob", "corp.example.com/lib", "v1.1.0", "one") };
        assert_eq!(publish(&stores, new, "one").await.unwrap(), Publish::NotYours);
        assert!(stores.records.hosted_index().await.unwrap().claims.is_empty());
    });
}

#[test]
fn what_needs_a_claim_is_not_published_without_one() {
    over_all(|place| async move {
        let stores = place.open();
        let needing = |name: &str, claim: Option<&str>| {
            let new = module("alice", name, "v1.0.0", "one");
            NewVersion { claim: claim.map(str::to_owned), needs_claim: true, ..new }
        };
        let host = Some("corp.example.com");
        // The claim of another host is no claim of this one.
        for claim in [None, Some("example.org")] {
            let refused = publish(&stores, needing("corp.example.com/a", claim), "one").await.unwrap();
            assert_eq!(refused, Publish::NotClaimed, "{claim:?}");
        }
        let first = publish(&stores, needing("corp.example.com/a", host), "one").await.unwrap();
        assert!(matches!(&first, Publish::Created { claimed: Some(_), .. }), "{first:?}");
        let second = publish(&stores, needing("corp.example.com/b", None), "one").await.unwrap();
        assert!(matches!(second, Publish::Created { claimed: None, .. }), "{second:?}");

        stores.records.release_host("corp.example.com", "admin").await.unwrap();
        let before = stores.records.hosted_index().await.unwrap();
        for claim in [host, None] {
            let refused = publish(&stores, needing("corp.example.com/c", claim), "one").await.unwrap();
            assert_eq!(refused, Publish::NotClaimed, "{claim:?}");
        }
        assert!(stores.records.module(&path("corp.example.com/c")).await.unwrap().is_none());
        assert_eq!(stores.records.hosted_index().await.unwrap().rev, before.rev);
        // What needs none is published all the same.
        let open = publish(&stores, NewVersion { needs_claim: false, ..needing("corp.example.com/c", host) }, "one").await.unwrap();
        assert!(matches!(open, Publish::Created { claimed: None, .. }), "{open:?}");
    });
}

#[test]
fn a_host_made_public_stays_so_is_not_claimed_and_can_be_undone() {
    over_all(|place| async move {
        let mut stores = place.open();
        let MakePublic::Public(rev) = stores.records.make_public("Open.example.com", "operator").await.unwrap() else { panic!() };
        // Again it is no change.
        assert_eq!(stores.records.make_public("open.example.com", "another").await.unwrap(), MakePublic::Public(rev));
        let claiming = |name: &str, v: &str| NewVersion { claim: Some("open.example.com".to_owned()), ..module("alice", name, v, "one") };
        for v in ["v1.0.0", "v1.1.0"] {
            let index = stores.records.hosted_index().await.unwrap();
            let made = &index.made_public["open.example.com"];
            assert_eq!((made.rev, made.by.as_str()), (rev, "operator"));
            let new = publish(&stores, claiming("open.example.com/a", v), "one").await.unwrap();
            assert!(matches!(new, Publish::Created { claimed: None, .. }), "{new:?}");
            let needing = NewVersion { needs_claim: true, ..claiming("open.example.com/b", v) };
            assert_eq!(publish(&stores, needing, "one").await.unwrap(), Publish::NotClaimed);
            drop(stores);
            stores = place.open();
        }
        assert!(matches!(stores.records.release_host("open.example.com", "operator").await.unwrap(), Release::Released(_)));
        assert_eq!(stores.records.release_host("open.example.com", "operator").await.unwrap(), Release::Absent);
        drop(stores);
        stores = place.open();
        let index = stores.records.hosted_index().await.unwrap();
        // As if it had never been: the next publish may claim it.
        assert!(index.made_public.is_empty() && index.released.is_empty());
        let new = publish(&stores, claiming("open.example.com/c", "v1.0.0"), "one").await.unwrap();
        assert!(matches!(new, Publish::Created { claimed: Some(_), .. }), "{new:?}");
        assert_eq!(stores.records.make_public("open.example.com", "operator").await.unwrap(), MakePublic::Claimed);
        assert!(stores.records.hosted_index().await.unwrap().made_public.is_empty());
    });
}
