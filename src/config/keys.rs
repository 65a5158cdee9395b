//! Every key that there is, with its default. What does not stand here is an unknown key.

/// The public Go module proxy and the public checksum database. The one place that names them.
const PUBLIC_PROXY: &str = "https://proxy.golang.org";
const PUBLIC_SUMDB: &str = "sum.golang.org";

/// The largest edit distance at which an unknown key is taken for a slip of a known one.
const SLIP_MAX: usize = 3;
/// From so many bytes on, the beginning of a known key is taken for it.
const HALF_MIN: usize = 4;

/// What an environment variable's text is read as. In the file every value has its own type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A string.
    Text,
    /// `true` or `false`.
    Truth,
    /// An integer.
    Count,
    /// Strings, separated by commas.
    List,
    /// Tables, which the file alone can hold.
    Tables,
}

/// One key.
#[derive(Debug)]
pub(super) struct Key {
    /// `section.key`; `*` stands for an owner's or a user's name.
    pub(super) name: &'static str,
    /// How its text is read.
    pub(super) kind: Kind,
    /// Its default, written as in the environment. `None`: it has none, and must be set where its table is there.
    pub(super) default: Option<&'static str>,
}

const fn key(name: &'static str, kind: Kind, default: &'static str) -> Key {
    Key { name, kind, default: Some(default) }
}

/// Every key but `data_dir`'s default, which depends on who runs. Where an empty text is the default it means "not set".
pub(super) const KEYS: &[Key] = &[
    Key { name: "data_dir", kind: Kind::Text, default: None },
    key("server.listen", Kind::List, ""),
    key("server.tls_listen", Kind::List, ""),
    key("server.tls", Kind::Text, ""),
    Key { name: "server.tls.cert", kind: Kind::Text, default: None },
    Key { name: "server.tls.key", kind: Kind::Text, default: None },
    key("server.public_url", Kind::Text, ""),
    key("server.admin_listen", Kind::Text, ""),
    key("server.allow_plain", Kind::Truth, "false"),
    key("server.trusted_proxies", Kind::List, ""),
    key("server.drain", Kind::Text, "30s"),
    key("limits.upload", Kind::Text, "500MiB"),
    key("limits.header", Kind::Text, "16KiB"),
    key("limits.header_time", Kind::Text, "10s"),
    key("limits.idle", Kind::Text, "75s"),
    key("limits.stall", Kind::Text, "60s"),
    key("limits.connections", Kind::Count, "10000"),
    key("limits.queue", Kind::Text, "30s"),
    key("upstream.goproxy", Kind::Text, PUBLIC_PROXY),
    key("upstream.sumdb", Kind::Text, PUBLIC_SUMDB),
    key("upstream.verify", Kind::Text, "require"),
    key("upstream.unverified", Kind::List, ""),
    key("upstream.connect_timeout", Kind::Text, "5s"),
    key("upstream.stall_timeout", Kind::Text, "30s"),
    key("upstream.proxy", Kind::Text, ""),
    key("upstream.ca_file", Kind::Text, ""),
    key("upstream.auth", Kind::Tables, ""),
    key("private.patterns", Kind::List, ""),
    key("private.public", Kind::List, ""),
    key("private.public_hosts", Kind::List, ""),
    key("private.claim_hosts", Kind::Truth, "true"),
    key("private.unknown_hosts", Kind::Text, "allow"),
    key("private.miss", Kind::Text, "not-found"),
    key("cache.max_size", Kind::Text, "20GiB"),
    key("cache.min_free", Kind::Text, "1GiB"),
    key("cache.memory", Kind::Text, "128MiB"),
    key("cache.fresh", Kind::Text, "1m"),
    key("cache.stale", Kind::Text, "30d"),
    key("cache.not_found", Kind::Text, "30s"),
    key("sumdb.enabled", Kind::Truth, "true"),
    key("sumdb.host", Kind::Text, ""),
    key("sumdb.head_path", Kind::Text, ""),
    key("access.anonymous", Kind::Text, "read"),
    key("log.level", Kind::Text, "info"),
    key("log.format", Kind::Text, "auto"),
    key("log.access", Kind::Truth, "true"),
    key("owners.*.visibility", Kind::Text, "private"),
    key("owners.*.members", Kind::List, ""),
    key("owners.*.modules", Kind::List, ""),
    key("owners.*.max_bytes", Kind::Text, ""),
    Key { name: "owners.*.retain.prerelease", kind: Kind::Text, default: None },
    Key { name: "owners.*.retain.keep", kind: Kind::Count, default: None },
    Key { name: "users.*.password_hash", kind: Kind::Text, default: None },
    key("users.*.admin", Kind::Truth, "false"),
];

/// What a running gateway cannot change: it is opened, or begun, once.
pub(super) const FIXED: &[&str] = &[
    "data_dir",
    "server.listen",
    "server.tls_listen",
    "server.admin_listen",
    "cache.memory",
    "sumdb.enabled",
    "sumdb.host",
    "sumdb.head_path",
    "log.format",
];

/// What a run without a file has besides: key and value, written as in the environment.
pub(super) const BUILT_IN: &[(&str, &str)] =
    &[("server.listen", "127.0.0.1:8080"), ("server.tls_listen", "127.0.0.1:8443"), ("server.tls", "local")];

/// The owners of a run without a file, and who may see them. `private` has no members: it is the admin token's.
pub(super) const BUILT_IN_OWNERS: &[(&str, &str)] = &[("default", "public"), ("private", "private")];

/// Secrets: never printed.
pub(super) fn is_secret(name: &str) -> bool {
    name == "users.*.password_hash"
}

/// The key of this name.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// Whether keys lie below this name.
pub(super) fn is_section(name: &str) -> bool {
    KEYS.iter().any(|key| key.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
}

/// The environment variable of a key; `None` for tables, owners and users, which are set in the file only.
pub(super) fn variable(name: &str) -> Option<String> {
    let in_file_only = name.contains('*') || find(name).is_some_and(|key| key.kind == Kind::Tables);
    (!in_file_only).then(|| format!("{PREFIX}{}", name.to_ascii_uppercase().replace('.', "__")))
}

/// What the environment variables of settings begin with.
pub(super) const PREFIX: &str = "MODGATE_";

/// The known key, or section, that `unknown` was probably meant to be.
pub(super) fn nearest(unknown: &str) -> Option<String> {
    let (parent, last) = unknown.rsplit_once('.').unwrap_or(("", unknown));
    let mut names: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
    names.extend(KEYS.iter().filter_map(|key| key.name.split_once('.')).map(|(section, _)| section));
    // Half of a name: `password` for `password_hash`.
    let half = |name: &&&str| {
        let (section, key) = name.rsplit_once('.').unwrap_or(("", name));
        section == parent && last.len() >= HALF_MIN && (key.starts_with(last) || last.starts_with(key))
    };
    let half = names.iter().find(half).map(|name| (*name).to_owned());
    // A right key in the wrong section beats a slip.
    let elsewhere = names.iter().find(|name| name.rsplit('.').next() == Some(last) && **name != parent);
    let slip = closest(unknown, names.iter().copied());
    slip.or(half).or(elsewhere.map(|name| (*name).to_owned()))
}

/// The candidate that `word` was probably meant to be.
pub(super) fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let bound = SLIP_MAX.min(word.chars().count() / 2);
    let distance = |candidate: &str| strsim::osa_distance(word, candidate);
    let best = candidates.into_iter().map(|c| (distance(c), c)).min()?;
    (best.0 <= bound).then(|| best.1.to_owned())
}
