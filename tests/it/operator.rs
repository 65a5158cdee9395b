//! The operator's commands, beside a running server and without one: the answers are the same.

use crate::support::gateway::Gateway;
use crate::support::upstream::Upstream;
use crate::support::zips::Module;

const SETTINGS: &str = r#"
[private]
patterns = ["corp.example.com"]
public = ["corp.example.com/open"]
public_hosts = ["listed.example.com"]
[owners.platform]
visibility = "private"
modules = ["tools.example.com/platform/*"]
[owners.default]
visibility = "public"
"#;

fn module(path: &str) -> Module {
    Module::parse(&format!("{path}@v1.0.0\nowner: default\n-- go.mod --\nmodule {path}\n-- a.go --\npackage a\n"))
}

/// The line of the settings file that holds this text.
fn line_of(gateway: &Gateway, text: &str) -> usize {
    let settings = gateway.settings();
    1 + settings.lines().position(|line| line.contains(text)).unwrap_or_else(|| panic!("{text} in\n{settings}"))
}

#[test]
fn explain_names_the_rule_and_the_line_of_the_setting() {
    let upstream = Upstream::start();
    let mut gateway = Gateway::builder().upstream(&upstream).config(SETTINGS).start();
    gateway.publish(&module("claimed.example.com/lib")).is(201);
    let file = gateway.config_file().display().to_string();
    let at = |text: &str| format!("{file}:{}", line_of(&gateway, text));
    let cases = [
        ("corp.example.com/x", "private", "pattern", at("\"corp.example.com\"")),
        ("corp.example.com/open", "public", "exception", at("\"corp.example.com/open\"")),
        ("tools.example.com/platform/x", "private", "pattern", at("tools.example.com/platform")),
        ("tools.example.com", "private", "ancestor", at("tools.example.com/platform")),
        ("claimed.example.com/lib", "hosted", "hosted", String::new()),
        ("claimed.example.com/lib/sub", "private", "below", String::new()),
        ("claimed.example.com", "private", "ancestor", String::new()),
        ("claimed.example.com/other", "private", "claim", "claim of 20".to_owned()),
        ("host.internal/x", "private", "never-public", "built-in".to_owned()),
        ("github.com/org", "private", "shared-root", "built-in".to_owned()),
        ("example.net/alpha", "public", "public", "unknown host: allowed by private.unknown_hosts".to_owned()),
        ("listed.example.com/x", "public", "public", at("listed.example.com")),
    ];
    let mut told = vec![];
    for (path, class, rule, place) in &cases {
        let text = gateway.cli(&["explain", path]).ok().to_owned();
        assert!(text.starts_with(&format!("{class} {path}\nrule: {rule}\nwhere: {place}")), "{text}");
        let json: serde_json::Value = serde_json::from_str(gateway.cli(&["explain", "--json", path]).ok()).expect("JSON");
        assert_eq!((json["module"].as_str(), json["class"].as_str(), json["rule"].as_str()), (Some(*path), Some(*class), Some(*rule)));
        told.push(text);
    }
    assert_eq!(gateway.cli(&["explain", "not a path"]).code, Some(2), "usage");
    assert_eq!(gateway.cli(&["explain", "--as", "nobody", "example.net/alpha"]).code, Some(1), "no such user");
    gateway.terminate();
    assert_eq!(gateway.cli(&["explain", "not a path"]).code, Some(2), "usage, without a server");
    for ((path, ..), text) in cases.iter().zip(told) {
        assert_eq!(gateway.cli(&["explain", path]).ok(), text, "without a server");
    }
}

