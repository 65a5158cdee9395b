//! The audit trail of the real gateway: what it tells, and that it is there after a kill.

use serde_json::Value;

use crate::support::gateway::Gateway;
use crate::support::http;
use crate::support::upstream::Upstream;
use crate::support::zips::Module;

const SETTINGS: &str = r#"
[owners.default]
visibility = "public"
[owners.team]
visibility = "private"
"#;

fn module(owner: &str, path: &str) -> Module {
    Module::parse(&format!("{path}@v1.0.0\nowner: {owner}\n-- go.mod --\nmodule {path}\n-- a.go --\npackage a\n"))
}

fn start(upstream: &Upstream) -> Gateway {
    Gateway::builder().upstream(upstream).config(SETTINGS).start()
}

/// The trail's lines, as `modgate audit` prints them.
#[track_caller]
fn trail(gateway: &Gateway) -> Vec<Value> {
    let printed = gateway.cli(&["audit", "--json"]).ok().to_owned();
    printed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn events(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["event"].as_str().expect("an event")).collect()
}

#[test]
fn what_was_answered_with_done_is_in_the_trail_after_kill_9_with_its_request() {
    let upstream = Upstream::start();
    let mut gateway = start(&upstream);
    let token = gateway.cli(&["token", "create", "--name", "ci", "--scope", "publish,delete"]).ok().trim().to_owned();
    gateway.publish(&module("default", "claimed.example.com/lib")).is(201);
    let deleted = gateway.ask(
        "DELETE",
        "/api/v1/packages/default/go/claimed.example.com%2Flib/v1.0.0",
        &[("Authorization", &format!("Bearer {token}"))],
    );
    assert_eq!(deleted.status, 204);
    gateway.kill();
    let lines = trail(&gateway);
    assert_eq!(events(&lines), ["token-made", "publish", "claim-made", "delete"]);
    let delete = &lines[3];
    assert_eq!(delete["request_id"].as_str(), deleted.header("x-request-id"), "{delete}");
    assert_eq!(
        (delete["by"].as_str(), delete["peer"].as_str(), delete["path"].as_str(), delete["last"].as_bool()),
        (Some("token:ci"), Some("127.0.0.1"), Some("claimed.example.com/lib"), Some(true))
    );
    assert_eq!((lines[0]["by"].as_str(), lines[1]["by"].as_str()), (Some("operator"), Some("token:admin")));
    let node = std::fs::read_to_string(gateway.data_dir().join("node")).expect("a name");
    assert!(lines.iter().all(|line| line["node"].as_str() == Some(node.trim())), "{lines:?}");
    assert!(!format!("{lines:?}").contains(&token), "a secret");
    // A torn last line is cut, and what comes is added behind whole ones.
    let file = std::fs::read_dir(gateway.data_dir().join("audit")).expect("a folder").next().expect("a file").expect("a file").path();
    let torn = std::fs::read_to_string(&file).expect("read it") + "{\"time\":\"2";
    std::fs::write(&file, torn).expect("tear it");
    gateway.start();
    gateway.cli(&["claim", "release", "claimed.example.com"]).ok();
    assert_eq!(events(&trail(&gateway)), ["token-made", "publish", "claim-made", "delete", "claim-released"]);
}

#[test]
fn what_a_start_finds_wrong_is_in_the_trail() {
    let upstream = Upstream::start();
    let mut gateway = start(&upstream);
    gateway.publish(&module("default", "claimed.example.com/lib")).is(201);
    gateway.kill();
    std::fs::write(gateway.data_dir().join("blobs/notes.txt"), "mine").expect("a stranger's file");
    gateway.start();
    let lines = trail(&gateway);
    let found: Vec<_> = lines.iter().filter(|line| line["event"] == "integrity").collect();
    assert_eq!(found.len(), 1, "{lines:?}");
    let path = found[0]["path"].as_str().expect("a path");
    assert!(found[0]["kind"] == "stray" && found[0]["by"] == "modgate" && path.ends_with("notes.txt"), "{found:?}");
}

