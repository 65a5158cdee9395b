//! Settings: a file, the environment and flags become one validated [`Config`]; every value knows its source.
//!
//! Nothing is guessed: an unknown key, a value out of its range or a contradiction stops the start, and all of
//! them are told at once, each with its file, line and key. `keys.rs` holds every key there is.

mod auth;
mod checks;
mod hosts;
mod keys;
mod load;
mod password;
mod problem;
mod raw;
mod reload;
mod sections;
mod upstream;
mod values;
mod written;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::module::{ModulePath, OwnerName, Pattern, UserName};
use crate::tlog::VerifierKey;

pub use hosts::{HostKind, PublicHosts};
pub use load::{Environment, FILE_BYTES_MAX, Flags, Loaded, REFERENCE, Setting, data_dir, load, load_text};
pub use password::{PasswordHashError, check_password_hash};
pub use problem::{ConfigError, Fault, Problem};
pub use reload::{Kept, Reloaded};
pub use values::parse_duration;
pub use written::Written;

/// Where a value came from: what `modgate config` and `explain` print.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody set it.
    Default,
    /// A line of the settings file, counted from 1.
    File(Arc<PathBuf>, usize),
    /// An environment variable.
    Env(String),
    /// A command-line flag.
    Flag(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Env(name) => write!(f, "env {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// A value and where it was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// Where it was set.
    pub source: Source,
}

/// All settings, validated.
#[derive(Clone, Debug)]
pub struct Config {
    /// The settings file that was read, if one was.
    pub file: Option<PathBuf>,
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// `[server]`
    pub server: Server,
    /// `[limits]`
    pub limits: Limits,
    /// `[upstream]`
    pub upstream: Upstream,
    /// `[private]`
    pub private: Private,
    /// `[cache]`
    pub cache: Cache,
    /// `[sumdb]`
    pub sumdb: OwnSumdb,
    /// `[access]`
    pub access: Access,
    /// `[log]`
    pub log: Log,
    /// `[owners.NAME]`
    pub owners: BTreeMap<OwnerName, Owner>,
    /// `[users.NAME]`
    pub users: BTreeMap<UserName, User>,
}

/// `[server]`
#[derive(Clone, Debug)]
pub struct Server {
    /// Plain HTTP listeners.
    pub listen: Vec<SocketAddr>,
    /// Plain HTTP listeners that are Unix sockets: the `unix:` entries of `server.listen`.
    pub listen_unix: Vec<PathBuf>,
    /// HTTPS listeners.
    pub tls_listen: Vec<SocketAddr>,
    /// The certificate of the HTTPS listeners; set if there are any.
    pub tls: Option<Tls>,
    /// What clients call this server: scheme, authority, and the path below which everything lies (by the `url` crate `/` if there is none).
    pub public_url: Option<url::Url>,
    /// Operations over TCP, with an admin token.
    pub admin_listen: Option<SocketAddr>,
    /// Plain HTTP off loopback is wanted.
    pub allow_plain: bool,
    /// Whose X-Forwarded-For is believed.
    pub trusted_proxies: TrustedProxies,
    /// How long requests may take to end at shutdown.
    pub drain: Duration,
}

/// `server.trusted_proxies`: fronts that say truly whom a request came from.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies {
    /// Networks that they are in.
    pub networks: Vec<ipnet::IpNet>,
    /// Whoever connects to a Unix listener is one.
    pub unix: bool,
}

impl TrustedProxies {
    /// Whether this address is a front's; an IPv4-mapped one counts as the IPv4 address that it is.
    pub fn holds(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&address))
    }
}

/// Where the certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// PEM files.
    Files {
        /// The chain.
        cert: Sourced<PathBuf>,
        /// The private key.
        key: Sourced<PathBuf>,
    },
    /// A CA of our own in `data_dir/tls`.
    Local,
}

/// `[sumdb]`: the checksum database of our own.
#[derive(Clone, Debug)]
pub struct OwnSumdb {
    /// Whether there is one.
    pub enabled: bool,
    /// The host that one which is made now is named after; without it that of [`Server::public_url`].
    pub host: Option<String>,
    /// Where its newest head is kept too.
    pub head_path: Option<PathBuf>,
}

/// `[limits]`
#[derive(Clone, Debug)]
pub struct Limits {
    /// Longest zip that may be published, bytes.
    pub upload: u64,
    /// Longest request head, bytes.
    pub header: u64,
    /// Longest time from a request's first byte, or the connection's start, to the end of its head.
    pub header_time: Duration,
    /// How long a connection may be idle between requests.
    pub idle: Duration,
    /// How long a body may make no progress, in either direction.
    pub stall: Duration,
    /// Connections served at once; more wait in the backlog.
    pub connections: usize,
    /// How long a request for something that is not cached may wait until it is its turn to ask upstream.
    pub queue: Duration,
}

/// `[upstream]`
#[derive(Clone, Debug)]
pub struct Upstream {
    /// The proxies to ask, in order. Empty: upstream is off.
    pub goproxy: Vec<Hop>,
    /// The public checksum database; `None`: off.
    pub sumdb: Option<Sumdb>,
    /// Whether that database has to vouch for what comes from upstream.
    pub verify: Sourced<Verify>,
    /// Modules that no database knows, and that are believed as they come.
    pub unverified: Vec<Sourced<Pattern>>,
    /// Longest time to connect.
    pub connect_timeout: Duration,
    /// How long an upstream may send nothing.
    pub stall_timeout: Duration,
    /// The proxy by which all but loopback is asked; without one the environment says.
    pub proxy: Option<url::Url>,
    /// Certificates (PEM) trusted beside the platform's roots.
    pub ca_file: Option<PathBuf>,
    /// What is shown to which upstream.
    pub auth: Vec<UpstreamAuth>,
}

