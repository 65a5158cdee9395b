//! Our own checksum database lost, damaged or put back: what a start says, what `check` and `verify` find, and that nothing is made anew.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use modgate::tlog::SignerKey;
use tempfile::TempDir;

use super::store_heal::copy;
use super::sumdb_own::{ask, key, looked_up, module, publish, world};
use crate::support::gateway::Gateway;
use crate::support::upstream::Upstream;

const LOOKUP: &str = "lookup/corp.example.com/open@v1.0.0";

/// A gateway with `sumdb.head_path`, and a record.
fn watched() -> (Gateway, Upstream, TempDir) {
    let volume = tempfile::tempdir().unwrap();
    let (gateway, upstream) = world(&format!("[sumdb]\nhead_path = {:?}\n", volume.path().join("head")));
    publish(&gateway, "pub", &module("corp.example.com/open"));
    looked_up(&gateway, &ask(&gateway, None, LOOKUP));
    (gateway, upstream, volume)
}

/// Every file below, with its content.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            files.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    files.sort();
    files
}

#[test]
fn a_log_that_is_not_the_one_that_was_there_stops_every_start_with_the_same_words_and_check_finds_it() {
    let (mut gateway, _upstream, volume) = watched();
    let (data, scratch) = (gateway.data_dir(), tempfile::tempdir().unwrap());
    let (older, kept, head_path) = (scratch.path().join("older"), scratch.path().join("kept"), volume.path().join("head"));
    gateway.terminate();
    copy(&data, &older);
    gateway.start();
    publish(&gateway, "pub", &module("corp.example.com/later"));
    looked_up(&gateway, &ask(&gateway, None, "lookup/corp.example.com/later@v1.0.0"));
    gateway.terminate();
    copy(&data, &kept);
    let head = fs::read(&head_path).unwrap();
    let log = |name: &str| data.join("sumdb/log").join(name);
    let cut = || fs::OpenOptions::new().write(true).open(log("tile/8/data/000")).unwrap().set_len(40).unwrap();
    let other_key = || fs::write(log("key"), SignerKey::generate("127.0.0.1").unwrap().secret()).unwrap();
    let back_to = |from: &Path| {
        fs::remove_dir_all(&data).unwrap();
        copy(from, &data);
    };
    let no_witness = || {
        fs::remove_dir_all(data.join("sumdb")).unwrap();
        fs::remove_file(data.join("sumdb-verifier")).unwrap();
    };
    let harms: [(&dyn Fn(), &str); 9] = [
        (&|| fs::remove_file(log("key")).unwrap(), "sumdb/log/key is gone: put it back from a copy"),
        (&|| fs::write(log("key"), "").unwrap(), "sumdb/log/key: malformed key"),
        (&other_key, "sumdb/log/head is not signed by the key beside it"),
        (&|| fs::remove_file(log("head")).unwrap(), "sumdb/log/head is gone: put it back from a copy"),
        (&cut, "tile/8/data/000 is damaged: it does not begin with 2 records"),
        (&|| fs::remove_dir_all(log("")).unwrap(), "sumdb-verifier tells that there was a checksum log: put it back"),
        (&no_witness, "head tells that there was a checksum log: put it back"),
        (&|| back_to(&older), "the checksum log has 1 records, and "),
        (&|| fs::remove_file(&head_path).unwrap(), "is gone, and it held a head of this log: is its volume mounted?"),
    ];
    for (harm, text) in harms {
        harm();
        let before = (files(&data.join("sumdb")), files(volume.path()));
        for _ in 0..2 {
            let (code, told) = gateway.start_refused();
            assert!(code == Some(1) && told.contains(text), "{text}: {told}");
        }
        let check = gateway.cli(&["check"]);
        assert!(check.code == Some(1) && check.stdout.contains(text), "{text}: {check}");
        let printed = gateway.cli(&["sumdb"]);
        assert!(printed.code == Some(1) && printed.stderr.contains(text), "{text}: {printed}");
        assert!((files(&data.join("sumdb")), files(volume.path())) == before, "{text}: nothing was made or changed");
        back_to(&kept);
        fs::write(&head_path, &head).unwrap();
    }
    gateway.start();
    assert!(gateway.cli(&["sumdb"]).ok().contains("\nsize 2\n"));
}

#[test]
fn a_stopped_gateway_is_looked_at_without_making_a_log() {
    let volume = tempfile::tempdir().unwrap();
    let (mut gateway, _upstream) = world("[sumdb]\nenabled = false\n");
    gateway.terminate();
    gateway.configure(&gateway.settings().replace("enabled = false", &format!("head_path = {:?}", volume.path().join("head"))));
    gateway.cli(&["check"]);
    assert!(gateway.cli(&["sumdb"]).failed().contains("of its own yet: the next start makes it"));
    gateway.cli(&["backup", volume.path().join("backup.tar").to_str().unwrap()]).ok();
    assert!(!gateway.data_dir().join("sumdb/log").exists() && !volume.path().join("head").exists());
    gateway.start();
    assert!(gateway.cli(&["sumdb"]).ok().contains("\nsize 0\n"));
}

