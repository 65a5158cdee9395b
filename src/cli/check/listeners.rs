//! The listeners: addresses that somebody else has, or that this machine does not have.

use std::net::SocketAddr;
use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, bind, socket, sockopt};

use super::sockets;
use crate::admin::Listening;
use crate::config::Server;

/// The addresses that a start could not take. What the gateway that runs has is its own; `running` is none where none runs.
pub(super) fn findings(server: &Server, running: Option<&Listening>) -> Vec<String> {
    let keyed = |key: &'static str, addresses: &[SocketAddr]| addresses.iter().map(move |address| (key, *address)).collect::<Vec<_>>();
    let all = [
        keyed("server.listen", &server.listen),
        keyed("server.tls_listen", &server.tls_listen),
        keyed("server.admin_listen", server.admin_listen.as_slice()),
    ];
    let tcp: Vec<(&str, SocketAddr)> = all.concat();
    let v4_ports: Vec<u16> = tcp.iter().filter(|(_, address)| address.is_ipv4()).map(|(_, address)| address.port()).collect();
    let foreign = tcp.into_iter().filter(|(_, address)| !running.is_some_and(|running| running.holds(*address)));
    let mut findings: Vec<String> = foreign
        .filter_map(|(key, address)| {
            let only_v6 = address.is_ipv6() && v4_ports.contains(&address.port());
            match running.filter(|running| running.has_part_of(address, only_v6)) {
                // It cannot be bound in any case: who else is there must be looked up.
                Some(running) => running
                    .stranger_at(address, only_v6, &sockets::listening())
                    .map(|stranger| in_use(key, address, &format!("at {stranger}"))),
                None => taken(key, address, only_v6),
            }
        })
        .collect();
    let sockets = server.listen_unix.iter().filter(|path| !running.is_some_and(|running| running.holds_socket(path)));
    findings.extend(
        sockets
            .filter(|path| UnixStream::connect(path).is_ok())
            .map(|path| format!("server.listen: unix:{}: another process listens there", path.display())),
    );
    findings
}

/// What stands against this address. It is only bound and never listened on: that keeps nobody from it who starts meanwhile.
fn taken(key: &str, address: SocketAddr, only_v6: bool) -> Option<String> {
    if address.port() == 0 {
        return None;
    }
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let bound = socket(family, SocketType::STREAM, None).and_then(|socket| {
        sockopt::set_socket_reuseaddr(&socket, true)?;
        if only_v6 {
            sockopt::set_ipv6_v6only(&socket, true)?;
        }
        bind(&socket, &address)
    });
    match bound {
        Err(Errno::ADDRINUSE) => Some(in_use(key, address, "there")),
        Err(Errno::ADDRNOTAVAIL) => Some(format!("{key}: {address}: this machine has no such address")),
        // A port below 1024 may be the service's to take, and not that of whoever checks.
        Ok(()) | Err(_) => None,
    }
}

fn in_use(key: &str, address: SocketAddr, place: &str) -> String {
    format!(
        "{key}: {address}: another process listens {place} (`ss -ltnp 'sport = :{}'` names it); that is right only for a service manager \
         that passes the socket on",
        address.port()
    )
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::config::Config;

    fn server(listen: &str) -> Server {
        Config::from_toml(&format!("[server]\nallow_plain = true\npublic_url = \"http://go.example.com\"\nlisten = [{listen}]\n"))
            .unwrap()
            .server
    }

    #[test]
    fn an_address_that_somebody_else_has_is_told_and_ones_own_is_not() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = other.local_addr().unwrap();
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("s");
        let socket = UnixListener::bind(&path).unwrap();
        let server = server(&format!("\"{at}\", \"unix:{}\"", path.display()));
        let told = findings(&server, None);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].starts_with(&format!("server.listen: {at}: another process listens there")), "{told:?}");
        assert!(told[1].starts_with(&format!("server.listen: unix:{}", path.display())), "{told:?}");
        let itself: Listening = serde_json::from_value(serde_json::json!({ "tcp": [at], "unix": [path] })).unwrap();
        assert_eq!(findings(&server, Some(&itself)), Vec::<String>::new());
        let elsewhere: Listening = serde_json::from_value(serde_json::json!({ "tcp": ["127.0.0.1:1"], "unix": [] })).unwrap();
        assert_eq!(findings(&server, Some(&elsewhere)).len(), 2);
        drop((other, socket));
        assert_eq!(findings(&server, None), Vec::<String>::new(), "what is left of a socket is replaced");
    }

    #[test]
    fn who_has_a_part_of_a_wildcard_beside_oneself_is_told() {
        let own = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = own.local_addr().unwrap();
        let itself: Listening = serde_json::from_value(serde_json::json!({ "tcp": [at], "unix": [] })).unwrap();
        let server = server(&format!("\"0.0.0.0:{}\"", at.port()));
        assert_eq!(findings(&server, Some(&itself)), Vec::<String>::new());
        let stranger = TcpListener::bind(("127.0.0.2", at.port())).unwrap();
        let told = findings(&server, Some(&itself));
        assert!(matches!(&told[..], [told] if told.contains(&format!("listens at {} ", stranger.local_addr().unwrap()))), "{told:?}");
    }

    #[test]
    fn an_address_of_another_machine_is_told() {
        let told = findings(&server("\"192.0.2.7:8080\""), None);
        assert!(matches!(&told[..], [told] if told.ends_with("192.0.2.7:8080: this machine has no such address")), "{told:?}");
    }
}
