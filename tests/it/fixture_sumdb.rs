//! The fixture upstream's checksum database, judged by the real go command: it is honest, and each way of harm is seen.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;

use tlog_tiles::record_hash;

use crate::support::go::Go;
use crate::support::hostile::Hostile;
use crate::support::http::{self, Response};
use crate::support::upstream::{Tree, Upstream};
use crate::support::zips::{self, Module, escape};

/// What a client learns the tree's head by, before harm is done.
const FIRST: &str = "example.net/alpha@v1.2.0";
/// What it asks for then. The database has other versions of it.
const NEXT: &str = "example.net/beta@v1.0.0";
/// More than any answer has that ends.
const A_LOT: u64 = 4 << 20;

fn complete() -> Upstream {
    Upstream::start_with(zips::load("modules"), Tree::Complete)
}

fn go(upstream: &Upstream) -> Go {
    Go::new(&upstream.url(), upstream.gosumdb())
}

fn get(upstream: &Upstream, ask: &str) -> Response {
    let target = format!("/sumdb/{}/{ask}", upstream.sumdb_name());
    http::get(upstream.address(), &target).unwrap_or_else(|e| panic!("{target}: {e}"))
}

/// Modules that go can have: what the database says of the others is not what the upstream serves.
fn sound() -> Vec<Module> {
    zips::load("modules").into_iter().filter(|m| m.gone.is_none() && !m.tampered).collect()
}

#[test]
fn go_has_the_hashes_of_every_module_that_the_database_has() {
    for (name, tree) in [("sum.example.net", Tree::Complete), ("sum.fixture.example/of/modules", Tree::Growing)] {
        let upstream = Upstream::start_named(name, zips::load("modules"), tree);
        let names: Vec<_> = sound().iter().map(Module::name).collect();
        let mut args = vec!["mod", "download", "-json"];
        args.extend(names.iter().map(String::as_str));
        let downloaded = Go::json(&go(&upstream).run(&args));
        assert_eq!(downloaded.len(), names.len());
        for module in downloaded {
            let text = |key: &str| module[key].as_str().unwrap_or_else(|| panic!("no {key} in {module}")).to_owned();
            let (path, version) = (text("Path"), text("Version"));
            let looked_up = format!("lookup/{}@{}", escape(&path), escape(&version));
            let lines = format!("\n{path} {version} {}\n{path} {version}/go.mod {}\n\n", text("Sum"), text("GoModSum"));
            let answer = get(&upstream, &looked_up).body_text();
            assert!(answer.contains(&lines), "{answer}\nis not\n{lines}");
            assert_eq!(upstream.count(&format!("/sumdb/{name}/{looked_up}")), 2, "{looked_up}");
        }
    }
}

#[test]
fn a_complete_tree_is_the_same_in_every_run() {
    let (one, other) = (complete(), complete());
    assert_eq!(one.gosumdb(), other.gosumdb());
    assert_eq!(get(&one, "latest").body, get(&other, "latest").body);
}

#[test]
fn a_version_has_its_record_from_its_first_look_up_on() {
    let upstream = Upstream::start_with(Vec::new(), Tree::Growing);
    let begun = get(&upstream, "latest").body;
    assert_eq!(get(&upstream, "lookup/example.net/added@v1.0.0").status, 404);
    let module = Module::parse("example.net/added@v1.0.0\n-- go.mod --\nmodule example.net/added\n");
    upstream.add(module.clone());
    // As tests add a module that is answered literally.
    upstream.answer("/example.net/told/@v/v1.0.0.mod", Response::text(200, "module example.net/told\n"));
    assert_eq!(get(&upstream, "lookup/example.net/told@v1.0.0").status, 404, "it has no zip");
    let told = Module::parse("example.net/told@v1.0.0\n-- go.mod --\nmodule example.net/told\n");
    upstream.answer("/example.net/told/@v/v1.0.0.zip", Response::of(200, "application/zip", told.zip()));
    upstream.answer("/example.net/told/@v/v1.0.0.info", Response::text(200, told.info.clone()));
    assert_eq!(get(&upstream, "latest").body, begun);

    let names = [module.name(), told.name()];
    go(&upstream).run(&["mod", "download", &names[0], &names[1]]).ok();
    let grown = get(&upstream, "latest").body;
    assert_ne!(grown, begun);
    assert!(get(&upstream, "lookup/example.net/added@v1.0.0").body.ends_with(&grown));
    assert_eq!(get(&upstream, "latest").body, grown);
    assert_eq!(get(&upstream, "lookup/example.net/added@v1").status, 400);
}

