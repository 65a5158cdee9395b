//! Sends a response: its head, the framing of its body, and the body in pieces. A body that does not come whole is never ended.

use std::error::Error;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use http::{HeaderName, HeaderValue, StatusCode, Version, header};
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;

use super::conn::Wire;
use super::file::FileReader;
use super::patience::Patience;
use super::{READ_RATE_MIN, logged};
use crate::cache::Body;
use crate::observe::chain;

/// Bytes of one write to an h2 stream, which must move in the time that is left: at most one frame.
const H2_PIECE_MAX: usize = 16 << 10;
/// Likewise, at least: where a client has many streams, smaller ones would cost those who read fast.
const H2_PIECE_MIN: usize = 4 << 10;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Headers that frame a message or belong to the connection: never a service's.
const OURS: [HeaderName; 9] = [
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    header::TRAILER,
    header::DATE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    X_REQUEST_ID,
];

/// Why a response was not sent whole.
#[derive(Debug)]
pub(super) enum Cut {
    /// The client left, or does not read, or too slowly.
    Gone(String),
    /// The body failed.
    Failed(String),
}

impl Cut {
    fn gone(error: impl std::fmt::Display) -> Self {
        Self::Gone(logged(error.to_string().as_bytes()))
    }

    fn failed(error: impl std::fmt::Display) -> Self {
        Self::Failed(logged(error.to_string().as_bytes()))
    }

    /// The error and what caused it.
    fn failed_by(error: &(dyn Error + 'static)) -> Self {
        Self::failed(chain(error))
    }
}

/// A response to send.
pub(super) struct Response<'a> {
    pub(super) status: StatusCode,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) request_id: &'a str,
    /// Of the request.
    pub(super) version: Version,
    /// The request was a HEAD.
    pub(super) head: bool,
    pub(super) body: Body,
}

/// Who is to read a response.
pub(super) struct Reader<'a> {
    patience: Patience,
    /// What the client has open on this connection, this response with it.
    open: &'a AtomicUsize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(stall: Duration, open: &'a AtomicUsize) -> Self {
        Self { patience: Patience::new(stall), open }
    }

    /// A client with a slow line may have many streams on it: the slowest rate is for all of them together.
    fn moved(&mut self, waited: Duration, bytes: u64) {
        self.patience.moved(waited, bytes.saturating_mul(self.streams()));
    }

    /// Bytes that may be waited for at once. At the slowest rate they take half of the time that is left: part of a piece earns nothing.
    fn piece(&self) -> usize {
        let millis = u64::try_from(self.patience.left().as_millis()).unwrap_or(u64::MAX);
        let bytes = millis.saturating_mul(READ_RATE_MIN) / (2 * 1000 * self.streams());
        usize::try_from(bytes).unwrap_or(usize::MAX).clamp(H2_PIECE_MIN, H2_PIECE_MAX)
    }

    fn streams(&self) -> u64 {
        self.open.load(Ordering::Relaxed).max(1) as u64
    }
}

/// How the end of a body is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// There is none; a length may be told.
    Bodyless(Option<u64>),
    Length(u64),
    Chunked,
    /// END_STREAM.
    Stream,
    /// HTTP/1.0 without a length.
    Close,
}

impl Response<'_> {
    fn framing(&self) -> Framing {
        match (self.body.len(), self.version) {
            // Neither status has a length of its own to tell.
            _ if self.status == StatusCode::NO_CONTENT || self.status == StatusCode::NOT_MODIFIED => Framing::Bodyless(None),
            (len, _) if self.head => Framing::Bodyless(len),
            (Some(len), _) => Framing::Length(len),
            (None, Version::HTTP_2) => Framing::Stream,
            (None, Version::HTTP_11) => Framing::Chunked,
            (None, _) => Framing::Close,
        }
    }

    fn header(&mut self, framing: Framing) -> pingora::Result<Box<ResponseHeader>> {
        let mut out = ResponseHeader::build(self.status, Some(self.headers.len() + 4))?;
        for (name, value) in self.headers.drain(..).filter(|(name, _)| !OURS.contains(name)) {
            out.append_header(name, value)?;
        }
        out.insert_header(X_REQUEST_ID, self.request_id)?;
        match framing {
            Framing::Bodyless(Some(len)) | Framing::Length(len) => out.insert_header(header::CONTENT_LENGTH, len.to_string())?,
            Framing::Chunked => out.insert_header(header::TRANSFER_ENCODING, "chunked")?,
            Framing::Bodyless(None) | Framing::Stream | Framing::Close => {}
        }
        Ok(Box::new(out))
    }
}

