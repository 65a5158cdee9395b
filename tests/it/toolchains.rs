//! The go command's own toolchains: it has them through us with GOPROXY and GOSUMDB alone, and they are verified twice, by us against the
//! public checksum database and by it against ours.

use serde_json::Value;

use crate::support::curl;
use crate::support::gateway::Gateway;
use crate::support::go::Go;
use crate::support::hostile::Hostile;
use crate::support::http;
use crate::support::upstream::{Tree, Upstream};
use crate::support::zips::{self, Module};

/// Newer than any that the tests run with.
const NEWER: &str = "go1.99.0";
const SETTINGS: &str = "[private]\npatterns = [\"corp.example.com\"]\n[owners.open]\nvisibility = \"public\"\n";

/// What the installed go calls this machine: `OS-ARCHITECTURE`.
fn platform() -> String {
    let ran = Go::new("off", "off").run(&["env", "GOOS", "GOARCH"]);
    ran.ok().lines().collect::<Vec<_>>().join("-")
}

/// The toolchain of [`NEWER`], laid out as go's are. Its go says what it was asked to do, and whose files it would do it with.
fn toolchain(platform: &str) -> Module {
    Module::parse(&format!(
        "golang.org/toolchain@v0.0.1-{NEWER}.{platform}\n\
         -- .mod --\nmodule golang.org/toolchain\n\
         -- bin/go --\n#!/bin/sh\n[ -f \"$GOROOT/src/go.mod\" ] && \"$GOROOT/bin/gofmt\" && echo \"{NEWER} runs: go $*\"\n\
         -- bin/gofmt --\n#!/bin/sh\n\
         -- lib/wasm/go_js_wasm_exec --\n#!/bin/sh\n\
         -- pkg/tool/compile --\n#!/bin/sh\n\
         -- src/_go.mod --\nmodule std\n"
    ))
}

/// A command that needs [`NEWER`].
fn demanding(path: &str) -> Module {
    Module::parse(&format!(
        "{path}@v1.0.0\nowner: open\n-- go.mod --\nmodule {path}\n\ngo 1.99.0\n-- main.go --\npackage main\n\nfunc main() {{}}\n"
    ))
}

struct World {
    gateway: Gateway,
    upstream: Upstream,
    toolchain: Module,
}

fn world() -> World {
    let toolchain = toolchain(&platform());
    let modules = zips::load("modules").into_iter().chain([toolchain.clone(), demanding("example.net/demanding")]).collect();
    let upstream = Upstream::start_with(modules, Tree::Complete);
    let gateway = Gateway::builder().upstream(&upstream).config(SETTINGS).start();
    World { gateway, upstream, toolchain }
}

impl World {
    /// A new machine with the two lines, and this GOTOOLCHAIN.
    fn go(&self, toolchain: &str) -> Go {
        let mut go = Go::new(&self.gateway.url(), &self.gateway.gosumdb());
        go.set("GOTOOLCHAIN", toolchain);
        go
    }

    /// The record that a checksum database has of the toolchain: two lines of go.sum.
    fn record(&self, database: &str, address: std::net::SocketAddr) -> String {
        let answer = http::get(address, &format!("/sumdb/{database}/lookup/{}", self.toolchain.name())).expect("an answer").body_text();
        answer.lines().skip(1).take_while(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
    }

    /// Whether anything of the toolchain is below a folder of downloads.
    fn is_in(&self, download: &std::path::Path) -> bool {
        let zip = format!("{}/@v/{}.zip", self.toolchain.path, self.toolchain.version);
        download.join(zip).exists()
    }
}

#[test]
fn a_toolchain_runs_and_is_in_our_database_as_the_public_one_has_it() {
    let mut world = world();
    let runs = [format!("{NEWER} runs: go version")];
    let runs: Vec<&str> = runs.iter().map(String::as_str).collect();
    let go = world.go(NEWER);
    go.run(&["version"]).prints(&runs);
    assert!(go.looked_up(&world.toolchain.name()));
    // We asked the public database, once, and both say the same.
    let lookup = format!("/sumdb/{}/lookup/{}", world.upstream.sumdb_name(), world.toolchain.name());
    assert_eq!(world.upstream.count(&lookup), 1);
    let own = go.get("GOSUMDB").split('+').next().expect("a name").to_owned();
    let record = world.record(&own, world.gateway.address());
    assert!(record.starts_with(&format!("{} {} h1:", world.toolchain.path, world.toolchain.version)), "{record}");
    assert_eq!(record, world.record(world.upstream.sumdb_name(), world.upstream.address()));
    assert_eq!(world.gateway.cli(&["sumdb"]).ok().lines().nth(1), Some("size 1"));
    // What worked once works with the upstream away.
    world.upstream.dead();
    world.gateway.restart();
    world.go(NEWER).run(&["version"]).prints(&runs);
}

#[test]
fn a_toolchain_that_is_not_what_the_public_database_says_stays_outside() {
    let world = world();
    for hostile in [Hostile::OtherZip, Hostile::ZipListsOther] {
        world.upstream.turn(hostile);
        let go = world.go(NEWER);
        let ran = go.run(&["version"]);
        ran.says(&["502 Bad Gateway", "checksum mismatch"]).failed();
        assert!(!world.is_in(&go.path("gopath/pkg/mod/cache/download")), "{hostile:?}");
        assert!(!world.is_in(&world.gateway.data_dir().join("cache/download")), "{hostile:?}");
    }
    let printed = world.gateway.cli(&["audit", "--json"]).ok().to_owned();
    let events = printed.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let mismatches = events.filter(|event| event["event"] == "mismatch" && event["path"] == "golang.org/toolchain").count();
    // Both times the same two hashes, which are told once.
    assert_eq!(mismatches, 1, "{printed}");
    world.upstream.turn_honest();
    world.go(NEWER).run(&["version"]).ok();
}

#[test]
fn go_switches_to_the_toolchain_that_a_module_asks_for_be_it_public_or_private() {
    let world = world();
    let hosted = demanding("corp.example.com/demanding");
    let dir = tempfile::tempdir().expect("a folder");
    curl::publish(&world.gateway.url(), "open", Some(&world.gateway.admin()), &hosted.write_zip(dir.path()), None).is(201);
    for module in ["example.net/demanding@v1.0.0", "corp.example.com/demanding@latest"] {
        let go = world.go("auto");
        let ran = go.run(&["install", module]);
        ran.says(&["requires go >= 1.99.0", &format!("switching to {NEWER}")]).prints(&[&format!("{NEWER} runs: go install {module}")]);
        for looked_up in [&world.toolchain.name(), &module.replace("latest", "v1.0.0")] {
            assert!(go.looked_up(looked_up), "{looked_up}");
        }
        world.go("local").run(&["install", module]).says(&["requires go >= 1.99.0"]).failed();
    }
    // The module in hand: by its toolchain line, by its go line, and by neither.
    for (lines, switches) in [("go 1.20\n\ntoolchain go1.99.0\n", true), ("go 1.99\n", true), ("go 1.20\n", false)] {
        let go = world.go("auto");
        go.write("work/go.mod", &format!("module example.org/work\n\n{lines}")).write("work/work.go", "package work\n");
        let ran = go.run(&["list", "./..."]);
        let switched = format!("{NEWER} runs: go list ./...");
        ran.prints(&[if switches { &switched } else { "example.org/work" }]);
    }
}
