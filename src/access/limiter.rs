//! How many different wrong credentials an address has shown lately, and what that comes to.
//!
//! Each counts for [`FORGIVEN_EVERY`]. With [`LIMITED_AT`] of them an address is limited: what was not right there before
//! is not even looked at. With [`SHUT_AT`] nothing is, or whoever shares an address with others could guess theirs as fast as
//! requests go. The table is bounded: who comes in when it is full takes the place of whoever was wrong longest ago.

use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use moka::policy::EvictionPolicy;
use moka::sync::Cache;

/// Different wrong credentials, at which an address is limited.
pub(super) const LIMITED_AT: u32 = 20;
/// Different wrong credentials, at which not even what was right there is looked at.
pub(super) const SHUT_AT: u32 = 100;
/// How long one wrong credential counts, after those before it.
pub(super) const FORGIVEN_EVERY: Duration = Duration::from_secs(15);
/// Addresses that are counted.
const ORIGINS_MAX: u64 = 65_536;

/// Whom a wrong credential is counted against: an IPv4 address, the /64 of an IPv6 address (which one host has to itself), or all
/// that come without an address, by a Unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Origin(Option<IpAddr>);

impl Origin {
    pub(super) fn of(address: Option<IpAddr>) -> Self {
        Self(address.map(|address| match address.to_canonical() {
            IpAddr::V4(v4) => IpAddr::V4(v4),
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        }))
    }

    /// The same bytes for the same origin alone.
    pub(super) fn bytes(self) -> [u8; 17] {
        let mut bytes = [0; 17];
        let address = self.0.map(|address| match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        });
        if let Some(address) = address {
            bytes[0] = 1;
            bytes[1..].copy_from_slice(&address.octets());
        }
        bytes
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            None => f.write_str("unix"),
            Some(IpAddr::V4(v4)) => v4.fmt(f),
            Some(IpAddr::V6(v6)) => write!(f, "{v6}/64"),
        }
    }
}

/// What an origin's wrong credentials come to. The times: until it is better by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Few or none.
    Free,
    /// What was not right there before is not looked at.
    Limited(Duration),
    /// No password is looked at.
    Shut(Duration),
}

/// The counts, by origin.
pub(super) struct Limiter {
    /// When all will be forgiven: a count of wrong ones, kept as the time that they take.
    forgiven_at: Cache<Origin, Instant>,
}

impl Limiter {
    pub(super) fn new() -> Self {
        let forgiven_at = Cache::builder()
            .max_capacity(ORIGINS_MAX)
            .time_to_live(FORGIVEN_EVERY * SHUT_AT)
            .eviction_policy(EvictionPolicy::lru())
            .build();
        Self { forgiven_at }
    }

    /// How the origin stands at `now`.
    pub(super) fn standing(&self, origin: Origin, now: Instant) -> Standing {
        let Some(forgiven_at) = self.forgiven_at.get(&origin) else { return Standing::Free };
        let counted = forgiven_at.saturating_duration_since(now);
        let until_below = |limit: u32| counted.checked_sub(FORGIVEN_EVERY * (limit - 1)).filter(|wait| !wait.is_zero());
        match (until_below(SHUT_AT), until_below(LIMITED_AT)) {
            (Some(wait), _) => Standing::Shut(wait),
            (None, Some(wait)) => Standing::Limited(wait),
            (None, None) => Standing::Free,
        }
    }

    /// Counts one more wrong credential.
    pub(super) fn count(&self, origin: Origin, now: Instant) {
        self.forgiven_at.entry(origin).and_upsert_with(|before| {
            let before = before.map_or(now, |entry| entry.into_value().max(now));
            before + FORGIVEN_EVERY
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(address: &str) -> Origin {
        Origin::of(Some(address.parse().unwrap()))
    }

    #[test]
    fn an_origin_is_limited_and_shut_at_so_many_and_forgiven_one_by_one() {
        let (limiter, one, start) = (Limiter::new(), origin("192.0.2.1"), Instant::now());
        for counted in 0..SHUT_AT {
            let standing = limiter.standing(one, start);
            match counted {
                ..LIMITED_AT => assert_eq!(standing, Standing::Free, "{counted}"),
                _ => assert_eq!(standing, Standing::Limited(FORGIVEN_EVERY * (counted + 1 - LIMITED_AT)), "{counted}"),
            }
            limiter.count(one, start);
        }
        assert_eq!(limiter.standing(one, start), Standing::Shut(FORGIVEN_EVERY));
        let mut now = start + FORGIVEN_EVERY;
        assert_eq!(limiter.standing(one, now), Standing::Limited(FORGIVEN_EVERY * (SHUT_AT - LIMITED_AT)));
        now += FORGIVEN_EVERY * (SHUT_AT - LIMITED_AT);
        assert_eq!(limiter.standing(one, now - Duration::from_millis(1)), Standing::Limited(Duration::from_millis(1)));
        assert_eq!(limiter.standing(one, now), Standing::Free);
        limiter.count(one, now);
        assert_eq!(limiter.standing(one, now), Standing::Limited(FORGIVEN_EVERY));
        // What is long over counts for nothing.
        let later = now + FORGIVEN_EVERY * 1000;
        limiter.count(one, later);
        assert_eq!(limiter.standing(one, later), Standing::Free);
        assert_eq!(limiter.standing(origin("192.0.2.2"), start), Standing::Free);
    }

    #[test]
    fn an_ipv6_network_is_one_origin_and_a_mapped_address_is_its_ipv4_one() {
        assert_eq!(origin("2001:db8:0:1::1"), origin("2001:db8:0:1:ffff::9"));
        assert_ne!(origin("2001:db8:0:1::1"), origin("2001:db8:0:2::1"));
        assert_eq!(origin("::ffff:192.0.2.1"), origin("192.0.2.1"));
        assert_ne!(origin("192.0.2.1"), origin("192.0.2.2"));
        assert_ne!(Origin::of(None), origin("::"));
        assert_ne!(Origin::of(None).bytes(), origin("::").bytes());
        assert_eq!(origin("2001:db8::1").to_string(), "2001:db8::/64");
    }

    #[test]
    fn the_table_is_bounded_and_those_who_come_last_are_in_it() {
        let (limiter, now) = (Limiter::new(), Instant::now());
        let of = |n: u64| Origin::of(Some(IpAddr::V4((n as u32).into())));
        for n in 0..ORIGINS_MAX + 5000 {
            limiter.count(of(n), now);
        }
        limiter.forgiven_at.run_pending_tasks();
        assert!(limiter.forgiven_at.entry_count() <= ORIGINS_MAX);
        assert!(limiter.forgiven_at.contains_key(&of(ORIGINS_MAX + 4999)));
        assert!(!limiter.forgiven_at.contains_key(&of(0)));
    }
}
