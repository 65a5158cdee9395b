//! Why a publish was refused, in the words that the publisher reads.

use std::fmt;

use super::UploadError;
use super::select::shown;
use crate::module::major::MismatchError;
use crate::module::zip::Problems;
use crate::module::{H1, ModulePath, OwnerName, Version};
use crate::store::{OverQuota, StoreError};

/// Why a publish was refused. `Display` is what the publisher may read, without a final newline; nothing was kept.
#[derive(Debug, thiserror::Error)]
pub enum PublishRefusal {
    /// 400: the body is a form, and a bad one.
    #[error("the multipart form cannot be read: {0}")]
    BadForm(String),
    /// 400: it is not a module zip.
    #[error("{}", with_hints(.0))]
    BadZip(Problems),
    /// 413: longer than `limits.upload`, declared or counted.
    #[error("the body is longer than {limit} bytes (limits.upload)")]
    TooLarge {
        /// `limits.upload`, bytes.
        limit: u64,
    },
    /// 413: the owner would hold more than `owners.NAME.max_bytes`.
    #[error("owner {owner} has no room for it: {over} (owners.{owner}.max_bytes)")]
    OverQuota {
        /// The owner.
        owner: OwnerName,
        /// The numbers.
        over: OverQuota,
    },
    /// 403: outside what this owner may publish.
    #[error("{0}")]
    Outside(Outside),
    /// 409: the version is there.
    #[error("{}", exists(id, *same, known))]
    VersionExists {
        /// What was published.
        id: Id,
        /// With the same content.
        same: bool,
        /// The hash of the zip that is there; set only if the publisher may read it.
        known: Option<H1>,
    },
    /// 409: the path is taken; by whom is not said.
    #[error("{} is not available to owner {owner}", shown(path.as_str()))]
    NotYours {
        /// The path.
        path: ModulePath,
        /// The owner that was published to.
        owner: OwnerName,
    },
    /// 409: the version was there before, and left with other content.
    #[error("{}", sealed(id, known))]
    SealedOther {
        /// What was published.
        id: Id,
        /// The hash of the zip that left; set only if the publisher may read it.
        known: Option<H1>,
    },
    /// 507.
    #[error("the disk is full")]
    Full,
    /// The body did not come whole.
    #[error(transparent)]
    Interrupted(#[from] UploadError),
    /// The store failed; the detail is for the log.
    #[error("the store failed")]
    Storage(#[source] StoreError),
}

/// A refused publish, with what was known of it by then.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct Unpublished {
    /// The module and version, once the zip was judged.
    pub of: Option<(ModulePath, Version)>,
    /// Why.
    #[source]
    pub why: PublishRefusal,
}

impl PublishRefusal {
    /// A word for it, for the audit trail. A closed set.
    pub fn word(&self) -> &'static str {
        match self {
            Self::BadForm(_) => "bad-form",
            Self::BadZip(_) => "bad-zip",
            Self::TooLarge { .. } => "too-large",
            Self::OverQuota { .. } => "over-quota",
            Self::Outside(Outside::NoOwner(_)) => "no-owner",
            Self::Outside(Outside::Modules { .. }) => "outside-modules",
            Self::Outside(Outside::Shadows { .. }) => "shadows",
            Self::Outside(Outside::NotPrivate { .. }) => "not-private",
            Self::VersionExists { same: true, .. } => "exists-same",
            Self::VersionExists { same: false, .. } => "exists-other",
            Self::NotYours { .. } => "not-yours",
            Self::SealedOther { .. } => "fetched-other",
            Self::Full => "disk-full",
            Self::Interrupted(_) => "interrupted",
            Self::Storage(_) => "storage",
        }
    }
}

impl From<PublishRefusal> for Unpublished {
    fn from(why: PublishRefusal) -> Self {
        Self { of: None, why }
    }
}

impl From<StoreError> for PublishRefusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => Self::Full,
            error => Self::Storage(error),
        }
    }
}

