//! What every implementation of the stores must satisfy, run over each.

use std::future::Future;
use std::io::{Read as _, Write as _};
use std::sync::Arc;

use modgate::module::{H1, ModulePath, OwnerName, Version};
use modgate::stop::Stop;
use modgate::store::{
    BlobId, DataDir, Delete, Embedded, Ledger, MakePublic, NewVersion, Pin, Publish, Release, Rev, Scope, Seal, StoreError, Stores,
    TokenHash, TokenRecord, VersionRecord,
};
use sha2::{Digest as _, Sha256};

mod blobs;
mod claims;
mod ledger;
mod moves;

/// Somewhere that stores can be opened, closed and opened again.
trait Place {
    /// Opens the stores. Those opened before are gone.
    fn open(&self) -> Stores;
}

struct EmbeddedPlace(tempfile::TempDir);

impl Place for EmbeddedPlace {
    fn open(&self) -> Stores {
        let data = Arc::new(DataDir::open(self.0.path()).unwrap());
        let (stores, report) = Embedded::open(&data).unwrap();
        assert_eq!(report.findings, []);
        stores
    }
}

/// Runs a test of the contract over every implementation.
fn over_all<F: Future<Output = ()>>(test: impl Fn(Box<dyn Place>) -> F) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(test(Box::new(EmbeddedPlace(tempfile::tempdir().unwrap()))));
}

pub(super) fn owner(name: &str) -> OwnerName {
    name.parse().unwrap()
}

pub(super) fn path(text: &str) -> ModulePath {
    text.parse().unwrap()
}

pub(super) fn version(text: &str) -> Version {
    text.parse().unwrap()
}

pub(super) async fn put(stores: &Stores, bytes: &[u8]) -> (BlobId, Pin) {
    try_put(stores, bytes).await.unwrap()
}

async fn try_put(stores: &Stores, bytes: &[u8]) -> Result<(BlobId, Pin), StoreError> {
    let mut staged = stores.blobs.stage().await?;
    staged.file.write_all(bytes).unwrap();
    let id = id_of(bytes);
    Ok((id, stores.blobs.put(id, staged).await?))
}

pub(super) fn id_of(bytes: &[u8]) -> BlobId {
    BlobId { sha256: Sha256::digest(bytes).into(), len: bytes.len() as u64 }
}

pub(super) async fn read(stores: &Stores, id: &BlobId) -> Option<Vec<u8>> {
    let file = stores.blobs.open(id).await.unwrap()?;
    let mut bytes = Vec::new();
    (&*file).read_to_end(&mut bytes).unwrap();
    Some(bytes)
}

/// A version whose zip holds `content`; nobody looks into it.
pub(super) fn module(by: &str, module: &str, v: &str, content: &str) -> NewVersion {
    let (zip, go_mod) = (format!("zip of {module} {content}"), format!("module {module}\n"));
    NewVersion {
        owner: owner(by),
        path: path(module),
        version: version(v),
        h1: H1(Sha256::digest(&zip).into()),
        go_mod_h1: H1(Sha256::digest(&go_mod).into()),
        zip: id_of(zip.as_bytes()),
        go_mod: id_of(go_mod.as_bytes()),
        by: format!("user:{by}"),
        shadows: false,
        claim: None,
        needs_claim: false,
        max_bytes: None,
    }
}

/// Puts the blobs and publishes.
pub(super) async fn publish(stores: &Stores, new: NewVersion, content: &str) -> Result<Publish, StoreError> {
    let zip = try_put(stores, format!("zip of {} {content}", new.path).as_bytes()).await?;
    let go_mod = try_put(stores, format!("module {}\n", new.path).as_bytes()).await?;
    assert_eq!((zip.0, go_mod.0), (new.zip, new.go_mod));
    stores.records.publish(new).await
}

/// Publishes `content` as `name@v` of `by`, with nothing special about it.
pub(super) async fn plain(stores: &Stores, by: &str, name: &str, v: &str, content: &str) -> Publish {
    publish(stores, module(by, name, v, content), content).await.unwrap()
}

