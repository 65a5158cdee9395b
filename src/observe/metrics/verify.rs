//! Whether public modules are what the checksum database says, when they come in and as they lie there.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Result};

use super::{Families, set};

/// What the verification of a file, or of what a branch resolves to, came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verification {
    /// It is what the database says.
    Vouched,
    /// It is not.
    Mismatch,
    /// The database does not know the version.
    Unknown,
    /// The database could not be asked.
    Away,
    /// What the database answered does not hold.
    Bad,
    /// The database shows two trees.
    Forked,
    /// A zip that passed through unkept has a form that cannot be judged as it passes.
    Undecided,
}

impl Verification {
    const ALL: [Self; 7] = [Self::Vouched, Self::Mismatch, Self::Unknown, Self::Away, Self::Bad, Self::Forked, Self::Undecided];

    fn word(self) -> &'static str {
        match self {
            Self::Vouched => "vouched",
            Self::Mismatch => "mismatch",
            Self::Unknown => "unknown",
            Self::Away => "away",
            Self::Bad => "bad",
            Self::Forked => "forked",
            Self::Undecided => "undecided",
        }
    }
}

/// Verification. Cheap to clone.
#[derive(Clone, Debug)]
pub struct VerifyMetrics {
    required: IntGauge,
    verifications: IntCounterVec,
    rechecked: IntCounter,
    rotten: IntCounter,
}

impl VerifyMetrics {
    pub(super) fn new(families: &mut Families) -> Result<Self> {
        let this = Self {
            required: families
                .gauge("modgate_verify_required", "1 where nothing unverified enters (upstream.verify), 0 where it is off.")?,
            verifications: families.counters(
                "modgate_verifications_total",
                "Files, and what branches resolve to, that were held against the checksum database, by what that came to.",
                &["outcome"],
            )?,
            rechecked: families.counter("modgate_cache_rechecked_total", "Cached files that were read again in the background.")?,
            rotten: families
                .counter("modgate_cache_rotten_total", "Of these, files that were not as they were written, and were set aside.")?,
        };
        for outcome in Verification::ALL {
            this.verifications.with_label_values(&[outcome.word()]);
        }
        Ok(this)
    }

    /// By the settings in force.
    pub fn required(&self, required: bool) {
        set(&self.required, required.into());
    }

    /// A verification came to this.
    pub fn came_to(&self, outcome: Verification) {
        self.verifications.with_label_values(&[outcome.word()]).inc();
    }

    /// A cached file was read again; `rotten`: and set aside.
    pub fn rechecked(&self, rotten: bool) {
        self.rechecked.inc();
        self.rotten.inc_by(rotten.into());
    }
}
