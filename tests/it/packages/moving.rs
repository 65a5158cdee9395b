//! `claim move`: a path that becomes another owner's.

use super::*;
use crate::support::go::Go;

const OWNERS: &str = r#"
[owners.bounded]
visibility = "public"
modules = ["corp.example.com/bounded/*"]
[owners.small]
visibility = "public"
max_bytes = 10
"#;

#[test]
fn the_go_command_finds_a_moved_module_at_its_new_owner_and_no_more_at_the_old_one() {
    let upstream = Upstream::start();
    let mut gateway = Gateway::builder().upstream(&upstream).config(SETTINGS).start();
    let path = "corp.example.com/lib";
    gateway.publish(&module("pub", path, "v1.0.0", "one")).is(201);
    gateway.publish(&module("pub", path, "v1.1.0", "two")).is(201);
    let id = get(&gateway, None, &format!("/api/v1/packages/pub/go/{path}/v1.0.0"))["id"].clone();
    let download = |gateway: &Gateway, base: &str| {
        Go::new(&format!("{}{base}", gateway.url()), "off").run(&["mod", "download", "-json", &format!("{path}@v1.0.0")])
    };
    let sum_of = |json: &str| serde_json::from_str::<Value>(json).expect("JSON")["Sum"].as_str().expect("a sum").to_owned();
    let before = sum_of(download(&gateway, "/api/packages/pub/go").ok());
    assert!(download(&gateway, "/api/packages/other/go").failed().is_empty());

    let moved = gateway.cli(&["claim", "move", path, "--owner", "other"]).ok().to_owned();
    assert!(moved.starts_with("corp.example.com/lib is owner other's now, and was pub's: 2 versions, "), "{moved}");
    let log = gateway.log_with(&["\"audit\"", "claim-moved"]);
    let line = log.lines().find(|line| line.contains("claim-moved")).expect("a line");
    let event: Value = serde_json::from_str(line).expect("JSON");
    assert_eq!((&event["path"], &event["from"], &event["to"]), (&json!(path), &json!("pub"), &json!("other")));

    for _ in 0..2 {
        for base in ["/api/packages/other/go", ""] {
            assert_eq!(sum_of(download(&gateway, base).ok()), before, "{base}");
        }
        let gone = download(&gateway, "/api/packages/pub/go");
        assert!(gone.code == Some(1) && gone.stdout.contains("404 Not Found"), "{gone}");
        let package = get(&gateway, None, &format!("/api/v1/packages/other/go/{path}/v1.0.0"));
        assert_eq!((&package["id"], &package["owner"]["login"]), (&id, &json!("other")));
        assert_eq!(get(&gateway, None, "/api/v1/packages/pub"), json!([]));
        // A version that left before cannot come back with other content, nor at the old owner.
        gateway.publish(&module("pub", path, "v1.2.0", "three")).is(409);
        assert_eq!(gateway.cli(&["verify"]).ok(), "ok: 2 hosted, 0 cached\n");
        gateway.restart();
    }
    gateway.publish(&module("other", path, "v1.2.0", "three")).is(201);
}

#[test]
fn a_path_is_not_moved_to_an_owner_that_could_not_publish_it() {
    let upstream = Upstream::start();
    let mut gateway = Gateway::builder().upstream(&upstream).config(SETTINGS).config(OWNERS).start();
    let (private, claimed) = ("corp.example.com/lib", "claimed.example.com/lib");
    gateway.publish(&module("pub", private, "v1.0.0", "x")).is(201);
    gateway.publish(&module("pub", claimed, "v1.0.0", "x")).is(201);
    let refused = |gateway: &Gateway, path: &str, owner: &str, code: i32, says: &[&str]| {
        let ran = gateway.cli(&["claim", "move", path, "--owner", owner]);
        assert_eq!(ran.code, Some(code), "{ran}");
        ran.says(says);
    };
    gateway.cli(&["claim", "release", "claimed.example.com"]).ok();
    for _ in 0..2 {
        refused(&gateway, private, "nobody", 1, &["there is no owner nobody"]);
        refused(&gateway, private, "bounded", 1, &["no pattern of owners.bounded.modules matches it"]);
        refused(&gateway, private, "small", 1, &["it holds 0 bytes and may hold 10, and this has ", "owners.small.max_bytes"]);
        refused(&gateway, private, "pub", 1, &["is owner pub's already"]);
        refused(&gateway, "corp.example.com/none", "other", 1, &["is neither hosted here nor a deleted module"]);
        // Nothing but being hosted would keep it private.
        refused(
            &gateway,
            claimed,
            "priv",
            1,
            &["owner priv is not public", "the claim of claimed.example.com was released", "private.patterns"],
        );
        refused(&gateway, "not a path", "pub", 2, &[]);
        refused(&gateway, private, "Not_A_Name", 2, &[]);
        if gateway.pid().is_some() {
            gateway.terminate();
        }
    }
    // Without a server it is done too; a pattern is what lets it be private.
    let narrowed = gateway.cli(&["claim", "move", private, "--owner", "priv"]).ok().to_owned();
    assert!(narrowed.contains("; read by no user but admins (private), and was by everyone (public)\n"), "{narrowed}");
    let alike = gateway.cli(&["claim", "move", claimed, "--owner", "other"]).ok().to_owned();
    assert!(alike.ends_with("; read by everyone (public), as before\n"), "{alike}");
    gateway.start();
    assert_eq!(gateway.ask("GET", "/corp.example.com/lib/@v/list", &[]).status, 404);
    assert_eq!(names(&get(&gateway, None, "/api/v1/packages/other")), ["claimed.example.com/lib@v1.0.0"]);
}
