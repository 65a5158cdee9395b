//! The way upstream: upstreams that are down, credentials, a proxy; and hosts that nobody knows.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::gateway::Gateway;
use crate::support::http::{self, Request, Response};
use crate::support::server::Server;
use crate::support::upstream::Upstream;
use crate::support::zips::Module;

const ALPHA: &str = "/example.net/alpha/@v/list";
const BETA: &str = "/example.net/beta/@v/list";
const BUSY: &str = "/example.net/busy/@v/list";
/// So many that it is not about one of them.
const ALL_BUSY: [&str; 3] = [BUSY, "/example.net/busier/@v/list", "/example.net/busiest/@v/list"];
const OWNERS: &str = "[owners.pub]\nvisibility = \"public\"\n[owners.priv]\nvisibility = \"private\"\n";
/// Everything is asked for again at once.
const NOTHING_FRESH: &str = "[cache]\nfresh = \"0s\"\nnot_found = \"0s\"\n";

fn get(gateway: &Gateway, target: &str) -> Response {
    gateway.ask("GET", target, &[])
}

/// From now on it wants to be left alone for longer than any test takes.
fn overload(upstream: &Upstream, gateway: &Gateway) {
    for target in ALL_BUSY {
        upstream.answer(target, Response::text(429, "").with("Retry-After", "300"));
        get(gateway, target);
    }
}

fn ready(gateway: &Gateway) -> (u16, String) {
    let reply = http::get(gateway.admin_address(), "/readyz").expect("an answer");
    (reply.status, reply.body_text())
}

#[test]
fn while_an_upstream_is_down_nobody_waits_for_it_and_what_is_cached_is_served() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder().upstream(&upstream).config(NOTHING_FRESH).start();
    assert_eq!(get(&gateway, ALPHA).status, 200);
    assert_eq!(ready(&gateway), (200, "ready\n".to_owned()));
    overload(&upstream, &gateway);
    // Whoever asked it now would wait for its timeout.
    upstream.stall();
    let asked = upstream.seen().len();
    let stale = get(&gateway, ALPHA);
    assert_eq!((stale.status, stale.header("cache-status").is_some_and(|s| s.contains("stale"))), (200, true), "{stale:?}");
    let host = upstream.address().to_string();
    let missing = get(&gateway, BETA);
    assert_eq!(missing.status, 502);
    assert!(missing.body_text().starts_with("an upstream proxy is down since 20"), "{}", missing.body_text());
    assert!(!missing.body_text().contains(&host), "{}", missing.body_text());
    assert_eq!(upstream.seen().len(), asked, "it was asked");
    let (status, text) = ready(&gateway);
    assert!(status == 200 && text.starts_with(&format!("ready\ndegraded: upstream {host} is down since 20")), "{status} {text}");
    // Probes are open to everyone: there it has no name.
    let public = get(&gateway, "/readyz").body_text();
    assert!(public.starts_with("ready\ndegraded: upstream 1 is down since 20") && !public.contains(&host), "{public}");
    // The database behind it is another matter.
    upstream.alive();
    assert_eq!(get(&gateway, &format!("/sumdb/{}/latest", upstream.sumdb_name())).status, 200);
    assert_eq!(gateway.log_with(&["an upstream is down"]).matches("an upstream is down").count(), 1);
}

#[test]
fn an_upstream_that_is_back_is_found_by_one_ask_at_a_time() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder().upstream(&upstream).config(NOTHING_FRESH).start();
    upstream.fail(500);
    for n in 0..5 {
        assert_eq!(get(&gateway, &format!("/example.net/absent{n}/@v/list")).status, 502);
    }
    assert!(ready(&gateway).1.contains("degraded: "));
    upstream.alive();
    let deadline = Instant::now() + http::PATIENCE;
    while get(&gateway, ALPHA).status != 200 {
        assert!(Instant::now() < deadline, "it is not asked again");
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(ready(&gateway), (200, "ready\n".to_owned()));
    assert_eq!(get(&gateway, BETA).status, 200);
    gateway.log_with(&["an upstream answers again"]);
}

