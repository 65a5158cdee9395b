//! Opens listeners, all of them before any is served, and says what to do where one cannot be opened.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket};

/// Connections that the kernel keeps for us before they are accepted; it may allow fewer (`net.core.somaxconn`).
pub(super) const BACKLOG: u32 = 4096;

/// Bytes that the kernel takes of a connection beyond what is under way to the client. Without this it takes megabytes and says for long
/// that nothing moves: a slow reader would look like a stalled one, and many of them would fill the memory.
const UNSENT: u32 = 128 << 10;

/// Why a listener could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else listens there.
    #[error(
        "cannot listen on {address}: another process listens there; stop it (`ss -ltnp 'sport = :{}'` names it) or set another {key}",
        address.port()
    )]
    InUse {
        /// The setting that names the address.
        key: &'static str,
        /// The address.
        address: SocketAddr,
    },
    /// A port below 1024.
    #[error(
        "cannot listen on {address}: ports below 1024 need a privilege; set another {key}, or grant CAP_NET_BIND_SERVICE (systemd: AmbientCapabilities=)"
    )]
    Denied {
        /// The setting that names the address.
        key: &'static str,
        /// The address.
        address: SocketAddr,
    },
    /// Not an address of this machine.
    #[error("cannot listen on {address}: this machine has no such address; set another {key}")]
    NoSuchAddress {
        /// The setting that names the address.
        key: &'static str,
        /// The address.
        address: SocketAddr,
    },
    /// Anything else.
    #[error("cannot listen on {address} ({key})")]
    Other {
        /// The setting that names the address.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A server answers on the Unix socket.
    #[error("another modgate is running here: it answers on {}", path.display())]
    SocketInUse {
        /// The socket.
        path: PathBuf,
    },
    /// The Unix socket cannot be made.
    #[error("cannot make the socket {}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A socket was passed on that no listener of the settings is waiting for.
    #[error(
        "the service manager passed on a socket at {place} (named {name:?}) that no setting names: add its address to server.listen, tls_listen or admin_listen, or name it http, https or admin (systemd: FileDescriptorName=)"
    )]
    NoPlace {
        /// Its address.
        place: String,
        /// Its name.
        name: String,
    },
    /// A socket was passed on that is open to more than the settings say.
    #[error(
        "the service manager passed on a socket at {address}, open beyond this machine, where the settings say {instead_of}: write {address} there if that is meant"
    )]
    Wider {
        /// Its address.
        address: SocketAddr,
        /// That of the settings.
        instead_of: SocketAddr,
    },
    /// HTTPS listeners without a certificate.
    #[error("server.tls_listen needs a certificate: set server.tls")]
    NoCertificate,
}

/// Listens on `address`, which the setting `key` names. `[::]` takes in IPv4, unless `only_v6`.
pub(super) fn tcp(key: &'static str, address: SocketAddr, only_v6: bool) -> Result<TcpListener, BindError> {
    let listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // Else a restart would wait for the old connections' TIME_WAIT.
        socket.set_reuseaddr(true)?;
        tune(SockRef::from(&socket))?;
        if only_v6 {
            SockRef::from(&socket).set_only_v6(true)?;
        }
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { key, address },
        io::ErrorKind::PermissionDenied => BindError::Denied { key, address },
        io::ErrorKind::AddrNotAvailable => BindError::NoSuchAddress { key, address },
        _ => BindError::Other { key, address, source },
    })
}

/// Listens on a socket that was passed on.
pub(super) fn passed(key: &'static str, address: SocketAddr, listener: std::net::TcpListener) -> Result<TcpListener, BindError> {
    let listen = || {
        tune(SockRef::from(&listener))?;
        TcpListener::from_std(listener)
    };
    listen().map_err(|source| BindError::Other { key, address, source })
}

/// Sets what the connections inherit.
fn tune(socket: SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(UNSENT)
}
