//! Whether what is kept is what was kept, and what its record says.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use bytes::Bytes;

use crate::module::dirhash::{hash_go_mod, hash_zip};
use crate::module::{H1, ModulePath, Version};
use crate::protocol::ModuleAsk;
use crate::stop::Stop;
use crate::tlog::Lookup;

use super::index::{ASIDE, is_gone};
use super::judge;
use super::lookups::lookup;
use super::memo::{self, Memo};
use super::place::{Asset, QUERIES, sidecar};
use super::shelf::{Shelf, read_hash};
use super::{Part, Vouched};

/// Longest file but zips, bytes: the longest list or `.mod` with a memo's first line.
const FILE_BYTES_MAX: u64 = judge::LIST_BYTES_MAX + memo::HEAD_BYTES_MAX as u64;

/// A file that is not as it was written, which is set aside: the next request fetches it anew. Or one that cannot be read, which is
/// left where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file, below `cache/`.
    pub file: String,
    /// What is wrong with it.
    pub text: String,
}

/// What a verification came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Files that are as they were written.
    pub good: u64,
    /// Those that are not, or of which that cannot be told.
    pub findings: Vec<Finding>,
}

/// What reading a kept file again came to.
pub(super) enum Reread {
    /// It is what was written, and what its record says where that is kept too.
    Good,
    /// It is not; it is set aside.
    Rotten(String),
    /// That cannot be told, which says nothing about the file.
    Unreadable(String),
    /// It came, went or was replaced meanwhile, or reading was stopped.
    Passed,
}

impl Shelf {
    /// Re-reads every file, once all are known, and holds it against the verified records of `database` that are kept. Ends early, with
    /// what it has found, once `stop` is asked.
    pub(super) fn verify(&self, database: Option<&str>, stop: &Stop) -> Verified {
        let mut verified = Verified::default();
        self.index.wait_complete();
        for key in self.index.keys(|key| !key.starts_with(ASIDE)) {
            match self.reread(&key, database, stop) {
                Reread::Good => verified.good += 1,
                Reread::Rotten(text) | Reread::Unreadable(text) => verified.findings.push(Finding { file: key, text }),
                Reread::Passed => {}
            }
            if stop.is_asked() {
                break;
            }
        }
        self.index.restore_order();
        verified.findings.sort_by(|a, b| a.file.cmp(&b.file));
        verified
    }

    /// Re-reads a file, and sets it aside if it is not what it is to be. Shuffles the order of use, until it is restored.
    pub(super) fn reread(&self, key: &str, database: Option<&str>, stop: &Stop) -> Reread {
        // It is neither evicted nor forgotten while it is read.
        let Some(lease) = self.index.watch(key) else { return Reread::Passed };
        let checked = self.check(key, database, stop);
        // What was being read then failed for no fault of its own.
        if stop.is_asked() {
            return Reread::Passed;
        }
        match checked {
            Ok(Ok(())) => Reread::Good,
            Ok(Err(text)) if self.index.set_aside(key, &lease) => Reread::Rotten(text),
            Err(error) if is_gone(&error) => {
                self.index.forget_if_gone(key);
                Reread::Passed
            }
            Err(error) if lease.is_current() => Reread::Unreadable(format!("cannot be read: {error}")),
            Ok(Err(_)) | Err(_) => Reread::Passed,
        }
    }

    /// What is wrong with a file; an error if that cannot be told.
    fn check(&self, key: &str, database: Option<&str>, stop: &Stop) -> io::Result<Result<(), String>> {
        let h1 = match self.check_as_written(key, stop)? {
            Ok(Some(h1)) => h1,
            Ok(None) => return Ok(Ok(())),
            Err(text) => return Ok(Err(text)),
        };
        let (Some(database), Some(Asset::Module(path, ask))) = (database, Asset::of_file(key)) else { return Ok(Ok(())) };
        let (version, part) = match ask {
            ModuleAsk::Zip(version) => (version, Part::Zip),
            ModuleAsk::Mod(version) => (version, Part::Mod),
            _ => return Ok(Ok(())),
        };
        let record = lookup(database, &path, &version).place().file;
        let Some(vouched) = record.as_deref().map(|record| self.kept_record(record, &path, &version)).transpose()?.flatten() else {
            return Ok(Ok(()));
        };
        let expected = part.of(&vouched);
        if expected == h1 {
            return Ok(Ok(()));
        }
        // Either may be the damaged one: whoever wants the file asks for both anew.
        self.forget(record.as_deref());
        Ok(Err(format!("its hash is {h1}, and {database} says {expected}")))
    }

    /// What a look-up says that is kept as verified, if it is.
    fn kept_record(&self, key: &str, path: &ModulePath, version: &Version) -> io::Result<Option<Vouched>> {
        let Some(_lease) = self.index.watch(key) else { return Ok(None) };
        let bytes = match std::fs::read(self.index.path(key)) {
            Err(e) if is_gone(&e) => return Ok(None),
            read => read?,
        };
        let record = Lookup::parse(&bytes).ok().and_then(|lookup| lookup.record.find(path, version));
        Ok(record.map(|record| Vouched { zip: record.zip, go_mod: record.go_mod }))
    }

    /// Whether a file is as it was written; of zips and go.mods the hash.
    fn check_as_written(&self, key: &str, stop: &Stop) -> io::Result<Result<Option<H1>, String>> {
        let file = File::open(self.index.path(key))?;
        let Some(beside) = sidecar(key) else { return check_bytes(key, &file) };
        let Some(noted) = read_hash(&self.index.path(&beside))? else {
            return Ok(Err("its hash file is missing or malformed".to_owned()));
        };
        let mut reader = Failing { file: stop.ends(file), error: None };
        let hashed = hash_zip(&mut reader);
        if let Some(error) = reader.error {
            return Err(error);
        }
        Ok(match hashed {
            Ok(actual) if actual == noted => Ok(Some(actual)),
            Ok(actual) => Err(format!("its hash is {actual}, not {noted}")),
            Err(e) => Err(e.to_string()),
        })
    }
}

/// A file, and how reading it failed: whoever parses it tells that no more from bytes that make no sense.
struct Failing<R> {
    file: R,
    error: Option<io::Error>,
}

impl<R: Read> Read for Failing<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.file.read(buf).map_err(|e| {
            let told = io::Error::from(e.kind());
            self.error = Some(e);
            told
        })
    }
}

impl<R: Seek> Seek for Failing<R> {
    // Where to is read from the file: to nowhere is the file's fault.
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

fn check_bytes(key: &str, file: &File) -> io::Result<Result<Option<H1>, String>> {
    let len = file.metadata()?.len();
    if len > FILE_BYTES_MAX {
        return Ok(Err("longer than anything that is kept so".to_owned()));
    }
    let mut bytes = Vec::new();
    file.take(len).read_to_end(&mut bytes)?;
    let other = || "not as it was written".to_owned();
    if key.starts_with(QUERIES) {
        let memo = Memo::read(key, &bytes, bytes.len() as u64);
        let intact = memo.is_some_and(|(memo, from)| memo::sha256(&bytes[from..]) == memo.sha256);
        return Ok(if intact { Ok(None) } else { Err(other()) });
    }
    let Some(asset) = Asset::of_file(key) else { return Ok(Err("nothing that is kept here is called so".to_owned())) };
    let h1 = matches!(asset, Asset::Module(_, ModuleAsk::Mod(_))).then(|| hash_go_mod(&bytes));
    Ok(if judge::is_intact(&asset, &Bytes::from(bytes)) { Ok(h1) } else { Err(other()) })
}
