//! Ports that stay ours: a fixture that goes dead and comes back, or a gateway that is restarted, keeps its port
//! meanwhile, and nobody else is given it.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketAddrAny, SocketType, bind, getsockname, socket, sockopt};

/// A reserved loopback port. While nobody listens on it connections are refused.
pub(crate) struct Port {
    /// Bound with SO_REUSEADDR and never listening: others with SO_REUSEADDR may bind the number when they name it,
    /// but the kernel gives it to nobody who asks for any.
    _reservation: OwnedFd,
    address: SocketAddr,
}

impl Port {
    /// Reserves a free port of 127.0.0.1.
    pub(crate) fn reserve() -> Self {
        let reservation = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        sockopt::set_socket_reuseaddr(&reservation, true).expect("SO_REUSEADDR");
        bind(&reservation, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).expect("bind a port");
        let name: SocketAddrAny = getsockname(&reservation).expect("a socket's name");
        let address = SocketAddr::V4(name.try_into().expect("an IPv4 address"));
        Self { _reservation: reservation, address }
    }

    /// 127.0.0.1 and the number.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Listens until the listener is dropped.
    pub(crate) fn listen(&self) -> TcpListener {
        TcpListener::bind(self.address).unwrap_or_else(|e| panic!("listen on {}: {e}", self.address))
    }
}

#[test]
fn a_reserved_port_refuses_until_someone_listens() {
    let port = Port::reserve();
    let refused = || std::net::TcpStream::connect(port.address()).expect_err("nobody listens").kind();
    assert_eq!(refused(), std::io::ErrorKind::ConnectionRefused);
    for _ in 0..2 {
        let listener = port.listen();
        std::net::TcpStream::connect(port.address()).expect("someone listens");
        drop(listener);
        assert_eq!(refused(), std::io::ErrorKind::ConnectionRefused);
    }
}
