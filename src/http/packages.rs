//! The registry's API as JSON: the shapes that its existing clients read.

use http::HeaderName;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Reply;
use super::paste::Reached;
use super::response::{self, Note};
use crate::hosted::{Listing, Sums};
use crate::protocol::media;
use crate::store::{VersionRecord, hex};

/// A version.
#[derive(Serialize)]
struct Package<'a> {
    /// Its revision: of all versions that ever were, this one alone has it.
    id: u64,
    owner: Login<'a>,
    creator: Login<'a>,
    /// No repository is known here.
    repository: (),
    r#type: &'static str,
    name: &'a str,
    version: &'a str,
    html_url: String,
    created_at: Option<String>,
}

#[derive(Serialize)]
struct Login<'a> {
    login: &'a str,
}

/// A version's zip. Hashes are null where they may not be told.
#[derive(Serialize)]
struct File {
    /// That of its version, which has no other file.
    id: u64,
    size: u64,
    name: String,
    md5: Option<String>,
    sha1: Option<String>,
    sha256: Option<String>,
    sha512: Option<String>,
}

/// A page of an owner's versions.
pub(super) fn listing(listing: &Listing, reached: &Reached) -> Reply<Note> {
    let packages: Vec<Package<'_>> = listing.versions.iter().map(|record| package(record, reached)).collect();
    let mut reply = json(&packages);
    response::put(&mut reply, HeaderName::from_static("x-total-count"), &listing.total.to_string());
    reply
}

/// A version.
pub(super) fn version(record: &VersionRecord, reached: &Reached) -> Reply<Note> {
    json(&package(record, reached))
}

/// A version's files.
pub(super) fn files(record: &VersionRecord, sums: Option<&Sums>) -> Reply<Note> {
    let file = File {
        id: record.rev.0,
        size: record.zip.len,
        name: format!("{}.zip", record.version),
        md5: sums.map(|sums| hex(&sums.md5)),
        sha1: sums.map(|sums| hex(&sums.sha1)),
        sha256: sums.map(|sums| hex(&sums.sha256)),
        sha512: sums.map(|sums| hex(&sums.sha512)),
    };
    json(&[file])
}

fn package<'a>(record: &'a VersionRecord, reached: &Reached) -> Package<'a> {
    let created = i64::try_from(record.published_unix).ok().and_then(|unix| OffsetDateTime::from_unix_timestamp(unix).ok());
    Package {
        id: record.rev.0,
        owner: Login { login: record.owner.as_str() },
        // Users by their name; tokens go on as they stand in logs, which no user's name looks like.
        creator: Login { login: record.by.strip_prefix("user:").unwrap_or(&record.by) },
        repository: (),
        r#type: "go",
        name: record.path.as_str(),
        version: record.version.as_str(),
        html_url: format!("{}/{}@{}", reached.preferred(), record.path, record.version),
        created_at: created.and_then(|created| created.format(&Rfc3339).ok()),
    }
}

fn json(value: &impl Serialize) -> Reply<Note> {
    match serde_json::to_string(value) {
        Ok(text) => response::headed(200, media::JSON, (text + "\n").into()),
        Err(error) => response::text(500, format!("{error}\n")),
    }
}
