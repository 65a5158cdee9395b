//! The accept loops and the way to the end: connections are counted before they are accepted, and drained at shutdown.
//!
//! # The end, in order
//!
//! 1. The public listeners accept no more. What waits in those that are our own is still served, since closing them would reset it; what
//!    waits in those that a service manager passed on waits for the next process.
//! 2. Every call of the service ends: those under way, and those of requests that were on their way. A connection that may still bring a
//!    request *may ask*; one that only sends an answer may not, and no further request is read from it. When nobody may ask, no call
//!    is under way and none will come.
//! 3. The admin listeners close, which so far told a balancer and an operator of the drain; `admin.sock` loses its name. What they still
//!    serve soon ends or is cut: a slow reader of a backup must not keep the next process waiting.
//! 4. The service is [retired](Service::retire): it lets go of what the next process needs. *From here on the next process may be at work.*
//! 5. Answers are sent to their end.
//!
//! All of it takes at most `server.drain`; then what is left is cut. The service is retired in any case.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use pingora::apps::{HttpServerOptions, ServerApp};
use pingora::listeners::tls::Acceptor;
use pingora::protocols::Stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::conn::{Conn, Io, Wire};
use super::doors::{Accepted, Addresses, Door};
use super::session::{Asking, Connection};
use super::{LINGER_TIME, Service};
use crate::config::Limits;

/// How long to wait after an accept failed for want of something: descriptors, memory.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Beyond `limits.header_time`, within which an HTTP/1 request still gets its 408.
const UNUSED_GRACE: Duration = Duration::from_millis(500);

/// How long, at shutdown, a client without a request has: to end its TLS handshake, to send its first request, to answer GOAWAY.
pub(super) const FAREWELL_TIME: Duration = Duration::from_secs(1);

/// How long, at shutdown, what is under way at the admin listeners has once no call of the public ones is. Longer than
/// connections without a request take to be closed.
const ADMIN_TIME: Duration = LINGER_TIME.saturating_add(FAREWELL_TIME);

/// How long the service has to retire at least, also where the drain is over.
const RETIRE_TIME: Duration = Duration::from_secs(2);

/// How long requests that were cut at the end of the drain have to notice.
const CUT_TIME: Duration = Duration::from_millis(500);

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Every request had ended by itself.
    Whole,
    /// The time was over, and what was left was cut.
    Cut,
}

/// What may change while a server runs. A connection keeps the limits that it was accepted with.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// `[limits]`
    pub limits: Arc<Limits>,
    /// How long, at shutdown, what is under way may take to end.
    pub drain: Duration,
}

/// Open listeners; connections already wait in their backlogs.
pub struct Bound {
    public: Group,
    admin: Vec<Group>,
    addresses: Addresses,
}

impl Bound {
    pub(super) fn new(public: Group, admin: Vec<Group>, addresses: Addresses) -> Self {
        Self { public, admin, addresses }
    }

    /// Where it listens, with the ports that were really taken.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Serves until `shutdown` is true or its sender gone, and then for at most the drain of `bounds`, as the module's page says.
    /// Dropping this future ends everything at once.
    pub async fn run<S: Service>(self, service: Arc<S>, mut shutdown: watch::Receiver<bool>, bounds: watch::Receiver<Bounds>) -> Drained {
        let connections = self.public.connections.clone();
        let mut public = Serving::start(vec![self.public], &service, &bounds);
        let mut admin = Serving::start(self.admin, &service, &bounds);
        tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => {}
            () = connections.follow(bounds.clone()) => {}
        }
        let drain = bounds.borrow().drain;
        let end = Instant::now() + drain;
        let asked = async {
            public.stop().await;
            public.asked().await;
            admin.stop().await;
            tokio::time::timeout(ADMIN_TIME, admin.gone()).await.is_ok()
        };
        let asked = tokio::time::timeout_at(end, asked).await;
        let mut whole = asked == Ok(true);
        if !whole {
            admin.cut().await;
        }
        if asked.is_err() {
            public.cut().await;
        }
        let retired = end.max(Instant::now() + RETIRE_TIME);
        let _ = tokio::time::timeout_at(retired, service.retire()).await;
        if tokio::time::timeout_at(end, public.gone()).await.is_err() {
            public.cut().await;
            whole = false;
        }
        if whole { Drained::Whole } else { Drained::Cut }
    }
}

/// Listeners that are being served, and stop together.
struct Serving {
    stop: watch::Sender<bool>,
    cut: watch::Sender<bool>,
    loops: JoinSet<()>,
    /// Nothing is ever sent through these two: they end when nobody holds the other end any more.
    asking: mpsc::Receiver<Infallible>,
    alive: mpsc::Receiver<Infallible>,
}

