//! What the public checksum database said, and whether it is believed.

use prometheus::{IntCounterVec, IntGauge, Result};

use super::{Families, set};

/// What a look-up came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SumdbOutcome {
    /// It was verified before.
    Kept,
    /// It holds.
    Verified,
    /// The database has no such version.
    Unknown,
    /// The database cannot be asked.
    Away,
    /// What it answered does not hold.
    Bad,
    /// It showed two trees.
    Forked,
    /// The path may not leave.
    Denied,
    /// It broke here.
    Storage,
}

impl SumdbOutcome {
    const ALL: [Self; 8] = [Self::Kept, Self::Verified, Self::Unknown, Self::Away, Self::Bad, Self::Forked, Self::Denied, Self::Storage];

    fn word(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Verified => "verified",
            Self::Unknown => "unknown",
            Self::Away => "away",
            Self::Bad => "bad",
            Self::Forked => "forked",
            Self::Denied => "denied",
            Self::Storage => "storage",
        }
    }
}

/// The client of the public checksum database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SumdbMetrics {
    lookups: IntCounterVec,
    forked: IntGauge,
    tree_size: IntGauge,
}

impl SumdbMetrics {
    pub(super) fn new(families: &mut Families) -> Result<Self> {
        let this = Self {
            lookups: families.counters(
                "modgate_sumdb_lookups_total",
                "Look-ups in the public checksum database that were to be verified, by what they came to.",
                &["outcome"],
            )?,
            forked: families
                .gauge("modgate_sumdb_forked", "1 while the public checksum database shows two trees and no operator has decided.")?,
            tree_size: families
                .gauge("modgate_sumdb_tree_size", "Records of the newest tree of the public checksum database that was seen.")?,
        };
        for outcome in SumdbOutcome::ALL {
            this.lookups.with_label_values(&[outcome.word()]);
        }
        Ok(this)
    }

    /// A look-up came to this.
    pub fn looked_up(&self, outcome: SumdbOutcome) {
        self.lookups.with_label_values(&[outcome.word()]).inc();
    }

    /// Whether there are two trees.
    pub fn forked(&self, forked: bool) {
        set(&self.forked, u64::from(forked));
    }

    /// How many records the newest tree has.
    pub fn tree_size(&self, records: u64) {
        set(&self.tree_size, records);
    }
}
