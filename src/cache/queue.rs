//! Whose turn it is to ask upstream: so many transfers at once, the others wait in line, in the order they came.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::observe::metrics::{FillMetrics, InFlight};

/// Transfers at once. What each costs while it runs is a connection or a stream, two files and some 256 KiB: 128 of them are
/// 32 MiB, and as many streams as HTTP/2 servers commonly allow a connection.
pub(super) const TRANSFERS_MAX: usize = 128;
/// So many wait for each transfer, at most: what waits holds memory, and would hardly have its turn in time.
const WAITING_PER_TRANSFER: usize = 16;

/// The line.
pub(super) struct Queue {
    transfers_max: usize,
    free: Semaphore,
    waiting: AtomicUsize,
    metrics: FillMetrics,
}

/// The turn did not come within this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooBusy(pub(super) Duration);

/// A turn, for as long as this lives.
pub(super) struct Turn<'a> {
    _permit: SemaphorePermit<'a>,
    _in_flight: InFlight,
}

impl Queue {
    pub(super) fn new(transfers_max: usize, metrics: FillMetrics) -> Self {
        Self { transfers_max, free: Semaphore::new(transfers_max), waiting: AtomicUsize::new(0), metrics }
    }

    /// Waits for a turn, at most so long.
    pub(super) async fn turn(&self, patience: Duration) -> Result<Turn<'_>, TooBusy> {
        let began = Instant::now();
        let permit = match self.free.try_acquire() {
            Ok(permit) => Some(permit),
            Err(_) => self.wait(patience).await,
        };
        self.metrics.queued(began.elapsed());
        let permit = permit.ok_or(TooBusy(patience))?;
        Ok(Turn { _permit: permit, _in_flight: self.metrics.begin() })
    }

    async fn wait(&self, patience: Duration) -> Option<SemaphorePermit<'_>> {
        let place = InLine::get(&self.waiting);
        if place.before >= self.transfers_max * WAITING_PER_TRANSFER {
            return None;
        }
        // Never closed.
        tokio::time::timeout(patience, self.free.acquire()).await.ok()?.ok()
    }

    #[cfg(test)]
    pub(super) fn under_way(&self) -> usize {
        self.transfers_max - self.free.available_permits()
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// A place in line; given up when dropped.
struct InLine<'a> {
    waiting: &'a AtomicUsize,
    before: usize,
}

impl<'a> InLine<'a> {
    fn get(waiting: &'a AtomicUsize) -> Self {
        Self { waiting, before: waiting.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::metrics::Metrics;

    fn queue(transfers_max: usize) -> Queue {
        Queue::new(transfers_max, Metrics::new().unwrap().fills)
    }

    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test(start_paused = true)]
    async fn so_many_have_a_turn_at_once_and_the_next_when_one_of_them_ends() {
        let queue = queue(2);
        let first = queue.turn(Duration::ZERO).await.unwrap();
        let _second = queue.turn(Duration::ZERO).await.unwrap();
        assert_eq!(queue.turn(Duration::ZERO).await.err(), Some(TooBusy(Duration::ZERO)));
        let waiting = async {
            let _third = queue.turn(LONG).await.unwrap();
            (queue.under_way(), queue.waiting())
        };
        let ending = async {
            while queue.waiting() == 0 {
                tokio::task::yield_now().await;
            }
            drop(first);
        };
        assert_eq!(tokio::join!(waiting, ending).0, (2, 0));
        assert_eq!(queue.under_way(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_is_waited_for_so_long_and_no_longer() {
        let queue = queue(1);
        let _turn = queue.turn(LONG).await.unwrap();
        let began = tokio::time::Instant::now();
        let patience = Duration::from_secs(30);
        assert_eq!(queue.turn(patience).await.err(), Some(TooBusy(patience)));
        assert!(began.elapsed() >= patience && began.elapsed() < patience + Duration::from_secs(1));
        assert_eq!(queue.waiting(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_line_is_bounded() {
        let queue = queue(1);
        let _turn = queue.turn(LONG).await.unwrap();
        let mut line: Vec<_> = (0..WAITING_PER_TRANSFER).map(|_| Box::pin(queue.turn(LONG))).collect();
        for one in &mut line {
            assert!(futures::poll!(one).is_pending());
        }
        assert_eq!(queue.waiting(), WAITING_PER_TRANSFER);
        assert_eq!(queue.turn(LONG).await.err(), Some(TooBusy(LONG)));
        // Who leaves makes room.
        line.pop();
        assert!(futures::poll!(Box::pin(queue.turn(LONG))).is_pending());
    }
}