pub(super) async fn record(stores: &Stores, name: &str, v: &str) -> Option<VersionRecord> {
    let module = stores.records.module(&path(name)).await.unwrap()?;
    module.versions.iter().find(|record| record.version == version(v)).cloned()
}

pub(super) async fn delete(stores: &Stores, by: &str, name: &str, v: &str) -> Delete {
    stores.records.delete(&owner(by), &path(name), &version(v), by).await.unwrap()
}

pub(super) fn token(id: &str, seed: u8) -> TokenRecord {
    TokenRecord {
        id: id.to_owned(),
        name: format!("the token {id}"),
        hash: TokenHash([seed; 32]),
        scopes: vec![Scope::Read, Scope::Publish],
        owners: vec![owner("platform")],
        created_unix: 1_700_000_000,
        expires_unix: None,
    }
}

#[test]
fn what_was_published_is_there_and_stays_there() {
    over_all(|place| async move {
        let stores = place.open();
        let created = plain(&stores, "alice", "corp.example.com/lib", "v1.0.0", "one").await;
        let Publish::Created { rev, new_path: true, claimed: None } = created else { panic!("{created:?}") };
        let Publish::Created { rev: later, new_path: false, .. } = plain(&stores, "alice", "corp.example.com/lib", "v1.2.0", "two").await
        else {
            panic!("the second was not created")
        };
        assert!(later > rev);
        plain(&stores, "alice", "corp.example.com/lib", "v1.10.0", "three").await;
        drop(stores);
        let stores = place.open();
        let lib = stores.records.module(&path("corp.example.com/lib")).await.unwrap().unwrap();
        assert_eq!(lib.owner, owner("alice"));
        let versions: Vec<&str> = lib.versions.iter().map(|record| record.version.as_str()).collect();
        assert_eq!(versions, ["v1.0.0", "v1.2.0", "v1.10.0"]);
        assert_eq!(read(&stores, &lib.versions[1].zip).await.unwrap(), b"zip of corp.example.com/lib two");
        assert_eq!(lib.versions[0].rev, rev);
        assert!(stores.records.hosted_index().await.unwrap().rev >= later);
    });
}

#[test]
fn a_version_is_published_once() {
    over_all(|place| async move {
        let stores = place.open();
        let new = module("alice", "corp.example.com/lib", "v1.0.0", "one");
        plain(&stores, "alice", "corp.example.com/lib", "v1.0.0", "one").await;
        for content in ["one", "two"] {
            let again = plain(&stores, "alice", "corp.example.com/lib", "v1.0.0", content).await;
            assert_eq!(again, Publish::VersionExists(new.h1, new.go_mod_h1));
        }
        assert_eq!(record(&stores, "corp.example.com/lib", "v1.0.0").await.unwrap().zip, new.zip);
    });
}

#[test]
fn of_many_uploads_of_one_version_one_wins_and_the_others_leave_nothing() {
    over_all(|place| async move {
        let stores = place.open();
        let uploads = (0..8).map(|n| {
            let stores = stores.clone();
            tokio::spawn(async move {
                let content = format!("content {n}");
                (content.clone(), plain(&stores, "alice", "corp.example.com/lib", "v1.0.0", &content).await)
            })
        });
        let mut winners = Vec::new();
        for done in futures::future::join_all(uploads).await {
            let (content, outcome) = done.unwrap();
            match outcome {
                Publish::Created { .. } => winners.push(content),
                Publish::VersionExists(..) => {}
                other => panic!("{other:?}"),
            }
        }
        let [winner] = winners.as_slice() else { panic!("{winners:?} won") };
        let held = record(&stores, "corp.example.com/lib", "v1.0.0").await.unwrap();
        for n in 0..8 {
            let id = module("alice", "corp.example.com/lib", "v1.0.0", &format!("content {n}")).zip;
            stores.blobs.sweep(&id).await.unwrap();
            assert_eq!(read(&stores, &id).await.is_some(), *winner == format!("content {n}"));
        }
        assert_eq!(held.h1, module("alice", "corp.example.com/lib", "v1.0.0", winner).h1);
        assert_eq!(stores.verify.verify(&Stop::default()).await.unwrap().findings, []);
    });
}