/// `upstream.verify`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// Nothing enters, or is served, that the checksum database does not vouch for.
    Require,
    /// What comes is believed.
    Off,
}

impl Upstream {
    /// Whether upstream's word is taken for whatever it sends.
    pub fn is_believed(&self) -> bool {
        self.verify.value == Verify::Off
    }

    /// The pattern by which a module need not be vouched for.
    pub fn unverified(&self, path: &ModulePath) -> Option<&Sourced<Pattern>> {
        self.unverified.iter().find(|pattern| pattern.value.matches(path.as_str()))
    }

    /// Where the public checksum database is asked, if not by way of the proxies.
    pub fn sumdb_url(&self) -> Option<&url::Url> {
        self.sumdb.as_ref()?.url.as_ref()
    }
}

/// A public checksum database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sumdb {
    /// Its name: host[/path].
    pub name: String,
    /// What it signs with. `None`: nobody knows, and nothing that it says can be verified.
    pub key: Option<VerifierKey>,
    /// Where it is asked. `None`: by way of the proxies.
    pub url: Option<url::Url>,
}

/// An entry of `upstream.auth`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamAuth {
    /// Shown to this URL and what lies below it, and to nothing else. In the form of [`Hop::url`].
    pub url: url::Url,
    /// What is shown.
    pub secret: Secret,
}

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Secret {
    /// HTTP Basic.
    Password {
        /// Without a colon.
        user: String,
        /// Holds the password.
        file: PathBuf,
    },
    /// A bearer token.
    Bearer {
        /// Holds the token.
        file: PathBuf,
    },
}

impl Secret {
    /// The file that holds it.
    pub fn file(&self) -> &std::path::Path {
        match self {
            Self::Password { file, .. } | Self::Bearer { file } => file,
        }
    }
}

/// One proxy of a GOPROXY list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Its base, without a trailing slash (but a URL without a path ends in one, by the `url` crate).
    pub url: url::Url,
    /// The separator after it was `|`: any failure goes on to the next, not only 404 and 410.
    pub any_error: bool,
}

/// `[private]`
#[derive(Clone, Debug)]
pub struct Private {
    /// Private patterns.
    pub patterns: Vec<Sourced<Pattern>>,
    /// Exceptions: these may leave.
    pub public: Vec<Sourced<Pattern>>,
    /// The shipped list of hosts, extended by `private.public_hosts`.
    pub hosts: PublicHosts,
    /// Whether the first publish under a host claims it.
    pub claim_hosts: bool,
    /// What becomes of hosts that nobody knows.
    pub unknown_hosts: Sourced<UnknownHosts>,
    /// How a miss is answered.
    pub miss: Miss,
}

/// `private.unknown_hosts`: a host is unknown that is not listed, has no known module, and was not made public by an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownHosts {
    /// Its paths may leave.
    Allow,
    /// They may leave, and that is recorded.
    Audit,
    /// They are private.
    Hold,
}

/// `private.miss`: what a private path is answered that the caller may not see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Miss {
    /// 404: the go command goes on to the next proxy.
    NotFound,
    /// 403: it stops, but above and below modules that the caller sees.
    Refuse,
}

/// `[cache]`
#[derive(Clone, Debug)]
pub struct Cache {
    /// The bound on everything under `cache/` and fills staged in `tmp/`, bytes.
    pub max_size: u64,
    /// Bytes of the file system that stay free; 0: nobody looks.
    pub min_free: u64,
    /// The bound on small answers kept in memory as well, bytes; 0: none are.
    pub memory: u64,
    /// How long list, @latest and branches are fresh.
    pub fresh: Duration,
    /// Up to what age, counted from when upstream said so, they are served while upstream is asked again.
    pub stale: Duration,
    /// How long a 404 or 410 is fresh.
    pub not_found: Duration,
}

/// `[access]`
#[derive(Clone, Debug)]
pub struct Access {
    /// Everyone may read public owners and public modules.
    pub anonymous_read: bool,
}

/// `[log]`
#[derive(Clone, Debug)]
pub struct Log {
    /// A `tracing` level.
    pub level: tracing::Level,
    /// How lines look.
    pub format: LogFormat,
    /// A line a request.
    pub access: bool,
}

/// `log.format`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, else JSON.
    Auto,
    /// Text.
    Text,
    /// JSON.
    Json,
}

/// `[owners.NAME]`
#[derive(Clone, Debug)]
pub struct Owner {
    /// Who may see its modules.
    pub visibility: Visibility,
    /// Who may read, publish and delete.
    pub members: Vec<UserName>,
    /// What it may publish; anything that section's rules allow if empty. These are private patterns too.
    pub modules: Vec<Sourced<Pattern>>,
    /// What its versions' zips and go.mod files may come to, bytes; no bound if absent.
    pub max_bytes: Option<u64>,
    /// Which pre-releases and pseudo-versions may go; all stay if absent.
    pub retain: Option<Retain>,
    /// Where the owner is defined.
    pub source: Source,
}

/// `owners.NAME.retain`: what is kept of pre-releases and pseudo-versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retain {
    /// All that are younger than this.
    pub prerelease: Duration,
    /// The newest of each path, however old: so many.
    pub keep: usize,
}

/// Who may see an owner's modules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// Everyone who may read at all.
    Public,
    /// Whoever is signed in.
    Internal,
    /// Members and admins.
    Private,
}

/// `[users.NAME]`
#[derive(Clone, Debug)]
pub struct User {
    /// A PHC string, `$argon2id$…`.
    pub password_hash: String,
    /// May do everything.
    pub admin: bool,
}
