//! What comes from upstream is what the checksum database says, or does not come in.

use serde_json::Value;

use crate::support::gateway::Gateway;
use crate::support::go::Go;
use crate::support::hostile::Hostile;
use crate::support::http::{self, Response};
use crate::support::upstream::{Tree, Upstream};
use crate::support::zips;

const MODULE: &str = "example.net/alpha@v1.2.0";
const ZIP: &str = "/example.net/alpha/@v/v1.2.0.zip";
const MOD: &str = "/example.net/alpha/@v/v1.2.0.mod";
const OTHER: &str = "/example.net/beta/@v/v1.0.0.zip";
/// No room for anything.
const NO_ROOM: &str = "[cache]\nmax_size = 0\n";
const OFF: &str = "[upstream]\nverify = \"off\"\n";

fn complete() -> Upstream {
    Upstream::start_with(zips::load("modules"), Tree::Complete)
}

fn get(gateway: &Gateway, target: &str) -> Response {
    http::get(gateway.address(), target).unwrap_or_else(|e| panic!("{target}: {e}"))
}

fn mismatches(gateway: &Gateway) -> Vec<Value> {
    let printed = gateway.cli(&["audit", "--json"]).ok().to_owned();
    let lines = printed.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines.filter(|line| line["event"] == "mismatch").collect()
}

/// Whether the cache holds a file.
fn holds(gateway: &Gateway, target: &str) -> bool {
    gateway.data_dir().join("cache/download").join(&target[1..]).exists()
}

#[test]
fn another_file_than_the_database_has_a_hash_of_is_a_502_that_leaves_nothing_and_is_recorded() {
    let upstream = complete();
    let gateway = Gateway::builder().upstream(&upstream).start();
    let host = upstream.address().to_string();
    // One that says just what another said is not recorded again.
    for (hostile, version, file) in
        [(Hostile::OtherZip, "v1.2.0", ".zip"), (Hostile::ZipListsOther, "v1.1.0", ".zip"), (Hostile::OtherMod, "v1.2.0", ".mod")]
    {
        let (module, target) = (format!("example.net/alpha@{version}"), &format!("/example.net/alpha/@v/{version}{file}"));
        upstream.turn(hostile);
        let before = mismatches(&gateway).len();
        let answer = get(&gateway, target);
        assert!(answer.status == 502 && answer.body_text().contains("checksum mismatch"), "{hostile:?}: {}", answer.body_text());
        assert!(!holds(&gateway, target), "{hostile:?}");
        let told = mismatches(&gateway).split_off(before);
        let [told] = &told[..] else { panic!("{hostile:?}: {told:?}") };
        let fields =
            [("path", "example.net/alpha"), ("version", version), ("file", file), ("from", &host), ("database", upstream.sumdb_name())];
        for (key, text) in fields {
            assert_eq!(told[key].as_str(), Some(text), "{told}");
        }
        assert!(told["expected"] != told["found"] && told["found"].as_str().is_some_and(|h1| h1.starts_with("h1:")), "{told}");
        // The go command does not take it for an absence, and needs no checksum database of its own to be safe.
        let mut go = Go::new(&format!("{},off", gateway.url()), "off");
        let ran = go.set("GONOSUMDB", "*").run(&["mod", "download", &module]);
        assert!(ran.code == Some(1) && ran.stderr.contains("502 Bad Gateway"), "{hostile:?}: {ran}");
        assert_eq!(mismatches(&gateway).len(), before + 1, "{hostile:?}: the go command's is the same");
        upstream.turn_honest();
        assert_eq!(get(&gateway, target).status, 200, "{hostile:?}");
        gateway.cli(&["refresh", "--purge", "example.net/alpha"]).ok();
    }
    // What counts is what the directory of a zip lists, as the go command unpacks it.
    upstream.turn(Hostile::ZipStreamsOther);
    assert_eq!(get(&gateway, ZIP).status, 200);
}

#[test]
fn a_zip_for_which_there_is_no_room_has_no_end_unless_it_is_what_the_database_says() {
    let upstream = complete();
    let gateway = Gateway::builder().upstream(&upstream).config(NO_ROOM).start();
    let whole = get(&gateway, ZIP);
    assert_eq!(whole.status, 200);
    for hostile in [Hostile::OtherZip, Hostile::ZipListsOther, Hostile::ZipStreamsOther] {
        upstream.turn(hostile);
        // The head may be on its way already: then the connection is cut.
        if let Ok(answer) = http::get(gateway.address(), ZIP) {
            assert_eq!(answer.status, 502, "{hostile:?}");
        }
        let go = Go::new(&format!("{},off", gateway.url()), upstream.gosumdb());
        go.run(&["mod", "download", MODULE]).failed();
    }
    upstream.turn(Hostile::OtherMod);
    assert_eq!(get(&gateway, MOD).status, 502);
    upstream.turn_honest();
    assert!(get(&gateway, ZIP).body == whole.body);
}