impl From<Outside> for PublishRefusal {
    fn from(outside: Outside) -> Self {
        Self::Outside(outside)
    }
}

/// A version of a module, with the hash of the zip that was sent for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Id {
    /// The module.
    pub path: ModulePath,
    /// The version.
    pub version: Version,
    /// The hash of what was sent.
    pub h1: H1,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", shown(self.path.as_str()), shown(self.version.as_str()))
    }
}

/// The problems, and what to do about those that publishers have most.
fn with_hints(problems: &Problems) -> String {
    let mut told = problems.to_string();
    if let Some(mismatch) = problems.major().filter(|mismatch| mismatch.lacks_suffix()) {
        let MismatchError { path, version, found, .. } = mismatch;
        let (path, version) = (shown(path), shown(version));
        told.push_str(&format!(
            "\nhint: from v2 on a module's path ends in its major version: write module {path}/{found} in go.mod, in its imports too, \
             and let every name in the zip begin with {path}/{found}@{version}/"
        ));
    }
    let folders: Vec<String> = problems.nested().iter().filter(|folder| is_plain(folder)).map(|folder| format!("':!{folder}'")).collect();
    if !folders.is_empty() {
        told.push_str(&format!(
            "\nhint: a folder with a go.mod is a module of its own, and is left out of this one's zip: with git archive by adding {}",
            folders.join(" ")
        ));
    }
    told
}

/// Whether it can be pasted into a shell between apostrophes, and means itself to git.
fn is_plain(folder: &str) -> bool {
    !folder.is_empty() && folder.bytes().all(|b| b.is_ascii_alphanumeric() || b"/.-_+".contains(&b))
}

fn exists(id: &Id, same: bool, known: &Option<H1>) -> String {
    match (same, known) {
        (true, Some(h1)) => format!("{id} exists with the same content: {h1}"),
        (true, None) => format!("{id} exists with the same content"),
        (false, Some(h1)) => format!("{id} exists with other content: {h1}, not {}", id.h1),
        (false, None) => format!("{id} exists with other content"),
    }
}

fn sealed(id: &Id, known: &Option<H1>) -> String {
    let hashes = known.map(|h1| format!(" ({h1}, not {})", id.h1)).unwrap_or_default();
    format!("{id} was fetched before it was deleted, with other content{hashes}: go.sum files name that; publish another version")
}

/// Why a path is outside what an owner may publish, and what would help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outside {
    /// The settings have no such owner.
    NoOwner(OwnerName),
    /// None of the owner's patterns matches.
    Modules {
        /// The path.
        path: ModulePath,
        /// The owner.
        owner: OwnerName,
    },
    /// It would shadow, and the owner's patterns do not name it.
    Shadows {
        /// The path.
        path: ModulePath,
        /// The owner.
        owner: OwnerName,
        /// What it would shadow.
        why: String,
    },
    /// The owner is not public, and nothing but the publish itself would keep the path private.
    NotPrivate {
        /// The path.
        path: ModulePath,
        /// The owner.
        owner: OwnerName,
        /// Why the publish claims no host.
        why: String,
    },
}

impl fmt::Display for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoOwner(owner) => {
                write!(f, "there is no owner {owner} in the settings: add [owners.{owner}] to the settings file, and reload it (SIGHUP)")
            }
            Self::Modules { path, owner } => write!(
                f,
                "{} is outside what owner {owner} may publish: no pattern of owners.{owner}.modules matches it",
                shown(path.as_str())
            ),
            Self::Shadows { path, owner, why } => write!(
                f,
                "{} {why}: an operator can allow it by naming this path, without a glob, in owners.{owner}.modules",
                shown(path.as_str())
            ),
            Self::NotPrivate { path, owner, why } => write!(
                f,
                "owner {owner} is not public, and no rule keeps {} private: {why}; an operator can add a pattern for it to private.patterns",
                shown(path.as_str())
            ),
        }
    }
}
