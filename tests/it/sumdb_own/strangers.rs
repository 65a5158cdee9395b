//! What our checksum database tells to those who may not see everything, to those who may see nothing, and where it is off.

use std::time::{Duration, Instant};

use super::*;

/// Everything of an answer that may not tell two modules apart: status, headers but those of this very answer, and the body, each
/// name in it replaced.
fn face(answer: &Response, name: &str) -> (u16, Vec<(String, String)>, String) {
    let mut headers: Vec<_> = answer.headers.iter().map(|(name, value)| (name.to_lowercase(), value.clone())).collect();
    headers.retain(|(name, _)| !matches!(name.as_str(), "x-request-id" | "date"));
    // As long as the names differ in length only.
    for (header, value) in &mut headers {
        if header == "content-length" {
            *value = (value.parse::<usize>().expect("a length") - answer.body_text().matches(name).count() * name.len()).to_string();
        }
    }
    headers.sort();
    (answer.status, headers, answer.body_text().replace(name, "NAME"))
}

fn with(gateway: &Gateway, login: Option<&Login>, target: &str) -> Response {
    let authorization = login.map(|login| basic(&login.user, &login.password));
    let headers: Vec<_> = authorization.iter().map(|value| ("Authorization", value.as_str())).collect();
    gateway.ask("GET", target, &headers)
}

/// A token that may read what this owner has.
fn reader(gateway: &Gateway, owner: &str) -> Login {
    let made = gateway.cli(&["token", "create", "--name", "reader", "--scope", "read", "--owner", owner]);
    Login { user: "reader".to_owned(), password: made.ok().trim().to_owned() }
}

#[test]
fn what_is_absent_and_what_is_not_in_sight_have_one_face() {
    let (gateway, _upstream) = world("");
    publish(&gateway, "priv", &module("corp.example.com/secret"));
    let (admin, stranger) = (gateway.admin(), reader(&gateway, "pub"));
    let (name, hash) = (key(&gateway).name().to_owned(), hash(&gateway));
    // Recorded and there; then recorded and deleted.
    for round in 0..2 {
        looked_up(&gateway, &ask(&gateway, Some(&admin), "lookup/corp.example.com/secret@v1.0.0"));
        for base in [format!("/sumdb/{name}"), format!("/{hash}"), format!("/api/packages/pub/go/sumdb/{name}")] {
            for version in ["v1.0.0", "v9.9.9"] {
                for login in [None, Some(&stranger)] {
                    let of = |module: &str| {
                        let answer = with(&gateway, login, &format!("{base}/lookup/corp.example.com/{module}@{version}"));
                        assert_eq!(answer.status, 404, "{base} {module}: {}", answer.body_text());
                        face(&answer, module)
                    };
                    assert_eq!(of("secret"), of("nobodys"), "{round} {base} {version} {login:?}");
                }
            }
        }
        // At the base of an owner who is not in sight it is as with one who is not there.
        for (login, status) in [(None, 401), (Some(&stranger), 404)] {
            let of = |owner: &str, module: &str| {
                let answer =
                    with(&gateway, login, &format!("/api/packages/{owner}/go/sumdb/{name}/lookup/corp.example.com/{module}@v1.0.0"));
                assert_eq!(answer.status, status, "{}", answer.body_text());
                face(&answer, module)
            };
            assert!(of("priv", "secret") == of("priv", "nobodys") && of("priv", "secret") == of("unknown", "secret"), "{round} {login:?}");
        }
        let target = format!("{}/api/v1/packages/priv/go/corp.example.com/secret/v1.0.0", gateway.url());
        if round == 0 {
            curl::curl(&["--user", &format!("{}:{}", admin.user, admin.password), "-X", "DELETE"], &target, None).is(204);
        }
    }
    assert_eq!(size(&gateway), 1);
}

fn delete(gateway: &Gateway, owner: &str, version: &str) {
    let (admin, target) = (gateway.admin(), format!("{}/api/v1/packages/{owner}/go/{version}", gateway.url()));
    curl::curl(&["--user", &format!("{}:{}", admin.user, admin.password), "-X", "DELETE"], &target, None).is(204);
}

