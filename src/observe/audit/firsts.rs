//! What can be caused again and again, by whoever asks, is written once in a while: nobody is to fill the audit trail.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// So many different ones in a window, and no more: they are made up as quickly as they are repeated.
const DIFFERENT_MAX: usize = 1000;

/// What came since the window began.
pub struct Firsts {
    window: Duration,
    now: Mutex<Option<Window>>,
}

struct Window {
    until: Instant,
    seen: HashSet<String>,
}

impl Firsts {
    /// In windows of this length.
    pub fn each(window: Duration) -> Self {
        Self { window, now: Mutex::default() }
    }

    /// Whether this is the first of its name in a window.
    pub fn admits(&self, name: &str, now: Instant) -> bool {
        let mut window = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let window = match &mut *window {
            Some(window) if now < window.until => window,
            over => over.insert(Window { until: now + self.window, seen: HashSet::new() }),
        };
        window.seen.len() < DIFFERENT_MAX && window.seen.insert(name.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn one_a_name_and_window_and_a_bounded_number_of_names() {
        let (firsts, now) = (Firsts::each(DAY), Instant::now());
        assert!(firsts.admits("a.example.com", now));
        assert!(!firsts.admits("a.example.com", now));
        let admitted = (0..5 * DIFFERENT_MAX).filter(|n| firsts.admits(&format!("host{n}.example.com"), now)).count();
        assert_eq!(admitted, DIFFERENT_MAX - 1);
        let end = now + DAY;
        assert!(!firsts.admits("new.example.com", end - Duration::from_millis(1)));
        assert!(firsts.admits("new.example.com", end) && firsts.admits("a.example.com", end));
    }
}
