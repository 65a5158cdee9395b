//! One ask, from its admission to the last byte of the answer: what the breakers and the numbers hear of it.

use std::sync::Arc;

use super::breaker::{Breaker, Pass, Went};
use crate::observe::metrics::{BreakerState, UpstreamMetrics, UpstreamRole};

/// The chain in one role: its breakers, and the numbers that tell how they stand.
pub(super) struct Side {
    pub(super) role: UpstreamRole,
    pub(super) breakers: Vec<Arc<Breaker>>,
    pub(super) metrics: UpstreamMetrics,
}

impl Side {
    /// Of a chain, the state of the hop that is worst off.
    fn tell(&self) {
        let states = self.breakers.iter().map(|breaker| breaker.state());
        self.metrics.breaker(self.role, states.max().unwrap_or(BreakerState::Closed));
    }
}

/// An ask that is under way. One that is dropped is over and has told nothing of the upstream.
pub(super) struct Ask {
    /// None once it is settled.
    pass: Option<Pass>,
    side: Arc<Side>,
}

impl Ask {
    pub(super) fn begin(pass: Pass, side: Arc<Side>) -> Self {
        side.tell();
        Self { pass: Some(pass), side }
    }

    /// It is over, and went so.
    pub(super) fn settle(mut self, went: Went) {
        if let Some(pass) = self.pass.take() {
            pass.settle(went);
        }
    }

    /// See [`Pass::vouch`].
    pub(super) fn vouch(&mut self) {
        if let Some(pass) = &mut self.pass {
            pass.vouch();
        }
        self.side.tell();
    }
}

impl Drop for Ask {
    fn drop(&mut self) {
        // A try that was given up leaves the next one free, before that is told.
        drop(self.pass.take());
        self.side.tell();
    }
}