#[test]
fn a_record_stays_with_whose_it_was_when_the_path_becomes_another_s_or_public() {
    let (gateway, _upstream) = world("");
    let admin = gateway.admin();
    for path in ["two.example.net/lib", "sec.example.net/lib"] {
        publish(&gateway, "priv", &module(path));
        looked_up(&gateway, &ask(&gateway, Some(&admin), &format!("lookup/{path}@v1.0.0")));
        delete(&gateway, "priv", &format!("{path}/v1.0.0"));
        gateway.cli(&["claim", "release", path]).ok();
    }
    publish(&gateway, "pub", &module_of("two.example.net/lib", "v1.1.0", "package a\n"));
    gateway.cli(&["claim", "release", "sec.example.net"]).ok();
    let answer = ask(&gateway, None, "lookup/two.example.net/lib@v1.1.0");
    assert_eq!(answer.status, 200, "{}", answer.body_text());
    for (path, never) in [("two.example.net/lib", "v1.0.9"), ("sec.example.net/lib", "v1.0.9")] {
        let [recorded, never] = ["v1.0.0", never].map(|version| {
            let answer = ask(&gateway, None, &format!("lookup/{path}@{version}"));
            assert_eq!(answer.status, 404, "{path} {version}: {}", answer.body_text());
            face(&answer, version)
        });
        assert_eq!(recorded, never, "{path}");
    }
    looked_up(&gateway, &ask(&gateway, Some(&admin), "lookup/two.example.net/lib@v1.0.0"));
}

#[test]
fn the_public_database_is_served_though_its_host_is_ours_and_any_other_there_was_given_up() {
    let upstream = Upstream::start_named("localhost/public", zips::load("modules"), Tree::Complete);
    let gateway = Gateway::builder().upstream(&upstream).config("[sumdb]\nhost = \"localhost\"\n").start();
    assert!(key(&gateway).name().starts_with("localhost/"));
    for (name, status, text) in [("public", 200, "example.net/alpha v1.2.0 h1:"), ("0badcafe", 403, "is not served here any more")] {
        let answer = gateway.ask("GET", &format!("/sumdb/localhost/{name}/lookup/example.net/alpha@v1.2.0"), &[]);
        assert_eq!(answer.status, status, "{}", answer.body_text());
        assert!(answer.body_text().contains(text), "{}", answer.body_text());
    }
}

#[test]
fn the_head_of_a_look_up_gives_nothing_out() {
    let (gateway, _upstream) = world("");
    publish(&gateway, "pub", &module("corp.example.com/open"));
    let target = format!("/sumdb/{}/lookup/corp.example.com/open@v1.0.0", key(&gateway).name());
    assert_eq!((gateway.ask("HEAD", &target, &[]).status, gateway.ask("HEAD", &target.replace("open", "none"), &[]).status), (200, 404));
    assert_eq!(size(&gateway), 0);
    delete(&gateway, "pub", "corp.example.com/open/v1.0.0");
    publish(&gateway, "pub", &module_of("corp.example.com/open", "v1.0.0", "package other\n"));
    looked_up(&gateway, &ask(&gateway, None, "lookup/corp.example.com/open@v1.0.0"));
    assert_eq!((gateway.ask("HEAD", &target, &[]).status, size(&gateway)), (200, 1));
}

#[test]
fn where_nobody_reads_without_signing_in_hashes_are_for_readers_and_names_for_admins() {
    let (gateway, _upstream) = world("[access]\nanonymous = \"none\"\n");
    publish(&gateway, "pub", &module("corp.example.com/open"));
    let (admin, reader) = (gateway.admin(), reader(&gateway, "pub"));
    let lookup = "lookup/corp.example.com/open@v1.0.0";
    looked_up(&gateway, &ask(&gateway, Some(&reader), lookup));
    let (name, hash) = (key(&gateway).name().to_owned(), hash(&gateway));
    for base in [format!("/sumdb/{name}"), format!("/{hash}"), format!("/api/packages/pub/go/sumdb/{name}")] {
        for (what, nobody, read, all) in [
            ("supported", 200, 200, 200),
            ("latest", 401, 200, 200),
            (lookup, 401, 200, 200),
            ("tile/8/0/000.p/1", 401, 200, 200),
            ("tile/8/data/000.p/1", 401, 403, 200),
        ] {
            let target = format!("{base}/{what}");
            let statuses = [None, Some(&reader), Some(&admin)].map(|login| with(&gateway, login, &target).status);
            assert_eq!(statuses, [nobody, read, all], "{target}");
        }
    }
}

