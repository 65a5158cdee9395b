//! The URLs that an upstream wants to be left alone with: a `Retry-After` is about what was asked, and about nothing else.

use std::time::{Duration, Instant};

use url::Url;

/// The longest that a `Retry-After` is heeded: it may be wrong, or the upstream may be back before.
const HOLD_MAX: Duration = Duration::from_secs(300);
/// URLs that are remembered; one that is forgotten is asked for again before its time.
const URLS_MAX: u64 = 10_000;

/// When each may be asked for again. Cheap to clone.
#[derive(Clone)]
pub(super) struct Holds {
    until: moka::sync::Cache<Url, Instant>,
}

impl Default for Holds {
    fn default() -> Self {
        Self { until: moka::sync::Cache::new(URLS_MAX) }
    }
}

impl Holds {
    /// Not before `wish` is over, up to [`HOLD_MAX`].
    pub(super) fn hold(&self, url: &Url, wish: Duration, now: Instant) {
        if !wish.is_zero() {
            self.until.insert(url.clone(), now + wish.min(HOLD_MAX));
        }
    }

    /// For how long it is still not to be asked for.
    pub(super) fn left(&self, url: &Url, now: Instant) -> Option<Duration> {
        let left = self.until.get(url)?.checked_duration_since(now).filter(|left| !left.is_zero());
        if left.is_none() {
            self.until.invalidate(url);
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_holds_its_url_alone_up_to_a_bound() {
        let (holds, now) = (Holds::default(), Instant::now());
        let [url, other]: [Url; 2] = ["https://a.example/m/@v/list", "https://a.example/n/@v/list"].map(|url| url.parse().unwrap());
        holds.hold(&url, Duration::ZERO, now);
        assert_eq!(holds.left(&url, now), None, "no wish at all");
        holds.hold(&url, Duration::from_secs(20), now);
        assert_eq!(holds.left(&url, now), Some(Duration::from_secs(20)));
        assert_eq!(holds.left(&other, now), None);
        assert_eq!(holds.left(&url, now + Duration::from_secs(20)), None);
        holds.hold(&url, Duration::MAX, now);
        assert_eq!(holds.left(&url, now), Some(HOLD_MAX));
    }
}
