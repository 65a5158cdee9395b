//! What values must be to each other.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use super::load::Reader;
use super::problem::quote;
use super::raw::Raw;
use super::{Config, PublicHosts, Source, Sourced, UpstreamAuth, values};
use crate::module::Pattern;

/// How many of the hosts that a pattern takes in are named.
const HOSTS_TOLD_MAX: usize = 3;

/// Notes every contradiction between values that are right by themselves.
pub(super) fn run(config: &Config, r: &mut Reader) {
    let listeners = listeners(config, r);
    collisions(&listeners, r);
    off_loopback(config, &listeners, r);
    unix(config, r);
    tls(config, r);
    upstream_is_not_us(config, r);
    verification(config, r);
    auth(config, r);
    patterns(config, r);
    if config.owners.is_empty() {
        r.warnings.push("no owner is defined ([owners.NAME]): nothing can be published".to_owned());
    }
}

struct Listener {
    key: &'static str,
    address: SocketAddr,
    source: Source,
}

fn listeners(config: &Config, r: &Reader) -> Vec<Listener> {
    let mut out = Vec::new();
    let mut add = |key, addresses: &[SocketAddr]| {
        for (i, address) in addresses.iter().enumerate() {
            out.push(Listener { key, address: *address, source: element_source(r, key, i) });
        }
    };
    add("server.listen", &config.server.listen);
    add("server.tls_listen", &config.server.tls_listen);
    add("server.admin_listen", config.server.admin_listen.as_slice());
    out
}

/// The line of the `i`-th address of a list, not counting what is none.
fn element_source(r: &Reader, key: &str, i: usize) -> Source {
    let is_address = |item: &&Sourced<Raw>| matches!(&item.value, Raw::Text(text) if values::address(text).is_ok());
    match r.layer.values.get(key).map(|set| &set.value) {
        Some(Raw::List(items)) => items.iter().filter(is_address).nth(i).map_or_else(|| r.source(key), |item| item.source.clone()),
        _ => r.source(key),
    }
}

/// Two listeners of one port, on one address or on one and all of them.
fn collisions(listeners: &[Listener], r: &mut Reader) {
    for (i, later) in listeners.iter().enumerate() {
        let (ip, port) = (later.address.ip(), later.address.port());
        let clash = |other: &&Listener| {
            let both = other.address.ip();
            port != 0
                && other.address.port() == port
                && (both == ip || (both.is_ipv4() == ip.is_ipv4() && (both.is_unspecified() || ip.is_unspecified())))
        };
        if let Some(earlier) = listeners.get(..i).unwrap_or_default().iter().find(clash) {
            let found = format!("{}, which {} ({}) takes too", quote(&later.address.to_string()), earlier.key, earlier.source);
            r.wrong(later.source.clone(), later.key, "an address and port that no other listener has", found, None);
        }
    }
}

fn off_loopback(config: &Config, listeners: &[Listener], r: &mut Reader) {
    let beyond = |ip: IpAddr| !ip.to_canonical().is_loopback();
    let mut asked_for_url = config.server.public_url.is_some() || !r.problems_free("server.public_url");
    for listener in listeners.iter().filter(|listener| beyond(listener.address.ip())) {
        let address = quote(&listener.address.to_string());
        if listener.key != "server.tls_listen" && !config.server.allow_plain {
            let hint = "use server.tls_listen, or set server.allow_plain = true where a front does TLS";
            r.wrong(listener.source.clone(), listener.key, "a loopback address for plain http", address.clone(), Some(hint));
        }
        if listener.key != "server.admin_listen" && !asked_for_url {
            asked_for_url = true;
            let expected = format!("the URL that clients use, since {} has {address}", listener.key);
            let hint = "set it: public_url = \"https://go.example.com\"";
            r.wrong(listener.source.clone(), "server.public_url", expected, "nothing", Some(hint));
        }
    }
}

/// A socket has one listener; and clients do not know it.
fn unix(config: &Config, r: &mut Reader) {
    let server = &config.server;
    let mut seen = BTreeSet::new();
    if let Some(twice) = server.listen_unix.iter().find(|path| !seen.insert(*path)) {
        let found = quote(&format!("unix:{}", twice.display()));
        r.wrong(r.source("server.listen"), "server.listen", "a socket that no other listener has", found, None);
    }
    let known = server.public_url.is_some() || !server.listen.is_empty() || !server.tls_listen.is_empty();
    if !server.listen_unix.is_empty() && !known && r.problems_free("server.public_url") {
        let hint = "set it: public_url = \"https://go.example.com\"";
        r.wrong(
            r.source("server.listen"),
            "server.public_url",
            "the URL that clients use, since they reach no listener itself",
            "nothing",
            Some(hint),
        );
    }
}

fn tls(config: &Config, r: &mut Reader) {
    let (listen, tls) = (&config.server.tls_listen, &config.server.tls);
    let told = ["server.tls", "server.tls.cert", "server.tls.key"].iter().any(|key| !r.problems_free(key));
    if !listen.is_empty() && tls.is_none() && !told {
        let expected = "a certificate, since server.tls_listen is set: \"local\" or { cert = \"cert.pem\", key = \"key.pem\" }";
        r.wrong(r.source("server.tls_listen"), "server.tls", expected, "nothing", None);
    }
    if listen.is_empty() && tls.is_some() && r.problems_free("server.tls_listen") {
        r.warnings.push("server.tls is set but no server.tls_listen: nothing uses it".to_owned());
    }
}

