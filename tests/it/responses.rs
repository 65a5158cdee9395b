//! What an answer is on the wire, over the binary: media types, Cache-Status, ETag, lengths, ids, and upstream's own words.

use std::time::Duration;

use crate::support::curl;
use crate::support::gateway::Gateway;
use crate::support::http::Response;
use crate::support::upstream::{Tree, Upstream};
use crate::support::zips;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const ZIP: &str = "application/zip";
const BYTES: &str = "application/octet-stream";

const MISS: Option<&str> = Some("modgate; fwd=miss");
const HIT: Option<&str> = Some("modgate; hit");
const STALE: Option<&str> = Some("modgate; fwd=stale");

/// What every answer has, whatever it is.
#[track_caller]
fn is_sound(what: &str, reply: &Response) {
    let id = reply.header("x-request-id").unwrap_or_else(|| panic!("{what}: no X-Request-Id: {reply:?}"));
    assert!(id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{what}: {id}");
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{what}");
}

#[track_caller]
fn ask(gateway: &Gateway, method: &str, target: &str) -> Response {
    let reply = gateway.ask(method, target, &[]);
    is_sound(&format!("{method} {target}"), &reply);
    reply
}

/// GET, and HEAD, which tells the same; returns the GET's answer.
#[track_caller]
fn get_and_head(gateway: &Gateway, target: &str, status: u16, media: &str, cache: Option<&str>) -> Response {
    let reply = ask(gateway, "GET", target);
    assert_eq!((reply.status, reply.header("content-type")), (status, Some(media)), "{target}: {}", reply.body_text());
    assert_eq!(reply.header("cache-status"), cache, "{target}");
    assert_eq!(reply.header("content-security-policy"), Some("sandbox"), "{target}");
    assert_eq!(reply.header("content-length"), Some(reply.body.len().to_string().as_str()), "{target}");
    let head = ask(gateway, "HEAD", target);
    assert_eq!(head.status, status, "{target}");
    for name in ["content-type", "content-length", "etag"] {
        assert_eq!(head.header(name), reply.header(name), "HEAD {target}: {name}");
    }
    reply
}

#[test]
fn each_kind_of_public_answer_has_its_type_its_length_and_where_it_came_from() {
    let upstream = Upstream::start_with(zips::load("modules"), Tree::Complete);
    let gateway = Gateway::builder().upstream(&upstream).start();
    let sumdb = format!("/sumdb/{}", upstream.sumdb_name());
    let m = "/example.net/alpha";
    for (target, media) in [
        // Before the files, for which the gateway asks it itself.
        (format!("{sumdb}/lookup/example.net/alpha@v1.1.0"), TEXT),
        (format!("{m}/@v/list"), TEXT),
        (format!("{m}/@latest"), JSON),
        (format!("{m}/@v/v1.1.0.info"), JSON),
        (format!("{m}/@v/main.info"), JSON),
        (format!("{m}/@v/v1.1.0.mod"), TEXT),
        (format!("{m}/@v/v1.1.0.zip"), ZIP),
        (format!("{sumdb}/tile/8/0/000.p/1"), BYTES),
    ] {
        let first = get_and_head(&gateway, &target, 200, media, MISS);
        let again = get_and_head(&gateway, &target, 200, media, HIT);
        assert_eq!(again.body, first.body, "{target}");
        let etag = first.header("etag").unwrap_or_else(|| panic!("{target}: no ETag"));
        assert!(etag.trim_start_matches("W/").starts_with('"') && etag.ends_with('"'), "{target}: {etag}");
        assert_eq!(upstream.count(&target), 1, "{target}");
    }
    // A tree's head is asked for anew each time.
    let latest = format!("{sumdb}/latest");
    get_and_head(&gateway, &latest, 200, TEXT, MISS);
    get_and_head(&gateway, &latest, 200, TEXT, MISS);
    let supported = get_and_head(&gateway, &format!("{sumdb}/supported"), 200, TEXT, None);
    assert!(supported.body.is_empty());
    get_and_head(&gateway, "/", 200, TEXT, None);
    get_and_head(&gateway, "/healthz", 200, TEXT, None);
}

#[test]
fn each_kind_of_hosted_answer_has_its_type_and_its_length() {
    let upstream = Upstream::start_with(Vec::new(), Tree::Growing);
    let gateway = Gateway::builder().upstream(&upstream).config("[owners.open]\nvisibility = \"public\"\n").start();
    let open: Vec<_> = zips::load("hosted").into_iter().filter(|m| m.owner.as_deref() == Some("open")).collect();
    let module = open.first().expect("the fixture has a module of this owner");
    let published = gateway.publish(module);
    assert_eq!(published.status, 201, "{}", published.body);
    let m = format!("/{}", zips::escape(&module.path));
    let version = zips::escape(&module.version);
    for (file, media) in [
        ("@v/list".to_owned(), TEXT),
        ("@latest".to_owned(), JSON),
        (format!("@v/{version}.info"), JSON),
        (format!("@v/{version}.mod"), TEXT),
        (format!("@v/{version}.zip"), ZIP),
        ("@v/latest.info".to_owned(), JSON),
        ("@v/latest.mod".to_owned(), TEXT),
        ("@v/latest.zip".to_owned(), ZIP),
    ] {
        get_and_head(&gateway, &format!("{m}/{file}"), 200, media, None);
    }
    get_and_head(&gateway, &format!("{m}/@v/v9.9.9.info"), 404, TEXT, None);
    let upload = "/api/packages/open/go/upload";
    let reply = curl::publish(&gateway.url(), "open", None, &module.write_zip(gateway.data_dir().parent().expect("a folder")), None);
    assert_eq!(reply.status, 401, "{upload}: {}", reply.body);
}

#[test]
fn each_refusal_has_its_status_its_headers_and_an_id() {
    let upstream = Upstream::start_with(Vec::new(), Tree::Growing);
    let gateway = Gateway::builder()
        .upstream(&upstream)
        .config("[private]\npatterns = [\"corp.example.com\"]\n[owners.team]\nvisibility = \"private\"\n")
        .start();
    let wrong = [("Authorization", "Basic d3Jvbmc6d3Jvbmc=")];
    let team = "/api/packages/team/go/corp.example.com/lib/@v/list";
    for (method, target, headers, status, own) in [
        ("GET", "/example.net/../x/@v/list", &[][..], 400, None),
        ("GET", "/nothing", &[], 404, None),
        ("GET", "/corp.example.com/lib/@v/list", &[], 404, None),
        ("POST", "/example.net/alpha/@v/list", &[], 405, Some(("allow", "GET, HEAD"))),
        ("GET", "/api/packages/team/go/upload", &[], 405, Some(("allow", "PUT"))),
        ("GET", team, &[], 401, Some(("www-authenticate", "Basic realm=\"modgate\", charset=\"UTF-8\""))),
        ("GET", "/", &wrong, 401, Some(("www-authenticate", "Basic realm=\"modgate\", charset=\"UTF-8\""))),
        ("GET", "/sumdb/sum.example.net/lookup/corp.example.com/lib@v1.0.0", &[], 403, None),
        ("CONNECT", "/", &[], 400, None),
    ] {
        let reply = gateway.ask(method, target, headers);
        let what = format!("{method} {target}");
        is_sound(&what, &reply);
        assert_eq!((reply.status, reply.header("content-type")), (status, Some(TEXT)), "{what}: {}", reply.body_text());
        if let Some((name, value)) = own {
            assert_eq!(reply.header(name), Some(value), "{what}");
        }
        let body = reply.body_text();
        assert!(body.ends_with('\n') && !body.starts_with('\n') && body.len() <= 600 && body.lines().count() <= 8, "{what}: {body:?}");
    }
    let admin = gateway.admin();
    let login = format!("{}:{}", admin.user, admin.password);
    let operations = format!("http://{}/admin/claims", gateway.admin_address());
    let reply = curl::curl(&["--user", &login, "--data", "no json"], &operations, None);
    assert!(reply.is(400).body.starts_with("the arguments are not JSON"), "{}", reply.body);
    curl::curl(&["--data", "{}"], &operations, None).is(401);
    curl::curl(&["--user", &login, "--data", "{}"], &format!("{}/admin/claims", gateway.url()), None).is(404);
}

#[test]
fn an_upstreams_absence_goes_on_byte_for_byte_and_says_where_it_came_from() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder().upstream(&upstream).config("[cache]\nnot_found = \"0s\"\n").start();
    let text = "not found:\n\tgit ls-remote:\n\n  a blank line above, and no newline at the end";
    for (code, target) in [(404, "/example.net/none/@v/v1.0.0.info"), (410, "/example.net/none/@v/v1.1.0.info")] {
        upstream.answer(target, Response::text(code, text));
        let reply = get_and_head(&gateway, target, code, TEXT, MISS);
        assert_eq!(reply.body_text(), text, "{target}");
    }
    upstream.dead();
    let reply = get_and_head(&gateway, "/example.net/none/@v/v1.1.0.info", 410, TEXT, STALE);
    assert_eq!(reply.body_text(), text);
}

