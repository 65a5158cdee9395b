//! The page that Prometheus reads: what is a state, not an event, is looked up when it is written.

use super::Operations;
use crate::observe::metrics::CacheState;

impl Operations {
    /// The page.
    ///
    /// # Errors
    ///
    /// A family that cannot be written.
    pub async fn metrics_page(&self) -> prometheus::Result<String> {
        let usage = self.cache.usage();
        self.metrics.cache.state(&CacheState { entries: usage.entries, bytes: usage.bytes, bytes_max: self.config.cache.max_size });
        self.metrics.text()
    }
}
