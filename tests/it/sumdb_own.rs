//! Our own checksum database, from outside: GOPROXY and GOSUMDB alone are enough for the real go command, and a stranger learns nothing.

mod conflicts;
mod faults;
mod strangers;

use std::fs;

use modgate::tlog::{Lookup, SignedHead, VerifierKey};
use serde_json::Value;

use super::access_matrix::basic;
use super::sumdb_log::copy;
use crate::support::curl::{self, Login};
use crate::support::gateway::Gateway;
use crate::support::go::Go;
use crate::support::hostile::Hostile;
use crate::support::http::{self, Response};
use crate::support::upstream::{Tree, Upstream};
use crate::support::zips::{self, Module};

const SETTINGS: &str = r#"
[private]
patterns = ["corp.example.com"]
[owners.pub]
visibility = "public"
[owners.priv]
visibility = "private"
"#;

pub(super) fn module(path: &str) -> Module {
    module_of(path, "v1.0.0", "package a\n")
}

fn module_of(path: &str, version: &str, source: &str) -> Module {
    Module::parse(&format!("{path}@{version}\n-- go.mod --\nmodule {path}\n-- a.go --\n{source}"))
}

pub(super) fn publish(gateway: &Gateway, owner: &str, module: &Module) {
    let zip = module.write_zip(gateway.data_dir().parent().expect("a folder"));
    curl::publish(&gateway.url(), owner, Some(&gateway.admin()), &zip, None).is(201);
}

pub(super) fn key(gateway: &Gateway) -> VerifierKey {
    gateway.gosumdb().parse().expect("a verifier key")
}

/// Below the gateway's root, as go asks through a proxy.
pub(super) fn ask(gateway: &Gateway, who: Option<&Login>, what: &str) -> Response {
    let authorization = who.map(|login| basic(&login.user, &login.password));
    let headers: Vec<(&str, &str)> = authorization.iter().map(|value| ("Authorization", value.as_str())).collect();
    gateway.ask("GET", &format!("/sumdb/{}/{what}", key(gateway).name()), &headers)
}

/// The last part of our database's name.
fn hash(gateway: &Gateway) -> String {
    key(gateway).name().rsplit('/').next().expect("a hash").to_owned()
}

/// How many records `modgate sumdb` prints.
fn size(gateway: &Gateway) -> u64 {
    let printed = gateway.cli(&["sumdb"]).ok().to_owned();
    printed.lines().nth(1).and_then(|line| line.strip_prefix("size ")).and_then(|size| size.parse().ok()).expect("a size")
}

/// The audit trail's events of one kind.
fn events(gateway: &Gateway, event: &str) -> Vec<Value> {
    let printed = gateway.cli(&["audit", "--json"]).ok().to_owned();
    let lines = printed.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines.filter(|line| line["event"] == event).collect()
}

pub(super) fn looked_up(gateway: &Gateway, answer: &Response) -> (u64, String) {
    assert_eq!(answer.status, 200, "{}", answer.body_text());
    let lookup = Lookup::parse(&answer.body).expect("a look-up");
    let head = *SignedHead::open(lookup.note, &key(gateway)).expect("signed").head();
    assert!(lookup.id < head.size);
    (lookup.id, lookup.record.as_str().to_owned())
}

pub(super) fn world(config: &str) -> (Gateway, Upstream) {
    let upstream = Upstream::start_with(zips::load("modules"), Tree::Complete);
    (Gateway::builder().upstream(&upstream).config(SETTINGS).config(config).start(), upstream)
}

#[test]
fn a_proxy_and_a_key_are_enough_for_go_to_verify_what_is_hosted_and_what_is_public() {
    let (mut gateway, _upstream) = world("");
    publish(&gateway, "pub", &module("corp.example.com/open"));
    let key = key(&gateway);
    for round in 0..2 {
        let go = Go::new(&gateway.url(), &key.to_string());
        for version in ["corp.example.com/open@v1.0.0", "example.net/alpha@v1.2.0"] {
            go.run(&["mod", "download", version]).ok();
        }
        assert_eq!(go.dialled(), [""; 0], "nobody else was asked");
        // Where no proxy is asked, it is by its name.
        let direct = Go::new(&gateway.url(), &format!("{key} {}/{}", gateway.url(), key.name().rsplit('/').next().expect("a hash")));
        direct.run(&["mod", "download", "corp.example.com/open@v1.0.0"]).ok();
        let printed = gateway.cli(&["sumdb"]).ok().to_owned();
        assert!(printed.starts_with(&format!("{key}\nsize 2\nroot ")), "round {round}: {printed}");
        gateway.restart();
    }
    let head = serde_json::from_str::<Value>(gateway.cli(&["sumdb", "--json"]).ok()).expect("JSON");
    assert_eq!((head["key"].as_str(), head["size"].as_u64()), (Some(&*key.to_string()), Some(2)));
}

