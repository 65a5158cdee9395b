//! What is kept for ever, behind traits that know no engine: hosted versions, tombstones, seals, claims,
//! tokens and the egress ledger ([`Records`]), and the bytes of hosted modules ([`Blobs`]).
//!
//! One method is one use case is one transaction: no caller reads, decides and writes. Outcomes are enums;
//! errors go by kind. Order is by [`Rev`], never by clock. `tests/it/store_contract.rs` is what every
//! implementation must satisfy.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::durable::DurableError;
use crate::module::{H1, ModulePath, OwnerName, Version};
use crate::stop::Stop;

mod archived;
pub mod backup;
mod data_dir;
#[cfg(test)]
pub(crate) mod double;
mod embedded;
mod finding;
mod hex;
mod holding;
mod lock;
mod restore;
mod room;
mod staged;
mod token;

pub use data_dir::{DataDir, FORMAT, OpenError};
pub use embedded::{Embedded, HealReport};
pub use finding::{Finding, FindingKind, Verified};
pub(crate) use hex::hex;
pub use holding::{Holding, MovePath, Moved, OverQuota};
pub use restore::{CarriedLog, CarryError, RestoreError, Restored, restore, restore_with_log};
pub use room::{GiveWay, RESERVE_BYTES, RESERVE_INODES};
pub use staged::Staged;
pub use token::{Scope, TokenHash, TokenRecord};

/// A point in the history of the record store: every change makes a higher one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Rev(pub u64);

/// What went wrong in a store, by kind.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be reached or written now; trying later may help.
    #[error("the store is away: {0}")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What is stored is not what was written.
    #[error("stored data is wrong: {0}")]
    Corrupt(String),
    /// No room.
    #[error("the disk is full")]
    Full,
}

impl StoreError {
    /// The same error for somebody else whom it concerns.
    pub fn again(&self) -> Self {
        match self {
            Self::Unavailable(source) => Self::Unavailable(source.to_string().into()),
            Self::Corrupt(text) => Self::Corrupt(text.clone()),
            Self::Full => Self::Full,
        }
    }
}

impl From<DurableError> for StoreError {
    fn from(error: DurableError) -> Self {
        if error.is_full() { Self::Full } else { Self::Unavailable(error.into()) }
    }
}

/// The name of a blob: its SHA-256 and its length in bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct BlobId {
    /// SHA-256 of the content; hex in JSON and file names.
    #[serde(with = "hex")]
    pub sha256: [u8; 32],
    /// Length in bytes.
    pub len: u64,
}

/// A version to be published; its blobs are durable already.
#[derive(Clone, Debug)]
pub struct NewVersion {
    /// The owner that it is published under.
    pub owner: OwnerName,
    /// The module.
    pub path: ModulePath,
    /// The version.
    pub version: Version,
    /// Hash of the zip.
    pub h1: H1,
    /// Hash of the go.mod file (`/go.mod` line of go.sum).
    pub go_mod_h1: H1,
    /// The zip.
    pub zip: BlobId,
    /// The go.mod file.
    pub go_mod: BlobId,
    /// The principal, as it stands in logs.
    pub by: String,
    /// The owner's own patterns name this path literally: it may shadow others' paths, above and below.
    pub shadows: bool,
    /// The host to claim with this publish, lower case, unless it was claimed or released before.
    pub claim: Option<String>,
    /// Nothing but the claim of its host keeps this path private: it is not published unless the host is claimed, by this
    /// publish or before it.
    pub needs_claim: bool,
    /// What the owner may hold with it, bytes, counted as in [`Holding`].
    pub max_bytes: Option<u64>,
}

/// What became of a publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Publish {
    /// It is durable.
    Created {
        /// When.
        rev: Rev,
        /// The path had no hosted version and no tombstone before.
        new_path: bool,
        /// The host that this publish claimed.
        claimed: Option<String>,
    },
    /// The version is there already; its hashes.
    VersionExists(H1, H1),
    /// The path, hosted or a tombstone, is another owner's.
    NotYours,
    /// The path is, but for case, or lies above or below another owner's hosted path or tombstone, and `shadows` is not set.
    OutsideOwner,
    /// This version was sealed with other content.
    SealedOther {
        /// The hash of the zip that was sealed.
        h1: H1,
        /// The hash of its go.mod.
        go_mod_h1: H1,
        /// It was this owner's version, for sure: another's hashes are not to be told.
        yours: bool,
    },
    /// `needs_claim` is set, and the claim of the path's host was released.
    NotClaimed,
    /// `max_bytes` would be passed.
    OverQuota(OverQuota),
}

