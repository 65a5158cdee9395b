use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::*;
use crate::durable::{Disk, Faults, Step};
use crate::module::H1;
use crate::store::Embedded;
use crate::tlog::Record;

async fn open(dir: &Path) -> (Foundation, Operations) {
    let settings = format!("data_dir = {:?}\n[upstream]\ngoproxy = \"off\"\nsumdb = \"off\"\n", dir.display());
    Foundation::open(Config::from_toml(&settings).unwrap()).await.unwrap()
}

#[tokio::test]
async fn what_was_begun_is_done_and_recorded_though_nobody_waits_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let (_foundation, operations) = open(&dir.path().join("data")).await;
    let (operations, actor) = (Arc::new(operations), Actor::local(OPERATOR));
    let ask = json!({ "name": "ci", "scopes": ["read"], "owners": [], "expires_in_s": null });
    let mut begun = Box::pin(operations.begin("token-create", ask, &actor));
    assert!(futures::poll!(&mut begun).is_pending());
    drop(begun);
    operations.ended().await;
    let ask = json!({ "since": "2000-01-01T00:00:00Z", "after": null, "limit": 10 });
    let trail = operations.call("audit", ask, &actor).await.unwrap();
    assert!(trail.to_string().contains("token-made"), "{trail}");
    assert_eq!(operations.stores.records.tokens().await.unwrap().len(), 1);
}

#[tokio::test]
async fn whoever_asks_is_told_by_what_a_public_module_is_verified_and_that_it_is_not() {
    let explain = async |upstream: &str, module: &str| {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("modgate.toml");
        std::fs::write(&file, format!("data_dir = \"data\"\n[private]\npatterns = [\"corp.example.com\"]\n[upstream]\n{upstream}\n"))
            .unwrap();
        let flags = crate::config::Flags { config: Some(file.clone()), ..Default::default() };
        let loaded = crate::config::load(&flags, &crate::config::Environment::default()).unwrap();
        let (_foundation, operations) = Foundation::open(loaded.config).await.unwrap();
        let told = operations.call("explain", json!({ "module": module, "user": null }), &Actor::local(OPERATOR)).await.unwrap();
        let findings = operations.call("findings", json!(null), &Actor::local(OPERATOR)).await.unwrap().to_string();
        let page = operations.metrics_page().await.unwrap();
        let required = page.contains("modgate_verify_required 1\n");
        assert_eq!((findings.contains(UNVERIFIED), required), (upstream.contains("verify"), !upstream.contains("verify")), "{findings}");
        let told = told["verification"].as_str().map(str::to_owned);
        told.map(|told| told.replace(&file.display().to_string(), "FILE"))
    };
    let database = "by sum.golang.org".to_owned();
    assert_eq!(explain("", "example.net/alpha").await, Some(database));
    assert_eq!(explain("", "corp.example.com/x").await, None);
    let told = explain("unverified = [\"example.net\"]", "example.net/alpha").await.unwrap();
    assert_eq!(told, "none, upstream is believed: pattern example.net of upstream.unverified (FILE:5)");
    let told = explain("verify = \"off\"", "example.net/alpha").await.unwrap();
    assert_eq!(told, "off, upstream is believed: upstream.verify (FILE:5)");
}

/// A disk that takes so many more writes.
struct Ending(AtomicUsize);

impl Faults for Ending {
    fn step(&self, step: Step, _: &Path, run: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
        let ended = step == Step::Write && self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err();
        if ended { Err(io::Error::other("the disk is gone")) } else { run() }
    }
}

#[tokio::test]
async fn tokens_that_were_revoked_before_the_store_failed_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let (_foundation, mut operations) = open(&dir.path().join("data")).await;
    let ending = Arc::new(Ending(AtomicUsize::new(usize::MAX)));
    let data = Arc::new(DataDir::open_on(&dir.path().join("other"), Disk::with_faults(ending.clone())).unwrap());
    operations.stores = Embedded::open(&data).unwrap().0;
    let actor = Actor::local(OPERATOR);
    for _ in 0..3 {
        let ask = json!({ "name": "ci", "scopes": ["read"], "owners": [], "expires_in_s": null });
        operations.call("token-create", ask, &actor).await.unwrap();
    }
    ending.0.store(1, Ordering::SeqCst);
    let error = operations.call("token-revoke", json!({ "id": "ci" }), &actor).await.unwrap_err();
    assert!(matches!(error, OperationError::Midway { .. }), "{error:?}");
    let trail = operations.call("audit", json!({ "since": "2000-01-01T00:00:00Z", "after": null, "limit": 10 }), &actor).await.unwrap();
    let trail = trail.to_string();
    let (_, of_one) = trail.split_once("token-revoked").unwrap();
    let id = of_one.split(|c: char| !c.is_ascii_alphanumeric()).find(|word| error.to_string().contains(&format!("revoked {word};")));
    assert!(id.is_some_and(|id| id.len() > 4) && !of_one.contains("token-revoked"), "{error}: {trail}");
    let error = operations.call("token-revoke", json!({ "id": "ci" }), &actor).await.unwrap_err();
    assert!(matches!(error, OperationError::Store(_)), "nothing was done: {error:?}");
}

#[tokio::test]
async fn a_backup_that_is_begun_ends_with_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let (foundation, operations) = open(&dir.path().join("data")).await;
    let (path, version) = ("corp.example.com/a".parse().unwrap(), "v1.0.0".parse().unwrap());
    let record = Record { path, version, zip: H1([0; 32]), go_mod: H1([1; 32]) };
    operations.log.as_ref().unwrap().append(record).await.unwrap();
    foundation.stop().ask();
    assert!(matches!(operations.snapshot(&Actor::local(OPERATOR)).await, Err(OperationError::Ending(_))));
}

#[test]
fn findings_are_looked_for_off_the_async_threads() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(2).build().unwrap();
    runtime.block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let settings = format!("data_dir = {:?}\n[upstream]\ngoproxy = \"off\"\nsumdb = \"off\"\n", dir.path().join("data").display());
        let (_foundation, operations) = Foundation::open(Config::from_toml(&settings).unwrap()).await.unwrap();
        // The policy's view is made by now.
        operations.findings(None).await.unwrap();
        let gate = Arc::new(std::sync::Barrier::new(3));
        let busy = [gate.clone(), gate.clone()].map(|gate| crate::observe::spawn_blocking(move || gate.wait()));
        // Wrong settings need no store: whoever judged them here would be done at once.
        let written = serde_json::from_value(json!({ "file": ["x.toml", "["], "variables": {} })).unwrap();
        let mut looking = Box::pin(operations.findings(Some(written)));
        assert!(futures::poll!(&mut looking).is_pending(), "it did not wait for its thread");
        gate.wait();
        assert!(matches!(looking.await, Err(OperationError::Bad(_))));
        for busy in busy {
            busy.await.unwrap();
        }
    });
}
