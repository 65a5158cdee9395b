//! The words of a judgement: which rule decided, and where it was set.

use std::fmt;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::config::Source;
use crate::module::{ModulePath, OwnerName};

/// What the policy says of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It may not leave.
    Private,
    /// It may leave.
    Public,
}

/// The rules in the order in which they are asked; the first that speaks decides.
///
/// One turn of that order: an exception never opens a hosted path or a tombstone, so those are looked at before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// `private.public`: may leave.
    Exception,
    /// A hosted path or a tombstone: private.
    Hosted,
    /// Above a hosted path or tombstone, or above what a private pattern spells out: private.
    Ancestor,
    /// Below a hosted path or tombstone, on shared hosts below its repository's root: private.
    Below,
    /// `private.patterns`, or an owner's `modules`: private.
    Pattern,
    /// At a host that a publish claimed: private.
    Claim,
    /// At a host that no public module can be at: private.
    NeverPublic,
    /// The host or organisation of a shared host, which is no module: private.
    SharedRoot,
    /// At a host that nobody knows, where `private.unknown_hosts` is not `allow`: private where it is `hold`.
    UnknownHost,
    /// No rule speaks: may leave.
    Public,
}

impl Rule {
    /// The name in `explain`, the ledger and the documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Exception => "exception",
            Self::Hosted => "hosted",
            Self::Ancestor => "ancestor",
            Self::Below => "below",
            Self::Pattern => "pattern",
            Self::Claim => "claim",
            Self::NeverPublic => "never-public",
            Self::SharedRoot => "shared-root",
            Self::UnknownHost => "unknown-host",
            Self::Public => "public",
        }
    }

    /// What it makes of a path; [`Rule::UnknownHost`] may be told to let it leave.
    pub fn class(self) -> Class {
        match self {
            Self::Exception | Self::Public => Class::Public,
            Self::Hosted
            | Self::Ancestor
            | Self::Below
            | Self::Pattern
            | Self::Claim
            | Self::NeverPublic
            | Self::SharedRoot
            | Self::UnknownHost => Class::Private,
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A path that is hosted, or was and is a tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The path.
    pub path: ModulePath,
    /// Whose it is.
    pub owner: OwnerName,
    /// Its last version was deleted.
    pub tombstone: bool,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.tombstone { "deleted" } else { "hosted" };
        write!(f, "{state}: {} of owner {}", self.path, self.owner)
    }
}

/// Where the rule that decided was set. Its text is `explain`'s `where`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Where {
    /// A pattern in the settings.
    Setting {
        /// Where it stands.
        source: Source,
        /// The pattern as it was written.
        pattern: String,
        /// The owner whose `modules` hold it; none for `private.patterns` and `private.public`.
        owner: Option<OwnerName>,
    },
    /// Another setting.
    Key(Source),
    /// The claim of a host.
    Claim {
        /// The host, lower case.
        host: String,
        /// The module whose publish made it.
        path: ModulePath,
        /// When, seconds since 1970.
        since_unix: u64,
    },
    /// What is hosted here, or was.
    Hosted(Place),
    /// An operator made the host public.
    MadePublic {
        /// When, seconds since 1970.
        since_unix: u64,
    },
    /// The shipped list of hosts.
    Shipped,
    /// No list has the host, and a module of it is known.
    KnownHost,
    /// Nothing speaks for the host, and `private.unknown_hosts` asks for nothing.
    UnknownHostAllowed,
    /// The product itself.
    BuiltIn,
}

impl fmt::Display for Where {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting { source, .. } | Self::Key(source) => source.fmt(f),
            Self::Claim { since_unix, .. } => write!(f, "claim of {}", day(*since_unix)),
            Self::MadePublic { since_unix } => write!(f, "claim public of {}", day(*since_unix)),
            Self::Hosted(place) => place.fmt(f),
            Self::Shipped => f.write_str("public-hosts.txt (built-in)"),
            Self::KnownHost => f.write_str("known host: a module of it was fetched here"),
            Self::UnknownHostAllowed => f.write_str("unknown host: allowed by private.unknown_hosts"),
            Self::BuiltIn => f.write_str("built-in"),
        }
    }
}

/// The day in UTC, `YYYY-MM-DD`; the seconds if the calendar does not reach so far.
fn day(unix: u64) -> String {
    let at = i64::try_from(unix).ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    at.map_or_else(|| unix.to_string(), |at| at.date().to_string())
}

/// What would have kept a path private, had an exception or a known module not opened it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// [`Rule::Ancestor`] or [`Rule::Below`].
    pub rule: Rule,
    /// What the path lies above or below.
    pub by: Where,
}

/// A judgement: everything that `explain` prints and a refusal needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What was judged.
    pub path: ModulePath,
    /// What became of it: `rule.class()`, unless unknown hosts are only watched.
    pub class: Class,
    /// The rule that decided.
    pub rule: Rule,
    /// Where it was set.
    pub where_: Where,
    /// The pattern that decided, as it was written.
    pub pattern: Option<String>,
    /// Set if the path may leave only because an exception or a known module opened it.
    pub opened: Option<Opened>,
}

impl Verdict {
    pub(super) fn new(path: &ModulePath, rule: Rule, where_: Where) -> Self {
        let pattern = match &where_ {
            Where::Setting { pattern, .. } => Some(pattern.clone()),
            Where::Key(_)
            | Where::Claim { .. }
            | Where::Hosted(_)
            | Where::MadePublic { .. }
            | Where::Shipped
            | Where::KnownHost
            | Where::UnknownHostAllowed
            | Where::BuiltIn => None,
        };
        Self { path: path.clone(), class: rule.class(), rule, where_, pattern, opened: None }
    }

    /// Whether the path may leave.
    pub fn is_public(&self) -> bool {
        self.class == Class::Public
    }

    /// Whether this very path, in this spelling, has hosted versions now.
    pub fn is_hosted(&self) -> bool {
        match (&self.rule, &self.where_) {
            (Rule::Hosted, Where::Hosted(place)) => place.path == self.path && !place.tombstone,
            _ => false,
        }
    }
}