#[test]
fn a_module_that_fails_or_is_to_be_left_alone_keeps_no_other_away() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder().upstream(&upstream).config(NOTHING_FRESH).start();
    upstream.answer(BUSY, Response::text(503, "").with("Retry-After", "300"));
    for n in 0..6 {
        let failing = format!("/example.net/busy/@v/v1.0.{n}.mod");
        upstream.answer(&failing, Response::text(500, ""));
        assert_eq!(get(&gateway, &failing).status, 502);
        let held = get(&gateway, BUSY);
        assert_eq!(held.status, 502);
        assert_eq!(held.body_text().contains("wants to be left alone with this"), n > 0, "{}", held.body_text());
    }
    assert_eq!(upstream.count(BUSY), 1);
    assert_eq!(get(&gateway, ALPHA).status, 200);
    assert_eq!(ready(&gateway), (200, "ready\n".to_owned()));
}

#[test]
fn one_that_is_down_is_passed_over_behind_a_bar_and_is_a_failure_behind_a_comma() {
    for (separator, expected) in [("|", 200), (",", 502)] {
        let (first, second) = (Upstream::start(), Upstream::start());
        let chain = format!("[upstream]\ngoproxy = \"{}{separator}{}\"\n", first.url(), second.url());
        let gateway = Gateway::builder().upstream(&first).config(&chain).start();
        overload(&first, &gateway);
        let asked = first.seen().len();
        assert_eq!(get(&gateway, ALPHA).status, expected, "{separator}");
        assert_eq!(first.seen().len(), asked, "{separator}");
    }
}

/// A server that notes each request and answers as told.
fn noting(answer: impl Fn(&Request) -> Response + Send + Sync + 'static) -> (Server, Arc<Mutex<Vec<Request>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let notes = seen.clone();
    let handler = move |request: &Request| {
        notes.lock().expect("no panic").push(request.clone());
        Some(answer(request))
    };
    (Server::start(None, Arc::new(handler)), seen)
}

#[test]
fn credentials_are_shown_to_their_upstream_and_to_nobody_else() {
    // Fails the test if it sees credentials.
    let other = Upstream::start();
    let there = format!("{}{ALPHA}", other.url());
    let (guarded, seen) = noting(move |request| match request.target.as_str() {
        "/go/example.net/alpha/@v/list" => Response::text(302, "").with("Location", &there),
        "/go/example.net/beta/@v/list" => Response::text(200, "v1.0.0\n"),
        _ => Response::text(401, "who are you?\n"),
    });
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("password");
    fs::write(&secret, "planted-hunter2\n").expect("write the secret");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("its mode");
    let url = format!("http://{}/go", guarded.address());
    let settings = format!(
        "[upstream]\ngoproxy = \"{url}\"\nauth = [{{ url = \"{url}\", user = \"gateway\", password_file = \"{}\" }}]\n{OWNERS}",
        secret.display()
    );
    let gateway = Gateway::builder().upstream(&other).config(&settings).start();
    assert_eq!(get(&gateway, ALPHA).status, 200, "by a redirect to another host");
    assert_eq!(get(&gateway, BETA).status, 200);
    // One's own credentials go nowhere.
    assert_eq!(gateway.ask("GET", "/example.net/gamma/@v/list", &[("Authorization", "Basic d3Jvbmc6d3Jvbmc=")]).status, 401);
    assert_eq!(get(&gateway, "/example.net/gamma/@v/list").status, 502);
    assert_eq!(other.count(ALPHA), 1);
    let seen = seen.lock().expect("no panic");
    assert_eq!(seen.len(), 3);
    // gateway:planted-hunter2
    assert!(seen.iter().all(|r| r.header("authorization") == Some("Basic Z2F0ZXdheTpwbGFudGVkLWh1bnRlcjI=")), "{seen:?}");
    let told = [gateway.log(), gateway.cli(&["config"]).ok().to_owned(), gateway.cli(&["check"]).stdout].concat();
    assert!(!told.contains("planted") && !told.contains("Z2F0ZXdheTpwbGFudGVkLWh1bnRlcjI="), "{told}");

    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).expect("its mode");
    assert!(gateway.cli(&["check"]).stdout.contains("has mode 0644: others can read it"));
}

