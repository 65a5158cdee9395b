//! Tokens as they are kept.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{hex, unix_now};
use crate::module::OwnerName;

/// What may be done with a token. `admin` implies all, `publish` and `delete` imply `read`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Read modules.
    Read,
    /// Publish versions.
    Publish,
    /// Delete versions.
    Delete,
    /// Everything, operations too.
    Admin,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Publish => "publish",
            Self::Delete => "delete",
            Self::Admin => "admin",
        })
    }
}

/// SHA-256 of a token's text: tokens are random, so no slow hash is needed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct TokenHash(#[serde(with = "hex")] pub [u8; 32]);

/// A token as it is kept; the secret itself is kept nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// What `token revoke` takes; not secret.
    pub id: String,
    /// What the operator called it.
    pub name: String,
    /// How it is found.
    pub hash: TokenHash,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// Bound to these owners; all if empty.
    pub owners: Vec<OwnerName>,
    /// When it was made, seconds since 1970.
    pub created_unix: u64,
    /// When it ends, seconds since 1970; never if absent.
    pub expires_unix: Option<u64>,
}

impl TokenRecord {
    /// Whether its end is over.
    pub fn has_ended(&self) -> bool {
        self.expires_unix.is_some_and(|end| end <= unix_now())
    }
}
