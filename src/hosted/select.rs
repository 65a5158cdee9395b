//! Which of a module's versions answers a question, and in what words. Pure.

use std::fmt::Write as _;

use time::OffsetDateTime;
use time::macros::format_description;

use crate::module::{ModulePath, Version, version};
use crate::store::VersionRecord;

/// What `go` shows of an error is cut at some 600 bytes: lists of versions stop before.
const TEXT_BYTES_MAX: usize = 560;

/// The longest of a path and of a query that is repeated in a text.
const NAME_BYTES_MAX: usize = 160;

/// `@v/list`: a line a version in semver order, without pseudo-versions. Retracted ones stay: the client filters.
pub(super) fn list(versions: &[VersionRecord]) -> String {
    let mut text = String::new();
    for record in versions.iter().filter(|record| !record.version.is_pseudo()) {
        text.push_str(record.version.as_str());
        text.push('\n');
    }
    text
}

/// `@latest`.
pub(super) fn latest(versions: &[VersionRecord]) -> Option<&VersionRecord> {
    record_of(versions, version::latest(versions.iter().map(|record| &record.version))?)
}

/// The newest pseudo-version of the commit that `query`, hex digits, names.
pub(super) fn by_revision<'a>(versions: &'a [VersionRecord], query: &str) -> Option<&'a VersionRecord> {
    record_of(versions, version::of_revision(versions.iter().map(|record| &record.version), query)?)
}

fn record_of<'a>(versions: &'a [VersionRecord], version: &Version) -> Option<&'a VersionRecord> {
    versions.iter().find(|record| record.version == *version)
}

/// `.info`: `Time` is a pseudo-version's own, else that of publishing.
pub(super) fn info(record: &VersionRecord) -> String {
    #[derive(serde::Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Info<'a> {
        version: &'a Version,
        time: String,
    }
    let info = Info { version: &record.version, time: time(record) };
    serde_json::to_string(&info).unwrap_or_default()
}

/// When a version was made, RFC 3339 in UTC, in seconds.
fn time(record: &VersionRecord) -> String {
    let published = || i64::try_from(record.published_unix).ok().and_then(|unix| OffsetDateTime::from_unix_timestamp(unix).ok());
    let when = record.version.commit_time().or_else(published).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    when.format(&format).unwrap_or_default()
}

/// The text of a 404 for what a hosted module does not have: one line that says what it has, highest first.
pub(super) fn no_such(path: &ModulePath, asked: &str, versions: &[VersionRecord]) -> String {
    let (path, asked) = (shown(path.as_str()), shown(asked));
    let mut text = format!("{path}@{asked}: no such version; hosted modules have versions, no branches; here: ");
    for (i, record) in versions.iter().rev().enumerate() {
        let separator = if i == 0 { "" } else { ", " };
        if text.len() + separator.len() + record.version.as_str().len() > TEXT_BYTES_MAX {
            let _ = write!(text, "{separator}{} more", versions.len() - i);
            break;
        }
        text.push_str(separator);
        text.push_str(record.version.as_str());
    }
    text.push('\n');
    text
}

/// A name as it may stand in a text for a terminal: printable, of bounded length.
pub(super) fn shown(name: &str) -> String {
    let mut text: String = name.chars().take(NAME_BYTES_MAX).map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect();
    if text.len() < name.len() {
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests;
