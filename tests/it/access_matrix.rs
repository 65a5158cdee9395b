//! A stranger learns nothing: who asks × whose module × what is there × what is asked. What a read
//! answers may depend on the path's class and on what the principal may see, and on nothing else.

use std::collections::BTreeMap;

use base64::Engine as _;

use crate::support::curl::Login;
use crate::support::gateway::Gateway;
use crate::support::h2::{self, Ask};
use crate::support::http::Response;
use crate::support::upstream::Upstream;
use crate::support::zips::Module;

const OWNERS: [&str; 4] = ["pub", "int", "priv", "nobody"];

const SETTINGS: &str = r#"
[private]
patterns = ["corp.example.com"]
[owners.pub]
visibility = "public"
members = ["member"]
[owners.int]
visibility = "internal"
members = ["member"]
[owners.priv]
visibility = "private"
members = ["member"]
"#;

/// Hosted, absent and deleted modules have the same shape of name.
fn path(owner: &str, state: &str) -> String {
    format!("corp.example.com/{owner}/{state}")
}

fn module(path: &str) -> Module {
    Module::parse(&format!("{path}@v1.0.0\n-- go.mod --\nmodule {path}\n-- a.go --\npackage a\n"))
}

struct World {
    gateway: Gateway,
    _upstream: Upstream,
    who: BTreeMap<&'static str, Option<String>>,
}

pub(crate) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}

fn world() -> World {
    world_with("")
}

fn world_with(settings: &str) -> World {
    let upstream = Upstream::start();
    let prepared = Gateway::builder().upstream(&upstream).config(SETTINGS).config(settings);
    // Argon2 with the least cost that is taken: what is tested is who may, not how slow guessing is.
    let password = |user: &str| format!("[users.{user}]\npassword_hash = \"{}\"\n", hash(&format!("{user}-secret")));
    let mut gateway = prepared.config(&(password("member") + &password("stranger") + &password("boss") + "admin = true\n")).start();
    let admin = gateway.admin();
    for owner in ["pub", "int", "priv"] {
        for state in ["hosted", "deleted"] {
            let zip = module(&path(owner, state)).write_zip(gateway.data_dir().parent().expect("a folder"));
            crate::support::curl::publish(&gateway.url(), owner, Some(&admin), &zip, None).is(201);
        }
        let target = format!("{}/api/v1/packages/{owner}/go/{}/v1.0.0", gateway.url(), path(owner, "deleted"));
        let login = format!("{}:{}", admin.user, admin.password);
        crate::support::curl::curl(&["--user", &login, "-X", "DELETE"], &target, None).is(204);
    }
    let token = |args: &[&str]| gateway.cli(&[&["token", "create", "--json"], args].concat()).ok().to_owned();
    let secret = |json: &str| serde_json::from_str::<serde_json::Value>(json).expect("JSON")["token"].as_str().expect("a token").to_owned();
    let id = |json: &str| serde_json::from_str::<serde_json::Value>(json).expect("JSON")["id"].as_str().expect("an id").to_owned();
    let revoked = token(&["--name", "revoked", "--scope", "admin"]);
    gateway.cli(&["token", "revoke", &id(&revoked)]).ok();
    let expired = token(&["--name", "expired", "--scope", "admin", "--expires", "1s"]);
    let expired = format!("Bearer {}", secret(&expired));
    let who = BTreeMap::from([
        ("anonymous", None),
        ("stranger", Some(basic("stranger", "stranger-secret"))),
        ("member", Some(basic("member", "member-secret"))),
        ("admin", Some(basic("boss", "boss-secret"))),
        ("expired", Some(expired)),
        ("revoked", Some(format!("Bearer {}", secret(&revoked)))),
        ("wrong", Some(basic("member", "wrong"))),
    ]);
    // A token lives for whole seconds of the store's clock: wait until this one is over.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        let authorization = who["expired"].clone().unwrap_or_default();
        let reply = gateway.ask("HEAD", "/", &[("Authorization", &authorization)]);
        if reply.status == 401 {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "the token does not expire");
        std::thread::yield_now();
    }
    gateway.restart();
    World { gateway, _upstream: upstream, who }
}

pub(crate) fn hash(password: &str) -> String {
    use argon2::password_hash::PasswordHasher as _;
    let params = argon2::Params::new(argon2::Params::MIN_M_COST.max(4096), 1, 1, None).expect("parameters");
    let argon2 = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    argon2.hash_password(password.as_bytes()).expect("a hash").to_string()
}

