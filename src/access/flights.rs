//! One verification at a time for each credential: whoever comes meanwhile waits, and finds the answer remembered.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

use super::log_ins::Digest;

type Lock = Arc<tokio::sync::Mutex<()>>;

/// The credentials that are being verified: as many entries as there are requests waiting, at most.
#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<Digest, Lock>>);

/// This credential is verified by nobody else while this lives.
pub(super) struct Flight<'a> {
    flights: &'a Flights,
    credential: Digest,
    /// Taken out when dropped, before the entry is looked at.
    held: Option<OwnedMutexGuard<()>>,
}

impl Flights {
    /// Waits until nobody verifies this credential.
    pub(super) async fn board(&self, credential: Digest) -> Flight<'_> {
        // Made first: a wait that is given up leaves no entry behind.
        let mut flight = Flight { flights: self, credential, held: None };
        let lock = Arc::clone(self.lock().entry(credential).or_default());
        flight.held = Some(lock.lock_owned().await);
        flight
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, Lock>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let mut all = self.flights.lock();
        self.held = None;
        // Clones are made under this lock alone.
        if let Entry::Occupied(entry) = all.entry(self.credential)
            && Arc::strong_count(entry.get()) == 1
        {
            entry.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[tokio::test]
    async fn one_flies_at_a_time_and_nothing_is_left_behind() {
        let flights = Flights::default();
        let first = flights.board([1; 32]).await;
        let other = flights.board([2; 32]).await;
        let mut second = Box::pin(flights.board([1; 32]));
        assert!(second.as_mut().now_or_never().is_none());
        let mut given_up = Box::pin(flights.board([1; 32]));
        assert!(given_up.as_mut().now_or_never().is_none());
        drop(given_up);
        drop(first);
        let second = second.await;
        drop((other, second));
        assert!(flights.lock().is_empty());
    }
}
