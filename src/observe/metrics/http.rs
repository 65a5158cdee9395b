//! Requests and answers.

use std::time::Duration;

use prometheus::{HistogramVec, IntCounter, IntCounterVec, Result};

use super::Families;
use crate::config::Visibility;

/// What kind of owner a request is about; never which.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OwnerClass {
    /// Its modules are everyone's to read.
    Public,
    /// For whoever is signed in.
    Internal,
    /// For its members.
    Private,
    /// No owner, or none that is in the settings.
    #[default]
    None,
}

impl OwnerClass {
    fn word(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Internal => "internal",
            Self::Private => "private",
            Self::None => "none",
        }
    }
}

impl From<Option<Visibility>> for OwnerClass {
    fn from(visibility: Option<Visibility>) -> Self {
        match visibility {
            Some(Visibility::Public) => Self::Public,
            Some(Visibility::Internal) => Self::Internal,
            Some(Visibility::Private) => Self::Private,
            None => Self::None,
        }
    }
}

/// A request that has ended.
#[derive(Clone, Debug)]
pub struct Answered {
    /// What was asked; empty if the server refused it before that was known.
    pub kind: &'static str,
    /// Whose.
    pub owner: OwnerClass,
    /// What was answered; 0 if nothing was.
    pub status: u16,
    /// Where the answer came from: a word of the cache's, or none.
    pub cache: Option<&'static str>,
    /// The rule that refused it.
    pub rule: Option<&'static str>,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    /// From the end of the request's head to the end of the answer.
    pub duration: Duration,
}

/// Requests and answers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct HttpMetrics {
    requests: IntCounterVec,
    seconds: HistogramVec,
    received: IntCounter,
    sent: IntCounter,
    refusals: IntCounterVec,
}

impl HttpMetrics {
    pub(super) fn new(families: &mut Families) -> Result<Self> {
        Ok(Self {
            requests: families.counters(
                "modgate_http_requests_total",
                "Requests that have ended, by kind, class of the owner they are about, status and cache state.",
                &["kind", "owner", "status", "cache"],
            )?,
            seconds: families.histograms(
                "modgate_http_request_duration_seconds",
                "From the end of a request's head to the end of its answer.",
                &["kind"],
            )?,
            received: families.counter("modgate_http_received_bytes_total", "Bytes of requests' bodies.")?,
            sent: families.counter("modgate_http_sent_bytes_total", "Bytes of answers' bodies.")?,
            refusals: families.counters(
                "modgate_http_refusals_total",
                "Requests that were refused, by the rule that decided.",
                &["rule"],
            )?,
        })
    }

    /// Counts a request, once it has ended.
    pub fn answered(&self, answered: &Answered) {
        let kind = if answered.kind.is_empty() { "none" } else { answered.kind };
        let status = if answered.status == 0 { "none".to_owned() } else { answered.status.to_string() };
        let labels = [kind, answered.owner.word(), status.as_str(), answered.cache.unwrap_or("none")];
        self.requests.with_label_values(&labels).inc();
        self.seconds.with_label_values(&[kind]).observe(answered.duration.as_secs_f64());
        self.received.inc_by(answered.bytes_in);
        self.sent.inc_by(answered.bytes_out);
        if let Some(rule) = answered.rule {
            self.refusals.with_label_values(&[rule]).inc();
        }
    }
}
