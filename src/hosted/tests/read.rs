use super::*;
use crate::protocol::Ext;
use crate::store::StoreError;
use crate::store::double::Double;

const OLD: &str = "v0.0.0-20230101120000-aaaaaaaaaaaa";
const NEW: &str = "v0.0.0-20240101120000-abcdef012345";

async fn rig_of(versions: &[&str]) -> Rig {
    let rig = Rig::new().await;
    for version in versions {
        rig.put("team", &module(LIB, version, version)).await.unwrap();
    }
    rig
}

#[tokio::test]
async fn list_latest_and_info_speak_the_protocol() {
    let rig = rig_of(&["v1.10.0", "v1.2.0", "v1.11.0-rc.1", NEW]).await;
    let list = found(rig.read(&ModuleAsk::List, true).await);
    assert_eq!(text(Read::Found(list)), "v1.2.0\nv1.10.0\nv1.11.0-rc.1\n");
    let latest = found(rig.read(&ModuleAsk::Latest, true).await);
    assert!(text(Read::Found(latest)).starts_with(r#"{"Version":"v1.10.0","Time":""#));
    let info = text(rig.read(&ModuleAsk::Info(version(NEW)), true).await);
    assert_eq!(info, format!(r#"{{"Version":"{NEW}","Time":"2024-01-01T12:00:00Z"}}"#));
    assert_eq!(text(rig.read(&ModuleAsk::Query("abcdef0".into()), true).await), info);
    found(rig.read(&ModuleAsk::Zip(version(NEW)), true).await);
    found(rig.read(&ModuleAsk::Mod(version(NEW)), true).await);
}

#[tokio::test]
async fn the_alias_is_the_latest() {
    let rig = rig_of(&["v1.0.0", "v1.1.0"]).await;
    assert_eq!(bytes(rig.read(&ModuleAsk::Alias(Ext::Zip), true).await), bytes(rig.read(&ModuleAsk::Zip(version("v1.1.0")), true).await));
    assert_eq!(text(rig.read(&ModuleAsk::Alias(Ext::Mod), true).await), format!("module {LIB}\n"));
    assert_eq!(text(rig.read(&ModuleAsk::Alias(Ext::Info), true).await), text(rig.read(&ModuleAsk::Latest, true).await));
}

#[tokio::test]
async fn a_module_of_pseudo_versions_alone_has_an_empty_list_and_a_latest() {
    let rig = rig_of(&[NEW, OLD]).await;
    assert_eq!(text(rig.read(&ModuleAsk::List, true).await), "");
    assert!(text(rig.read(&ModuleAsk::Latest, true).await).contains(NEW));
}

#[tokio::test]
async fn what_a_hosted_module_does_not_have_is_missing_and_never_sought_elsewhere() {
    let rig = rig_of(&["v1.0.0", NEW]).await;
    for ask in [
        ModuleAsk::Info(version("v1.0.1")),
        ModuleAsk::Mod(version("v1.0.1")),
        ModuleAsk::Zip(version("v1.0.1")),
        ModuleAsk::Query("main".into()),
        ModuleAsk::Query("v1.0.0+meta".into()),
        ModuleAsk::Query("fffffff".into()),
        ModuleAsk::NoVersion("v1".into()),
    ] {
        for seal in [true, false] {
            let text = missing(rig.read(&ask, seal).await);
            assert!(text.contains("v1.0.0") && text.contains(NEW), "it says what there is: {text}");
        }
    }
}

#[tokio::test]
async fn what_is_not_in_sight_is_not_hosted() {
    let rig = rig_of(&["v1.0.0"]).await;
    let (team, other) = (name("team"), name("other"));
    let asks =
        || {
            let v = version("v1.0.0");
            [ModuleAsk::List, ModuleAsk::Latest, ModuleAsk::Info(v.clone()), ModuleAsk::Mod(v.clone()), ModuleAsk::Zip(v)]
                .into_iter()
                .chain([ModuleAsk::Query("main".into()), ModuleAsk::Alias(Ext::Zip), ModuleAsk::NoVersion("v1".into())])
        };
    let team_alone = |owner: &OwnerName| owner.as_str() == "team";
    for ask in asks() {
        let read = async |owner, sees| rig.hosted.read(&View { owner, sees, actor: &ALICE }, &path(LIB), &ask, true).await.unwrap();
        assert!(matches!(read(None, &|_| false).await, Read::NotHosted), "{ask:?}");
        assert!(matches!(read(Some(&other), &|_| true).await, Read::NotHosted), "{ask:?}");
        assert!(matches!(read(Some(&team), &|_| false).await, Read::NotHosted), "{ask:?}");
        assert!(!matches!(read(Some(&team), &team_alone).await, Read::NotHosted), "{ask:?}");
        assert!(!matches!(read(None, &team_alone).await, Read::NotHosted), "{ask:?}");
        let elsewhere = rig.hosted.read(&everything(), &path("corp.example.com/none"), &ask, true).await.unwrap();
        assert!(matches!(elsewhere, Read::NotHosted));
    }
}

#[tokio::test]
async fn records_are_read_only_for_those_who_may_see_them() {
    let rig = Rig::new().await;
    let records = Arc::new(Double::default());
    records.host(LIB, "team");
    records.bury("corp.example.com/dead", "team");
    let hosted = over(SETTINGS, Stores { records, ..rig.stores.clone() });
    let nobody: &(dyn Fn(&OwnerName) -> bool + Sync) = &|_| false;
    let v = version("v1.0.0");
    for ask in [ModuleAsk::List, ModuleAsk::Info(v.clone()), ModuleAsk::Mod(v.clone()), ModuleAsk::Zip(v), ModuleAsk::Alias(Ext::Zip)] {
        for seal in [true, false] {
            let read = async |module, sees| hosted.read(&View { owner: None, sees, actor: &ALICE }, &path(module), &ask, seal).await;
            // All that this store can tell is its index: whoever asks it for more gets an error.
            assert!(matches!(read("corp.example.com/none", nobody).await, Ok(Read::NotHosted)), "{ask:?}");
            assert!(matches!(read("corp.example.com/none", &|_| true).await, Ok(Read::NotHosted)), "{ask:?}");
            assert!(matches!(read("corp.example.com/dead", &|_| true).await, Ok(Read::NotHosted)), "{ask:?}");
            assert!(matches!(read(LIB, nobody).await, Ok(Read::NotHosted)), "{ask:?}");
            assert!(read(LIB, &|_| true).await.is_err(), "{ask:?}");
        }
    }
}

#[tokio::test]
async fn a_version_without_its_bytes_is_a_failure_and_never_an_absence() {
    let rig = rig_of(&["v1.0.0"]).await;
    let ask = ModuleAsk::Zip(version("v1.0.0"));
    let record = rig.stores.records.module(&path(LIB)).await.unwrap().unwrap().versions[0].clone();
    let blob = rig.dir.path().join("blobs").join(hex(&record.zip.sha256));
    let content = std::fs::read(&blob).unwrap();

    std::fs::remove_file(&blob).unwrap();
    for seal in [true, false] {
        let error = rig.hosted.read(&everything(), &path(LIB), &ask, seal).await.unwrap_err();
        assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
    }
    std::fs::write(&blob, &content[..content.len() - 1]).unwrap();
    let error = rig.hosted.read(&everything(), &path(LIB), &ask, true).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)), "half of it is not served: {error:?}");
    assert_eq!(rig.stores.records.sealed(&path(LIB), &version("v1.0.0")).await.unwrap(), None, "what never left is not sealed");
}
