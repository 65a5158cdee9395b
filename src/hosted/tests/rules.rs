use super::*;

async fn allowed(rig: &Rig, owner: &str, path: &str) {
    if let Err(refusal) = rig.put(owner, &module(path, "v1.0.0", "")).await {
        panic!("{owner} may publish {path}: {refusal}");
    }
}

async fn outside(rig: &Rig, owner: &str, path: &str) -> (Outside, String) {
    let before = rig.left();
    let refusal = rig.put(owner, &module(path, "v1.0.0", "")).await.expect_err(path);
    rig.settles_to(&before).await;
    let text = refusal.to_string();
    match refusal {
        PublishRefusal::Outside(outside) => (outside, text),
        other => panic!("{path}: {other:?}"),
    }
}

async fn know(rig: &Rig, module: &str) {
    rig.stores.records.known_put(&path(module)).await.unwrap();
}

#[tokio::test]
async fn an_owner_that_the_settings_do_not_know_is_told_before_the_body_is_read() {
    let rig = Rig::new().await;
    let mut body = Pieces::of(&module(LIB, "v1.0.0", ""));
    let refusal = rig.send("nobody", None, &mut body).await.unwrap_err();
    assert!(matches!(&refusal, PublishRefusal::Outside(Outside::NoOwner(_))), "{refusal:?}");
    assert!(refusal.to_string().contains("[owners.nobody]"), "{refusal}");
    assert_eq!(body.asked, 0);
}

#[tokio::test]
async fn an_owners_modules_bound_what_it_publishes() {
    let rig = Rig::new().await;
    let (why, text) = outside(&rig, "bound", "corp.example.com/else").await;
    assert!(matches!(why, Outside::Modules { .. }));
    assert!(text.contains("owners.bound.modules"), "{text}");
    outside(&rig, "bound", "bound.example.com/mine").await;
    allowed(&rig, "bound", "bound.example.com/mine/a").await;
    allowed(&rig, "bound", "bound.example.com/mine/A/b").await;
    allowed(&rig, "bound", "bound.example.com/exact").await;
}

#[tokio::test]
async fn a_shared_root_is_no_module() {
    let rig = Rig::new().await;
    for root in ["github.com/acme", "github.com"] {
        let refusal = rig.put("open", &module(root, "v1.0.0", "")).await.unwrap_err();
        assert!(matches!(&refusal, PublishRefusal::BadZip(_)), "{refusal:?}");
        assert!(refusal.to_string().contains("no module"), "{refusal}");
    }
    rig.settles_to(&BTreeSet::new()).await;
}

#[tokio::test]
async fn a_public_host_is_shadowed_only_where_the_owners_patterns_name_the_path() {
    let settings = SETTINGS.to_owned()
        + r#"
[owners.literal]
visibility = "public"
modules = ["k8s.io/ours", "golang.org/x/*"]
"#;
    let rig = Rig::with(&settings).await;
    for owner in ["open", "team"] {
        let (why, text) = outside(&rig, owner, "k8s.io/client-go").await;
        assert!(matches!(why, Outside::Shadows { .. }), "{why:?}");
        assert!(text.contains(&format!("owners.{owner}.modules")), "{text}");
    }
    outside(&rig, "literal", "golang.org/x/tools").await;
    allowed(&rig, "literal", "k8s.io/ours").await;
}

#[tokio::test]
async fn a_known_module_is_not_shadowed_from_above_or_below() {
    let rig = Rig::with(&(SETTINGS.to_owned() + "[owners.literal]\nmodules = [\"mod.example.org/x\"]\nvisibility = \"public\"\n")).await;
    know(&rig, "mod.example.org/x/known").await;
    know(&rig, "github.com/Public/repo").await;
    for path in [
        "mod.example.org/x/known",
        "mod.example.org/x",
        "mod.example.org/x/known/below",
        "mod.example.org/x/KNOWN",
        "mod.example.org/unrelated",
        "github.com/public/repo",
        "github.com/public/repo/v2",
    ] {
        let version = if path.ends_with("/v2") { "v2.0.0" } else { "v1.0.0" };
        let refusal = rig.put("open", &module(path, version, "")).await.expect_err(path);
        assert!(matches!(refusal, PublishRefusal::Outside(Outside::Shadows { .. })), "{path}: {refusal:?}");
    }
    allowed(&rig, "literal", "mod.example.org/x/known").await;
    allowed(&rig, "open", "github.com/public/other").await;
    rig.settles_to(&rig.left()).await;
}