#[test]
fn a_look_up_obeys_visibility_seals_and_outlives_a_delete() {
    let (gateway, _upstream) = world("");
    for (owner, path) in [("pub", "corp.example.com/open"), ("priv", "corp.example.com/secret")] {
        publish(&gateway, owner, &module(path));
    }
    let admin = gateway.admin();
    let secret = "lookup/corp.example.com/secret@v1.0.0";
    // The very answer of a module that is not there.
    let (hidden, none) = (ask(&gateway, None, secret), ask(&gateway, None, "lookup/corp.example.com/nobody@v1.0.0"));
    assert_eq!((hidden.status, none.status), (404, 404));
    assert_eq!(hidden.body_text(), none.body_text().replace("nobody", "secret"));
    assert_eq!(gateway.cli(&["sumdb"]).ok().lines().nth(1), Some("size 0"), "nothing was recorded for a stranger");
    let (id, record) = looked_up(&gateway, &ask(&gateway, Some(&admin), secret));
    assert_eq!(id, 0);
    assert!(record.starts_with("corp.example.com/secret v1.0.0 h1:"), "{record}");
    // What is in the log is as hidden as before.
    assert_eq!(ask(&gateway, None, secret).body, hidden.body);
    let missing = ask(&gateway, Some(&admin), "lookup/corp.example.com/secret@v9.9.9");
    assert_eq!(missing.status, 404);
    // It is sealed: other content by that name is refused, also when it was deleted.
    let target = format!("{}/api/v1/packages/priv/go/corp.example.com/secret/v1.0.0", gateway.url());
    curl::curl(&["--user", &format!("{}:{}", admin.user, admin.password), "-X", "DELETE"], &target, None).is(204);
    let other = Module::parse("corp.example.com/secret@v1.0.0\n-- go.mod --\nmodule corp.example.com/secret\n-- a.go --\npackage b\n");
    let zip = other.write_zip(gateway.data_dir().parent().expect("a folder"));
    curl::publish(&gateway.url(), "priv", Some(&admin), &zip, None).is(409);
    assert_eq!(looked_up(&gateway, &ask(&gateway, Some(&admin), secret)), (0, record.clone()));
    assert_eq!(ask(&gateway, None, secret).body, hidden.body);
    // The database is one, at whichever base the go command found it: it asks the first of its GOPROXY for what another has.
    let elsewhere = format!("/api/packages/pub/go/sumdb/{}/{secret}", key(&gateway).name());
    let login = basic(&admin.user, &admin.password);
    assert_eq!(looked_up(&gateway, &gateway.ask("GET", &elsewhere, &[("Authorization", &login)])), (0, record));
    assert_eq!(gateway.ask("GET", &elsewhere, &[]).body, hidden.body);
}

#[test]
fn what_is_downloaded_is_recorded_without_being_looked_up() {
    let (gateway, _upstream) = world("");
    publish(&gateway, "pub", &module("corp.example.com/open"));
    assert_eq!(gateway.ask("GET", "/corp.example.com/open/@v/v1.0.0.zip", &[]).status, 200);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while gateway.cli(&["sumdb"]).ok().lines().nth(1) != Some("size 1") {
        assert!(std::time::Instant::now() < deadline);
    }
}

