//! `listening`: the listeners that are this gateway's own, for whoever finds an address in use.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config;

/// Where the gateway listens, by the settings that it runs with: no reload changes these.
#[derive(Debug, Serialize, Deserialize)]
pub struct Listening {
    tcp: Vec<SocketAddr>,
    unix: Vec<PathBuf>,
}

impl Listening {
    pub(super) fn of(server: &config::Server) -> Self {
        let tcp = server.listen.iter().chain(&server.tls_listen).chain(&server.admin_listen).copied().collect();
        Self { tcp, unix: server.listen_unix.clone() }
    }

    /// Whether all of `address` is its own: nobody else can listen there. `[::]` takes in IPv4, unless it listens at that port there too.
    pub fn holds(&self, address: SocketAddr) -> bool {
        let at_port = || self.tcp.iter().filter(|own| own.port() == address.port());
        let apart = at_port().any(SocketAddr::is_ipv4);
        let takes_in = |own: &SocketAddr| own.ip().is_unspecified() && (own.is_ipv4() == address.is_ipv4() || (own.is_ipv6() && !apart));
        at_port().any(|own| own == &address || takes_in(own))
    }

    /// Whether one of its listeners is a part of `address`, which others may have the rest of.
    pub fn has_part_of(&self, address: SocketAddr, only_v6: bool) -> bool {
        self.tcp.iter().any(|own| is_part_of(*own, address, only_v6))
    }

    /// Of these sockets the first that is a part of `address` and not its own.
    pub fn stranger_at(&self, address: SocketAddr, only_v6: bool, sockets: &[SocketAddr]) -> Option<SocketAddr> {
        sockets.iter().copied().find(|socket| is_part_of(*socket, address, only_v6) && !self.tcp.contains(socket))
    }

    /// Whether it listens at this socket.
    pub fn holds_socket(&self, path: &Path) -> bool {
        self.unix.iter().any(|own| own == path)
    }
}

/// Whether whoever takes `address`, all addresses of a family or of both, takes this one too.
fn is_part_of(socket: SocketAddr, address: SocketAddr, only_v6: bool) -> bool {
    let of_family = socket.is_ipv4() == address.is_ipv4() || (address.is_ipv6() && !only_v6);
    socket.port() == address.port() && address.ip().is_unspecified() && of_family
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_is_held_whole_or_in_part_by_its_family() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        for (own, address, whole, part) in [
            (&["0.0.0.0:80"][..], "127.0.0.1:80", true, false),
            (&["0.0.0.0:80"], "127.0.0.1:81", false, false),
            (&["0.0.0.0:80"], "[::1]:80", false, false),
            (&["0.0.0.0:80"], "[::]:80", false, true),
            (&["[::]:80"], "127.0.0.1:80", true, false),
            (&["[::]:80"], "[::1]:80", true, false),
            (&["[::]:80", "127.0.0.1:80"], "127.0.0.2:80", false, false),
            (&["127.0.0.1:80"], "0.0.0.0:80", false, true),
            (&["[::1]:80"], "0.0.0.0:80", false, false),
            (&["127.0.0.1:80"], "127.0.0.2:80", false, false),
        ] {
            let listening = Listening { tcp: own.iter().copied().map(at).collect(), unix: Vec::new() };
            let address = at(address);
            assert_eq!((listening.holds(address), listening.has_part_of(address, false)), (whole, part), "{own:?} {address}");
        }
        let listening = Listening { tcp: vec![at("127.0.0.1:80")], unix: Vec::new() };
        assert!(!listening.has_part_of(at("[::]:80"), true));
    }
}
