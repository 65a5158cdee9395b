//! What values look like: sizes, durations, addresses, words.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::IpNet;

use super::keys;
use super::problem::{Wrong, quote};
use super::raw::Raw;

/// The longest duration: beyond it clocks overflow.
const DURATION_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);

const SIZE_UNITS: &[(&str, u64)] = &[
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("KB", 1_000),
    ("B", 1),
    ("", 1),
];

const DURATION_UNITS_MS: &[(&str, u64)] = &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// A duration longer than zero, written as in the settings: `30s`, `5m`, `400d`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let time = Duration::from_millis(number_with_unit(text, DURATION_UNITS_MS)?);
    (!time.is_zero() && time <= DURATION_MAX).then_some(time)
}

/// Digits and one of `units`, multiplied; `None` for anything else and on overflow.
fn number_with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let factor = units.iter().find(|(name, _)| *name == unit)?.1;
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// A size in bytes: `"20GiB"`, `"500MB"`, or a number of bytes.
pub(super) fn size(raw: &Raw, range: &RangeInclusive<u64>) -> Result<u64, Wrong> {
    let bytes = match raw {
        Raw::Text(text) => number_with_unit(text, SIZE_UNITS),
        Raw::Integer(number) => u64::try_from(*number).ok(),
        _ => None,
    };
    let bytes = bytes.ok_or_else(|| Wrong::expected("a size like \"20GiB\" or \"500MB\", or a number of bytes"))?;
    if range.contains(&bytes) {
        return Ok(bytes);
    }
    Err(Wrong::expected(format!("a size from {} to {} bytes", range.start(), range.end())))
}

/// A duration: `"30s"`, `"5m"`, `"400d"`. Zero only where `zero` allows it.
pub(super) fn duration(raw: &Raw, zero: bool) -> Result<Duration, Wrong> {
    let wrong = || Wrong::expected("a duration like \"30s\", \"5m\" or \"400d\" (units ms, s, m, h, d)");
    let Raw::Text(text) = raw else { return Err(wrong()) };
    let time = number_with_unit(text, DURATION_UNITS_MS).map(Duration::from_millis).ok_or_else(wrong)?;
    if time > DURATION_MAX {
        return Err(Wrong::expected("a duration of at most 36500d"));
    }
    if time.is_zero() && !zero {
        return Err(Wrong::expected("a duration longer than zero"));
    }
    Ok(time)
}

/// A count within a range.
pub(super) fn count(raw: &Raw, range: &RangeInclusive<usize>) -> Result<usize, Wrong> {
    let number = match raw {
        Raw::Integer(number) => usize::try_from(*number).ok().filter(|number| range.contains(number)),
        _ => None,
    };
    number.ok_or_else(|| Wrong::expected(format!("a whole number from {} to {}", range.start(), range.end())))
}

/// `true` or `false`.
pub(super) fn truth(raw: &Raw) -> Result<bool, Wrong> {
    match raw {
        Raw::Truth(truth) => Ok(*truth),
        _ => Err(Wrong::expected("true or false")),
    }
}

/// A string.
pub(super) fn text(raw: &Raw) -> Result<&str, Wrong> {
    match raw {
        Raw::Text(text) => Ok(text),
        _ => Err(Wrong::expected("a string")),
    }
}

/// One of some words, and what it means.
pub(super) fn word<T: Copy>(raw: &Raw, words: &[(&str, T)]) -> Result<T, Wrong> {
    let names: Vec<String> = words.iter().map(|(name, _)| quote(name)).collect();
    let wrong = Wrong::expected(names.join(" or "));
    let Raw::Text(text) = raw else { return Err(wrong) };
    if let Some((_, value)) = words.iter().find(|(name, _)| name == text) {
        return Ok(*value);
    }
    Err(match keys::closest(&text.to_ascii_lowercase(), words.iter().map(|(name, _)| *name)) {
        Some(near) => wrong.hint(format!("did you mean {}?", quote(&near))),
        None => wrong,
    })
}

/// Where to listen.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Listen {
    Tcp(SocketAddr),
    /// The path of a socket.
    Unix(String),
}

/// What begins the name of a Unix socket.
const UNIX: &str = "unix:";

