mod bodies;
mod outages;

use super::fake::{self, Act, Fake};
use super::*;
use crate::module::{ModulePath, Version};
use crate::protocol::ModuleAsk;

const LIST: &str = "/example.com/m/@v/list";

fn path() -> ModulePath {
    "example.com/m".parse().unwrap()
}

fn upstream(config: &config::Upstream) -> Upstream {
    fake::upstream(config, fake::gate(Arc::default()))
}

async fn ask(upstream: &Upstream, ask: ModuleAsk) -> Result<Reply, UpstreamError> {
    ask_of(upstream, &path(), ask).await
}

async fn ask_of(upstream: &Upstream, path: &ModulePath, ask: ModuleAsk) -> Result<Reply, UpstreamError> {
    let public = upstream.gate.permit(path, "test").await.unwrap();
    let hop = upstream.hops[0].clone();
    upstream.fetch(&hop, Target::Module(&public, &ask), "test").await
}

/// A module of its own for each number, and where its list is.
fn other(number: usize) -> (ModulePath, String) {
    let path = format!("example.com/other{number}");
    (path.parse().unwrap(), format!("/{path}/@v/list"))
}

async fn body(reply: Result<Reply, UpstreamError>) -> Result<Vec<u8>, UpstreamError> {
    match reply? {
        Reply::Found(mut incoming) => {
            let mut body = Vec::new();
            while let Some(chunk) = incoming.chunk().await? {
                body.extend_from_slice(&chunk);
            }
            Ok(body)
        }
        Reply::Absent(absent) => panic!("absent: {absent:?}"),
    }
}

async fn outcome(fake: &Fake) -> Result<Vec<u8>, UpstreamError> {
    body(ask(&upstream(&fake.config()), ModuleAsk::List).await).await
}

#[tokio::test]
async fn a_request_carries_nothing_but_what_it_must() {
    let fake = Fake::start().await;
    fake.set(LIST, Act::ok("text/plain", "v1.0.0\n"));
    assert_eq!(outcome(&fake).await.unwrap(), b"v1.0.0\n");
    let head = fake.seen()[0].head.to_ascii_lowercase();
    let mut names: Vec<&str> = head.lines().skip(1).filter_map(|l| l.split_once(':')).map(|(name, _)| name).collect();
    names.sort_unstable();
    assert_eq!(names, ["accept", "accept-encoding", "host", "user-agent"]);
    assert!(head.contains("accept-encoding: identity\r\n"));
    assert!(head.contains(concat!("user-agent: modgate/", env!("CARGO_PKG_VERSION"), "\r\n")));
}

#[tokio::test]
async fn names_are_escaped_as_the_go_command_does() {
    let fake = Fake::start().await;
    let mut config = fake.config();
    config.goproxy[0].url = fake.url.join("/base").unwrap();
    let upstream = upstream(&config);
    let public = upstream.gate.permit(&"example.com/Up/m".parse().unwrap(), "test").await.unwrap();
    let version: Version = "v1.0.0-RC1+incompatible".parse().unwrap();
    let asks = [ModuleAsk::Latest, ModuleAsk::Mod(version.clone()), ModuleAsk::Query("Dev#%2e x".into())];
    for ask in &asks {
        upstream.fetch(&config.goproxy[0], Target::Module(&public, ask), "test").await.unwrap();
    }
    let tile = "tile/8/0/x001/234.p/5".parse().unwrap();
    for target in [Target::Lookup("sum.example.org/x", &public, &version), Target::Tile("sum.example.org", tile)] {
        upstream.fetch(&config.goproxy[0], target, "test").await.unwrap();
    }
    let targets: Vec<_> = fake.seen().into_iter().map(|s| s.target).collect();
    assert_eq!(
        targets,
        [
            "/base/example.com/!up/m/@latest",
            "/base/example.com/!up/m/@v/v1.0.0-!r!c1+incompatible.mod",
            "/base/example.com/!up/m/@v/!dev%23%252e%20x.info",
            "/base/sumdb/sum.example.org/x/lookup/example.com/!up/m@v1.0.0-!r!c1+incompatible",
            "/base/sumdb/sum.example.org/tile/8/0/x001/234.p/5",
        ]
    );
}

