//! How much an owner holds, and giving a path to another owner.

use crate::module::{ModulePath, OwnerName};
use crate::store::{Rev, VersionRecord};

/// How much is hosted somewhere. A blob that several versions share counts once for each.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Holding {
    /// Hosted versions.
    pub versions: u64,
    /// Their zips and go.mod files, bytes.
    pub bytes: u64,
}

impl Holding {
    pub(in crate::store) fn add(&mut self, more: Self) {
        self.versions += more.versions;
        self.bytes += more.bytes;
    }

    pub(in crate::store) fn take(&mut self, less: Self) {
        self.versions = self.versions.saturating_sub(less.versions);
        self.bytes = self.bytes.saturating_sub(less.bytes);
    }
}

impl VersionRecord {
    /// What it counts for.
    pub fn holding(&self) -> Holding {
        Holding { versions: 1, bytes: self.zip.len.saturating_add(self.go_mod.len) }
    }
}

/// What would take an owner past what it may hold. All in bytes, counted as in [`Holding`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OverQuota {
    /// What it holds now.
    pub used: u64,
    /// What would come to it.
    pub size: u64,
    /// What it may hold.
    pub limit: u64,
}

impl OverQuota {
    /// Judges `size` more on top of `used`; exactly `limit` is within it.
    pub(in crate::store) fn judge(used: u64, size: u64, limit: Option<u64>) -> Option<Self> {
        let limit = limit?;
        (used.saturating_add(size) > limit).then_some(Self { used, size, limit })
    }
}

impl std::fmt::Display for OverQuota {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { used, size, limit } = self;
        write!(f, "it holds {used} bytes and may hold {limit}, and this has {size}")
    }
}

/// A path that another owner is to have.
#[derive(Clone, Debug)]
pub struct MovePath {
    /// The path, hosted or a tombstone.
    pub path: ModulePath,
    /// Who is to have it.
    pub to: OwnerName,
    /// Nothing but the claim of its host keeps this path private: it is not moved unless the host is claimed.
    pub needs_claim: bool,
    /// What the new owner may hold, bytes.
    pub max_bytes: Option<u64>,
    /// The principal, as it stands in logs.
    pub by: String,
}

/// What became of a move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moved {
    /// All versions, the tombstone and the seals of the path are the new owner's, durably.
    Moved {
        /// When.
        rev: Rev,
        /// Whose it was.
        from: OwnerName,
        /// How much went with it; nothing with a tombstone.
        holding: Holding,
    },
    /// There is neither a hosted version nor a tombstone.
    Absent,
    /// It is that owner's already.
    Theirs,
    /// `needs_claim` is set, and the path's host is not claimed.
    NotClaimed,
    /// `max_bytes` would be passed.
    OverQuota(OverQuota),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_passed_by_one_byte_and_not_by_none() {
        assert_eq!(OverQuota::judge(60, 40, Some(100)), None);
        assert_eq!(OverQuota::judge(60, 41, Some(100)), Some(OverQuota { used: 60, size: 41, limit: 100 }));
        assert_eq!(OverQuota::judge(u64::MAX, u64::MAX, None), None);
        assert!(OverQuota::judge(u64::MAX, 1, Some(u64::MAX - 1)).is_some());
    }
}
