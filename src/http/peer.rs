//! Who asks and how, where a front passes requests on: `X-Forwarded-For` and `X-Forwarded-Proto`, believed as far as
//! `server.trusted_proxies` vouches for them.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;

use super::ListenerKind;
use crate::config::TrustedProxies;

/// Each front appends whom it had the request from.
const FORWARDED: &str = "x-forwarded-for";

/// How the client reached the first front.
const PROTO: &str = "x-forwarded-proto";

/// The client's address: for limits, logs and audit. `None`: whoever reaches a Unix socket.
///
/// From the connection's other end it goes back through the header as long as the one that wrote an entry is a trusted
/// proxy: the first that is none is the client, and what it wrote itself is not looked at. The same goes where an entry is no address:
/// nobody vouches for what stands before it.
pub(super) fn client(peer: Option<SocketAddr>, listener: ListenerKind, headers: &HeaderMap, trusted: &TrustedProxies) -> Option<IpAddr> {
    let peer = peer.map(|peer| peer.ip().to_canonical());
    if !is_front(peer, listener, trusted) {
        return peer;
    }
    let entries = headers.get_all(FORWARDED).iter().rev().flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
    let mut client = peer;
    for entry in entries {
        let Some(address) = address(entry) else { break };
        client = Some(address);
        if !trusted.holds(address) {
            break;
        }
    }
    client
}

/// Whether the request came over https: to us, or to a trusted front that says so.
pub(super) fn is_https(peer: Option<SocketAddr>, listener: ListenerKind, headers: &HeaderMap, trusted: &TrustedProxies) -> bool {
    let said = || headers.get(PROTO).and_then(|value| value.to_str().ok()?.split(',').next());
    let by_front =
        || is_front(peer.map(|peer| peer.ip()), listener, trusted) && said().is_some_and(|s| s.trim().eq_ignore_ascii_case("https"));
    listener.is_tls() || by_front()
}

/// Whether what is connected is a front that is believed.
fn is_front(peer: Option<IpAddr>, listener: ListenerKind, trusted: &TrustedProxies) -> bool {
    match (listener, peer) {
        // Whoever reaches it is the operator, and no front.
        (ListenerKind::AdminSocket, _) => false,
        (_, None) => trusted.unix,
        (_, Some(peer)) => trusted.holds(peer),
    }
}

