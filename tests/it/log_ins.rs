//! Wrong log-ins, from outside: what is limited, whom it is counted against, and that no secret is ever written down.

use base64::Engine as _;

use crate::access_matrix::{basic, hash};
use crate::support::gateway::Gateway;
use crate::support::h2;
use crate::support::http::{self, Response};
use crate::support::secrets;

/// Different wrong credentials that an address may show before it is limited.
const ALLOWED: usize = 20;

fn gateway(more: &str) -> Gateway {
    let users = ["alice", "bob"].map(|user| format!("[users.{user}]\npassword_hash = \"{}\"\n", hash(&format!("{user}-password"))));
    let owners = "[upstream]\ngoproxy = \"off\"\nsumdb = \"off\"\n[private]\npatterns = [\"corp.example.com\"]\n[owners.team]\nmembers = [\"alice\"]\n";
    Gateway::builder().config(&(owners.to_owned() + &users.concat())).config(more).start()
}

const READ: &str = "/corp.example.com/lib/@v/list";
const WRITE: &str = "/api/packages/team/go/upload";

fn ask(gateway: &Gateway, method: &str, target: &str, authorization: &str, forwarded_for: &str) -> Response {
    let headers = [("Authorization", authorization), ("Content-Length", "0"), ("X-Forwarded-For", forwarded_for)];
    gateway.ask(method, target, &headers)
}

fn read(gateway: &Gateway, authorization: &str, forwarded_for: &str) -> u16 {
    ask(gateway, "GET", READ, authorization, forwarded_for).status
}

/// Shows so many different wrong passwords.
fn be_wrong(gateway: &Gateway, times: usize, forwarded_for: impl Fn(usize) -> String) {
    for n in 0..times {
        assert_eq!(read(gateway, &basic("alice", &format!("guess number {n}")), &forwarded_for(n)), 401);
    }
}

#[test]
fn a_limited_address_gets_429_for_writes_and_operations_and_never_for_a_read() {
    let gateway = gateway("");
    let (alice, bob) = (basic("alice", "alice-password"), basic("bob", "bob-password"));
    // The same stale netrc, as often as a build asks.
    for _ in 0..10 * ALLOWED {
        assert_eq!(read(&gateway, &basic("alice", "last-years"), ""), 401);
    }
    assert_eq!(read(&gateway, &alice, ""), 404, "signed in");
    be_wrong(&gateway, ALLOWED - 1, |_| String::new());
    let new = basic("alice", "one-guess-more");
    for target in [READ, "/", "/api/packages/team/go/", "/sumdb/sum.example.org/latest"] {
        for method in ["GET", "HEAD"] {
            let reply = ask(&gateway, method, target, &new, "");
            assert_eq!(reply.status, 401, "{method} {target}");
            assert!(reply.header("www-authenticate").is_some() && reply.header("retry-after").is_some(), "{reply:?}");
            assert!(method == "HEAD" || reply.body_text().contains("yours was not looked at; come again in"), "{}", reply.body_text());
        }
    }
    assert_eq!(ask(&gateway, "GET", "/sumdb/sum.example.org/supported", &new, "").status, 200);
    assert_eq!(read(&gateway, &bob, ""), 401, "right, but not known here");
    let admin = |authorization: &str| {
        let headers = [("Authorization", authorization), ("Content-Length", "0")];
        http::ask(gateway.admin_address(), "POST", "/admin/tokens", &headers).expect("a reply")
    };
    for reply in [
        ask(&gateway, "PUT", WRITE, &new, ""),
        ask(&gateway, "PUT", WRITE, &bob, ""),
        ask(&gateway, "DELETE", "/api/v1/packages/team/go/corp.example.com/lib/v1.0.0", &new, ""),
        admin(&new),
    ] {
        assert_eq!(reply.status, 429, "{reply:?}");
        let wait: u64 = reply.header("retry-after").expect("a time").parse().expect("seconds");
        assert!((1..=60).contains(&wait), "{wait}");
    }
    // Who was in stays in, and tokens are always good.
    assert_eq!(read(&gateway, &alice, ""), 404);
    assert_eq!(ask(&gateway, "PUT", WRITE, &alice, "").status, 400, "it is the body that is judged");
    assert_eq!(read(&gateway, &format!("Bearer {}", gateway.admin_token()), ""), 404);
    assert_eq!(gateway.ask("GET", READ, &[]).status, 404, "anonymous");
    assert!(gateway.log_with(&["log-ins from here are limited"]).contains("\"peer\":\"127.0.0.1\""));
}