#[test]
fn tiles_are_whole_or_partial_and_data_tiles_hold_the_records_that_are_hashed() {
    let upstream = complete();
    let hashes = get(&upstream, "tile/8/0/000").body;
    assert_eq!(hashes.len(), 256 * 32);
    assert_eq!(get(&upstream, "tile/8/0/000.p/3").body, hashes[..3 * 32]);
    assert_eq!(get(&upstream, "tile/8/1/000.p/2").body.len(), 2 * 32);
    let text = get(&upstream, "tile/8/data/000").body_text();
    let records: Vec<_> = text.split_terminator("\n\n").map(|record| record_hash(format!("{record}\n").as_bytes()).0).collect();
    assert_eq!(records.len(), 256);
    assert_eq!(records.concat(), hashes);
    for (ask, status) in [
        ("tile/8/0/001", 200),
        ("tile/8/0/002", 404),
        ("tile/8/1/000", 404),
        ("tile/8/63/000.p/1", 404),
        ("tile/8/data/x999/x999/x999/x999/999", 404),
        ("tile/9/0/000", 404),
        ("tile/8/0/0", 400),
        ("tile/8/0/000.p/256", 400),
        ("tile/8/0/000.p/0", 400),
        ("tile/8/64/000", 400),
        ("other", 404),
    ] {
        assert_eq!(get(&upstream, ask).status, status, "{ask}");
    }
}

/// What go makes of one way of harm.
enum Outcome {
    /// It says this, and has no module.
    Refuses(&'static str),
    /// It has the module: there is nothing wrong that it looks at, or nothing that it must not bear.
    Bears,
}

/// Each way, but those whose answers do not end; whether go knows the tree's head and its tiles before; and the outcome.
const SEEN_BY_GO: &[(Hostile, bool, Outcome)] = &[
    (Hostile::OtherZip, true, Outcome::Refuses("verifying module: checksum mismatch")),
    (Hostile::OtherMod, true, Outcome::Refuses("verifying go.mod: checksum mismatch")),
    (Hostile::ZipListsOther, true, Outcome::Refuses("verifying module: checksum mismatch")),
    (Hostile::ZipStreamsOther, true, Outcome::Bears),
    (Hostile::LengthShort, true, Outcome::Refuses("verifying go.mod: checksum mismatch")),
    (Hostile::LengthLong, true, Outcome::Refuses("unexpected EOF")),
    (Hostile::RecordOfAnotherModule, true, Outcome::Refuses("checksum missing from sumdb response")),
    (Hostile::RecordOfAnotherVersion, true, Outcome::Refuses("checksum missing from sumdb response")),
    (Hostile::RecordAltered, true, Outcome::Refuses("cannot authenticate record data in server response")),
    (Hostile::LookupMissing, true, Outcome::Refuses("404 Not Found")),
    (Hostile::SignatureForged, true, Outcome::Refuses("invalid signature")),
    (Hostile::SignedByAnotherKey, true, Outcome::Refuses("note has no verifiable signatures")),
    (Hostile::SignaturesTooMany, true, Outcome::Refuses("malformed note")),
    (Hostile::ForkNewer, true, Outcome::Refuses("SECURITY ERROR")),
    (Hostile::ForkOlder, true, Outcome::Refuses("SECURITY ERROR")),
    (Hostile::Shrunk, true, Outcome::Bears),
    (Hostile::TilesEmpty, false, Outcome::Refuses("len=0, want 64")),
    (Hostile::TilesShort, false, Outcome::Refuses("len=63, want 64")),
    (Hostile::TilesOfAnotherPlace, false, Outcome::Refuses("downloaded inconsistent tile")),
    (Hostile::DatabaseCuts, true, Outcome::Refuses("EOF")),
    (Hostile::DatabaseFails, true, Outcome::Refuses("500 Internal Server Error")),
];

/// The ways whose answers do not end, or do not begin: go waits.
const WITHOUT_END: [Hostile; 3] = [Hostile::LookupEndless, Hostile::TilesEndless, Hostile::DatabaseHangs];

#[test]
fn go_sees_each_way_of_harm() {
    let all: Vec<_> = SEEN_BY_GO.iter().map(|(hostile, ..)| *hostile).chain(WITHOUT_END).collect();
    assert!(Hostile::ALL.iter().all(|hostile| all.contains(hostile)) && all.len() == Hostile::ALL.len(), "{all:?}");
    let upstream = complete();
    let mut wrong = Vec::new();
    for (hostile, prepared, outcome) in SEEN_BY_GO {
        let go = go(&upstream);
        if *prepared {
            go.run(&["mod", "download", FIRST]).ok();
        }
        upstream.turn(*hostile);
        let ran = go.run(&["mod", "download", NEXT]);
        upstream.turn_honest();
        let has_it = go.cache().contains("beta/@v/v1.0.0.ziphash");
        let as_told = match outcome {
            Outcome::Refuses(text) => ran.code == Some(1) && ran.stderr.contains(text) && !has_it,
            Outcome::Bears => ran.code == Some(0) && has_it,
        };
        if !as_told {
            wrong.push(format!("=== {hostile:?}\n{ran}"));
        }
    }
    // Nothing of it stays in the upstream: another machine gets what is right.
    go(&upstream).run(&["mod", "download", NEXT]).ok();
    assert!(wrong.is_empty(), "go did not do what the table says:\n{}", wrong.join("\n"));
}

#[test]
fn go_waits_for_a_database_that_hangs_while_modules_are_served() {
    let upstream = complete();
    let go = go(&upstream);
    upstream.turn(Hostile::DatabaseHangs);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| go.run(&["mod", "download", NEXT]));
        upstream.wait_for(|r| r.target.starts_with("/sumdb/"));
        let zip = http::get(upstream.address(), "/example.net/beta/@v/v1.0.0.zip").expect("modules are served");
        assert_eq!(zip.status, 200);
        assert!(!waiting.is_finished());
        upstream.turn_honest();
        waiting.join().expect("no panic").ok();
    });
}

