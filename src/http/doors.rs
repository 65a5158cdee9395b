//! From addresses to listeners: all are opened, or passed on by a service manager, before any is served.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll};

use pingora::listeners::tls::Acceptor;
use tokio::net::{TcpListener, UnixListener};

use super::ListenerKind;
use super::bind::{self, BindError};
use super::conn::Io;
use super::inherited::Inherited;
use super::server::{Bound, Group};
use super::socket::{ADMIN_MODE, NamedSocket, PUBLIC_MODE};
use super::tls::{self, Certificates};
use crate::config::Limits;

/// Connections of each of the two admin listeners; the public ones have `limits.connections`.
pub const ADMIN_CONNECTIONS: usize = 64;

/// Where to listen; nothing is opened yet.
#[derive(Debug, Default)]
pub struct Server {
    /// `server.listen`; port 0 takes a free one.
    pub plain: Vec<SocketAddr>,
    /// The `unix:` entries of `server.listen`.
    pub unix: Vec<PathBuf>,
    /// `server.tls_listen`.
    pub tls: Vec<SocketAddr>,
    /// What the HTTPS listeners show.
    pub certificates: Option<Arc<Certificates>>,
    /// `server.admin_listen`.
    pub admin: Option<SocketAddr>,
    /// Where `admin.sock` is to be.
    pub admin_socket: Option<PathBuf>,
    /// What a service manager has opened of these.
    pub inherited: Inherited,
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
}

impl Server {
    /// Opens every listener, or none; the public ones let in as many connections at once as `limits` says. Needs a tokio runtime.
    ///
    /// # Errors
    /// The first that could not be opened, or a socket that was passed on and has no place.
    pub fn bind(mut self, limits: &Limits) -> Result<Bound, BindError> {
        let v4_ports = self.plain.iter().chain(&self.tls).chain(&self.admin).filter(|address| address.is_ipv4()).map(SocketAddr::port);
        let opener = Opener { v4_ports: v4_ports.filter(|port| *port != 0).collect() };
        let mut passed = Passed::find(&mut self)?;
        let mut addresses = Addresses::default();

        let mut public = Group::new(limits.connections);
        for (address, socket) in self.plain.into_iter().zip(passed.plain.drain(..)) {
            let (door, address) = opener.tcp("server.listen", address, socket, ListenerKind::Public { tls: false }, None)?;
            public.doors.push(door);
            addresses.plain.push(address);
        }
        for path in self.unix {
            let listener = match self.inherited.unix(&path) {
                Some(socket) => Listener::Unix(UnixListener::from_std(socket).map_err(|source| BindError::Socket { path, source })?),
                None => Listener::Named(NamedSocket::bind(&path, PUBLIC_MODE)?),
            };
            public.doors.push(Door { listener, kind: ListenerKind::Public { tls: false }, acceptor: None });
        }
        if !self.tls.is_empty() {
            let certificates = self.certificates.ok_or(BindError::NoCertificate)?;
            let acceptor = Arc::new(Acceptor::from_server_config(tls::server_config(certificates)));
            for (address, socket) in self.tls.into_iter().zip(passed.tls.drain(..)) {
                let kind = ListenerKind::Public { tls: true };
                let (door, address) = opener.tcp("server.tls_listen", address, socket, kind, Some(acceptor.clone()))?;
                public.doors.push(door);
                addresses.tls.push(address);
            }
        }
        let mut admin = Vec::new();
        if let Some(address) = self.admin {
            let (door, address) = opener.tcp("server.admin_listen", address, passed.admin, ListenerKind::AdminTcp, None)?;
            admin.push(Group::of(door, ADMIN_CONNECTIONS));
            addresses.admin = Some(address);
        }
        if let Some(path) = self.admin_socket {
            let listener = Listener::Named(NamedSocket::bind(&path, ADMIN_MODE)?);
            admin.push(Group::of(Door { listener, kind: ListenerKind::AdminSocket, acceptor: None }, ADMIN_CONNECTIONS));
        }
        self.inherited.none_left()?;
        Ok(Bound::new(public, admin, addresses))
    }
}

/// The TCP sockets that were passed on, each at its place.
struct Passed {
    plain: Vec<Option<std::net::TcpListener>>,
    tls: Vec<Option<std::net::TcpListener>>,
    admin: Option<std::net::TcpListener>,
}

impl Passed {
    /// By address first, whatever the names; then by name.
    fn find(server: &mut Server) -> Result<Self, BindError> {
        let inherited = &mut server.inherited;
        let (mut plain, mut tls) = (inherited.at(&server.plain), inherited.at(&server.tls));
        let mut admin = inherited.at(server.admin.as_slice());
        inherited.named("http", &server.plain, &mut plain)?;
        inherited.named("https", &server.tls, &mut tls)?;
        inherited.named("admin", server.admin.as_slice(), &mut admin)?;
        Ok(Self { plain, tls, admin: admin.pop().flatten() })
    }
}

/// What opening one listener must know of all.
struct Opener {
    v4_ports: Vec<u16>,
}

impl Opener {
    /// Listens on `passed`, or opens `address`, which the setting `key` names; with where it really is.
    fn tcp(
        &self,
        key: &'static str,
        address: SocketAddr,
        passed: Option<std::net::TcpListener>,
        kind: ListenerKind,
        acceptor: Option<Arc<Acceptor>>,
    ) -> Result<(Door, SocketAddr), BindError> {
        let (listener, shared) = match passed {
            Some(socket) => (bind::passed(key, address, socket)?, true),
            None => (bind::tcp(key, address, address.is_ipv6() && self.v4_ports.contains(&address.port()))?, false),
        };
        let address = listener.local_addr().map_err(|source| BindError::Other { key, address, source })?;
        let listener = if shared { Listener::Passed(listener) } else { Listener::Tcp(listener) };
        Ok((Door { listener, kind, acceptor }, address))
    }
}

/// A listener, and what comes through it.
pub(super) struct Door {
    listener: Listener,
    pub(super) kind: ListenerKind,
    pub(super) acceptor: Option<Arc<Acceptor>>,
}

enum Listener {
    /// Our own.
    Tcp(TcpListener),
    /// Our own, with its name.
    Named(NamedSocket),
    /// A service manager's: it outlives us.
    Passed(TcpListener),
    /// The same; nor is its name ours to remove.
    Unix(UnixListener),
}

/// A connection, and who is at its other end if that has an address.
pub(super) type Accepted = io::Result<(Io, Option<SocketAddr>)>;

impl Door {
    pub(super) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<Accepted> {
        match &self.listener {
            Listener::Tcp(listener) | Listener::Passed(listener) => listener.poll_accept(cx).map_ok(|(io, peer)| (Io::Tcp(io), Some(peer))),
            Listener::Named(NamedSocket { listener, .. }) | Listener::Unix(listener) => {
                listener.poll_accept(cx).map_ok(|(io, _)| (Io::Unix(io), None))
            }
        }
    }

    /// Whether the connections that wait in it are lost when we close it. In one that was passed on they wait for the next process.
    pub(super) fn is_ours(&self) -> bool {
        matches!(self.listener, Listener::Tcp(_) | Listener::Named(_))
    }
}
