//! One function a section: keys to fields.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::hosts::{self, HostKind};
use super::load::Reader;
use super::password;
use super::problem::{Wrong, quote};
use super::raw::Raw;
use super::values::Listen;
use super::{
    Access, Cache, Config, Limits, Log, LogFormat, Miss, OwnSumdb, Owner, Private, PublicHosts, Retain, Server, Source, Sourced, Tls,
    TrustedProxies, UnknownHosts, Upstream, User, Verify, Visibility, auth, check_password_hash, upstream, values,
};
use crate::module::Pattern;

/// The longest zip that may be allowed, bytes. Go's own limit on what a zip unpacks to is 500 MiB.
const UPLOAD_BYTES_MAX: u64 = 1 << 40;
/// Bounds of the longest request head, bytes: a go command's own is under 1 KiB.
const HEADER_BYTES: std::ops::RangeInclusive<u64> = 1 << 10..=1 << 20;
/// Bounds of how many old versions of a path are kept.
const KEEP: std::ops::RangeInclusive<usize> = 0..=1_000_000;
/// Bounds of the number of connections.
const CONNECTIONS: std::ops::RangeInclusive<usize> = 1..=1_000_000;

/// Reads everything. Problems are noted in the reader; while there are any, the result is not to be used.
pub(super) fn config(r: &mut Reader, file: Option<PathBuf>) -> Config {
    Config {
        file,
        data_dir: data_dir(r),
        server: server(r),
        limits: limits(r),
        upstream: upstream(r),
        private: private(r),
        cache: Cache {
            max_size: r.or("cache.max_size", 0, |raw| values::size(raw, &(0..=u64::MAX))),
            min_free: r.or("cache.min_free", 0, |raw| values::size(raw, &(0..=u64::MAX))),
            memory: r.or("cache.memory", 0, |raw| values::size(raw, &(0..=u64::MAX))),
            fresh: duration(r, "cache.fresh", true),
            stale: duration(r, "cache.stale", true),
            not_found: duration(r, "cache.not_found", true),
        },
        sumdb: OwnSumdb {
            enabled: truth(r, "sumdb.enabled"),
            host: r.optional("sumdb.host", values::host_name).map(|host| host.value),
            head_path: r.optional("sumdb.head_path", |text| path_text(&Raw::Text(text.to_owned()))).map(path),
        },
        access: Access { anonymous_read: r.or("access.anonymous", true, |raw| values::word(raw, &[("read", true), ("none", false)])) },
        log: log(r),
        owners: owners(r),
        users: users(r),
    }
}

fn duration(r: &mut Reader, key: &str, zero: bool) -> Duration {
    r.or(key, Duration::ZERO, |raw| values::duration(raw, zero))
}

fn truth(r: &mut Reader, key: &str) -> bool {
    r.or(key, false, values::truth)
}

/// A path; one in the file is relative to the file's folder.
pub(super) fn path(Sourced { value, source }: Sourced<String>) -> PathBuf {
    match &source {
        Source::File(file, _) => file.parent().unwrap_or(Path::new("")).join(value),
        _ => value.into(),
    }
}

pub(super) fn path_text(raw: &Raw) -> Result<String, Wrong> {
    match values::text(raw)? {
        "" => Err(Wrong::expected("a path")),
        text if text.contains('\0') => Err(Wrong::expected("a path without NUL")),
        text => Ok(text.to_owned()),
    }
}

fn data_dir(r: &mut Reader) -> PathBuf {
    if !r.layer.values.contains_key("data_dir") {
        let hint = "set it in the file or by --data-dir: there is no HOME to keep it under";
        r.wrong(Source::Default, "data_dir", "a folder", "nothing", Some(hint));
        return PathBuf::new();
    }
    r.value("data_dir", path_text).map_or_else(PathBuf::new, path)
}

fn server(r: &mut Reader) -> Server {
    let plain = |sourced: Sourced<_>| sourced.value;
    let (mut listen, mut listen_unix) = (Vec::new(), Vec::new());
    for Sourced { value, source } in r.list("server.listen", values::listen) {
        match value {
            Listen::Tcp(address) => listen.push(address),
            Listen::Unix(value) => listen_unix.push(path(Sourced { value, source })),
        }
    }
    Server {
        listen,
        listen_unix,
        tls_listen: r.list("server.tls_listen", values::address).into_iter().map(plain).collect(),
        tls: tls(r),
        public_url: r.optional("server.public_url", values::public_url).map(|url| url.value),
        admin_listen: r.optional("server.admin_listen", values::address).map(plain),
        allow_plain: truth(r, "server.allow_plain"),
        trusted_proxies: trusted_proxies(r),
        drain: duration(r, "server.drain", true),
    }
}

