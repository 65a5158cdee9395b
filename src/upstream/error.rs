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
    #[error("{host} {}", held(*.left))]
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

/// An upstream, to those who are not meant to know which.
pub(super) const WHO: &str = "an upstream proxy";

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

fn held(left: Duration) -> String {
    format!("was not asked: it wants to be left alone with this for {} s more", left.as_secs().max(1))
}

impl UpstreamError {
    /// What whoever asked may read. Which host it was, at which port, and its own reasons are in the log: those who ask are not all meant
    /// to know what stands behind the gateway.
    pub fn told(&self) -> String {
        match self {
            Self::Off | Self::Denied(_) => self.to_string(),
            Self::Down(down) => format!("{} and was not asked", down.summary_of(WHO)),
            Self::Held { left, .. } => format!("{WHO} {}", held(*left)),
            Self::Timeout { what, .. } => format!("{WHO} was too slow: {what}"),
            Self::Status { status, .. } => format!("{WHO} answered {status}"),
            Self::Failed { .. } => format!("{WHO} failed"),
            Self::Cut { .. } => format!("{WHO} cut its answer short"),
            Self::Redirect { .. } => format!("{WHO} sent a redirect that is not followed"),
            Self::Malformed { .. } => format!("{WHO} sent a malformed answer"),
        }
    }

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

    /// What it tells of the upstream. One that answers is up, whatever it answers, unless it says itself that it is not; one that was
    /// reached and began no answer may have stumbled over what was asked.
    pub(super) fn went(&self) -> Went {
        let badly = |limited| Went::Badly { why: self.to_string(), limited };
        match self {
            Self::Off | Self::Denied(_) | Self::Down(_) | Self::Held { .. } => Went::Neither,
            Self::Timeout { what: Slow::Connecting, .. } | Self::Failed { connected: false, .. } => {
                Went::Unreached { why: self.to_string() }
            }
            Self::Timeout { what: Slow::Head | Slow::Body, .. } | Self::Failed { connected: true, .. } | Self::Cut { .. } => badly(None),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asked_is_told_neither_host_nor_reason() {
        let (host, reason) = ("inner.example:8443".to_owned(), "10.0.0.7 refused it".to_owned());
        for error in [
            UpstreamError::Timeout { host: host.clone(), what: Slow::Head },
            UpstreamError::Held { host: host.clone(), left: Duration::from_secs(7) },
            UpstreamError::Status { host: host.clone(), status: 500, retry_after: None },
            UpstreamError::Failed { host: host.clone(), connected: false, reason: reason.clone() },
            UpstreamError::Cut { host: host.clone(), reason: reason.clone() },
            UpstreamError::Redirect { host: host.clone(), reason: reason.clone() },
            UpstreamError::Malformed { host, reason },
        ] {
            let told = error.told();
            assert!(told.starts_with("an upstream proxy ") && !told.contains("inner") && !told.contains("10.0"), "{told}");
            assert!(error.to_string().contains("inner.example:8443"), "the log has it: {error}");
        }
    }
}
