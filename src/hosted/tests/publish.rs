use super::*;
use crate::module::H1;

#[tokio::test]
async fn what_was_published_is_read_back_byte_for_byte() {
    let rig = Rig::new().await;
    let zip = module(LIB, "v1.0.0", "package lib\n");
    let published = rig.put("team", &zip).await.unwrap();
    assert_eq!((published.path.as_str(), published.version.as_str()), (LIB, "v1.0.0"));
    assert!(published.new_path);
    assert_eq!(bytes(rig.read(&ModuleAsk::Zip(version("v1.0.0")), true).await), zip);
    assert_eq!(text(rig.read(&ModuleAsk::Mod(version("v1.0.0")), true).await), format!("module {LIB}\n"));
    assert_eq!(rig.left().len(), 2, "two blobs and nothing staged: {:?}", rig.left());
}

#[tokio::test]
async fn the_201_names_the_version_and_what_was_claimed() {
    let rig = Rig::new().await;
    let first = rig.put("team", &module(LIB, "v1.0.0", "")).await.unwrap();
    let text = first.text();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], format!("{LIB} v1.0.0 {}", first.h1));
    assert!(text.contains("modgate claim release corp.example.com"), "{text}");
    assert!(text.contains("GONOSUMDB"), "{text}");
    assert!(lines.len() <= 4 && text.ends_with('\n'));

    let second = rig.put("team", &module(LIB, "v1.1.0", "")).await.unwrap();
    assert!(!second.new_path);
    assert_eq!(second.claimed, None);
    assert_eq!(second.text(), format!("{LIB} v1.1.0 {}\n", second.h1));
}

#[tokio::test]
async fn a_claim_of_a_host_that_is_private_anyway_is_told_as_such() {
    let rig = Rig::with(&SETTINGS.replace("github.com/acme/*", "corp.example.com")).await;
    let text = rig.put("team", &module(LIB, "v1.0.0", "")).await.unwrap().text();
    assert!(text.contains("corp.example.com was private before (rule: pattern), and is claimed too"), "{text}");
    assert!(!text.contains("any more"), "{text}");
    let below = SETTINGS.replace("github.com/acme/*", LIB);
    let text = Rig::with(&below).await.put("team", &module(LIB, "v1.0.0", "")).await.unwrap().text();
    assert!(text.contains("corp.example.com is claimed: no path under it is asked for upstream any more"), "{text}");
}

#[tokio::test]
async fn a_go_mod_is_made_up_as_the_go_command_does() {
    let rig = Rig::new().await;
    rig.put("team", &zip(&[(&format!("{LIB}@v1.0.0/lib.go"), b"package lib\n")])).await.unwrap();
    assert_eq!(text(rig.read(&ModuleAsk::Mod(version("v1.0.0")), true).await), format!("module {LIB}\n"));
}

#[tokio::test]
async fn every_problem_of_a_zip_is_told_and_nothing_is_left() {
    let rig = Rig::new().await;
    for (zip, expected) in [
        (b"not a zip at all".to_vec(), vec!["zip"]),
        (Vec::new(), vec!["zip"]),
        (zip(&[("README", b"")]), vec!["module@version"]),
        (zip(&[(&format!("{LIB}@v1.0/go.mod"), b"module x\n")]), vec!["v1.0"]),
        (zip(&[(&format!("{LIB}/v2@v1.0.0/go.mod"), format!("module {LIB}/v2\n").as_bytes())]), vec!["v2"]),
        (
            zip(&[
                (&format!("{LIB}@v1.0.0/go.mod"), b"module corp.example.com/else\n"),
                (&format!("{LIB}@v1.0.0/a.go"), b""),
                (&format!("{LIB}@v1.0.0/A.go"), b""),
                (&format!("{LIB}@v1.0.0/con"), b""),
            ]),
            vec!["corp.example.com/else", "a.go", "con"],
        ),
    ] {
        let refusal = rig.put("team", &zip).await.unwrap_err();
        let PublishRefusal::BadZip(problems) = &refusal else { panic!("{refusal:?}") };
        let text = problems.to_string();
        for part in expected {
            assert!(text.contains(part), "{part:?} in {text:?}");
        }
        rig.settles_to(&BTreeSet::new()).await;
    }
}

