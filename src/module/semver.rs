//! Semantic versions as golang.org/x/mod/semver has them: with a `v`, minor and patch may lack, numbers of any size.
//!
//! The pre-release part is the `semver` crate's; the numbers are ours, since Go sets no limit to them.

use std::cmp::Ordering;

use semver::Prerelease;

/// A semantic version, taken apart. `v1` and `v1.2` are short for `v1.0.0` and `v1.2.0`.
#[derive(Debug, Clone)]
pub(super) struct Parsed<'a> {
    /// All of it.
    pub(super) text: &'a str,
    /// Digits without leading zeros.
    pub(super) major: &'a str,
    /// Digits without leading zeros.
    pub(super) minor: &'a str,
    /// Digits without leading zeros.
    pub(super) patch: &'a str,
    /// What lacks to three numbers: empty, `.0` or `.0.0`.
    short: &'static str,
    /// Without its `-`.
    pre: Prerelease,
    /// With its `+`, or empty.
    pub(super) build: &'a str,
}

impl<'a> Parsed<'a> {
    /// Takes a version apart; `None` where `semver.IsValid` says no.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (major, rest) = number(text.strip_prefix('v')?)?;
        let short = |minor, short| Self { text, major, minor, patch: "0", short, pre: Prerelease::EMPTY, build: "" };
        if rest.is_empty() {
            return Some(short("0", ".0.0"));
        }
        let (minor, rest) = number(rest.strip_prefix('.')?)?;
        if rest.is_empty() {
            return Some(short(minor, ".0"));
        }
        let (patch, rest) = number(rest.strip_prefix('.')?)?;
        let (pre, build) = rest.split_at(rest.find('+').unwrap_or(rest.len()));
        let pre = match pre.strip_prefix('-') {
            Some(pre) if !pre.is_empty() => Prerelease::new(pre).ok()?,
            None if pre.is_empty() => Prerelease::EMPTY,
            _ => return None,
        };
        let identifier = |id: &str| !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !build.is_empty() && !build[1..].split('.').all(identifier) {
            return None;
        }
        Some(Self { text, major, minor, patch, short: "", pre, build })
    }

    /// `v` and the major number (`semver.Major`).
    pub(super) fn major_text(&self) -> &'a str {
        &self.text[..1 + self.major.len()]
    }

    /// The pre-release part without its `-`; empty if there is none.
    pub(super) fn pre(&self) -> &str {
        self.pre.as_str()
    }

    /// All but the build part (`semver.Canonical`).
    fn canonical(&self) -> String {
        [&self.text[..self.text.len() - self.build.len()], self.short].concat()
    }

    /// Order by precedence; build parts do not count (`semver.Compare`).
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        compare_number(self.major, other.major)
            .then_with(|| compare_number(self.minor, other.minor))
            .then_with(|| compare_number(self.patch, other.patch))
            .then_with(|| self.pre.cmp(&other.pre))
    }
}

fn number(text: &str) -> Option<(&str, &str)> {
    let (digits, rest) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
    (!digits.is_empty() && (digits == "0" || !digits.starts_with('0'))).then_some((digits, rest))
}

fn compare_number(a: &str, b: &str) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// Orders any two texts as `semver.Compare` does: what is no version is below all that is, and equal to its like.
pub fn compare(a: &str, b: &str) -> Ordering {
    match (Parsed::parse(a), Parsed::parse(b)) {
        (Some(a), Some(b)) => a.compare(&b),
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}

/// Whether the text is a semantic version in Go's sense (`semver.IsValid`): `v1` and `v1.2.3+meta` too.
pub fn is_valid(text: &str) -> bool {
    Parsed::parse(text).is_some()
}

/// The canonical form (`module.CanonicalVersion`): three numbers, no build part but `+incompatible`; empty if it is no version.
pub fn canonical_version(text: &str) -> String {
    match Parsed::parse(text) {
        Some(parsed) if parsed.build == "+incompatible" => parsed.canonical() + parsed.build,
        Some(parsed) => parsed.canonical(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_example_order_of_semver_org_holds() {
        let order = ["bad", "v1.0.0-alpha", "v1.0.0-alpha.1", "v1.0.0-alpha.beta", "v1.0.0-beta", "v1.0.0-beta.2", "v1.0.0-beta.11"];
        let more = ["v1.0.0-rc.1", "v1", "v1.0.1-99999999999999999999998", "v1.0.1-99999999999999999999999", "v1.0.1-a", "v1.2", "v2.0.0"];
        let all: Vec<_> = order.into_iter().chain(more).chain(["v18446744073709551615.0.0", "v18446744073709551616.0.0"]).collect();
        for (i, a) in all.iter().enumerate() {
            for (j, b) in all.iter().enumerate() {
                assert_eq!(compare(a, b), i.cmp(&j), "{a} {b}");
            }
        }
    }

    #[test]
    fn canonical_forms() {
        for (given, want) in [
            ("v1", "v1.0.0"),
            ("v1.2", "v1.2.0"),
            ("v1.2.3", "v1.2.3"),
            ("v1.2.3-pre+meta", "v1.2.3-pre"),
            ("v2.0.0+incompatible", "v2.0.0+incompatible"),
            ("v2.0.0+incompatible.1", "v2.0.0"),
            ("v1-pre", ""),
            ("v1.2-pre", ""),
            ("v1.2+incompatible", ""),
            ("v01.0.0", ""),
            ("v1.0.0-01", ""),
            ("v1.0.0-", ""),
            ("v1.0.0+", ""),
            ("v1.0.0+a..b", ""),
            ("1.0.0", ""),
            ("", ""),
        ] {
            assert_eq!(canonical_version(given), want, "{given}");
        }
    }

    fn version() -> impl Strategy<Value = String> {
        "v(0|[1-9][0-9]{0,21})\\.(0|[1-9][0-9]{0,2})\\.(0|[1-9])(-(0|[1-9][0-9]{0,3}|[a-c-]{1,2}|[0-9][a-b]?)(\\.(0|[1-3]|a)){0,2})?(\\+m)?"
    }

    proptest! {
        #[test]
        fn the_order_is_total(a in version(), b in version(), c in version()) {
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
            if compare(&a, &b).is_le() && compare(&b, &c).is_le() {
                prop_assert!(compare(&a, &c).is_le());
            }
        }

        #[test]
        fn canonical_is_idempotent_and_equal(a in version()) {
            let canonical = canonical_version(&a);
            prop_assert_eq!(&canonical_version(&canonical), &canonical);
            if !canonical.is_empty() {
                prop_assert_eq!(compare(&a, &canonical), Ordering::Equal);
            }
        }

        #[test]
        fn any_text_is_judged_without_panic(a in "[v0-9.a+-]{0,12}|\\PC{0,8}") {
            prop_assert_eq!(is_valid(&a), !canonical_version(&a).is_empty());
        }
    }
}
