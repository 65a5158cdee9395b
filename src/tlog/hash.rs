//! Hashes of records and nodes, as RFC 6962 section 2.1 and `tlog.go` of x/mod have them.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

/// The hash of a record, a node, or a whole tree: SHA-256; written in base64.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash(pub [u8; Hash::BYTES]);

impl Hash {
    /// Its length.
    pub const BYTES: usize = 32;

    /// The root of the tree without records: the hash of nothing.
    pub fn of_empty_tree() -> Self {
        Self(Sha256::digest([]).into())
    }

    /// `tlog.RecordHash`: of a record's text.
    pub fn of_record(text: &[u8]) -> Self {
        let mut sha = Sha256::new();
        sha.update([0]);
        sha.update(text);
        Self(sha.finalize().into())
    }

    /// `tlog.NodeHash`: of two nodes beside each other.
    pub(super) fn of_node(left: Self, right: Self) -> Self {
        let mut sha = Sha256::new();
        sha.update([1]);
        sha.update(left.0);
        sha.update(right.0);
        Self(sha.finalize().into())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not the base64 of 32 bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed hash")]
pub struct HashError;

impl FromStr for Hash {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, HashError> {
        let bytes = STANDARD.decode(text).map_err(|_| HashError)?;
        bytes.try_into().map(Self).map_err(|_| HashError)
    }
}
