//! What stands under `records/`: engine-free JSON, versioned, to be read by later programs.
//!
//! A hosted version is a file of its own, [`StoredVersion`]; everything else that happens is an [`Entry`] in
//! `changes.journal`, where one line holds what became durable at once. Unknown fields are ignored: a program that
//! writes something that must not be ignored raises `format`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::module::{H1, ModulePath, OwnerName, Version};
use crate::store::{Claim, Rev, TokenRecord, VersionRecord};

/// The format of records and journal lines that this program writes; it reads none above.
///
/// 1: the first. 2: [`Change::Move`] may stand in the journal, and the owner in a record is the one that it was published under.
pub(super) const RECORD_FORMAT: u32 = 2;

/// One hosted version, as its file holds it and, with `moved`, the index.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct StoredVersion {
    pub(super) format: u32,
    #[serde(flatten)]
    pub(super) record: VersionRecord,
    /// The host that this publish claimed: in here, so that one rename commits both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) claimed: Option<String>,
    /// Set in the index alone, where the path was given to another owner since: `record.owner` is that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) moved: Option<MovedFrom>,
}

/// How a version came to be another's.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct MovedFrom {
    /// When that last happened.
    pub(super) rev: Rev,
    /// Whom it was published under, which its file says for ever.
    pub(super) owner: OwnerName,
}

impl StoredVersion {
    /// The claim that it made. It is of the owner that it was published under.
    pub(super) fn claim(&self) -> Option<HeldClaim> {
        let VersionRecord { rev, path, by, published_unix, .. } = &self.record;
        let owner = self.published_under().clone();
        let claim = Claim { path: path.clone(), owner, by: by.clone(), since_unix: *published_unix };
        self.claimed.clone().map(|host| HeldClaim { rev: *rev, host, claim })
    }

    /// The owner that it was published under.
    fn published_under(&self) -> &OwnerName {
        self.moved.as_ref().map_or(&self.record.owner, |moved| &moved.owner)
    }

    /// The same as another owner's from `rev` on.
    pub(super) fn moved_to(mut self, to: &OwnerName, rev: Rev) -> Self {
        self.moved = Some(MovedFrom { rev, owner: self.published_under().clone() });
        self.record.owner = to.clone();
        self
    }

    /// What its file holds.
    pub(super) fn filed(&self) -> Self {
        let mut filed = self.clone();
        filed.record.owner = self.published_under().clone();
        filed.moved = None;
        filed
    }

    /// When it last became what it is.
    pub(super) fn since(&self) -> Rev {
        self.moved.as_ref().map_or(self.record.rev, |moved| moved.rev)
    }
}

/// A claim and when it was made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct HeldClaim {
    pub(super) rev: Rev,
    /// Lower case.
    pub(super) host: String,
    #[serde(flatten)]
    pub(super) claim: Claim,
}

/// One change in the journal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) rev: Rev,
    /// Seconds since 1970; for people, not for order.
    pub(super) unix: u64,
    /// Who, as it stands in logs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) by: String,
    #[serde(flatten)]
    pub(super) change: Change,
}

/// What changed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub(super) enum Change {
    /// A version is gone. Its record's file goes later, and with it the claim that it made: so the claim moves here.
    Delete {
        owner: OwnerName,
        path: ModulePath,
        version: Version,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        claim: Option<HeldClaim>,
    },
    /// A version was shown to somebody.
    Seal {
        path: ModulePath,
        version: Version,
        h1: H1,
        go_mod_h1: H1,
        /// Whose version it was; older lines do not tell.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owner: Option<OwnerName>,
    },
    /// A path, all its versions and its tombstone are another owner's; so are the seals that were `from`'s.
    Move { path: ModulePath, from: OwnerName, to: OwnerName },
    /// A tombstone is gone.
    ReleasePath { path: ModulePath },
    /// A claim is gone, and not made again.
    ReleaseHost { host: String },
    /// An operator made a host public.
    MakePublic { host: String },
    /// That is undone.
    UnmakePublic { host: String },
    /// A token is valid.
    PutToken { token: TokenRecord },
    /// A token is not valid any more.
    RevokeToken { id: String },
}

/// Anything that happens to the store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Event {
    /// The record file with this content stands; a new revision's or, at start, a found one's.
    Publish(Box<StoredVersion>),
    /// A journal entry.
    Change(Box<Entry>),
    /// At start: a claim whose record is deleted by now, at the time when it was made.
    Claim(HeldClaim),
}

impl Event {
    /// When it happened.
    pub(super) fn rev(&self) -> Rev {
        match self {
            Self::Publish(stored) => stored.record.rev,
            Self::Change(entry) => entry.rev,
            Self::Claim(claim) => claim.rev,
        }
    }

    /// The path whose versions it changes.
    pub(super) fn touches(&self) -> Option<&ModulePath> {
        match self {
            Self::Publish(stored) => Some(&stored.record.path),
            Self::Change(entry) => match &entry.change {
                Change::Delete { path, .. } | Change::Move { path, .. } => Some(path),
                _ => None,
            },
            Self::Claim(_) => None,
        }
    }
}

/// A line of the journal.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Line<'a> {
    pub(super) format: u32,
    pub(super) changes: Cow<'a, [Entry]>,
}

/// What every line of the journal tells, whatever its format.
#[derive(Debug, Deserialize)]
pub(super) struct LineFormat {
    pub(super) format: u32,
}

/// A sealed version's hashes, as the index keeps them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Sealed {
    pub(super) rev: Rev,
    pub(super) h1: H1,
    pub(super) go_mod_h1: H1,
    /// As in [`Change::Seal`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) owner: Option<OwnerName>,
}

/// A tombstone, as the index keeps it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Tombstone {
    pub(super) rev: Rev,
    pub(super) owner: OwnerName,
}

/// A token, as the index keeps it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct HeldToken {
    pub(super) rev: Rev,
    pub(super) token: TokenRecord,
}
