//! Whose turn it is to ask upstream: so many transfers at once, the others wait in line, in the order they came.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};

/// Transfers at once. What each costs while it runs is a connection or a stream, two files and some 256 KiB: 128 of them are
/// 32 MiB, and as many streams as HTTP/2 servers commonly allow a connection.
pub(super) const TRANSFERS_MAX: usize = 128;
/// So many wait for each transfer, at most: what waits holds memory, and would hardly have its turn in time.
const WAITING_PER_TRANSFER: usize = 16;

/// The line.
pub(super) struct Queue {
    transfers_max: usize,
    free: Semaphore,
    waiting: AtomicU64,
    turns: AtomicU64,
    waited_us: AtomicU64,
    refused: AtomicU64,
}

/// What is under way, and how long others wait for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Transfers from upstream under way.
    pub fills: u64,
    /// Those that wait for their turn.
    pub waiting: u64,
    /// Turns that came, since the start.
    pub turns: u64,
    /// For how long turns were waited for, all together and also in vain, since the start.
    pub waited: Duration,
    /// Those whose turn did not come within `limits.queue`, since the start.
    pub refused: u64,
}

/// The turn did not come within this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooBusy(pub(super) Duration);

impl Queue {
    pub(super) fn new(transfers_max: usize) -> Self {
        Self {
            transfers_max,
            free: Semaphore::new(transfers_max),
            waiting: AtomicU64::new(0),
            turns: AtomicU64::new(0),
            waited_us: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// Waits for a turn, at most so long. The turn is over when what is returned is dropped.
    pub(super) async fn turn(&self, patience: Duration) -> Result<SemaphorePermit<'_>, TooBusy> {
        let turn = match self.free.try_acquire() {
            Ok(turn) => Some(turn),
            Err(_) => self.wait(patience).await,
        };
        let counter = if turn.is_some() { &self.turns } else { &self.refused };
        counter.fetch_add(1, Ordering::Relaxed);
        turn.ok_or(TooBusy(patience))
    }

    async fn wait(&self, patience: Duration) -> Option<SemaphorePermit<'_>> {
        let place = InLine::get(self);
        if place.before >= (self.transfers_max * WAITING_PER_TRANSFER) as u64 {
            return None;
        }
        // Never closed.
        tokio::time::timeout(patience, self.free.acquire()).await.ok()?.ok()
    }

    pub(super) fn load(&self) -> Load {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Load {
            fills: self.transfers_max.saturating_sub(self.free.available_permits()) as u64,
            waiting: read(&self.waiting),
            turns: read(&self.turns),
            waited: Duration::from_micros(read(&self.waited_us)),
            refused: read(&self.refused),
        }
    }
}

/// A place in line; given up when dropped.
struct InLine<'a> {
    queue: &'a Queue,
    since: Instant,
    before: u64,
}

impl<'a> InLine<'a> {
    fn get(queue: &'a Queue) -> Self {
        Self { queue, since: Instant::now(), before: queue.waiting.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.queue.waiting.fetch_sub(1, Ordering::Relaxed);
        let waited_us = u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.queue.waited_us.fetch_add(waited_us, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test(start_paused = true)]
    async fn so_many_have_a_turn_at_once_and_the_next_when_one_of_them_ends() {
        let queue = Queue::new(2);
        let first = queue.turn(Duration::ZERO).await.unwrap();
        let _second = queue.turn(Duration::ZERO).await.unwrap();
        assert_eq!(queue.turn(Duration::ZERO).await.err(), Some(TooBusy(Duration::ZERO)));
        let waiting = async {
            let _third = queue.turn(LONG).await.unwrap();
            queue.load()
        };
        let ending = async {
            while queue.load().waiting == 0 {
                tokio::task::yield_now().await;
            }
            drop(first);
        };
        let (load, ()) = tokio::join!(waiting, ending);
        assert_eq!((load.fills, load.waiting, load.turns, load.refused), (2, 0, 3, 1));
        assert_eq!(queue.load().fills, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_is_waited_for_so_long_and_no_longer() {
        let queue = Queue::new(1);
        let _turn = queue.turn(LONG).await.unwrap();
        let began = tokio::time::Instant::now();
        let patience = Duration::from_secs(30);
        assert_eq!(queue.turn(patience).await.err(), Some(TooBusy(patience)));
        assert!(began.elapsed() >= patience && began.elapsed() < patience + Duration::from_secs(1));
        assert_eq!(queue.load().waiting, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_line_is_bounded() {
        let queue = Queue::new(1);
        let _turn = queue.turn(LONG).await.unwrap();
        let mut line: Vec<_> = (0..WAITING_PER_TRANSFER).map(|_| Box::pin(queue.turn(LONG))).collect();
        for one in &mut line {
            assert!(futures::poll!(one).is_pending());
        }
        assert_eq!(queue.load().waiting, WAITING_PER_TRANSFER as u64);
        assert_eq!(queue.turn(LONG).await.err(), Some(TooBusy(LONG)));
        // Who leaves makes room.
        line.pop();
        assert!(futures::poll!(Box::pin(queue.turn(LONG))).is_pending());
    }
}
