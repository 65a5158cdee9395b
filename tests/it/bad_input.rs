//! Malformed input gets a 4xx with one clear line, never a 500, a panic or a hang, and leaves nothing behind.

use std::fs;
use std::path::Path;
use std::process::Command;

use sha2::{Digest as _, Sha256};

use crate::support::curl;
use crate::support::files_below;
use crate::support::gateway::Gateway;
use crate::support::http;
use crate::support::upstream::Upstream;
use crate::support::zips;

#[test]
fn a_bad_publish_says_why_and_leaves_nothing() {
    let upstream = Upstream::start();
    let gateway =
        Gateway::builder().upstream(&upstream).config("[owners.default]\nvisibility = \"public\"\n[limits]\nupload = \"1MiB\"\n").start();
    let admin = gateway.admin();
    let scratch = tempfile::tempdir().expect("a folder");
    let publish = |name: &str, bytes: &[u8]| {
        let file = scratch.path().join(name);
        fs::write(&file, bytes).expect("write a file");
        curl::publish(&gateway.url(), "default", Some(&admin), &file, None)
    };
    let m = "corp.example.com/m@v1.0.0/";
    let with = |entries: &[(&str, &[u8])]| {
        let entries: Vec<(String, &[u8])> = entries.iter().map(|(name, bytes)| (format!("{m}{name}"), *bytes)).collect();
        zips::zip(entries.iter().map(|(name, bytes)| (name.as_str(), *bytes)))
    };
    let go_mod: &[u8] = b"module corp.example.com/m\n";
    let bomb = with(&[("go.mod", go_mod), ("zeros", &vec![0; 40 << 20])]);
    let good = with(&[("go.mod", go_mod)]);
    let cases: Vec<(&str, Vec<u8>, u16, &str)> = vec![
        ("nothing", vec![], 400, "zip"),
        ("text", b"hello".to_vec(), 400, "zip"),
        ("cut", good[..good.len() - 10].to_vec(), 400, "zip"),
        ("no prefix", zips::zip([("go.mod", go_mod)]), 400, "@"),
        ("two prefixes", zips::zip([("a.example.com/m@v1.0.0/a", go_mod), ("b.example.com/m@v1.0.0/a", go_mod)]), 400, "@"),
        ("no dot", zips::zip([("m@v1.0.0/go.mod", b"module m\n" as &[u8])]), 400, "dot"),
        ("bad version", zips::zip([("corp.example.com/m@1.0/go.mod", go_mod)]), 400, "version"),
        ("not canonical", zips::zip([("corp.example.com/m@v1.0/go.mod", go_mod)]), 400, "v1.0"),
        ("other module", with(&[("go.mod", b"module corp.example.com/other\n")]), 400, "corp.example.com/other"),
        ("no module line", with(&[("go.mod", b"go 1.21\n")]), 400, "module"),
        ("empty go.mod", with(&[("go.mod", b"")]), 400, "go.mod"),
        ("dots", with(&[("go.mod", go_mod), ("../../etc/passwd", b"x")]), 400, ".."),
        ("twins", with(&[("go.mod", go_mod), ("a.go", b"x"), ("A.go", b"y")]), 400, "case"),
        ("major", zips::zip([("corp.example.com/m@v2.0.0/go.mod", go_mod)]), 400, "v2"),
        ("shared root", zips::zip([("github.com/acme@v1.0.0/go.mod", b"module github.com/acme\n" as &[u8])]), 400, "github.com"),
        ("too long", vec![b'x'; (1 << 20) + 1], 413, "limits.upload"),
    ];
    let before = (files_below(&gateway.data_dir().join("blobs")).len(), files_below(&gateway.data_dir().join("records")).len());
    for (name, bytes, status, says) in cases {
        let reply = publish(name, &bytes);
        assert_eq!(reply.status, status, "{name}: {}", reply.body);
        assert!(reply.body.contains(says), "{name} should speak of {says}: {}", reply.body);
        assert!(reply.body.lines().all(|line| !line.trim().is_empty()), "{name}: {:?}", reply.body);
    }
    assert!(bomb.len() < 1 << 20);
    publish("bomb", &bomb).is(201);
    publish("again", &bomb).is(409);
    publish("other", &good).is(409);
    assert!(files_below(&gateway.data_dir().join("tmp")).is_empty(), "{:?}", files_below(&gateway.data_dir().join("tmp")));
    let after = (files_below(&gateway.data_dir().join("blobs")).len(), files_below(&gateway.data_dir().join("records")).len());
    // The zip, its go.mod, and the record; the journals may have come into being.
    assert_eq!(after.0 - before.0, 2);
    assert!(after.1 - before.1 <= 2, "{before:?} {after:?}");
    gateway.cli(&["verify"]).ok();
}

#[test]
fn what_is_not_http_gets_a_4xx_or_nothing_and_the_next_request_is_served() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder().upstream(&upstream).config("[limits]\nheader_time = \"2s\"\nheader = \"4KiB\"\n").start();
    let host = gateway.address();
    for request in [
        "garbage\r\n\r\n".to_owned(),
        "GET\r\n\r\n".to_owned(),
        "GET / HTTP/9.9\r\n\r\n".to_owned(),
        format!("GET / HTTP/1.1\r\nHost: {host}\r\nHost: {host}x\r\n\r\n"),
        format!("BREW / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"),
        format!("get / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: {host}\r\nX: {}\r\nConnection: close\r\n\r\n", "y".repeat(8 << 10)),
        format!("PUT /api/packages/default/go/upload HTTP/1.1\r\nHost: {host}\r\nContent-Length: -1\r\n\r\n"),
        format!("PUT /api/packages/default/go/upload HTTP/1.1\r\nHost: {host}\r\nContent-Length: 99999999999999999999\r\n\r\n"),
        format!("POST /admin/tokens HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}"),
        format!("GET /%ff%fe HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: {host}\r\nAuthorization: Basic \u{7f}\r\nConnection: close\r\n\r\n"),
    ] {
        if let Ok(reply) = http::send(host, request.as_bytes()) {
            assert!((400..500).contains(&reply.status), "{request:?}: {}", reply.status);
            assert!(reply.body.len() <= 600, "{request:?}");
        }
        assert_eq!(gateway.ask("GET", "/healthz", &[]).status, 200, "after {request:?}");
    }
    assert!(!gateway.log().contains("panicked"), "{}", gateway.log());
}

