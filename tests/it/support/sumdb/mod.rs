//! The fixture checksum database: a signed tree that answers as golang.org/x/mod's server does, or as a [`Hostile`] one.

mod key;
mod log;

use std::io::Cursor;
use std::sync::{Mutex, PoisonError};

use modgate::module::dirhash::{hash_go_mod, hash_zip};
use modgate::module::{ModulePath, Version};

use super::hostile::Hostile;
use super::http::Response;
use key::{Hand, Keys};
use log::{Log, PADDING, go_sum, made_up};

/// The name of the database that an upstream serves if a test does not choose.
pub(crate) const NAME: &str = "sum.example.net";
/// So many records more has a forked tree that claims to be newer: another tile is full.
const FORK_AHEAD: u64 = 300;

/// A module version's files: what a record vouches for.
pub(crate) struct Artifacts {
    pub(crate) zip: Vec<u8>,
    pub(crate) go_mod: Vec<u8>,
}

impl Artifacts {
    /// The version's lines of go.sum.
    fn go_sum(&self, path: &str, version: &str) -> String {
        let zip = hash_zip(Cursor::new(&self.zip)).unwrap_or_else(|e| panic!("{path}@{version}: {e}"));
        go_sum(path, version, zip, hash_go_mod(&self.go_mod))
    }
}

/// Where a database takes the files of a module version from, which it is asked for by escaped path and version.
pub(crate) type Source<'a> = &'a dyn Fn(&str, &str) -> Option<Artifacts>;

/// A database. A version's record is made at its first look-up.
pub(crate) struct SumDb {
    name: String,
    key: String,
    keys: Keys,
    log: Mutex<Log>,
}

/// A version that is looked up, and its record's number.
struct Found {
    path: String,
    version: String,
    number: u64,
}

impl SumDb {
    /// A database of this name, which may hold slashes, with made-up records in it.
    pub(crate) fn new(name: &str) -> Self {
        let keys = Keys::of(name);
        Self { name: name.to_owned(), key: keys.verifier(), keys, log: Mutex::new(Log::padded()) }
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The verifier key: a client's GOSUMDB. The same in every run.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// The verifier key of who signs while it is [`Hostile::SignedByAnotherKey`].
    pub(crate) fn another_key(&self) -> String {
        self.keys.another_verifier()
    }

    /// Makes a version's record, if it has none.
    pub(crate) fn preload(&self, path: &str, version: &str, artifacts: &Artifacts) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.number(path, version).is_none() {
            log.append(path, version, artifacts.go_sum(path, version));
        }
    }

    /// Makes up so many records more; their versions, `PATH@VERSION`.
    pub(crate) fn make_up(&self, count: u64) -> Vec<String> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).pad(count, "made-up")
    }

    /// Answers what stands behind `/sumdb/NAME/`, decoded.
    pub(crate) fn answer(&self, ask: &str, hostile: Option<Hostile>, source: Source<'_>) -> Response {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        match ask.split_once('/') {
            None if ask == "supported" => Response::text(200, ""),
            None if ask == "latest" => Response::text(200, self.head(&log, None, hostile)),
            Some(("lookup", name)) => self.lookup(&mut log, name, hostile, source),
            Some(("tile", _)) => tile(&log, ask, hostile),
            _ => Response::text(404, "not found\n"),
        }
    }

    fn lookup(&self, log: &mut Log, name: &str, hostile: Option<Hostile>, source: Source<'_>) -> Response {
        let Some((escaped_path, escaped_version)) = name.split_once('@') else {
            return Response::text(400, "invalid module@version syntax\n");
        };
        let (Ok(path), Ok(version)) = (ModulePath::unescape(escaped_path), Version::unescape(escaped_version)) else {
            return Response::text(400, "invalid module@version syntax\n");
        };
        let (path, version) = (path.to_string(), version.to_string());
        let unknown = || Response::text(404, format!("not found: {path}@{version}: no such version in the fixture\n"));
        if hostile == Some(Hostile::LookupMissing) {
            return unknown();
        }
        let number = match log.number(&path, &version) {
            Some(number) => number,
            None => match source(escaped_path, escaped_version) {
                Some(artifacts) => log.append(&path, &version, artifacts.go_sum(&path, &version)),
                None => return unknown(),
            },
        };
        let found = Found { path, version, number };
        let (number, record) = record(log, found, hostile);
        let answer = Response::text(200, format!("{number}\n{record}\n{}", self.head(log, Some(number), hostile)));
        if hostile == Some(Hostile::LookupEndless) { answer.endless() } else { answer }
    }

    /// A signed head; with a look-up's answer one that holds the record of this number.
    fn head(&self, log: &Log, number: Option<u64>, hostile: Option<Hostile>) -> String {
        let oldest = number.map_or(PADDING, |number| number + 1);
        let (size, root) = match hostile {
            Some(Hostile::ForkNewer) => {
                let fork = log.forked(FORK_AHEAD);
                (fork.size(), fork.root(fork.size()))
            }
            Some(Hostile::ForkOlder) => (oldest, log.forked(0).root(oldest)),
            Some(Hostile::Shrunk) => (oldest, log.root(oldest)),
            _ => (log.size(), log.root(log.size())),
        };
        let hand = match hostile {
            Some(Hostile::SignatureForged) => Hand::Forged,
            Some(Hostile::SignedByAnotherKey) => Hand::Another,
            Some(Hostile::SignaturesTooMany) => Hand::Crowd,
            _ => Hand::Own,
        };
        self.keys.head(size, root, hand)
    }
}

/// The number and the text of the record that a look-up is answered with.
fn record(log: &mut Log, found: Found, hostile: Option<Hostile>) -> (u64, String) {
    let Found { path, version, number } = found;
    let shown = match hostile {
        Some(Hostile::RecordOfAnotherModule) => 0,
        Some(Hostile::RecordOfAnotherVersion) => match log.number_of_another_version(&path, &version) {
            Some(another) => another,
            None => log.append(&path, "v0.0.0-made-up", made_up(&path, "v0.0.0-made-up")),
        },
        Some(Hostile::RecordAltered) => return (number, made_up(&path, &version)),
        _ => number,
    };
    (shown, log.record(shown).to_owned())
}

fn tile(log: &Log, path: &str, hostile: Option<Hostile>) -> Response {
    let Some(tile) = log::tile_at(path) else {
        return Response::text(400, "invalid tile syntax\n");
    };
    let bytes = match hostile {
        Some(Hostile::ForkNewer) => log.forked(FORK_AHEAD).tile(&tile),
        Some(Hostile::TilesOfAnotherPlace) => log.tile_elsewhere(&tile),
        _ => log.tile(&tile),
    };
    let Some(mut bytes) = bytes else {
        return Response::text(404, "not found: no such tile\n");
    };
    match hostile {
        Some(Hostile::TilesEmpty) => bytes.clear(),
        Some(Hostile::TilesShort) => drop(bytes.pop()),
        _ => {}
    }
    let kind = if tile.is_data() { "text/plain; charset=UTF-8" } else { "application/octet-stream" };
    let answer = Response::of(200, kind, bytes);
    if hostile == Some(Hostile::TilesEndless) { answer.endless() } else { answer }
}
