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