#[test]
fn a_data_directory_that_cannot_be_used_is_refused_in_words() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder().upstream(&upstream).start();
    // In use.
    let mut second = Gateway::builder().upstream(&upstream).prepare();
    let (code, said) = second.start_refused_in(&gateway.data_dir());
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("in use"), "{said}");
    // Of a newer version.
    let mut newer = Gateway::builder().upstream(&upstream).start();
    newer.kill();
    fs::write(newer.data_dir().join("format"), "{\"format\":999,\"needs\":\"9.1.0\"}\n").expect("write the format");
    let (code, said) = newer.start_refused();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("999") && said.contains("start modgate 9.1.0 or newer"), "{said}");
    // Not a folder.
    let file = second.config_file().with_file_name("file");
    fs::write(&file, "x").expect("write a file");
    let (code, said) = second.start_refused_in(&file);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("file"), "{said}");
    // Not writable, for root neither.
    let (code, said) = second.start_refused_in(Path::new("/proc/modgate"));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("data directory /proc/modgate cannot be written"), "{said}");
}

/// Runs this test again in a mount namespace of its own, in which it may mount and nobody else sees it; `true` if we are in there.
fn in_a_namespace_of_its_own(test: &str) -> bool {
    const INSIDE: &str = "MODGATE_TEST_MAY_MOUNT";
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let mut command = Command::new("unshare");
    command.args(if rustix::process::geteuid().is_root() { &["--mount"][..] } else { &["--mount", "--map-root-user"] });
    command.arg(std::env::current_exe().expect("this program")).args(["--exact", "--nocapture", test]).env(INSIDE, "1");
    let output = command.output().expect("run unshare");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    false
}

fn mount(args: &[&str], at: &Path) {
    let output = Command::new("mount").args(args).arg(at).output().expect("run mount");
    assert!(output.status.success(), "mount {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_full_disk_refuses_what_does_not_fit_and_serves_the_rest() {
    if !in_a_namespace_of_its_own("bad_input::a_full_disk_refuses_what_does_not_fit_and_serves_the_rest") {
        return;
    }
    let upstream = Upstream::start();
    let mut gateway = Gateway::builder().upstream(&upstream).config("[owners.default]\nvisibility = \"public\"\n").prepare();
    let data = gateway.data_dir();
    fs::create_dir(&data).expect("a folder");
    // The store keeps 8 MiB for itself.
    mount(&["-t", "tmpfs", "-o", "size=12m", "modgate-test"], &data);
    gateway.start();
    let admin = gateway.admin();
    let scratch = tempfile::tempdir().expect("a folder");
    let publish = |n: u32| {
        let module = format!("corp.example.com/m{n}@v1.0.0/");
        let go_mod = format!("module corp.example.com/m{n}\n");
        // Bytes that do not compress.
        let data: Vec<u8> = (0..16 << 10).flat_map(|block: u32| Sha256::digest(format!("{n} {block}"))).collect();
        let (first, second) = (format!("{module}go.mod"), format!("{module}data.bin"));
        let zip = zips::zip([(first.as_str(), go_mod.as_bytes()), (second.as_str(), data.as_slice())]);
        let file = scratch.path().join("m.zip");
        fs::write(&file, zip).expect("write a file");
        curl::publish(&gateway.url(), "default", Some(&admin), &file, None)
    };
    let mut kept = 0;
    let blobs = loop {
        let blobs = files_below(&data.join("blobs"));
        let reply = publish(kept);
        if reply.status == 507 {
            break blobs;
        }
        reply.is(201);
        kept += 1;
        assert!(kept < 12, "12 MiB took {kept} modules of half a MiB");
    };
    assert!(kept > 0);
    // Nothing of it stays, and what was kept before is served.
    publish(kept).is(507);
    assert_eq!(files_below(&data.join("blobs")), blobs);
    assert!(files_below(&data.join("tmp")).is_empty(), "{:?}", files_below(&data.join("tmp")));
    for n in 0..kept {
        let reply = http::get(gateway.address(), &format!("/corp.example.com/m{n}/@v/v1.0.0.zip")).expect("a reply");
        assert_eq!(reply.status, 200, "{}", reply.body_text());
    }
    assert_eq!(gateway.ask("GET", &format!("/corp.example.com/m{kept}/@v/v1.0.0.info"), &[]).status, 404);
    gateway.cli(&["verify"]).ok();
    let check = gateway.cli(&["check"]);
    assert!(check.code == Some(1) && check.stdout.contains("MiB left"), "{check}");
    // A delete makes room again.
    let login = format!("{}:{}", admin.user, admin.password);
    let first = format!("{}/api/v1/packages/default/go/corp.example.com/m0/v1.0.0", gateway.url());
    curl::curl(&["--user", &login, "-X", "DELETE"], &first, None).is(204);
    gateway.terminate();

    mount(&["-o", "remount,ro"], &data);
    let (code, said) = gateway.start_refused();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("cannot be written"), "{said}");
}
