//! The listeners and their accept loops: connections are counted before they are accepted, and drained at shutdown.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use pingora::apps::{HttpServerOptions, ServerApp};
use pingora::listeners::tls::Acceptor;
use pingora::protocols::Stream;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use super::bind::{self, BindError};
use super::conn::{Conn, Io, Wire};
use super::session::Connection;
use super::socket::AdminSocket;
use super::tls::{self, Certificates};
use super::{ListenerKind, Service};
use crate::config::Limits;

/// Connections of each of the two admin listeners; the public ones have `limits.connections`.
pub const ADMIN_CONNECTIONS: usize = 64;

/// How long to wait after an accept failed for want of something: descriptors, memory.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Beyond `limits.header_time`, within which an HTTP/1 request still gets its 408.
const UNUSED_GRACE: Duration = Duration::from_millis(500);

/// How long, at shutdown, a client without a request has: to end its TLS handshake, to answer GOAWAY.
const FAREWELL_TIME: Duration = Duration::from_secs(1);

/// How long requests that were cut at the end of the drain have to notice.
const CUT_TIME: Duration = Duration::from_millis(500);

/// Where to listen; nothing is opened yet.
#[derive(Debug, Default)]
pub struct Server {
    /// `server.listen`; port 0 takes a free one.
    pub plain: Vec<SocketAddr>,
    /// `server.tls_listen`.
    pub tls: Vec<SocketAddr>,
    /// What the HTTPS listeners show.
    pub certificates: Option<Arc<Certificates>>,
    /// `server.admin_listen`.
    pub admin: Option<SocketAddr>,
    /// Where `admin.sock` is to be.
    pub admin_socket: Option<PathBuf>,
}

/// Where a server listens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Plain HTTP, in the order of the settings.
    pub plain: Vec<SocketAddr>,
    /// HTTPS, in the order of the settings.
    pub tls: Vec<SocketAddr>,
    /// Operations.
    pub admin: Option<SocketAddr>,
    /// Operations, here.
    pub admin_socket: Option<PathBuf>,
}

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

impl Server {
    /// Opens every listener, or none; the public ones let in as many connections at once as `limits` says. Needs a tokio runtime.
    ///
    /// # Errors
    /// The first that could not be opened.
    pub fn bind(self, limits: &Limits) -> Result<Bound, BindError> {
        let mut addresses = Addresses { admin_socket: self.admin_socket.clone(), ..Addresses::default() };
        let v4_ports = self.plain.iter().chain(&self.tls).chain(&self.admin).filter(|address| address.is_ipv4()).map(SocketAddr::port);
        let v4_ports: Vec<u16> = v4_ports.filter(|port| *port != 0).collect();
        let mut public = Group::new(limits.connections);
        for address in self.plain {
            let door = public.tcp("server.listen", address, ListenerKind::Public { tls: false }, None, &v4_ports)?;
            addresses.plain.push(door);
        }
        if !self.tls.is_empty() {
            let certificates = self.certificates.ok_or(BindError::NoCertificate)?;
            let acceptor = Arc::new(Acceptor::from_server_config(tls::server_config(certificates)));
            for address in self.tls {
                let door =
                    public.tcp("server.tls_listen", address, ListenerKind::Public { tls: true }, Some(acceptor.clone()), &v4_ports)?;
                addresses.tls.push(door);
            }
        }
        let mut admin = Vec::new();
        if let Some(address) = self.admin {
            let mut group = Group::new(ADMIN_CONNECTIONS);
            addresses.admin = Some(group.tcp("server.admin_listen", address, ListenerKind::AdminTcp, None, &v4_ports)?);
            admin.push(group);
        }
        if let Some(path) = &self.admin_socket {
            let mut group = Group::new(ADMIN_CONNECTIONS);
            let socket = AdminSocket::bind(path)?;
            group.doors.push(Door { listener: Listener::Unix(socket), kind: ListenerKind::AdminSocket, acceptor: None });
            admin.push(group);
        }
        Ok(Bound { public, admin, addresses })
    }
}

impl Bound {
    /// Where it listens, with the ports that were really taken.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Serves until `shutdown` is true or its sender gone; then the public listeners accept no more, and what is under way may end for
    /// at most the drain of `bounds`; the rest is cut. The admin listeners serve on until the public ones have drained, so that a balancer and an
    /// operator are told of it. Dropping this future ends everything at once.
    pub async fn run<S: Service>(self, service: Arc<S>, mut shutdown: watch::Receiver<bool>, bounds: watch::Receiver<Bounds>) -> Drained {
        let (cut, cut_seen) = watch::channel(false);
        let connections = self.public.connections.clone();
        let common = Common { service, bounds: bounds.clone(), cut: cut_seen };
        let mut public = Serving::start(vec![self.public], &common);
        let mut admin = Serving::start(self.admin, &common);
        tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => {}
            () = connections.follow(bounds.clone()) => {}
        }
        let drain = bounds.borrow().drain;
        let drained = async {
            public.stop().await;
            public.gone().await;
            admin.stop().await;
            admin.gone().await;
        };
        if tokio::time::timeout(drain, drained).await.is_ok() {
            return Drained::Whole;
        }
        let _ = cut.send(true);
        let ended = async {
            admin.stop().await;
            tokio::join!(public.gone(), admin.gone());
        };
        let _ = tokio::time::timeout(CUT_TIME, ended).await;
        Drained::Cut
    }
}

