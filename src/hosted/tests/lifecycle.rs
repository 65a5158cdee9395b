use super::*;

const V1: &str = "v1.0.0";

fn zip_ask() -> ModuleAsk {
    ModuleAsk::Zip(version(V1))
}

#[tokio::test]
async fn a_deleted_version_is_gone_with_its_bytes_and_leaves_a_tombstone() {
    let rig = Rig::new().await;
    rig.put("team", &module(LIB, V1, "")).await.unwrap();
    rig.put("team", &module(LIB, "v1.1.0", "")).await.unwrap();
    assert_eq!(rig.delete("other", LIB, V1).await, Delete::Absent, "another owner's is none");
    assert_eq!(rig.delete("team", LIB, "v9.9.9").await, Delete::Absent);
    assert!(matches!(rig.delete("team", LIB, V1).await, Delete::Deleted { last: false, .. }));
    assert_eq!(rig.delete("team", LIB, V1).await, Delete::Absent);
    assert_eq!(text(rig.read(&ModuleAsk::List, true).await), "v1.1.0\n");
    missing(rig.read(&zip_ask(), true).await);

    assert!(matches!(rig.delete("team", LIB, "v1.1.0").await, Delete::Deleted { last: true, .. }));
    assert!(matches!(rig.read(&ModuleAsk::List, true).await, Read::NotHosted));
    rig.settles_to(&BTreeSet::new()).await;
    let refusal = rig.put("other", &module(LIB, V1, "")).await.unwrap_err();
    assert!(matches!(refusal, PublishRefusal::NotYours { .. }), "the path stays its owner's: {refusal:?}");
    let published = rig.put("team", &module(LIB, V1, "anew")).await.unwrap();
    assert!(!published.new_path);
}

#[tokio::test]
async fn what_never_left_may_be_published_again_with_other_content() {
    let rig = Rig::new().await;
    rig.put("team", &module(LIB, V1, "first")).await.unwrap();
    for ask in [zip_ask(), ModuleAsk::Mod(version(V1))] {
        let head = found(rig.read(&ask, false).await);
        assert_eq!(head.etag, None, "a hash of what is not sealed is not shown");
    }
    for ask in [ModuleAsk::List, ModuleAsk::Latest, ModuleAsk::Info(version(V1)), ModuleAsk::Alias(crate::protocol::Ext::Info)] {
        found(rig.read(&ask, true).await);
    }
    rig.delete("team", LIB, V1).await;
    let second = module(LIB, V1, "second");
    rig.put("team", &second).await.unwrap();
    assert_eq!(bytes(rig.read(&zip_ask(), true).await), second);
}

#[tokio::test]
async fn what_has_left_is_published_again_only_with_the_same_content() {
    for ask in
        [zip_ask(), ModuleAsk::Mod(version(V1)), ModuleAsk::Alias(crate::protocol::Ext::Zip), ModuleAsk::Alias(crate::protocol::Ext::Mod)]
    {
        let rig = Rig::new().await;
        let first = module(LIB, V1, "first");
        let published = rig.put("team", &first).await.unwrap();
        let etag = found(rig.read(&ask, true).await).etag;
        assert!(etag.is_some());
        assert_eq!(found(rig.read(&ask, false).await).etag, etag, "now a HEAD may show it");
        rig.delete("team", LIB, V1).await;

        let refusal = rig.put("team", &module(LIB, V1, "second")).await.unwrap_err();
        assert!(matches!(&refusal, PublishRefusal::SealedOther { .. }), "{refusal:?}");
        assert!(refusal.to_string().contains(&published.h1.to_string()), "{refusal}");
        let stranger = Publisher { actor: Actor::local("token:ci"), may_read: false };
        let mut body = Pieces::of(&module(LIB, V1, "second"));
        let refusal = rig.hosted.publish(&name("team"), &stranger, None, &mut body).await.unwrap_err().why;
        assert!(!refusal.to_string().contains("h1:"), "{refusal}");
        rig.settles_to(&BTreeSet::new()).await;

        rig.put("team", &first).await.unwrap();
        assert_eq!(found(rig.read(&ask, true).await).etag, etag);
    }
}

#[tokio::test]
async fn what_left_as_one_owners_is_not_told_to_the_next_owner_of_the_path() {
    let rig = Rig::new().await;
    let first = rig.put("team", &module(LIB, V1, "first")).await.unwrap();
    bytes(rig.read(&zip_ask(), true).await);
    rig.delete("team", LIB, V1).await;
    rig.stores.records.release_path(&path(LIB), "admin").await.unwrap();
    let refusal = rig.put("other", &module(LIB, V1, "second")).await.unwrap_err();
    assert!(matches!(refusal, PublishRefusal::SealedOther { known: None, .. }), "{refusal:?}");
    assert!(!refusal.to_string().contains("h1:"), "{refusal}");
    let refusal = rig.put("team", &module(LIB, V1, "second")).await.unwrap_err();
    assert!(matches!(refusal, PublishRefusal::SealedOther { known: Some(h1), .. } if h1 == first.h1), "{refusal:?}");
}

#[tokio::test]
async fn a_seal_is_not_shown_for_content_that_it_does_not_cover() {
    let rig = Rig::new().await;
    rig.put("team", &module(LIB, V1, "first")).await.unwrap();
    rig.put("team", &module(LIB, "v1.1.0", "first")).await.unwrap();
    found(rig.read(&zip_ask(), true).await);
    assert!(found(rig.read(&zip_ask(), false).await).etag.is_some());
    assert_eq!(found(rig.read(&ModuleAsk::Zip(version("v1.1.0")), false).await).etag, None);
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let rig = Rig::new().await;
    let zip = module(LIB, V1, "first");
    rig.put("team", &zip).await.unwrap();
    rig.put("team", &module(LIB, "v1.1.0", "")).await.unwrap();
    bytes(rig.read(&zip_ask(), true).await);
    rig.delete("team", LIB, V1).await;
    let Rig { dir, stores, hosted } = rig;
    drop((stores, hosted));
    let rig = Rig::open(dir, SETTINGS).await;
    assert_eq!(text(rig.read(&ModuleAsk::List, true).await), "v1.1.0\n");
    let refusal = rig.put("team", &module(LIB, V1, "second")).await.unwrap_err();
    assert!(matches!(refusal, PublishRefusal::SealedOther { .. }), "{refusal:?}");
    rig.put("team", &zip).await.unwrap();
}