/// What became of a delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delete {
    /// It is gone, durably; `last`: the path is a tombstone now.
    Deleted {
        /// When.
        rev: Rev,
        /// No version is left.
        last: bool,
    },
    /// This owner has no such version.
    Absent,
}

/// What became of a seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seal {
    /// The version is sealed with this content; durable.
    Sealed {
        /// It was not before.
        first: bool,
    },
    /// The version is not there with this content any more.
    Gone,
}

/// As what a version is sealed, whether it is still there or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedContent {
    /// Its zip's hash.
    pub h1: H1,
    /// Its go.mod's.
    pub go_mod_h1: H1,
    /// Whose it was; of a seal that is older than format 2 nobody knows.
    pub owner: Option<OwnerName>,
}

impl SealedContent {
    /// Whether that is this version's content.
    pub fn is_of(&self, record: &VersionRecord) -> bool {
        (self.h1, self.go_mod_h1) == (record.h1, record.go_mod_h1)
    }
}

/// What became of a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Release {
    /// Released, durably.
    Released(Rev),
    /// There is no such claim or tombstone.
    Absent,
    /// A module is hosted at this very path.
    Hosted,
}

/// What became of making a host public.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MakePublic {
    /// It is public, durably, now or before.
    Public(Rev),
    /// Publishing claimed it: it is private.
    Claimed,
}

/// One hosted version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionRecord {
    /// When it was published, in the order of revisions.
    pub rev: Rev,
    /// Its owner.
    pub owner: OwnerName,
    /// The module.
    pub path: ModulePath,
    /// The version.
    pub version: Version,
    /// Hash of the zip.
    pub h1: H1,
    /// Hash of the go.mod file.
    pub go_mod_h1: H1,
    /// The zip.
    pub zip: BlobId,
    /// The go.mod file.
    pub go_mod: BlobId,
    /// When it was published by the store's clock, seconds since 1970.
    pub published_unix: u64,
    /// Who published it.
    pub by: String,
}

/// All hosted versions of one path, in semver order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostedModule {
    /// The owner.
    pub owner: OwnerName,
    /// At least one.
    pub versions: Vec<VersionRecord>,
}

/// A host that the first publish under it made private.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The module whose publish made the claim.
    pub path: ModulePath,
    /// Its owner.
    pub owner: OwnerName,
    /// Who published it.
    pub by: String,
    /// When, seconds since 1970.
    pub since_unix: u64,
}

/// A host that an operator made public.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadePublic {
    /// When, in the order of revisions.
    pub rev: Rev,
    /// Who.
    pub by: String,
    /// When, seconds since 1970.
    pub since_unix: u64,
}

/// What is hosted and claimed, as of one revision. Shared, never changed.
#[derive(Clone, Debug, Default)]
pub struct HostedIndex {
    /// The revision that this is a snapshot of.
    pub rev: Rev,
    /// Every hosted path with its owner.
    pub hosted: BTreeMap<ModulePath, OwnerName>,
    /// Every path whose last version was deleted, with its owner.
    pub tombstones: BTreeMap<ModulePath, OwnerName>,
    /// Claims by host, lower case.
    pub claims: BTreeMap<String, Claim>,
    /// Hosts that an operator made public, lower case; none of them is claimed.
    pub made_public: BTreeMap<String, MadePublic>,
    /// Hosts whose claim was released: publishing does not claim them again. Lower case.
    pub released: std::collections::BTreeSet<String>,
    /// How much is hosted at each path of `hosted`.
    pub sizes: BTreeMap<ModulePath, Holding>,
    /// How much each owner holds; owners that hold nothing are left out.
    pub holdings: BTreeMap<OwnerName, Holding>,
}

/// Proof that an index is current: what makes a `PublicPath` asks for one.
#[derive(Clone, Debug)]
pub struct Fresh<T>(Arc<T>);

