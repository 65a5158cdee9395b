use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> GoMod {
    GoMod::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{e}"))
}

fn error(text: &str) -> String {
    GoMod::parse(text.as_bytes()).map_or_else(|e| e.to_string(), |_| String::new())
}

fn lax_error(text: &str) -> String {
    GoMod::parse_lax(text.as_bytes()).map_or_else(|e| e.to_string(), |_| String::new())
}

fn v(text: &str) -> Version {
    text.parse().unwrap()
}

#[test]
fn everything_is_read() {
    let file = parse(
        r#"// Deprecated: use x.y/n.
module "x.y/m" // really

go 1.21rc1
toolchain go1.22.0

require a.b/c v1.2.3
require (
	d.e/f/v2 v2 // indirect
	gopkg.in/yaml.v3 v3.0.1 // indirect; and more
)

exclude a.b/c v1.2.4
replace a.b/c => ../c
replace (
	a.b/d v1.0.0 => "z.z/d" v1.1
)
retract v1.0.0 // Wrong.
// Worse.
retract (
	[ v1.1.0 , v1.2.0 ]
	v1.3 // Alone.
)
godebug default=go1.21
tool a.b/c/cmd/x
ignore ./node_modules
"#,
    );
    assert_eq!(file.module, Some(Module { path: "x.y/m".to_owned(), deprecated: "use x.y/n.\nreally".to_owned() }));
    assert_eq!((file.go.as_deref(), file.toolchain.as_deref()), (Some("1.21rc1"), Some("go1.22.0")));
    let require: Vec<_> = file.require.iter().map(|r| (r.path.as_str(), r.version.as_str(), r.indirect)).collect();
    assert_eq!(require, [("a.b/c", "v1.2.3", false), ("d.e/f/v2", "v2.0.0", true), ("gopkg.in/yaml.v3", "v3.0.1", true)]);
    assert_eq!(file.exclude, [("a.b/c".to_owned(), v("v1.2.4"))]);
    let replace = |old: &str, version: Option<&str>, new: &str, with: Option<&str>| Replace {
        old_path: old.to_owned(),
        old_version: version.map(v),
        new_path: new.to_owned(),
        new_version: with.map(v),
    };
    assert_eq!(file.replace, [replace("a.b/c", None, "../c", None), replace("a.b/d", Some("v1.0.0"), "z.z/d", Some("v1.1.0"))]);
    let retract: Vec<_> = file.retract.iter().map(|r| (r.low.as_str(), r.high.as_str(), r.rationale.as_str())).collect();
    assert_eq!(retract, [("v1.0.0", "v1.0.0", "Wrong."), ("v1.1.0", "v1.2.0", "Worse."), ("v1.3", "v1.3", "Alone.")]);
    assert_eq!(file.godebug, [("default".to_owned(), "go1.21".to_owned())]);
    assert_eq!((file.tool, file.ignore), (vec!["a.b/c/cmd/x".to_owned()], vec!["./node_modules".to_owned()]));
}

#[test]
fn the_module_line_in_every_spelling() {
    for text in [
        "module x.y/m",
        "module x.y/m\n",
        "\u{20}module\tx.y/m \r\n",
        "module \"x.y/m\"\n",
        "module \"x.y/\\x6d\"\n",
        "module (\n\tx.y/m\n)\n",
        "// c\nmodule x.y/m//c\n",
        "go 1.21\nmodule x.y/m\n",
        "\"module\" a\nmodule x.y/m\n",
    ] {
        assert_eq!(GoMod::parse_lax(text.as_bytes()).unwrap().module_path(), Some("x.y/m"), "{text}");
    }
    for text in ["", "go 1.21\n", "module \"\"\n", "modulex.y/m\n", "// module x.y/m\n", "module ()\n"] {
        assert_eq!(GoMod::parse_lax(text.as_bytes()).unwrap().module_path(), None, "{text}");
    }
}

#[test]
fn retractions_cover_intervals() {
    let file = parse("module x.y\nretract [v1.0.0, v1.2.0]\nretract v1.5.0\nretract [v9, v8]\n");
    for (version, covered) in
        [("v1.0.0", true), ("v1.1.7-rc", true), ("v1.2.0", true), ("v1.2.1", false), ("v1.0.0-a", false), ("v1.5.0", true)]
    {
        assert_eq!(file.retraction(&v(version)).is_some(), covered, "{version}");
    }
    assert!(file.retraction(&v("v8.5.0")).is_none());
}

#[test]
fn deprecation_is_a_paragraph() {
    for (comment, want) in [
        ("// Deprecated: old", "old"),
        ("// A.\n//\n// Deprecated:   use b\n// or c.\n//\n// More.", "use b\nor c."),
        ("// A.\n// Deprecated: no", ""),
        ("// deprecated: no", ""),
        ("// Deprecated: gone\n\n", ""),
        ("// Deprecated:", ""),
    ] {
        assert_eq!(parse(&format!("{comment}\nmodule x.y\n")).module.unwrap().deprecated, want, "{comment}");
    }
}