/// Where to listen: an [`address`], or `unix:/run/modgate/modgate.sock`.
pub(super) fn listen(text: &str) -> Result<Listen, Wrong> {
    let Some(path) = text.strip_prefix(UNIX) else { return address(text).map(Listen::Tcp) };
    // The kernel's own limit, and no NUL.
    match std::os::unix::net::SocketAddr::from_pathname(path) {
        Ok(_) if !path.is_empty() && !path.ends_with('/') => Ok(Listen::Unix(path.to_owned())),
        _ => Err(Wrong::expected("the path of a socket, at most 107 bytes, like \"unix:/run/modgate/modgate.sock\"")),
    }
}

/// An address to listen on: `127.0.0.1:8080`, `[::1]:8080`.
pub(super) fn address(text: &str) -> Result<SocketAddr, Wrong> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let wrong = Wrong::expected("an IP address and a port, like \"127.0.0.1:8080\" or \"[::1]:8080\"");
    Err(if text.starts_with(UNIX) {
        wrong.hint("a unix socket takes plain http: it goes into server.listen")
    } else if let Some(port) = text.strip_prefix(':').or_else(|| text.parse::<u16>().ok().map(|_| text)) {
        wrong.hint(format!("for every interface write {}", quote(&format!("0.0.0.0:{port}"))))
    } else if let Some(port) = text.strip_prefix("localhost:") {
        wrong.hint(format!("names are not looked up: write {}", quote(&format!("127.0.0.1:{port}"))))
    } else {
        wrong
    })
}

/// One of `server.trusted_proxies`: a network, an address, or, as `None`, all Unix listeners.
pub(super) fn trusted_proxy(text: &str) -> Result<Option<IpNet>, Wrong> {
    if text == "unix:" {
        return Ok(None);
    }
    let wrong = || Wrong::expected("a network or an address, like \"10.0.0.0/8\" or \"192.0.2.1\", or \"unix:\"");
    let network = text.parse().ok().or_else(|| text.parse().ok().map(|address: IpAddr| IpNet::from(address)));
    let Some(network) = network else { return Err(wrong()) };
    canonical(network).map(Some).ok_or_else(|| wrong().hint("what is written as IPv6 here reaches beyond IPv4: write the IPv4 network"))
}

/// A network of IPv4-mapped addresses (`::ffff:10.0.0.0/104`) as the IPv4 network that it is, since peers are compared so. `None`: one
/// that is written so and holds more than that.
fn canonical(network: IpNet) -> Option<IpNet> {
    let mapped = match network {
        IpNet::V4(_) => None,
        IpNet::V6(v6) => v6.addr().to_ipv4_mapped(),
    };
    match mapped {
        Some(address) => IpNet::new(address.into(), network.prefix_len().checked_sub(96)?).ok(),
        None => Some(network),
    }
}

/// What clients call this server: `http` or `https`, a host, perhaps a port, perhaps a path. The path is of the characters that are
/// never written in another way, and has no slash at its end.
/// A host's name without a port, lower case: part of the name of a checksum database.
pub(super) fn host_name(text: &str) -> Result<String, Wrong> {
    let label = |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if text.split('.').all(label) { Ok(text.to_owned()) } else { Err(Wrong::expected("a host name in lower case, without a port")) }
}

/// What clients call the server.
pub(super) fn public_url(text: &str) -> Result<url::Url, Wrong> {
    let wrong = || Wrong::expected("a URL like \"https://go.example.com\"");
    let url = url::Url::parse(text).map_err(|_| without_secret(text, wrong()))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(without_secret(text, wrong()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(without_secret(text, Wrong::expected("a URL without credentials")));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong().hint("a query or a fragment is not supported"));
    }
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"-._~".contains(&c);
    let path = url.path();
    let elements = || path[1..].split('/').all(|element| !element.is_empty() && element.bytes().all(plain));
    // What the parser has mended (`..`, a backslash) was not meant so.
    let written = text.split_once("://").and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..])).unwrap_or("/");
    if written != path || (path != "/" && !elements()) {
        return Err(Wrong::expected("a path like \"/go\": elements of a-z, A-Z, 0-9, -, ., _ and ~, and no slash at its end"));
    }
    Ok(url)
}

/// Keeps what may be credentials out of an error.
pub(super) fn without_secret(text: &str, wrong: Wrong) -> Wrong {
    if text.contains('@') { wrong.found("one with an @ (not repeated here: it may hold a secret)") } else { wrong }
}
