//! What owners have: the registry's API with the real curl, quotas, paths that change owner, and versions that go.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::curl::{self, Login};
use crate::support::gateway::Gateway;
use crate::support::upstream::Upstream;
use crate::support::zips::Module;

mod moving;
mod quotas;
mod retention;

const SETTINGS: &str = r#"
[private]
patterns = ["corp.example.com"]
[owners.pub]
visibility = "public"

[owners.other]
visibility = "public"
[owners.priv]
visibility = "private"

"#;

fn module(owner: &str, path: &str, version: &str, content: &str) -> Module {
    Module::parse(&format!("{path}@{version}\nowner: {owner}\n-- go.mod --\nmodule {path}\n-- a.go --\npackage a // {content}\n"))
}

/// The body of a 200, as JSON, by curl.
#[track_caller]
fn get(gateway: &Gateway, login: Option<&Login>, target: &str) -> Value {
    let user = login.map(|login| format!("{}:{}", login.user, login.password));
    let args: Vec<&str> = user.iter().flat_map(|user| ["--user", user.as_str()]).collect();
    let reply = curl::curl(&args, &format!("{}{target}", gateway.url()), None);
    serde_json::from_str(&reply.is(200).body).unwrap_or_else(|e| panic!("{e}: {reply:?}"))
}

/// `name@version` of each.
fn names(list: &Value) -> Vec<String> {
    let name = |entry: &Value| format!("{}@{}", entry["name"].as_str().expect("a name"), entry["version"].as_str().expect("a version"));
    list.as_array().expect("a list").iter().map(name).collect()
}

/// What coreutils say of a file.
fn sum(tool: &str, file: &Path) -> String {
    let output = Command::new(tool).arg(file).output().expect("coreutils are there");
    String::from_utf8(output.stdout).expect("UTF-8").split_whitespace().next().expect("a sum").to_owned()
}

#[test]
fn an_owners_versions_are_listed_by_page_name_and_type() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder().upstream(&upstream).config(SETTINGS).start();
    for n in 0..51 {
        gateway.publish(&module("pub", "corp.example.com/many", &format!("v1.{n}.0"), "x")).is(201);
    }
    gateway.publish(&module("pub", "corp.example.com/Lib/v2", "v2.0.0-RC1", "x")).is(201);
    gateway.publish(&module("other", "corp.example.com/others", "v1.0.0", "x")).is(201);
    gateway.publish(&module("priv", "corp.example.com/hidden", "v1.0.0", "x")).is(201);
    let page = |query: &str| {
        let target = format!("/api/v1/packages/pub{query}");
        let reply = gateway.ask("GET", &target, &[]);
        assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")), "{target}");
        let head = gateway.ask("HEAD", &target, &[]);
        for name in ["x-total-count", "content-length", "content-type", "x-content-type-options", "content-security-policy"] {
            assert_eq!(head.header(name), reply.header(name), "{name} of {target}");
        }
        let total: u64 = reply.header("x-total-count").expect("a total").parse().expect("a number");
        (total, names(&serde_json::from_str(&reply.body_text()).expect("JSON")))
    };
    let many = |from: usize, to: usize| (from..to).map(|n| format!("corp.example.com/many@v1.{n}.0")).collect::<Vec<_>>();
    let lib = "corp.example.com/Lib/v2@v2.0.0-RC1".to_owned();
    let all = [vec![lib.clone()], many(0, 51)].concat();
    assert_eq!(page(""), (52, all[..30].to_vec()));
    assert_eq!(page("?type=go&page=2"), (52, all[30..].to_vec()));
    assert_eq!(page("?limit=50"), (52, all[..50].to_vec()));
    assert_eq!(page("?limit=51"), (52, all[..50].to_vec()));
    assert_eq!(page("?limit=1&page=52"), (52, all[51..].to_vec()));
    assert_eq!(page("?limit=1&page=53"), (52, vec![]));
    assert_eq!(page("?q=LIB"), (1, vec![lib.clone()]));
    assert_eq!(page("?q=corp.example.com%2FM&limit=2&page=2"), (51, many(2, 4)));
    assert_eq!(page("?q=nothing"), (0, vec![]));
    assert_eq!(page("?type=npm"), (0, vec![]));
    for query in ["?page=0", "?limit=x", "?typ=go", "?q=%zz"] {
        let reply = curl::curl(&[], &format!("{}/api/v1/packages/pub{query}", gateway.url()), None);
        assert_eq!(reply.is(400).body.lines().count(), 1, "{query}: {reply:?}");
    }
    // Another owner's are not among them, and a version that is deleted is not any more.
    let admin = gateway.admin();
    let login = format!("{}:{}", admin.user, admin.password);
    let target = format!("{}/api/v1/packages/pub/go/corp.example.com%2FLib%2Fv2/v2.0.0-%21r%21c1", gateway.url());
    curl::curl(&["--user", &login, "-X", "DELETE"], &target, None).is(204);
    assert_eq!(page("?q=lib"), (0, vec![]));
    assert_eq!(names(&get(&gateway, Some(&admin), "/api/v1/packages/priv")), ["corp.example.com/hidden@v1.0.0"]);
}