fn trusted_proxies(r: &mut Reader) -> TrustedProxies {
    let mut trusted = TrustedProxies::default();
    for Sourced { value, source } in r.list("server.trusted_proxies", values::trusted_proxy) {
        match value {
            None => trusted.unix = true,
            Some(network) => {
                if network.prefix_len() == 0 {
                    r.warnings.push(format!("{source}: server.trusted_proxies: {network} is everyone: any client can claim any address"));
                }
                trusted.networks.push(network);
            }
        }
    }
    trusted
}

fn tls(r: &mut Reader) -> Option<Tls> {
    const PARTS: [&str; 2] = ["server.tls.cert", "server.tls.key"];
    if !PARTS.iter().any(|part| r.layer.values.contains_key(*part)) {
        let expected = || Wrong::expected("\"local\" or a table { cert = \"cert.pem\", key = \"key.pem\" }");
        return r.optional("server.tls", |text| if text == "local" { Ok(Tls::Local) } else { Err(expected()) }).map(|tls| tls.value);
    }
    if let [Some(cert), Some(key)] = PARTS.map(|part| r.value(part, path_text)) {
        let file = |sourced: Sourced<String>| Sourced { source: sourced.source.clone(), value: path(sourced) };
        return Some(Tls::Files { cert: file(cert), key: file(key) });
    }
    None
}

fn limits(r: &mut Reader) -> Limits {
    Limits {
        upload: r.or("limits.upload", 0, |raw| values::size(raw, &(1..=UPLOAD_BYTES_MAX))),
        header: r.or("limits.header", 0, |raw| values::size(raw, &HEADER_BYTES)),
        header_time: duration(r, "limits.header_time", false),
        idle: duration(r, "limits.idle", false),
        stall: duration(r, "limits.stall", false),
        connections: r.or("limits.connections", 0, |raw| values::count(raw, &CONNECTIONS)),
        queue: duration(r, "limits.queue", true),
    }
}

fn upstream(r: &mut Reader) -> Upstream {
    let goproxy = |raw: &Raw| match raw {
        Raw::Text(text) => upstream::goproxy(text).map_err(|wrong| values::without_secret(text, wrong)),
        _ => Err(Wrong::expected("a string, a GOPROXY list")),
    };
    Upstream {
        goproxy: r.or("upstream.goproxy", Vec::new(), goproxy),
        sumdb: r.or("upstream.sumdb", None, |raw| values::text(raw).and_then(upstream::sumdb)),
        verify: verify(r),
        unverified: r.list("upstream.unverified", pattern),
        connect_timeout: duration(r, "upstream.connect_timeout", false),
        stall_timeout: duration(r, "upstream.stall_timeout", false),
        proxy: r.optional("upstream.proxy", upstream::way).map(|proxy| proxy.value),
        ca_file: r.optional("upstream.ca_file", |text| path_text(&Raw::Text(text.to_owned()))).map(path),
        auth: auth::read(r),
    }
}

fn verify(r: &mut Reader) -> Sourced<Verify> {
    let set = r.value("upstream.verify", |raw| values::word(raw, &[("require", Verify::Require), ("off", Verify::Off)]));
    set.unwrap_or(Sourced { value: Verify::Require, source: Source::Default })
}

fn pattern(text: &str) -> Result<Pattern, Wrong> {
    if text.contains("://") {
        return Err(
            Wrong::expected("a pattern of module paths, like \"corp.example.com\" or \"github.com/acme/*\"").hint("leave the scheme out")
        );
    }
    text.parse().map_err(|error: crate::module::pattern::PatternError| {
        Wrong::expected("a pattern of module paths, like \"corp.example.com\" or \"github.com/acme/*\"").hint(error.reason)
    })
}

fn private(r: &mut Reader) -> Private {
    let mut known = PublicHosts::shipped();
    for Sourced { value: (host, kind), source } in r.list("private.public_hosts", hosts::parse_host) {
        match known.kind(&host) {
            Some(before) if before != kind => {
                let expected = format!("{host} once, with one character");
                let say = |kind| match kind {
                    HostKind::Whole => "public as a whole",
                    HostKind::Shared => "shared",
                    HostKind::Flat => "shared, flat",
                };
                let found = format!("it {}, and listed (here or in the shipped list) as {}", say(kind), say(before));
                r.wrong(source, "private.public_hosts", expected, found, None);
            }
            Some(_) => {}
            None => {
                known.sources.insert(host.clone(), source);
                known.insert(host, kind);
            }
        }
    }
    Private {
        patterns: r.list("private.patterns", pattern),
        public: r.list("private.public", pattern),
        hosts: known,
        claim_hosts: truth(r, "private.claim_hosts"),
        unknown_hosts: unknown_hosts(r),
        miss: r.or("private.miss", Miss::NotFound, |raw| values::word(raw, &[("not-found", Miss::NotFound), ("refuse", Miss::Refuse)])),
    }
}

