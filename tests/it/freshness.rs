//! What changes, as the go command and curl see it: stale once and then new, asked anew on demand, and put together from the
//! cache while the upstream is dead.

use crate::support::files_below;
use crate::support::gateway::Gateway;
use crate::support::go::Go;
use crate::support::http::Response;
use crate::support::upstream::{Tree, Upstream};
use crate::support::zips;

const LIST: &str = "/example.net/alpha/@v/list";

fn cache_status(reply: &Response) -> &str {
    reply.header("cache-status").unwrap_or_default()
}

#[test]
fn latest_and_a_list_of_versions_work_with_the_upstream_dead_though_only_files_were_fetched() {
    let upstream = Upstream::start_with(zips::load("modules"), Tree::Complete);
    let mut gateway = Gateway::builder().upstream(&upstream).start();
    for version in ["v1.0.0", "v1.1.0"] {
        let go = Go::new(&gateway.url(), "off");
        go.run(&["install", &format!("example.net/tools/cmd/hello@{version}")]).ok();
    }
    // The go command asks for every parent: that they are no modules was found out by somebody else.
    for parent in ["example.net", "example.net/tools/cmd", "example.net/tools/cmd/hello"] {
        for file in ["@v/list", "@latest"] {
            assert_eq!(gateway.ask("GET", &format!("/{parent}/{file}"), &[]).status, 404, "{parent}");
        }
    }
    // Of the module itself nothing is left but the files that builds need.
    let cache = gateway.data_dir().join("cache");
    std::fs::remove_dir_all(cache.join("queries/example.net/tools/@v")).expect("it was asked for");
    for version in ["v1.0.0", "v1.1.0"] {
        std::fs::remove_file(cache.join(format!("download/example.net/tools/@v/{version}.info"))).expect("it was fetched");
    }
    upstream.dead();
    gateway.restart();

    let go = Go::new(&gateway.url(), "off");
    go.run(&["list", "-m", "-versions", "example.net/tools"]).prints(&["example.net/tools v1.0.0 v1.1.0"]);
    go.run(&["install", "example.net/tools/cmd/hello@latest"]).ok();
    go.run_installed("hello").says(&["hello v1.1.0 v1.1.0 v1.2.0\n"]).ok();
    for file in ["@v/list", "@latest", "@v/v1.1.0.info"] {
        let reply = gateway.ask("GET", &format!("/example.net/tools/{file}"), &[]);
        assert_eq!((reply.status, cache_status(&reply)), (200, "modgate; fwd=stale; detail=offline"), "{file}");
    }
    assert_eq!(gateway.ask("GET", "/example.net/beta/@v/main.info", &[]).status, 502);
}

#[test]
fn a_list_is_stale_once_and_then_the_new_one() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder().upstream(&upstream).config("[cache]\nfresh = \"0s\"\n").start();
    let first = gateway.ask("GET", LIST, &[]);
    assert_eq!(cache_status(&first), "modgate; fwd=miss");
    upstream.answer(LIST, Response::text(200, "v1.0.0\nv9.0.0\n"));
    let stale = gateway.ask("GET", LIST, &[]);
    assert_eq!((cache_status(&stale), stale.body_text()), ("modgate; fwd=stale", first.body_text()));
    let mut later = std::iter::repeat_with(|| gateway.ask("GET", LIST, &[]).body_text());
    assert_eq!(later.find(|list| *list != first.body_text()).as_deref(), Some("v1.0.0\nv9.0.0\n"));
}

#[test]
fn no_cache_is_for_those_who_are_signed_in_and_refresh_for_the_operator() {
    let upstream = Upstream::start();
    let private = "[private]\npatterns = [\"corp.example.com\"]\n";
    let gateway = Gateway::builder().upstream(&upstream).config(private).start();
    let bearer = format!("Bearer {}", gateway.admin_token());
    gateway.ask("GET", LIST, &[]);
    for (headers, status, asked) in [
        (vec![("Cache-Control", "no-cache")], "modgate; hit", 1),
        (vec![("Authorization", bearer.as_str())], "modgate; hit", 1),
        (vec![("Authorization", bearer.as_str()), ("Cache-Control", "max-age=9, No-Cache")], "modgate; fwd=miss", 2),
        (vec![], "modgate; hit", 2),
    ] {
        assert_eq!(cache_status(&gateway.ask("GET", LIST, &headers)), status, "{headers:?}");
        assert_eq!(upstream.count(LIST), asked, "{headers:?}");
    }
    let missing = "/example.net/alpha/@v/v7.0.0.info";
    assert_eq!(gateway.ask("GET", missing, &[]).status, 404);
    let all = ["@latest\t200", "@v/list\t200", "@v/v7.0.0.info\t404"];
    gateway.cli(&["refresh", "example.net/alpha"]).prints(&all);
    gateway.cli(&["refresh", "example.net/alpha@v7.0.0"]).prints(&all[2..]);
    assert_eq!((upstream.count(LIST), upstream.count(missing)), (3, 3));
    gateway.cli(&["refresh", "corp.example.com/secret"]).says(&["is private"]).failed();
    upstream.dead();
    let failed = gateway.cli(&["refresh", "example.net/alpha@v7.0.0"]);
    failed.failed();
    assert!(failed.stdout.starts_with("@v/v7.0.0.info\tfailed: "), "{failed}");
    assert_eq!(gateway.ask("GET", missing, &[]).status, 404);
}

#[test]
fn publishing_a_path_forgets_what_upstream_said_of_it() {
    let upstream = Upstream::start();
    // It is asked for before it is published, and nothing else makes it private.
    upstream.tolerate_private();
    let gateway = Gateway::builder().upstream(&upstream).config("[owners.open]\nvisibility = \"public\"\n").start();
    let of_open = |module: &zips::Module| module.owner.as_deref() == Some("open");
    let module = zips::load("hosted").into_iter().find(of_open).expect("a hosted module");
    let path = zips::escape(&module.path);
    let kept = || files_below(&gateway.data_dir().join("cache/absent")).len();
    assert_eq!(gateway.ask("GET", &format!("/{path}/@v/list"), &[]).status, 404);
    assert_eq!(kept(), 1);
    let reply = gateway.publish(&module);
    assert_eq!(reply.status, 201, "{reply:?}");
    assert_eq!(kept(), 0);
}