#[test]
fn of_two_owners_racing_for_a_path_one_gets_it() {
    over_all(|place| async move {
        let stores = place.open();
        for round in 0..10 {
            let name = format!("corp.example.com/race{round}");
            let (a, b) = tokio::join!(plain(&stores, "alice", &name, "v1.0.0", "alice's"), plain(&stores, "bob", &name, "v1.1.0", "bob's"));
            let created = |outcome: &Publish| matches!(outcome, Publish::Created { new_path: true, .. });
            assert!(created(&a) != created(&b), "{a:?} {b:?}");
            assert!(a == Publish::NotYours || b == Publish::NotYours);
            let module = stores.records.module(&path(&name)).await.unwrap().unwrap();
            assert_eq!((module.owner.as_str(), module.versions.len()), (if created(&a) { "alice" } else { "bob" }, 1));
        }
    });
}

#[test]
fn above_below_and_beside_in_another_case_belong_to_the_first_owner_unless_shadowed() {
    over_all(|place| async move {
        let stores = place.open();
        plain(&stores, "alice", "corp.example.com/team/lib", "v1.0.0", "one").await;
        for name in [
            "corp.example.com/team",
            "corp.example.com",
            "corp.example.com/team/lib/sub",
            "corp.example.com/Team/LIB",
            "corp.example.com/TEAM/lib/x",
        ] {
            assert_eq!(plain(&stores, "bob", name, "v1.0.0", "one").await, Publish::OutsideOwner, "{name}");
            assert!(stores.records.module(&path(name)).await.unwrap().is_none());
        }
        for name in ["corp.example.com/team/library", "corp.example.com/tea", "corp.example.com/team/li"] {
            assert!(matches!(plain(&stores, "bob", name, "v1.0.0", "one").await, Publish::Created { .. }), "{name}");
        }
        for name in ["corp.example.com/Team/lib", "corp.example.com/team/lib/v2"] {
            assert!(matches!(plain(&stores, "alice", name, "v1.0.0", "one").await, Publish::Created { .. }), "{name}");
        }
        let mut shadowing = module("bob", "corp.example.com/team/lib/sub", "v1.0.0", "one");
        shadowing.shadows = true;
        assert!(matches!(publish(&stores, shadowing, "one").await.unwrap(), Publish::Created { .. }));
        // The path's owner was settled at its first version.
        assert!(matches!(plain(&stores, "bob", "corp.example.com/team/lib/sub", "v1.1.0", "two").await, Publish::Created { .. }));
        // Not even shadowing takes another's path.
        let mut shadowing = module("bob", "corp.example.com/team/lib", "v1.5.0", "one");
        shadowing.shadows = true;
        assert_eq!(publish(&stores, shadowing, "one").await.unwrap(), Publish::NotYours);
    });
}

