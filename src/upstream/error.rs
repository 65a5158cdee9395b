//! Why an upstream gave no answer.

use std::fmt;
use std::time::Duration;

use super::breaker::{Down, Went};
use crate::egress::Denied;
use crate::observe::metrics::UpstreamOutcome;

/// Why there is no answer. None of these is an absence.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// There is no upstream.
    #[error("upstream is off")]
    Off,
    /// The egress policy does not let the path out (any more).
    #[error(transparent)]
    Denied(#[from] Denied),
    /// It failed too often of late, and is not asked for a while.
    #[error(transparent)]
    Down(#[from] Down),
    /// It wants to be left alone with what was asked.
    #[error("{host} was not asked: it wants to be left alone with this for {} s more", .left.as_secs().max(1))]
    Held {
        /// Who.
        host: String,
        /// For how long.
        left: Duration,
    },
    /// It did not connect, answer or go on in time.
    #[error("{host} was too slow: {what}")]
    Timeout {
        /// Who.
        host: String,
        /// What took too long.
        what: Slow,
    },
    /// It answered neither 200 nor 404 nor 410.
    #[error("{host} answered {status}")]
    Status {
        /// Who.
        host: String,
        /// With what.
        status: u16,
        /// For how long it wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// It could not be reached, or what came was no HTTP.
    #[error("{host} failed: {reason}")]
    Failed {
        /// Who.
        host: String,
        /// Whether it could be reached.
        connected: bool,
        /// How.
        reason: String,
    },
    /// Its answer ended before its end.
    #[error("{host} cut its answer short: {reason}")]
    Cut {
        /// Who.
        host: String,
        /// How.
        reason: String,
    },
    /// It redirected to where we do not go.
    #[error("{host} sent a redirect that is not followed: {reason}")]
    Redirect {
        /// Who.
        host: String,
        /// Why not.
        reason: String,
    },
    /// It answered 200 with something that is no answer to what was asked.
    #[error("{host} sent a malformed answer: {reason}")]
    Malformed {
        /// Who.
        host: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// What took too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slow {
    /// The connection, with TLS.
    Connecting,
    /// The head of the answer.
    Head,
    /// The next bytes of its body.
    Body,
}

impl fmt::Display for Slow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connecting => "connecting",
            Self::Head => "no answer",
            Self::Body => "its answer stalled",
        })
    }
}

impl UpstreamError {
    /// Who failed, where somebody outside did.
    pub(super) fn host(&self) -> Option<&str> {
        match self {
            Self::Off | Self::Denied(_) => None,
            Self::Down(Down { host, .. })
            | Self::Held { host, .. }
            | Self::Timeout { host, .. }
            | Self::Status { host, .. }
            | Self::Failed { host, .. }
            | Self::Cut { host, .. }
            | Self::Redirect { host, .. }
            | Self::Malformed { host, .. } => Some(host),
        }
    }

    /// What it tells of the upstream. One that answers is up, whatever it answers, unless it says itself that it is not.
    pub(super) fn went(&self) -> Went {
        let badly = |limited| Went::Badly { why: self.to_string(), limited };
        match self {
            Self::Off | Self::Denied(_) | Self::Down(_) | Self::Held { .. } => Went::Neither,
            Self::Timeout { what: Slow::Connecting | Slow::Head, .. } | Self::Failed { connected: false, .. } => {
                Went::Unreached { why: self.to_string() }
            }
            Self::Timeout { what: Slow::Body, .. } | Self::Failed { connected: true, .. } | Self::Cut { .. } => badly(None),
            Self::Status { status: 429, retry_after, .. } => badly(*retry_after),
            Self::Status { status: 500.., .. } => badly(None),
            Self::Status { .. } | Self::Redirect { .. } | Self::Malformed { .. } => Went::Well,
        }
    }

    /// What the request came to, in the numbers; none where nothing went out.
    pub(super) fn outcome(&self) -> Option<UpstreamOutcome> {
        match self {
            Self::Off | Self::Denied(_) | Self::Down(_) | Self::Held { .. } => None,
            Self::Timeout { .. } => Some(UpstreamOutcome::Timeout),
            Self::Status { .. } => Some(UpstreamOutcome::Status),
            Self::Failed { .. } => Some(UpstreamOutcome::Failed),
            Self::Cut { .. } => Some(UpstreamOutcome::Cut),
            Self::Redirect { .. } => Some(UpstreamOutcome::Redirect),
            Self::Malformed { .. } => Some(UpstreamOutcome::Malformed),
        }
    }
}