#[test]
fn egress_lists_what_left_and_a_claim_is_undone() {
    let upstream = Upstream::start();
    let mut gateway = Gateway::builder().upstream(&upstream).config(SETTINGS).start();
    assert_eq!(gateway.cli(&["egress"]).ok(), "");
    gateway.publish(&module("claimed.example.com/lib")).is(201);
    for target in
        ["/example.net/alpha/@v/list", "/example.net/alpha/@latest", "/claimed.example.com/x/@v/list", "/corp.example.com/x/@v/list"]
    {
        gateway.ask("GET", target, &[]);
    }
    let ledger = gateway.cli(&["egress"]).ok().to_owned();
    let fields: Vec<&str> = ledger.trim_end().split('\t').collect();
    assert_eq!(fields[1..], ["example.net/alpha", "anonymous", "public"], "{ledger}");
    assert_eq!(ledger.lines().count(), 1, "{ledger}");

    assert!(gateway.cli(&["claim", "list"]).ok().starts_with("claim\tclaimed.example.com\tdefault\t"));
    assert_eq!(gateway.cli(&["claim", "release", "nobody.example.com"]).code, Some(1));
    gateway.cli(&["claim", "release", "claimed.example.com"]).ok();
    assert_eq!(gateway.cli(&["claim", "list"]).ok(), "released\tclaimed.example.com\t\t\t\n");
    // The module itself stays private; its neighbours may leave now, and publishing claims no more.
    assert!(gateway.cli(&["explain", "claimed.example.com/x"]).ok().starts_with("public "));
    assert!(gateway.cli(&["explain", "claimed.example.com/lib"]).ok().starts_with("hosted "));
    gateway.publish(&module("claimed.example.com/more")).is(201);
    assert_eq!(gateway.cli(&["claim", "list"]).ok(), "released\tclaimed.example.com\t\t\t\n");
    gateway.terminate();
    assert_eq!(gateway.cli(&["egress"]).ok(), ledger, "without a server");
    assert_eq!(gateway.cli(&["claim", "release", "claimed.example.com/lib"]).code, Some(1), "a module is hosted there");
}

#[test]
fn a_release_tells_what_stays_private_and_a_refresh_that_nobody_can_be_asked() {
    let settings = SETTINGS.replace("\"corp.example.com\"", "\"corp.example.com\", \"whole.example.com/*\"");
    let off = "[upstream]\ngoproxy = \"off\"\nsumdb = \"off\"\n";
    let gateway = Gateway::builder().config(&format!("{settings}{off}")).start();
    let at = format!("{}:{}", gateway.config_file().display(), line_of(&gateway, "whole.example.com"));
    for host in ["corp.example.com", "whole.example.com"] {
        let published = gateway.publish(&module(&format!("{host}/lib")));
        published.is(201);
        assert!(published.body.contains("was private before (rule: pattern)"), "{}", published.body);
        let kept = format!("it stays private: rule pattern, {at}");
        let released = gateway.cli(&["claim", "release", host]).ok().to_owned();
        assert!(released.ends_with(&format!("{kept}\n")), "{released}");
    }
    let refused = "upstream is off: nobody can be asked; what is cached stays";
    gateway.cli(&["refresh", "example.net/alpha"]).says(&[refused]).failed();
}

