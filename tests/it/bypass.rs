//! Attempts to get a private name past the gateway, on every endpoint and both bases. The upstream's recorder
//! fails each test that let one through; here it is also seen that none is answered, and none with a 5xx.

use crate::support::gateway::Gateway;
use crate::support::http::{self, Response};
use crate::support::raw_h2::{Fields, Outcome, RawH2, fields};
use crate::support::upstream::Upstream;

const SETTINGS: &str = r#"
[private]
patterns = ["corp.example.com", "github.com/acme/*", "*.secret.example"]
[owners.platform]
visibility = "private"
modules = ["tools.example.com/platform/*"]
"#;

/// Names that a rule keeps private, unescaped.
const PRIVATE: &[&str] = &[
    "corp.example.com",
    "corp.example.com/lib",
    "corp.example.com/lib/v2",
    "corp.example.com/Lib",
    "corp.example.com/LIB/Deep",
    "github.com/acme",
    "github.com/acme/tool",
    "github.com/Acme/Tool",
    "github.com/ACME/tool/v3/sub",
    "a.secret.example/x",
    "tools.example.com/platform/x",
    "tools.example.com/platform",
    "tools.example.com",
    "build.internal/x",
    "10.0.0.1/x",
    "localhost.localdomain/x",
    "host.corp/x",
    "github.com",
];

/// Ways to write a path so that somebody, somewhere, might read it differently.
fn disguises(escaped: &str) -> Vec<String> {
    let mut all = vec![escaped.to_owned()];
    let first = escaped.chars().next().unwrap_or('x');
    let percent = |c: char| format!("%{:02x}", u32::from(c));
    all.push(escaped.replacen(first, &percent(first), 1));
    all.push(escaped.replace('.', "%2e"));
    all.push(escaped.replace('.', "%2E"));
    all.push(escaped.replace('/', "%2F"));
    all.push(escaped.replace('/', "%2f"));
    all.push(escaped.replace('.', "%252e"));
    all.push(escaped.replacen(first, &format!("%25{:02x}", u32::from(first)), 1));
    all.push(escaped.replace('!', "%21"));
    all.push(escaped.replace('!', "%2521"));
    all.push(escaped.to_uppercase());
    all.push(format!("!{escaped}"));
    all.push(format!("{escaped}!"));
    all.push(escaped.replace('/', "/!"));
    all.push(escaped.replace('/', "//"));
    all.push(format!("/{escaped}"));
    all.push(format!("./{escaped}"));
    all.push(format!("example.net/../{escaped}"));
    all.push(format!("example.net/%2e%2e/{escaped}"));
    all.push(format!("example.net/alpha/@v/../../../{escaped}"));
    all.push(format!("{escaped}/"));
    all.push(format!("{escaped}."));
    all.push(format!("{escaped}/."));
    all.push(format!("{escaped}/.."));
    all.push(format!("{escaped}/../{escaped}"));
    all.push(format!("{escaped}%00"));
    all.push(format!("{escaped}%00.example.net"));
    all.push(format!("{escaped}%0a"));
    all.push(format!("{escaped}%0d%0aX-Evil:%20y"));
    all.push(format!("{escaped}%20"));
    all.push(format!("{escaped};x=y"));
    all.push(format!("{escaped}%3bx"));
    all.push(escaped.replace('/', "\\"));
    all.push(escaped.replace('/', "%5c"));
    all.push(format!("{escaped}@v1.0.0"));
    all.push(format!("{escaped}/@v/v1.0.0"));
    all.push(format!("{escaped}%3Fx=y"));
    all.push(format!("{escaped}?x=y"));
    all.push(format!("{escaped}%23x"));
    all.push(format!("{escaped}/{}", "a/".repeat(300)));
    all.push(format!("{escaped}/{}", "a".repeat(5000)));
    all.push(format!("%C0%AE%C0%AE/{escaped}"));
    all.push(format!("%ef%bc%8e/{escaped}"));
    all.push(escaped.replace('o', "\u{43e}"));
    all.push(format!("http://example.net/{escaped}"));
    all.push(format!("https:%2f%2fexample.net/{escaped}"));
    all
}

