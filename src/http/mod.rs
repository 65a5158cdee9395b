//! The HTTP server: HTTP/1.1 and HTTP/2 over TCP, TLS and a Unix socket, for any [`Service`].
//!
//! Pingora parses and frames; what stands around it is ours: the listeners, the limits in time and size, the refusals, the
//! framing of bodies and the drain. The invariant: a response that could not be sent whole never looks whole to the client.
//!
//! # What bounds a client
//!
//! | limit | bounds | what happens |
//! |---|---|---|
//! | `limits.connections` | connections of all public listeners | more wait in the kernel's backlog |
//! | [`ADMIN_CONNECTIONS`] | connections of an admin listener | more wait in the kernel's backlog |
//! | `limits.header` | a request head, bytes | 431 |
//! | `limits.header_time` | TLS handshake; a head, from the connection's start or its first byte | 408, or closed if nothing came |
//! | `limits.idle` | the time between requests, h2 connections without a stream | closed |
//! | `limits.stall` | one wait for a piece of a request body; no progress of a response | [`BodyError::Stalled`]; cut |
//! | [`BODY_RATE_MIN`] | the average rate of a request body, after `limits.stall` | [`BodyError::TooSlow`] |
//! | [`READ_RATE_MIN`] | the average rate at which responses are read, after `limits.stall`; over h2 a stream moves 4 KiB in that time | cut |
//! | [`LINGER_TIME`], [`LINGER_BYTES`] | what is read and discarded after an early reply | closed |
//!
//! # What a cut looks like
//!
//! A body that fails part-way ends the connection (HTTP/1) without the last chunk, or resets the stream (HTTP/2). Where neither a
//! length nor chunks say where a body ends, which only an HTTP/1.0 client gets, the connection is reset instead of closed.

use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header};

use crate::cache::Body;
use crate::protocol::media;

mod acknowledged;
mod bind;
mod conn;
mod doors;
mod ended;
mod file;
pub mod front;
mod incoming;
mod inherited;
pub mod keeper;
pub mod local_ca;
mod outgoing;
mod packages;
pub mod paste;
mod patience;
mod peer;
mod request;
mod response;
mod server;
mod session;
mod socket;
pub mod tls;

pub use bind::BindError;
pub use doors::{ADMIN_CONNECTIONS, Addresses, Server};
pub use inherited::Inherited;
pub use server::{Bound, Bounds, Drained};

/// The slowest average rate, bytes a second of waiting, at which a request body may come in, once `limits.stall` is over: 500 MiB
/// then take a day and a half at most. Time that the service itself takes between two pieces does not count.
pub const BODY_RATE_MIN: u64 = 4096;

/// The slowest average rate, bytes a second of waiting, at which a client may read what it is sent, once `limits.stall` is over: who
/// reads more slowly holds on to a file that was to go. It is of a connection; of what an HTTP/2 client has open at the same time each
/// stream has its share. Time that the body's source takes does not count. What counts as read over TCP is what the client's kernel
/// acknowledged; one wait may be longer than `limits.stall` by the time for what it may have taken from a full buffer before it says so:
/// four segments, or half of its window and at most 1 MiB.
pub const READ_RATE_MIN: u64 = 1024;

/// How long a connection (HTTP/1) or stream (HTTP/2) is still read from after a reply that came before the end of the request's
/// body: a client that is still sending would otherwise lose the reply to a reset.
pub const LINGER_TIME: Duration = Duration::from_secs(2);

/// How many bytes are read and discarded meanwhile.
pub const LINGER_BYTES: u64 = 8 << 20;

/// Which door a request came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerKind {
    /// Open to everyone.
    Public {
        /// Over TLS.
        tls: bool,
    },
    /// Operations over TCP; whoever asks must show an admin token.
    AdminTcp,
    /// Operations over `admin.sock`: only the user whom the server runs as reaches it.
    AdminSocket,
}

impl ListenerKind {
    /// Whether the connection is over TLS.
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Public { tls: true })
    }
}

/// A request's head, checked as far as HTTP goes: the path begins with `/`, an HTTP/1.1 request has a Host, the method is not CONNECT.
#[derive(Clone, Debug)]
pub struct Head {
    /// Any token: the service refuses those it does not know.
    pub method: Method,
    /// The path as it was sent: percent-encoded, without the query; neither decoded nor normalised.
    pub path: String,
    /// What stands behind the `?`, as it was sent.
    pub query: Option<String>,
    /// HTTP/1.0, HTTP/1.1 or HTTP/2.
    pub version: Version,
    /// The headers; Host too, where it was sent.
    pub headers: HeaderMap,
    /// Who is connected; `None` on the Unix socket.
    pub peer: Option<SocketAddr>,
    /// Which door.
    pub listener: ListenerKind,
    /// 16 hexadecimal digits made here; what the client sent by this name is not believed.
    pub request_id: String,
}

/// Why a request's body did not come whole. After any of these the connection is not used again.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BodyError {
    /// `limits.stall` went by without a byte.
    #[error("the request's body stalled")]
    Stalled,
    /// Slower on average than [`BODY_RATE_MIN`].
    #[error("the request's body came too slowly")]
    TooSlow,
    /// The client left.
    #[error("the client went away before the end of the request's body")]
    Gone,
    /// Its framing is wrong: a bad chunk.
    #[error("the request's body is malformed")]
    Malformed,
}