#[test]
fn tokens_are_made_listed_and_revoked_at_once() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder().upstream(&upstream).config(SETTINGS).start();
    let token = gateway
        .cli(&["token", "create", "--name", "ci", "--scope", "publish", "--owner", "default", "--expires", "30d"])
        .ok()
        .trim()
        .to_owned();
    assert!(token.starts_with("mg_"), "{token}");
    let list = gateway.cli(&["token", "list"]).ok().to_owned();
    assert!(!list.contains(&token), "the secret is shown once");
    let line = list.lines().find(|line| line.contains("\tci\t")).expect("the token").to_owned();
    let [_, _, scopes, owners, created, ends] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
    assert_eq!((scopes, owners), ("publish", "default"));
    assert!(created.starts_with("created 20") && ends.starts_with("expires 20"), "{line}");
    assert!(list.contains("\tno end\n"), "{list}");
    let authorization = format!("Bearer {token}");
    let head = || gateway.ask("HEAD", "/", &[("Authorization", &authorization)]).status;
    assert_eq!(head(), 200);
    let id = line.split('\t').next().expect("an id");
    assert_eq!(gateway.cli(&["token", "revoke", id]).ok(), format!("revoked\t{id}\tci\n"));
    assert_eq!(head(), 401);
    // By name: all that are called so. The id is told beside the token, which scripts take from standard output.
    for _ in 0..2 {
        let made = gateway.cli(&["token", "create", "--name", "many", "--scope", "read"]);
        assert_eq!(made.ok().lines().count(), 1, "{made}");
        let list = gateway.cli(&["token", "list"]).ok().to_owned();
        assert!(
            list.lines().any(|line| made.stderr.contains(&format!("its id is {}: ", line.split('\t').next().expect("an id")))),
            "{made}"
        );
    }
    let revoked = gateway.cli(&["token", "revoke", "many"]).ok().to_owned();
    assert_eq!(revoked.lines().filter(|line| line.starts_with("revoked\t") && line.ends_with("\tmany")).count(), 2, "{revoked}");
    assert!(!gateway.cli(&["token", "list"]).ok().contains("\tmany\t"));
    gateway.cli(&["token", "revoke", "many"]).says(&["no token has the id or the name many"]).failed();
    for (bad, code) in [
        (&["--name", "", "--scope", "read"][..], 2),
        (&["--name", "x", "--scope", "write"], 2),
        (&["--name", "x", "--scope", "read", "--expires", "soon"], 2),
        (&["--name", "x", "--scope", "read", "--owner", "nobody"], 1),
    ] {
        assert_eq!(gateway.cli(&[&["token", "create"], bad].concat()).code, Some(code), "{bad:?}");
    }
    assert_eq!(gateway.cli(&["token", "create"]).code, Some(2), "usage");
    // The same over the admin listener, for those who show an admin token.
    let server = format!("http://{}", gateway.admin_address());
    let list = gateway.cli_with(&[("MODGATE_TOKEN", &gateway.admin_token())], &["token", "list", "--server", &server]);
    assert!(list.ok().contains("\tadmin\tadmin\t"), "{list}");
    assert_eq!(gateway.cli_with(&[("MODGATE_TOKEN", "mg_wrong")], &["token", "list", "--server", &server]).code, Some(1));
    // What is no operations listener is told from a command that finds nothing.
    let archive = gateway.data_dir().join("tmp/backup.tar");
    let public = gateway.url();
    for command in [&["token", "list"][..], &["backup", archive.to_str().expect("UTF-8")]] {
        let ran = gateway.cli_with(&[("MODGATE_TOKEN", &gateway.admin_token())], &[command, &["--server", &public]].concat());
        ran.says(&[&gateway.address().to_string(), "takes no commands", "server.admin_listen"]).failed();
    }
    let ran = gateway.cli_with(&[("MODGATE_TOKEN", &gateway.admin_token())], &["token", "revoke", "nobodys", "--server", &server]);
    ran.says(&["no token has the id or the name nobodys"]).failed();
    let reply = crate::support::http::ask(gateway.admin_address(), "POST", "/admin/tokens", &[("Content-Length", "0")]).expect("a reply");
    assert_eq!(reply.status, 401);
}

#[test]
fn settings_are_judged_over_the_socket_alone_and_no_other_command_is_long() {
    let gateway = Gateway::builder().config(SETTINGS).start();
    let authorization = format!("Bearer {}", gateway.admin_token());
    let ask = |command: &str, json: &str| {
        let length = json.len().to_string();
        let head = format!(
            "POST /admin/{command} HTTP/1.1\r\nHost: h\r\nAuthorization: {authorization}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        crate::support::http::send(gateway.admin_address(), &[head.as_bytes(), json.as_bytes()].concat()).expect("a reply")
    };
    let settings = r#"{"file":null,"variables":{}}"#;
    let refused = ask("findings", settings);
    assert_eq!(refused.status, 403, "{refused:?}");
    assert!(refused.body_text().contains("admin.sock alone"), "{refused:?}");
    assert_eq!(ask("findings", "null").status, 200);
    for command in ["findings", "explain"] {
        assert_eq!(ask(command, &" ".repeat((64 << 10) + 1)).status, 413, "{command}");
    }
    // What the socket brings may be long.
    let long = format!("{}#{}\n", std::fs::read_to_string(gateway.config_file()).expect("settings"), "x".repeat(100 << 10));
    std::fs::write(gateway.config_file(), long).expect("write the settings");
    gateway.cli(&["check"]).ok();
}

#[test]
fn check_and_config_tell_what_is_wrong_and_where() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder().upstream(&upstream).config(SETTINGS).start();
    let values = gateway.cli(&["config"]).ok().to_owned();
    assert!(values.contains(&format!("private.patterns = [\"corp.example.com\"]  # {}:", gateway.config_file().display())), "{values}");
    assert!(values.contains("cache.max_size = \"20GiB\"  # default"), "{values}");
    gateway.cli(&["check"]).ok();
    assert_eq!(gateway.cli(&["healthcheck"]).ok(), "ready\n");
    let server = format!("http://{}", gateway.admin_address());
    // The one that is asked has its addresses itself.
    assert_eq!(gateway.cli_with(&[("MODGATE_TOKEN", &gateway.admin_token())], &["check", "--server", &server]).ok(), "ok\n");
    assert_eq!(gateway.cli(&["healthcheck", "--server", &server]).ok(), "ready\n");
    assert_eq!(gateway.cli(&["healthcheck", "--server", "ftp://x"]).code, Some(2));
    assert_eq!(gateway.cli(&["config", "--server", &server]).code, Some(2), "it would be for nothing");
    gateway.configure(&gateway.settings().replace("[private]", "[private]\npaterns = []"));
    let check = gateway.cli(&["check"]);
    assert_eq!(check.code, Some(1));
    for told in ["paterns", "private.patterns", &format!("{}:", gateway.config_file().display())] {
        assert!(check.stdout.contains(told), "{told}: {check}");
    }
}

