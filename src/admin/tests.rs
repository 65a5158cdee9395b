use std::sync::Arc;

use serde_json::json;

use super::*;

#[tokio::test]
async fn what_was_begun_is_done_and_recorded_though_nobody_waits_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let settings = format!("data_dir = {:?}\n[upstream]\ngoproxy = \"off\"\nsumdb = \"off\"\n", dir.path().join("data").display());
    let (_foundation, operations) = Foundation::open(Config::from_toml(&settings).unwrap()).await.unwrap();
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