/// A request's body as it arrives.
#[async_trait]
pub trait RequestBody: Send {
    /// Its length in bytes: `Some(0)` where there is none, `None` where the client did not tell. At most this many bytes come.
    fn declared_len(&self) -> Option<u64>;

    /// The next piece, never empty, at most 64 KiB; `None` at the end. The first call answers `Expect: 100-continue`: a service that
    /// replies without having called keeps the client from sending at all.
    async fn next(&mut self) -> Result<Option<Bytes>, BodyError>;
}

/// What the server calls for each request.
#[async_trait]
pub trait Service: Send + Sync + 'static {
    /// What the service wants to find again in [`Summary::note`]: who asked, what for.
    type Note: Send + 'static;

    /// Answers a request. A panic in here becomes a 500; the body may be left unread.
    async fn call(&self, head: Head, body: &mut dyn RequestBody) -> Reply<Self::Note>;

    /// Called once, at shutdown, when no call is under way and no other will come, but answers may still be on their way: lets go of what
    /// another process waits for. An HTTP/2 client that opens a stream more than a second after it was told to leave is the exception:
    /// its call comes after this. Where the drain is over, calls were cut, and this has little time.
    async fn retire(&self) {}

    /// Called once a request, after its response has ended one way or the other; also for those that the server itself refused.
    fn done(&self, _summary: Summary<Self::Note>) {}
}

/// A service's answer.
#[derive(Debug)]
pub struct Reply<N = ()> {
    /// 200 to 599; anything else becomes a 500.
    pub status: u16,
    /// In this order. Those that frame the message (Content-Length, Transfer-Encoding, Connection and their like), Date and
    /// X-Request-Id are the server's and are left out.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What follows; on HEAD, 204 and 304 only its length is looked at.
    pub body: Body,
    /// Comes back in [`Summary::note`].
    pub note: Option<N>,
}

impl<N> Reply<N> {
    /// An answer without headers or note.
    pub fn new(status: u16, body: impl Into<Body>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), note: None }
    }

    /// One line of plain text; `line` comes without its newline.
    pub fn line(status: u16, line: impl std::fmt::Display) -> Self {
        let mut reply = Self::new(status, Body::from(format!("{line}\n")));
        reply.headers.push((header::CONTENT_TYPE, HeaderValue::from_static(media::TEXT)));
        reply.headers.push((header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")));
        reply
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The response was handed to the kernel whole.
    Complete,
    /// The client left, or did not read for `limits.stall`, or more slowly than [`READ_RATE_MIN`].
    Gone,
    /// The response's body failed: a stream's error, a file shorter than promised, a panic.
    Failed,
    /// The drain was over.
    Drained,
}

/// What is known of a request when it has ended.
#[derive(Debug)]
pub struct Summary<N = ()> {
    /// As in [`Head::request_id`].
    pub request_id: String,
    /// Empty where the request line could not be read; at most [`LOGGED_CHARS`] characters.
    pub method: String,
    /// The path, escaped, at most [`LOGGED_CHARS`] characters; empty where the request line could not be read.
    pub path: String,
    /// What was answered; 0 if nothing was.
    pub status: u16,
    /// Bytes of the request's body that were read before the answer had ended, without framing.
    pub bytes_in: u64,
    /// Bytes of the response's body, without framing.
    pub bytes_out: u64,
    /// From the end of the request's head to the end of the response.
    pub duration: Duration,
    /// Who was connected; `None` on the Unix socket.
    pub peer: Option<SocketAddr>,
    /// Which door.
    pub listener: ListenerKind,
    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2`.
    pub protocol: &'static str,
    /// How it ended.
    pub end: End,
    /// Why the server itself refused the request, or what went wrong: one line, at most [`LOGGED_CHARS`] characters and the reason.
    pub detail: Option<String>,
    /// What the service attached to its reply; `None` if it was not asked.
    pub note: Option<N>,
}

/// How much of what a client sent goes into a log line, in characters after escaping.
pub const LOGGED_CHARS: usize = 200;

/// `hostile` made fit for a log line: escaped, and cut after [`LOGGED_CHARS`] characters.
pub fn logged(hostile: &[u8]) -> String {
    let mut escaped = hostile.escape_ascii();
    let mut text: String = escaped.by_ref().take(LOGGED_CHARS).map(char::from).collect();
    if escaped.next().is_some() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_logged_is_escaped_and_short() {
        assert_eq!(logged(b"/plain/path"), "/plain/path");
        assert_eq!(logged("\u{1b}[31m\n\"é".as_bytes()), "\\x1b[31m\\n\\\"\\xc3\\xa9");
        assert_eq!(logged(&[b'x'; LOGGED_CHARS]), "x".repeat(LOGGED_CHARS));
        assert_eq!(logged(&[b'x'; LOGGED_CHARS + 1]), "x".repeat(LOGGED_CHARS) + "…");
        assert_eq!(logged(&[0; 1 << 20]).chars().count(), LOGGED_CHARS + 1);
    }
}