impl<T> Fresh<T> {
    /// For stores alone: `value` holds every change that was acknowledged before this call.
    pub(in crate::store) fn new(value: Arc<T>) -> Self {
        Self(value)
    }
}

impl<T> std::ops::Deref for Fresh<T> {
    type Target = Arc<T>;

    fn deref(&self) -> &Arc<T> {
        &self.0
    }
}

/// One line of the egress ledger: the first time that a path left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerLine {
    /// When, RFC 3339 in UTC.
    pub time: String,
    /// What left.
    pub path: ModulePath,
    /// For whom.
    pub principal: String,
    /// The rule of the egress policy that let it.
    pub rule: String,
}

/// Whether a path had left before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ledger {
    /// Never before; the line is durable now.
    First,
    /// It is in the ledger already.
    Known,
}

/// The record store. Never on the hit path of public modules.
#[async_trait]
pub trait Records: Send + Sync + 'static {
    /// Makes a version visible, durably, or says why not. The one place where races between publishers are decided, in this order:
    /// another's path, a version that exists, a path that crosses another's, a seal, a claim that it needs, what the owner may hold. On an
    /// error it may be visible later all the same; asking again is safe. [`StoreError::Corrupt`] if its blobs were not put.
    async fn publish(&self, version: NewVersion) -> Result<Publish, StoreError>;
    /// Removes a version of this owner, durably, and then its blobs, if no other version names them.
    async fn delete(&self, owner: &OwnerName, path: &ModulePath, version: &Version, by: &str) -> Result<Delete, StoreError>;
    /// As [`Records::delete`], but of this very version: one that was published since by the same name, or is another owner's by now,
    /// is [`Delete::Absent`].
    async fn expire(&self, record: &VersionRecord, by: &str) -> Result<Delete, StoreError>;
    /// Makes a path another owner's, durably, with all its versions, its tombstone and the seals that were its owner's; the claim that
    /// it made stays as it is. Races with publishers are decided here too: what comes after it finds the path another's.
    async fn move_path(&self, ask: MovePath) -> Result<Moved, StoreError>;
    /// Makes sure, durably, that this version can never be published with other content. Called before its first bytes leave.
    async fn seal(&self, record: &VersionRecord) -> Result<Seal, StoreError>;
    /// As what the version was ever sealed.
    async fn sealed(&self, path: &ModulePath, version: &Version) -> Result<Option<SealedContent>, StoreError>;
    /// Makes a host (lower case) public, durably: it is not claimed by publishing, and not unknown.
    async fn make_public(&self, host: &str, by: &str) -> Result<MakePublic, StoreError>;
    /// Undoes the claim of a host (lower case), which is not claimed again by publishing; or that it was made public.
    async fn release_host(&self, host: &str, by: &str) -> Result<Release, StoreError>;
    /// Removes a tombstone; its seals stay.
    async fn release_path(&self, path: &ModulePath, by: &str) -> Result<Release, StoreError>;
    /// All versions of a path; `None` if there are none. One whose blobs are lost or damaged is among them: reading those is the error.
    async fn module(&self, path: &ModulePath) -> Result<Option<Arc<HostedModule>>, StoreError>;
    /// What is hosted and claimed now.
    async fn hosted_index(&self) -> Result<Fresh<HostedIndex>, StoreError>;
    /// Revisions as they happen.
    fn changes(&self) -> tokio::sync::watch::Receiver<Rev>;

    /// Notes that a path is about to leave; durable before it returns.
    async fn ledger_first(&self, path: &ModulePath, principal: &str, rule: &str) -> Result<Ledger, StoreError>;
    /// A page of the ledger, oldest first: lines from number `from` on, at most `limit`.
    async fn ledger(&self, from: u64, limit: usize) -> Result<Vec<LedgerLine>, StoreError>;
    /// Notes, durably, that a `.mod` or `.zip` of this public path was fetched: it is a known module from now on.
    async fn known_put(&self, path: &ModulePath) -> Result<(), StoreError>;
    /// The known modules, as of now.
    fn known(&self) -> Arc<dyn KnownModules>;

    /// Keeps a token, durably.
    async fn token_put(&self, token: TokenRecord) -> Result<Rev, StoreError>;
    /// Forgets a token, durably; false if there is none of that id.
    async fn token_revoke(&self, id: &str) -> Result<bool, StoreError>;
    /// Finds a token by the hash of its text.
    async fn token(&self, hash: &TokenHash) -> Result<Option<Arc<TokenRecord>>, StoreError>;
    /// All tokens, oldest first.
    async fn tokens(&self) -> Result<Vec<Arc<TokenRecord>>, StoreError>;

    /// Whether records can be written now: `/readyz` asks. Cheap to ask often.
    async fn writable(&self) -> Result<(), StoreError>;
}