#[test]
fn secrets_and_queries_stay_out_of_the_log_and_each_request_is_one_line() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder().upstream(&upstream).config(SETTINGS).start();
    gateway.ask("GET", "/example.net/alpha/@v/list?token=plantedquery", &[("Authorization", "Bearer plantedtoken")]);
    gateway.ask("GET", "/example.net/alpha/@v/list?x=plantedquery", &[("Authorization", "Basic dXNlcjpwbGFudGVkcGFzc3dvcmQ=")]);
    gateway.ask("GET", "/example.net/alpha/@v/list?x=plantedquery", &[("Authorization", &format!("Bearer {}", gateway.admin_token()))]);
    let reply = gateway.ask("GET", "/corp.example.com/x/@v/list", &[]);
    let id = reply.header("x-request-id").expect("an id").to_owned();
    assert_eq!(gateway.ask("GET", "/healthz", &[]).status, 200);
    gateway.publish(&module("claimed.example.com/lib")).is(201);
    gateway.publish(&module("claimed.example.com/lib")).is(409);
    let log = gateway.log_with(&[&id, "exists with the same content"]);
    let says = |message: &str, with: &str| log.lines().any(|line| line.contains(message) && line.contains(with));
    assert!(
        says("\"serving\"", "data_dir")
            && says("\"audit\"", "claimed.example.com/lib")
            && says("\"refusal\"", "exists with the same content"),
        "{log}"
    );
    for secret in ["planted", "cGxhbnRlZA", &gateway.admin_token()] {
        assert!(!log.contains(secret), "{secret} in\n{log}");
    }
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(&id)).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    let line: serde_json::Value = serde_json::from_str(lines[0]).expect("JSON");
    assert_eq!((line["status"].as_u64(), line["kind"].as_str(), line["principal"].as_str()), (Some(404), Some("list"), Some("anonymous")));
}

