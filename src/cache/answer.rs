//! What a question to the cache comes to: an answer, an absence, or a failure. The three are never mixed up.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::egress::Denied;
use crate::upstream::UpstreamError;

use super::memo::sha256;
use super::shelf::strong;
use super::{Body, Mismatch, Unvouched, VouchError};

/// How an answer came about (RFC 9211).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheStatus {
    /// From the cache.
    Hit,
    /// From upstream, and kept.
    Miss,
    /// From the cache though not fresh any more: upstream is being asked meanwhile, or failed.
    Stale,
    /// Made of what the cache holds of the module, while upstream fails.
    Offline,
    /// From upstream, and not kept.
    Bypass,
}

impl CacheStatus {
    /// For logs and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Stale => "stale",
            Self::Offline => "offline",
            Self::Bypass => "bypass",
        }
    }
}

impl fmt::Display for CacheStatus {
    /// The value of a `Cache-Status` header.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hit => "modgate; hit",
            Self::Miss => "modgate; fwd=miss",
            Self::Stale => "modgate; fwd=stale",
            Self::Offline => "modgate; fwd=stale; detail=offline",
            Self::Bypass => "modgate; fwd=bypass",
        })
    }
}

/// An answer with a body.
#[derive(Debug)]
pub struct Cached {
    /// The body.
    pub body: Body,
    /// Its media type.
    pub content_type: &'static str,
    /// How it came about.
    pub status: CacheStatus,
    /// Its entity tag, quoted, where there is one.
    pub etag: Option<String>,
}

impl Cached {
    /// Of bytes that are at hand, whole; and their entity tag, if that is at hand too.
    pub(crate) fn whole(bytes: Bytes, etag: Option<String>, content_type: &'static str, status: CacheStatus) -> Self {
        let etag = etag.or_else(|| Some(strong(&sha256(&bytes))));
        Self { body: Body::Bytes(bytes), content_type, status, etag }
    }
}

/// Upstream says that it does not have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absence {
    /// 404 or 410.
    pub code: u16,
    /// What to tell the client: plain text, at most 600 bytes and 8 lines.
    pub text: String,
    /// How this came about.
    pub status: CacheStatus,
}

/// What a question came to.
#[derive(Debug)]
pub enum Resolved {
    /// It is there.
    Found(Cached),
    /// It is not.
    Absent(Absence),
}

/// Why there is no answer. None of these is an absence.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CacheError {
    /// The path may not leave.
    #[error(transparent)]
    Denied(Arc<Denied>),
    /// Upstream was too slow.
    #[error(transparent)]
    Timeout(Arc<UpstreamError>),
    /// Upstream failed in another way.
    #[error(transparent)]
    Upstream(Arc<UpstreamError>),
    /// There is no upstream, and it is not cached.
    #[error("upstream is off, and this is not cached")]
    Off,
    /// It waited for its turn to ask upstream, in vain.
    #[error("too many transfers from upstream are under way: waited {} s for a turn", .0.as_secs())]
    Busy(Duration),
    /// Nobody vouches for it.
    #[error(transparent)]
    Unvouched(Arc<Unvouched>),
    /// It is not what the checksum database says.
    #[error(transparent)]
    Mismatch(Arc<Mismatch>),
    /// It broke here.
    #[error("{0}")]
    Storage(String),
}

impl From<UpstreamError> for CacheError {
    fn from(error: UpstreamError) -> Self {
        match error {
            UpstreamError::Off => Self::Off,
            UpstreamError::Denied(denied) => Self::Denied(Arc::new(denied)),
            UpstreamError::Timeout { .. } => Self::Timeout(Arc::new(error)),
            UpstreamError::Down(_)
            | UpstreamError::Held { .. }
            | UpstreamError::Status { .. }
            | UpstreamError::Failed { .. }
            | UpstreamError::Cut { .. }
            | UpstreamError::Redirect { .. }
            | UpstreamError::Malformed { .. } => Self::Upstream(Arc::new(error)),
        }
    }
}

impl CacheError {
    /// Whether a stale answer is better than this.
    pub(super) fn is_outage(&self) -> bool {
        match self {
            Self::Timeout(_) | Self::Upstream(_) | Self::Off | Self::Busy(_) => true,
            Self::Denied(_) | Self::Unvouched(_) | Self::Mismatch(_) | Self::Storage(_) => false,
        }
    }

    /// Whether upstream has it, and nobody can be asked whether it is the right thing.
    pub(super) fn is_unverifiable(&self) -> bool {
        matches!(self, Self::Unvouched(unvouched) if matches!(unvouched.error, VouchError::Away(_)))
    }
}
