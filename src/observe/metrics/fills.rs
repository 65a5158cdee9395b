//! Transfers into the cache, and requests that wait for their turn.

use std::time::Duration;

use prometheus::{Histogram, IntGauge, Result};

use super::Families;

/// Transfers into the cache. Cheap to clone.
#[derive(Clone, Debug)]
pub struct FillMetrics {
    in_flight: IntGauge,
    queued: Histogram,
}

impl FillMetrics {
    pub(super) fn new(families: &mut Families) -> Result<Self> {
        Ok(Self {
            in_flight: families.gauge("modgate_fills_in_flight", "Transfers from upstream that are under way.")?,
            queued: families.histogram("modgate_queue_duration_seconds", "How long requests waited for their turn (limits.queue).")?,
        })
    }

    /// A fill began: it is under way as long as what is returned lives.
    pub fn begin(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    /// A request waited so long for its turn, whether it got it or not.
    pub fn queued(&self, waited: Duration) {
        self.queued.observe(waited.as_secs_f64());
    }
}

/// A fill that is under way.
#[derive(Debug)]
pub struct InFlight(IntGauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}