#[test]
fn the_proxy_of_the_settings_goes_over_that_of_the_environment_and_sees_no_private_name() {
    let (proxy, seen) = noting(|_| Response::text(200, "v1.0.0\n"));
    let settings = format!(
        "[upstream]\ngoproxy = \"http://go.upstream.example\"\nproxy = \"http://{}\"\n[private]\npatterns = [\"corp.example.com\"]\n{OWNERS}",
        proxy.address()
    );
    let gateway = Gateway::builder().config(&settings).start();
    assert_eq!(get(&gateway, ALPHA).status, 200);
    assert_eq!(get(&gateway, "/corp.example.com/lib/@v/list").status, 404);
    let seen: Vec<_> = seen.lock().expect("no panic").iter().map(|request| request.target.clone()).collect();
    assert_eq!(seen, [format!("http://go.upstream.example{ALPHA}")]);
    assert_eq!(gateway.dialled(), Vec::<String>::new());
}

fn module(path: &str, owner: &str) -> Module {
    let mut module = Module::parse(&format!("{path}@v1.0.0\n-- go.mod --\nmodule {path}\n-- a.go --\npackage a\n"));
    module.owner = Some(owner.to_owned());
    module
}

fn explains(gateway: &Gateway, path: &str, texts: &[&str]) {
    let told = gateway.cli(&["explain", path]).ok().to_owned();
    assert!(texts.iter().all(|text| told.contains(text)), "{texts:?}: {told}");
}

#[test]
fn an_unknown_host_is_held_until_an_operator_makes_it_public() {
    let upstream = Upstream::start();
    let settings = format!("[private]\nunknown_hosts = \"hold\"\npatterns = [\"corp.example.com\"]\n{OWNERS}");
    let mut gateway = Gateway::builder().upstream(&upstream).config(&settings).start();
    gateway.publish(&module("corp.example.com/hidden", "priv")).is(201);
    // Whatever keeps a path private, what is said of it is the same.
    let text = |path: &str| {
        let reply = get(&gateway, &format!("/{path}/@v/list"));
        assert_eq!(reply.status, 404, "{path}");
        reply.body_text().replace(path, "PATH")
    };
    let held = text("example.net/alpha");
    assert!(held.contains("modgate claim public"), "{held}");
    for path in ["corp.example.com/hidden", "corp.example.com/absent", "corp.example.com", "host.internal/x", "github.com"] {
        assert_eq!(text(path), held, "{path}");
    }
    assert_eq!(get(&gateway, &format!("/sumdb/{}/lookup/example.net/alpha@v1.0.0", upstream.sumdb_name())).status, 403);
    assert!(upstream.seen().is_empty(), "{:?}", upstream.seen());
    explains(&gateway, "example.net/alpha", &["private example.net/alpha", "rule: unknown-host", "claim public example.net"]);

    for (refused, why) in [
        ("corp.example.com", "rule pattern"),
        ("host.internal", "rule never-public"),
        ("github.com", "listed as public or shared"),
        ("example.net/alpha", "is no host"),
    ] {
        let ran = gateway.cli(&["claim", "public", refused]);
        assert!(ran.code != Some(0) && ran.stderr.contains(why), "{refused}: {} {}", ran.stdout, ran.stderr);
    }
    gateway.cli(&["claim", "public", "Example.net"]).ok();
    assert_eq!(get(&gateway, ALPHA).status, 200);
    gateway.restart();
    assert!(gateway.cli(&["claim", "list"]).ok().contains("\npublic\texample.net\t\t20"), "behind the claim of the publish");
    assert_eq!(get(&gateway, BETA).status, 200);
    gateway.cli(&["claim", "release", "example.net"]).ok();
    assert!(!gateway.cli(&["claim", "list"]).ok().contains("public\t"));
    assert_eq!(get(&gateway, "/example.net/gamma/@v/list").status, 404, "only lists were fetched: no module is known");
    assert_eq!(upstream.count("/example.net/gamma/@v/list"), 0);
}

