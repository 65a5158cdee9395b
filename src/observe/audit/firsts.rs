//! What can be caused again and again, by whoever asks, is written once in a while: nobody is to fill the audit trail.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// So many different ones of a kind in a window, and no more: they are made up as quickly as they are repeated.
const DIFFERENT_MAX: usize = 1000;

/// What came since the window began.
pub struct Firsts {
    window: Duration,
    now: Mutex<Option<Window>>,
}

struct Window {
    until: Instant,
    seen: HashMap<&'static str, HashSet<String>>,
}

impl Firsts {
    /// In windows of this length.
    pub fn each(window: Duration) -> Self {
        Self { window, now: Mutex::default() }
    }

    /// Whether this is the first of its name in a window. Kinds do not take each other's room.
    pub fn admits(&self, kind: &'static str, name: &str, now: Instant) -> bool {
        let mut window = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let window = match &mut *window {
            Some(window) if now < window.until => window,
            over => over.insert(Window { until: now + self.window, seen: HashMap::new() }),
        };
        let seen = window.seen.entry(kind).or_default();
        seen.len() < DIFFERENT_MAX && seen.insert(name.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn one_a_name_and_window_and_a_bounded_number_of_names() {
        let (firsts, now) = (Firsts::each(DAY), Instant::now());
        assert!(firsts.admits("host", "a.example.com", now));
        assert!(!firsts.admits("host", "a.example.com", now));
        let admitted = (0..5 * DIFFERENT_MAX).filter(|n| firsts.admits("host", &format!("host{n}.example.com"), now)).count();
        assert_eq!(admitted, DIFFERENT_MAX - 1);
        assert!(firsts.admits("path", "a.example.com", now));
        let end = now + DAY;
        assert!(!firsts.admits("host", "new.example.com", end - Duration::from_millis(1)));
        assert!(firsts.admits("host", "new.example.com", end) && firsts.admits("host", "a.example.com", end));
    }
}