/// Listeners that are being served, and stop together.
struct Serving {
    stop: watch::Sender<bool>,
    loops: JoinSet<()>,
    alive: mpsc::Receiver<Infallible>,
}

impl Serving {
    fn start<S: Service>(groups: Vec<Group>, common: &Common<S>) -> Self {
        let (stop, stop_seen) = watch::channel(false);
        let (held, alive) = mpsc::channel(1);
        let mut loops = JoinSet::new();
        for group in groups {
            loops.spawn(group.accept_all(Shared { common: common.clone(), stop: stop_seen.clone(), alive: held.clone() }));
        }
        Self { stop, loops, alive }
    }

    /// Returns when the listeners are closed; connections may be there still.
    async fn stop(&mut self) {
        let _ = self.stop.send(true);
        while self.loops.join_next().await.is_some() {}
    }

    /// Returns when the last connection and request have ended, after [`Self::stop`].
    async fn gone(&mut self) {
        // Nothing is ever sent: the channel ends when nobody holds it any more.
        let _ = self.alive.recv().await;
    }
}

/// What every connection gets.
struct Common<S> {
    service: Arc<S>,
    bounds: watch::Receiver<Bounds>,
    cut: watch::Receiver<bool>,
}

impl<S> Clone for Common<S> {
    fn clone(&self) -> Self {
        Self { service: self.service.clone(), bounds: self.bounds.clone(), cut: self.cut.clone() }
    }
}

/// What the connections of listeners that stop together get.
struct Shared<S> {
    common: Common<S>,
    stop: watch::Receiver<bool>,
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
struct Group {
    doors: Vec<Door>,
    connections: Connections,
}

struct Door {
    listener: Listener,
    kind: ListenerKind,
    acceptor: Option<Arc<Acceptor>>,
}

enum Listener {
    Tcp(TcpListener),
    Unix(AdminSocket),
}

/// A connection, and who is at its other end if that has an address.
type Accepted = io::Result<(Io, Option<SocketAddr>)>;

impl Door {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<Accepted> {
        match &self.listener {
            Listener::Tcp(listener) => listener.poll_accept(cx).map_ok(|(io, peer)| (Io::Tcp(io), Some(peer))),
            Listener::Unix(socket) => socket.listener.poll_accept(cx).map_ok(|(io, _)| (Io::Unix(io), None)),
        }
    }
}

impl Group {
    fn new(connections: usize) -> Self {
        Self { doors: Vec::new(), connections: Connections::new(connections) }
    }

    fn tcp(
        &mut self,
        key: &'static str,
        address: SocketAddr,
        kind: ListenerKind,
        acceptor: Option<Arc<Acceptor>>,
        v4_ports: &[u16],
    ) -> Result<SocketAddr, BindError> {
        let only_v6 = address.is_ipv6() && v4_ports.contains(&address.port());
        let listener = bind::tcp(key, address, only_v6)?;
        let address = listener.local_addr().map_err(|source| BindError::Other { key, address, source })?;
        self.doors.push(Door { listener: Listener::Tcp(listener), kind, acceptor });
        Ok(address)
    }

    fn poll_accept(&self, turn: usize, cx: &mut Context<'_>) -> Poll<(usize, Accepted)> {
        for at in (0..self.doors.len()).map(|i| (turn + i) % self.doors.len()) {
            if let Poll::Ready(accepted) = self.doors[at].poll_accept(cx) {
                return Poll::Ready((at, accepted));
            }
        }
        Poll::Pending
    }

    /// Accepts until `stop`, and then what the backlogs still hold; closes the listeners.
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
                accepted = poll_fn(|cx| self.poll_accept(turn, cx)) => accepted,
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
            let mut accept = std::pin::pin!(poll_fn(|cx| self.poll_accept(turn, cx)));
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
        let Common { service, bounds, cut } = shared.common.clone();
        let limits = bounds.borrow().limits.clone();
        let mut options = HttpServerOptions::default();
        options.h2_idle_timeout = Some(limits.idle);
        let conn = Conn::new(io, wire.clone(), limits.stall);
        let connection = Arc::new(Connection {
            service,
            limits,
            wire,
            peer,
            listener: door.kind,
            options,
            cut,
            used: AtomicBool::new(false),
            requests: AtomicUsize::new(0),
            pipelined: AtomicBool::new(false),
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
