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