#[test]
fn a_forged_address_changes_nothing_unless_the_front_is_trusted() {
    let distrusting = gateway("server.trusted_proxies = [\"192.0.2.1\"]");
    // A new address with each guess.
    be_wrong(&distrusting, ALLOWED, |n| format!("198.51.100.{n}"));
    assert_eq!(ask(&distrusting, "PUT", WRITE, &basic("bob", "bob-password"), "198.51.100.99").status, 429);
    let log = distrusting.log_with(&["\"status\":429"]);
    assert!(!log.contains("198.51.100."), "{log}");

    let trusting = gateway("server.trusted_proxies = [\"127.0.0.0/8\"]");
    be_wrong(&trusting, 2 * ALLOWED, |n| format!("198.51.100.{n}"));
    // What the client itself claims stands left of what the front says.
    be_wrong(&trusting, ALLOWED, |n| format!("198.51.100.{n}, 203.0.113.7"));
    let bob = basic("bob", "bob-password");
    assert_eq!(ask(&trusting, "PUT", WRITE, &bob, "203.0.113.8, 203.0.113.7").status, 429);
    assert_eq!(ask(&trusting, "PUT", WRITE, &bob, "203.0.113.7, 203.0.113.8").status, 403, "signed in, from another address");
    assert_eq!(ask(&trusting, "PUT", WRITE, &bob, "203.0.113.7, rubbish").status, 403, "the front's own address");
    let log = trusting.log_with(&["\"status\":429"]);
    let line = log.lines().find(|line| line.contains("\"status\":429")).expect("a line");
    assert!(line.contains("\"peer\":\"203.0.113.7\"") && line.contains("\"via\":\"127.0.0.1:"), "{line}");
}

#[test]
fn passwords_tokens_and_query_strings_are_never_written_down() {
    let gateway = gateway("log.level = \"trace\"");
    let made = gateway.cli(&["token", "create", "--name", "t", "--scope", "read"]).ok().trim().to_owned();
    let wrong_token = format!("mg_{}", "W".repeat(43));
    let credentials = [
        basic("alice", "alice-password"),
        basic("alice", "planted-wrong-password"),
        basic("planted-user-mistaken-for", &made),
        basic(&made, ""),
        basic(&wrong_token, "planted-other-field"),
        format!("Bearer {made}"),
        format!("token {wrong_token}"),
        "Bearer planted-no-token".to_owned(),
        "Digest planted-digest".to_owned(),
        "Basic planted-not-base64".to_owned(),
        "planted-no-scheme".to_owned(),
    ];
    let targets = |n: usize| {
        let query = format!("?token=planted-query-{n}&access_token={made}");
        [READ, "/", "/api/packages/team/go/", "/sumdb/sum.example.org/lookup/corp.example.com/lib@v1.0.0", "/no%2fsuch", WRITE, "/healthz"]
            .map(|target| format!("{target}{query}"))
    };
    let mut client = h2::Client::connect(&gateway);
    let mut last = String::new();
    for (n, authorization) in credentials.iter().enumerate() {
        for target in targets(n) {
            for method in ["GET", "PUT", "DELETE", "PATCH"] {
                let reply = gateway.ask(method, &target, &[("Authorization", authorization), ("Content-Length", "0")]);
                secrets::check(&format!("the answer to {method} {target}"), &format!("{:?} {}", reply.headers, reply.body_text()));
                let reply = client.ask(h2::Ask::new(method, &target, Some(authorization)));
                secrets::check(&format!("the answer to {method} {target}"), &format!("{:?} {}", reply.headers, reply.body_text()));
                last = reply.header("x-request-id").expect("an id").to_owned();
            }
        }
    }
    // Rubbish in the head, and where no head is looked for.
    for request in [
        format!("GET /?q=planted-query-0 HTTP/9.9\r\nAuthorization: Bearer {made}\r\n\r\n"),
        format!("GET /?q=planted-query-0 HTTP/1.1\r\nAuthorization: Bearer {made}\r\n\r\n"),
        format!(
            "GET http://alice:alice-password@{}/?q=planted-query-0 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            gateway.address()
        ),
        format!("Authorization: Bearer {made}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: x\r\nAuthorization Bearer {made}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {made}\u{0}\r\n\r\n"),
    ] {
        let _cut = http::send(gateway.address(), request.as_bytes());
    }
    gateway.cli(&["token", "list"]).ok();
    gateway.cli(&["token", "list", "--json"]).ok();
    gateway.log_with(&[&last]);
}

#[test]
#[should_panic(expected = "secrets were written down")]
fn a_gateway_that_logs_a_secret_fails_its_test() {
    let gateway = Gateway::builder().config("[upstream]\ngoproxy = \"off\"\nsumdb = \"off\"\n").start();
    secrets::plant("planted-in-a-path");
    gateway.ask("GET", "/corp.example.com/planted-in-a-path/@v/list", &[]);
    gateway.log_with(&["planted-in-a-path"]);
}

#[test]
#[should_panic(expected = "secrets were written down")]
fn a_secret_in_the_audit_trail_fails_its_test() {
    let gateway = Gateway::builder().config("[upstream]\ngoproxy = \"off\"\nsumdb = \"off\"\n").start();
    let folder = gateway.data_dir().join("audit");
    std::fs::create_dir_all(&folder).expect("a folder");
    let token = base64::engine::general_purpose::STANDARD.encode(gateway.admin_token());
    secrets::plant(&token);
    std::fs::write(folder.join("some.ndjson"), format!("{{\"event\":\"x\",\"what\":\"{token}\"}}\n")).expect("write");
}
