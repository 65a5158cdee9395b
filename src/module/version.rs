//! Versions: canonical semantic versions with a `v`, pseudo-versions, and their order.
//!
//! The specification is golang.org/x/mod/semver, and the versions and pseudo-versions of golang.org/x/mod/module.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::path::{self, escape, unescape};
use super::quote::quote;
use super::semver::{self, Parsed};

mod choice;
mod pseudo;

pub use choice::{latest, of_revision};
pub use pseudo::Pseudo;

/// A canonical module version: `vX.Y.Z`, `vX.Y.Z-pre`, each possibly with `+incompatible`. Cheap to clone.
///
/// The numbers have no bound. Ordered by semantic version; `+incompatible` breaks ties, so that `Eq` and `Ord` agree.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Version(Arc<str>);

/// Why a string is not a canonical version, in the words of the go tool.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("version {} invalid: {reason}", quote(.version))]
pub struct VersionError {
    /// What was given.
    pub version: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Version {
    /// The version as written in go.mod files.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The escaped form (`module.EscapeVersion`).
    pub fn escaped(&self) -> String {
        escape(&self.0)
    }

    /// Reads the escaped form (`module.UnescapeVersion`), of canonical versions only.
    pub fn unescape(escaped: &str) -> Result<Self, VersionError> {
        unescape_query(escaped)?.parse()
    }

    /// Whether this is `vX.Y.Z-…yyyymmddhhmmss-abcdefabcdef` (`module.IsPseudoVersion`).
    pub fn is_pseudo(&self) -> bool {
        self.pseudo().is_some()
    }

    /// The parts of a pseudo-version; `None` if it is none.
    pub fn pseudo(&self) -> Option<Pseudo<'_>> {
        Pseudo::of(&self.0)
    }

    /// Whether it ends in `+incompatible`.
    pub fn is_incompatible(&self) -> bool {
        self.0.ends_with("+incompatible")
    }

    /// Whether it has a pre-release part; pseudo-versions do.
    pub fn is_prerelease(&self) -> bool {
        !self.parsed().pre().is_empty()
    }

    /// `v` and the major number, as in `v2`.
    pub fn major(&self) -> &str {
        self.0.split('.').next().unwrap_or_default()
    }

    pub(super) fn parsed(&self) -> Parsed<'_> {
        Parsed::parse(&self.0).expect("checked when made")
    }
}

/// Undoes [`escape_query`] (`module.UnescapeVersion`): a version, a branch, a hash. What comes out is a valid file name.
pub fn unescape_query(escaped: &str) -> Result<String, VersionError> {
    let fail = |version: &str, reason: String| VersionError { version: version.to_owned(), reason };
    let query = unescape(escaped).ok_or_else(|| fail(escaped, "invalid escaped version".to_owned()))?;
    match path::check_element(&query, path::Kind::File) {
        Ok(()) => Ok(query),
        Err(reason) => Err(fail(&query, reason)),
    }
}

/// Escapes what stands for a version in a URL (`module.EscapeVersion`): a version, a branch without `/`, a hash.
pub fn escape_query(query: &str) -> Result<String, VersionError> {
    if !query.is_ascii() || query.contains('!') || path::check_element(query, path::Kind::File).is_err() {
        return Err(VersionError { version: query.to_owned(), reason: "disallowed version string".to_owned() });
    }
    Ok(escape(query))
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(version: &str) -> Result<Self, VersionError> {
        let canonical = semver::canonical_version(version);
        let reason = if canonical.is_empty() {
            "not a semantic version".to_owned()
        } else if canonical != version {
            format!("not canonical (should be {})", quote(canonical))
        } else {
            return Ok(Self(version.into()));
        };
        Err(VersionError { version: version.to_owned(), reason })
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parsed().compare(&other.parsed()).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl serde::Serialize for Version {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Version {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
