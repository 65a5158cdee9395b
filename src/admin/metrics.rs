//! The page that Prometheus reads: what is a state, not an event, is looked up when it is written.

use super::Operations;
use crate::observe::metrics::{CacheState, HostedState};
use crate::store::Holding;
use crate::sumdb::Client;

impl Operations {
    /// The page. Where the store fails, what it would have told stays as it was: that it fails, others tell.
    ///
    /// # Errors
    ///
    /// A family that cannot be written.
    pub async fn metrics_page(&self) -> prometheus::Result<String> {
        self.metrics.verify.required(!self.config.upstream.is_believed());
        let usage = self.cache.usage();
        self.metrics.cache.state(&CacheState {
            entries: usage.entries,
            bytes: usage.bytes,
            bytes_max: usage.bytes_max,
            last_copies: usage.last_copies,
            complete: usage.complete,
            paused: self.cache.is_paused(),
            memory: self.cache.memory_usage().bytes,
            evicted: usage.evicted,
            corrupt: usage.corrupt,
        });
        if let Some(log) = &self.log {
            self.metrics.log.records(log.latest().head().size);
        }
        if let Ok(index) = self.stores.records.hosted_index().await {
            let sum = |of: fn(&Holding) -> u64| index.holdings.values().map(of).sum();
            let (versions, bytes) = (sum(|holding| holding.versions), sum(|holding| holding.bytes));
            self.metrics.hosted.state(&HostedState { modules: index.hosted.len() as u64, versions, bytes });
        }
        let database = self.sumdb.as_ref().map(Client::database);
        let forked = database.is_some_and(|database| database.fork().is_some());
        self.metrics.sumdb.tree(forked, database.and_then(|database| database.newest()).map_or(0, |newest| newest.size));
        self.metrics.text()
    }
}
