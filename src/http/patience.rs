//! How long a client may keep us waiting for it to read.

use std::time::Duration;

use super::READ_RATE_MIN;

/// The time that a client may still take. Waiting takes it away and what was sent gives it back, a second for each
/// [`READ_RATE_MIN`] bytes; there is never more of it than for one wait: what fits into buffers buys no hours.
#[derive(Debug)]
pub(super) struct Patience {
    /// Without what buffers take.
    stall: Duration,
    most: Duration,
    left: Duration,
}

/// How long so many bytes may take.
fn time_for(bytes: u64) -> Duration {
    Duration::from_millis(bytes.saturating_mul(1000) / READ_RATE_MIN)
}

impl Patience {
    /// `stall`: for one wait, and to begin with.
    pub(super) fn new(stall: Duration) -> Self {
        Self { stall, most: stall, left: stall }
    }

    /// The client may have read so many bytes before we hear of it: one wait may take that much longer.
    pub(super) fn unheard(&mut self, bytes: u64) {
        let most = self.stall.saturating_add(time_for(bytes)).max(self.most);
        self.left += most - self.most;
        self.most = most;
    }

    /// How long the next wait may take.
    pub(super) fn left(&self) -> Duration {
        self.left
    }

    /// So many bytes went, after a wait of this long.
    pub(super) fn moved(&mut self, waited: Duration, bytes: u64) {
        self.left = self.left.saturating_sub(waited).saturating_add(time_for(bytes)).min(self.most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a client that reads so many bytes every so many seconds, for ten hours, is waited for.
    fn lives(bytes: u64, every: u64) -> bool {
        let mut patience = Patience::new(Duration::from_secs(60));
        // What went into the kernel's buffers at once.
        patience.moved(Duration::ZERO, 8 << 20);
        (0..36_000 / every).all(|_| {
            let waited = Duration::from_secs(every);
            let lives = waited < patience.left();
            patience.moved(waited, bytes);
            lives
        })
    }

    #[test]
    fn whoever_reads_as_fast_as_must_be_lives_however_it_comes_in_bursts_and_nobody_else() {
        for (bytes, every) in [(64, 1), (1000, 1), (10_000, 10), (50_000, 50), (1 << 20, 60), (16 << 10, 17)] {
            assert!(!lives(bytes, every), "{bytes} bytes every {every} s");
        }
        for (bytes, every) in [(10 << 10, 1), (1 << 10, 1), (59 << 10, 59), (16 << 10, 16), (1 << 20, 59)] {
            assert!(lives(bytes, every), "{bytes} bytes every {every} s");
        }
    }
}