impl Serving {
    fn start<S: Service>(groups: Vec<Group>, service: &Arc<S>, bounds: &watch::Receiver<Bounds>) -> Self {
        let (stop, stop_seen) = watch::channel(false);
        let (cut, cut_seen) = watch::channel(false);
        let (may_ask, asking) = mpsc::channel(1);
        let (held, alive) = mpsc::channel(1);
        let mut loops = JoinSet::new();
        for group in groups {
            let shared = Shared {
                service: service.clone(),
                bounds: bounds.clone(),
                cut: cut_seen.clone(),
                stop: stop_seen.clone(),
                may_ask: may_ask.clone(),
                alive: held.clone(),
            };
            loops.spawn(group.accept_all(shared));
        }
        Self { stop, cut, loops, asking, alive }
    }

    /// Returns when the listeners are closed; connections may be there still.
    async fn stop(&mut self) {
        let _ = self.stop.send(true);
        while self.loops.join_next().await.is_some() {}
    }

    /// Returns when no call is under way and none will come, after [`Self::stop`].
    async fn asked(&mut self) {
        let _ = self.asking.recv().await;
    }

    /// Returns when the last connection and request have ended, after [`Self::stop`].
    async fn gone(&mut self) {
        let _ = self.alive.recv().await;
    }

    /// Closes the listeners and cuts what is there; returns soon.
    async fn cut(&mut self) {
        let _ = self.cut.send(true);
        let ended = async {
            self.stop().await;
            self.gone().await;
        };
        let _ = tokio::time::timeout(CUT_TIME, ended).await;
    }
}

/// What the connections of listeners that stop together get.
struct Shared<S> {
    service: Arc<S>,
    bounds: watch::Receiver<Bounds>,
    cut: watch::Receiver<bool>,
    stop: watch::Receiver<bool>,
    may_ask: mpsc::Sender<Infallible>,
    alive: mpsc::Sender<Infallible>,
}

/// How many connections there may be at once.
#[derive(Clone)]
struct Connections {
    permits: Arc<Semaphore>,
    /// Permits that there are, taken ones included, when nobody follows settings yet.
    initial: usize,
}

impl Connections {
    fn new(connections: usize) -> Self {
        let initial = connections.clamp(1, Semaphore::MAX_PERMITS);
        Self { permits: Arc::new(Semaphore::new(initial)), initial }
    }

    /// Lets in as many as `bounds` says at any time. Where they are to be fewer nobody more is let in until enough have left, but for one
    /// a group that is waited for already. Ends never.
    async fn follow(&self, mut bounds: watch::Receiver<Bounds>) {
        let mut now = self.initial;
        loop {
            let wanted = bounds.borrow_and_update().limits.connections.clamp(1, Semaphore::MAX_PERMITS);
            if wanted > now {
                self.permits.add_permits(wanted - now);
                now = wanted;
            }
            // The semaphore is fair and never closed: whoever wants in waits behind this.
            let too_many = u32::try_from(now - wanted).unwrap_or(u32::MAX);
            tokio::select! {
                changed = bounds.changed() => if changed.is_err() { return std::future::pending().await },
                Ok(spare) = self.permits.acquire_many(too_many), if too_many > 0 => {
                    spare.forget();
                    now = wanted;
                }
            }
        }
    }
}

/// Listeners that share a number of connections, accepted from in turn by one loop: a loop each would keep a permit each while waiting.
pub(super) struct Group {
    pub(super) doors: Vec<Door>,
    connections: Connections,
}

impl Group {
    pub(super) fn new(connections: usize) -> Self {
        Self { doors: Vec::new(), connections: Connections::new(connections) }
    }

    pub(super) fn of(door: Door, connections: usize) -> Self {
        Self { doors: vec![door], ..Self::new(connections) }
    }

    /// A connection of the next door in turn that is one of those asked for.
    fn poll_accept(&self, turn: usize, cx: &mut Context<'_>, which: fn(&Door) -> bool) -> Poll<(usize, Accepted)> {
        for at in (0..self.doors.len()).map(|i| (turn + i) % self.doors.len()).filter(|at| which(&self.doors[*at])) {
            if let Poll::Ready(accepted) = self.doors[at].poll_accept(cx) {
                return Poll::Ready((at, accepted));
            }
        }
        Poll::Pending
    }

