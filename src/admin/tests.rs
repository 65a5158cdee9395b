use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::*;
use crate::durable::{Disk, Faults, Step};
use crate::store::Embedded;

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