#[tokio::test]
async fn only_200_is_an_answer_and_only_404_and_410_are_absences() {
    let fake = Fake::start().await;
    for status in [204, 206, 300, 304, 400, 403, 429, 500, 503] {
        fake.set(LIST, Act::status(status, "text/plain", ""));
        assert!(matches!(outcome(&fake).await, Err(UpstreamError::Status { status: s, .. }) if s == status), "{status}");
    }
    for status in [404, 410] {
        fake.set(LIST, Act::status(status, "text/plain; charset=utf-8", "not found: so it is\n"));
        let reply = ask(&upstream(&fake.config()), ModuleAsk::List).await.unwrap_or_else(|e| panic!("{e}"));
        assert!(matches!(reply, Reply::Absent(a) if a == Absent { status, text: "not found: so it is\n".into() }));
    }
}

#[tokio::test]
async fn an_absence_without_a_text_of_its_own_names_no_upstream() {
    let fake = Fake::start().await;
    fake.set(LIST, Act::status(404, "text/html", "<html>"));
    let reply = ask(&upstream(&fake.config()), ModuleAsk::List).await;
    assert!(matches!(reply, Ok(Reply::Absent(a)) if a.text == "not found: example.com/m: an upstream proxy answered 404\n"));
}

#[tokio::test]
async fn a_broken_answer_is_a_failure_of_its_kind() {
    let fake = Fake::start().await;
    fake.set(LIST, Act::lying(100, b"short"));
    assert!(matches!(outcome(&fake).await, Err(UpstreamError::Cut { .. })));
    fake.set(LIST, Act::Raw(b"HTTP/1.1 404 X\r\nContent-Length: 9\r\nContent-Type: text/plain\r\n\r\nno".to_vec()));
    assert!(matches!(outcome(&fake).await, Err(UpstreamError::Cut { .. })));
    fake.set(LIST, Act::Raw(b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nv1.0.\r\n".to_vec()));
    assert!(matches!(outcome(&fake).await, Err(UpstreamError::Cut { .. })));
    fake.set(LIST, Act::Raw(b"SSH-2.0-OpenSSH\r\n".to_vec()));
    assert!(matches!(outcome(&fake).await, Err(UpstreamError::Failed { .. })));
    fake.set(LIST, Act::Hang(b"HTTP/1.1 200 OK\r\nX-Slow:".to_vec()));
    assert!(matches!(outcome(&fake).await, Err(UpstreamError::Timeout { what: Slow::Head, .. })));
    fake.set(LIST, Act::Hang(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nv1".to_vec()));
    assert!(matches!(outcome(&fake).await, Err(UpstreamError::Timeout { what: Slow::Body, .. })));
    let head = b"HTTP/1.1 200 OK\r\nX: ".to_vec();
    fake.set(LIST, Act::Endless { head, body: vec![b'x'; 65536] });
    assert!(matches!(outcome(&fake).await, Err(UpstreamError::Failed { .. })));
    fake.die();
    assert!(matches!(outcome(&fake).await, Err(UpstreamError::Failed { .. })));
}

#[tokio::test]
async fn an_encoding_that_was_not_asked_for_is_a_failure() {
    let fake = Fake::start().await;
    let headers = vec![("Content-Encoding".to_owned(), "gzip".to_owned())];
    fake.set(LIST, Act::Answer { status: 200, headers, body: b"\x1f\x8b".to_vec() });
    assert!(matches!(outcome(&fake).await, Err(UpstreamError::Malformed { .. })));
}

#[tokio::test]
async fn a_connection_that_breaks_before_the_answer_is_tried_again_once_with_a_new_permit() {
    let fake = Fake::start().await;
    fake.set(LIST, Act::Raw(Vec::new()));
    assert!(matches!(outcome(&fake).await, Err(UpstreamError::Failed { .. })));
    assert_eq!(fake.count(LIST), 2);
}

#[tokio::test]
async fn what_goes_out_and_what_comes_of_it_is_counted() {
    let fake = Fake::start().await;
    let metrics = crate::observe::metrics::Metrics::new().unwrap();
    let upstream = Upstream::new(&fake.config(), fake::gate(Arc::default()), Breakers::default(), metrics.upstream.clone()).unwrap();
    fake.set(LIST, Act::ok("text/plain", "v1.0.0\n"));
    body(ask(&upstream, ModuleAsk::List).await).await.unwrap();
    let has = |line: &str| assert!(metrics.text().unwrap().lines().any(|l| l == line), "{line}: {}", metrics.text().unwrap());
    has("modgate_upstream_breaker_state{upstream=\"modules\"} 0");
    fake.set(LIST, Act::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nv1".to_vec()));
    assert!(matches!(body(ask(&upstream, ModuleAsk::List).await).await, Err(UpstreamError::Cut { .. })));
    fake.set(LIST, Act::ok("text/html", ""));
    match ask(&upstream, ModuleAsk::List).await.unwrap() {
        Reply::Found(mut page) => drop(page.malformed("a page of HTML")),
        Reply::Absent(absent) => panic!("absent: {absent:?}"),
    }
    // The fifth module that fails in a row, the cut one among them, opens the breaker.
    for number in 0..5 {
        let (path, list) = other(number);
        fake.set(&list, Act::status(500, "text/plain", ""));
        assert!(ask_of(&upstream, &path, ModuleAsk::List).await.is_err());
    }
    has("modgate_upstream_requests_total{outcome=\"found\",upstream=\"modules\"} 1");
    has("modgate_upstream_requests_total{outcome=\"malformed\",upstream=\"modules\"} 1");
    has("modgate_upstream_requests_total{outcome=\"cut\",upstream=\"modules\"} 1");
    has("modgate_upstream_requests_total{outcome=\"status\",upstream=\"modules\"} 4");
    has("modgate_upstream_request_duration_seconds_count{upstream=\"modules\"} 7");
    has("modgate_upstream_breaker_state{upstream=\"modules\"} 2");
    has("modgate_upstream_breaker_opened_total{upstream=\"modules\"} 1");
    has("modgate_upstream_breaker_state{upstream=\"sumdb\"} 0");
}

#[tokio::test]
async fn five_redirects_are_followed_and_no_more() {
    let fake = Fake::start().await;
    for i in 1..=5 {
        fake.set(&format!("/{i}"), Act::redirect(&format!("{}", i + 1)));
    }
    fake.set(LIST, Act::redirect("/2"));
    fake.set("/6", Act::ok("text/plain", "v1.0.0\n"));
    assert_eq!(outcome(&fake).await.unwrap(), b"v1.0.0\n");
    fake.set(LIST, Act::redirect("/1"));
    assert!(matches!(outcome(&fake).await, Err(UpstreamError::Redirect { .. })));
    fake.set(LIST, Act::redirect(LIST));
    assert!(matches!(outcome(&fake).await, Err(UpstreamError::Redirect { .. })));
}

/// As it stands in a head, in lower case; none if it has none.
fn authorization(seen: &fake::Seen) -> Option<&str> {
    seen.head.lines().find_map(|line| line.strip_prefix("authorization: "))
}

#[tokio::test]
async fn credentials_go_to_their_own_url_alone_and_come_back_by_no_detour() {
    let (fake, other) = (Fake::start().await, Fake::start().await);
    let dir = tempfile::tempdir().unwrap();
    let secret = |name: &str| {
        let file = dir.path().join(name);
        std::fs::write(&file, name).unwrap();
        file
    };
    let mut config = fake.config();
    config.goproxy[0].url = fake.url.join("/go").unwrap();
    config.auth = vec![
        config::UpstreamAuth {
            url: config.goproxy[0].url.clone(),
            secret: config::Secret::Password { user: "u".into(), file: secret("p") },
        },
        config::UpstreamAuth { url: other.url.clone(), secret: config::Secret::Bearer { file: secret("t") } },
    ];
    let list = format!("/go{LIST}");
    let upstream = upstream(&config);
    // Within its own path, beside it, to somebody else who has credentials too, and back.
    fake.set(&list, Act::redirect("/go/within"));
    fake.set("/go/within", Act::redirect("/beside"));
    fake.set("/beside", Act::redirect(&other.url.join("/there").unwrap().as_str().replace("http://", "http://x:y@")));
    other.set("/there", Act::redirect(fake.url.join("/go/back").unwrap().as_str()));
    fake.set("/go/back", Act::ok("text/plain", "v1.0.0\n"));
    assert_eq!(body(ask(&upstream, ModuleAsk::List).await).await.unwrap(), b"v1.0.0\n");
    let shown: Vec<_> = fake.seen().iter().map(|seen| (seen.target.clone(), authorization(seen).map(str::to_owned))).collect();
    let basic = Some("Basic dTpw".to_owned());
    let expected = [(list.as_str(), basic.clone()), ("/go/within", basic), ("/beside", None), ("/go/back", None)];
    assert_eq!(shown, expected.map(|(target, shown)| (target.to_owned(), shown)));
    assert!(other.seen().iter().all(|s| authorization(s).is_none() && !s.head.contains("referer")));
    // What fails tells nothing of them.
    fake.set(&list, Act::status(401, "text/plain", ""));
    let error = ask(&upstream, ModuleAsk::List).await.err().unwrap();
    assert!(!format!("{error} {error:?}").contains("dTpw"), "{error:?}");
}

#[tokio::test]
async fn a_redirect_leads_to_no_inner_address_but_of_the_upstreams_own_kind() {
    let fake = Fake::start().await;
    for to in ["http://169.254.169.254/latest/meta-data", "http://10.0.0.1/", "http://[fe80::1]/", "http://[::ffff:10.0.0.1]/"] {
        fake.set(LIST, Act::redirect(to));
        let error = outcome(&fake).await.unwrap_err();
        assert!(matches!(&error, UpstreamError::Redirect { host, .. } if *host == public_name(&fake.url)), "{to}: {error}");
    }
    for to in ["ftp://example.com/", "file:///etc/passwd", "javascript:x", "http://"] {
        fake.set(LIST, Act::redirect(to));
        assert!(matches!(outcome(&fake).await, Err(UpstreamError::Redirect { .. })), "{to}");
    }
}

#[tokio::test]
async fn a_public_upstream_redirects_to_nothing_on_this_machine_by_address_or_by_name() {
    let fake = Fake::start().await;
    fake.set("/x", Act::ok("text/plain", "inner"));
    let clients = &upstream(&fake.config()).clients;
    let port = fake.url.port().unwrap();
    for host in ["127.0.0.1", "[::1]", "0.0.0.0", "[::ffff:127.0.0.1]", "127.1", "0x7f000001", "2130706433"] {
        let url: Url = format!("http://{host}:{port}/x").parse().unwrap();
        assert!(clients.pick(&url, Trust::Redirected(Inner::NONE)).await.is_err(), "{host}");
    }
    // A name is judged by what it resolves to, when the connection is made.
    let url: Url = format!("http://localhost:{port}/x").parse().unwrap();
    let (client, _) = clients.pick(&url, Trust::Redirected(Inner::NONE)).await.unwrap();
    let error = client.get(url.clone()).send().await.unwrap_err();
    assert!(forbidden(&error).is_some(), "{error:?}");
    let (client, _) = clients.pick(&url, Trust::Redirected(Inner::LOOPBACK)).await.unwrap();
    assert_eq!(client.get(url).send().await.unwrap().text().await.unwrap(), "inner");
    assert_eq!(fake.seen().len(), 1);
}

#[test]
fn https_upstreams_redirect_to_https_only() {
    let headers = |to: &str| HeaderMap::from_iter([(LOCATION, to.parse().unwrap())]);
    let from: Url = "https://a.example/x".parse().unwrap();
    let secure = Hop { url: "https://a.example".parse().unwrap(), any_error: false };
    let plain = Hop { url: "http://a.example".parse().unwrap(), any_error: false };
    assert!(redirect_target(&secure, &from, &headers("http://b.example/")).is_err());
    assert!(redirect_target(&plain, &from, &headers("http://b.example/")).is_ok());
    assert_eq!(redirect_target(&secure, &from, &headers("//b.example/y#z")).unwrap().as_str(), "https://b.example/y");
    assert!(redirect_target(&secure, &from, &HeaderMap::new()).is_err());
}

#[tokio::test]
async fn a_proxy_is_used_but_for_loopback_and_its_redirects_are_judged() {
    let proxy = Fake::start().await;
    let mut config = fake::config(vec![Hop { url: "http://upstream.example".parse().unwrap(), any_error: false }]);
    config.proxy = Some(proxy.url.clone());
    let upstream = upstream(&config);
    let at = |target: &str| format!("http://upstream.example{target}");
    proxy.set(&at(LIST), Act::ok("text/plain", "by proxy"));
    assert_eq!(body(ask(&upstream, ModuleAsk::List).await).await.unwrap(), b"by proxy");
    for to in ["http://127.0.0.1/", "http://localhost/", "http://10.1.2.3/"] {
        proxy.set(&at(LIST), Act::redirect(to));
        assert!(matches!(ask(&upstream, ModuleAsk::List).await, Err(UpstreamError::Redirect { .. })), "{to}");
    }
    assert!(proxy.seen().iter().all(|s| s.target == at(LIST)), "{:?}", proxy.seen());
    let (_, direct) = upstream.clients.pick(&"http://127.0.0.1:1/".parse().unwrap(), Trust::Configured).await.unwrap();
    assert!(direct);
}

/// What was negotiated, and the first bytes.
type Spoken = std::thread::JoinHandle<Option<(Vec<u8>, Vec<u8>)>>;

/// One TLS connection to a server with this name; its certificate as a file.
fn tls_server(name: &str) -> (Url, tempfile::NamedTempFile, Spoken) {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let cert = made.cert.der().clone();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, made.cert.pem().as_bytes()).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_no_client_auth().with_single_cert(vec![cert], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port()).parse().unwrap();
    let serving = std::thread::spawn(move || {
        let (mut tcp, _) = listener.accept().ok()?;
        let mut tls = rustls::ServerConnection::new(Arc::new(config)).ok()?;
        let mut first = vec![0; 24];
        std::io::Read::read_exact(&mut rustls::Stream::new(&mut tls, &mut tcp), &mut first).ok()?;
        Some((tls.alpn_protocol()?.to_vec(), first))
    });
    (url, file, serving)
}

fn trusting(url: Url, ca: &tempfile::NamedTempFile) -> config::Upstream {
    config::Upstream { ca_file: Some(ca.path().to_owned()), ..fake::config(vec![Hop { url, any_error: false }]) }
}

#[tokio::test]
async fn a_certificate_is_trusted_by_ca_file_alone_and_a_file_without_one_stops_the_start() {
    let (url, ca, serving) = tls_server("localhost");
    let config = trusting(url, &ca);
    let plain = config::Upstream { ca_file: None, ..config.clone() };
    // Where the platform has no roots, https without ca_file cannot even begin.
    if let Ok(upstream) = Upstream::new(&plain, fake::gate(Arc::default()), Breakers::default(), fake::metrics()) {
        assert!(matches!(ask(&upstream, ModuleAsk::List).await, Err(UpstreamError::Failed { .. })));
        assert_eq!(serving.join().unwrap(), None);
    }
    std::fs::write(ca.path(), "no PEM").unwrap();
    let error = Upstream::new(&config, fake::gate(Arc::default()), Breakers::default(), fake::metrics()).err().unwrap();
    assert!(matches!(&error, SetupError::CaFile { path, .. } if path == ca.path()), "{error}");
}

#[tokio::test]
async fn http_2_is_spoken_where_it_is_offered() {
    let (url, ca, serving) = tls_server("localhost");
    assert!(ask(&upstream(&trusting(url, &ca)), ModuleAsk::List).await.is_err());
    assert_eq!(serving.join().unwrap(), Some((b"h2".to_vec(), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec())));
}

#[tokio::test]
async fn a_certificate_for_another_name_is_a_failure() {
    let (url, ca, serving) = tls_server("elsewhere.example");
    assert!(matches!(ask(&upstream(&trusting(url, &ca)), ModuleAsk::List).await, Err(UpstreamError::Failed { .. })));
    assert_eq!(serving.join().unwrap(), None);
}

#[tokio::test]
async fn what_becomes_private_while_connecting_is_not_sent() {
    let slow = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", slow.local_addr().unwrap().port()).parse().unwrap();
    let (_, ca, _) = tls_server("localhost");
    let records = Arc::new(crate::store::double::Double::default());
    let gate = fake::gate(records.clone());
    let upstream = Arc::new(fake::upstream(&trusting(url, &ca), gate.clone()));
    let asked = tokio::spawn(async move { ask(&upstream, ModuleAsk::List).await.err() });
    // It has connected, and waits for the other side's part of the handshake.
    let (mut connection, _) = slow.accept().await.unwrap();
    let mut hello = vec![0; 1 << 10];
    assert!(tokio::io::AsyncReadExt::read(&mut connection, &mut hello).await.unwrap() > 0);
    records.host(path().as_str(), "default");
    let error = asked.await.unwrap();
    assert!(matches!(error, Some(UpstreamError::Denied(Denied::Private(_)))), "{error:?}");
    // Nothing more comes: the connection is given up.
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(20), tokio::io::AsyncReadExt::read_to_end(&mut connection, &mut rest)).await;
    assert!(ended.is_ok() && !rest.windows(4).any(|bytes| bytes == b"list"));
}

#[tokio::test]
async fn a_database_with_a_url_is_asked_itself_with_its_own_credentials_and_its_own_breaker() {
    let (proxy, database, dir) = (Fake::start().await, Fake::start().await, tempfile::tempdir().unwrap());
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "hunter2\n").unwrap();
    let url = database.url.join("/db").unwrap();
    let config = config::Upstream {
        sumdb: Some(config::Sumdb { name: "sum.example.org/x".into(), key: None, url: Some(url.clone()) }),
        auth: vec![config::UpstreamAuth { url, secret: config::Secret::Bearer { file: secret } }],
        ..proxy.config()
    };
    let upstream = upstream(&config);
    let public = upstream.gate.permit(&path(), "test").await.unwrap();
    let (version, tile): (Version, _) = ("v1.0.0".parse().unwrap(), "tile/8/0/001".parse().unwrap());
    let ask = async |target: Target<'_>| {
        let hop = upstream.walk(target.role()).next().unwrap();
        upstream.fetch(hop, target, "test").await
    };
    let name = "sum.example.org/x";
    for target in [Target::Lookup(name, &public, &version), Target::Tile(name, tile), Target::Head(name)] {
        assert!(matches!(ask(target).await, Ok(Reply::Absent(_))));
    }
    let seen: Vec<_> = database.seen().iter().map(|seen| (seen.target.clone(), authorization(seen).map(str::to_owned))).collect();
    let shown = Some("Bearer hunter2".to_owned());
    let targets = ["/db/lookup/example.com/m@v1.0.0", "/db/tile/8/0/001", "/db/latest"].map(|target| (target.to_owned(), shown.clone()));
    assert_eq!(seen, targets);
    database.die();
    for _ in 0..5 {
        assert!(ask(Target::Head(name)).await.is_err());
    }
    assert!(upstream.is_away(UpstreamRole::Sumdb) && !upstream.is_away(UpstreamRole::Modules));
    let down: Vec<_> = upstream.down().into_iter().map(|(_, down)| (down.host, down.role)).collect();
    assert_eq!(down, [(public_name(&database.url), UpstreamRole::Sumdb)]);
    assert!(matches!(ask(Target::Module(&public, &ModuleAsk::List)).await, Ok(Reply::Absent(_))));
    assert_eq!(proxy.seen().len(), 1);
}
