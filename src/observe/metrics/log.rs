//! Our own checksum database.

use prometheus::{IntCounter, IntGauge, Result};

use super::{Families, set};

/// The log of our own checksum database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LogMetrics {
    records: IntGauge,
    beyond: IntCounter,
}

impl LogMetrics {
    pub(super) fn new(families: &mut Families) -> Result<Self> {
        Ok(Self {
            records: families.gauge("modgate_sumdb_log_records", "Records of this gateway's own checksum database.")?,
            beyond: families.counter(
                "modgate_sumdb_log_tiles_beyond_total",
                "Tiles that were asked of this gateway's own checksum database beyond its tree: a client may know a later one.",
            )?,
        })
    }

    /// How many records there are.
    pub fn records(&self, records: u64) {
        set(&self.records, records);
    }

    /// A tile was asked for that the tree does not have.
    pub fn beyond(&self) {
        self.beyond.inc();
    }
}