#[test]
fn the_first_bytes_of_a_version_seal_it_and_are_told_once() {
    let upstream = Upstream::start();
    let gateway = start(&upstream);
    gateway.publish(&module("default", "claimed.example.com/lib")).is(201);
    for _ in 0..3 {
        gateway.ask("HEAD", "/claimed.example.com/lib/@v/v1.0.0.zip", &[]);
        gateway.ask("GET", "/claimed.example.com/lib/@v/list", &[]);
    }
    assert!(!events(&trail(&gateway)).contains(&"seal"));
    let first = gateway.ask("GET", "/claimed.example.com/lib/@v/v1.0.0.mod", &[]);
    gateway.ask("GET", "/claimed.example.com/lib/@v/v1.0.0.zip", &[]);
    // Whatever was recorded before is written before this.
    gateway.cli(&["verify"]).ok();
    let lines = trail(&gateway);
    let seals: Vec<_> = lines.iter().filter(|line| line["event"] == "seal").collect();
    assert_eq!(seals.len(), 1, "{lines:?}");
    assert_eq!((seals[0]["by"].as_str(), seals[0]["request_id"].as_str()), (Some("anonymous"), first.header("x-request-id")));
    let verify = lines.last().expect("a line");
    assert_eq!((verify["event"].as_str(), verify["hosted"].as_u64(), verify["findings"].as_u64()), (Some("verify"), Some(1), Some(0)));
}

#[test]
fn what_was_tried_in_vain_is_told_and_a_flood_of_it_is_a_few_lines() {
    let upstream = Upstream::start();
    let mut gateway = start(&upstream);
    for n in 0..200 {
        gateway.ask("GET", "/example.net/alpha/@v/list", &[("Authorization", &format!("Bearer wrong-secret-{n}"))]);
        gateway.ask("PUT", &format!("/api/packages/owner{n}/go/upload?planted"), &[("Content-Length", "0")]);
    }
    gateway.publish(&module("default", "claimed.example.com/lib")).is(201);
    gateway.publish(&module("default", "claimed.example.com/lib")).is(409);
    // A read that is refused is in the log alone.
    gateway.ask("GET", "/claimed.example.com/absent/@v/list", &[]);
    gateway.terminate();
    let lines = trail(&gateway);
    let refused = |rule: &str| lines.iter().filter(|line| line["rule"] == rule).collect::<Vec<_>>();
    let (logins, uploads, conflicts) = (refused("credentials"), refused("sign-in"), refused("conflict"));
    let times = |lines: &[&serde_json::Value]| lines.iter().map(|line| line["times"].as_u64().unwrap_or(1)).sum::<u64>();
    // The first of a kind, and how many more there were.
    assert_eq!((logins.len(), times(&logins)), (2, 200), "{logins:?}");
    assert_eq!((logins[0]["by"].as_str(), logins[0]["times"].as_u64()), (Some("unknown"), None));
    assert!((2..=62).contains(&uploads.len()), "{}", uploads.len());
    assert_eq!(times(&uploads), 200);
    assert_eq!(conflicts.len(), 1);
    assert_eq!((conflicts[0]["status"].as_u64(), conflicts[0]["kind"].as_str()), (Some(409), Some("publish")));
    assert_eq!(lines.iter().filter(|line| line["event"] == "refusal").count(), logins.len() + uploads.len() + conflicts.len());
    assert!(!format!("{lines:?}").contains("planted") && !format!("{lines:?}").contains("wrong-secret"));
}

#[test]
fn a_refused_publish_is_told_with_its_module_and_why() {
    let upstream = Upstream::start();
    let owners = "[owners.bound]\nvisibility = \"public\"\nmodules = [\"bound.example.com/mine/*\"]\n";
    let gateway = Gateway::builder().upstream(&upstream).config(SETTINGS).config(owners).start();
    let publish = |owner: &str, path: &str| gateway.publish(&module(owner, path));
    publish("default", "claimed.example.com/lib").is(201);
    publish("default", "claimed.example.com/lib").is(409);
    publish("bound", "elsewhere.example.com/lib").is(403);
    publish("bound", "elsewhere.example.com/other").is(403);
    let unknown = publish("nobody", "claimed.example.com/lib");
    assert_eq!(unknown.status, 403);
    assert!(unknown.body.contains("there is no owner nobody in the settings: add [owners.nobody]"), "an admin is told: {unknown:?}");
    let lines = trail(&gateway);
    let refused: Vec<_> = lines.iter().filter(|line| line["event"] == "refusal").collect();
    let told: Vec<_> = refused.iter().map(|line| ["rule", "reason", "module", "version"].map(|name| line[name].as_str())).collect();
    assert_eq!(
        told,
        [
            [Some("conflict"), Some("exists-same"), Some("claimed.example.com/lib"), Some("v1.0.0")],
            [Some("rights"), Some("outside-modules"), Some("elsewhere.example.com/lib"), Some("v1.0.0")],
            [Some("rights"), Some("outside-modules"), Some("elsewhere.example.com/other"), Some("v1.0.0")],
            // Refused before its body was read.
            [Some("rights"), Some("no-owner"), None, None],
        ]
    );
}

