//! One at a time of each: whoever asks for something that is being found out waits for that.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use tracing::Instrument as _;

/// Something that is being found out; it goes on when this is dropped.
type Flight<V> = Shared<BoxFuture<'static, Option<V>>>;

type UnderWay<K, V> = Arc<Mutex<HashMap<K, Flight<V>>>>;

/// What is under way.
pub(super) struct Flights<K, V>(UnderWay<K, V>);

impl<K, V> Default for Flights<K, V> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

/// Takes a flight off the list when it ends, however it ends.
struct Landing<K: Eq + Hash, V>(UnderWay<K, V>, K);

impl<K: Eq + Hash, V> Drop for Landing<K, V> {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}

impl<K: Clone + Eq + Hash + Send + 'static, V: Clone + Send + Sync + 'static> Flights<K, V> {
    /// Waits for what is under way for `key`; starts `find` if nothing is. None: it broke off.
    pub(super) async fn join(&self, key: K, find: impl Future<Output = V> + Send + 'static) -> Option<V> {
        self.flight(key, find).await
    }

    fn flight(&self, key: K, find: impl Future<Output = V> + Send + 'static) -> Flight<V> {
        let mut under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = under_way.get(&key) {
            return flight.clone();
        }
        let landing = Landing(self.0.clone(), key.clone());
        let task = tokio::spawn(
            async move {
                let _landing = landing;
                find.await
            }
            .in_current_span(),
        );
        let flight = async { task.await.ok() }.boxed().shared();
        under_way.insert(key, flight.clone());
        flight
    }
}