/// What stands behind a module path, and what stands before and behind it in a look-up.
const MODULE_ASKS: &[&str] = &[
    "/@v/list",
    "/@latest",
    "/@v/v1.0.0.info",
    "/@v/main.info",
    "/@v/0123456789ab.info",
    "/@v/v1.2.info",
    "/@v/v1.0.0+meta.info",
    "/@v/v1.0.0.mod",
    "/@v/v1.0.0.zip",
    "/@v/v1.0.0.ziphash",
    "/@v/v1.0.0+meta.zip",
    "/@v/v1.mod",
    "/@v/latest.info",
    "/@v/latest.mod",
    "/@v/latest.zip",
    "/@v/v1.0.0",
    "",
];

fn targets(escaped: &str, sumdb: &str) -> Vec<String> {
    let mut targets = vec![];
    for base in ["", "/api/packages/platform/go", "/api/packages/default/go", "/api/packages/nobody/go"] {
        for name in disguises(escaped) {
            targets.extend(MODULE_ASKS.iter().map(|ask| format!("{base}/{name}{ask}")));
            for database in [sumdb, "sum.other.example"] {
                targets.push(format!("{base}/sumdb/{database}/lookup/{name}@v1.0.0"));
                targets.push(format!("{base}/sumdb/{database}/lookup/{name}@v1"));
                targets.push(format!("{base}/sumdb/{database}/tile/8/data/{name}"));
                targets.push(format!("{base}/sumdb/{database}/{name}/latest"));
            }
        }
    }
    targets
}

/// Sends as it stands, percent signs, blanks and all; on a connection of its own, since some are not HTTP.
fn raw(gateway: &Gateway, method: &str, target: &str, headers: &str) -> Response {
    let request = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n{headers}Connection: close\r\n\r\n", gateway.address());
    http::send(gateway.address(), request.as_bytes()).unwrap_or_else(|e| panic!("{method} {target}: {e}"))
}