/// Every read of the protocol, as (name, method, what stands behind the base).
fn reads(module: &str) -> Vec<(&'static str, &'static str, String)> {
    let mut reads = vec![];
    for method in ["GET", "HEAD"] {
        for (name, rest) in [
            ("list", "@v/list"),
            ("latest", "@latest"),
            ("info", "@v/v1.0.0.info"),
            ("mod", "@v/v1.0.0.mod"),
            ("zip", "@v/v1.0.0.zip"),
            ("other version", "@v/v1.0.9.info"),
            ("query", "@v/main.info"),
            ("no version", "@v/v1.mod"),
            ("alias info", "@v/latest.info"),
            ("alias mod", "@v/latest.mod"),
            ("alias zip", "@v/latest.zip"),
        ] {
            reads.push((name, method, format!("/{module}/{rest}")));
        }
        reads.push(("lookup", method, format!("/sumdb/sum.example.org/lookup/{module}@v1.0.0")));
        reads.push(("tile", method, "/sumdb/sum.example.org/tile/8/0/000".to_owned()));
        reads.push(("tree", method, "/sumdb/sum.example.org/latest".to_owned()));
        reads.push(("supported", method, "/sumdb/sum.example.org/supported".to_owned()));
    }
    reads
}

/// Every read of an owner's API, as (name, method, target).
fn api_reads(base: &str, module: &str) -> Vec<(&'static str, &'static str, String)> {
    let api = format!("/api/v1/packages/{base}");
    let encoded = module.replace('/', "%2F");
    let reads = [
        ("api list", format!("{api}?type=go&q={module}")),
        ("api list", api.clone()),
        ("api version", format!("{api}/go/{module}/v1.0.0")),
        ("api version", format!("{api}/go/{encoded}/v1.0.0")),
        ("api files", format!("{api}/go/{module}/v1.0.0/files")),
        ("api other version", format!("{api}/go/{module}/v1.0.9")),
    ];
    ["GET", "HEAD"].into_iter().flat_map(|method| reads.clone().map(|(name, target)| (name, method, target))).collect()
}

fn sees(who: &str, owner: &str) -> bool {
    match (who, owner) {
        (_, "pub") => true,
        (_, "nobody") => false,
        ("anonymous", _) => false,
        ("stranger", owner) => owner == "int",
        _ => true,
    }
}

/// The status of a read: 401 for credentials that are wrong, or missing where they would help; 404 for what is not there or not for them.
fn expected(who: &str, base: &str, owner: &str, state: &str, read: &str) -> u16 {
    if read == "supported" {
        return 200;
    }
    if matches!(who, "expired" | "revoked" | "wrong") {
        return 401;
    }
    // An admin may look for what an owner left behind that is gone from the settings.
    let enters = base.is_empty() || sees(who, base) || (who == "admin" && base == "nobody");
    if !enters {
        return if who == "anonymous" { 401 } else { 404 };
    }
    if read == "lookup" {
        return 403;
    }
    if read == "api list" {
        return 200;
    }
    let here = state == "hosted" && sees(who, owner) && (base.is_empty() || base == owner);
    let there =
        matches!(read, "list" | "latest" | "info" | "mod" | "zip" | "alias info" | "alias mod" | "alias zip" | "api version" | "api files");
    if here && there { 200 } else { 404 }
}

/// What may not differ between two answers that must be the same: all but the request's own id, the time, and the length,
/// since a body holds the module's name.
fn shape(reply: &Response) -> (u16, Vec<(String, String)>, String) {
    let own = ["x-request-id", "date", "content-length"];
    let headers = reply.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
    let mut headers: Vec<_> = headers.filter(|(name, _)| !own.contains(&name.as_str())).collect();
    headers.sort();
    (reply.status, headers, reply.body_text())
}

/// One read, and what it must come to.
struct Case {
    who: &'static str,
    ask: Ask,
    expected: u16,
    /// The module, and one of the same owner that was never there, where the caller must not tell them apart.
    twin: Option<(String, String)>,
}

fn cases(world: &World) -> Vec<Case> {
    let mut cases = vec![];
    for (who, authorization) in &world.who {
        for base in ["", "pub", "int", "priv", "nobody"] {
            let prefix = if base.is_empty() { String::new() } else { format!("/api/packages/{base}/go") };
            for owner in OWNERS {
                for state in ["hosted", "absent", "deleted"] {
                    let module = path(owner, state);
                    let based = reads(&module).into_iter().map(|(read, method, rest)| (read, method, format!("{prefix}{rest}")));
                    let api = if base.is_empty() { vec![] } else { api_reads(base, &module) };
                    for (read, method, target) in based.chain(api) {
                        let ask = Ask::new(method, &target, authorization.as_deref());
                        let twin = (state != "absent" && !sees(who, owner)).then(|| (module.clone(), path(owner, "absent")));
                        cases.push(Case { who, ask, expected: expected(who, base, owner, state, read), twin });
                    }
                }
            }
        }
    }
    cases
}

