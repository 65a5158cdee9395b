//! The audit trail.

use prometheus::{IntCounter, IntCounterVec, Result};

use super::Families;

/// What alerts wait for the first of. It counts from 0: where there was nothing before, Prometheus sees no increase.
const COUNTED_FROM_0: &[&str] = &["integrity"];

/// The audit trail. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AuditMetrics {
    events: IntCounterVec,
    lost: IntCounter,
}

impl AuditMetrics {
    pub(super) fn new(families: &mut Families) -> Result<Self> {
        let events = families.counters("modgate_audit_events_total", "Events of the audit trail, by their name.", &["event"])?;
        for name in COUNTED_FROM_0 {
            events.with_label_values(&[name]);
        }
        Ok(Self {
            events,
            lost: families.counter("modgate_audit_lost_total", "Events that are in the log alone: the trail could not be written.")?,
        })
    }

    /// An event of this name was recorded.
    pub fn event(&self, name: &'static str) {
        self.events.with_label_values(&[name]).inc();
    }

    /// So many events could not be written.
    pub fn lost(&self, events: u64) {
        self.lost.inc_by(events);
    }
}