#[test]
fn a_head_path_that_is_named_later_is_written_with_a_warning() {
    let (mut gateway, _upstream) = world("");
    publish(&gateway, "pub", &module("corp.example.com/open"));
    looked_up(&gateway, &ask(&gateway, None, LOOKUP));
    let volume = tempfile::tempdir().unwrap();
    gateway.terminate();
    gateway.configure(&format!("{}[sumdb]\nhead_path = {:?}\n", gateway.settings(), volume.path().join("head")));
    gateway.start();
    gateway.log_with(&["sumdb.head_path held no head of this log, and does now"]);
    assert_eq!(fs::read(volume.path().join("head")).unwrap(), fs::read(gateway.data_dir().join("sumdb/log/head")).unwrap());
}

#[test]
fn a_head_path_that_a_start_would_bring_up_to_date_is_no_finding_of_a_stopped_gateway() {
    let (mut gateway, _upstream, volume) = watched();
    let older = fs::read(volume.path().join("head")).unwrap();
    publish(&gateway, "pub", &module("corp.example.com/later"));
    looked_up(&gateway, &ask(&gateway, None, "lookup/corp.example.com/later@v1.0.0"));
    gateway.terminate();
    // As after a crash between the head and its copy.
    fs::write(volume.path().join("head"), older).unwrap();
    let unfound = |gateway: &Gateway| {
        let check = gateway.cli(&["check"]);
        assert!(!check.stdout.contains("sumdb: "), "{check}");
        assert!(gateway.cli(&["verify"]).ok().ends_with("ok: 2 hosted, 0 cached\n"));
    };
    unfound(&gateway);
    // And where it was never written.
    gateway.configure(&gateway.settings().replace("/head\"", "/new\""));
    unfound(&gateway);
    assert!(!volume.path().join("new").exists());
    gateway.start();
    assert!(volume.path().join("new").exists());
}

#[test]
fn a_log_that_is_whole_is_backed_up_whatever_is_wrong_with_its_head_path() {
    let (mut gateway, _upstream, volume) = watched();
    let key = key(&gateway);
    gateway.terminate();
    fs::write(volume.path().join("head"), "").unwrap();
    let archive = volume.path().join("backup.tar");
    let backup = gateway.cli(&["backup", archive.to_str().unwrap()]);
    assert!(backup.code == Some(1) && backup.stderr.contains("sumdb: sumdb.head_path: "), "{backup}");
    assert!(!backup.stderr.contains("left out"), "{backup}");
    let refused = gateway.cli_over(&volume.path().join("restored"), &[], &["restore", archive.to_str().unwrap()]);
    assert!(refused.failed().contains(&format!("the checksum database {} with 1 records", key.name())), "{refused}");
}

#[test]
fn verify_and_check_find_what_the_log_lost_while_it_ran_and_since() {
    let (mut gateway, _upstream, volume) = watched();
    let (log, head_path) = (gateway.data_dir().join("sumdb/log"), volume.path().join("head"));
    let says = format!("sumdb: {} has 1 records", key(&gateway));
    let check = gateway.cli(&["check"]);
    assert!(check.stderr.contains(&says), "{check}");
    assert!(gateway.cli(&["verify"]).ok().ends_with("ok: 1 hosted, 0 cached\n"));
    fs::set_permissions(log.join("key"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::remove_file(&head_path).unwrap();
    let tile = log.join("tile/8/data/000");
    let kept = fs::read_to_string(&tile).unwrap();
    fs::write(&tile, kept.replacen("h1:", "h1;", 1)).unwrap();
    let check = gateway.cli(&["check"]).stdout;
    assert!(check.contains("sumdb/log/key has mode 0644") && check.contains("it is gone, and held the newest head of the log"), "{check}");
    let verify = gateway.cli(&["verify"]).stdout;
    let lines: Vec<&str> = verify.lines().filter(|line| line.starts_with("log\t")).collect();
    assert_eq!(lines.len(), 2, "{verify}");
    assert!(lines[0].contains("head") && lines[1].contains("tile/8/data/000 is damaged: record 0"), "{verify}");
    // A backup of all the rest.
    let archive = volume.path().join("backup.tar");
    let backup = gateway.cli(&["backup", archive.to_str().unwrap()]);
    assert!(backup.code == Some(1) && backup.stderr.contains("sumdb/log: ") && backup.stderr.ends_with(": left out\n"), "{backup}");
    gateway.terminate();
    fs::write(&head_path, "").unwrap();
    let verify = gateway.cli(&["verify"]).stdout;
    assert!(verify.contains("log\t") && verify.ends_with("1 finding: 1 hosted, 0 cached\n"), "{verify}");
    // Of which nobody is asked what becomes of the log.
    fs::remove_file(&head_path).unwrap();
    let restored = gateway.cli_over(&volume.path().join("restored"), &[], &["restore", archive.to_str().unwrap()]);
    assert!(restored.code == Some(1) && restored.stdout.contains("1 hosted versions"), "{restored}");
    assert!(restored.stderr.contains("warning: this backup holds no checksum database of the gateway's own: the next start"), "{restored}");
}
