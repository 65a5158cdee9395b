//! A request's head as Pingora read it, checked and made a [`Head`]: Pingora lets more through than we serve.

use http::{Method, Version, header};
use httparse::Error as ParseError;
use pingora::Error;
use pingora::http::RequestHeader;

use super::{Head, ListenerKind};

/// Why the server answers a request itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    /// What the client reads.
    pub(super) line: &'static str,
    /// What only the log says: words of ours and of the parser, nothing that the client sent.
    pub(super) detail: Option<String>,
}

impl Refusal {
    pub(super) const fn new(status: u16, line: &'static str) -> Self {
        Self { status, line, detail: None }
    }
}

pub(super) const HEAD_TOO_LARGE: Refusal = Refusal::new(431, "the request's head is too large (limits.header)");
pub(super) const HEAD_TOO_SLOW: Refusal = Refusal::new(408, "the request's head did not come in time (limits.header_time)");

/// What to tell the client whose request Pingora could not read.
pub(super) fn unreadable(error: &Error) -> Refusal {
    let cause = error.root_cause().downcast_ref::<ParseError>();
    let mut refusal = match cause {
        Some(ParseError::Version) => Refusal::new(400, "this is not HTTP/1.1; HTTP/2 is spoken over https only"),
        Some(ParseError::TooManyHeaders) => Refusal::new(431, "the request has too many headers"),
        _ => Refusal::new(400, "this is not a well-formed HTTP request"),
    };
    // Never Pingora's whole text: it quotes the head, credentials and all.
    refusal.detail = Some(cause.map_or_else(|| error.reason_str().to_owned(), ToString::to_string));
    refusal
}

/// Where a request came from, and its id.
pub(super) struct Arrival {
    pub(super) peer: Option<std::net::SocketAddr>,
    pub(super) listener: ListenerKind,
    pub(super) request_id: String,
}

/// Checks what Pingora let pass.
///
/// # Errors
/// The refusal to answer with.
pub(super) fn admit(request: &RequestHeader, arrival: Arrival) -> Result<Head, Refusal> {
    if request.method == Method::CONNECT {
        return Err(Refusal::new(400, "CONNECT is not served here: this is no forward proxy"));
    }
    check_target(request.raw_path())?;
    let path = request.uri.path();
    if !path.starts_with('/') {
        return Err(Refusal::new(400, "the request's target must be a path"));
    }
    let codings = request.headers.get_all(header::TRANSFER_ENCODING);
    if codings.iter().enumerate().any(|(i, coding)| i > 0 || !coding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
        return Err(Refusal::new(400, "the only Transfer-Encoding known here is chunked"));
    }
    match request.headers.get(header::HOST) {
        Some(host) if host.to_str().is_err() => return Err(Refusal::new(400, "the Host header is malformed")),
        None if request.version == Version::HTTP_11 => return Err(Refusal::new(400, "an HTTP/1.1 request needs a Host header")),
        Some(_) | None => {}
    }
    Ok(Head {
        method: request.method.clone(),
        path: path.to_owned(),
        query: request.uri.query().map(str::to_owned),
        version: request.version,
        headers: request.headers.clone(),
        peer: arrival.peer,
        listener: arrival.listener,
        request_id: arrival.request_id,
    })
}

/// Origin-form, or the absolute form of the same host (Pingora compared it): Pingora itself reads `GET foo` as a request for `/`.
fn check_target(target: &[u8]) -> Result<(), Refusal> {
    let absolute = |scheme: &[u8]| target.len() > scheme.len() && target[..scheme.len()].eq_ignore_ascii_case(scheme);
    if !target.starts_with(b"/") && !absolute(b"http://") && !absolute(b"https://") {
        return Err(Refusal::new(400, "the request's target must be a path"));
    }
    Ok(())
}
