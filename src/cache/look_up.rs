//! Why it cannot be told what is kept, and what may be done about it.

use tokio::task::JoinError;

use super::CacheError;
use super::place::{Asset, never_changes};
use super::shelf::Unreadable;
use crate::durable::is_exhausted;

/// Why it cannot be told what is kept. That is no absence.
#[derive(Debug, thiserror::Error)]
pub(super) enum LookUpError {
    /// Something is kept, or may be, and cannot be read.
    #[error("cannot read what is cached of {asset}: {}", unreadable.source)]
    Unreadable {
        /// What was looked for.
        asset: Asset,
        /// The file, and why.
        #[source]
        unreadable: Unreadable,
    },
    /// The thread that looked panicked.
    #[error("looking into the cache broke off: {0}")]
    BrokeOff(#[from] JoinError),
    /// It is kept, and may not be answered with: nobody vouches for it.
    #[error(transparent)]
    Refused(#[from] CacheError),
}

impl LookUpError {
    /// Whether another copy would help. Whoever has run out of descriptors or memory reads no other file either, and replaces none.
    pub(super) fn is_of_the_file(&self) -> bool {
        match self {
            Self::Unreadable { unreadable, .. } => !is_exhausted(&unreadable.source),
            Self::BrokeOff(_) | Self::Refused(_) => false,
        }
    }

    /// Whether it is here, whatever upstream has.
    pub(super) fn never_changes(&self) -> bool {
        self.key().is_some_and(never_changes)
    }

    /// Of the file that cannot be read.
    pub(super) fn key(&self) -> Option<&str> {
        match self {
            Self::Unreadable { unreadable, .. } => Some(&unreadable.key),
            Self::BrokeOff(_) | Self::Refused(_) => None,
        }
    }
}

impl From<LookUpError> for CacheError {
    fn from(error: LookUpError) -> Self {
        match error {
            LookUpError::Refused(refused) => refused,
            LookUpError::Unreadable { .. } | LookUpError::BrokeOff(_) => Self::Storage(error.to_string()),
        }
    }
}
