//! What `records/` lost: paths, seals and tokens that somebody was promised, and that no file tells any more.
//!
//! Everything is durable in `records/` before the index has it, so an index that knows of something that `records/` neither holds nor
//! tells the end of is proof that files went, whatever crash there was. To go on would make private paths public and remove their blobs.

use super::effects::{Map, decode, keys};
use super::event::{HeldClaim, HeldToken, Sealed, StoredVersion, Tombstone};
use super::truth::Told;
use crate::module::ModulePath;
use crate::store::{HostedIndex, MadePublic, Rev, StoreError};

/// How many of them are named.
const NAMED_MAX: usize = 5;
/// What helps, whatever was lost.
const HELP: &str = "put records/ back from a backup";

/// A value of the index: since when, and what it is to people.
struct Held {
    rev: Rev,
    what: String,
}

/// Refuses what `told` lacks of the index that was found: its revision and its keys.
pub(super) fn against_index(told: &Told, found: Option<Rev>, held: &Map) -> Result<(), StoreError> {
    let lost: Vec<String> = held.iter().filter_map(|(key, value)| lost(told, key, value)).collect();
    let accept = "or, to accept the loss, remove meta/ here: the index is made anew from what is there; what is lost is not private any more, \
                  and its blobs are removed";
    if !lost.is_empty() {
        return Err(StoreError::Corrupt(format!("records/ has lost {}; {HELP}, {accept}", named(&lost))));
    }
    match found {
        Some(found) if found > told.rev => {
            let last = told.rev.0;
            Err(StoreError::Corrupt(format!(
                "records/ has lost the change of revision {} and knows of none above {last}; {HELP}, {accept}",
                found.0
            )))
        }
        _ => Ok(()),
    }
}

/// Refuses what `told` lacks of what readers see.
pub(super) fn against_shown(told: &Told, shown: &HostedIndex) -> Result<(), StoreError> {
    let is_taken = |path: &ModulePath| {
        let versions = keys::versions_of(path);
        let first = told.index.range(versions.clone()..).next();
        first.is_some_and(|(key, _)| key.starts_with(&versions)) || told.index.contains_key(&keys::tombstone(path))
    };
    let paths = shown.hosted.keys().chain(shown.tombstones.keys());
    let paths = paths.filter(|path| !told.ended_after(&keys::tombstone(path), shown.rev) && !is_taken(path)).map(ToString::to_string);
    let hosts = shown.claims.keys().filter(|host| {
        let key = keys::claim(host);
        !told.index.contains_key(&key) && !told.ended_after(&key, shown.rev)
    });
    let lost: Vec<String> = paths.chain(hosts.map(|host| format!("the claim of {host}"))).collect();
    if lost.is_empty() { Ok(()) } else { Err(StoreError::Corrupt(format!("records/ has lost {}; {HELP}", named(&lost)))) }
}

/// The first few, and how many more.
fn named(lost: &[String]) -> String {
    let first = lost[..lost.len().min(NAMED_MAX)].join(", ");
    match lost.len().saturating_sub(NAMED_MAX) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

/// What a key of the index stands for, if `told` neither holds it nor tells its end.
fn lost(told: &Told, key: &[u8], value: &[u8]) -> Option<String> {
    let now = told.index.get(key);
    if now.is_some_and(|now| now == value) {
        return None;
    }
    let held = read(key, value)?;
    let since = now.and_then(|now| read(key, now)).map(|now| now.rev);
    let is_told = since.is_some_and(|since| since >= held.rev) || told.ended_after(key, held.rev);
    (!is_told).then_some(held.what)
}

/// `None`: it stands for nothing by itself. A value that cannot be read, which only a damaged index holds, counts as one of long ago.
fn read(key: &[u8], value: &[u8]) -> Option<Held> {
    let (kind, rest) = key.split_at_checked(1)?;
    let name = String::from_utf8_lossy(rest).replace('\0', " ");
    let (rev, what) = match kind {
        keys::VERSIONS => match decode::<StoredVersion>(value) {
            Ok(stored) if stored.moved.is_some() => (Ok(stored.since()), format!("the move of {name}")),
            stored => (stored.map(|stored| stored.since()), name),
        },
        keys::TOMBSTONES => (decode::<Tombstone>(value).map(|tombstone| tombstone.rev), format!("the tombstone of {name}")),
        keys::CLAIMS => (decode::<HeldClaim>(value).map(|claim| claim.rev), format!("the claim of {name}")),
        keys::RELEASED => (decode::<Rev>(value), format!("the release of {name}")),
        keys::MADE_PUBLIC => (decode::<MadePublic>(value).map(|made| made.rev), format!("that {name} was made public")),
        keys::SEALS => (decode::<Sealed>(value).map(|sealed| sealed.rev), format!("the seal of {name}")),
        keys::TOKENS => match decode::<HeldToken>(value) {
            Ok(held) => (Ok(held.rev), format!("the token {}", held.token.id)),
            Err(error) => (Err(error), "a token".to_owned()),
        },
        _ => return None,
    };
    Some(Held { rev: rev.unwrap_or_default(), what })
}
