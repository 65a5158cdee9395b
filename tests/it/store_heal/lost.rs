//! Records that are lost: nothing private is forgotten because a file went.

use super::*;

/// Everything below a directory but the index, with its bytes.
fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let (mut found, mut folders) = (Vec::new(), vec![dir.join("records"), dir.join("blobs"), dir.join("ledger")]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                found.push((entry.path(), fs::read(entry.path()).unwrap()));
            }
        }
    }
    found.sort();
    found
}

/// Refuses, naming these, and changes nothing, however often.
fn refuses(dir: &Path, names: &[&str]) {
    let before = files(dir);
    for _ in 0..2 {
        let error = refused(dir);
        assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
        let text = error.to_string();
        for name in names.iter().chain(&["put records/ back from a backup", "to accept the loss, remove meta/"]) {
            assert!(text.contains(name), "{name}: {text}");
        }
        assert!(files(dir) == before, "something was changed");
    }
}

fn remove_index(dir: &Path) {
    fs::remove_dir_all(dir.join("meta")).unwrap();
}

#[test]
fn a_record_that_is_gone_stops_the_start_and_costs_no_blob() {
    runtime().block_on(async {
        let dir = memory_dir();
        let (stores, _) = start(dir.path());
        plain(&stores, "alice", "gitlab.com/grp/repo/hidden", "v1.0.0", "one").await;
        plain(&stores, "alice", "gitlab.com/grp/later", "v1.0.0", "two").await;
        let said = dump(&stores).await;
        drop(stores);
        let file = dir.path().join("records/gitlab.com/grp/repo/hidden/@v/v1.0.0.json");
        let aside = dir.path().join("aside");
        fs::rename(&file, &aside).unwrap();
        refuses(dir.path(), &["records/ has lost gitlab.com/grp/repo/hidden v1.0.0; "]);
        fs::rename(&aside, &file).unwrap();
        let (stores, report) = start(dir.path());
        assert!(report.is_clean(), "{report:?}");
        assert_eq!(dump(&stores).await, said);
        drop(stores);
        // The loss accepted.
        fs::remove_file(&file).unwrap();
        refuses(dir.path(), &["gitlab.com/grp/repo/hidden v1.0.0"]);
        remove_index(dir.path());
        let (stores, report) = start(dir.path());
        assert_eq!((report.rebuilt, report.blobs_removed), (true, 2));
        assert!(stores.records.module(&path("gitlab.com/grp/repo/hidden")).await.unwrap().is_none());
        assert!(record(&stores, "gitlab.com/grp/later", "v1.0.0").await.is_some());
    });
}

#[test]
fn what_is_no_file_in_a_records_place_stops_the_start_naming_it() {
    runtime().block_on(async {
        let (dir, said) = after(2).await;
        let file = dir.path().join("records/corp.example.com/lib/@v/v1.0.0.json");
        let aside = dir.path().join("aside");
        fs::rename(&file, &aside).unwrap();
        for with_index in [true, false] {
            for what in ["folder", "link", "pipe"] {
                match what {
                    "folder" => fs::create_dir(&file).unwrap(),
                    "link" => std::os::unix::fs::symlink(&aside, &file).unwrap(),
                    _ => assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success()),
                }
                let text = refused(dir.path()).to_string();
                assert!(text.contains("records/corp.example.com/lib/@v/v1.0.0.json: is no file"), "{what}: {text}");
                if what == "folder" { fs::remove_dir(&file).unwrap() } else { fs::remove_file(&file).unwrap() }
            }
            if with_index {
                remove_index(dir.path());
            }
        }
        fs::rename(&aside, &file).unwrap();
        // A link to a folder hides what is behind it.
        let (folder, elsewhere) = (dir.path().join("records/corp.example.com"), dir.path().join("elsewhere"));
        fs::rename(&folder, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &folder).unwrap();
        assert!(refused(dir.path()).to_string().contains("records/corp.example.com: is no file"));
        fs::remove_file(&folder).unwrap();
        fs::rename(&elsewhere, &folder).unwrap();
        // A module's path may end like a record's name.
        let (stores, _) = start(dir.path());
        assert_eq!(dump(&stores).await, said);
        plain(&stores, "alice", "corp.example.com/a.json", "v1.0.0", "one").await;
        drop(stores);
        assert!(start(dir.path()).1.is_clean());
    });
}

