//! A request's body, read from the session under its limits.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Version, header};
use pingora::ErrorType;
use pingora::protocols::http::ServerSession;

use super::{BODY_RATE_MIN, BodyError, RequestBody};

/// A request's body, and what its reading did to the session.
pub(super) struct Incoming<'a> {
    session: &'a mut ServerSession,
    declared: Option<u64>,
    /// The client waits for `100 Continue`.
    expects: bool,
    stall: Duration,
    /// Spent waiting for the client so far.
    waited: Duration,
    received: u64,
    failed: Option<BodyError>,
}

impl<'a> Incoming<'a> {
    pub(super) fn new(session: &'a mut ServerSession, stall: Duration) -> Self {
        let declared = declared_len(session);
        let head = session.req_header();
        // RFC 9110 10.1.1: from an HTTP/1.0 client it means nothing; over HTTP/2 Pingora cannot send it.
        let expects = head.version == Version::HTTP_11
            && head.headers.get(header::EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        Self { session, declared, expects, stall, waited: Duration::ZERO, received: 0, failed: None }
    }

    /// Why reading failed, if it did: the session must then not be used for another request.
    pub(super) fn failed(&self) -> Option<&BodyError> {
        self.failed.as_ref()
    }

    async fn read(&mut self) -> Result<Option<Bytes>, BodyError> {
        if std::mem::take(&mut self.expects) {
            self.session.write_continue_response().await.map_err(|_| BodyError::Gone)?;
        }
        let allowed = self.stall + Duration::from_millis(self.received.saturating_mul(1000) / BODY_RATE_MIN);
        let left = allowed.saturating_sub(self.waited);
        let began = Instant::now();
        let read = tokio::time::timeout(left.min(self.stall), self.session.read_request_body()).await;
        self.waited += began.elapsed();
        match read {
            // Whatever it is called, its time is over.
            Err(_) if left < self.stall / 2 => Err(BodyError::TooSlow),
            Err(_) => Err(BodyError::Stalled),
            Ok(Ok(piece)) => {
                self.received += piece.as_ref().map_or(0, |piece| piece.len() as u64);
                Ok(piece)
            }
            Ok(Err(error)) => Err(match error.etype() {
                ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::H2Error => BodyError::Gone,
                _ => BodyError::Malformed,
            }),
        }
    }
}

#[async_trait]
impl RequestBody for Incoming<'_> {
    fn declared_len(&self) -> Option<u64> {
        self.declared
    }

    async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        loop {
            match self.read().await {
                // An h2 DATA frame may carry nothing.
                Ok(Some(piece)) if piece.is_empty() => {}
                Ok(piece) => return Ok(piece),
                Err(error) => {
                    self.failed = Some(error.clone());
                    return Err(error);
                }
            }
        }
    }
}

fn declared_len(session: &mut ServerSession) -> Option<u64> {
    if session.is_body_empty() {
        return Some(0);
    }
    // Pingora has refused lengths that differ or are no numbers, and dropped one that stands beside chunks.
    let value = session.req_header().headers.get(header::CONTENT_LENGTH)?.to_str().ok()?;
    value.split(',').next()?.trim().parse().ok()
}