    /// Accepts until `stop`, and then what the backlogs of our own listeners still hold; closes the listeners.
    async fn accept_all<S: Service>(self, shared: Shared<S>) {
        let mut stop = shared.stop.clone();
        let mut turn = 0;
        loop {
            let permit = tokio::select! {
                permit = self.connections.permits.clone().acquire_owned() => permit,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            // The semaphore is never closed.
            let Ok(permit) = permit else { break };
            let (at, accepted) = tokio::select! {
                accepted = poll_fn(|cx| self.poll_accept(turn, cx, |_| true)) => accepted,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            turn = at + 1;
            match accepted {
                Ok((io, peer)) => self.serve(at, io, peer, permit, &shared),
                Err(error) if is_clients_own(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection; trying again");
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                }
            }
        }
        // Closing a listener resets what waits in its backlog: clients that came before we stopped.
        while let Ok(permit) = self.connections.permits.clone().try_acquire_owned() {
            let mut accept = std::pin::pin!(poll_fn(|cx| self.poll_accept(turn, cx, Door::is_ours)));
            match futures::poll!(accept.as_mut()) {
                Poll::Ready((at, Ok((io, peer)))) => self.serve(at, io, peer, permit, &shared),
                Poll::Ready((_, Err(error))) if is_clients_own(&error) => {}
                _ => break,
            }
        }
    }

    fn serve<S: Service>(&self, at: usize, io: Io, peer: Option<SocketAddr>, permit: OwnedSemaphorePermit, shared: &Shared<S>) {
        let door = &self.doors[at];
        let wire = Wire::new();
        let limits = shared.bounds.borrow().limits.clone();
        let mut options = HttpServerOptions::default();
        options.h2_idle_timeout = Some(limits.idle);
        let conn = Conn::new(io, wire.clone(), limits.stall);
        let connection = Arc::new(Connection {
            service: shared.service.clone(),
            limits,
            wire,
            peer,
            listener: door.kind,
            options,
            cut: shared.cut.clone(),
            used: AtomicBool::new(false),
            requests: AtomicUsize::new(0),
            pipelined: AtomicBool::new(false),
            asking: Asking::new(shared.may_ask.clone()),
            _alive: shared.alive.clone(),
        });
        let (acceptor, stop) = (door.acceptor.clone(), shared.stop.clone());
        tokio::spawn(async move {
            let _permit = permit;
            connection.serve(conn, acceptor, stop).await;
        });
    }
}

impl<S: Service> Connection<S> {
    async fn serve(self: Arc<Self>, conn: Conn, acceptor: Option<Arc<Acceptor>>, stop: watch::Receiver<bool>) {
        let mut cut = self.cut.clone();
        let serving = async {
            let stream: Stream = match acceptor {
                None => Box::new(conn),
                Some(acceptor) => match self.handshake(conn, &acceptor, stop.clone()).await {
                    Some(stream) => stream,
                    None => return,
                },
            };
            tokio::select! {
                _ = self.process_new(stream, &stop) => {}
                () = self.abandoned(stop.clone()) => {}
            }
        };
        let mut serving = std::pin::pin!(serving);
        tokio::select! {
            () = &mut serving => return,
            _ = cut.wait_for(|cut| *cut) => {}
        }
        // Requests watch `cut` themselves, and report; this is for what is not a request.
        let _ = tokio::time::timeout(CUT_TIME / 2, serving).await;
    }

    /// Shakes hands within `limits.header_time`, or soon where the server stops.
    async fn handshake(&self, conn: Conn, acceptor: &Acceptor, mut stop: watch::Receiver<bool>) -> Option<Stream> {
        let in_time = tokio::time::timeout(self.limits.header_time, acceptor.tls_handshake(conn));
        let stopped = async {
            let _ = stop.wait_for(|stop| *stop).await;
            tokio::time::sleep(FAREWELL_TIME).await;
        };
        let shaken = tokio::select! {
            shaken = in_time => shaken,
            () = stopped => return None,
        };
        match shaken {
            Ok(Ok(stream)) => return Some(Box::new(stream)),
            // Port scans and clients that do not trust us: not worth a louder line.
            Ok(Err(error)) => tracing::debug!(peer = ?self.peer, %error, "TLS handshake failed"),
            Err(_) => tracing::debug!(peer = ?self.peer, "TLS handshake took too long"),
        }
        None
    }

    /// Ends where Pingora would wait without end: for the preface of an h2 connection, so that it has `limits.header_time` for its first
    /// request; and for the answer to an h2 farewell at shutdown, once no request is left.
    async fn abandoned(&self, mut stop: watch::Receiver<bool>) {
        let unused = tokio::time::timeout(self.limits.header_time + UNUSED_GRACE, stop.wait_for(|stop| *stop)).await.is_err();
        if unused && !self.used.load(Ordering::Relaxed) {
            return;
        }
        let _ = stop.wait_for(|stop| *stop).await;
        loop {
            tokio::time::sleep(FAREWELL_TIME).await;
            // Its GOAWAY has arrived: streams that the client opens now are late.
            self.asking.give_up();
            if self.requests.load(Ordering::Relaxed) == 0 {
                return;
            }
        }
    }
}

/// The connection failed before it was accepted; the next one is fine.
fn is_clients_own(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
