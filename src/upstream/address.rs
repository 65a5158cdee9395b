//! Which addresses a redirect may lead to.
//!
//! A redirect is an upstream's word about where to connect next: taken on trust it would let whoever answers
//! there reach what only this machine can reach. So every address outside the public internet is in a class,
//! and a redirect goes to a class only if the upstream that sent it was reached at an address of that class.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A set of classes of addresses that are not on the public internet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Inner(u8);

impl Inner {
    /// No class: addresses of the public internet alone.
    pub(crate) const NONE: Self = Self(0);
    /// This machine: 127/8, ::1, and what the kernel takes for it (0/8, ::).
    pub(crate) const LOOPBACK: Self = Self(1);
    /// The link: 169.254/16 (cloud metadata too), fe80::/10.
    pub(crate) const LINK_LOCAL: Self = Self(2);
    /// Networks of one's own, and every range set aside for anything but the internet.
    pub(crate) const PRIVATE: Self = Self(4);
    /// How many different sets there are.
    pub(crate) const SETS: usize = 8;

    /// A number under [`Inner::SETS`] that stands for this set.
    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }

    /// The set that [`Inner::index`] gave `index` for.
    pub(crate) fn from_index(index: usize) -> Self {
        Self((index % Self::SETS) as u8)
    }

    /// Both sets together.
    pub(crate) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether a connection to `address` stays within this set or the public internet.
    pub(crate) fn admits(self, address: IpAddr) -> bool {
        let class = class_of(address);
        self.0 & class.0 == class.0
    }
}

/// The class of an address; [`Inner::NONE`] for the public internet.
pub(crate) fn class_of(address: IpAddr) -> Inner {
    match address {
        IpAddr::V4(v4) => class_of_v4(v4),
        IpAddr::V6(v6) => class_of_v6(v6),
    }
}

fn class_of_v4(v4: Ipv4Addr) -> Inner {
    let [a, b, c, _] = v4.octets();
    match (a, b, c) {
        (0 | 127, ..) => Inner::LOOPBACK,
        (169, 254, _) => Inner::LINK_LOCAL,
        // RFC 1918, RFC 6598, IETF protocol assignments, documentation, benchmarking, multicast, reserved, broadcast.
        (10, ..) | (172, 16..=31, _) | (192, 168, _) | (100, 64..=127, _) => Inner::PRIVATE,
        (192, 0, 0 | 2) | (198, 18..=19, _) | (198, 51, 100) | (203, 0, 113) | (224..=255, ..) => Inner::PRIVATE,
        _ => Inner::NONE,
    }
}

fn class_of_v6(v6: Ipv6Addr) -> Inner {
    let s = v6.segments();
    let low = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        class_of_v4(Ipv4Addr::new(a, b, c, d))
    };
    match s {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => Inner::LOOPBACK,
        // IPv4-mapped, IPv4-compatible, NAT64 and 6to4 addresses reach the IPv4 address that they hold.
        [0, 0, 0, 0, 0, 0xffff, x, y] | [0, 0, 0, 0, 0, 0, x, y] | [0, 0, 0, 0, 0xffff, 0, x, y] => low(x, y),
        [0x64, 0xff9b, 0, 0, 0, 0, x, y] => low(x, y),
        [0x2002, x, y, ..] => low(x, y),
        [0x64, 0xff9b, 1, ..] => Inner::PRIVATE,
        [0xfe80..=0xfebf, ..] => Inner::LINK_LOCAL,
        // Unique local, site local, multicast, discard, Teredo and its neighbours, documentation.
        [0xfc00..=0xfdff | 0xfec0..=0xfeff | 0xff00..=0xffff, ..] => Inner::PRIVATE,
        [0x100, 0, 0, 0, ..] | [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, ..] => Inner::PRIVATE,
        _ => Inner::NONE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(text: &str) -> Inner {
        class_of(text.parse().unwrap())
    }

    #[test]
    fn every_range_that_is_not_the_internet_has_a_class() {
        for text in ["127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "::1", "::", "::ffff:127.0.0.1", "::127.0.0.1"] {
            assert_eq!(class(text), Inner::LOOPBACK, "{text}");
        }
        for text in ["64:ff9b::7f00:1", "2002:7f00:1::", "::ffff:0:127.0.0.1"] {
            assert_eq!(class(text), Inner::LOOPBACK, "{text}");
        }
        for text in ["169.254.169.254", "fe80::1", "febf::1", "::ffff:169.254.1.1", "64:ff9b::a9fe:a9fe"] {
            assert_eq!(class(text), Inner::LINK_LOCAL, "{text}");
        }
        for text in [
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "100.127.255.255",
            "192.0.0.8",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "fc00::1",
            "fdff::1",
            "fec0::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "::ffff:10.0.0.1",
            "2002:a00:1::",
        ] {
            assert_eq!(class(text), Inner::PRIVATE, "{text}");
        }
        for text in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "192.0.1.1", "2606:4700::1111", "2a00:1450:4001::1", "::ffff:8.8.8.8"] {
            assert_eq!(class(text), Inner::NONE, "{text}");
        }
    }

    #[test]
    fn a_set_admits_its_classes_and_the_internet() {
        let public: IpAddr = "8.8.8.8".parse().unwrap();
        let metadata: IpAddr = "169.254.169.254".parse().unwrap();
        assert!(Inner::NONE.admits(public) && !Inner::NONE.admits(metadata));
        assert!(Inner::LOOPBACK.admits(public) && !Inner::LOOPBACK.admits(metadata));
        assert!(Inner::LOOPBACK.with(Inner::LINK_LOCAL).admits(metadata));
        for index in 0..Inner::SETS {
            assert_eq!(Inner::from_index(index).index(), index);
        }
    }
}
