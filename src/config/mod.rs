//! Settings: a file, the environment and flags become one validated [`Config`]; every value knows its source.
//!
//! Nothing is guessed: an unknown key, a value out of its range or a contradiction stops the start, and all of
//! them are told at once, each with its file, line and key. `keys.rs` holds every key there is.

mod checks;
mod hosts;
mod keys;
mod load;
mod password;
mod problem;
mod raw;
mod sections;
mod upstream;
mod values;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::module::{OwnerName, Pattern, UserName};

pub use hosts::{HostKind, PublicHosts};
pub use load::{Environment, Flags, Loaded, REFERENCE, Setting, load, load_text};
pub use password::{PasswordHashError, check_password_hash};
pub use problem::{ConfigError, Fault, Problem};
pub use values::parse_duration;

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
    /// HTTPS listeners.
    pub tls_listen: Vec<SocketAddr>,
    /// The certificate of the HTTPS listeners; set if there are any.
    pub tls: Option<Tls>,
    /// What clients call this server: scheme and authority, no path, no trailing slash.
    pub public_url: Option<url::Url>,
    /// Operations over TCP, with an admin token.
    pub admin_listen: Option<SocketAddr>,
    /// Plain HTTP off loopback is wanted.
    pub allow_plain: bool,
    /// How long requests may take to end at shutdown.
    pub drain: Duration,
}

/// Where the certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// PEM files.
    Files {
        /// The chain.
        cert: PathBuf,
        /// The private key.
        key: PathBuf,
    },
    /// A CA of our own in `data_dir/tls`.
    Local,
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
    /// The public checksum database's name; `None`: off.
    pub sumdb: Option<String>,
    /// Longest time to connect.
    pub connect_timeout: Duration,
    /// How long an upstream may send nothing.
    pub stall_timeout: Duration,
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
}

/// `[cache]`
#[derive(Clone, Debug)]
pub struct Cache {
    /// The bound on everything under `cache/` and fills staged in `tmp/`, bytes.
    pub max_size: u64,
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
    /// Where the owner is defined.
    pub source: Source,
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
