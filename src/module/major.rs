//! Major versions: the suffix of a module path, and which versions fit it.
//!
//! The specification is `SplitPathVersion`, `CheckPathMajor` and `Check` of golang.org/x/mod/module.

use super::path::ModulePath;
use super::quote::quote;
use super::semver::Parsed;
use super::version::Version;

/// Splits a path into what stands before its major suffix, and the suffix (`module.SplitPathVersion`).
///
/// The suffix is empty or `/vN` with N of 2 or more; under `gopkg.in/` it is `.vN` or `.vN-unstable` with any N, and must be
/// there. `None` where the last element looks like a version that no path may end in: `/v1`, `/v01`, `/v1.2`.
pub fn split_path_version(path: &str) -> Option<(&str, &str)> {
    if path.starts_with("gopkg.in/") {
        return split_gopkg_in(path);
    }
    let rest = path.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    let digits = &path[rest.len()..];
    let Some(prefix) = rest.strip_suffix("/v").filter(|_| !digits.is_empty()) else {
        return Some((path, ""));
    };
    if digits.contains('.') || digits.starts_with('0') || digits == "1" {
        return None;
    }
    Some((prefix, &path[prefix.len()..]))
}

fn split_gopkg_in(path: &str) -> Option<(&str, &str)> {
    let stable = path.strip_suffix("-unstable").unwrap_or(path);
    let prefix = stable.trim_end_matches(|c: char| c.is_ascii_digit()).strip_suffix(".v")?;
    let major = &path[prefix.len()..];
    // So it is in x/mod: `.v0` may have a zero, `.v0-unstable` may not, and `.v-unstable` lacks its number unnoticed.
    if major == ".v" || major.starts_with(".v0") && major != ".v0" {
        return None;
    }
    Some((prefix, major))
}

/// The version does not fit the path's major suffix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}@{version}: invalid version: should be {expected}, not {found}")]
pub struct MismatchError {
    /// The module path.
    pub path: String,
    /// The version.
    pub version: String,
    /// What the path asks for: `v2`, `v0 or v1`.
    pub expected: String,
    /// The major version that was given.
    pub found: String,
}

impl MismatchError {
    /// Whether the path would fit if it ended in `/` and the major version.
    pub fn lacks_suffix(&self) -> bool {
        split_path_version(&self.path).is_some_and(|(_, major)| major.is_empty())
    }
}

/// Whether the version may belong to a path with this major suffix (`module.CheckPathMajor`); the error is what it should be.
/// Without a suffix: v0, v1, or anything `+incompatible`.
pub(super) fn check_path_major(version: &Parsed<'_>, path_major: &str) -> Result<(), String> {
    let path_major = match path_major.strip_suffix("-unstable") {
        Some(stable) if stable.starts_with(".v") => stable,
        _ => path_major,
    };
    // An old bug of go's pseudo-versions made v0.0.0- for gopkg.in's .v1; such are in use.
    if path_major == ".v1" && version.text.starts_with("v0.0.0-") {
        return Ok(());
    }
    match path_major.get(1..) {
        Some(major) if version.major_text() == major => Ok(()),
        Some(major) => Err(major.to_owned()),
        None if matches!(version.major, "0" | "1") || version.build == "+incompatible" => Ok(()),
        None => Err("v0 or v1".to_owned()),
    }
}

/// Whether the version may belong to the path (`module.Check`, for what is valid by itself already).
pub fn check(path: &ModulePath, version: &Version) -> Result<(), MismatchError> {
    let parsed = version.parsed();
    check_path_major(&parsed, path.split_major().1).map_err(|expected| MismatchError {
        path: path.as_str().to_owned(),
        version: version.as_str().to_owned(),
        expected,
        found: parsed.major_text().to_owned(),
    })
}

/// `module.Check` over text: path, version and whether they fit, the error in x/mod's words. The version need not be canonical.
pub fn check_text(path: &str, version: &str) -> Result<(), String> {
    let path: ModulePath = path.parse().map_err(|e: super::PathError| e.to_string())?;
    let Some(parsed) = Parsed::parse(version) else {
        return Err(format!("{path}@{version}: invalid version: not a semantic version"));
    };
    check_path_major(&parsed, path.split_major().1)
        .map_err(|expected| format!("{path}@{version}: invalid version: should be {expected}, not {}", parsed.major_text()))
}

/// Says what is not canonical about a version: `version "v1" is not canonical (should be "v1.0.0")`.
pub(super) fn not_canonical(version: &str) -> String {
    let canonical = super::semver::canonical_version(version);
    if canonical.is_empty() {
        return format!("version {} is no semantic version, like \"v1.2.3\"", quote(version));
    }
    format!("version {} is not canonical (should be {})", quote(version), quote(canonical))
}