#[test]
fn a_token_that_was_put_into_a_path_or_a_query_is_not_in_the_log() {
    let gateway = Gateway::builder().config(SETTINGS).start();
    let token = gateway.admin_token();
    let escaped: String =
        token.chars().map(|c| if c.is_ascii_uppercase() { format!("!{}", c.to_ascii_lowercase()) } else { c.to_string() }).collect();
    let targets = [
        (format!("/{token}/@v/list"), "/mg_*/@v/list"),
        (format!("/corp.example.com/{escaped}/@v/list"), "/corp.example.com/mg_*/@v/list"),
        (format!("/api/packages/{token}/go/corp.example.com/x/@v/list"), "/api/packages/mg_*/go/corp.example.com/x/@v/list"),
        (format!("/corp.example.com/lib/@v/{escaped}.info?token={token}"), "/corp.example.com/lib/@v/mg_*.info"),
    ];
    for (target, _) in &targets {
        let status = gateway.ask("GET", target, &[]).status;
        assert!((400..500).contains(&status), "{target}: {status}");
    }
    let log = gateway.log_with(&targets.each_ref().map(|(_, logged)| *logged));
    for secret in [&token, &escaped, &token[3..]] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[test]
fn a_publish_that_its_owner_names_literally_is_in_the_log_however_quiet_that_is() {
    let upstream = Upstream::start();
    let settings = "[owners.default]\nvisibility = \"public\"\nmodules = [\"example.net/alpha\", \"corp.example.com/*\"]\n";
    let gateway = Gateway::builder().upstream(&upstream).config(settings).config("[log]\nlevel = \"error\"\nformat = \"json\"\n").start();
    gateway.publish(&module("corp.example.com/lib")).is(201);
    gateway.publish(&module("example.net/alpha")).is(201);
    let log = gateway.log_with(&["\"audit\"", "example.net/alpha"]);
    let lines = log.lines().filter(|line| line.contains("\"audit\""));
    let events = lines.map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
    let shadowing: Vec<_> = events.filter(|event| event["event"] == "shadowing").collect();
    assert_eq!(shadowing.len(), 1, "{log}");
    assert_eq!((shadowing[0]["path"].as_str(), shadowing[0]["owner"].as_str()), (Some("example.net/alpha"), Some("default")));
}

#[test]
fn a_command_makes_no_data_directory() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder().upstream(&upstream).config(SETTINGS).prepare();
    for args in [&["explain", "example.net/alpha"][..], &["egress"], &["claim", "list"], &["token", "list"], &["verify"]] {
        let ran = gateway.cli(args);
        assert_eq!(ran.code, Some(1), "{ran}");
        ran.says(&["is no data directory yet", "modgate serve"]);
    }
    assert_eq!(gateway.cli(&["healthcheck"]).code, Some(1));
    // The first start will make it: nothing is wrong.
    assert_eq!(gateway.cli(&["check"]).ok(), "ok\n");
    assert!(!gateway.data_dir().exists());
}

#[test]
fn check_connects_to_the_upstream_and_says_nothing_to_it() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder().upstream(&upstream).config(SETTINGS).prepare();
    // Off this machine by the proxy of the environment, which is there; no port of ours is left open.
    gateway.configure(&gateway.settings().replace(&upstream.url(), "https://proxy.example.org"));
    gateway.cli(&["check"]).ok();
    let port = crate::support::port::Port::reserve();
    gateway.configure(&gateway.settings().replace("https://proxy.example.org", &format!("http://{}", port.address())));
    let check = gateway.cli(&["check"]);
    assert_eq!(check.code, Some(1), "{check}");
    assert!(check.stdout.contains(&format!("http://{}/ cannot be reached", port.address())), "{check}");
    assert!(upstream.seen().is_empty());
}

#[test]
fn a_reader_that_goes_away_ends_no_command_and_no_server() {
    let upstream = Upstream::start();
    let mut gateway = Gateway::builder().upstream(&upstream).config(SETTINGS).start();
    gateway.ask("GET", "/example.net/alpha/@v/list", &[]);
    let (config, data) = (gateway.config_file(), gateway.data_dir());
    let binary = env!("CARGO_BIN_EXE_modgate");
    let piped = |command: &str| {
        // The reader is gone before the command begins: its pipe has no other end.
        let line = format!(
            "exec 3> >(exec true); wait $!; exec {binary} {command} --config '{}' --data-dir '{}' >&3",
            config.display(),
            data.display()
        );
        let mut bash = std::process::Command::new("bash");
        bash.args(["-c", &line]).env_remove("MODGATE_CONFIG").stdin(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
        bash.spawn().expect("start bash")
    };
    for command in ["config", "config --init", "explain example.net/alpha", "egress", "claim list", "token list", "verify", "healthcheck"] {
        let output = piped(command).wait_with_output().expect("it ends");
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }
    gateway.terminate();
    let mut server = piped("serve");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !crate::support::http::get(gateway.address(), "/readyz").is_ok_and(|reply| reply.status == 200) {
        assert!(server.try_wait().expect("look at it").is_none(), "the server ended");
        assert!(std::time::Instant::now() < deadline, "the server is not ready");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(gateway.cli(&["healthcheck"]).ok(), "ready\n");
    server.kill().expect("end it");
    server.wait().expect("it ends");
}
