use proptest::prelude::*;

use super::*;
use crate::module::major::{check, check_text};

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

#[test]
fn only_canonical_versions_are_taken() {
    for text in ["v1.2.3", "v0.0.0-20200101000000-abcdefabcdef", "v2.0.0+incompatible", "v99999999999999999999999.0.0", "v1.0.0-a-b.C.0"] {
        assert_eq!(version(text).as_str(), text);
    }
    for (text, want) in [
        ("v1", r#"version "v1" invalid: not canonical (should be "v1.0.0")"#),
        ("v1.2.3+meta", r#"version "v1.2.3+meta" invalid: not canonical (should be "v1.2.3")"#),
        ("1.2.3", r#"version "1.2.3" invalid: not a semantic version"#),
        ("main", r#"version "main" invalid: not a semantic version"#),
    ] {
        assert_eq!(text.parse::<Version>().unwrap_err().to_string(), want);
    }
}

#[test]
fn order_is_semantic_and_ties_are_broken() {
    let mut list: Vec<_> =
        ["v2.0.0+incompatible", "v1.10.0", "v1.9.0", "v1.9.0-rc.2", "v1.9.0-rc.10", "v2.0.0"].into_iter().map(version).collect();
    list.sort();
    assert_eq!(
        list.iter().map(Version::as_str).collect::<Vec<_>>(),
        ["v1.9.0-rc.2", "v1.9.0-rc.10", "v1.9.0", "v1.10.0", "v2.0.0", "v2.0.0+incompatible"]
    );
}

#[test]
fn pseudo_versions_are_told_from_others() {
    for text in [
        "v0.0.0-20200102030405-abcdefabcdef",
        "v1.2.3-0.20200102030405-abc",
        "v1.2.3-pre.0.20200102030405-ABC9",
        "v2.2.3-0.20200102030405-abc+incompatible",
        "v1.2.0-a-b.0.20200102030405-abc",
    ] {
        let v = version(text);
        let pseudo = v.pseudo().unwrap_or_else(|| panic!("{text}"));
        assert_eq!(pseudo.time().unwrap(), time::macros::datetime!(2020-01-02 03:04:05 UTC), "{text}");
        assert!(pseudo.rev().to_lowercase().starts_with("abc"));
        assert!(v.is_prerelease());
    }
    for text in [
        "v1.2.3-20200102030405-abc",
        "v0.0.0-2020010203040-abc",
        "v0.0.0-20200102030405",
        "v0.0.0-20200102030405-a.b",
        "v1.2.3-1.20200102030405-abc",
        "v1.2.3-x0.20200102030405-abc",
        "v0.0.0-x-0.20200102030405-abc",
    ] {
        assert!(!version(text).is_pseudo(), "{text}");
    }
    assert!(version("v0.0.0-20201302030405-abc").pseudo().unwrap().time().is_err());
    assert!(version("v0.0.0-20200230030405-abc").pseudo().unwrap().time().is_err());
    assert!(version("v0.0.0-20200228030460-abc").pseudo().unwrap().time().is_err());
}

#[test]
fn a_pseudo_version_tells_what_came_before_it() {
    for (text, want) in [
        ("v4.0.0-20200102030405-abc", Ok(None)),
        ("v1.2.3-0.20200102030405-abc", Ok(Some("v1.2.2"))),
        ("v1.2.1000-0.20200102030405-abc", Ok(Some("v1.2.999"))),
        ("v2.2.10-0.20200102030405-abc+incompatible", Ok(Some("v2.2.9+incompatible"))),
        ("v1.2.3-pre.0.0.20200102030405-abc", Ok(Some("v1.2.3-pre.0"))),
        ("v1.2.3-0.0.20200102030405-abc", Ok(Some("v1.2.3-0"))),
        ("v1.2.0-0.20200102030405-abc", Err("version before v1.2.0 would have negative patch number")),
        ("v2.0.0-20200102030405-abc+incompatible", Err("lacks base version, but has build metadata \"+incompatible\"")),
    ] {
        let version = version(text);
        let base = version.pseudo().unwrap().base().map_err(|e| e.reason);
        let want = want.map(|b| b.map(|b: &str| b.parse::<Version>().unwrap())).map_err(str::to_owned);
        assert_eq!(base, want, "{text}");
    }
}

#[test]
fn versions_must_fit_the_path() {
    for (path, version, want) in [
        ("x.y/a", "v1.0.0", ""),
        ("x.y/a", "v0.1.0", ""),
        ("x.y/a", "v2.0.0+incompatible", ""),
        ("x.y/a/v2", "v2.1.0", ""),
        ("gopkg.in/a.v2", "v2.1.0", ""),
        ("gopkg.in/a.v2-unstable", "v2.1.0", ""),
        ("gopkg.in/a.v1", "v0.0.0-20200102030405-abc", ""),
        ("x.y/a", "v2.0.0", "x.y/a@v2.0.0: invalid version: should be v0 or v1, not v2"),
        ("x.y/a/v2", "v1.0.0", "x.y/a/v2@v1.0.0: invalid version: should be v2, not v1"),
        ("gopkg.in/a.v3-unstable", "v2.1.0", "gopkg.in/a.v3-unstable@v2.1.0: invalid version: should be v3, not v2"),
    ] {
        assert_eq!(check_text(path, version).err().unwrap_or_default(), want);
        let checked = check(&path.parse().unwrap(), &version.parse().unwrap());
        assert_eq!(checked.map_err(|e| e.to_string()).err().unwrap_or_default(), want);
    }
}

#[test]
fn queries_are_escaped_like_versions() {
    assert_eq!(escape_query("Main").unwrap(), "!main");
    assert_eq!(unescape_query("!main").unwrap(), "Main");
    for bad in ["Main", "a/b", "..", "", "a!", "nul", "é", "a:b", "!!a"] {
        assert!(unescape_query(bad).is_err(), "{bad}");
    }
    for bad in ["a/b", "", ".", "a!b", "con", "é"] {
        assert!(escape_query(bad).is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn escaping_there_and_back(text in "v[0-9]\\.0\\.0-[A-Za-z0-9-]{1,8}(\\+incompatible)?") {
        if let Ok(version) = text.parse::<Version>() {
            prop_assert_eq!(Version::unescape(&version.escaped()), Ok(version));
        }
    }

    #[test]
    fn order_agrees_with_equality(a in "v[01]\\.[01]\\.0(-[a0]{1,2})?(\\+incompatible)?", b in "v[01]\\.[01]\\.0(-[a0]{1,2})?(\\+incompatible)?") {
        if let (Ok(a), Ok(b)) = (a.parse::<Version>(), b.parse::<Version>()) {
            prop_assert_eq!(a == b, a.cmp(&b).is_eq());
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
        }
    }

    #[test]
    fn a_base_is_below_its_pseudo_version(patch in 1u64..2000, pre in "(-[a-z]{1,3})?", build in "(\\+incompatible)?") {
        let text = if pre.is_empty() {
            format!("v1.2.{patch}-0.20200102030405-abcdefabcdef{build}")
        } else {
            format!("v1.2.{patch}{pre}.0.20200102030405-abcdefabcdef{build}")
        };
        let pseudo = version(&text);
        let base = pseudo.pseudo().unwrap().base().unwrap().unwrap();
        prop_assert!(base < pseudo);
        prop_assert_eq!(base.is_incompatible(), pseudo.is_incompatible());
    }
}
