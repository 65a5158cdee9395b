//! Owners whose patterns meet: a path that two of them may publish belongs to whoever comes first.

use crate::config::Config;
use crate::module::Pattern;
use crate::module::pattern::match_glob;

/// Pairs that are told, at most.
const TOLD_MAX: usize = 20;
const GLOB_CHARS: [char; 4] = ['*', '?', '[', '\\'];

/// Every pair of patterns of two owners that some path may match.
pub(super) fn findings(config: &Config) -> Vec<String> {
    let patterns: Vec<_> =
        config.owners.iter().flat_map(|(name, owner)| owner.modules.iter().map(move |pattern| (name, pattern))).collect();
    let mut findings = Vec::new();
    for (i, (owner, pattern)) in patterns.iter().enumerate() {
        let meets = patterns[..i].iter().filter(|(other, earlier)| other != owner && meet(&earlier.value, &pattern.value));
        findings.extend(meets.map(|(other, earlier)| {
            format!(
                "{}: owners.{owner}.modules: \"{}\" and \"{}\" of owner {other} ({}) meet: a path of both is whoever's publishes it first",
                pattern.source, pattern.value, earlier.value, earlier.source
            )
        }));
        if findings.len() > TOLD_MAX {
            findings.truncate(TOLD_MAX);
            findings.push("more patterns of owners meet".to_owned());
            return findings;
        }
    }
    findings
}

/// Whether some path may match both: a pattern of N elements is held against a path's first N.
fn meet(one: &Pattern, other: &Pattern) -> bool {
    let elements = |pattern: &Pattern| pattern.as_str().trim_end_matches('/').to_ascii_lowercase();
    let (one, other) = (elements(one), elements(other));
    one.split('/').zip(other.split('/')).all(|(one, other)| match (one.contains(GLOB_CHARS), other.contains(GLOB_CHARS)) {
        (false, false) => one == other,
        (true, false) => match_glob(one, other) == Ok(true),
        (false, true) => match_glob(other, one) == Ok(true),
        // Two globs are taken to meet where what they begin with agrees.
        (true, true) => {
            let (one, other) = (literal_start(one), literal_start(other));
            one.starts_with(other) || other.starts_with(one)
        }
    })
}

fn literal_start(glob: &str) -> &str {
    &glob[..glob.find(GLOB_CHARS).unwrap_or(glob.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_meet_where_some_path_matches_both() {
        let meet = |one: &str, other: &str| meet(&one.parse().unwrap(), &other.parse().unwrap());
        for (one, other) in [
            ("corp.example.com", "corp.example.com/team"),
            ("corp.example.com/*", "corp.example.com/team"),
            ("corp.example.com/team-*", "Corp.example.com/team-a/lib"),
            ("*.example.com", "corp.example.com/x"),
            ("corp.example.com/team*", "corp.example.com/te[a-z]m"),
            ("corp.example.com/*/lib", "corp.example.com/team/*"),
        ] {
            assert!(meet(one, other) && meet(other, one), "{one} {other}");
        }
        for (one, other) in [
            ("corp.example.com/a", "corp.example.com/b"),
            ("corp.example.com/team-*", "corp.example.com/other-*"),
            ("corp.example.com/team-*", "corp.example.com/team"),
            ("*.example.com", "example.com"),
            ("corp.example.com/*/lib", "corp.example.com/team/tool"),
        ] {
            assert!(!meet(one, other) && !meet(other, one), "{one} {other}");
        }
    }

    #[test]
    fn each_pair_of_two_owners_is_told_with_its_lines() {
        let config = |text: &str| Config::from_toml(text).unwrap();
        let apart = config(
            "[owners.a]\nmodules = [\"corp.example.com/a\", \"corp.example.com/a/b\"]\n[owners.b]\nmodules = [\"corp.example.com/b\"]\n",
        );
        assert_eq!(findings(&apart), Vec::<String>::new(), "an owner's own may meet");
        let meeting = config("[owners.a]\nmodules = [\"corp.example.com/*\"]\n[owners.b]\nmodules = [\"corp.example.com/b\"]\n");
        let told = findings(&meeting);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains(":4: owners.b.modules") && told[0].contains("of owner a") && told[0].contains(":2) meet"), "{told:?}");
    }
}
