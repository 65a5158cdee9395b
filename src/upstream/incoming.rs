//! The body of an answer on its way: bounded by whoever reads it, and by the time that it may stand still. Only at its end is the
//! ask settled with the breaker: an upstream whose answers begin and never end is as good as down.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::CONTENT_TYPE;

use super::ask::{Ask, Side};
use super::{Slow, UpstreamError, header, reason};
use crate::observe::metrics::UpstreamOutcome;

/// The body of a 200 as it arrives. A reader that drops it before its end has its own reasons: that tells nothing of the upstream.
pub(crate) struct Incoming {
    response: reqwest::Response,
    host: String,
    stall: Duration,
    side: Arc<Side>,
    /// To be settled by how the body ends; none where somebody else settles it.
    ask: Option<Ask>,
    /// What its request comes to, once this is what it was answered with: counted when it is over.
    outcome: Option<UpstreamOutcome>,
    /// Its length in bytes, where the upstream told; it is held to it.
    pub(crate) len: Option<u64>,
}

impl Incoming {
    pub(super) fn new(response: reqwest::Response, host: String, stall: Duration, side: Arc<Side>) -> Self {
        let len = response.content_length();
        Self { response, host, stall, side, ask: None, outcome: None, len }
    }

    /// Its end is to settle `ask`, and to be counted: as `outcome`, if nothing goes wrong from here on.
    pub(super) fn settles(&mut self, mut ask: Ask, outcome: Option<UpstreamOutcome>) {
        ask.begun();
        (self.ask, self.outcome) = (Some(ask), outcome);
    }

    /// Who sends it.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Whether it says that it is a page for people.
    pub(crate) fn is_html(&self) -> bool {
        let kind = header(self.response.headers(), &CONTENT_TYPE).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("text/html") || kind.eq_ignore_ascii_case("application/xhtml+xml")
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    ///
    /// `Timeout` after `upstream.stall_timeout` without a byte, `Cut` when the connection ends before the body does.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, UpstreamError> {
        let arrived = match tokio::time::timeout(self.stall, self.response.chunk()).await {
            Err(_) => {
                self.comes_to(UpstreamOutcome::Timeout);
                Err(UpstreamError::Timeout { host: self.host.clone(), what: Slow::Body })
            }
            Ok(Err(e)) => {
                self.comes_to(UpstreamOutcome::Cut);
                Err(UpstreamError::Cut { host: self.host.clone(), reason: reason(e) })
            }
            Ok(Ok(chunk)) => Ok(chunk),
        };
        match &arrived {
            Ok(Some(chunk)) => {
                self.side.metrics.received(self.side.role, chunk.len() as u64);
            }
            Ok(None) => self.settle(Ok(())),
            Err(error) => self.settle(Err(error)),
        }
        arrived
    }

    fn settle(&mut self, ended: Result<(), &UpstreamError>) {
        if let Some(ask) = self.ask.take() {
            ask.settle(ended);
        }
    }

    /// This answer is no answer.
    pub(crate) fn malformed(&mut self, reason: impl Into<String>) -> UpstreamError {
        self.comes_to(UpstreamOutcome::Malformed);
        UpstreamError::Malformed { host: self.host.clone(), reason: reason.into() }
    }

    fn comes_to(&mut self, outcome: UpstreamOutcome) {
        self.outcome = self.outcome.map(|_| outcome);
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Some(outcome) = self.outcome {
            self.side.metrics.came_to(self.side.role, outcome);
        }
    }
}
