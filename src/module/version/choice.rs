//! Which of several versions answers a question that names none. Pure.

use time::OffsetDateTime;

use super::Version;

/// The fewest hex digits of a commit that name it.
const REVISION_DIGITS_MIN: usize = 7;

/// What `@latest` is of these: the highest release, else the highest pre-release, else the pseudo-version with the latest commit
/// time; as the go command chooses.
pub fn latest<'a>(versions: impl Iterator<Item = &'a Version> + Clone) -> Option<&'a Version> {
    let tagged = versions.clone().filter(|version| !version.is_pseudo());
    let release = tagged.clone().filter(|version| !version.is_prerelease()).max();
    release.or_else(|| tagged.max()).or_else(|| newest(versions))
}

/// The newest pseudo-version of the commit that `query`, hex digits, names: it begins the version's twelve, or they begin it.
pub fn of_revision<'a>(versions: impl Iterator<Item = &'a Version>, query: &str) -> Option<&'a Version> {
    let is_hex = query.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if !is_hex || query.len() < REVISION_DIGITS_MIN {
        return None;
    }
    let named = |revision: &str| revision.starts_with(query) || (revision.len() >= REVISION_DIGITS_MIN && query.starts_with(revision));
    newest(versions.filter(|version| version.pseudo().is_some_and(|pseudo| named(pseudo.rev()))))
}

/// The pseudo-version with the latest commit time; of several, the highest.
fn newest<'a>(versions: impl Iterator<Item = &'a Version>) -> Option<&'a Version> {
    versions.filter(|version| version.is_pseudo()).max_by_key(|version| (version.commit_time(), *version))
}

impl Version {
    /// A pseudo-version's own time; none if its digits are no time, and for other versions.
    pub fn commit_time(&self) -> Option<OffsetDateTime> {
        self.pseudo()?.time().ok()
    }
}
