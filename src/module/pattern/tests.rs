use proptest::prelude::*;

use super::*;

fn pattern(text: &str) -> Pattern {
    text.parse().unwrap()
}

#[test]
fn a_pattern_takes_in_what_is_below_it() {
    for (text, path, want) in [
        ("corp.example.com", "corp.example.com", true),
        ("corp.example.com", "corp.example.com/a/b", true),
        ("corp.example.com", "corp.example.com.evil/a", false),
        ("corp.example.com/", "corp.example.com/a", true),
        ("github.com/acme/*", "github.com/acme/x/y", true),
        ("github.com/acme/*", "github.com/acme", false),
        ("github.com/acme/*", "github.com/acmeco/x", false),
        ("*.corp.com", "git.corp.com/x", true),
        ("*.corp.com", "corp.com/x", false),
        ("github.com/ACME", "github.com/acme/x", true),
        ("github.com/acme", "github.com/AcMe/x", true),
        ("github.com/[A-C]x", "github.com/bx", true),
        ("github.com/a?c", "github.com/abc", true),
        ("github.com/a?c", "github.com/a/c", false),
        ("github.com/a\\*c", "github.com/abc", false),
    ] {
        assert_eq!(pattern(text).matches(path), want, "{text} {path}");
    }
}

#[test]
fn what_is_no_pattern_is_refused() {
    for text in ["", "/", "a,b", "a b", "a[", "a[]", "a[b-]", "a\\", "x/[Z-a]", "[^A-~].com", "a//b", "/a", "[z-A]"] {
        assert!(text.parse::<Pattern>().is_err(), "{text}");
    }
    for text in ["[a-z]", "[A-Z]x", "[0-9a-f]", "\\[Z-a]", "[\\A-\\Z]"] {
        assert!(text.parse::<Pattern>().is_ok(), "{text}");
    }
    assert_eq!(Pattern::parse_list("a.b, c.d/*,,").unwrap(), [pattern("a.b"), pattern("c.d/*")]);
    assert!(Pattern::parse_list("a.b,[").is_err());
    assert_eq!(Pattern::parse_list("").unwrap(), []);
}

#[test]
fn only_a_pattern_without_globs_names_literally() {
    assert!(pattern("x.y/A").names_literally("x.y/a/b"));
    assert!(pattern("x.y/a").names_literally("x.y/A"));
    assert!(!pattern("x.y/a").names_literally("x.y"));
    for glob in ["x.y/*", "x.?/a", "x.y/[a]", "x.y/\\a"] {
        assert!(!pattern(glob).names_literally("x.y/a"), "{glob}");
    }
}

#[test]
fn the_literal_prefix_ends_before_the_first_glob() {
    for (text, want) in
        [("x.y/a/b", "x.y/a/b"), ("x.y/a/", "x.y/a"), ("x.y/a/b*/c", "x.y/a"), ("*.x/y", ""), ("x.[y]", ""), ("x.y/\\a", "x.y")]
    {
        assert_eq!(pattern(text).literal_prefix(), want, "{text}");
    }
}

#[test]
fn a_glob_that_takes_in_a_whole_host_is_found() {
    for text in ["github.com", "*", "github.*", "github.com/*", "git*.com/*", "GitHub.com/*/*", "*.com/*/?*", "github.com/[a-z0-9]*", "g*"]
    {
        assert!(pattern(text).covers_host("github.com"), "{text}");
    }
    for text in [
        "github.com/acme",
        "github.com/acme/*",
        "gitlab.com",
        "github.com/*/x*",
        "github.com/a*",
        "*.github.com",
        "github.com/*-private",
        "github.com/*/*/*",
    ] {
        assert!(!pattern(text).covers_host("github.com"), "{text}");
    }
    assert!(pattern("gopkg.in/*.v[0-9]").covers_host("gopkg.in"));
    assert!(!pattern("gopkg.in/yaml.v*").covers_host("gopkg.in"));
    assert!(pattern("k8s.io/*").covers_host("k8s.io"));
}

proptest! {
    #[test]
    fn case_never_matters(text in "[a-cA-C*?]{1,6}", path in "[a-cA-C]{1,6}") {
        let pattern = pattern(&text);
        prop_assert_eq!(pattern.matches(&path), pattern.matches(&path.to_ascii_uppercase()));
        prop_assert_eq!(pattern.matches(&path), self::pattern(&text.to_ascii_uppercase()).matches(&path));
    }

    #[test]
    fn what_matches_a_path_matches_all_below_it(text in "[a-b*?]{1,4}(/[a-b*?\\[\\]^-]{1,4}){0,2}", path in "[a-b]{1,3}(/[a-b]{1,3}){0,3}") {
        if let Ok(pattern) = text.parse::<Pattern>() && pattern.matches(&path) {
            let below = format!("{path}/x");
            prop_assert!(pattern.matches(&below));
        }
    }

    #[test]
    fn any_glob_is_judged_without_panic(glob in "[a-b*?\\[\\]^/\\\\é-]{0,10}", name in "[a-bé/]{0,8}") {
        let malformed = match_glob(&glob, &name).is_err();
        prop_assert_eq!(malformed, match_glob(&glob, "").is_err());
    }
}
