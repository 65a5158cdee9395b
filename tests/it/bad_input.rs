//! Malformed input gets a 4xx with one clear line, never a 500, a panic or a hang, and leaves nothing behind.

use std::fs;
use std::path::Path;

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
        ("major", zips::zip([("corp.example.com/m@v2.0.0/go.mod", go_mod)]), 400, "write module corp.example.com/m/v2 in go.mod"),
        ("other major", zips::zip([("corp.example.com/m/v2@v3.0.0/go.mod", go_mod)]), 400, "should be v2, not v3"),
        ("nested", with(&[("go.mod", go_mod), ("tools/go.mod", go_mod), ("x/y/go.mod", go_mod)]), 400, "adding ':!tools' ':!x/y'"),
        ("nested, odd", with(&[("go.mod", go_mod), ("a b/go.mod", go_mod)]), 400, "go.mod file not in module root directory"),
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