#[test]
fn tiles_are_open_but_those_that_hold_names_and_none_lies_beyond_the_tree() {
    let (gateway, _upstream) = world("");
    publish(&gateway, "pub", &module("corp.example.com/open"));
    let (_, record) = looked_up(&gateway, &ask(&gateway, None, "lookup/corp.example.com/open@v1.0.0"));
    let admin = gateway.admin();
    for (who, what, status) in [
        (None, "supported", 200),
        (None, "latest", 200),
        (None, "tile/8/0/000.p/1", 200),
        (None, "tile/8/0/000.p/2", 404),
        (None, "tile/8/1/000.p/1", 404),
        (None, "tile/8/0/000.p/0", 400),
        (None, "tile/7/0/000", 400),
        (None, "tile/8/data/000.p/1", 403),
        (Some(&admin), "tile/8/data/000.p/1", 200),
        (Some(&admin), "tile/8/data/000.p/2", 404),
    ] {
        let answer = ask(&gateway, who, what);
        assert_eq!(answer.status, status, "{what}: {}", answer.body_text());
        if what == "tile/8/data/000.p/1" && status == 200 {
            assert_eq!(answer.body_text(), format!("{record}\n"));
        }
        // By the last part of its name alone it is the same.
        let hash = key(&gateway).name().rsplit('/').next().expect("a hash").to_owned();
        let headers = who.map(|login| basic(&login.user, &login.password));
        let headers: Vec<(&str, &str)> = headers.iter().map(|value| ("Authorization", value.as_str())).collect();
        assert_eq!(gateway.ask("GET", &format!("/{hash}/{what}"), &headers).body, answer.body, "{what}");
    }
    let metrics = http::get(gateway.admin_address(), "/metrics").expect("a page").body_text();
    for line in ["modgate_sumdb_log_records 1\n", "modgate_sumdb_log_tiles_beyond_total 6\n"] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    assert_eq!(gateway.ask("GET", "/00000000/latest", &[]).status, 404);
}

#[test]
fn a_public_record_is_the_verified_one_for_ever_and_what_the_database_does_not_know_is_not_kept() {
    let (mut gateway, upstream) = world("");
    let lookup = "lookup/example.net/alpha@v1.2.0";
    upstream.turn(Hostile::LookupMissing);
    let unknown = ask(&gateway, None, lookup);
    assert_eq!(unknown.status, 404, "{}", unknown.body_text());
    upstream.turn_honest();
    let known = looked_up(&gateway, &ask(&gateway, None, lookup));
    upstream.turn(Hostile::DatabaseFails);
    gateway.restart();
    assert_eq!(looked_up(&gateway, &ask(&gateway, None, lookup)), known, "with the database away");
    let away = ask(&gateway, None, "lookup/example.net/beta@v1.0.0");
    assert_eq!(away.status, 502, "{}", away.body_text());
}

/// A machine with nothing but the two lines, which signs in by netrc.
fn signed_in(gateway: &Gateway) -> Go {
    let mut go = Go::new(&gateway.https_url(), &gateway.gosumdb());
    let admin = gateway.admin();
    go.netrc(&gateway.https_address().to_string(), &admin.user, &admin.password);
    go.set("SSL_CERT_FILE", gateway.ca_bundle().display().to_string());
    go
}

/// How many records has the newest head that a client saw of our database.
fn newest(go: &Go, gateway: &Gateway) -> u64 {
    let key = key(gateway);
    let note = go.read(&format!("gopath/pkg/sumdb/{}/latest", key.name()));
    SignedHead::open(note, &key).expect("signed by us").head().size
}

#[test]
fn what_is_recorded_verifies_with_the_upstream_dead_and_the_look_up_evicted() {
    let (mut gateway, upstream) = world("");
    let go = Go::new(&gateway.url(), &gateway.gosumdb());
    let module = "example.net/alpha@v1.2.0";
    go.run(&["mod", "download", module]).ok();
    upstream.dead();
    gateway.terminate();
    fs::remove_dir_all(gateway.data_dir().join("cache/download/sumdb")).expect("it was looked up");
    gateway.start();
    go.forget_look_ups();
    go.run(&["mod", "download", module]).ok();
    assert!(go.looked_up(module));
}

#[test]
fn a_client_that_comes_back_finds_its_old_tree_in_the_new_one() {
    // Beyond a full tile, so that the way from the one to the other is more than a tile that grew.
    const MANY: u64 = 300;
    let many = |number| Module::parse(&format!("example.net/many@v1.0.{number}\n-- go.mod --\nmodule example.net/many\n"));
    let modules = zips::load("modules").into_iter().chain((0..MANY).map(many)).collect();
    let upstream = Upstream::start_with(modules, Tree::Complete);
    let mut gateway = Gateway::builder().upstream(&upstream).start();
    let go = Go::new(&gateway.url(), &gateway.gosumdb());
    go.run(&["mod", "download", "example.net/alpha@v1.2.0"]).ok();
    assert_eq!(newest(&go, &gateway), 1);
    let name = key(&gateway).name().to_owned();
    std::thread::scope(|scope| {
        for part in 0..4 {
            let (gateway, name) = (&gateway, &name);
            scope.spawn(move || {
                for number in (part..MANY).step_by(4) {
                    let answer = gateway.ask("GET", &format!("/sumdb/{name}/lookup/example.net/many@v1.0.{number}"), &[]);
                    assert_eq!(answer.status, 200, "{}", answer.body_text());
                }
            });
        }
    });
    gateway.restart();
    let later = "example.net/many@v1.0.7";
    go.run(&["mod", "download", later]).ok();
    assert!(go.looked_up(later));
    assert_eq!(newest(&go, &gateway), MANY + 1);
}