#[test]
fn a_journal_that_is_gone_stops_the_start_whatever_was_published_later() {
    runtime().block_on(async {
        let dir = memory_dir();
        let (stores, _) = start(dir.path());
        let claiming = NewVersion { claim: Some("example.org".to_owned()), ..module("alice", "example.org/x", "v1.0.0", "one") };
        publish(&stores, claiming, "one").await.unwrap();
        plain(&stores, "alice", "corp.example.com/lib", "v1.0.0", "one").await;
        let held = record(&stores, "corp.example.com/lib", "v1.0.0").await.unwrap();
        stores.records.seal(&held).await.unwrap();
        stores.records.token_put(token("ci", 1)).await.unwrap();
        delete(&stores, "alice", "corp.example.com/lib", "v1.0.0").await;
        delete(&stores, "alice", "example.org/x", "v1.0.0").await;
        plain(&stores, "alice", "corp.example.com/moved", "v1.0.0", "two").await;
        let moved =
            MovePath { path: path("corp.example.com/moved"), to: owner("bob"), needs_claim: false, max_bytes: None, by: String::new() };
        stores.records.move_path(moved).await.unwrap();
        plain(&stores, "alice", "corp.example.com/later", "v1.0.0", "two").await;
        drop(stores);
        let good = fs::read(journal(dir.path())).unwrap();
        fs::remove_file(journal(dir.path())).unwrap();
        let id = format!("the token {}", token("ci", 1).id);
        let names = ["the tombstone of corp.example.com/lib", "the claim of example.org", "the seal of corp.example.com/lib v1.0.0", &id];
        refuses(dir.path(), &names);
        // Each line by itself.
        let lines: Vec<&[u8]> = good.split_inclusive(|b| *b == b'\n').collect();
        for without in 0..lines.len() {
            let rest: Vec<&[u8]> = lines.iter().enumerate().filter(|(at, _)| *at != without).map(|(_, line)| *line).collect();
            fs::write(journal(dir.path()), rest.concat()).unwrap();
            refuses(dir.path(), &["records/ has lost the "]);
        }
        fs::write(journal(dir.path()), &good).unwrap();
        assert!(start(dir.path()).1.is_clean());
    });
}

#[test]
fn records_from_an_older_copy_are_refused_until_the_loss_is_accepted() {
    runtime().block_on(async {
        for steps in 1..RICH {
            let (dir, _) = after(steps).await;
            let old = memory_dir();
            copy(&dir.path().join("records"), &old.path().join("records"));
            let (stores, _) = start(dir.path());
            let before = stores.records.hosted_index().await.unwrap();
            for step in steps..=RICH {
                act(&stores, step).await.unwrap();
            }
            assert!(stores.records.hosted_index().await.unwrap().rev > before.rev);
            drop(stores);
            fs::remove_dir_all(dir.path().join("records")).unwrap();
            copy(&old.path().join("records"), &dir.path().join("records"));
            refuses(dir.path(), &["records/ has lost "]);
            remove_index(dir.path());
            let (stores, report) = start(dir.path());
            assert!(report.rebuilt, "{report:?}");
            let now = stores.records.hosted_index().await.unwrap();
            assert_eq!((&now.hosted, &now.tombstones, &now.claims), (&before.hosted, &before.tombstones, &before.claims), "{steps}");
        }
    });
}

/// A token that was revoked must not come back either: only the revision tells.
#[test]
fn a_lost_revocation_stops_the_start() {
    runtime().block_on(async {
        let dir = memory_dir();
        let (stores, _) = start(dir.path());
        stores.records.token_put(token("ci", 1)).await.unwrap();
        let good = fs::read(journal(dir.path())).unwrap();
        assert!(stores.records.token_revoke(&token("ci", 1).id).await.unwrap());
        drop(stores);
        fs::write(journal(dir.path()), good).unwrap();
        refuses(dir.path(), &["records/ has lost the change of revision 2 and knows of none above 1"]);
    });
}

