//! The body of an answer on its way: bounded by whoever reads it, and by the time that it may stand still.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::CONTENT_TYPE;

use super::{UpstreamError, header, reason};
use crate::observe::metrics::{UpstreamMetrics, UpstreamOutcome, UpstreamRole};

/// The body of a 200 as it arrives.
pub(crate) struct Incoming {
    pub(super) response: reqwest::Response,
    pub(super) host: String,
    pub(super) stall: Duration,
    pub(super) role: UpstreamRole,
    pub(super) metrics: Arc<UpstreamMetrics>,
    /// What its request comes to, once this is what it was answered with: counted when it is over.
    pub(super) outcome: Option<UpstreamOutcome>,
    /// Its length in bytes, where the upstream told; it is held to it.
    pub(crate) len: Option<u64>,
}

impl Incoming {
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
        match tokio::time::timeout(self.stall, self.response.chunk()).await {
            Err(_) => {
                self.comes_to(UpstreamOutcome::Timeout);
                Err(UpstreamError::Timeout { host: self.host.clone(), what: "its answer stalled" })
            }
            Ok(Err(e)) => {
                self.comes_to(UpstreamOutcome::Cut);
                Err(UpstreamError::Cut { host: self.host.clone(), reason: reason(e) })
            }
            Ok(Ok(chunk)) => {
                self.metrics.received(self.role, chunk.as_ref().map_or(0, |chunk| chunk.len() as u64));
                Ok(chunk)
            }
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
            self.metrics.came_to(self.role, outcome);
        }
    }
}