#[test]
fn deleting_the_last_version_leaves_a_tombstone_until_it_is_released() {
    over_all(|place| async move {
        let mut stores = place.open();
        let lib = path("corp.example.com/lib");
        plain(&stores, "alice", lib.as_str(), "v1.0.0", "one").await;
        plain(&stores, "alice", lib.as_str(), "v1.1.0", "two").await;
        assert_eq!(delete(&stores, "bob", lib.as_str(), "v1.0.0").await, Delete::Absent);
        assert!(matches!(delete(&stores, "alice", lib.as_str(), "v1.0.0").await, Delete::Deleted { last: false, .. }));
        assert_eq!(stores.records.release_path(&lib, "admin").await.unwrap(), Release::Hosted);
        assert!(matches!(delete(&stores, "alice", lib.as_str(), "v1.1.0").await, Delete::Deleted { last: true, .. }));
        assert_eq!(delete(&stores, "alice", lib.as_str(), "v1.1.0").await, Delete::Absent);
        for _ in 0..2 {
            let index = stores.records.hosted_index().await.unwrap();
            assert!(index.hosted.is_empty());
            assert_eq!(index.tombstones.get(&lib), Some(&owner("alice")));
            assert_eq!(plain(&stores, "bob", lib.as_str(), "v1.0.0", "one").await, Publish::NotYours);
            assert_eq!(plain(&stores, "bob", "corp.example.com/lib/sub", "v1.0.0", "one").await, Publish::OutsideOwner);
            assert!(stores.records.module(&lib).await.unwrap().is_none());
            drop(stores);
            stores = place.open();
        }
        assert!(matches!(stores.records.release_path(&lib, "admin").await.unwrap(), Release::Released(_)));
        assert_eq!(stores.records.release_path(&lib, "admin").await.unwrap(), Release::Absent);
        assert!(matches!(plain(&stores, "bob", lib.as_str(), "v1.0.0", "one").await, Publish::Created { new_path: true, .. }));
        drop(stores);
        let stores = place.open();
        let index = stores.records.hosted_index().await.unwrap();
        assert_eq!((index.hosted.get(&lib), index.tombstones.len()), (Some(&owner("bob")), 0));
    });
}

#[test]
fn the_owner_of_a_tombstone_publishes_again() {
    over_all(|place| async move {
        let stores = place.open();
        plain(&stores, "alice", "corp.example.com/lib", "v1.0.0", "one").await;
        delete(&stores, "alice", "corp.example.com/lib", "v1.0.0").await;
        let again = plain(&stores, "alice", "corp.example.com/lib", "v1.0.0", "other").await;
        assert!(matches!(again, Publish::Created { new_path: false, .. }), "{again:?}");
        let index = stores.records.hosted_index().await.unwrap();
        assert_eq!((index.hosted.len(), index.tombstones.len()), (1, 0));
    });
}

fn sealed_other(held: &VersionRecord, yours: bool) -> Publish {
    Publish::SealedOther { h1: held.h1, go_mod_h1: held.go_mod_h1, yours }
}

#[test]
fn a_seal_outlives_the_version_the_tombstone_and_its_release() {
    over_all(|place| async move {
        let mut stores = place.open();
        let name = "corp.example.com/lib";
        plain(&stores, "alice", name, "v1.0.0", "one").await;
        let held = record(&stores, name, "v1.0.0").await.unwrap();
        assert_eq!(stores.records.sealed(&path(name), &version("v1.0.0")).await.unwrap(), None);
        for first in [true, false] {
            assert_eq!(stores.records.seal(&held).await.unwrap(), Seal::Sealed { first });
        }
        delete(&stores, "alice", name, "v1.0.0").await;
        assert_eq!(stores.records.seal(&held).await.unwrap(), Seal::Gone);
        for round in 0..3 {
            let sealed = Some((held.h1, held.go_mod_h1));
            assert_eq!(
                stores.records.sealed(&path(name), &version("v1.0.0")).await.unwrap().map(|sealed| (sealed.h1, sealed.go_mod_h1)),
                sealed
            );
            assert_eq!(plain(&stores, "alice", name, "v1.0.0", "other").await, sealed_other(&held, true));
            if round > 0 {
                // Released, the path is anybody's; the hashes are not.
                assert_eq!(plain(&stores, "bob", name, "v1.0.0", "other").await, sealed_other(&held, false));
            }
            if round == 0 {
                stores.records.release_path(&path(name), "admin").await.unwrap();
            }
            drop(stores);
            stores = place.open();
        }
        assert!(matches!(plain(&stores, "bob", name, "v1.0.0", "one").await, Publish::Created { .. }));
        let again = record(&stores, name, "v1.0.0").await.unwrap();
        assert_eq!(stores.records.seal(&again).await.unwrap(), Seal::Sealed { first: false });
    });
}