#[tokio::test]
async fn a_name_too_long_for_a_file_is_a_problem_of_the_zip() {
    let rig = Rig::new().await;
    for long in [
        format!("corp.example.com/{}", "a".repeat(201)),
        format!("corp.example.com/{}", "A".repeat(101)),
        format!("corp.example.com{}", "/abcdefgh".repeat(250)),
    ] {
        let refusal = rig.put("team", &module(&long, "v1.0.0", "")).await.unwrap_err();
        assert!(matches!(&refusal, PublishRefusal::BadZip(_)), "{refusal:?}");
        assert!(refusal.to_string().contains("too long"), "{refusal}");
    }
    let version = format!("v1.0.0-{}", "a".repeat(200));
    let refusal = rig.put("team", &module(LIB, &version, "")).await.unwrap_err();
    assert!(matches!(&refusal, PublishRefusal::BadZip(_)), "{refusal:?}");
    rig.settles_to(&BTreeSet::new()).await;
    rig.put("team", &module(&format!("corp.example.com/{}", "a".repeat(200)), "v1.0.0", "")).await.unwrap();
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_unread_if_declared_and_when_counted_if_not() {
    let settings = format!("{}\n", SETTINGS.replace("1MiB", "10KiB"));
    let rig = Rig::with(&settings).await;
    let exactly = padded(10 << 10);
    let longer = padded((10 << 10) + 1);
    assert_eq!((exactly.len(), longer.len()), (10 << 10, (10 << 10) + 1));

    let mut declared = Pieces::of(&longer);
    let refusal = rig.send("team", None, &mut declared).await.unwrap_err();
    assert!(matches!(refusal, PublishRefusal::TooLarge { limit: 10240 }), "{refusal:?}");
    assert_eq!(declared.asked, 0, "not a byte of it was read");

    let refusal = rig.send("team", None, &mut Pieces::of(&longer).chunked()).await.unwrap_err();
    assert!(matches!(refusal, PublishRefusal::TooLarge { limit: 10240 }), "{refusal:?}");
    let mut endless = Pieces::sized(&vec![0; 4 << 20], 64 << 10).chunked();
    let refusal = rig.send("team", None, &mut endless).await.unwrap_err();
    assert!(matches!(refusal, PublishRefusal::TooLarge { .. }), "{refusal:?}");
    assert_eq!(endless.asked, 1, "it was not read on");
    rig.settles_to(&BTreeSet::new()).await;

    rig.send("team", None, &mut Pieces::of(&exactly)).await.unwrap();
}

/// A module zip of exactly this many bytes.
pub(super) fn padded(len: usize) -> Vec<u8> {
    let build = |padding: usize| {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        writer.start_file(format!("{LIB}@v1.0.0/data"), stored).unwrap();
        writer.write_all(&vec![b'x'; padding]).unwrap();
        writer.finish().unwrap().into_inner()
    };
    build(len - build(0).len())
}

#[tokio::test]
async fn a_body_of_another_length_than_was_declared_is_refused() {
    let rig = Rig::new().await;
    let zip = module(LIB, "v1.0.0", "");
    for declared in [zip.len() as u64 - 1, zip.len() as u64 + 1] {
        let mut body = Pieces { declared: Some(declared), ..Pieces::of(&zip) };
        let refusal = rig.send("team", None, &mut body).await.unwrap_err();
        assert!(matches!(refusal, PublishRefusal::Interrupted(UploadError::Malformed(_))), "{refusal:?}");
    }
    rig.settles_to(&BTreeSet::new()).await;
}

#[tokio::test]
async fn a_body_that_breaks_off_leaves_nothing() {
    let rig = Rig::new().await;
    let zip = module(LIB, "v1.0.0", &"package lib\n".repeat(9000));
    for error in [UploadError::Gone, UploadError::Stalled, UploadError::Malformed("bad chunk".into())] {
        let mut body = Pieces::sized(&zip[..zip.len() / 2], 100).chunked().then(error.clone());
        let refusal = rig.send("team", None, &mut body).await.unwrap_err();
        assert!(matches!(&refusal, PublishRefusal::Interrupted(e) if *e == error), "{refusal:?}");
        rig.settles_to(&BTreeSet::new()).await;
    }
}

#[tokio::test]
async fn a_client_that_goes_away_at_any_moment_leaves_nothing_or_everything() {
    for steps in 0..60 {
        let rig = Rig::new().await;
        let zip = padded(600 << 10);
        let mut body = Pieces::sized(&zip, 64 << 10);
        {
            let mut publishing = std::pin::pin!(rig.send("team", None, &mut body));
            for _ in 0..steps {
                if futures::poll!(publishing.as_mut()).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        // It ends either way: published if the body had come whole, else gone.
        let ended = async {
            loop {
                let blobs = rig.left().iter().filter(|file| file.starts_with("blobs/")).count();
                let staged = rig.left().len() - blobs;
                let hosted = rig.stores.records.module(&path(LIB)).await.unwrap().is_some();
                if staged == 0 && blobs == if hosted { 2 } else { 0 } {
                    break;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), ended).await.expect("it settles");
    }
}

#[tokio::test]
async fn a_version_that_exists_is_told_by_content_and_its_hash_only_to_readers() {
    let rig = Rig::new().await;
    let zip = module(LIB, "v1.0.0", "package lib\n");
    let published = rig.put("team", &zip).await.unwrap();
    let blobs = rig.left();

    let refusal = rig.put("team", &zip).await.unwrap_err();
    assert_eq!(refusal.to_string(), format!("{LIB} v1.0.0 exists with the same content: {}", published.h1));
    let other = module(LIB, "v1.0.0", "package other\n");
    let refusal = rig.put("team", &other).await.unwrap_err();
    let PublishRefusal::VersionExists { same: false, known: Some(known), id } = &refusal else { panic!("{refusal:?}") };
    assert_eq!(*known, published.h1);
    assert_eq!(refusal.to_string(), format!("{LIB} v1.0.0 exists with other content: {}, not {}", published.h1, id.h1));

    let stranger = Publisher { actor: Actor::local("token:ci"), may_read: false };
    for (zip, expected) in [(&zip, "same"), (&other, "other")] {
        let refusal = rig.hosted.publish(&name("team"), &stranger, None, &mut Pieces::of(zip)).await.unwrap_err().why;
        assert_eq!(
            refusal.to_string(),
            format!("{LIB} v1.0.0 exists with {} content", if expected == "same" { "the same" } else { "other" })
        );
    }
    rig.settles_to(&blobs).await;
    assert_eq!(bytes(rig.read(&ModuleAsk::Zip(version("v1.0.0")), true).await), zip);
}

#[tokio::test]
async fn upper_case_paths_never_collide() {
    let rig = Rig::new().await;
    let paths = ["corp.example.com/Lib", "corp.example.com/lib", "corp.example.com/LIB"];
    for path in paths {
        rig.put("team", &module(path, "v1.0.0-RC1", path)).await.unwrap();
        rig.put("team", &module(path, "v1.0.0-rc1", path)).await.unwrap();
    }
    for module in paths {
        let read = rig.hosted.read(&everything(), &path(module), &ModuleAsk::Mod(version("v1.0.0-RC1")), true).await.unwrap();
        assert_eq!(text(read), format!("module {module}\n"));
        let list = rig.hosted.read(&everything(), &path(module), &ModuleAsk::List, true).await.unwrap();
        assert_eq!(text(list), "v1.0.0-RC1\nv1.0.0-rc1\n");
    }
}

#[test]
fn a_refusal_is_short_whatever_the_path() {
    let long: ModulePath = format!("corp.example.com{}", "/abcdefgh".repeat(500)).parse().unwrap();
    let id = Id { path: long.clone(), version: version(&format!("v1.0.0-{}", "a".repeat(5000))), h1: H1([1; 32]) };
    let owner = name("team");
    let outside = [
        Outside::NoOwner(owner.clone()),
        Outside::Modules { path: long.clone(), owner: owner.clone() },
        Outside::Shadows { path: long.clone(), owner: owner.clone(), why: "w".repeat(100) },
        Outside::NotPrivate { path: long.clone(), owner: owner.clone(), why: "w".repeat(100) },
    ];
    let others = [
        PublishRefusal::VersionExists { id: id.clone(), same: false, known: Some(H1([2; 32])) },
        PublishRefusal::SealedOther { id, known: Some(H1([2; 32])) },
        PublishRefusal::NotYours { path: long, owner },
        PublishRefusal::BadForm("x".into()),
        PublishRefusal::TooLarge { limit: u64::MAX },
        PublishRefusal::Full,
    ];
    for text in outside.map(PublishRefusal::Outside).iter().chain(&others).map(ToString::to_string) {
        assert!(text.len() < 600, "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}
