//! GOPRIVATE globs: `module.MatchPrefixPatterns` over `path.Match`, without regard to case.

use std::fmt;
use std::str::FromStr;

mod glob;

pub use glob::{Malformed, match_glob};

/// One GOPRIVATE pattern: globs by path element (`path.Match`), matching a prefix of a module path.
///
/// `*` is any text without `/`, `?` any one character but `/`, `[a-z]` and `[^a-z]` a class, `\` takes the next character as it
/// is. A pattern of N elements is held against the first N elements of a path; a trailing `/` does not count.
/// Compared without regard to case on both sides: hosts that ignore case would leak the twin.
#[derive(Clone)]
pub struct Pattern {
    text: String,
    /// Lower case, without a trailing slash: what is matched.
    glob: String,
}

/// The text is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed pattern {pattern:?}: {reason}")]
pub struct PatternError {
    /// What was given.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: String,
}

const GLOB_CHARS: [char; 4] = ['*', '?', '[', '\\'];

impl Pattern {
    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Reads a comma-separated list, as GOPRIVATE has it. Empty ones are skipped, white space around a pattern does not count;
    /// a malformed one is an error (the go command skips it, which would let out what it was meant to keep).
    pub fn parse_list(list: &str) -> Result<Vec<Self>, PatternError> {
        list.split(',').map(str::trim).filter(|p| !p.is_empty()).map(str::parse).collect()
    }

    /// Whether it matches `path` or a prefix of it that ends before a `/`.
    pub fn matches(&self, path: &str) -> bool {
        matches_prefix(&self.glob, &path.to_ascii_lowercase())
    }

    /// Whether it has no glob characters and names this path or one above it.
    pub fn names_literally(&self, path: &str) -> bool {
        !self.glob.contains(GLOB_CHARS) && self.matches(path)
    }

    /// The leading elements that hold no glob character, joined by `/`; empty if the first one has one.
    pub fn literal_prefix(&self) -> &str {
        let text = self.text.strip_suffix('/').unwrap_or(&self.text);
        match text.find(GLOB_CHARS) {
            None => text,
            Some(first) => &text[..text[..first].rfind('/').unwrap_or(0)],
        }
    }

    /// Whether it takes in a whole host, so that nobody's modules there would be public: whatever the names are, it matches
    /// `host/name/name`, or all of `host/name` (on gopkg.in with `.v1` behind them).
    ///
    /// Judged by a handful of unlike names, so `github.com/[a-z0-9]*` counts as taking in the whole host too.
    pub fn covers_host(&self, host: &str) -> bool {
        const NAMES: [&str; 8] = ["abc", "kubernetes", "0x7", "mod-99", "x.y", "zed_z", "go", "9gag~"];
        let suffix = if host.eq_ignore_ascii_case("gopkg.in") { ".v1" } else { "" };
        let of_two = |a: &str| self.matches(&format!("{host}/{a}{suffix}"));
        let of_three = |a: &str| NAMES.iter().all(|b| self.matches(&format!("{host}/{a}/{b}{suffix}")));
        NAMES.iter().all(|a| of_two(a)) || NAMES.iter().all(|a| of_three(a))
    }
}

/// `module.MatchPrefixPatterns` of one glob without trailing slash, both sides as they are.
fn matches_prefix(glob: &str, target: &str) -> bool {
    let slashes = glob.matches('/').count();
    let mut ends = target.match_indices('/').map(|(i, _)| i).chain([target.len()]);
    ends.nth(slashes).is_some_and(|end| match_glob(glob, &target[..end]) == Ok(true))
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let fail = |reason: &str| Err(PatternError { pattern: text.to_owned(), reason: reason.to_owned() });
        let glob = text.strip_suffix('/').unwrap_or(text);
        if glob.is_empty() {
            return fail("it is empty");
        }
        if text.contains(',') {
            return fail("one pattern has no comma; give several as a list");
        }
        if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return fail("white space");
        }
        if glob.split('/').any(str::is_empty) {
            return fail("an empty path element matches nothing");
        }
        if match_glob(glob, "").is_err() {
            return fail("syntax error in pattern");
        }
        if glob::has_mixed_case_range(glob) {
            return fail("a range from an upper-case letter to something else; case does not count here, write it in lower case");
        }
        Ok(Self { text: text.to_owned(), glob: glob.to_ascii_lowercase() })
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl std::hash::Hash for Pattern {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

#[cfg(test)]
mod tests;