/// Asks every case, and the twins of those that have one.
fn judge(cases: &[Case], mut ask_all: impl FnMut(&[Ask]) -> Vec<Response>) {
    let asks: Vec<Ask> = cases.iter().map(|case| case.ask.clone()).collect();
    let twins = cases.iter().filter_map(|case| {
        let (module, absent) = case.twin.as_ref()?;
        let encoded = |module: &str| module.replace('/', "%2F");
        let target = case.ask.target.replace(module, absent).replace(&encoded(module), &encoded(absent));
        Some(Ask { target, ..case.ask.clone() })
    });
    let twins: Vec<Ask> = twins.collect();
    let replies = ask_all(&asks);
    let mut twins = ask_all(&twins).into_iter();
    let mut wrong = vec![];
    for (Case { who, ask: Ask { method, target, .. }, expected, twin }, reply) in cases.iter().zip(&replies) {
        if reply.status != *expected {
            wrong.push(format!("{who} {method} {target}: {} instead of {expected}", reply.status));
        }
        // What is not for this caller looks like what was never there: but for its own name.
        let Some((module, absent)) = twin else { continue };
        let twin = shape(&twins.next().expect("a twin"));
        let (status, headers, body) = shape(reply);
        let same = (status, headers, body.replace(module, absent)) == twin;
        if !same {
            wrong.push(format!("{who} {method} {target}: tells what is there: {reply:?}, {twin:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert!(cases.len() > 15_000, "{}", cases.len());
}

#[test]
fn an_answer_depends_only_on_the_class_of_the_path_and_on_what_the_principal_may_see() {
    let world = world();
    let ask = |ask: &Ask| {
        let headers: Vec<(&str, &str)> = ask.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        world.gateway.ask(&ask.method, &ask.target, &headers)
    };
    judge(&cases(&world), |asks| asks.iter().map(ask).collect());
}

#[test]
fn over_http_2_an_answer_depends_on_the_same() {
    let world = world();
    let mut client = h2::Client::connect(&world.gateway);
    judge(&cases(&world), |asks| client.ask_all(asks));
}

#[test]
fn bases_are_asked_by_goauth_and_answer_alike_at_any_name() {
    // Our own checksum database knows private names, so that nobody need be told of them.
    bases_answer_alike(&world(), &[]);
    bases_answer_alike(&world_with("[sumdb]\nenabled = false\n"), &["admin", "member", "stranger"]);
}

/// `told`: who is told private names.
fn bases_answer_alike(world: &World, told: &[&str]) {
    for who in world.who.keys() {
        let authorization = world.who[who].clone();
        let headers: Vec<(&str, &str)> = authorization.iter().map(|value| ("Authorization", value.as_str())).collect();
        let mut bodies = vec![];
        for target in ["/", "/api/packages/pub/go", "/api/packages/priv/go", "/api/packages/nobody/go", "/api/packages/nobody/go/"] {
            for method in ["HEAD", "GET"] {
                let reply = world.gateway.ask(method, target, &headers);
                let expected = if matches!(*who, "expired" | "revoked" | "wrong") { 401 } else { 200 };
                assert_eq!(reply.status, expected, "{who} {method} {target}");
                assert_eq!(reply.header("www-authenticate").is_some(), expected == 401, "{who} {method} {target}");
                if method == "GET" {
                    bodies.push(reply.body_text());
                }
            }
        }
        assert!(bodies.iter().all(|body| *body == bodies[0]), "{who}: {bodies:?}");
        let tells = bodies[0].contains("corp.example.com");
        assert_eq!(tells, told.contains(who), "{who}: {}", bodies[0]);
    }
}

#[test]
fn writes_ask_for_the_right_before_anything_else() {
    let world = world();
    let scratch = tempfile::tempdir().expect("a folder");
    // Who may goes last: what they do is done.
    for who in ["anonymous", "expired", "revoked", "wrong", "stranger", "member", "admin"] {
        let authorization = world.who[who].clone();
        let mut headers: Vec<(&str, &str)> = authorization.iter().map(|value| ("Authorization", value.as_str())).collect();
        headers.push(("Content-Length", "0"));
        for owner in OWNERS {
            // None: they may.
            let refused = match (who, owner) {
                ("anonymous" | "expired" | "revoked" | "wrong", _) => Some(401),
                ("stranger", _) | (_, "nobody") => Some(403),
                _ => None,
            };
            // With the right it is the body that is judged, and it is no zip.
            let put = world.gateway.ask("PUT", &format!("/api/packages/{owner}/go/upload"), &headers);
            assert_eq!(put.status, refused.unwrap_or(400), "{who} publishes nothing to {owner}: {}", put.body_text());

            let put = |module: &Module| {
                let authorization = format!("Authorization: {}", authorization.as_deref().unwrap_or_default());
                let zip = module.write_zip(scratch.path());
                let mut args = vec!["--upload-file", zip.to_str().expect("UTF-8")];
                if world.who[who].is_some() {
                    args.extend(["--header", &authorization]);
                }
                crate::support::curl::curl(&args, &format!("{}/api/packages/{owner}/go/upload", world.gateway.url()), None)
            };
            let new = module(&format!("corp.example.com/{owner}/new-of-{who}"));
            put(&new).is(refused.unwrap_or(201));
            put(&new).is(refused.unwrap_or(409));
            // What is another owner's.
            let others = if owner == "pub" { "int" } else { "pub" };
            put(&module(&path(others, "hosted"))).is(refused.unwrap_or(409));

            for state in ["absent", "deleted", "hosted"] {
                let target = format!("/api/v1/packages/{owner}/go/{}/v1.0.0", path(owner, state));
                let delete = || world.gateway.ask("DELETE", &target, &headers);
                let expected = match (who, owner) {
                    ("anonymous" | "expired" | "revoked" | "wrong", _) => 401,
                    ("stranger", "pub" | "int") => 403,
                    ("member" | "admin", "pub" | "int" | "priv") if state == "hosted" => 204,
                    _ => 404,
                };
                let reply = delete();
                assert_eq!(reply.status, expected, "{who} deletes {state} of {owner}: {}", reply.body_text());
                if expected == 204 {
                    assert_eq!(delete().status, 404, "{who} deletes {state} of {owner} twice");
                    // For the next who comes.
                    put(&module(&path(owner, state))).is(201);
                }
            }
        }
    }
}

#[test]
fn where_everyone_must_sign_in_anonymous_reads_nothing() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder()
        .upstream(&upstream)
        .config(SETTINGS)
        .config("[access]\nanonymous = \"none\"\n[users.member]\npassword_hash = \"\"\n");
    let gateway = gateway.config(&format!("[users.member]\npassword_hash = \"{}\"\n", hash("member-secret"))).start();
    for target in [
        "/",
        "/api/packages/pub/go",
        "/api/v1/packages/pub",
        "/api/v1/packages/pub/go/corp.example.com/x/v1.0.0/files",
        "/example.net/alpha/@v/list",
        "/corp.example.com/x/@v/list",
        "/sumdb/x.org/lookup/example.net/alpha@v1.0.0",
    ] {
        for method in ["GET", "HEAD"] {
            assert_eq!(gateway.ask(method, target, &[]).status, 401, "{method} {target}");
        }
    }
    assert_eq!(gateway.ask("GET", "/sumdb/x.org/supported", &[]).status, 200);
    let member = basic("member", "member-secret");
    assert_eq!(gateway.ask("GET", "/example.net/alpha/@v/list", &[("Authorization", &member)]).status, 200);
}

#[test]
fn every_way_to_show_a_token_is_taken() {
    let upstream = Upstream::start();
    let gateway = Gateway::builder()
        .upstream(&upstream)
        .config(SETTINGS)
        .config(&format!("[users.member]\npassword_hash = \"{}\"\n", hash("x")))
        .start();
    let Login { password: token, .. } = gateway.admin();
    let good = [
        basic("anything", &token),
        basic(&token, ""),
        basic(&token, "x-oauth-basic"),
        format!("Bearer {token}"),
        format!("bearer {token}"),
        format!("token {token}"),
    ];
    for authorization in &good {
        let reply = gateway.ask("GET", "/corp.example.com/priv/absent/@v/list", &[("Authorization", authorization)]);
        assert_eq!(reply.status, 404, "{authorization}");
    }
    // Of two, nobody knows which one counts.
    let both = [("Authorization", good[0].as_str()), ("Authorization", good[3].as_str())];
    assert_eq!(gateway.ask("GET", "/corp.example.com/priv/absent/@v/list", &both).status, 401);
    // The same over HTTP/2, where the two may also come as one field that was split.
    let mut client = h2::Client::connect(&gateway);
    let target = "/corp.example.com/priv/absent/@v/list";
    for authorization in &good {
        assert_eq!(client.ask(Ask::new("GET", target, Some(authorization))).status, 404, "{authorization}");
    }
    for parts in [[good[0].as_str(), good[3].as_str()], ["Bearer", &token], ["Bearer ", &token], [&good[3], ""], [&good[3], &good[3]]] {
        let mut ask = Ask::new("GET", target, Some(parts[0]));
        ask.headers.push(("authorization".to_owned(), parts[1].to_owned()));
        assert_eq!(client.ask(ask).status, 401, "{parts:?}");
    }
    for authorization in ["Bearer mg_wrong", "Bearer", "Basic", "Basic !!!", "Digest x", "", "Basic bWc=", "token "] {
        let reply = gateway.ask("GET", "/corp.example.com/priv/absent/@v/list", &[("Authorization", authorization)]);
        assert_eq!(reply.status, 401, "{authorization:?}");
    }
}
