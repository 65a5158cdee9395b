//! One ask, from its admission to the last byte of the answer: what the breakers and the numbers hear of it.

use std::sync::Arc;

use super::UpstreamError;
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
    pub(super) fn tell(&self) {
        let states = self.breakers.iter().map(|breaker| breaker.state());
        self.metrics.breaker(self.role, states.max().unwrap_or(BreakerState::Closed));
    }

    /// Tells how it stands when this is dropped.
    pub(super) fn told(&self) -> Told<'_> {
        Told(self)
    }
}

/// See [`Side::told`].
pub(super) struct Told<'a>(&'a Side);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        self.0.tell();
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

    /// The head of its answer is here.
    pub(super) fn begun(&mut self) {
        if let Some(pass) = &mut self.pass {
            pass.begun();
        }
    }

    /// It is over: its answer came whole, or failed so. What another host failed with, that a redirect led to, tells nothing.
    pub(super) fn settle(mut self, ended: Result<(), &UpstreamError>) {
        if let Some(pass) = self.pass.take() {
            let went = match ended {
                Ok(()) => Went::Well,
                Err(error) if error.host().is_some_and(|host| host != pass.host()) => Went::Neither,
                Err(error) => error.went(),
            };
            pass.settle(went);
        }
    }
}

impl Drop for Ask {
    fn drop(&mut self) {
        self.side.tell();
    }
}
