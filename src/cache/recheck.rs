//! Reading again, slowly, what is kept: a file that rots is found before it is wanted.
//!
//! One file at a time, with rests between them: at most a tenth of a thread, and no more than a round of all files a day.

use std::time::{Duration, Instant};

use super::index::ASIDE;
use super::shelf::DAMAGED;
use super::verify::Reread;
use super::{Cache, Inner};
use crate::observe::audit::Event;
use crate::stop::Stop;

/// A round takes as long at least, where there is so much that rests need not be shorter than [`REST_MAX`].
const ROUND: Duration = Duration::from_secs(24 * 60 * 60);
/// A rest is so many times as long as what it follows, at least.
const REST_SHARE: u32 = 9;
/// The longest rest, also of a cache that holds nothing.
const REST_MAX: Duration = Duration::from_secs(10 * 60);
/// Before the first: a start has enough to do.
pub const FIRST_REST: Duration = Duration::from_secs(60);
/// After so many files the order of use is put right, which reading them shuffled.
const ORDER_AFTER: usize = 1024;

/// Where the rounds are. The first one begins anywhere: the index knows no order that outlives a process.
#[derive(Debug, Default)]
pub struct Rounds {
    shard: usize,
    /// The rest of the files of the shard before that one.
    keys: Vec<String>,
    shuffled: usize,
}

impl Cache {
    /// Reads one file again, and sets it aside if it is not what it is to be: that is counted, logged and recorded. How long to rest
    /// before the next. Ends early once `stop` is asked.
    pub async fn recheck(&self, rounds: &mut Rounds, stop: &Stop) -> Duration {
        let began = Instant::now();
        let entries = self.usage().entries;
        if let Some(key) = self.inner.next_to_recheck(rounds) {
            self.inner.recheck(key, stop).await;
        }
        let even = u32::try_from(entries).ok().filter(|entries| *entries > 0).map_or(Duration::ZERO, |entries| ROUND / entries);
        rest(entries, even, began.elapsed())
    }
}

/// `even`: by which a round takes [`ROUND`].
fn rest(entries: u64, even: Duration, took: Duration) -> Duration {
    if entries == 0 { REST_MAX } else { even.min(REST_MAX).max(took * REST_SHARE) }
}

impl Inner {
    /// None while not all files are known, or where there is none.
    fn next_to_recheck(&self, rounds: &mut Rounds) -> Option<String> {
        let index = &self.stock.shelf.index;
        if !index.is_complete() {
            return None;
        }
        // Once around, at most.
        let mut wrapped = false;
        while rounds.keys.is_empty() {
            match index.keys_of_shard(rounds.shard, |key| !key.starts_with(ASIDE)) {
                Some(keys) => {
                    rounds.keys = keys;
                    rounds.shard += 1;
                }
                None if wrapped => return None,
                None => {
                    rounds.shard = 0;
                    wrapped = true;
                }
            }
        }
        rounds.shuffled += 1;
        if rounds.shuffled >= ORDER_AFTER {
            rounds.shuffled = 0;
            index.restore_order();
        }
        rounds.keys.pop()
    }

    async fn recheck(&self, key: String, stop: &Stop) {
        let (database, stop) = (self.trust.database().map(str::to_owned), stop.clone());
        let verdicts = self.stock.verdicts.clone();
        let read = self.stock.on_disk(move |shelf| {
            match shelf.reread(&key, database.as_deref(), &stop) {
                Reread::Good => verdicts.rechecked(false),
                Reread::Rotten(text) => {
                    verdicts.rechecked(true);
                    tracing::warn!(file = key, text, "a cached file has rotted; it is set aside");
                    shelf.record(&Event::Integrity { kind: DAMAGED.to_owned(), path: key, text });
                }
                Reread::Unreadable(text) => tracing::warn!(file = key, text, "a cached file cannot be read again"),
                Reread::Passed => {}
            }
            Ok(())
        });
        if let Err(error) = read.await {
            tracing::warn!(%error, "reading a cached file again broke off");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_takes_a_day_or_ten_times_what_reading_takes_and_little_is_read_often_enough() {
        let (s, ms) = (Duration::from_secs, Duration::from_millis);
        assert_eq!(rest(0, s(0), ms(1)), REST_MAX);
        // Twelve files: each after ten minutes.
        assert_eq!(rest(12, ROUND / 12, ms(1)), REST_MAX);
        assert_eq!(rest(86_400, ROUND / 86_400, ms(1)), s(1));
        assert_eq!(rest(86_400, ROUND / 86_400, s(2)), s(18));
    }
}
