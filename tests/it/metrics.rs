//! The page that Prometheus reads, from a gateway that did everything once.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::support::gateway::Gateway;
use crate::support::http;
use crate::support::upstream::Upstream;
use crate::support::zips::Module;

const SETTINGS: &str = r#"
[private]
patterns = ["corp.example.com"]
[owners.team]
visibility = "private"
[owners.all]
visibility = "internal"
[owners.default]
visibility = "public"
"#;

fn page(gateway: &Gateway) -> String {
    let reply = http::get(gateway.admin_address(), "/metrics").expect("a page");
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("text/plain; version=0.0.4; charset=utf-8")));
    reply.body_text()
}

/// The page, once it holds all of these lines: a request is counted after its answer.
#[track_caller]
fn page_with(gateway: &Gateway, lines: &[&str]) -> String {
    let deadline = std::time::Instant::now() + http::PATIENCE;
    loop {
        let page = page(gateway);
        let Some(missing) = lines.iter().find(|line| !page.lines().any(|there| there == **line)) else { return page };
        assert!(std::time::Instant::now() < deadline, "no {missing:?} in\n{page}");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

fn publish(gateway: &Gateway, owner: &str, path: &str) {
    let module = format!("{path}@v1.0.0\nowner: {owner}\n-- go.mod --\nmodule {path}\n-- a.go --\npackage a\n");
    gateway.publish(&Module::parse(&module)).is(201);
}

#[test]
fn promtool_finds_nothing_to_mend_after_all_sorts_of_traffic_and_no_label_holds_a_path() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder().upstream(&upstream).config(SETTINGS).start();
    publish(&gateway, "team", "corp.example.com/plantedhosted");
    publish(&gateway, "default", "plantedclaim.example.com/lib");
    let admin = format!("Bearer {}", gateway.admin_token());
    let team: &[(&str, &str)] = &[("Authorization", &admin)];
    for _ in 0..2 {
        gateway.ask("GET", "/example.net/alpha/@v/list", &[]);
        gateway.ask("GET", "/corp.example.com/plantedhosted/@v/list", team);
        gateway.ask("GET", "/plantedclaim.example.com/lib/@latest", &[]);
        gateway.ask("GET", "/api/packages/all/go/plantedclaim.example.com/lib/@latest", team);
    }
    for n in 0..20 {
        gateway.ask("GET", &format!("/corp.example.com/planted{n}/@v/list"), &[]);
        gateway.ask("GET", &format!("/planted.example.net/absent{n}/@latest"), &[]);
        gateway.ask("GET", &format!("/api/packages/plantedowner{n}/go/x.example.com/y/@v/list"), &[]);
        gateway.ask("GET", "/example.net/alpha/@v/list", &[("Authorization", &format!("Bearer wrong-secret-{n}"))]);
    }
    gateway.ask("GET", "/planted/../x", &[]);
    gateway.ask("PLANTED", "/x.example.com/y/@v/list", &[]);
    gateway.ask("GET", "/sumdb/sum.example.org/lookup/corp.example.com/planted@v1.0.0", &[]);
    let page = page_with(
        &gateway,
        &[
            r#"modgate_http_requests_total{cache="miss",kind="list",owner="none",status="200"} 1"#,
            r#"modgate_http_requests_total{cache="hit",kind="list",owner="none",status="200"} 1"#,
            r#"modgate_http_requests_total{cache="none",kind="list",owner="private",status="200"} 2"#,
            r#"modgate_http_requests_total{cache="none",kind="latest",owner="public",status="200"} 2"#,
            r#"modgate_http_requests_total{cache="none",kind="latest",owner="internal",status="404"} 2"#,
            r#"modgate_http_requests_total{cache="none",kind="publish",owner="private",status="201"} 1"#,
            r#"modgate_http_refusals_total{rule="pattern"} 21"#,
            r#"modgate_http_refusals_total{rule="credentials"} 20"#,
            r#"modgate_http_refusals_total{rule="absent-upstream"} 20"#,
            r#"modgate_http_refusals_total{rule="sign-in"} 20"#,
            r#"modgate_http_request_duration_seconds_count{kind="sumdb-lookup"} 1"#,
            "modgate_cache_max_bytes 21474836480",
            "modgate_hosted_modules 2",
            "modgate_hosted_versions 2",
            r#"modgate_audit_events_total{event="publish"} 2"#,
        ],
    );
    assert!(
        !page.to_lowercase().contains("planted") && !page.contains("example.") && !page.contains("team") && !page.contains("wrong-secret"),
        "{page}"
    );
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = promtool.spawn().expect("promtool: tests/install-deps.sh test fetches it");
    child.stdin.take().expect("a pipe").write_all(page.as_bytes()).expect("promtool reads");
    let output = child.wait_with_output().expect("promtool ends");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}\n{page}", String::from_utf8_lossy(&said));
}

#[test]
fn strangers_at_the_public_listeners_see_no_numbers() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder().upstream(&upstream).config(SETTINGS).start();
    let admin = format!("Bearer {}", gateway.admin_token());
    for headers in [&[][..], &[("Authorization", admin.as_str())]] {
        let reply = gateway.ask("GET", "/metrics", headers);
        assert_eq!((reply.status, reply.body_text().as_str()), (404, "nothing is served here\n"));
    }
    // Whoever reaches operations needs no credentials for it; and wrong ones are no hindrance, as at the probes.
    let reply = http::ask(gateway.admin_address(), "GET", "/metrics", &[("Authorization", "Bearer wrong")]).expect("a page");
    assert_eq!(reply.status, 200);
    let reply = http::ask(gateway.admin_address(), "POST", "/metrics", &[("Content-Length", "0")]).expect("a reply");
    assert_eq!(reply.status, 405);
}