#[test]
fn by_eight_hex_digits_ours_alone_is_here_and_where_it_is_off_it_is_the_one_that_is_not() {
    let (mut gateway, upstream) = world("");
    publish(&gateway, "pub", &module("corp.example.com/open"));
    looked_up(&gateway, &ask(&gateway, None, "lookup/corp.example.com/open@v1.0.0"));
    let (name, hash) = (key(&gateway).name().to_owned(), hash(&gateway));
    let status = |gateway: &Gateway, target: String| gateway.ask("GET", &target, &[]).status;
    let supported = |gateway: &Gateway, base: &str| status(gateway, format!("{base}/supported"));
    let theirs = ["/sumdb/sum.example.org".to_owned(), "/sumdb/localhost/00000000".to_owned(), format!("/sumdb/{}", upstream.sumdb_name())];
    let ours = [format!("/sumdb/{name}"), format!("/{hash}"), format!("/api/packages/pub/go/sumdb/{name}")];
    for base in theirs.iter().chain(&ours) {
        assert_eq!(supported(&gateway, base), 200, "{base}");
    }
    for other in ["/00000000", "/0123abcd"] {
        assert_eq!(supported(&gateway, other), 404, "{other}");
    }

    let seen = upstream.seen().len();
    gateway.configure(&format!("{}[sumdb]\nenabled = false\n", gateway.settings()));
    gateway.restart();
    for base in &ours {
        for what in ["supported", "latest", "lookup/corp.example.com/open@v1.0.0", "lookup/example.net/alpha@v1.2.0", "tile/8/0/000.p/1"] {
            let (target, lookup) = (format!("{base}/{what}"), what.starts_with("lookup/corp"));
            // A private name at a database that is not ours is for its sender to mend, whatever database that is.
            let expected = if lookup && base.contains("/sumdb/") { 403 } else { 404 };
            assert_eq!(status(&gateway, target.clone()), expected, "{target}");
        }
    }
    for base in &theirs {
        assert_eq!(supported(&gateway, base), 200, "{base}");
    }
    assert_eq!(upstream.seen().len(), seen, "{:?}", upstream.seen());
    // The command says so, and the home page prints no key.
    gateway.cli(&["sumdb"]).failed();
    assert!(!gateway.ask("GET", "/", &[]).body_text().contains(&name));
}

#[test]
fn tiles_that_no_tree_has_are_refused_at_once() {
    let (gateway, upstream) = world("");
    publish(&gateway, "pub", &module("corp.example.com/open"));
    looked_up(&gateway, &ask(&gateway, None, "lookup/corp.example.com/open@v1.0.0"));
    let admin = gateway.admin();
    let began = Instant::now();
    let deep = "x999/".repeat(600);
    let hostile = [
        // No tile is written so.
        ("tile/8/0/000.p/0", 400),
        ("tile/8/0/000.p/256", 400),
        ("tile/8/0/000.p/257", 400),
        ("tile/8/0/000.p/01", 400),
        ("tile/8/0/000.p/-1", 400),
        ("tile/8/0/0", 400),
        ("tile/8/0/00000", 400),
        ("tile/8/0/x000/000", 400),
        ("tile/8/0/x001", 400),
        ("tile/8/0/001/000", 400),
        ("tile/8/00/000", 400),
        ("tile/8/64/000", 400),
        ("tile/8/-1/000", 400),
        ("tile/8/entries/000", 400),
        ("tile/08/0/000", 400),
        ("tile/0/0/000", 400),
        ("tile/31/0/000", 400),
        ("tile/8/0/000/extra", 400),
        (&*format!("tile/8/0/{deep}999"), 400),
        ("tile/8/0/x018/x446/x744/x073/x709/x551/616", 400),
        // So it could be, in another tree.
        ("tile/8/63/000", 404),
        ("tile/8/0/000", 404),
        ("tile/8/0/001", 404),
        ("tile/8/0/x123/x456/789", 404),
        ("tile/8/7/000.p/1", 404),
        ("tile/8/data/x999/x999/999", 404),
    ];
    for (what, status) in hostile {
        let answer = ask(&gateway, Some(&admin), what);
        assert_eq!(answer.status, status, "{what}: {}", answer.body_text());
    }
    assert!(began.elapsed() < Duration::from_secs(60));
    let beyond = hostile.iter().filter(|(_, status)| *status == 404).count();
    let metrics = http::get(gateway.admin_address(), "/metrics").expect("a page").body_text();
    assert!(metrics.contains(&format!("modgate_sumdb_log_tiles_beyond_total {beyond}\n")), "{metrics}");
    assert!(upstream.seen().iter().all(|request| !request.target.contains("/tile/")), "{:?}", upstream.seen());
}
