use http::Method;

use super::*;

fn get(path: &str) -> Result<Request, Reject> {
    parse(&Method::GET, path)
}

fn module(path: &str) -> (Base, String, ModuleAsk) {
    match get(path) {
        Ok(Request::Module(base, module, ask)) => (base, module.to_string(), ask),
        other => panic!("{path}: {other:?}"),
    }
}

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

#[test]
fn the_goproxy_protocol_is_read_on_both_bases() {
    let owner = Base::Owner("acme".parse().unwrap());
    for (prefix, base) in [("", Base::Root), ("/api/packages/acme/go", owner)] {
        let read = |rest: &str| module(&format!("{prefix}{rest}"));
        let m = "corp.example.com/Lib".to_owned();
        assert_eq!(read("/corp.example.com/!lib/@v/list"), (base.clone(), m.clone(), ModuleAsk::List));
        assert_eq!(read("/corp.example.com/%21lib/@latest"), (base.clone(), m.clone(), ModuleAsk::Latest));
        assert_eq!(read("/corp.example.com/!lib/@v/v1.2.3.info"), (base.clone(), m.clone(), ModuleAsk::Info(version("v1.2.3"))));
        assert_eq!(read("/corp.example.com/!lib/@v/v1.2.3-!r!c1.mod"), (base.clone(), m.clone(), ModuleAsk::Mod(version("v1.2.3-RC1"))));
        assert_eq!(
            read("/corp.example.com/!lib/@v/v2.0.0+incompatible.zip"),
            (base.clone(), m.clone(), ModuleAsk::Zip(version("v2.0.0+incompatible")))
        );
        assert_eq!(read("/corp.example.com/!lib/@v/latest.zip"), (base, m, ModuleAsk::Alias(Ext::Zip)));
    }
}

#[test]
fn what_is_no_canonical_version_is_a_query_as_info_and_absent_as_a_file() {
    for (raw, query) in
        [("v1.2", "v1.2"), ("v1.2.3+meta", "v1.2.3+meta"), ("main", "main"), ("abc123def456", "abc123def456"), ("!r!c", "RC")]
    {
        assert_eq!(module(&format!("/x.org/m/@v/{raw}.info")).2, ModuleAsk::Query(query.to_owned()));
        assert_eq!(module(&format!("/x.org/m/@v/{raw}.mod")).2, ModuleAsk::NoVersion(query.to_owned()));
        assert_eq!(module(&format!("/x.org/m/@v/{raw}.zip")).2, ModuleAsk::NoVersion(query.to_owned()));
    }
}