#[test]
fn verification_sees_records_and_the_journal_go_under_a_running_store() {
    runtime().block_on(async {
        let (dir, _) = after(RICH).await;
        let (stores, _) = start(dir.path());
        let record = files(dir.path()).into_iter().map(|(file, _)| file).find(|file| file.extension().is_some_and(|ext| ext == "json"));
        for file in [record.unwrap(), journal(dir.path())] {
            let good = fs::read(&file).unwrap();
            for what in ["gone", "folder", "empty"] {
                fs::remove_file(&file).unwrap();
                match what {
                    "gone" => {}
                    "folder" => fs::create_dir(&file).unwrap(),
                    _ => fs::write(&file, "").unwrap(),
                }
                let findings = stores.verify.verify(&Stop::default()).await.unwrap().findings;
                let seen: Vec<_> = findings.iter().map(|f| (f.kind, f.path.as_path())).collect();
                assert_eq!(seen, [(FindingKind::RecordDamaged, file.as_path())], "{what}");
                if what == "folder" {
                    fs::remove_dir(&file).unwrap();
                }
                fs::write(&file, &good).unwrap();
            }
            assert_eq!(stores.verify.verify(&Stop::default()).await.unwrap().findings, []);
        }
    });
}

/// Fails one write of the index while it is set.
struct Trips(std::sync::atomic::AtomicBool);

impl Faults for Trips {
    fn step(&self, step: Step, path: &Path, run: &mut dyn FnMut() -> std::io::Result<()>) -> std::io::Result<()> {
        let trips = step == Step::SyncFile && path.ends_with("meta/db") && self.0.swap(false, std::sync::atomic::Ordering::SeqCst);
        if trips { Err(std::io::Error::other("a fault that a test made")) } else { run() }
    }
}

#[test]
fn records_that_are_read_again_while_serving_forget_nothing() {
    runtime().block_on(async {
        // All of a path, one version of a path that has others, and the journal with a tombstone and a claim.
        for what in ["corp.example.com/one/@v/v1.0.0.json", "corp.example.com/two/@v/v1.0.0.json", "changes.journal"] {
            let (dir, trips) = (memory_dir(), Arc::new(Trips(false.into())));
            let (stores, _) = open(dir.path(), Disk::with_faults(trips.clone())).unwrap();
            for (name, v) in [("one", "v1.0.0"), ("two", "v1.0.0"), ("two", "v1.1.0"), ("buried", "v1.0.0")] {
                plain(&stores, "alice", &format!("corp.example.com/{name}"), v, name).await;
            }
            delete(&stores, "alice", "corp.example.com/buried", "v1.0.0").await;
            let shown = stores.records.hosted_index().await.unwrap();
            let (file, aside) = (dir.path().join("records").join(what), dir.path().join("aside"));
            fs::rename(&file, &aside).unwrap();
            let blobs = fs::read_dir(dir.path().join("blobs")).unwrap().count();
            trips.0.store(true, std::sync::atomic::Ordering::SeqCst);
            let new = module("alice", "corp.example.com/new", "v1.0.0", "new");
            assert!(publish(&stores, new.clone(), "new").await.is_err(), "{what}");
            assert!(stores.records.writable().await.is_err());
            let index = stores.records.hosted_index().await.unwrap();
            assert_eq!((&index.hosted, &index.tombstones), (&shown.hosted, &shown.tombstones), "{what}");
            for name in shown.hosted.keys() {
                let versions = stores.records.module(name).await.map(|module| module.map_or(0, |module| module.versions.len()));
                let all = if name.as_str().ends_with("two") { 2 } else { 1 };
                assert!(
                    matches!(versions, Err(StoreError::Unavailable(_))) || versions.as_ref().is_ok_and(|n| *n == all),
                    "{what} {versions:?}"
                );
            }
            assert!(fs::read_dir(dir.path().join("blobs")).unwrap().count() >= blobs, "{what}");
            // Back again, so is the store; nobody needs to start it anew.
            fs::rename(&aside, &file).unwrap();
            while !matches!(publish(&stores, new.clone(), "new").await, Ok(Publish::VersionExists(..))) {
                tokio::task::yield_now().await;
            }
            let all = stores.records.module(&path("corp.example.com/two")).await.unwrap().unwrap();
            assert_eq!((all.versions.len(), stores.verify.verify(&Stop::default()).await.unwrap().findings), (2, vec![]), "{what}");
        }
    });
}
