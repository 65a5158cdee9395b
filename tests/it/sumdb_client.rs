//! The gateway's own client of the public checksum database, before one that does harm.

use std::fs;

use serde_json::Value;

use crate::support::gateway::Gateway;
use crate::support::go::Go;
use crate::support::hostile::Hostile;
use crate::support::http::{self, Response};
use crate::support::upstream::{Tree, Upstream};
use crate::support::zips;

/// By what the tree is first known.
pub(super) const FIRST: &str = "example.net/alpha@v1.2.0";
/// What is asked for then.
pub(super) const NEXT: &str = "example.net/beta@v1.0.0";

pub(super) fn complete() -> Upstream {
    Upstream::start_with(zips::load("modules"), Tree::Complete)
}

pub(super) fn look_up(gateway: &Gateway, upstream: &Upstream, module: &str) -> Response {
    let target = format!("/sumdb/{}/lookup/{module}", upstream.sumdb_name());
    http::get(gateway.address(), &target).unwrap_or_else(|e| panic!("{target}: {e}"))
}

/// Whether the cache holds anything of a module.
fn holds(gateway: &Gateway, upstream: &Upstream, module: &str) -> bool {
    let (path, version) = module.split_once('@').expect("a version");
    let download = gateway.data_dir().join("cache/download");
    let files = [".mod", ".zip"].map(|ext| format!("{path}/@v/{version}{ext}"));
    download.join(format!("sumdb/{}/lookup/{module}", upstream.sumdb_name())).exists()
        || files.iter().any(|file| download.join(file).exists())
}

/// The events of one name in the audit trail.
pub(super) fn events(gateway: &Gateway, name: &str) -> Vec<Value> {
    let printed = gateway.cli(&["audit", "--json"]).ok().to_owned();
    let lines = printed.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines.filter(|line| line["event"] == name).collect()
}

/// The gateway says 502 and this, the go command sees an error and no absence, and nothing stays.
#[track_caller]
fn is_refused(gateway: &Gateway, upstream: &Upstream, hostile: Hostile, text: &str) {
    upstream.turn(hostile);
    let answer = look_up(gateway, upstream, NEXT);
    assert_eq!(answer.status, 502, "{hostile:?}: {}", answer.body_text());
    assert!(answer.body_text().contains(text), "{hostile:?}: {}", answer.body_text());
    let go = Go::new(&format!("{},off", gateway.url()), upstream.gosumdb());
    let ran = go.run(&["mod", "download", NEXT]);
    assert!(ran.code == Some(1) && ran.stderr.contains("502 Bad Gateway"), "{hostile:?}: {ran}");
    assert!(!holds(gateway, upstream, NEXT), "{hostile:?}");
    upstream.turn_honest();
}

#[test]
fn what_the_database_says_falsely_is_a_502_that_leaves_nothing_and_is_recorded() {
    let upstream = complete();
    let gateway = Gateway::builder().upstream(&upstream).start();
    for (hostile, text) in [
        (Hostile::TilesEmpty, "a tile of 0 bytes"),
        (Hostile::TilesShort, "a tile of"),
        (Hostile::TilesEndless, "longer than any such answer may be"),
        (Hostile::TilesOfAnotherPlace, "inconsistent tile"),
        (Hostile::RecordOfAnotherModule, "not one record of example.net/beta@v1.0.0"),
        (Hostile::RecordOfAnotherVersion, "not one record of example.net/beta@v1.0.0"),
        (Hostile::RecordAltered, "cannot authenticate record"),
        (Hostile::LookupEndless, "longer than any such answer may be"),
        (Hostile::SignatureForged, "invalid signature"),
        (Hostile::SignedByAnotherKey, "is not signed by"),
        (Hostile::SignaturesTooMany, "malformed note"),
    ] {
        let before = events(&gateway, "integrity").len();
        is_refused(&gateway, &upstream, hostile, text);
        let told = events(&gateway, "integrity").split_off(before);
        let names = |event: &Value| {
            let is = |key: &str, text: &str| event[key].as_str().is_some_and(|found| found.contains(text));
            is("kind", "checksum-database") && is("path", &format!("lookup {NEXT}")) && is("text", text)
        };
        assert!(told.iter().any(names), "{hostile:?}: {told:?}");
        // Once tiles are proven they are not asked for: what is false of them comes first, to one that knows none.
        if hostile == Hostile::TilesOfAnotherPlace {
            assert_eq!(look_up(&gateway, &upstream, FIRST).status, 200);
        }
    }
    for (hostile, text) in [(Hostile::DatabaseFails, "cannot be reached"), (Hostile::DatabaseCuts, "cannot be reached")] {
        is_refused(&gateway, &upstream, hostile, text);
    }
    // What the database says that it has not is the one absence.
    upstream.turn(Hostile::LookupMissing);
    let absent = look_up(&gateway, &upstream, NEXT);
    assert_eq!(absent.status, 404, "{}", absent.body_text());
    upstream.turn_honest();
    let go = Go::new(&format!("{},off", gateway.url()), upstream.gosumdb());
    go.run(&["mod", "download", NEXT]).ok();
    assert!(holds(&gateway, &upstream, NEXT));
}