#[test]
fn what_is_endless_goes_on_beyond_what_is_right() {
    let upstream = complete();
    for (hostile, ask) in [(Hostile::LookupEndless, format!("lookup/{NEXT}")), (Hostile::TilesEndless, "tile/8/0/000".to_owned())] {
        let right = get(&upstream, &ask).body;
        upstream.turn(hostile);
        let mut stream = TcpStream::connect(upstream.address()).expect("connect");
        stream.set_read_timeout(Some(http::PATIENCE)).expect("a deadline");
        write!(stream, "GET /sumdb/{}/{ask} HTTP/1.1\r\nHost: x\r\n\r\n", upstream.sumdb_name()).expect("ask");
        let mut got = Vec::new();
        stream.take(A_LOT).read_to_end(&mut got).expect("it goes on");
        assert_eq!(got.len() as u64, A_LOT, "{hostile:?}");
        assert!(got.windows(right.len()).any(|w| w == right), "{hostile:?}: it does not begin with what is right");
        upstream.turn_honest();
    }
}

#[test]
fn look_ups_of_private_paths_are_recorded_whatever_the_database_does() {
    let upstream = Upstream::start_named("sum.fixture.example/of/modules", zips::load("modules"), Tree::Complete);
    let ways = Hostile::ALL.into_iter().filter(|hostile| !WITHOUT_END.contains(hostile));
    let mut asked = BTreeSet::new();
    for (number, hostile) in ways.enumerate() {
        upstream.turn(hostile);
        let target = format!("/sumdb/{}/lookup/corp.example.com%2flib{number}@v1.0.0", upstream.sumdb_name());
        // Some ways end it without an answer.
        drop(http::get(upstream.address(), &target));
        asked.insert(target);
    }
    let seen = upstream.violations();
    for target in asked {
        assert!(seen.iter().any(|line| line.contains(&target)), "{target} is not among\n{}", seen.join("\n"));
    }
    upstream.tolerate_private();
}