#[test]
fn a_version_has_the_shape_that_clients_know_and_an_id_that_stays() {
    let upstream = Upstream::start();
    let mut gateway = Gateway::builder().upstream(&upstream).config(SETTINGS).start();
    gateway.publish(&module("pub", "corp.example.com/Lib", "v1.0.0-RC1", "x")).is(201);
    let raw = "/api/v1/packages/pub/go/corp.example.com/Lib/v1.0.0-RC1";
    let package = get(&gateway, None, raw);
    let public_url =
        gateway.settings().lines().find_map(|line| line.strip_prefix("public_url = ")).expect("it is set").trim_matches('"').to_owned();
    let (id, created_at) = (package["id"].as_u64().expect("a number"), package["created_at"].as_str().expect("a time"));
    assert!(created_at.starts_with("20") && created_at.ends_with('Z'), "{created_at}");
    let expected = json!({
        "id": id,
        "owner": {"login": "pub"},
        "creator": {"login": "token:admin"},
        "repository": null,
        "type": "go",
        "name": "corp.example.com/Lib",
        "version": "v1.0.0-RC1",
        "html_url": format!("{public_url}/corp.example.com/Lib@v1.0.0-RC1"),
        "created_at": created_at,
    });
    assert_eq!(package, expected);
    gateway.restart();
    for target in
        [raw, "/api/v1/packages/pub/go/corp.example.com%2FLib/v1.0.0-RC1", "/api/v1/packages/pub/go/corp.example.com%2fLib/v1.0.0-!r!c1"]
    {
        assert_eq!(get(&gateway, None, target), expected, "{target}");
    }
    assert_eq!(get(&gateway, None, "/api/v1/packages/pub"), json!([expected]));
    for (method, target, status) in [
        ("GET", "/api/v1/packages/pub/go/corp.example.com/Lib/v1.0.1", 404),
        ("GET", "/api/v1/packages/pub/go/corp.example.com/lib/v1.0.0-RC1", 404),
        ("GET", "/api/v1/packages/other/go/corp.example.com/Lib/v1.0.0-RC1", 404),
        ("GET", "/api/v1/packages/pub/npm/corp.example.com/Lib/v1.0.0-RC1", 404),
        ("GET", "/api/v1/packages/pub/go/corp.example.com/Lib", 400),
        ("GET", "/api/v1/packages/pub/go/corp.example.com/../Lib/v1.0.0-RC1", 400),
        ("GET", "/api/v1/packages/", 404),
        ("POST", "/api/v1/packages/pub", 405),
    ] {
        assert_eq!(gateway.ask(method, target, &[("Content-Length", "0")]).status, status, "{method} {target}");
    }
}

#[test]
fn hashes_are_those_of_the_zip_and_are_told_to_mere_readers_once_it_has_left() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder().upstream(&upstream).config(SETTINGS).start();
    let lib = module("pub", "corp.example.com/lib", "v1.0.0", "x");
    gateway.publish(&lib).is(201);
    let dir = tempfile::tempdir().expect("a folder");
    let zip = lib.write_zip(dir.path());
    let files = "/api/v1/packages/pub/go/corp.example.com/lib/v1.0.0/files";
    let admin = gateway.admin();
    let told = get(&gateway, Some(&admin), files);
    let id = get(&gateway, None, files.trim_end_matches("/files"))["id"].clone();
    let all = json!([{
        "id": id,
        "size": fs::metadata(&zip).expect("the zip").len(),
        "name": "v1.0.0.zip",
        "md5": sum("md5sum", &zip),
        "sha1": sum("sha1sum", &zip),
        "sha256": sum("sha256sum", &zip),
        "sha512": sum("sha512sum", &zip),
    }]);
    assert_eq!(told, all);
    let mut bare = all.clone();
    for hash in ["md5", "sha1", "sha256", "sha512"] {
        bare[0][hash] = Value::Null;
    }
    // Neither the API nor a HEAD nor an .info seals.
    for _ in 0..2 {
        assert_eq!(get(&gateway, None, files), bare);
        assert_eq!(gateway.ask("HEAD", files, &[]).status, 200);
        assert_eq!(gateway.ask("HEAD", "/corp.example.com/lib/@v/v1.0.0.zip", &[]).status, 200);
        assert_eq!(gateway.ask("GET", "/corp.example.com/lib/@v/v1.0.0.info", &[]).status, 200);
    }
    assert_eq!(gateway.ask("GET", "/corp.example.com/lib/@v/v1.0.0.zip", &[]).status, 200);
    assert_eq!(get(&gateway, None, files), all);
    assert_eq!(gateway.ask("GET", &files.replace("v1.0.0", "v1.0.1"), &[]).status, 404);
}

#[test]
fn hashes_of_bytes_that_rotted_are_not_told() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder().upstream(&upstream).config(SETTINGS).start();
    let lib = module("pub", "corp.example.com/lib", "v1.0.0", "x");
    gateway.publish(&lib).is(201);
    let dir = tempfile::tempdir().expect("a folder");
    let blob = gateway.data_dir().join("blobs").join(sum("sha256sum", &lib.write_zip(dir.path())));
    let mut bytes = fs::read(&blob).expect("the blob");
    bytes[10] ^= 1;
    fs::write(&blob, bytes).expect("write the blob");
    let admin = gateway.admin();
    let login = format!("{}:{}", admin.user, admin.password);
    let target = format!("{}/api/v1/packages/pub/go/corp.example.com/lib/v1.0.0/files", gateway.url());
    let reply = curl::curl(&["--user", &login], &target, None);
    assert!(reply.is(503).body.contains("the gateway's storage failed"), "{reply:?}");
    gateway.log_with(&["has other content than was published"]);
}
