//! What it comes to that something is, or is not, what a checksum database says; and where that is told: numbers, log, audit trail.

use std::sync::Arc;

use super::{CacheError, Mismatch, Part, Unvouched, VouchError, Vouched};
use crate::module::zip::Unverifiable;
use crate::module::{H1, ModulePath, Version};
use crate::observe::audit::{Actor, Audit, Event};
use crate::observe::metrics::{Verification, VerifyMetrics};

/// Where verdicts are told. Cheap to clone.
#[derive(Clone)]
pub(super) struct Verdicts {
    audit: Audit,
    metrics: VerifyMetrics,
}

/// A file that claims to be one of a version.
#[derive(Clone, Copy)]
pub(super) struct Claim<'a> {
    pub(super) path: &'a ModulePath,
    pub(super) version: &'a Version,
    pub(super) part: Part,
    pub(super) database: &'a str,
    /// Where it came from: an upstream's host, or [`FROM_CACHE`].
    pub(super) from: &'a str,
}

/// Where a file came from that was kept.
pub(super) const FROM_CACHE: &str = "the cache";

impl VouchError {
    /// What it comes to for whoever wants this version.
    pub(crate) fn of(self, path: &ModulePath, version: &Version, database: &str) -> CacheError {
        match self {
            Self::Denied(denied) => CacheError::Denied(denied),
            Self::Storage(why) => CacheError::Storage(why),
            Self::Unknown(_) | Self::Away(_) | Self::Bad(_) | Self::Forked(_) => {
                let (path, version, database) = (path.clone(), version.clone(), database.to_owned());
                CacheError::Unvouched(Arc::new(Unvouched { path, version, database, error: self }))
            }
        }
    }
}

impl Verdicts {
    pub(super) fn new(audit: Audit, metrics: VerifyMetrics) -> Self {
        Self { audit, metrics }
    }

    /// Nobody vouches for something that is here, and wanted.
    pub(super) fn refused(&self, error: CacheError) -> CacheError {
        let outcome = match &error {
            CacheError::Unvouched(unvouched) => match &unvouched.error {
                VouchError::Unknown(_) => Some(Verification::Unknown),
                VouchError::Away(_) => Some(Verification::Away),
                VouchError::Bad(_) => Some(Verification::Bad),
                VouchError::Forked(_) => Some(Verification::Forked),
                VouchError::Denied(_) | VouchError::Storage(_) => None,
            },
            _ => None,
        };
        if let Some(outcome) = outcome {
            self.metrics.came_to(outcome);
            tracing::warn!(%error, "nobody vouches for it");
        }
        error
    }

    /// Nobody can tell what a zip is before its last byte was given out.
    pub(super) fn undecided(&self, claim: Claim<'_>, why: &Unverifiable) -> CacheError {
        self.metrics.came_to(Verification::Undecided);
        let Claim { path, version, from, .. } = claim;
        tracing::warn!(%path, %version, from, %why, "a zip cannot be verified as it passes through, and is cut");
        CacheError::Storage(format!("{path}@{version}: there is no room to keep it, and it cannot be verified as it passes: {why}"))
    }

    /// Somebody vouches for the version that a branch or a hash resolves to.
    pub(super) fn vouched(&self) {
        self.metrics.came_to(Verification::Vouched);
    }

    /// A kept file was read again; `rotten`: and set aside.
    pub(super) fn rechecked(&self, rotten: bool) {
        self.metrics.rechecked(rotten);
    }

    /// Whether what has this hash is what it is to be. If not, that is recorded.
    pub(super) fn judge(&self, claim: Claim<'_>, vouched: &Vouched, found: H1) -> Result<(), CacheError> {
        let Claim { path, version, part, database, from } = claim;
        let expected = part.of(vouched);
        if expected == found {
            self.vouched();
            return Ok(());
        }
        self.metrics.came_to(Verification::Mismatch);
        let mismatch = Mismatch {
            path: path.clone(),
            version: version.clone(),
            part,
            expected,
            found,
            database: database.to_owned(),
            from: from.to_owned(),
        };
        tracing::error!("{mismatch}");
        self.audit.record_first(
            &Actor::local("modgate"),
            &Event::Mismatch {
                path: mismatch.path.clone(),
                version: mismatch.version.clone(),
                file: part.ext(),
                expected,
                found,
                database: mismatch.database.clone(),
                from: mismatch.from.clone(),
            },
        );
        Err(CacheError::Mismatch(Arc::new(mismatch)))
    }
}