#[test]
fn what_is_verified_and_cached_is_served_with_the_database_dead_and_nothing_new_enters() {
    let upstream = complete();
    let mut gateway = Gateway::builder().upstream(&upstream).start();
    let lookup = format!("/sumdb/{}/lookup/{MODULE}", upstream.sumdb_name());
    let first = [ZIP, MOD].map(|target| get(&gateway, target).body);
    let asked = upstream.count(&lookup);
    assert_eq!(asked, 1);
    upstream.turn(Hostile::DatabaseFails);
    gateway.restart();
    for (target, body) in [ZIP, MOD].into_iter().zip(&first) {
        assert!(get(&gateway, target).body == *body, "{target}");
    }
    assert_eq!((get(&gateway, &lookup).status, upstream.count(&lookup)), (200, asked));
    let answer = get(&gateway, OTHER);
    assert!(answer.status == 502 && answer.body_text().contains("cannot be reached"), "{}", answer.body_text());
    assert!(!holds(&gateway, OTHER));
}

#[test]
fn what_the_database_does_not_know_enters_only_if_a_pattern_names_it_and_is_checked_when_that_goes() {
    let upstream = complete();
    upstream.turn(Hostile::LookupMissing);
    let gateway = Gateway::builder().upstream(&upstream).start();
    let answer = get(&gateway, ZIP);
    assert!(answer.status == 502 && answer.body_text().contains("upstream.unverified"), "{}", answer.body_text());
    let required = gateway.settings();
    gateway.configure(&required.replace("[upstream]\n", "[upstream]\nunverified = [\"example.net/*\"]\n"));
    gateway.reload();
    assert_eq!(get(&gateway, ZIP).status, 200);
    assert!(gateway.cli(&["explain", "example.net/alpha"]).ok().contains("verified: none, upstream is believed: pattern example.net/*"));
    gateway.configure(&required);
    gateway.reload();
    assert_eq!(get(&gateway, ZIP).status, 502);
    assert!(gateway.cli(&["explain", "example.net/alpha"]).ok().contains(&format!("verified: by {}", upstream.sumdb_name())));
    upstream.turn_honest();
    let before = upstream.count(ZIP);
    assert_eq!((get(&gateway, ZIP).status, upstream.count(ZIP)), (200, before));
}

#[test]
fn what_another_key_of_the_same_name_vouched_for_is_checked_after_a_reload() {
    let upstream = complete();
    let gateway = Gateway::builder().upstream(&upstream).start();
    let bodies = [ZIP, MOD].map(|target| get(&gateway, target).body);
    let another = upstream.another_gosumdb();
    assert_eq!(another.split('+').next(), Some(upstream.sumdb_name()));
    gateway.configure(&gateway.settings().replace(upstream.gosumdb(), &another));
    gateway.reload();
    // The database signs with the key of before.
    for target in [ZIP, MOD] {
        let answer = get(&gateway, target);
        assert!(answer.status == 502 && answer.body_text().contains("does not hold"), "{target}: {}", answer.body_text());
    }
    upstream.turn(Hostile::SignedByAnotherKey);
    for (target, body) in [ZIP, MOD].into_iter().zip(&bodies) {
        assert!(get(&gateway, target).body == *body, "{target}");
        assert_eq!(upstream.count(target), 1, "{target}");
    }
}

#[test]
fn while_nothing_is_verified_that_is_said_everywhere_and_what_entered_so_is_checked_afterwards() {
    let upstream = complete();
    upstream.turn(Hostile::OtherZip);
    let gateway = Gateway::builder().upstream(&upstream).config(OFF).start();
    let said = "nothing that comes from upstream is verified (upstream.verify";
    gateway.log_with(&[said]);
    assert!(get(&gateway, "/readyz").body_text().contains(&format!("degraded: {said})")));
    let evil = get(&gateway, ZIP);
    assert_eq!(evil.status, 200);
    assert!(gateway.cli(&["explain", "example.net/alpha"]).ok().contains("verified: off, upstream is believed: upstream.verify ("));
    gateway.configure(&gateway.settings().replace("verify = \"off\"\n", ""));
    gateway.reload();
    assert_eq!(get(&gateway, "/readyz").body_text(), "ready\n");
    assert_eq!(get(&gateway, ZIP).status, 502);
    upstream.turn_honest();
    let good = get(&gateway, ZIP);
    assert!(good.status == 200 && good.body != evil.body);
    let from: Vec<_> = mismatches(&gateway).iter().map(|line| line["from"].as_str().unwrap_or_default().to_owned()).collect();
    assert_eq!(from, ["the cache".to_owned(), upstream.address().to_string()]);
}
