use proptest::prelude::*;

use super::*;

fn reason(path: &str) -> String {
    path.parse::<ModulePath>().map_or_else(|e| e.reason, |_| String::new())
}

#[test]
fn valid_paths_are_taken() {
    for path in
        ["x.y", "github.com/a/b", "github.com/A/B.C~x_y-z", "x.y/v2", "x.y/v10", "x.y/v", "x.y/vv1", "x.y/v2.x", "x.y/v2/v", "a..b/c"]
    {
        assert_eq!(reason(path), "", "{path}");
    }
    for path in ["gopkg.in/yaml.v1", "gopkg.in/yaml.v0", "gopkg.in/a/b.v3-unstable", "gopkg.in.x/y", "1.2/v2", "x.y/a~1b", "x.y/a.~1"] {
        assert_eq!(reason(path), "", "{path}");
    }
}

#[test]
fn invalid_paths_are_named_as_the_go_tool_names_them() {
    for (path, want) in [
        ("", "empty string"),
        ("-x.y", "leading dash"),
        ("x.y//z", "double slash"),
        ("x.y/", "trailing slash"),
        ("/x.y", "empty path element"),
        ("x.y/..", r#"invalid path element "..""#),
        ("x.y/.git", "leading dot in path element"),
        ("x.y/a.", "trailing dot in path element"),
        ("x.y/a b", "invalid char ' '"),
        ("x.y/é", "invalid char 'é'"),
        ("x.y/a+b", "invalid char '+'"),
        ("x.y/CoN.txt", r#""CoN" disallowed as path element component on Windows"#),
        ("x.y/a~1", "trailing tilde and digits in path element"),
        ("x.y/a~12.z", "trailing tilde and digits in path element"),
        ("x/y", "missing dot in first path element"),
        ("X.y/z", "invalid char 'X' in first path element"),
        ("x.y_z/a", "invalid char '_' in first path element"),
        ("x.y/v1", "invalid version"),
        ("x.y/v02", "invalid version"),
        ("x.y/v2.3", "invalid version"),
        ("gopkg.in/yaml", "invalid version"),
        ("gopkg.in/yaml.v02", "invalid version"),
    ] {
        assert_eq!(reason(path), want, "{path}");
    }
    assert_eq!("a\n".parse::<ModulePath>().unwrap_err().to_string(), r#"malformed module path "a\n": invalid char '\n'"#);
}

#[test]
fn file_names_may_hold_more() {
    for path in ["a b/c!#$%&()+,-.=@[]^_{}~ ", ".git/x", "-x", "世界/é", "a~1", "go.mod"] {
        assert_eq!(check_file_path(path.as_bytes()), Ok(()), "{path}");
    }
    for path in ["a:b", "a\\b", "a*", "a/../b", "nul.txt", "a\u{301}", "a\u{7f}", "x|y", "“", "a/."] {
        assert!(check_file_path(path.as_bytes()).is_err(), "{path}");
    }
    assert_eq!(check_file_path(b"a\xff"), Err("invalid UTF-8".to_owned()));
}

#[test]
fn ancestors_go_down_to_the_host() {
    let path: ModulePath = "x.y/a/b/v2".parse().unwrap();
    assert_eq!(path.parents().collect::<Vec<_>>(), ["x.y/a/b", "x.y/a", "x.y"]);
    assert_eq!(path.elements().collect::<Vec<_>>(), ["x.y", "a", "b", "v2"]);
    assert_eq!((path.host(), path.split_major()), ("x.y", ("x.y/a/b", "/v2")));
    assert_eq!("x.y".parse::<ModulePath>().unwrap().parents().next(), None);
    assert!("golang.org/toolchain".parse::<ModulePath>().unwrap().is_toolchain());
}

#[test]
fn escaped_forms_are_read_strictly() {
    assert_eq!(ModulePath::unescape("github.com/!azure/!a!b").unwrap().as_str(), "github.com/Azure/AB");
    for bad in ["github.com/Azure/x", "github.com/!Azure", "github.com/!!a", "github.com/a!", "github.com/!1", "github.com/%21a", "!a.b/c"]
    {
        assert!(ModulePath::unescape(bad).is_err(), "{bad}");
    }
}

fn module_path() -> impl Strategy<Value = String> {
    "[a-z0-9-]{0,4}\\.[a-z0-9.-]{0,3}[a-z](/[A-Za-z0-9._~-]{1,6}){0,3}(/v[0-9]{1,2})?".prop_map(|s: String| s)
}

proptest! {
    #[test]
    fn escaping_there_and_back(path in module_path()) {
        if let Ok(path) = path.parse::<ModulePath>() {
            let escaped = path.escaped();
            prop_assert!(!escaped.contains(|c: char| c.is_ascii_uppercase()));
            prop_assert_eq!(ModulePath::unescape(&escaped), Ok(path));
        }
    }

    #[test]
    fn unescaping_there_and_back(text in "[a-c!/.B]{0,10}") {
        if let Some(plain) = unescape(&text) {
            prop_assert_eq!(escape(&plain), text);
        }
    }

    #[test]
    fn the_two_halves_are_the_path(path in module_path()) {
        if let Ok(path) = path.parse::<ModulePath>() {
            let (prefix, major) = path.split_major();
            prop_assert_eq!(format!("{prefix}{major}"), path.as_str());
        }
    }

    #[test]
    fn any_text_is_judged_without_panic(text in "\\PC{0,16}|[-./~v0-9a!N]{0,12}") {
        let _ = (text.parse::<ModulePath>(), check_file_path(text.as_bytes()), ModulePath::unescape(&text));
        if let Some((prefix, major)) = split_path_version(&text) {
            prop_assert_eq!(format!("{prefix}{major}"), text);
        }
    }
}
