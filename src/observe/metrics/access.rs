//! Log-ins.

use prometheus::{IntCounterVec, Result};

use super::Families;

/// Why a log-in failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginFailure {
    /// No such user or token, another password, expired, revoked, or not understood.
    Wrong,
    /// Too many failures before: not looked at.
    Limited,
}

impl LoginFailure {
    const ALL: [Self; 2] = [Self::Wrong, Self::Limited];

    fn word(self) -> &'static str {
        match self {
            Self::Wrong => "wrong",
            Self::Limited => "limited",
        }
    }
}

/// Log-ins. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AccessMetrics {
    failures: IntCounterVec,
}

impl AccessMetrics {
    pub(super) fn new(families: &mut Families) -> Result<Self> {
        let failures = families.counters(
            "modgate_login_failures_total",
            "Requests with credentials that were not accepted: wrong ones, or any after too many of those.",
            &["reason"],
        )?;
        for reason in LoginFailure::ALL {
            failures.with_label_values(&[reason.word()]);
        }
        Ok(Self { failures })
    }

    /// A log-in failed.
    pub fn failed(&self, reason: LoginFailure) {
        self.failures.with_label_values(&[reason.word()]).inc();
    }
}
