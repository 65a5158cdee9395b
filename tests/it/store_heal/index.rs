//! The index can be lost at any time.

use super::*;

#[test]
fn a_deleted_index_is_made_anew() {
    runtime().block_on(async {
        for steps in [RICH, SCRIPT] {
            let (dir, said) = after(steps).await;
            fs::remove_dir_all(dir.path().join("meta")).unwrap();
            let (stores, report) = start(dir.path());
            assert!(report.rebuilt && report.set_aside.is_none() && report.findings.is_empty(), "{report:?}");
            assert_eq!(dump(&stores).await, said);
        }
    });
}

#[test]
fn an_index_cut_short_anywhere_is_put_right() {
    runtime().block_on(async {
        let (dir, said) = after(RICH).await;
        let whole = fs::read(dir.path().join("meta/db")).unwrap();
        let used = whole.iter().rposition(|b| *b != 0).unwrap();
        let points = (0..used).step_by(used / 24).chain([1, 19, 20, 21, 100, 511, used - 1, whole.len() - 1]);
        for at in points {
            fs::write(dir.path().join("meta/db"), &whole[..at]).unwrap();
            let (stores, report) = start(dir.path());
            assert_eq!((dump(&stores).await, report.findings), (said.clone(), vec![]), "cut at {at}");
            drop(stores);
            assert!(start(dir.path()).1.is_clean());
        }
    });
}

#[test]
fn an_index_overwritten_anywhere_is_put_right() {
    runtime().block_on(async {
        let (dir, said) = after(RICH).await;
        let whole = fs::read(dir.path().join("meta/db")).unwrap();
        let used = whole.iter().rposition(|b| *b != 0).unwrap();
        let mut unusable = 0;
        for (nth, at) in (0..used).step_by(used / 40).enumerate() {
            let mut bytes = whole.clone();
            let end = (at + [1, 4, 32, 300][nth % 4]).min(used);
            let damage = [0xff, 0x00, 0x5a][nth % 3];
            bytes[at..end].iter_mut().for_each(|b| *b ^= damage | 1);
            fs::write(dir.path().join("meta/db"), bytes).unwrap();
            let (stores, report) = start(dir.path());
            assert_eq!((dump(&stores).await, report.findings), (said.clone(), vec![]), "overwritten from {at} to {end}");
            if let Some(aside) = report.set_aside {
                assert!(report.rebuilt && aside.join("db").exists());
                unusable += 1;
            }
            drop(stores);
            assert!(start(dir.path()).1.is_clean());
        }
        println!("{unusable} times unusable");
    });
}

#[test]
fn an_index_that_is_no_index_is_set_aside() {
    runtime().block_on(async {
        let (dir, said) = after(RICH).await;
        for spoil in ["noise in db", "noise in conf", "a file for a folder"] {
            let meta = dir.path().join("meta");
            match spoil {
                "noise in db" => fs::write(meta.join("db"), vec![0xa5; 1 << 20]).unwrap(),
                "noise in conf" => fs::write(meta.join("conf"), b"noise, long enough to be read").unwrap(),
                _ => {
                    fs::remove_dir_all(&meta).unwrap();
                    fs::create_dir(&meta).unwrap();
                    fs::create_dir(meta.join("db")).unwrap();
                }
            }
            let (stores, report) = start(dir.path());
            assert_eq!((dump(&stores).await, report.findings), (said.clone(), vec![]), "{spoil}");
        }
    });
}

#[test]
fn an_older_index_is_brought_up_to_date_and_what_was_replayed_is_counted() {
    runtime().block_on(async {
        let (dir, _) = after(4).await;
        let old = memory_dir();
        copy(&dir.path().join("meta"), &old.path().join("meta"));
        let (stores, _) = start(dir.path());
        for step in 4..8 {
            act(&stores, step).await.unwrap();
        }
        let said = dump(&stores).await;
        drop(stores);
        fs::remove_dir_all(dir.path().join("meta")).unwrap();
        copy(&old.path().join("meta"), &dir.path().join("meta"));
        let (stores, report) = start(dir.path());
        // A delete, a token, a delete; the ledger is not in the index.
        assert_eq!((report.replayed, report.rebuilt), (3, false));
        assert_eq!(dump(&stores).await, said);
    });
}