#[test]
fn an_older_head_of_the_same_tree_is_borne_and_the_newest_is_remembered() {
    let upstream = complete();
    let gateway = Gateway::builder().upstream(&upstream).start();
    assert_eq!(look_up(&gateway, &upstream, FIRST).status, 200);
    let newest = gateway.cli(&["sumdb", "state"]).ok().to_owned();
    upstream.turn(Hostile::Shrunk);
    let answer = look_up(&gateway, &upstream, NEXT);
    assert_eq!(answer.status, 200, "{}", answer.body_text());
    assert!(holds(&gateway, &upstream, NEXT));
    assert_eq!(gateway.cli(&["sumdb", "state"]).ok(), newest);
    assert!(newest.starts_with("newest\tsum.example.net\t"), "{newest}");
}

#[test]
fn a_fork_also_across_a_restart_stops_what_is_new_until_an_operator_decides() {
    for (hostile, side) in [(Hostile::ForkOlder, "kept"), (Hostile::ForkNewer, "shown")] {
        let upstream = complete();
        let mut gateway = Gateway::builder().upstream(&upstream).start();
        let go = Go::new(&format!("{},off", gateway.url()), upstream.gosumdb());
        go.run(&["mod", "download", FIRST]).ok();
        gateway.restart();
        is_refused(&gateway, &upstream, hostile, "shows two trees");
        let forks = events(&gateway, "sumdb-fork");
        let [fork] = &forks[..] else { panic!("{hostile:?}: {forks:?}") };
        assert_ne!(fork["kept"]["root"], fork["shown"]["root"]);
        // What was taken in before is served, nothing else is, also after another restart and however honest the database is now.
        gateway.restart();
        assert_eq!(look_up(&gateway, &upstream, FIRST).status, 200);
        let fresh = Go::new(&format!("{},off", gateway.url()), "off");
        fresh.run(&["mod", "download", FIRST]).ok();
        assert_eq!(look_up(&gateway, &upstream, NEXT).status, 502);
        let ready = http::get(gateway.address(), "/readyz").expect("an answer");
        assert!(ready.status == 200 && ready.body_text().contains("degraded: sum.example.net shows two trees"), "{}", ready.body_text());
        let metrics = http::get(gateway.admin_address(), "/metrics").expect("an answer").body_text();
        assert!(metrics.contains("\nmodgate_sumdb_forked 1\n"), "{metrics}");
        let state = gateway.cli(&["sumdb", "state"]);
        assert!(state.code == Some(1) && state.stdout.starts_with("kept\t") && state.stdout.contains("\nshown\t"), "{state}");
        assert!(gateway.log().matches("the checksum database shows two trees").count() == 1);
        assert_eq!(gateway.cli(&["sumdb", "trust"]).code, Some(2));
        let trusted = gateway.cli(&["sumdb", "trust", side]);
        trusted.ok();
        let (decided, again) = (events(&gateway, "sumdb-trusted"), gateway.cli(&["sumdb", "trust", side]));
        assert!(decided.len() == 1 && decided[0]["side"] == side && decided[0]["head"] == fork[side], "{decided:?}");
        assert!(again.code == Some(1) && again.stderr.contains("nothing to decide"), "{again}");
        let known = fs::read_dir(gateway.data_dir().join("sumdb/public")).expect("a folder").next().expect("one").expect("one").path();
        let names: Vec<_> = fs::read_dir(known).expect("a folder").map(|e| e.expect("a name").file_name()).collect();
        assert!(
            names.iter().any(|name| name.to_string_lossy().starts_with("fork-")) && !names.iter().any(|name| name == "fork"),
            "{names:?}"
        );
        if side == "shown" {
            upstream.turn(hostile);
        }
        let answer = look_up(&gateway, &upstream, NEXT);
        assert_eq!(answer.status, 200, "{hostile:?}: {}", answer.body_text());
        upstream.turn_honest();
    }
}

#[test]
fn a_database_that_has_a_url_is_asked_there_and_not_by_way_of_the_proxies() {
    let (modules, database) = (complete(), complete());
    let settings = format!(
        "[upstream]\ngoproxy = \"{}\"\nsumdb = \"{} {}/sumdb/{}\"\n",
        modules.url(),
        database.gosumdb(),
        database.url(),
        database.sumdb_name()
    );
    let gateway = Gateway::builder().config(&settings).start();
    let go = Go::new(&format!("{},off", gateway.url()), database.gosumdb());
    go.run(&["mod", "download", FIRST, NEXT]).ok();
    assert!(modules.seen().iter().all(|request| !request.target.starts_with("/sumdb/")));
    assert!(!database.seen().is_empty() && database.seen().iter().all(|request| request.target.starts_with("/sumdb/")));
    database.dead();
    assert_eq!(look_up(&gateway, &database, "example.net/beta@v1.1.0").status, 502);
}

#[test]
fn commands_decide_also_while_no_server_runs() {
    let upstream = complete();
    let mut gateway = Gateway::builder().upstream(&upstream).start();
    assert_eq!(look_up(&gateway, &upstream, FIRST).status, 200);
    upstream.turn(Hostile::ForkOlder);
    assert_eq!(look_up(&gateway, &upstream, NEXT).status, 502);
    upstream.turn_honest();
    gateway.kill();
    assert_eq!(gateway.cli(&["sumdb", "state"]).code, Some(1));
    gateway.cli(&["sumdb", "trust", "kept"]).ok();
    gateway.cli(&["sumdb", "state"]).ok();
    gateway.start();
    assert_eq!(look_up(&gateway, &upstream, NEXT).status, 200);
}
