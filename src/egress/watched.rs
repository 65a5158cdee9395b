//! Which of the paths that leave for unknown hosts are recorded: whoever asks may be a stranger, and must not fill the audit trail.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// For how long a host's first path stands for all of its paths.
const DAY: Duration = Duration::from_secs(86_400);
/// So many hosts a day, and no more: hosts are made up as quickly as paths.
const HOSTS_MAX: usize = 1000;

/// The hosts of which a path was recorded since the day began.
#[derive(Default)]
pub(super) struct Watched {
    today: Mutex<Option<Today>>,
}

struct Today {
    until: Instant,
    hosts: HashSet<String>,
}

impl Watched {
    /// Whether a path at this host, lower case, is to be recorded: the first of a day.
    pub(super) fn admits(&self, host: &str, now: Instant) -> bool {
        let mut today = self.today.lock().unwrap_or_else(PoisonError::into_inner);
        let today = match &mut *today {
            Some(today) if now < today.until => today,
            over => over.insert(Today { until: now + DAY, hosts: HashSet::new() }),
        };
        today.hosts.len() < HOSTS_MAX && today.hosts.insert(host.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_a_host_and_day_and_a_bounded_number_of_hosts() {
        let (watched, now) = (Watched::default(), Instant::now());
        assert!(watched.admits("a.example.com", now));
        assert!(!watched.admits("a.example.com", now));
        let admitted = (0..5 * HOSTS_MAX).filter(|n| watched.admits(&format!("host{n}.example.com"), now)).count();
        assert_eq!(admitted, HOSTS_MAX - 1);
        let end = now + DAY;
        assert!(!watched.admits("new.example.com", end - Duration::from_millis(1)));
        assert!(watched.admits("new.example.com", end) && watched.admits("a.example.com", end));
    }
}