#[test]
fn a_main_module_is_read_strictly() {
    for (text, want) in [
        ("foo bar\n", "go.mod:1: unknown directive: foo"),
        ("foo (\n)\n", "go.mod:1: unknown block type: foo"),
        ("go (\n1.21\n)\n", "go.mod:1: unknown block type: go"),
        ("go 1.21.x\n", "go.mod:1: invalid go version '1.21.x': must match format 1.23.0"),
        ("toolchain 1.21\n", "go.mod:1: invalid toolchain version '1.21': must match format go1.23.0 or default"),
        ("module a\nmodule b\n", "go.mod:2: repeated module statement"),
        ("module a b\n", "go.mod:1: usage: module module/path"),
        ("require a v1\n\t\trequire b c\n", "go.mod:2:3: require b: version \"c\" invalid: must be of the form v1.2.3"),
        ("require a/v1 v1.0.0\n", "go.mod:1: invalid module path"),
        ("replace a/v1 => ./b\n", "go.mod:1: replace a/v1: invalid module path"),
        ("replace a => b@v1\n", "go.mod:1: replacement module must match format 'path version', not 'path@version'"),
        ("replace a => .\\b\n", "go.mod:1: replacement directory appears to be Windows path (on a non-windows system)"),
        ("replace a => ./b v1.0.0\n", "go.mod:1: replacement module directory path \"./b\" cannot have version"),
        ("retract [v1, v2\n", "go.mod:1: expected ']' after version"),
        ("retract v1 v2\n", "go.mod:1: unexpected token after version: \"v2\""),
        ("retract\n", "go.mod:1: expected '[' or version"),
        ("godebug a\n", "go.mod:1: usage: godebug key=value"),
        ("tool\n", "go.mod:1: tool directive expects exactly one argument"),
        ("require (\n", "go.mod:2: syntax error (unterminated block started at go.mod:1:1)"),
        ("require ( // c\n a v1\n) x\n", "go.mod:3:4: syntax error (expected newline after closing paren)"),
        ("module /* c */ a\n", "go.mod:1:8: mod files must use // comments (not /* */ comments)"),
        ("module \"a\n", "go.mod:1:10: unexpected newline in string"),
        ("module `a", "go.mod:1:8: unexpected EOF in string"),
        ("module a\u{1}\n", "go.mod:1:9: unexpected input character '\\x01'"),
    ] {
        assert_eq!(error(text), want, "{text}");
    }
}

#[test]
fn a_dependency_is_read_laxly() {
    for text in
        ["foo bar\n", "foo (\na\n)\n", "go 1.21.x\n", "replace a\n", "retract [v1, v2\n", "retract v1 v2\n", "toolchain x\n", "exclude\n"]
    {
        assert_eq!(lax_error(text), "", "{text}");
    }
    assert_eq!(GoMod::parse_lax(b"go 1.21.x\n").unwrap().go.as_deref(), Some("1.21"));
    for (text, want) in [
        ("go x\n", "go.mod:1: invalid go version 'x': must match format 1.23.0"),
        ("ignore\n", "go.mod:1: ignore directive expects exactly one argument"),
        ("require a\n", "go.mod:1: usage: require module/path v1.2.3"),
    ] {
        assert_eq!(lax_error(text), want, "{text}");
    }
}

#[test]
fn a_comment_behind_a_line_that_is_two_goes_to_the_one_before() {
    let file = GoMod::parse_lax(b"require a v1.0.0\nfoo \"\\\nb\" // indirect\n").unwrap();
    assert!(file.require[0].indirect);
}

#[test]
fn made_up_files_hold_the_path_alone() {
    let path: ModulePath = "x.y/m~/v2".parse().unwrap();
    assert_eq!(synthesize_go_mod(&path), b"module x.y/m~/v2\n");
    for (text, want) in [("a", "a"), ("", "\"\""), ("a b", "\"a b\""), ("(", "("), ("a(", "\"a(\""), ("a//b", "\"a//b\""), ("a'", "\"a'\"")]
    {
        assert_eq!(auto_quote(text), want);
    }
}

#[test]
fn more_lines_than_the_limit_are_refused() {
    assert_eq!(lax_error(&"a\n".repeat(LINES_MAX)), "");
    assert!(lax_error(&"a\n".repeat(LINES_MAX + 1)).ends_with("too many lines (at most 100000)"));
    assert_eq!(error(&"a\n".repeat(LINES_MAX)).lines().count(), 100);
}

proptest! {
    #[test]
    fn any_text_is_judged_without_panic(words in prop::collection::vec("module|require|retract|replace|=>|\\(|\\)|\\[|\\]|,|\n|//|\"|`|\\\\|v1|a.b|go|1\\.2é|\\PC|\u{0}", 0..20), sep in " ?") {
        let text = words.join(&sep);
        let (strict, lax) = (GoMod::parse(text.as_bytes()), GoMod::parse_lax(text.as_bytes()));
        prop_assert!(strict.is_err() || lax.is_ok());
    }

    #[test]
    fn any_module_path_comes_back(path in "[a-z]{1,3}\\.[a-z](/[A-Za-z~._-]{1,5}){0,3}|\\PC{1,8}") {
        if !path.is_empty() {
            let text = format!("module {}\n", auto_quote(&path));
            let parsed = GoMod::parse(text.as_bytes()).unwrap();
            prop_assert_eq!(parsed.module_path(), Some(path.as_str()));
        }
    }
}
