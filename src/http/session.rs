//! One connection's requests, from the wait for a head to the end of the response and what follows it: the next request, a linger, or
//! the end. Pingora calls [`HttpServerApp::process_new_http`] for each HTTP/1 request in turn and for each HTTP/2 stream.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::FutureExt;
use http::{Method, StatusCode, Version};
use pingora::ErrorType;
use pingora::apps::{HttpPersistentSettings, HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora::server::ShutdownWatch;
use tokio::io::AsyncReadExt;
use tokio::sync::{mpsc, watch};

use super::conn::Wire;
use super::incoming::Incoming;
use super::outgoing::{self, Cut, Reader, Response};
use super::request::{self, Arrival, Refusal};
use super::server::FAREWELL_TIME;
use super::{End, Head, LINGER_BYTES, LINGER_TIME, ListenerKind, Reply, Service, Summary, logged};
use crate::access::masked;
use crate::config::Limits;

/// How long an idle connection still waits at shutdown: for a request that was on its way. A client that knows the connection sends its
/// request again if this was too short; one that has just connected has [`FAREWELL_TIME`], since it would take the close for a failure.
const LEAVE_TIME: Duration = Duration::from_millis(100);

/// TLS records are counted, not what is in them: this much more may be read before a head is too large.
const TLS_SLACK: u64 = 32 << 10;

/// What one h2 client may have open.
const H2_STREAMS: u32 = 100;
const H2_STREAM_WINDOW: u32 = 256 << 10;
const H2_CONNECTION_WINDOW: u32 = 1 << 20;
const H2_SEND_BUFFER: usize = 256 << 10;

/// A connection and what its requests need.
pub(super) struct Connection<S> {
    pub(super) service: Arc<S>,
    pub(super) limits: Arc<Limits>,
    pub(super) wire: Arc<Wire>,
    pub(super) peer: Option<SocketAddr>,
    pub(super) listener: ListenerKind,
    pub(super) options: HttpServerOptions,
    /// The drain is over: end now.
    pub(super) cut: watch::Receiver<bool>,
    /// A request has begun here.
    pub(super) used: AtomicBool,
    /// Calls of [`HttpServerApp::process_new_http`] that have not returned.
    pub(super) requests: AtomicUsize,
    /// The next request's first bytes came with the last one.
    pub(super) pipelined: AtomicBool,
    /// The server retires its service when nobody may ask any more.
    pub(super) asking: Asking,
    /// The server waits until all of these are gone.
    pub(super) _alive: mpsc::Sender<Infallible>,
}

/// What holds it may call the service.
type Right = mpsc::Sender<Infallible>;

/// A connection's right to call the service. It has it from its start; each request takes it along until its call has returned, and the
/// next request of an HTTP/1 connection gets it anew, unless the server has stopped meanwhile and everyone else has given it up.
pub(super) struct Asking {
    /// Until the first request of an HTTP/1 connection; of an HTTP/2 connection, until its farewell at shutdown.
    own: Mutex<Option<Right>>,
    anew: mpsc::WeakSender<Infallible>,
}

impl Asking {
    pub(super) fn new(may_ask: Right) -> Self {
        Self { anew: may_ask.downgrade(), own: Mutex::new(Some(may_ask)) }
    }

    /// No request that is not here yet may ask.
    pub(super) fn give_up(&self) {
        self.own.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// The right for one request; `keep`: and for those beside it. `None` if it comes too late.
    fn right(&self, keep: bool) -> Option<Right> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        let right = if keep { own.clone() } else { own.take() };
        right.or_else(|| self.anew.upgrade())
    }
}

/// Counts while it lives, however the future that holds it ends.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is known of a request so far; outlives its handling, however that ends.
struct Record<N> {
    request_id: String,
    method: String,
    path: String,
    protocol: &'static str,
    began: Instant,
    status: u16,
    note: Option<N>,
    detail: Option<String>,
}

impl<N> Record<N> {
    fn new(version: Version) -> Self {
        let protocol = match version {
            Version::HTTP_2 => "HTTP/2",
            Version::HTTP_10 => "HTTP/1.0",
            _ => "HTTP/1.1",
        };
        Self {
            request_id: new_request_id(),
            method: String::new(),
            path: String::new(),
            protocol,
            began: Instant::now(),
            status: 0,
            note: None,
            detail: None,
        }
    }
}

/// What came instead of a request's head.
enum NoHead {
    /// Nothing, or not enough to answer to.
    Gone,
    Refused(Refusal),
}

impl<S: Service> Connection<S> {
    /// Waits for an HTTP/1 request's head: for its first byte up to `limits.idle`, then for all of it up to `limits.header_time`.
    async fn read_head(&self, session: &mut ServerSession, stop: &ShutdownWatch) -> Result<(), NoHead> {
        // Pingora's own timers are a read each, so that a byte now and then would hold the connection for ever.
        session.set_keepalive(Some(0));
        session.set_read_timeout(None);
        let before = self.wire.received();
        let slack = if self.listener.is_tls() { TLS_SLACK } else { 0 };
        self.wire.begin_head(self.limits.header.saturating_add(slack));
        let fresh = !self.used.swap(true, Ordering::Relaxed);
        let mut timed = self.pipelined.swap(false, Ordering::Relaxed) || fresh;
        let mut begun = timed && !fresh;
        let mut leaving = false;
        let mut stop = stop.clone();
        let read = {
            let mut stopped = pin!(stop.wait_for(|stop| *stop));
            let first = if timed { self.limits.header_time } else { self.limits.idle };
            let mut deadline = pin!(tokio::time::sleep(first));
            let mut read = pin!(session.read_request());
            poll_fn(|cx| {
                if let Poll::Ready(read) = read.as_mut().poll(cx) {
                    return Poll::Ready(Some(read));
                }
                begun |= self.wire.received() > before;
                if begun && (leaving || !timed) {
                    (timed, leaving) = (true, false);
                    deadline.as_mut().reset(tokio::time::Instant::now() + self.limits.header_time);
                }
                if !begun && !leaving && stopped.as_mut().poll(cx).is_ready() {
                    leaving = true;
                    let leave = if fresh { FAREWELL_TIME } else { LEAVE_TIME };
                    let until = deadline.deadline().min(tokio::time::Instant::now() + leave);
                    deadline.as_mut().reset(until);
                }
                deadline.as_mut().poll(cx).map(|()| None)
            })
            .await
        };
        let overrun = self.wire.end_head();
        match read {
            Some(Ok(true)) => Ok(()),
            Some(Ok(false)) => Err(NoHead::Gone),
            Some(Err(_)) if overrun => Err(NoHead::Refused(request::HEAD_TOO_LARGE)),
            Some(Err(error)) => Err(match error.etype() {
                ErrorType::ConnectionClosed | ErrorType::ReadError => NoHead::Gone,
                _ => NoHead::Refused(request::unreadable(&error)),
            }),
            None if begun => Err(NoHead::Refused(request::HEAD_TOO_SLOW)),
            None => Err(NoHead::Gone),
        }
    }

    /// Answers to a head that could not be read, and closes.
    async fn refuse_unread(&self, mut session: ServerSession, refusal: Refusal) {
        let mut record = Record::new(Version::HTTP_11);
        let end = self.refuse(&mut session, refusal, &mut record, false).await;
        self.done(&session, record, end);
        self.linger(session).await;
    }

    async fn refuse(&self, session: &mut ServerSession, refusal: Refusal, record: &mut Record<S::Note>, head: bool) -> End {
        session.set_keepalive(None);
        let reply = Reply::<()>::line(refusal.status, refusal.line);
        record.detail = Some(refusal.detail.map_or_else(|| refusal.line.to_owned(), |detail| format!("{}: {detail}", refusal.line)));
        let version = if session.is_http2() { Version::HTTP_2 } else { Version::HTTP_11 };
        self.send(session, reply, record, version, head).await
    }

    /// From a read head to the end of the response.
    async fn exchange(
        &self,
        session: &mut ServerSession,
        stop: &ShutdownWatch,
        asking: Option<Right>,
        record: &mut Record<S::Note>,
    ) -> End {
        let is_head = session.req_header().method == Method::HEAD;
        let head = match self.admit(session, &record.request_id) {
            Ok(head) => head,
            Err(refusal) => {
                drop(asking);
                return self.refuse(session, refusal, record, is_head).await;
            }
        };
        // Only where it is on: Pingora has turned it off for HTTP/1.0 and for ambiguous framing.
        if session.get_keepalive().is_some() {
            session.set_keepalive((!*stop.borrow()).then_some(0));
        }
        let version = head.version;
        let mut reply = self.call(session, head, record).await;
        drop(asking);
        if *stop.borrow() {
            session.set_keepalive(None);
        }
        record.note = reply.note.take();
        let end = self.send(session, reply, record, version, is_head).await;
        if end != End::Complete {
            session.set_keepalive(None);
        }
        end
    }

    fn admit(&self, session: &ServerSession, request_id: &str) -> Result<Head, Refusal> {
        if let ServerSession::H1(h1) = session
            && h1.get_headers_raw_bytes().len() as u64 > self.limits.header
        {
            return Err(request::HEAD_TOO_LARGE);
        }
        let arrival = Arrival { peer: self.peer, listener: self.listener, request_id: request_id.to_owned() };
        request::admit(session.req_header(), arrival)
    }

    /// Calls the service; its panic is a 500.
    async fn call(&self, session: &mut ServerSession, head: Head, record: &mut Record<S::Note>) -> Reply<S::Note> {
        let mut body = Incoming::new(session, self.limits.stall);
        let reply = AssertUnwindSafe(self.service.call(head, &mut body)).catch_unwind().await;
        if let Some(error) = body.failed() {
            // Where the next request would begin is not known: Pingora would take a broken body for a finished one.
            record.detail = Some(error.to_string());
            session.set_keepalive(None);
        }
        reply.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            let text = logged(text.unwrap_or("not a text").as_bytes());
            tracing::error!(request_id = record.request_id, panic = text, "a request's handler panicked");
            record.detail = Some(format!("panic: {text}"));
            session.set_keepalive(None);
            Reply::line(500, format_args!("internal error; the log has more under request {}", record.request_id))
        })
    }

    async fn send<N>(
        &self,
        session: &mut ServerSession,
        reply: Reply<N>,
        record: &mut Record<S::Note>,
        version: Version,
        head: bool,
    ) -> End {
        let status = StatusCode::from_u16(reply.status).ok().filter(|status| (200..600).contains(&status.as_u16()));
        let (status, headers, body) = match status {
            Some(status) => (status, reply.headers, reply.body),
            None => {
                record.detail = Some(format!("the service answered with status {}", reply.status));
                let reply = Reply::<()>::line(500, "internal error");
                (StatusCode::INTERNAL_SERVER_ERROR, reply.headers, reply.body)
            }
        };
        record.status = status.as_u16();
        let response = Response { status, headers, request_id: &record.request_id, version, head, body };
        let reader = Reader::new(self.limits.stall, &self.requests);
        let (end, detail) = match outgoing::send(session, &self.wire, reader, response).await {
            Ok(()) => return End::Complete,
            Err(Cut::Gone(detail)) => (End::Gone, detail),
            Err(Cut::Failed(detail)) => (End::Failed, detail),
        };
        record.detail = Some(detail);
        end
    }

    fn done(&self, session: &ServerSession, record: Record<S::Note>, end: End) {
        self.service.done(Summary {
            request_id: record.request_id,
            method: record.method,
            path: record.path,
            status: record.status,
            bytes_in: session.body_bytes_read() as u64,
            bytes_out: session.body_bytes_sent() as u64,
            duration: record.began.elapsed(),
            peer: self.peer,
            listener: self.listener,
            protocol: record.protocol,
            end,
            detail: record.detail,
            note: record.note,
        });
    }

    /// The response is sent: waits for the next request on this connection, or closes it so that the client sees the response.
    async fn finish(&self, mut session: ServerSession) -> Option<ReusedHttpStream> {
        if !session.is_body_done() {
            self.linger(session).await;
            return None;
        }
        let mut settings = HttpPersistentSettings::for_session(&session);
        let (stream, prefix) = session.finish().await.ok().flatten()?.into_parts();
        if let Some(prefix) = prefix {
            self.pipelined.store(true, Ordering::Relaxed);
            settings.set_pipelined_prefix(prefix);
        }
        Some(ReusedHttpStream::new(stream, Some(settings)))
    }

    /// Reads and discards for a while: closing on a client that still sends would reset the connection, and the client might lose the
    /// response.
    async fn linger(&self, mut session: ServerSession) {
        let discard = async {
            match session {
                ServerSession::H1(h1) => discard_rest(h1.into_inner()).await,
                _ => {
                    let start = session.body_bytes_read() as u64;
                    while let Ok(Some(_)) = session.read_request_body().await {
                        if session.body_bytes_read() as u64 - start > LINGER_BYTES {
                            break;
                        }
                    }
                }
            }
        };
        let _ = tokio::time::timeout(LINGER_TIME, discard).await;
    }
}