#[test]
fn what_could_be_read_differently_further_on_is_refused() {
    for path in [
        "/corp.example.com/../github.com/x/y/@v/list",
        "/corp.example.com/./lib/@v/list",
        "/corp.example.com/%2e%2e/lib/@v/list",
        "/corp.example.com/%2E%2E/lib/@v/list",
        "/corp.example.com%2Flib/@v/list",
        "/corp.example.com%2flib/@v/list",
        "/corp.example.com/%252e%252e/lib/@v/list",
        "/corp.example.com/li%25%32%65b/@v/list",
        "/corp.example.com/lib%00/@v/list",
        "/corp.example.com/lib%0a/@v/list",
        "/corp.example.com/lib%5c..%5cx/@v/list",
        "/corp.example.com/lib\\x/@v/list",
        "/corp.example.com/Lib/@v/list",
        "/corp.example.com/%4cib/@v/list",
        "/corp.example.com/lib/@v/v1.0.0-RC1.info",
        "/corp.example.com/!Lib/@v/list",
        "/corp.example.com/!!lib/@v/list",
        "/corp.example.com/lib!/@v/list",
        "/corp.example.com/lib;x/@v/list",
        "/corp.example.com/lib./@v/list",
        "/corp.example.com//lib/@v/list",
        "//corp.example.com/lib/@v/list",
        "/corp.example.com/lib//@v/list",
        "/corp.example.com/lib/@v//list",
        "/corp.example.com/lib/@v/list/",
        "/corp.example.com/lib/@latest/",
        "/corp.example.com/@v/x/@v/list",
        "/corp.example.com/lib@v1.0.0/@v/list",
        "/corp.example.com/lib/@v/../../other/@v/list.info",
        "/corp.example.com/l%ZZb/@v/list",
        "/corp.example.com/lib%",
        "/corp.example.com/%ff/@v/list",
        "/corp.example.com/lib name/@v/list",
        "/localhost/lib/@v/list",
        "/sumdb/sum.example.org/lookup/corp.example.com/Lib@v1.0.0",
        "/sumdb/sum.example.org/lookup/corp.example.com/lib",
        "/sumdb/sum.example.org/lookup/corp.example.com/lib@v1",
        "/sumdb/sum.example.org/lookup/corp.example.com/../lib@v1.0.0",
        "/sumdb/sum.example.org/tile/8/0/x001/67",
        "/sumdb/sum.example.org/tile/8/0/x000/067",
        "/sumdb/sum.example.org/tile/8/0/067.p/256",
        "/sumdb/sum.example.org/tile/8/0/067.p/0",
        "/sumdb/sum.example.org/tile/7/0/067",
        "/sumdb/sum.example.org/tile/8/00/067",
        "/sumdb/sum.example.org/tile/8/0/../067",
        "corp.example.com/lib/@v/list",
        "*",
    ] {
        for base in ["", "/api/packages/acme/go"] {
            let path = if path.starts_with('/') { format!("{base}{path}") } else { path.to_owned() };
            assert!(matches!(get(&path), Err(Reject::Bad(_))), "{path}: {:?}", get(&path));
        }
    }
    let long = format!("/corp.example.com/{}/@v/list", "a".repeat(PATH_MAX));
    assert!(matches!(get(&long), Err(Reject::Bad(_))));
}

#[test]
fn nothing_is_served_elsewhere() {
    for path in [
        "/x.org/m",
        "/x.org/m@v1.0.0",
        "/-/x",
        "/x.org/m/@v/v1.0.0.ziphash",
        "/x.org/m/@v/v1.0.0",
        "/api/packages/acme",
        "/api/packages/acme/npm/x",
    ] {
        assert_eq!(get(path), Err(Reject::NotFound), "{path}");
    }
}

#[test]
fn databases_are_asked_by_name_and_supported_always_answers() {
    let supported = |name: &str| SumdbAsk { name: name.to_owned(), what: SumdbWhat::Supported };
    for name in ["sum.golang.example", "localhost/1234abcd", "Sum.Example.ORG", "a/b/c"] {
        assert_eq!(get(&format!("/sumdb/{name}/supported")), Ok(Request::Sumdb(Base::Root, supported(name))));
        assert_eq!(get(&format!("/api/packages/Not_A_Name/go/sumdb/{name}/supported")), Ok(Request::Sumdb(Base::NoOwner, supported(name))));
    }
    let lookup = SumdbWhat::Lookup("corp.example.com/Lib".parse().unwrap(), version("v1.0.0"));
    let ask = SumdbAsk { name: "sum.example.org/x".to_owned(), what: lookup };
    assert_eq!(get("/sumdb/sum.example.org/x/lookup/corp.example.com/%21lib@v1.0.0"), Ok(Request::Sumdb(Base::Root, ask)));
    for tile in ["8/0/x123/x456/078", "8/0/000", "8/63/001.p/255", "8/data/x001/067.p/1"] {
        let ask = SumdbAsk { name: "sum.example.org".to_owned(), what: SumdbWhat::Tile(format!("tile/{tile}").parse().unwrap()) };
        assert_eq!(get(&format!("/sumdb/sum.example.org/tile/{tile}")), Ok(Request::Sumdb(Base::Root, ask)));
    }
}