/// A gateway whose upstream is itself asks itself for ever.
fn upstream_is_not_us(config: &Config, r: &mut Reader) {
    let place = |url: &url::Url| (url.host_str().map(str::to_ascii_lowercase), url.port_or_known_default());
    let server = &config.server;
    let own = |at: &url::Url| {
        let (host, port) = place(at);
        let address = host.as_deref().and_then(|host| host.trim_matches(['[', ']']).parse::<IpAddr>().ok());
        let listens = |at: &SocketAddr| port == Some(at.port()) && at.port() != 0 && address == Some(at.ip());
        // Beside our path there may be another's.
        let below = |url: &url::Url| at.path().starts_with(url.path().trim_end_matches('/'));
        server.public_url.as_ref().is_some_and(|url| place(url) == place(at) && below(url))
            || server.listen.iter().chain(&server.tls_listen).any(listens)
    };
    let itself = |url: &url::Url| format!("{}, which is this gateway itself", quote(url.as_str()));
    if let Some(hop) = config.upstream.goproxy.iter().find(|hop| own(&hop.url)) {
        r.wrong(r.source("upstream.goproxy"), "upstream.goproxy", "other proxies", itself(&hop.url), None);
    }
    if let Some(url) = config.upstream.sumdb_url().filter(|url| own(url)) {
        r.wrong(r.source("upstream.sumdb"), "upstream.sumdb", "another checksum database", itself(url), None);
    }
}

/// What comes from upstream has somebody who vouches for it, or it is said that nobody does.
fn verification(config: &Config, r: &mut Reader) {
    let upstream = &config.upstream;
    if upstream.is_believed() {
        if let Some(pattern) = upstream.unverified.first() {
            r.warnings.push(format!("{}: upstream.unverified: upstream.verify is off: nothing is verified anyway", pattern.source));
        }
        return;
    }
    // Where nothing comes in, nobody need vouch for it.
    if upstream.goproxy.is_empty() || !r.problems_free("upstream.sumdb") || !r.problems_free("upstream.verify") {
        return;
    }
    let expected = "a checksum database that vouches for what comes from upstream";
    match &upstream.sumdb {
        None => {
            let hint = "name one in upstream.sumdb, or set upstream.verify = \"off\": then upstream is believed whatever it sends";
            r.wrong(r.source("upstream.sumdb"), "upstream.sumdb", expected, "\"off\"", Some(hint));
        }
        Some(sumdb) if sumdb.key.is_none() => {
            let hint = "write its verifier key instead of its name, NAME+HASH+KEY, as in GOSUMDB; or set upstream.verify = \"off\"";
            r.wrong(
                r.source("upstream.sumdb"),
                "upstream.sumdb",
                expected,
                format!("{}, whose key nobody knows here", quote(&sumdb.name)),
                Some(hint),
            );
        }
        Some(_) => {}
    }
}

/// Credentials that nobody is shown, and that everybody on the way can read.
fn auth(config: &Config, r: &mut Reader) {
    for UpstreamAuth { url, .. } in &config.upstream.auth {
        let hops = config.upstream.goproxy.iter().map(|hop| &hop.url);
        if !hops.chain(config.upstream.sumdb_url()).any(|at| at.origin() == url.origin()) {
            r.warnings.push(format!("upstream.auth: no proxy of upstream.goproxy is at {url}: nobody is shown these credentials"));
        }
        let loopback = url.host_str().is_some_and(|host| {
            host == "localhost" || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
        });
        if url.scheme() == "http" && !loopback {
            r.warnings.push(format!("upstream.auth: {url} is plain http: whoever is on the way reads these credentials"));
        }
    }
}

fn patterns(config: &Config, r: &mut Reader) {
    let mut all: Vec<(String, &Sourced<Pattern>)> =
        config.private.patterns.iter().map(|pattern| ("private.patterns".to_owned(), pattern)).collect();
    for (name, owner) in &config.owners {
        all.extend(owner.modules.iter().map(|pattern| (format!("owners.{name}.modules"), pattern)));
    }
    for (key, Sourced { value: pattern, source }) in &all {
        let taken = hosts_taken(&config.private.hosts, pattern);
        if !taken.is_empty() {
            let named = taken.iter().take(HOSTS_TOLD_MAX).copied().collect::<Vec<_>>().join(", ");
            let more = match taken.len().saturating_sub(HOSTS_TOLD_MAX) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let expected = format!("a pattern that does not take in a whole public or shared host: {named}{more}");
            let hint = "name what is yours below the host";
            r.wrong(source.clone(), key, expected, quote(pattern.as_str()), Some(hint));
        }
        if let Some(exception) = config.private.public.iter().find(|exception| exception.value == *pattern) {
            let told = format!("{source}: {key}: {} is in private.public too ({}), which wins: it may leave", pattern, exception.source);
            r.warnings.push(told);
        }
    }
}

/// The known hosts that a pattern takes in whole.
fn hosts_taken<'a>(hosts: &'a PublicHosts, pattern: &Pattern) -> Vec<&'a str> {
    // A literal host is at most itself: lists of many thousand patterns are judged at once.
    let literal = pattern.literal_prefix().split('/').next().unwrap_or_default().to_ascii_lowercase();
    if !literal.is_empty() && hosts.kind(&literal).is_none() {
        return Vec::new();
    }
    hosts.all().filter(|host| literal.is_empty() || literal == *host).filter(|host| pattern.covers_host(host)).collect()
}
