//! What the trail tells of: one variant an event, each with a row in `docs/operating.md`.

use serde::Serialize;

use crate::module::{H1, ModulePath, OwnerName, Version};
use crate::tlog::Head;

/// Something that was done, or was not let be done. Names and paths, never secrets.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A version is hosted from now on.
    Publish {
        /// Under which owner.
        owner: OwnerName,
        /// The module.
        path: ModulePath,
        /// The version.
        version: Version,
        /// The hash of its zip.
        h1: H1,
    },
    /// A new path was published that its owner's `modules` name literally: it may shadow others.
    Shadowing {
        /// Under which owner.
        owner: OwnerName,
        /// What.
        path: ModulePath,
    },
    /// A hosted version is gone.
    Delete {
        /// Whose it was.
        owner: OwnerName,
        /// The module.
        path: ModulePath,
        /// The version.
        version: Version,
        /// It was the path's last: the path is a tombstone now.
        last: bool,
    },
    /// The bytes of a hosted version left for the first time: it can never be published with other content.
    Seal {
        /// Whose.
        owner: OwnerName,
        /// The module.
        path: ModulePath,
        /// The version.
        version: Version,
    },
    /// A token was made.
    TokenMade {
        /// For `token revoke`.
        id: String,
        /// What it is called.
        name: String,
        /// What it may do.
        scopes: Vec<String>,
        /// Owners that it is bound to; all if empty.
        owners: Vec<String>,
        /// When it ends, RFC 3339.
        expires: Option<String>,
    },
    /// A token is good for nothing any more.
    TokenRevoked {
        /// Its id.
        id: String,
    },
    /// A publish made a host private.
    ClaimMade {
        /// The host.
        host: String,
        /// Whose publish.
        owner: OwnerName,
        /// Of which module.
        path: ModulePath,
    },
    /// A claimed host, or a tombstone, was given up.
    ClaimReleased {
        /// The host or the module path.
        name: String,
    },
    /// An operator said that a host is public.
    ClaimPublic {
        /// The host.
        host: String,
    },
    /// A path at a host that nobody knows was let leave, where `private.unknown_hosts` is `audit`: the first of a day.
    UnknownHost {
        /// The host.
        host: String,
        /// The path.
        path: ModulePath,
    },
    /// A path was given to another owner.
    ClaimMoved {
        /// The path.
        path: ModulePath,
        /// Whose it was.
        from: OwnerName,
        /// Whose it is.
        to: OwnerName,
    },
    /// Something that changes things was refused, or credentials were wrong.
    Refusal(Refused),
    /// Bytes are not what they should be: a hash that does not match, a file that is lost.
    Integrity {
        /// What kind.
        kind: String,
        /// The file, or what was asked for.
        path: String,
        /// What is wrong, for people.
        text: String,
    },
    /// The public checksum database showed two trees: one of these heads does not follow from the other.
    SumdbFork {
        /// Its name.
        database: String,
        /// The newest one that was known.
        kept: TreeHead,
        /// The one that was shown then.
        shown: TreeHead,
    },
    /// An operator said which of them is believed.
    SumdbTrusted {
        /// Its name.
        database: String,
        /// Which one: `kept` or `shown`.
        side: &'static str,
        /// That head.
        head: TreeHead,
    },
    /// Our own checksum database recorded what came from upstream, and nobody had vouched for it.
    SumdbFirstUse {
        /// The module.
        path: ModulePath,
        /// The version.
        version: Version,
        /// The hash of its zip.
        zip: H1,
        /// The hash of its go.mod.
        go_mod: H1,
    },
    /// A file of a public module is not what the checksum database says. Nothing of it was kept; what had been kept was set aside.
    Mismatch {
        /// The module.
        path: ModulePath,
        /// The version.
        version: Version,
        /// Which file: `.zip` or `.mod`.
        file: &'static str,
        /// What the database says.
        expected: H1,
        /// What it is.
        found: H1,
        /// The database.
        database: String,
        /// Where it came from: an upstream's host, or `the cache`.
        from: String,
    },
    /// The settings were read again.
    Reload {
        /// They are in force; if not, the old ones still are.
        taken: bool,
        /// What changed, or what is wrong: for people, without secrets.
        text: String,
    },
    /// Everything that is kept was re-hashed.
    Verify {
        /// Hosted versions that were looked at.
        hosted: u64,
        /// Cached files that were looked at.
        cached: u64,
        /// What was wrong.
        findings: u64,
    },
    /// What nothing needs any more was removed.
    Gc {
        /// Files.
        removed: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// Cached files of a module were dropped.
    Purge {
        /// The module.
        path: ModulePath,
        /// Of it, this version alone.
        version: Option<Version>,
        /// Files.
        removed: u64,
    },
    /// A copy of what is hosted was taken.
    Backup {
        /// Hosted versions in it.
        versions: u64,
    },
    /// What is hosted was taken from a copy.
    Restore {
        /// Hosted versions in it.
        versions: u64,
        /// The verifier key of the checksum database that was made of the one in it.
        key: Option<String>,
    },
    /// Files of this trail, the oldest, were removed so that it stays within its bound.
    Trimmed {
        /// The file.
        file: String,
        /// Its length, bytes.
        bytes: u64,
    },
}

