use super::*;
use crate::module::ModulePath;

fn module(ask: ModuleAsk) -> Asset {
    Asset::Module("example.com/m".parse::<ModulePath>().unwrap(), ask)
}

fn judged(asset: &Asset, body: &[u8]) -> Result<String, String> {
    judge(asset, Bytes::copy_from_slice(body)).map(|b| String::from_utf8(b.to_vec()).unwrap())
}

fn info_of(version: &str, body: &str) -> Result<String, String> {
    judged(&module(ModuleAsk::Info(version.parse().unwrap())), body.as_bytes())
}

#[test]
fn bad_lines_of_a_list_are_dropped_and_the_rest_is_written_anew() {
    let list = |body: &[u8]| judged(&module(ModuleAsk::List), body);
    let pseudo = "v0.0.0-20240101000000-abcdefabcdef";
    let body = format!(
        "v1.0.0\r\n  v1.1.0 2024-01-02T03:04:05Z extra\nv1\nmaster\n{pseudo} 2024-01-01T00:00:00+01:00\nv2.0.0+incompatible then\n\n<b>"
    );
    let expected = format!("v1.0.0\nv1.1.0 2024-01-02T03:04:05Z\n{pseudo} 2024-01-01T00:00:00+01:00\nv2.0.0+incompatible\n");
    assert_eq!(list(body.as_bytes()), Ok(expected));
    assert_eq!(list(b"v1.0.0\n\xff\xfe\nv1.2.0"), Ok("v1.0.0\nv1.2.0\n".into()));
    assert_eq!(list(b""), Ok(String::new()));
    assert_eq!(list(b"\n \n"), Ok(String::new()));
}

#[test]
fn a_page_is_no_empty_list() {
    let list = |body: &[u8]| judged(&module(ModuleAsk::List), body);
    assert!(list(b"<!DOCTYPE html>\n<p>sign in\n").is_err());
    assert!(list(b"{\"error\": \"no\"}").is_err());
}

#[test]
fn an_info_names_the_version_that_was_asked_for_and_is_written_anew() {
    assert_eq!(info_of("v1.0.0", "{\"Version\":\"v1.0.0\"}\n"), Ok("{\"Version\":\"v1.0.0\"}".into()));
    let rich = r#" {"Short":"x", "Time":"2024-01-02T03:04:05Z","Origin": {"VCS": "git",  "n": 1e400}, "Version":"v1.0.0"}"#;
    let anew = r#"{"Version":"v1.0.0","Time":"2024-01-02T03:04:05Z","Origin":{"VCS": "git",  "n": 1e400}}"#;
    assert_eq!(info_of("v1.0.0", rich), Ok(anew.into()));
    assert_eq!(info_of("v1.0.0", anew), Ok(anew.into()));
    for bad in [
        r#"{"Version":"v1.0.1"}"#,
        r#"{"Version":"v1.0.0"} x"#,
        r#"{"Version":"v1.0.0","Version":"v1.0.0"}"#,
        r#"{"Version":"v1.0.0","Time":"yesterday"}"#,
        r#"{"Version":1}"#,
        r#"{"Version":null}"#,
        "{}",
        "[]",
        "null",
        "",
        "<html>",
        "{\"Version\":\"v1.0.0\"",
    ] {
        assert!(info_of("v1.0.0", bad).is_err(), "{bad}");
    }
}

#[test]
fn what_a_branch_and_latest_resolve_to_is_a_canonical_version() {
    let branch = module(ModuleAsk::Query("main".into()));
    assert_eq!(judged(&branch, br#"{"Version":"v1.0.0","x":1}"#), Ok(r#"{"Version":"v1.0.0"}"#.into()));
    assert!(judged(&branch, br#"{"Version":"main"}"#).is_err());
    let latest = module(ModuleAsk::Latest);
    assert_eq!(judged(&latest, b"{\"Version\":\"v1.0.0\",\"x\":1}\n"), Ok("{\"Version\":\"v1.0.0\",\"x\":1}\n".into()));
    assert!(judged(&latest, br#"{"Version":"v1"}"#).is_err());
}

#[test]
fn a_mod_is_never_looked_into() {
    let asset = module(ModuleAsk::Mod("v1.0.0".parse().unwrap()));
    assert_eq!(judge(&asset, Bytes::from_static(b"\xffnot a go.mod")), Ok(Bytes::from_static(b"\xffnot a go.mod")));
}

#[test]
fn tiles_have_their_length_and_notes_their_shape() {
    let sumdb = |what| Asset::Sumdb("sum.example.org".into(), what);
    let tile =
        |name: &str, len: usize| judge(&sumdb(SumdbWhat::Tile(format!("tile/{name}").parse().unwrap())), vec![7; len].into()).is_ok();
    assert!(tile("8/0/000", 8192) && tile("8/0/000.p/5", 160) && tile("8/data/000", 5));
    assert!(!tile("8/0/000", 8191) && !tile("8/0/000.p/5", 192) && !tile("8/data/000", 0) && !tile("8/0/000.p/5", 0));
    assert_eq!(bytes_max(&sumdb(SumdbWhat::Tile("tile/8/0/000".parse().unwrap()))), 8192);

    let head = "go.sum database tree\n9\nAAAA\n\n\u{2014} sum.example.org AAAA\n";
    let lookup = sumdb(SumdbWhat::Lookup("example.com/m".parse().unwrap(), "v1.0.0".parse().unwrap()));
    let record = "3\nexample.com/m v1.0.0 h1:x=\nexample.com/m v1.0.0/go.mod h1:y=\n\n";
    assert!(judged(&lookup, format!("{record}{head}").as_bytes()).is_ok());
    for bad in ["", "<html>\n", record, &format!("x{record}{head}"), &format!("{record}{}", head.trim_end())] {
        assert!(judged(&lookup, bad.as_bytes()).is_err(), "{bad}");
    }
    assert!(judged(&sumdb(SumdbWhat::Latest), head.as_bytes()).is_ok());
    assert!(judged(&sumdb(SumdbWhat::Latest), b"not found").is_err());
}
