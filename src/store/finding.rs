//! What verification finds.

use std::fmt;
use std::path::PathBuf;

/// What is wrong with something stored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FindingKind {
    /// A record names a blob that is not there: the version cannot be served.
    BlobMissing,
    /// A blob is not what its name says: the version cannot be served.
    BlobDamaged,
    /// A blob that no record names.
    BlobUnused,
    /// A record's file, or the journal, is not there, or says something else than what is served.
    RecordDamaged,
    /// Lines of the egress ledger or of the known modules cannot be read.
    LedgerDamaged,
    /// A file that does not belong there.
    Stray,
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BlobMissing => "blob-missing",
            Self::BlobDamaged => "blob-damaged",
            Self::BlobUnused => "blob-unused",
            Self::RecordDamaged => "record-damaged",
            Self::LedgerDamaged => "ledger-damaged",
            Self::Stray => "stray",
        })
    }
}

/// Something wrong that is not mended by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What kind.
    pub kind: FindingKind,
    /// Where.
    pub path: PathBuf,
    /// What, for people.
    pub text: String,
}

/// What [`Verify::verify`](super::Verify::verify) saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Hosted versions that were looked at.
    pub hosted: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
}