#[test]
fn a_wrong_password_is_told_with_the_user_whom_it_names_if_there_is_one() {
    let upstream = Upstream::start();
    let hash = modgate::access::hash_password("right").expect("a hash");
    let users = format!("[users.alice]\npassword_hash = \"{hash}\"\n");
    let gateway = Gateway::builder().upstream(&upstream).config(SETTINGS).config(&users).start();
    // The last has its password where the name belongs.
    for user in ["alice:wrong-word", "bob:wrong-word", "misplaced-word:x"] {
        let basic = format!("Basic {}", base64::Engine::encode(&base64::engine::general_purpose::STANDARD, user));
        assert_eq!(gateway.ask("GET", "/", &[("Authorization", &basic)]).status, 401);
    }
    gateway.cli(&["verify"]).ok();
    let lines = trail(&gateway);
    let by: Vec<_> = lines.iter().filter(|line| line["rule"] == "credentials").filter_map(|line| line["by"].as_str()).collect();
    assert_eq!(by, ["claimed:alice", "unknown"], "{lines:?}");
    assert!(!format!("{lines:?}").contains("misplaced-word") && !format!("{lines:?}").contains("bob"), "{lines:?}");
}

#[test]
fn the_command_prints_columns_from_a_moment_on_near_and_far() {
    let upstream = Upstream::start();
    let gateway = start(&upstream);
    gateway.cli(&["token", "create", "--name", "ci", "--scope", "read"]).ok();
    let text = gateway.cli(&["audit", "--since", "1h"]).ok().to_owned();
    let line = text.lines().find(|line| line.contains("token-made")).expect("the event");
    let columns: Vec<&str> = line.split('\t').collect();
    assert_eq!((columns[1], columns[2], columns.len()), ("token-made", "operator", 5), "{line}");
    assert!(columns[3].len() == 16 && columns[4].contains("name=ci") && columns[4].contains("scopes=read"), "{line}");
    let server = format!("http://{}", gateway.admin_address());
    let far = gateway.cli_with(&[("MODGATE_TOKEN", &gateway.admin_token())], &["audit", "--server", &server]);
    assert_eq!(far.ok(), text);
    assert_eq!(gateway.cli(&["audit", "--since", "2999-01-01"]).ok(), "");
    for bad in ["yesterday", "", "5"] {
        assert_eq!(gateway.cli(&["audit", "--since", bad]).code, Some(2), "{bad}");
    }
}

#[test]
fn a_trail_that_cannot_be_written_stops_neither_reads_nor_publishes_and_is_told() {
    let upstream = Upstream::start();
    let gateway = start(&upstream);
    std::fs::write(gateway.data_dir().join("audit"), "in the way").expect("write");
    gateway.publish(&module("default", "claimed.example.com/lib")).is(201);
    assert_eq!(gateway.ask("GET", "/claimed.example.com/lib/@v/v1.0.0.mod", &[]).status, 200);
    let log = gateway.log_with(&["the audit trail cannot be written", "claim-made"]);
    assert_eq!(log.matches("the audit trail cannot be written").count(), 1, "{log}");
    let page = http::get(gateway.admin_address(), "/metrics").expect("a page").body_text();
    let lost = page.lines().find_map(|line| line.strip_prefix("modgate_audit_lost_total ")).expect("a count");
    assert!(lost.parse::<u64>().expect("a number") >= 2, "{lost}");
}

#[test]
fn what_fails_in_the_background_is_logged_once_with_the_request_that_began_it() {
    let upstream = Upstream::start();
    let gateway = start(&upstream);
    drop(upstream);
    let reply = gateway.ask("GET", "/example.net/alpha/@v/list", &[]);
    assert!(reply.status >= 500, "{reply:?}");
    let id = reply.header("x-request-id").expect("an id").to_owned();
    assert!(reply.body_text().contains(&format!("(request {id})")), "{}", reply.body_text());
    let log = gateway.log_with(&["\"status\":502"]);
    let lines: Vec<Value> = log.lines().filter(|line| line.contains(&id)).map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 2, "what failed, and the request: {lines:?}");
    assert_eq!((lines[0]["span"]["request_id"].as_str(), lines[0]["level"].as_str()), (Some(id.as_str()), Some("WARN")));
    assert_eq!((lines[1]["rule"].as_str(), lines[1]["request_id"].as_str()), (Some("upstream"), Some(id.as_str())));
}