#[tokio::test]
async fn shadowing_is_asked_at_a_paths_first_version_only() {
    let rig = Rig::new().await;
    allowed(&rig, "open", "github.com/some/repo").await;
    know(&rig, "github.com/some/repo").await;
    rig.put("open", &module("github.com/some/repo", "v1.1.0", "")).await.unwrap();
    outside(&rig, "open", "github.com/some/repo/nested").await;
}

#[tokio::test]
async fn an_owner_that_is_not_public_publishes_only_what_is_private_anyhow() {
    let rig = Rig::new().await;
    allowed(&rig, "team", "corp.example.com/claimed").await;
    allowed(&rig, "team", "github.com/acme/lib").await;
    allowed(&rig, "team", "registry.internal/lib").await;
    let (why, text) = outside(&rig, "team", "github.com/else/lib").await;
    assert!(matches!(why, Outside::NotPrivate { .. }), "{why:?}");
    assert!(text.contains("private.patterns"), "{text}");
    allowed(&rig, "open", "github.com/else/lib").await;
}

#[tokio::test]
async fn without_claims_or_after_a_release_a_pattern_is_needed() {
    let unclaimed = SETTINGS.replace("[private]", "[private]\nclaim_hosts = false");
    let rig = Rig::with(&unclaimed).await;
    let (why, text) = outside(&rig, "team", LIB).await;
    assert!(matches!(why, Outside::NotPrivate { .. }), "{why:?}");
    assert!(text.contains("private.claim_hosts"), "{text}");

    let rig = Rig::new().await;
    allowed(&rig, "team", LIB).await;
    rig.stores.records.release_host("corp.example.com", "admin").await.unwrap();
    let (why, text) = outside(&rig, "team", "corp.example.com/second").await;
    assert!(matches!(why, Outside::NotPrivate { .. }), "{why:?}");
    assert!(text.contains("released"), "{text}");
    let published = rig.put("open", &module("corp.example.com/second", "v1.0.0", "")).await.unwrap();
    assert_eq!(published.claimed, None, "a released host is not claimed again");
}

#[tokio::test]
async fn an_exception_outweighs_the_claim() {
    let settings = SETTINGS.replace("[private]", "[private]\npublic = [\"corp.example.com/open/*\"]");
    let rig = Rig::with(&settings).await;
    let (why, text) = outside(&rig, "team", "corp.example.com/open/lib").await;
    assert!(matches!(why, Outside::NotPrivate { .. }), "{why:?}");
    assert!(text.contains("private.public"), "{text}");
    allowed(&rig, "team", LIB).await;
    outside(&rig, "team", "corp.example.com/open/lib").await;
}

#[tokio::test]
async fn a_path_is_one_owners_with_what_is_above_below_and_its_twins() {
    let rig = Rig::with(&(SETTINGS.to_owned() + "[owners.literal]\nmodules = [\"corp.example.com\"]\nvisibility = \"private\"\n")).await;
    allowed(&rig, "team", "corp.example.com/a/b").await;
    let refusal = rig.put("other", &module("corp.example.com/a/b", "v2.0.0+incompatible", "")).await.unwrap_err();
    assert!(matches!(&refusal, PublishRefusal::NotYours { .. } | PublishRefusal::BadZip(_)), "{refusal:?}");
    let refusal = rig.put("other", &module("corp.example.com/a/b", "v1.9.0", "")).await.unwrap_err();
    assert!(matches!(&refusal, PublishRefusal::NotYours { .. }), "{refusal:?}");
    assert!(!refusal.to_string().contains("team"), "by whom is not said: {refusal}");
    for path in ["corp.example.com/a", "corp.example.com/a/b/c", "corp.example.com/A/b", "corp.example.com/a/B/c"] {
        let (why, text) = outside(&rig, "other", path).await;
        assert!(matches!(why, Outside::Shadows { .. }), "{path}: {why:?}");
        assert!(!text.contains("team"), "by whom is not said: {text}");
    }
    allowed(&rig, "team", "corp.example.com/A/b").await;
    allowed(&rig, "team", "corp.example.com/a/b/c").await;
    allowed(&rig, "team", "corp.example.com/a").await;
    allowed(&rig, "literal", "corp.example.com/a/b/d").await;
}
