//! What goes out.

use std::time::Duration;

use prometheus::{HistogramVec, IntCounterVec, IntGaugeVec, Result};

use super::Families;

/// What of an upstream is asked: each has a breaker of its own, since one can be down while the other works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UpstreamRole {
    /// The GOPROXY chain.
    Modules,
    /// The checksum database.
    Sumdb,
}

impl UpstreamRole {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Modules, Self::Sumdb];

    /// The word for it in labels and logs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Modules => "modules",
            Self::Sumdb => "sumdb",
        }
    }
}

/// What a request that went out came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamOutcome {
    /// 200.
    Found,
    /// 404 or 410.
    Absent,
    /// Another status.
    Status,
    /// Too slow.
    Timeout,
    /// It could not be reached, or what came was no HTTP.
    Failed,
    /// Its answer ended before its end.
    Cut,
    /// A redirect that is not followed.
    Redirect,
    /// A 200 that answers nothing.
    Malformed,
    /// An answer of its base, asked to find out whether it is back.
    Probe,
}

impl UpstreamOutcome {
    const ALL: [Self; 9] =
        [Self::Found, Self::Absent, Self::Status, Self::Timeout, Self::Failed, Self::Cut, Self::Redirect, Self::Malformed, Self::Probe];

    fn word(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Absent => "absent",
            Self::Status => "status",
            Self::Timeout => "timeout",
            Self::Failed => "failed",
            Self::Cut => "cut",
            Self::Redirect => "redirect",
            Self::Malformed => "malformed",
            Self::Probe => "probe",
        }
    }
}

/// Whether an upstream is asked; the worse is the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BreakerState {
    /// Asked.
    Closed,
    /// Probed.
    HalfOpen,
    /// Not asked.
    Open,
}

/// Requests that go out. Cheap to clone.
#[derive(Clone, Debug)]
pub struct UpstreamMetrics {
    requests: IntCounterVec,
    seconds: HistogramVec,
    received: IntCounterVec,
    breaker: IntGaugeVec,
    opened: IntCounterVec,
}

impl UpstreamMetrics {
    pub(super) fn new(families: &mut Families) -> Result<Self> {
        let this = Self {
            requests: families.counters(
                "modgate_upstream_requests_total",
                "Requests that went out, by upstream (modules or sumdb) and what they came to.",
                &["upstream", "outcome"],
            )?,
            seconds: families.histograms(
                "modgate_upstream_request_duration_seconds",
                "From sending a request to the head of its answer, or to its failure.",
                &["upstream"],
            )?,
            received: families.counters("modgate_upstream_received_bytes_total", "Bytes of upstreams' answers' bodies.", &["upstream"])?,
            breaker: families.gauges(
                "modgate_upstream_breaker_state",
                "Whether an upstream is asked: 0 yes (closed), 1 its base or a few modules (half-open), 2 no (open).",
                &["upstream"],
            )?,
            opened: families.counters("modgate_upstream_breaker_opened_total", "How often a breaker opened.", &["upstream"])?,
        };
        for upstream in UpstreamRole::ALL {
            for outcome in UpstreamOutcome::ALL {
                this.requests.with_label_values(&[upstream.word(), outcome.word()]);
            }
            this.seconds.with_label_values(&[upstream.word()]);
            this.received.with_label_values(&[upstream.word()]);
            this.breaker.with_label_values(&[upstream.word()]);
            this.opened.with_label_values(&[upstream.word()]);
        }
        Ok(this)
    }

    /// A request went out, and its answer began, or it failed, after `duration`.
    pub fn asked(&self, upstream: UpstreamRole, duration: Duration) {
        self.seconds.with_label_values(&[upstream.word()]).observe(duration.as_secs_f64());
    }

    /// That is what a request that went out came to, once its answer was read to its end.
    pub fn came_to(&self, upstream: UpstreamRole, outcome: UpstreamOutcome) {
        self.requests.with_label_values(&[upstream.word(), outcome.word()]).inc();
    }

    /// So many bytes of an answer's body came.
    pub fn received(&self, upstream: UpstreamRole, bytes: u64) {
        self.received.with_label_values(&[upstream.word()]).inc_by(bytes);
    }

    /// The breaker is in this state from now on.
    pub fn breaker(&self, upstream: UpstreamRole, state: BreakerState) {
        let value = match state {
            BreakerState::Closed => 0,
            BreakerState::HalfOpen => 1,
            BreakerState::Open => 2,
        };
        let gauge = self.breaker.with_label_values(&[upstream.word()]);
        if state == BreakerState::Open && gauge.get() != value {
            self.opened.with_label_values(&[upstream.word()]).inc();
        }
        gauge.set(value);
    }
}
