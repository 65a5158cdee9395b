//! Who vouches for what comes from upstream.

use super::*;

#[test]
fn what_comes_from_upstream_is_verified_unless_that_is_turned_off() {
    let upstream = Config::from_toml("").unwrap().upstream;
    assert_eq!((upstream.verify.value, upstream.verify.source.clone(), upstream.is_believed()), (Verify::Require, Source::Default, false));
    let upstream = file("[upstream]\nverify = \"off\"").unwrap().config.upstream;
    assert!(upstream.is_believed());
    assert_eq!(upstream.verify.source.to_string(), "/etc/x/modgate.toml:2");
    let told = one_problem("[upstream]\nverify = \"on\"");
    assert!(told.starts_with("2: upstream.verify: expected") && told.contains("require"), "{told}");
}

#[test]
fn nobody_vouches_where_there_is_no_database_or_nobody_has_its_key_and_the_problem_says_what_to_do() {
    for (sumdb, words) in [("off", "name one in upstream.sumdb"), ("sum.example.org", "NAME+HASH+KEY")] {
        let told = one_problem(&format!("[upstream]\nsumdb = \"{sumdb}\""));
        assert!(told.starts_with("2: upstream.sumdb: expected a checksum database that vouches for what comes from upstream"), "{told}");
        assert!(told.contains(words) && told.contains("upstream.verify = \"off\""), "{told}");
        // Said, or with nothing to vouch for.
        assert_eq!(problems(&format!("[upstream]\nsumdb = \"{sumdb}\"\nverify = \"off\"")), Vec::<String>::new());
        assert_eq!(problems(&format!("[upstream]\nsumdb = \"{sumdb}\"\ngoproxy = \"off\"")), Vec::<String>::new());
    }
}

#[test]
fn modules_that_no_database_knows_are_named_by_patterns_which_know_their_lines() {
    let upstream = file("[upstream]\nunverified = [\n  \"git.example.org/*\",\n  \"x.example.org\",\n]").unwrap().config.upstream;
    let of = |path: &str| upstream.unverified(&path.parse().unwrap()).map(|pattern| pattern.source.to_string());
    assert_eq!(of("git.example.org/a/b").as_deref(), Some("/etc/x/modgate.toml:3"));
    assert_eq!(of("x.example.org/y").as_deref(), Some("/etc/x/modgate.toml:4"));
    assert_eq!(of("example.org/x"), None);
    let loaded = file("[upstream]\nverify = \"off\"\nunverified = [\"x.example.org\"]").unwrap();
    assert!(loaded.warnings.iter().any(|warning| warning.contains("upstream.unverified")), "{:?}", loaded.warnings);
}