/// The set of known modules, in memory.
pub trait KnownModules: Send + Sync {
    /// Whether this exact path is known.
    fn contains(&self, path: &ModulePath) -> bool;
    /// Whether any known module's path, in lower case, is `prefix` or begins with `prefix` and a `/`. `prefix` is lower case.
    fn any_at_or_below(&self, prefix: &str) -> bool;
    /// Whether any known module's path, in lower case, is `path`. `path` is lower case.
    fn any_at(&self, path: &str) -> bool;
    /// Whether `is` says so of any known module's path, in lower case, from `from` on and before `to`, in the order of bytes.
    fn any_between(&self, from: &str, to: &str, is: &dyn Fn(&str) -> bool) -> bool;
}

/// The bytes of hosted modules.
#[async_trait]
pub trait Blobs: Send + Sync + 'static {
    /// A file in the store's staging folder, to be written and then handed to [`Blobs::put`]; unnamed content, swept at start.
    async fn stage(&self) -> Result<Staged, StoreError>;
    /// Makes a staged file's bytes durable under their name; `id` is what the caller counted and hashed while writing. The same content
    /// twice is one blob, of the bytes that came last: so publishing again mends a damaged one.
    /// It is safe from sweeping as long as the [`Pin`] lives or a record names it; when neither is so any more, it goes by itself, soon.
    async fn put(&self, id: BlobId, staged: Staged) -> Result<Pin, StoreError>;
    /// Opens a blob for reading. One that a record names is never absent: if it is gone or has another length, that is [`StoreError::Corrupt`].
    async fn open(&self, id: &BlobId) -> Result<Option<Arc<File>>, StoreError>;
    /// Removes a blob, now, unless a record names it or it is pinned. Whoever has it open reads on.
    async fn sweep(&self, id: &BlobId) -> Result<(), StoreError>;
}

/// Keeps a blob from being swept between its `put` and its record.
pub struct Pin {
    _held: Box<dyn Send + Sync>,
}

impl Pin {
    /// For stores alone: the blob is pinned as long as `held` lives.
    pub(in crate::store) fn new(held: Box<dyn Send + Sync>) -> Self {
        Self { _held: held }
    }
}

/// Looks at everything hosted, while serving.
#[async_trait]
pub trait Verify: Send + Sync + 'static {
    /// Reads every hosted blob again and holds it against its record, and the records against what is served. What is being published or
    /// deleted meanwhile is no finding. Changes nothing. Fails early once `stop` is asked.
    async fn verify(&self, stop: &Stop) -> Result<Verified, StoreError>;
    /// Makes everything anew that is made from the records, while readers wait. What the records lost since is an error, and nothing
    /// is changed then.
    async fn rebuild(&self) -> Result<(), StoreError>;
}

/// Copies everything hosted, while serving.
#[async_trait]
pub trait Backup: Send + Sync + 'static {
    /// What there is at this moment, to be written somewhere. Commits wait while it is listed, not while it is copied.
    async fn snapshot(&self) -> Result<backup::Snapshot, StoreError>;
}

/// The stores, bundled; what main passes in.
#[derive(Clone)]
pub struct Stores {
    /// Records.
    pub records: Arc<dyn Records>,
    /// Blobs.
    pub blobs: Arc<dyn Blobs>,
    /// Verification of both.
    pub verify: Arc<dyn Verify>,
    /// Copies of both.
    pub backup: Arc<dyn Backup>,
}

/// The time in seconds since 1970.
pub(crate) fn unix_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs())
}