/// Sends `response` whole, its end included.
///
/// # Errors
/// [`Cut`]: the session must then be dropped, not finished.
pub(super) async fn send(session: &mut ServerSession, wire: &Wire, mut reader: Reader<'_>, mut response: Response<'_>) -> Result<(), Cut> {
    let framing = response.framing();
    let header = response.header(framing).map_err(Cut::failed)?;
    let empty = matches!(framing, Framing::Bodyless(_) | Framing::Length(0));
    match session {
        // Even an empty DATA frame after the head of a HEAD is a protocol error to some clients.
        ServerSession::H2(h2) => h2.write_response_header(header, empty).map_err(Cut::gone)?,
        _ => {
            wire.cork(true);
            let wrote = session.write_response_header(header).await;
            wire.cork(false);
            wrote.map_err(Cut::gone)?;
        }
    }
    // Over HTTP/1 the connection's own patience is all that it takes.
    session.set_write_timeout(session.is_http2().then(|| reader.patience.left()));
    if !empty {
        let sent = AssertUnwindSafe(send_body(session, &mut reader, response.body)).catch_unwind().await;
        let sent = sent.unwrap_or_else(|_| Err(Cut::failed("the body panicked")));
        if sent.is_err() && framing == Framing::Close {
            wire.reset_on_close();
        }
        sent?;
    }
    session.write_response_body(Bytes::new(), true).await.map_err(Cut::gone)
}

async fn send_body(session: &mut ServerSession, client: &mut Reader<'_>, body: Body) -> Result<(), Cut> {
    match body {
        Body::Bytes(bytes) => send_piece(session, client, bytes).await,
        Body::File { file, from, len } => {
            let mut reader = FileReader::new(file, from, len);
            while let Some(piece) = reader.next().await.map_err(|error| Cut::failed_by(&error))? {
                match session {
                    ServerSession::H1(h1) => drop(h1.write_body(piece).await.map_err(Cut::gone)?),
                    _ => send_piece(session, client, Bytes::copy_from_slice(piece)).await?,
                }
            }
            Ok(())
        }
        Body::Stream { len, mut stream } => {
            let mut left = len;
            while let Some(piece) = stream.next().await {
                let piece = piece.map_err(|error| Cut::failed_by(&error))?;
                if let Some(left) = &mut left {
                    *left = left.checked_sub(piece.len() as u64).ok_or_else(|| Cut::failed("the body is longer than promised"))?;
                }
                send_piece(session, client, piece).await?;
            }
            match left {
                Some(1..) => Err(Cut::failed("the body is shorter than promised")),
                _ => Ok(()),
            }
        }
    }
}

async fn send_piece(session: &mut ServerSession, client: &mut Reader<'_>, mut piece: Bytes) -> Result<(), Cut> {
    if !session.is_http2() {
        return session.write_response_body(piece, false).await.map_err(Cut::gone);
    }
    while !piece.is_empty() {
        let next = piece.split_to(piece.len().min(client.piece()));
        let (began, bytes) = (Instant::now(), next.len() as u64);
        session.set_write_timeout(Some(client.patience.left()));
        session.write_response_body(next, false).await.map_err(Cut::gone)?;
        client.moved(began.elapsed(), bytes);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether each of a client's streams, which share this many bytes a second, is waited for, for ten hours.
    fn lives(stall: u64, streams: usize, rate: u64) -> bool {
        let open = AtomicUsize::new(streams);
        let mut reader = Reader::new(Duration::from_secs(stall), &open);
        let mut passed = Duration::ZERO;
        while passed < Duration::from_secs(36_000) {
            let piece = reader.piece() as u64;
            let waited = Duration::from_millis(piece * 1000 * streams as u64 / rate);
            if waited >= reader.patience.left() {
                return false;
            }
            reader.moved(waited, piece);
            passed += waited;
        }
        true
    }

    #[test]
    fn a_client_that_reads_fast_enough_lives_however_many_streams_it_has_and_nobody_else() {
        for (stall, streams) in [(60, 1), (60, 8), (60, 24), (10, 1), (10, 4)] {
            assert!(lives(stall, streams, 2 * READ_RATE_MIN), "{streams} streams, {stall} s");
            assert!(!lives(stall, streams, READ_RATE_MIN / 2), "{streams} streams, {stall} s");
        }
    }

    #[test]
    fn a_client_with_one_stream_and_time_is_sent_whole_frames() {
        let open = AtomicUsize::new(1);
        assert_eq!(Reader::new(Duration::from_secs(60), &open).piece(), H2_PIECE_MAX);
        open.store(100, Ordering::Relaxed);
        assert_eq!(Reader::new(Duration::from_secs(60), &open).piece(), H2_PIECE_MIN);
    }
}