#[test]
fn an_absence_that_is_remembered_is_a_hit() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder().upstream(&upstream).start();
    let target = "/example.net/gone/@v/list";
    for cache in [MISS, HIT] {
        let reply = get_and_head(&gateway, target, 410, TEXT, cache);
        assert_eq!(reply.body_text(), "not found: example.net/gone@v1.0.0: taken down on request\n");
    }
    assert_eq!(upstream.count(target), 1);
}

#[test]
fn a_failing_upstream_is_502_a_stalling_one_504_and_what_was_had_is_stale() {
    let upstream = Upstream::start();
    let short = "[upstream]\nstall_timeout = \"1s\"\n[cache]\nfresh = \"0s\"\nstale = \"0s\"\n";
    let gateway = Gateway::builder().upstream(&upstream).config(short).start();
    let (had, new) = ("/example.net/alpha/@v/list", "/example.net/beta/@v/v1.0.0.mod");
    let first = get_and_head(&gateway, had, 200, TEXT, MISS);
    upstream.fail(500);
    get_and_head(&gateway, new, 502, TEXT, None);
    assert_eq!(get_and_head(&gateway, had, 200, TEXT, STALE).body, first.body);
    upstream.stall();
    let began = std::time::Instant::now();
    let reply = ask(&gateway, "GET", new);
    assert_eq!((reply.status, reply.header("content-type")), (504, Some(TEXT)), "{}", reply.body_text());
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    upstream.alive();
    // Five failures in a row: it is left alone for about a second.
    while ask(&gateway, "GET", had).header("cache-status") == STALE {
        assert!(began.elapsed() < crate::support::http::PATIENCE, "it is not asked again");
        std::thread::sleep(Duration::from_millis(10));
    }
    get_and_head(&gateway, new, 200, TEXT, MISS);
}

#[test]
fn the_environments_proxy_is_the_way_upstream_but_for_what_no_proxy_names() {
    // The harness sets HTTP_PROXY and HTTPS_PROXY to a trap that answers 403, and NO_PROXY to loopback.
    let upstream = Upstream::start();
    let near = Gateway::builder().upstream(&upstream).start();
    assert_eq!(near.ask("GET", "/example.net/alpha/@v/list", &[]).status, 200);
    assert!(near.dialled().is_empty(), "{:?}", near.dialled());
    for scheme in ["http", "https"] {
        let far = Gateway::builder().config(&format!("[upstream]\ngoproxy = \"{scheme}://upstream.example.com\"\n")).start();
        far.may_dial("upstream.example.com");
        assert_eq!(far.ask("GET", "/example.net/alpha/@v/list", &[]).status, 502, "{scheme}");
        assert!(far.dialled().contains(&"upstream.example.com".to_owned()), "{scheme}: {:?}", far.dialled());
    }
}