#[test]
fn no_disguise_carries_a_private_name_out() {
    let upstream = Upstream::start();
    upstream.forbid(&["acme", "secret.example", "tools.example.com", "build.internal", "10.0.0.1", "localdomain", "host.corp"]);
    let gateway = Gateway::builder().upstream(&upstream).config(SETTINGS).start();
    let mut wrong = vec![];
    let mut asked = 0;
    for name in PRIVATE {
        let escaped = crate::support::zips::escape(name);
        for target in targets(&escaped, upstream.sumdb_name()) {
            let method = if asked % 3 == 0 { "HEAD" } else { "GET" };
            let reply = raw(&gateway, method, &target, "");
            asked += 1;
            if !(400..500).contains(&reply.status) {
                wrong.push(format!("{method} {target}: {}", reply.status));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {asked}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(upstream.violations().is_empty());
    // That the road is open otherwise.
    assert_eq!(raw(&gateway, "GET", "/example.net/alpha/@v/list", "").status, 200);
    assert_eq!(upstream.count("/example.net/alpha/@v/list"), 1);
}

#[test]
fn no_disguise_carries_a_name_at_an_unknown_host_out_where_those_are_held() {
    let upstream = Upstream::start();
    upstream.forbid(&["typo.example", "vendor"]);
    let gateway = Gateway::builder().upstream(&upstream).config(SETTINGS).config("[private]\nunknown_hosts = \"hold\"\n").start();
    let mut wrong = vec![];
    for name in ["typo.example/Vendor", "typo.example"] {
        for (asked, target) in targets(&crate::support::zips::escape(name), upstream.sumdb_name()).into_iter().enumerate() {
            let method = if asked % 3 == 0 { "HEAD" } else { "GET" };
            let reply = raw(&gateway, method, &target, "");
            if !(400..500).contains(&reply.status) {
                wrong.push(format!("{method} {target}: {}", reply.status));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Disguises name other hosts too; nobody knows those either.
    assert!(upstream.seen().is_empty(), "{:?}", upstream.seen());
}

#[test]
fn over_http_2_no_disguise_carries_a_private_name_out() {
    let upstream = Upstream::start();
    upstream.forbid(&["acme", "secret.example", "tools.example.com", "build.internal"]);
    let gateway = Gateway::builder().upstream(&upstream).config(SETTINGS).start();
    let authority = gateway.https_address().to_string();
    let mut client = RawH2::of(&gateway);
    let mut wrong = vec![];
    // A name for each rule: what makes it private does not depend on how it was sent.
    for name in ["corp.example.com/Lib", "github.com/acme/tool", "a.secret.example/x", "tools.example.com/platform/x", "build.internal/x"] {
        let targets = targets(&crate::support::zips::escape(name), upstream.sumdb_name());
        let method = |n: usize| if n.is_multiple_of(3) { "HEAD" } else { "GET" };
        let requests: Vec<Fields> =
            targets.iter().enumerate().map(|(n, target)| fields(method(n), &authority, target.as_bytes())).collect();
        let outcomes = client.ask_all(&requests);
        let told = targets.iter().zip(outcomes).filter(|(_, outcome)| !outcome.is_refusal());
        wrong.extend(told.map(|(target, outcome)| format!("{target}: {outcome:?}")));
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(upstream.violations().is_empty());
    let open = fields("GET", &authority, b"/example.net/alpha/@v/list");
    assert_eq!(client.ask(&open), Outcome::Status(200));
    assert_eq!(upstream.count("/example.net/alpha/@v/list"), 1);
}

#[test]
fn over_http_2_odd_fields_carry_no_private_name_out() {
    const PRIVATE: &[u8] = b"/corp.example.com/lib/@v/list";
    const PUBLIC: &[u8] = b"/example.net/alpha/@v/list";
    let upstream = Upstream::start();
    let gateway = Gateway::builder().upstream(&upstream).config(SETTINGS).start();
    let authority = gateway.https_address().to_string();
    let ordinary = |path: &[u8]| fields("GET", &authority, path);
    let with = |path: &[u8], name: &[u8], value: &[u8]| {
        let mut fields = ordinary(path);
        fields.push((name.to_vec(), value.to_vec()));
        fields
    };
    let without = |name: &[u8]| ordinary(PRIVATE).into_iter().filter(|(own, _)| own != name).collect::<Fields>();
    let set = |name: &[u8], value: &[u8]| {
        let change = |(own, old): (Vec<u8>, Vec<u8>)| if own == name { (own, value.to_vec()) } else { (own, old) };
        ordinary(PRIVATE).into_iter().map(change).collect::<Fields>()
    };
    let mut requests = vec![];
    // A byte of every kind where the path begins, where the host ends, and at the end.
    for byte in (0..=0x20).chain([b'"', b'#', b'<', b'>', b'\\', b'^', b'`', b'{', b'|', b'}', 0x7f, 0x80, 0xc0, 0xff]) {
        // A fragment is dropped by the parser, which leaves the home page.
        if byte != b'#' {
            requests.push(ordinary(&[&[byte], PRIVATE].concat()));
        }
        requests.push(ordinary(&[b"/corp.example.com", &[byte][..], b"/lib/@v/list"].concat()));
        requests.push(ordinary(&[PRIVATE, &[byte]].concat()));
    }
    for path in [
        &b""[..],
        b"*",
        b"corp.example.com/lib/@v/list",
        b"//corp.example.com/lib/@v/list",
        b"https://example.net/corp.example.com/lib/@v/list",
    ] {
        requests.push(ordinary(path));
    }
    for missing in [&b":method"[..], b":scheme", b":authority", b":path"] {
        requests.push(without(missing));
    }
    for other in [
        &b"corp.example.com"[..],
        b"example.net",
        b"",
        b"a:b:c",
        b"user:pass@example.net",
        b"example.net/x",
        b"ex ample",
        b"\0",
        b"[::1",
        b"\xff",
    ] {
        requests.push(set(b":authority", other));
        requests.push(with(PRIVATE, b"host", other));
        requests.push(set(b":scheme", other));
        requests.push(set(b":method", other));
    }
    for scheme in [&b"http"[..], b"ftp", b"HTTPS", b"file"] {
        requests.push(set(b":scheme", scheme));
    }
    // Twice, both ways round; pseudo-headers after others; unknown ones; what HTTP/2 forbids.
    requests.push(with(PRIVATE, b":path", PUBLIC));
    requests.push(with(PUBLIC, b":path", PRIVATE));
    requests.push(with(PUBLIC, b"", b"x"));
    for (name, value) in [
        (&b":method"[..], &b"HEAD"[..]),
        (b":scheme", b"http"),
        (b":authority", b"example.net"),
        (b":protocol", b"websocket"),
        (b":status", b"200"),
        (b":unknown", b"x"),
        (b"x-original-url", PUBLIC),
        (b"x-rewrite-url", PUBLIC),
        (b"x-forwarded-prefix", b"/example.net"),
        (b"transfer-encoding", b"chunked"),
        (b"connection", b"close"),
        (b"upgrade", b"h2c"),
        (b"te", b"gzip"),
        (b"content-length", b"5"),
        (b"content-length", b"-1"),
        (b"X-Upper", b"x"),
        (b"x y", b"z"),
        (b"x\r\n:path", PUBLIC),
        (b"x", b"y\r\n:path: /example.net/alpha/@v/list"),
        (b"x", b"y\0"),
    ] {
        requests.push(with(PRIVATE, name, value));
    }
    let mut late = ordinary(PRIVATE);
    late.insert(0, (b"x".to_vec(), b"y".to_vec()));
    requests.push(late);
    requests.push(fields("CONNECT", "corp.example.com:443", PRIVATE));
    let mut client = RawH2::of(&gateway);
    // Alone, each: some end their connection.
    let wrong: Vec<String> = requests
        .iter()
        .map(|request| (request, client.ask(request)))
        .filter(|(_, outcome)| !outcome.is_refusal())
        .map(|(request, outcome)| {
            let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
            let fields: Vec<String> = request.iter().map(|(name, value)| format!("{}: {}", text(name), text(value))).collect();
            format!("{}: {outcome:?}", fields.join(", "))
        })
        .collect();
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(upstream.seen().is_empty(), "{:?}", upstream.seen());
    // A forwarded path or host is no path or host; and the road is open otherwise.
    for (name, value) in [(&b"x-original-url"[..], PRIVATE), (b"x-forwarded-host", b"corp.example.com"), (b"host", authority.as_bytes())] {
        assert_eq!(client.ask(&with(PUBLIC, name, value)), Outcome::Status(200), "{}", name.escape_ascii());
    }
    assert_eq!(upstream.count("/example.net/alpha/@v/list"), 1);
}

#[test]
fn no_disguise_carries_a_private_name_out_by_a_write_or_a_command() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder().upstream(&upstream).config(SETTINGS).start();
    let token = gateway.admin_token();
    let mut wrong = vec![];
    for name in ["corp.example.com/Lib", "github.com/acme/tool", "tools.example.com/platform/x"] {
        for (n, name) in disguises(&crate::support::zips::escape(name)).into_iter().enumerate() {
            // With the right to do it, and without.
            let authorization = if n % 2 == 0 { format!("Authorization: Bearer {token}\r\n") } else { String::new() };
            for (method, target) in [
                ("DELETE", format!("/api/v1/packages/platform/go/{name}/v1.0.0")),
                ("DELETE", format!("/api/v1/packages/{name}/go/example.net/alpha/v1.0.0")),
                ("DELETE", format!("/{name}/@v/v1.0.0.zip")),
                ("PUT", format!("/api/packages/platform/go/{name}/upload")),
                ("PUT", format!("/api/packages/{name}/go/upload")),
                ("PUT", format!("/{name}/@v/v1.0.0.zip")),
                ("POST", format!("/admin/{name}")),
                ("POST", format!("/admin/explain/{name}")),
                ("GET", format!("/admin/{name}/@v/list")),
                ("GET", format!("/admin/../{name}/@v/list")),
                ("GET", format!("/{name}/../../admin/explain")),
            ] {
                let reply = raw(&gateway, method, &target, &format!("{authorization}Content-Length: 0\r\n"));
                if !(400..500).contains(&reply.status) {
                    wrong.push(format!("{method} {target}: {}", reply.status));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(upstream.seen().is_empty(), "{:?}", upstream.seen());
    assert_eq!(gateway.cli(&["egress"]).ok(), "");
}

#[test]
fn hosts_and_absolute_targets_change_nothing() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder().upstream(&upstream).config(SETTINGS).start();
    let own = gateway.address().to_string();
    let send = |request: String| http::send(gateway.address(), request.as_bytes());
    for (target, host) in [
        ("http://corp.example.com/lib/@v/list".to_owned(), own.clone()),
        ("http://corp.example.com/lib/@v/list".to_owned(), "corp.example.com".to_owned()),
        (format!("http://{own}/corp.example.com/lib/@v/list"), own.clone()),
        (format!("http://{own}/corp.example.com/lib/@v/list"), "example.net".to_owned()),
        ("/corp.example.com/lib/@v/list".to_owned(), "example.net".to_owned()),
        ("/corp.example.com/lib/@v/list".to_owned(), upstream.address().to_string()),
        ("/corp.example.com/lib/@v/list".to_owned(), "corp.example.com/../example.net".to_owned()),
        ("corp.example.com/lib/@v/list".to_owned(), own.clone()),
        ("*".to_owned(), own.clone()),
        ("//corp.example.com/lib/@v/list".to_owned(), own.clone()),
    ] {
        let reply = send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"));
        let reply = reply.unwrap_or_else(|e| panic!("{target} at {host}: {e}"));
        assert!((400..500).contains(&reply.status), "{target} at {host}: {}", reply.status);
    }
    for smuggled in [
        "GET /corp.example.com/lib/@v/list HTTP/1.1\r\n\r\n".to_owned(),
        format!("GET /corp.example.com/lib/@v/list HTTP/1.1\r\nHost: {own}\r\nHost: example.net\r\n\r\n"),
        format!("GET /corp.example.com/lib\u{0}/@v/list HTTP/1.1\r\nHost: {own}\r\nConnection: close\r\n\r\n"),
        format!("GET /corp.example.com/lib/@v/list /x HTTP/1.1\r\nHost: {own}\r\nConnection: close\r\n\r\n"),
        format!("CONNECT corp.example.com:443 HTTP/1.1\r\nHost: {own}\r\nConnection: close\r\n\r\n"),
    ] {
        let reply = send(smuggled.clone()).unwrap_or_else(|e| panic!("{smuggled:?}: {e}"));
        assert!((400..500).contains(&reply.status), "{smuggled:?}: {}", reply.status);
    }
    assert!(upstream.seen().is_empty(), "{:?}", upstream.seen());
}

#[test]
fn a_private_look_up_is_refused_with_the_line_that_mends_the_client() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder().upstream(&upstream).config(SETTINGS).start();
    for base in ["", "/api/packages/default/go"] {
        let target = format!("{base}/sumdb/{}/lookup/corp.example.com/lib@v1.0.0", upstream.sumdb_name());
        let reply = raw(&gateway, "GET", &target, "");
        if base.is_empty() {
            assert_eq!(reply.status, 403, "{}", reply.body_text());
            assert!(reply.body_text().contains("GONOSUMDB"), "{}", reply.body_text());
        } else {
            assert!(matches!(reply.status, 401 | 403), "{}", reply.body_text());
        }
    }
    // Every database is "supported", in every spelling: any other answer sends private names elsewhere.
    for target in ["/sumdb/sum.example.org/supported", "/api/packages/nobody/go/sumdb/x/y/supported", "/sumdb/A.B/supported"] {
        assert_eq!(raw(&gateway, "GET", target, "Authorization: Basic d3Jvbmc6d3Jvbmc=\r\n").status, 200, "{target}");
    }
    assert!(upstream.seen().is_empty(), "{:?}", upstream.seen());
}

#[test]
fn a_redirect_does_not_lead_to_private_or_loopback_targets() {
    let upstream = Upstream::start();
    let other = Upstream::start();
    let gateway = Gateway::builder().upstream(&upstream).config(SETTINGS).start();
    // The upstream is on loopback itself, so loopback targets are open to it; the scheme and the path are not.
    for location in [
        "https://corp.example.com/lib/@v/list",
        "file:///etc/passwd",
        "gopher://127.0.0.1/x",
        "http://10.255.255.1:9/x",
        "http://169.254.169.254/latest/meta-data",
        "//",
        "",
    ] {
        let response = http::Response::text(302, "").with("Location", location);
        upstream.answer("/example.net/redirected/@v/list", response);
        let reply = raw(&gateway, "GET", "/example.net/redirected/@v/list", "");
        assert!(matches!(reply.status, 502 | 504), "{location}: {} {}", reply.status, reply.body_text());
    }
    let round = http::Response::text(302, "").with("Location", "/example.net/round/@v/list");
    upstream.answer("/example.net/round/@v/list", round);
    assert_eq!(raw(&gateway, "GET", "/example.net/round/@v/list", "").status, 502);
    assert_eq!(upstream.count("/example.net/round/@v/list"), 6, "the first and five redirects");
    let there = http::Response::text(302, "").with("Location", &format!("{}/example.net/alpha/@v/list", other.url()));
    upstream.answer("/example.net/moved/@v/list", there);
    assert_eq!(raw(&gateway, "GET", "/example.net/moved/@v/list", "").status, 200);
    gateway.may_dial("corp.example.com");
}