/// An address, perhaps with a port, as some fronts write it: `192.0.2.1`, `192.0.2.1:99`, `2001:db8::1`, `[2001:db8::1]:99`.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim();
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let address = text.parse().ok().or_else(|| text.parse().ok().map(|with_port: SocketAddr| with_port.ip())).or_else(bare)?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLIC: ListenerKind = ListenerKind::Public { tls: false };

    fn who(peer: Option<&str>, listener: ListenerKind, forwarded: &[&str], trusted: &str) -> String {
        let config = crate::config::Config::from_toml(&format!("server.trusted_proxies = {trusted}")).unwrap();
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED, http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let peer = peer.map(|peer| SocketAddr::new(peer.parse().unwrap(), 1));
        client(peer, listener, &headers, &config.server.trusted_proxies).map_or_else(|| "unix".to_owned(), |address| address.to_string())
    }

    #[test]
    fn the_rightmost_untrusted_address_is_the_client() {
        let fronts = "['10.0.0.0/8', '2001:db8:f::/48', '192.0.2.7']";
        for (peer, forwarded, client) in [
            ("198.51.100.1", &["203.0.113.9"][..], "198.51.100.1"),
            ("10.1.2.3", &[][..], "10.1.2.3"),
            ("10.1.2.3", &["203.0.113.9"][..], "203.0.113.9"),
            ("::ffff:10.1.2.3", &["::ffff:203.0.113.9"][..], "203.0.113.9"),
            ("2001:db8:f:1::1", &["2001:db8::9"][..], "2001:db8::9"),
            ("192.0.2.7", &["203.0.113.9"][..], "203.0.113.9"),
            ("192.0.2.8", &["203.0.113.9"][..], "192.0.2.8"),
            // What the client sent itself stands to the left.
            ("10.1.2.3", &["1.1.1.1, 203.0.113.9"][..], "203.0.113.9"),
            ("10.1.2.3", &["1.1.1.1,203.0.113.9 ,10.9.9.9"][..], "203.0.113.9"),
            ("10.1.2.3", &["1.1.1.1", "203.0.113.9", "10.9.9.9"][..], "203.0.113.9"),
            ("10.1.2.3", &["10.5.5.5, 10.9.9.9"][..], "10.5.5.5"),
            ("10.1.2.3", &["203.0.113.9:443"][..], "203.0.113.9"),
            ("10.1.2.3", &["[2001:db8::9]:443, 10.9.9.9"][..], "2001:db8::9"),
            ("10.1.2.3", &["[2001:db8::9]"][..], "2001:db8::9"),
            // Nobody vouches for what stands before rubbish.
            ("10.1.2.3", &["203.0.113.9, unknown"][..], "10.1.2.3"),
            ("10.1.2.3", &["203.0.113.9, unknown, 10.9.9.9"][..], "10.9.9.9"),
            ("10.1.2.3", &[""][..], "10.1.2.3"),
            ("10.1.2.3", &["203.0.113.9,"][..], "10.1.2.3"),
            ("10.1.2.3", &["203.0.113.256"][..], "10.1.2.3"),
            ("10.1.2.3", &["203.0.113.9\u{e9}"][..], "10.1.2.3"),
        ] {
            assert_eq!(who(Some(peer), PUBLIC, forwarded, fronts), client, "{peer} {forwarded:?}");
        }
        assert_eq!(who(Some("10.1.2.3"), PUBLIC, &["203.0.113.9"], "[]"), "10.1.2.3");
        assert_eq!(who(Some("10.1.2.3"), ListenerKind::AdminTcp, &["203.0.113.9"], fronts), "203.0.113.9");
    }

    #[test]
    fn https_is_what_we_see_or_a_trusted_front_says() {
        let trusted = crate::config::Config::from_toml("server.trusted_proxies = ['10.0.0.0/8', 'unix:']").unwrap().server.trusted_proxies;
        let https = |peer: Option<&str>, listener, said: Option<&'static str>| {
            let headers = HeaderMap::from_iter(said.map(|said| (PROTO.parse().unwrap(), said.parse().unwrap())));
            is_https(peer.map(|peer| SocketAddr::new(peer.parse().unwrap(), 1)), listener, &headers, &trusted)
        };
        assert!(https(Some("198.51.100.1"), ListenerKind::Public { tls: true }, None));
        for (peer, said, is) in [
            (Some("198.51.100.1"), None, false),
            (Some("198.51.100.1"), Some("https"), false),
            (Some("10.1.2.3"), None, false),
            (Some("10.1.2.3"), Some("http"), false),
            (Some("10.1.2.3"), Some("HTTPS"), true),
            (Some("::ffff:10.1.2.3"), Some("https"), true),
            (Some("10.1.2.3"), Some("https, http"), true),
            (None, Some("https"), true),
            (None, None, false),
        ] {
            assert_eq!(https(peer, PUBLIC, said), is, "{peer:?} {said:?}");
        }
    }

    #[test]
    fn a_unix_socket_is_a_trusted_front_only_if_it_is_named() {
        assert_eq!(who(None, PUBLIC, &["203.0.113.9"], "['0.0.0.0/0']"), "unix");
        assert_eq!(who(None, PUBLIC, &["203.0.113.9"], "['unix:']"), "203.0.113.9");
        assert_eq!(who(None, PUBLIC, &["203.0.113.9, 10.9.9.9"], "['unix:', '10.0.0.0/8']"), "203.0.113.9");
        assert_eq!(who(None, PUBLIC, &[], "['unix:']"), "unix");
        assert_eq!(who(Some("10.1.2.3"), PUBLIC, &["203.0.113.9"], "['unix:']"), "10.1.2.3");
        assert_eq!(who(None, ListenerKind::AdminSocket, &["203.0.113.9"], "['unix:']"), "unix");
    }
}