fn unknown_hosts(r: &mut Reader) -> Sourced<UnknownHosts> {
    const WORDS: &[(&str, UnknownHosts)] = &[("allow", UnknownHosts::Allow), ("audit", UnknownHosts::Audit), ("hold", UnknownHosts::Hold)];
    let set = r.value("private.unknown_hosts", |raw| values::word(raw, WORDS));
    set.unwrap_or(Sourced { value: UnknownHosts::Hold, source: Source::Default })
}

fn log(r: &mut Reader) -> Log {
    use tracing::Level;
    const LEVELS: &[(&str, Level)] =
        &[("error", Level::ERROR), ("warn", Level::WARN), ("info", Level::INFO), ("debug", Level::DEBUG), ("trace", Level::TRACE)];
    const FORMATS: &[(&str, LogFormat)] = &[("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)];
    Log {
        level: r.or("log.level", Level::INFO, |raw| values::word(raw, LEVELS)),
        format: r.or("log.format", LogFormat::Auto, |raw| values::word(raw, FORMATS)),
        access: truth(r, "log.access"),
    }
}

fn owners(r: &mut Reader) -> BTreeMap<crate::module::OwnerName, Owner> {
    const KINDS: &[(&str, Visibility)] =
        &[("public", Visibility::Public), ("internal", Visibility::Internal), ("private", Visibility::Private)];
    let mut out = BTreeMap::new();
    for (name, source) in r.layer.owners.clone() {
        let key = |key: &str| format!("owners.{name}.{key}");
        let visibility = r.or(&key("visibility"), Visibility::Private, |raw| values::word(raw, KINDS));
        let member = |text: &str| text.parse().map_err(|_| Wrong::expected("a user's name"));
        let mut members = Vec::new();
        for member in r.list(&key("members"), member) {
            if r.layer.users.contains_key(&member.value) {
                members.push(member.value);
            } else {
                unknown_member(r, &key("members"), &member);
            }
        }
        let modules = r.list(&key("modules"), pattern);
        let max_bytes = max_bytes(r, &key("max_bytes"));
        let retain = retain(r, &key("retain"));
        out.insert(name, Owner { visibility, members, modules, max_bytes, retain, source });
    }
    out
}

/// A size, or none where the key is not set or is an empty string.
fn max_bytes(r: &mut Reader, key: &str) -> Option<u64> {
    match r.layer.values.get(key).map(|set| &set.value) {
        None => None,
        Some(Raw::Text(text)) if text.is_empty() => None,
        Some(_) => r.value(key, |raw| values::size(raw, &(0..=u64::MAX))).map(|bytes| bytes.value),
    }
}

/// Both of its keys or neither: what is deleted for good is spelled out.
fn retain(r: &mut Reader, key: &str) -> Option<Retain> {
    let [prerelease, keep] = ["prerelease", "keep"].map(|part| format!("{key}.{part}"));
    if ![&prerelease, &keep].into_iter().any(|part| r.layer.values.contains_key(part)) {
        return None;
    }
    let prerelease = r.value(&prerelease, |raw| values::duration(raw, false));
    let keep = r.value(&keep, |raw| values::count(raw, &KEEP));
    Some(Retain { prerelease: prerelease?.value, keep: keep?.value })
}

fn unknown_member(r: &mut Reader, key: &str, member: &Sourced<crate::module::UserName>) {
    let name = member.value.as_str();
    let near = super::keys::closest(name, r.layer.users.keys().map(|user| user.as_str()));
    let hint = near.map_or_else(|| format!("define it: [users.{name}]"), |near| format!("did you mean {near}?"));
    r.wrong(member.source.clone(), key, "the name of a user in [users]", quote(name), Some(&hint));
}

fn users(r: &mut Reader) -> BTreeMap<crate::module::UserName, User> {
    let mut out = BTreeMap::new();
    for name in r.layer.users.clone().into_keys() {
        let key = format!("users.{name}.password_hash");
        let hash = r.value(&key, |raw| {
            let wrong = || Wrong::expected("a password hash as `modgate password` prints it, $argon2id$…");
            // Whatever stands there may be the password itself: it is never repeated.
            let text = values::text(raw).map_err(|_| wrong().found("something that is not a string"))?;
            let found = |error: super::PasswordHashError| wrong().found(format!("another text (not repeated here): {error}"));
            check_password_hash(text).map(|work| (text.to_owned(), work)).map_err(found)
        });
        let admin = truth(r, &format!("users.{name}.admin"));
        let Some(Sourced { value: (password_hash, work), source }) = hash else { continue };
        if password::is_cheap(work) {
            r.warnings.push(format!("{source}: {key}: this hash costs little to guess; make another with `modgate password`"));
        }
        out.insert(name, User { password_hash, admin });
    }
    out
}