#[test]
fn methods_that_a_path_does_not_take_are_named() {
    for (method, path, allow) in [
        (Method::POST, "/x.org/m/@v/list", "GET, HEAD"),
        (Method::PUT, "/", "GET, HEAD"),
        (Method::GET, "/api/packages/acme/go/upload", "PUT"),
        (Method::POST, "/api/v1/packages/acme/go/x.org/m/v1.0.0", "GET, HEAD, DELETE"),
        (Method::DELETE, "/api/v1/packages/acme/go/x.org/m/v1.0.0/files", "GET, HEAD"),
        (Method::DELETE, "/api/v1/packages/acme", "GET, HEAD"),
    ] {
        assert_eq!(parse(&method, path), Err(Reject::Method(allow)), "{method} {path}");
    }
    assert_eq!(parse(&Method::HEAD, "/x.org/m/@latest").map(|_| ()), Ok(()));
}

#[test]
fn a_delete_takes_the_module_raw_or_encoded() {
    let owner = Some("acme".parse().unwrap());
    let request = Ok(Request::Delete(owner, "corp.example.com/Lib/v2".parse().unwrap(), version("v2.0.0")));
    for module in ["corp.example.com/Lib/v2", "corp.example.com%2FLib%2fv2", "corp%2eexample.com/Lib/v2"] {
        assert_eq!(parse(&Method::DELETE, &format!("/api/v1/packages/acme/go/{module}/v2.0.0")), request, "{module}");
    }
    for path in
        ["corp.example.com/../v2/v2.0.0", "corp.example.com%2F..%2Fx/v2.0.0", "corp.example.com%2F%2Fx/v2.0.0", "corp.example.com/lib/v2"]
    {
        assert!(matches!(parse(&Method::DELETE, &format!("/api/v1/packages/acme/go/{path}")), Err(Reject::Bad(_))), "{path}");
    }
}

#[test]
fn an_owner_name_that_nobody_can_have_is_none_where_something_is_written() {
    assert_eq!(parse(&Method::PUT, "/api/packages/acme/go/upload"), Ok(Request::Publish(Some("acme".parse().unwrap()))));
    assert_eq!(parse(&Method::PUT, "/api/packages/Not_A_Name/go/upload"), Ok(Request::Publish(None)));
    let request = parse(&Method::DELETE, "/api/v1/packages/Not_A_Name/go/corp.example.com/lib/v1.0.0");
    assert!(matches!(request, Ok(Request::Delete(None, ..))), "{request:?}");
}

#[test]
fn our_own_checksum_database_is_asked_by_the_last_part_of_its_name() {
    let log = |what| Ok(Request::Log("0a1b2c3d".to_owned(), what));
    assert_eq!(get("/0a1b2c3d/supported"), log(SumdbWhat::Supported));
    assert_eq!(get("/0a1b2c3d/latest"), log(SumdbWhat::Latest));
    assert_eq!(get("/0a1b2c3d/tile/8/0/x001/067.p/3"), log(SumdbWhat::Tile("tile/8/0/x001/067.p/3".parse().unwrap())));
    let lookup = SumdbWhat::Lookup("corp.example.com/Lib".parse().unwrap(), "v1.0.0".parse().unwrap());
    assert_eq!(get("/0a1b2c3d/lookup/corp.example.com/!lib@v1.0.0"), log(lookup));
    for path in
        ["/0a1b2c3d", "/0a1b2c3d/", "/0a1b2c3d/x/latest", "/0a1b2c3d/tile", "/0A1B2C3D/latest", "/0a1b2c3/latest", "/0a1b2c3dd/latest"]
    {
        assert!(!matches!(get(path), Ok(Request::Log(..))), "{path}");
    }
    for path in ["/0a1b2c3d/tile/8/0/000.p/0", "/0a1b2c3d/tile/8/0/../000", "/0a1b2c3d/lookup/corp.example.com/lib@v1"] {
        assert!(matches!(get(path), Err(Reject::Bad(_))), "{path}");
    }
}
