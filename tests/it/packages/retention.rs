//! Pre-releases and pseudo-versions that go, and only when they are told to.

use super::*;

const PSEUDO: &str = "v1.0.1-0.20200102030405-abcdefabcdef";

#[test]
fn gc_shows_what_an_owner_does_not_retain_and_removes_it_only_by_force() {
    let upstream = Upstream::start();
    let retain = "[owners.pub.retain]\nprerelease = \"1ms\"\nkeep = 1\n";
    let mut gateway = Gateway::builder().upstream(&upstream).config(SETTINGS).config(retain).start();
    let path = "corp.example.com/lib";
    for version in ["v1.0.0-rc.1", PSEUDO, "v1.0.0", "v1.0.0-beta"] {
        gateway.publish(&module("pub", path, version, "x")).is(201);
    }
    // Owners without the setting keep all.
    gateway.publish(&module("other", "corp.example.com/other", "v1.0.0-rc.1", "x")).is(201);
    assert_eq!(gateway.ask("GET", &format!("/{path}/@v/v1.0.0-rc.1.zip"), &[]).status, 200);
    let goes = |gateway: &Gateway, force: bool| {
        let args: &[&str] = if force { &["gc", "--force", "--json"] } else { &["gc", "--json"] };
        serde_json::from_str::<Value>(gateway.cli(args).ok()).expect("JSON")["goes"].clone()
    };
    // The store's clock counts seconds.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while goes(&gateway, false).as_array().expect("a list").len() < 2 {
        assert!(std::time::Instant::now() < deadline, "nothing grows old");
    }
    let shown = goes(&gateway, false);
    let paths: Vec<_> = shown.as_array().expect("a list").iter().map(|line| line["path"].as_str().expect("a path")).collect();
    assert_eq!(paths, [format!("{path}@v1.0.0-rc.1"), format!("{path}@{PSEUDO}")]);
    assert!(
        shown[0]["why"].as_str().is_some_and(|why| why.starts_with("owners.pub.retain: published 20") && why.ends_with(", fetched since"))
    );
    assert!(shown[1]["why"].as_str().is_some_and(|why| why.ends_with('Z')));
    let text = gateway.cli(&["gc"]).ok().to_owned();
    let bytes: u64 = shown.as_array().expect("a list").iter().filter_map(|line| line["bytes"].as_u64()).sum();
    assert!(text.starts_with(&format!("hosted-expired\t{path}@v1.0.0-rc.1\t")), "{text}");
    assert!(text.ends_with(&format!("would remove: 2 files, {bytes} bytes; --force removes them\n")), "{text}");
    let all = ["v1.0.0-beta", "v1.0.0-rc.1", "v1.0.0", PSEUDO].map(|version| format!("{path}@{version}"));
    assert_eq!(names(&get(&gateway, None, "/api/v1/packages/pub")), all, "nothing went unasked");

    gateway.terminate();
    assert_eq!(goes(&gateway, false), shown, "without a server");
    gateway.start();
    assert_eq!(goes(&gateway, true), shown);
    let log = gateway.log_with(&["\"event\":\"delete\"", PSEUDO]);
    assert_eq!(log.lines().filter(|line| line.contains("\"audit\"") && line.contains("\"event\":\"delete\"")).count(), 2, "{log}");
    assert_eq!(gateway.cli(&["gc", "--force"]).ok(), "nothing to remove\n");
    for _ in 0..2 {
        assert_eq!(names(&get(&gateway, None, "/api/v1/packages/pub")), [all[0].clone(), all[2].clone()]);
        assert_eq!(gateway.cli(&["verify"]).ok(), "ok: 3 hosted, 0 cached\n");
        gateway.restart();
    }
    // Its seal stays: what was fetched comes back with the same content alone.
    gateway.publish(&module("pub", path, "v1.0.0-rc.1", "other")).is(409);
    gateway.publish(&module("pub", path, "v1.0.0-rc.1", "x")).is(201);
}