#[test]
fn an_unknown_host_is_let_through_and_recorded_once_where_it_is_watched() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder().upstream(&upstream).config(&format!("[private]\nunknown_hosts = \"audit\"\n{OWNERS}")).start();
    for target in [ALPHA, BETA, "/example.net/gamma/@v/list"] {
        get(&gateway, target);
        assert_eq!(upstream.count(target), 1, "{target}");
        // Settings that are read again make nothing new of a host.
        gateway.reload();
    }
    let log = gateway.log_with(&["unknown-host", "example.net/gamma"]);
    assert_eq!(log.matches("a path at a host that nobody knows leaves").count(), 1);
    explains(&gateway, "example.net/alpha", &["public example.net/alpha", "rule: unknown-host"]);
    assert_eq!(gateway.cli(&["egress"]).ok().matches("\tunknown-host\n").count(), 3);
    // A module that was fetched makes its host known.
    assert_eq!(get(&gateway, "/example.net/alpha/@v/v1.0.0.mod").status, 200);
    explains(&gateway, "example.net/beta", &["public example.net/beta", "rule: public"]);
}

#[test]
fn misses_are_refused_but_for_what_lies_above_or_below_what_the_caller_sees() {
    let upstream = Upstream::start();
    let settings = format!("[private]\nmiss = \"refuse\"\npatterns = [\"corp.example.com\"]\n{OWNERS}");
    let gateway = Gateway::builder().upstream(&upstream).config(&settings).start();
    gateway.publish(&module("corp.example.com/open/lib", "pub")).is(201);
    gateway.publish(&module("corp.example.com/shut/lib", "priv")).is(201);
    let admin = format!("Bearer {}", gateway.admin_token());
    // The path, and what it is to a stranger, to whoever sees everything, and to a stranger at the other owner's base.
    for (path, stranger, boss) in [
        ("corp.example.com/open/lib", 200, 200),
        ("corp.example.com/open/lib/sub", 404, 404),
        ("corp.example.com/open", 404, 404),
        ("corp.example.com", 404, 404),
        ("corp.example.com/shut/lib", 403, 200),
        ("corp.example.com/shut/lib/sub", 403, 404),
        ("corp.example.com/shut", 403, 404),
        ("corp.example.com/open/library", 403, 403),
        ("corp.example.com/nothing", 403, 403),
        ("host.internal/x", 403, 403),
        ("github.com/org", 403, 403),
        // An absence upstream is no miss.
        ("example.net/nothing", 404, 404),
    ] {
        for method in ["GET", "HEAD"] {
            let target = format!("/{path}/@v/list");
            assert_eq!(gateway.ask(method, &target, &[]).status, stranger, "{method} {path}");
            assert_eq!(gateway.ask(method, &target, &[("Authorization", &admin)]).status, boss, "{method} {path} for an admin");
        }
    }
    // Below, above and at what is hidden it reads as where nothing is.
    let said = |path: &str| get(&gateway, &format!("/{path}/@v/list")).body_text().replace(path, "PATH");
    for path in ["corp.example.com/shut/lib", "corp.example.com/shut", "corp.example.com/shut/lib/sub"] {
        assert_eq!(said(path), said("corp.example.com/nothing"), "{path}");
    }
    // At an owner's base the other owners' modules are not there.
    let at_base = |path: &str| gateway.ask("GET", &format!("/api/packages/priv/go/{path}/@v/list"), &[("Authorization", &admin)]).status;
    assert_eq!((at_base("corp.example.com/shut"), at_base("corp.example.com/open")), (404, 403));
    upstream.forbid(&["host.internal", "github.com"]);
    assert!(upstream.violations().is_empty());
}
