//! Operators' commands under settings that are not those which run: a reload that is still to come, a file that is broken.

use std::net::TcpListener;
use std::time::Duration;

use crate::support::gateway::Gateway;
use crate::support::port::Port;
use crate::support::process;
use crate::support::upstream::Upstream;
use crate::support::zips::Module;

const SETTINGS: &str = r#"
[private]
patterns = ["corp.example.com"]
[owners.team]
visibility = "private"
"#;

fn start(upstream: &Upstream) -> Gateway {
    Gateway::builder().upstream(upstream).config(SETTINGS).start()
}

fn publish(gateway: &Gateway) {
    let path = "corp.example.com/lib";
    let text = format!("{path}@v1.0.0\nowner: team\n-- go.mod --\nmodule {path}\n-- a.go --\npackage a\n");
    gateway.publish(&Module::parse(&text)).is(201);
}

#[test]
fn check_judges_what_is_hosted_by_the_file_and_not_by_what_runs() {
    let upstream = Upstream::start();
    let gateway = start(&upstream);
    publish(&gateway);
    assert_eq!(gateway.cli(&["check"]).ok(), "ok\n");
    let before = gateway.settings();
    // What a reload would take away: an owner that has modules.
    gateway.configure(&before.replace("[owners.team]", "[owners.others]"));
    let check = gateway.cli(&["check"]);
    assert_eq!((check.code, check.stdout.contains("owner team has hosted modules but is not in the settings")), (Some(1), true), "{check}");
    gateway.configure(&before);
    assert_eq!(gateway.cli(&["check"]).ok(), "ok\n", "back to what runs");
}

#[test]
fn check_finds_an_address_that_somebody_else_has_and_none_of_its_own_gateway() {
    let upstream = Upstream::start();
    let mut gateway = start(&upstream);
    let ours = gateway.address();
    assert_eq!(gateway.cli(&["check"]).ok(), "ok\n");
    let port = Port::reserve();
    let other: TcpListener = port.listen();
    let before = gateway.settings();
    gateway.configure(&before.replace(&ours.to_string(), &port.address().to_string()));
    let check = gateway.cli(&["check"]);
    let told = format!("server.listen: {}: another process listens there", port.address());
    assert!(check.code == Some(1) && check.stdout.contains(&told), "{check}");
    gateway.terminate();
    let check = gateway.cli(&["check"]);
    assert!(check.code == Some(1) && check.stdout.contains(&told), "without a gateway: {check}");
    drop(other);
    assert_eq!(gateway.cli(&["check"]).ok(), "ok\n");
}

#[test]
fn a_broken_file_shuts_no_operator_out_of_the_gateway_that_runs() {
    let upstream = Upstream::start();
    let mut gateway = start(&upstream);
    publish(&gateway);
    let good = gateway.settings();
    for broken in [good.replace("[private]", "[private]\npaterns = []"), good.clone() + "no TOML at all", good.clone() + "x = \"\n"] {
        gateway.configure(&broken);
        for args in [&["token", "list"][..], &["claim", "list"], &["egress"], &["gc"], &["verify"], &["explain", "corp.example.com/lib"]] {
            let ran = gateway.cli(args);
            assert_eq!(ran.code, Some(0), "{args:?}: {ran}");
            let named = format!("{}:", gateway.config_file().display());
            ran.says(&["warning: ", &named, "the gateway that runs in", &gateway.data_dir().display().to_string()]);
        }
        assert_eq!(gateway.cli(&["healthcheck"]).ok(), "ready\n");
        assert_eq!(gateway.cli(&["check"]).code, Some(1));
    }
    gateway.terminate();
    let ran = gateway.cli(&["token", "list"]);
    assert_eq!(ran.code, Some(1), "nothing runs: the settings are what is wrong: {ran}");
    assert!(!ran.stderr.contains("warning"), "{ran}");
}

/// Least of all to the one that runs where the default is.
#[test]
fn a_file_that_is_not_there_leads_to_no_gateway_unless_something_else_does() {
    let upstream = Upstream::start();
    let gateway = start(&upstream);
    let run = |variables: &[(&str, &str)]| {
        let mut command = gateway.command_of(env!("CARGO_BIN_EXE_modgate"));
        command.envs(variables.iter().copied()).args(["token", "list", "--config", "mistyped.toml"]);
        process::run(command, Duration::from_secs(60))
    };
    let ran = run(&[]);
    assert_eq!(ran.code, Some(1), "{ran}");
    ran.says(&["mistyped.toml", "--data-dir or MODGATE_DATA_DIR names it"]);
    let data_dir = gateway.data_dir();
    assert_eq!(run(&[("MODGATE_DATA_DIR", data_dir.to_str().expect("a path in UTF-8"))]).code, Some(0));
}

#[test]
fn verify_says_ok_only_where_nothing_was_found() {
    let upstream = Upstream::start();
    let gateway = start(&upstream);
    publish(&gateway);
    assert_eq!(gateway.cli(&["verify"]).ok(), "ok: 1 hosted, 0 cached\n");
    for blob in std::fs::read_dir(gateway.data_dir().join("blobs")).expect("a folder") {
        let blob = blob.expect("a file").path();
        let len = std::fs::metadata(&blob).expect("its length").len();
        std::fs::write(&blob, vec![0; usize::try_from(len).expect("short")]).expect("damage it");
    }
    let verify = gateway.cli(&["verify"]);
    let last = verify.stdout.lines().last().expect("a line");
    assert_eq!((verify.code, last), (Some(1), "2 findings: 1 hosted, 0 cached"), "{verify}");
}

#[test]
fn the_line_that_says_serving_names_every_listener() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder().upstream(&upstream).config(SETTINGS).prepare();
    let socket = gateway.data_dir().with_extension("sock");
    let (plain, second) = (gateway.address().to_string(), Port::reserve());
    let listen = format!("\"{}\", \"unix:{}\", \"{plain}\"", second.address(), socket.display());
    gateway.configure(&gateway.settings().replace(&format!("\"{plain}\""), &listen));
    let mut gateway = gateway;
    gateway.start();
    let log = gateway.log_with(&["\"serving\""]);
    let line = log.lines().find(|line| line.contains("\"serving\"")).expect("the line");
    let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
    let admin_socket = format!("unix:{}", gateway.data_dir().join("admin.sock").display());
    for (field, value) in [
        ("listen", format!("{}, {plain}, unix:{}", second.address(), socket.display())),
        ("tls_listen", gateway.https_address().to_string()),
        ("admin_listen", gateway.admin_address().to_string()),
        ("admin_socket", admin_socket),
    ] {
        assert_eq!(line[field].as_str(), Some(value.as_str()), "{field}: {line}");
    }
}
