//! The page that Prometheus reads: what is a state, not an event, is looked up when it is written.

use super::Operations;
use crate::observe::metrics::{CacheState, HostedState};
use crate::store::StoreError;

impl Operations {
    /// The page. Where the store fails, what it would have told stays as it was: that it fails, others tell.
    ///
    /// # Errors
    ///
    /// A family that cannot be written.
    pub async fn metrics_page(&self) -> prometheus::Result<String> {
        let usage = self.cache.usage();
        self.metrics.cache.state(&CacheState {
            entries: usage.entries,
            bytes: usage.bytes,
            bytes_max: self.config.cache.max_size,
            evicted: usage.evicted,
            corrupt: usage.corrupt,
            ..CacheState::default()
        });
        if let Ok(hosted) = self.hosted().await {
            self.metrics.hosted.state(&hosted);
        }
        self.metrics.text()
    }

    async fn hosted(&self) -> Result<HostedState, StoreError> {
        let index = self.stores.records.hosted_index().await?;
        let mut state = HostedState { modules: index.hosted.len() as u64, ..HostedState::default() };
        for path in index.hosted.keys() {
            let Some(module) = self.stores.records.module(path).await? else { continue };
            state.versions += module.versions.len() as u64;
            state.bytes += module.versions.iter().map(|version| version.zip.len + version.go_mod.len).sum::<u64>();
        }
        Ok(state)
    }
}