/// Ends our side, so that the client knows that the response is whole, and reads until it ends its own.
async fn discard_rest(mut stream: Stream) {
    stream.shutdown().await;
    let mut scrap = vec![0; 64 << 10];
    let mut left = LINGER_BYTES;
    while let Ok(got @ 1..) = stream.read(&mut scrap).await {
        left = left.saturating_sub(got as u64);
        if left == 0 {
            break;
        }
    }
}

#[async_trait]
impl<S: Service> HttpServerApp for Connection<S> {
    async fn process_new_http(self: &Arc<Self>, mut session: ServerSession, stop: &ShutdownWatch) -> Option<ReusedHttpStream> {
        let _counted = Counted::new(&self.requests);
        let asking = self.asking.right(session.is_http2());
        if session.is_http2() {
            self.used.store(true, Ordering::Relaxed);
        } else if asking.is_none() {
            // Closed between two requests: the client sends the next one elsewhere.
            self.linger(session).await;
            return None;
        } else if let Err(no_head) = self.read_head(&mut session, stop).await {
            drop(asking);
            if let NoHead::Refused(refusal) = no_head {
                self.refuse_unread(session, refusal).await;
            }
            return None;
        }
        session.set_pipelining_enabled(true);
        let mut record = Record::new(session.req_header().version);
        record.method = logged(session.req_header().method.as_str().as_bytes());
        record.path = logged(masked(session.req_header().uri.path()).as_bytes());
        let mut cut = self.cut.clone();
        let end = tokio::select! {
            end = self.exchange(&mut session, stop, asking, &mut record) => end,
            _ = cut.wait_for(|cut| *cut) => End::Drained,
        };
        self.done(&session, record, end);
        match end {
            End::Complete => self.finish(session).await,
            // The session is dropped unfinished: no last chunk, and RST_STREAM on h2.
            End::Gone | End::Failed | End::Drained => None,
        }
    }

    fn h2_options(&self) -> Option<H2Options> {
        let mut options = default_h2_options();
        options
            .max_concurrent_streams(H2_STREAMS)
            .initial_window_size(H2_STREAM_WINDOW)
            .initial_connection_window_size(H2_CONNECTION_WINDOW)
            .max_send_buffer_size(H2_SEND_BUFFER)
            .max_header_list_size(u32::try_from(self.limits.header).unwrap_or(u32::MAX));
        Some(options)
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }
}

/// 16 hexadecimal digits. All zeros if the system has no randomness to give, which is no reason not to serve.
fn new_request_id() -> String {
    let mut bytes = [0; 8];
    let _ = getrandom::fill(&mut bytes);
    format!("{:016x}", u64::from_be_bytes(bytes))
}