/// A head of a checksum database, without its note.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TreeHead {
    /// How many records.
    pub size: u64,
    /// The root, in base64.
    pub root: String,
}

impl From<&Head> for TreeHead {
    fn from(head: &Head) -> Self {
        Self { size: head.size, root: head.root.to_string() }
    }
}

/// What was refused, and why.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Refused {
    /// The rule that decided.
    pub rule: &'static str,
    /// Why, where the rule alone says less: of a publish.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// What was asked: `publish`, `delete`, `admin`, `zip`, ….
    pub kind: &'static str,
    /// The URL's path, escaped and short.
    pub path: String,
    /// The module that was to be published, where the refusal came after its zip was judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module: Option<ModulePath>,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// What was answered.
    pub status: u16,
    /// How often it was so, within a minute, by the same principal: written when that is over. 1 where absent.
    #[serde(skip_serializing_if = "is_one")]
    pub times: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_one(times: &u64) -> bool {
    *times == 1
}

impl Event {
    /// Its name: the line's `event`, and the label of `modgate_audit_events_total`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Publish { .. } => "publish",
            Self::Shadowing { .. } => "shadowing",
            Self::Delete { .. } => "delete",
            Self::Seal { .. } => "seal",
            Self::TokenMade { .. } => "token-made",
            Self::TokenRevoked { .. } => "token-revoked",
            Self::ClaimMade { .. } => "claim-made",
            Self::ClaimReleased { .. } => "claim-released",
            Self::ClaimPublic { .. } => "claim-public",
            Self::UnknownHost { .. } => "unknown-host",
            Self::ClaimMoved { .. } => "claim-moved",
            Self::Refusal(_) => "refusal",
            Self::Integrity { .. } => "integrity",
            Self::SumdbFork { .. } => "sumdb-fork",
            Self::SumdbTrusted { .. } => "sumdb-trusted",
            Self::SumdbFirstUse { .. } => "sumdb-first-use",
            Self::Mismatch { .. } => "mismatch",
            Self::Reload { .. } => "reload",
            Self::Verify { .. } => "verify",
            Self::Gc { .. } => "gc",
            Self::Purge { .. } => "purge",
            Self::Backup { .. } => "backup",
            Self::Restore { .. } => "restore",
            Self::Trimmed { .. } => "trimmed",
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_event_has_a_row_in_the_documents_and_the_name_that_serde_gives_it() {
        let documents = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operating.md")).unwrap();
        let source = include_str!("event.rs");
        // The match in `name()` has an arm for every variant, which the compiler sees to.
        let arms = source.lines().filter_map(|line| line.trim().strip_prefix("Self::")?.split_once(" => \""));
        let mut seen = 0;
        for (variant, name) in arms {
            let variant = variant.split(['(', ' ']).next().unwrap();
            let name = name.trim_end_matches("\",");
            let kebab: String =
                variant.chars().map(|c| if c.is_uppercase() { format!("-{}", c.to_ascii_lowercase()) } else { c.to_string() }).collect();
            assert_eq!(kebab.trim_start_matches('-'), name);
            assert!(documents.contains(&format!("\n| `{name}` |")), "{name} has no row in docs/operating.md");
            seen += 1;
        }
        assert!(seen > 15, "{seen}");
    }
}
