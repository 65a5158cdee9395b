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

    /// Whether one of its listeners stands in the way of `address`.
    pub fn holds(&self, address: SocketAddr) -> bool {
        let meet = |own: &SocketAddr| own.ip() == address.ip() || own.ip().is_unspecified() || address.ip().is_unspecified();
        self.tcp.iter().any(|own| own.port() == address.port() && meet(own))
    }

    /// Whether it listens at this socket.
    pub fn holds_socket(&self, path: &Path) -> bool {
        self.unix.iter().any(|own| own == path)
    }
}