#[test]
fn what_was_never_shown_may_be_published_otherwise() {
    over_all(|place| async move {
        let stores = place.open();
        let name = "corp.example.com/lib";
        plain(&stores, "alice", name, "v1.0.0", "one").await;
        let old = record(&stores, name, "v1.0.0").await.unwrap();
        delete(&stores, "alice", name, "v1.0.0").await;
        assert!(matches!(plain(&stores, "alice", name, "v1.0.0", "other").await, Publish::Created { .. }));
        assert_eq!(stores.records.seal(&old).await.unwrap(), Seal::Gone);
        assert_eq!(stores.records.sealed(&path(name), &version("v1.0.0")).await.unwrap(), None);
    });
}

#[test]
fn revisions_rise_and_are_announced() {
    over_all(|place| async move {
        let stores = place.open();
        let mut changes = stores.records.changes();
        let mut last = *changes.borrow_and_update();
        for n in 0..5 {
            let Publish::Created { rev, .. } = plain(&stores, "alice", "corp.example.com/lib", &format!("v1.{n}.0"), "one").await else {
                panic!("not created")
            };
            changes.changed().await.unwrap();
            assert!(rev > last && *changes.borrow_and_update() >= rev);
            assert!(stores.records.hosted_index().await.unwrap().rev >= rev);
            last = rev;
        }
        drop(stores);
        let stores = place.open();
        assert!(*stores.records.changes().borrow() >= last);
        let Delete::Deleted { rev, .. } = delete(&stores, "alice", "corp.example.com/lib", "v1.0.0").await else { panic!("not deleted") };
        assert!(rev > last);
    });
}

#[test]
fn a_snapshot_never_changes() {
    over_all(|place| async move {
        let stores = place.open();
        plain(&stores, "alice", "corp.example.com/a", "v1.0.0", "one").await;
        let before = stores.records.hosted_index().await.unwrap();
        plain(&stores, "alice", "corp.example.com/b", "v1.0.0", "one").await;
        assert_eq!(before.hosted.len(), 1);
        assert_eq!(stores.records.hosted_index().await.unwrap().hosted.len(), 2);
    });
}

#[test]
fn tokens_are_found_by_hash_listed_by_age_and_revoked() {
    over_all(|place| async move {
        let mut stores = place.open();
        let (zeta, alpha) = (token("zeta", 1), token("alpha", 2));
        let first: Rev = stores.records.token_put(zeta.clone()).await.unwrap();
        assert!(stores.records.token_put(alpha.clone()).await.unwrap() > first);
        for _ in 0..2 {
            assert_eq!(*stores.records.token(&zeta.hash).await.unwrap().unwrap(), zeta);
            let all: Vec<TokenRecord> = stores.records.tokens().await.unwrap().iter().map(|t| (**t).clone()).collect();
            assert_eq!(all, [zeta.clone(), alpha.clone()]);
            drop(stores);
            stores = place.open();
        }
        assert!(stores.records.token_revoke("zeta").await.unwrap());
        assert!(!stores.records.token_revoke("zeta").await.unwrap());
        assert!(!stores.records.token_revoke("never").await.unwrap());
        for _ in 0..2 {
            assert!(stores.records.token(&zeta.hash).await.unwrap().is_none());
            assert_eq!(stores.records.tokens().await.unwrap().len(), 1);
            drop(stores);
            stores = place.open();
        }
    });
}

#[test]
fn verification_is_clean_while_versions_come_and_go() {
    over_all(|place| async move {
        let stores = place.open();
        let busy = {
            let stores = stores.clone();
            tokio::spawn(async move {
                for n in 0..30 {
                    let content = format!("content {n}");
                    plain(&stores, "alice", "corp.example.com/lib", "v1.0.0", &content).await;
                    plain(&stores, "alice", "corp.example.com/lib", &format!("v1.{}.0", n + 1), &content).await;
                    delete(&stores, "alice", "corp.example.com/lib", "v1.0.0").await;
                }
            })
        };
        while !busy.is_finished() {
            assert_eq!(stores.verify.verify(&Stop::default()).await.unwrap().findings, []);
        }
        busy.await.unwrap();
        let verified = stores.verify.verify(&Stop::default()).await.unwrap();
        assert_eq!((verified.hosted, verified.findings), (30, vec![]));
    });
}
