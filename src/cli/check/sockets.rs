//! Which TCP sockets are listened at on this machine, whoever's they are (proc_net_tcp).

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The state of a socket that is listened at.
const LISTEN: &str = "0A";

/// All of them in this network namespace; none where the kernel does not tell.
pub(super) fn listening() -> Vec<SocketAddr> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    tables.iter().flat_map(|table| table.lines().filter_map(socket)).collect()
}

/// Of `SL: LOCAL REMOTE STATE …` the local address, where that is listened at.
fn socket(line: &str) -> Option<SocketAddr> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (local, state) = (fields.next()?, fields.nth(1)?);
    let (address, port) = local.split_once(':')?;
    if state != LISTEN {
        return None;
    }
    Some(SocketAddr::new(ip(address)?, u16::from_str_radix(port, 16).ok()?))
}

/// Words of 32 bits, each as this machine holds it.
fn ip(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(hex.get(8 * at..8 * (at + 1))?, 16).ok().map(u32::to_ne_bytes);
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let mut octets = [0; 16];
            for (at, octets) in octets.chunks_exact_mut(4).enumerate() {
                octets.copy_from_slice(&word(at)?);
            }
            Some(Ipv6Addr::from(octets).to_canonical())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn whoever_listens_is_found() {
        for at in ["127.0.0.1:0", "[::1]:0"] {
            // A machine may have no IPv6.
            let Ok(listener) = TcpListener::bind(at) else { continue };
            let at = listener.local_addr().unwrap();
            assert!(listening().contains(&at), "{at}");
            drop(listener);
            assert!(!listening().contains(&at), "{at}");
        }
        assert_eq!(socket("  sl  local_address rem_address   st tx_queue"), None);
    }
}