#[test]
fn a_log_that_was_put_back_and_grew_otherwise_is_a_security_error_to_who_saw_it_later() {
    let (mut gateway, _upstream) = world("");
    let look_up = |gateway: &Gateway, modules: &[&str]| {
        for module in modules {
            looked_up(gateway, &ask(gateway, None, &format!("lookup/{module}")));
        }
    };
    look_up(&gateway, &["example.net/alpha@v1.0.0"]);
    gateway.terminate();
    let (log, aside) = (gateway.data_dir().join("sumdb/log"), gateway.data_dir().with_file_name("aside"));
    copy(&log, &aside);
    gateway.start();
    let go = Go::new(&gateway.url(), &gateway.gosumdb());
    go.run(&["mod", "download", "example.net/beta@v1.0.0"]).ok();
    assert_eq!(newest(&go, &gateway), 2);
    gateway.terminate();
    fs::remove_dir_all(&log).expect("a log");
    copy(&aside, &log);
    gateway.start();
    look_up(&gateway, &["example.net/beta@v1.1.0", "example.net/beta@v1.0.0"]);
    go.run(&["mod", "download", "example.net/beta@v1.1.0"]).says(&["SECURITY ERROR"]).failed();
    // Who saw nothing of it before finds nothing wrong.
    Go::new(&gateway.url(), &gateway.gosumdb()).run(&["mod", "download", "example.net/beta@v1.1.0"]).ok();
}

#[test]
fn what_was_deleted_after_it_was_given_out_verifies_for_who_has_it_and_when_it_is_back() {
    let (gateway, _upstream) = world("");
    let secret = module("corp.example.com/secret");
    publish(&gateway, "priv", &secret);
    let mut go = signed_in(&gateway);
    go.run(&["mod", "download", &secret.name()]).ok();
    let admin = gateway.admin();
    let target = format!("{}/api/v1/packages/priv/go/corp.example.com/secret/v1.0.0", gateway.url());
    curl::curl(&["--user", &format!("{}:{}", admin.user, admin.password), "-X", "DELETE"], &target, None).is(204);
    signed_in(&gateway).run(&["mod", "download", &secret.name()]).says(&["404 Not Found"]).failed();
    // Without a go.sum, and with nothing looked up: the database is asked.
    go.forget_look_ups();
    go.write("work/go.mod", "module example.org/work\n\ngo 1.20\n\nrequire corp.example.com/secret v1.0.0\n");
    go.write("work/work.go", "package work\n\nimport _ \"corp.example.com/secret\"\n");
    go.set("GOFLAGS", "-mod=mod -modcacherw").run(&["build", "./..."]).ok();
    go.run(&["mod", "verify"]).prints(&["all modules verified"]);
    assert!(go.looked_up(&secret.name()));
    publish(&gateway, "priv", &secret);
    let back = signed_in(&gateway);
    back.run(&["mod", "download", &secret.name()]).ok();
    assert!(back.looked_up(&secret.name()));
    assert_eq!(newest(&back, &gateway), 1);
}

#[test]
fn what_nobody_vouches_for_is_recorded_on_first_use_and_marked_so() {
    let (gateway, upstream) = world("[upstream]\nverify = \"off\"\n");
    let (id, record) = looked_up(&gateway, &ask(&gateway, None, "lookup/example.net/alpha@v1.2.0"));
    assert_eq!(id, 0);
    // The same that the database would have said.
    let said = gateway.ask("GET", &format!("/sumdb/{}/lookup/example.net/alpha@v1.2.0", upstream.sumdb_name()), &[]);
    assert_eq!(Lookup::parse(&said.body).expect("a look-up").record.as_str(), record);
    let printed = gateway.cli(&["audit", "--json"]).ok().to_owned();
    let events: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let first: Vec<_> = events.iter().filter(|event| event["event"] == "sumdb-first-use").collect();
    let [first] = first[..] else { panic!("{first:?}") };
    assert!(first["path"] == "example.net/alpha" && record.contains(first["zip"].as_str().expect("a hash")), "{first}");
}
