//! The judgement of a zip that is to be published: which module and version it is, or everything that is wrong with it.

use std::io::{Read, Seek};

use sha2::{Digest as _, Sha256};

use super::content::Contents;
use super::directory::{Directory, Source};
use super::names::{Named, Names, nested_module};
use super::problems::Problems;
use super::{ELEMENT_BYTES_MAX, GO_MOD_BYTES_MAX, LICENSE_BYTES_MAX, ReadError, ZIP_BYTES_MAX};
use crate::module::dirhash::{self, H1};
use crate::module::go_mod::{GoMod, synthesize_go_mod};
use crate::module::quote::{plain_or_quoted, quote};
use crate::module::{ModulePath, Version, major};

/// A zip that may be published: all of it was read, and all the rules hold.
#[derive(Debug, Clone)]
pub struct Judged {
    /// The module that its names say it is.
    pub path: ModulePath,
    /// The version that its names say it is.
    pub version: Version,
    /// The h1 hash of the zip.
    pub h1: H1,
    /// The go.mod, byte for byte; the one that the go command makes up if there is none.
    pub go_mod: Vec<u8>,
    /// The h1 hash of that go.mod, as under `/go.mod` in go.sum.
    pub go_mod_h1: H1,
    /// Whether the zip has a go.mod.
    pub has_go_mod: bool,
    /// How many bytes the files have unpacked.
    pub unpacked_bytes: u64,
}

/// Why a zip was not judged good.
#[derive(Debug, thiserror::Error)]
pub enum JudgeError {
    /// The zip is bad, and this is all that is wrong with it.
    #[error("{0}")]
    Bad(Problems),
    /// It could not be read: nothing is said about it.
    #[error("reading the zip: {0}")]
    Io(#[source] std::io::Error),
}

/// Judges a zip: the module and version come from the one `module@version/` prefix of its names.
///
/// Reads everything once, in the order of the directory. Blocks; memory is bounded as the [module's page](super) says, and
/// the go.mod (at most [`GO_MOD_BYTES_MAX`]) is held.
pub fn judge<R: Read + Seek>(reader: R) -> Result<Judged, JudgeError> {
    let mut problems = Problems::default();
    let judged = judge_into(reader, &mut problems).or_else(|error| match error {
        ReadError::Io(error) => Err(JudgeError::Io(error)),
        error => {
            problems.push(error);
            Ok(None)
        }
    })?;
    match judged {
        Some(judged) if problems.is_empty() => Ok(judged),
        _ => Err(JudgeError::Bad(problems)),
    }
}

/// `None` only with problems; an error is one more problem, and the last.
fn judge_into<R: Read + Seek>(reader: R, problems: &mut Problems) -> Result<Option<Judged>, ReadError> {
    let mut source = Source::new(reader)?;
    let len = source.byte_len();
    if len > ZIP_BYTES_MAX {
        problems.push(format_args!("module zip file is too large ({len} bytes; limit is {ZIP_BYTES_MAX} bytes)"));
        return Ok(None);
    }
    let directory = Directory::read(&mut source)?;
    let Some(prefix) = Prefix::find(&directory) else {
        problems.push("no file in the zip has a path with prefix \"module@version/\"");
        return Ok(None);
    };
    let module = prefix.judge(problems);
    let files = judge_names(&directory, prefix.text, problems);
    let mut judgement = Judgement { directory: &directory, problems, summary: dirhash::Summary::default(), go_mod: None, unpacked: 0 };
    if judgement.declared_sizes(&files) {
        directory.check_overlap(len)?;
        judgement.contents(&mut Contents::new(source), &files)?;
    }
    let Some((path, version)) = module else {
        return Ok(None);
    };
    let Judgement { summary, go_mod, unpacked, problems, .. } = judgement;
    if let Some(bytes) = &go_mod {
        judge_go_mod(&path, &version, bytes, problems);
    }
    if !problems.is_empty() {
        return Ok(None);
    }
    let has_go_mod = go_mod.is_some();
    let go_mod = go_mod.unwrap_or_else(|| synthesize_go_mod(&path));
    let (h1, go_mod_h1) = (summary.finish(), dirhash::hash_go_mod(&go_mod));
    Ok(Some(Judged { path, version, h1, go_mod, go_mod_h1, has_go_mod, unpacked_bytes: unpacked }))
}

/// `module@version/` at the beginning of a name.
#[derive(Clone, Copy)]
struct Prefix<'a> {
    text: &'a str,
    path: &'a str,
    version: &'a str,
}

impl<'a> Prefix<'a> {
    /// The prefix of the first name that has one: all others must have it too.
    fn find(directory: &'a Directory) -> Option<Self> {
        directory.entries().iter().find_map(|entry| Self::of(directory.name(entry)))
    }

    fn of(name: &'a [u8]) -> Option<Self> {
        let at = name.iter().position(|&b| b == b'@')?;
        let end = at + name[at..].iter().position(|&b| b == b'/')?;
        let text = std::str::from_utf8(&name[..=end]).ok()?;
        Some(Self { text, path: &text[..at], version: &text[at + 1..end] })
    }

    /// Path and version, if both are valid; whether they fit is told but decides nothing further.
    fn judge(self, problems: &mut Problems) -> Option<(ModulePath, Version)> {
        let path = self.path.parse::<ModulePath>().map_err(|e| problems.push(e)).ok();
        let version = self.version.parse::<Version>().map_err(|_| problems.push(major::not_canonical(self.version))).ok();
        let (path, version) = (path?, version?);
        if let Err(mismatch) = major::check(&path, &version) {
            problems.push_major(mismatch);
        } else if version.is_incompatible() && (matches!(version.major(), "v0" | "v1") || !path.split_major().1.is_empty()) {
            let major = version.major();
            problems.push(format_args!(
                "{path}@{version}: invalid version: +incompatible suffix not allowed: major version {major} is compatible"
            ));
        }
        let too_long =
            |what: &str, element: &str| format!("{what} {} is too long (at most {ELEMENT_BYTES_MAX} bytes, escaped)", quote(element));
        if let Some(element) = path.escaped().split('/').find(|elem| elem.len() > ELEMENT_BYTES_MAX) {
            problems.push(too_long("path element", element));
        }
        if version.escaped().len() > ELEMENT_BYTES_MAX {
            problems.push(too_long("version", version.as_str()));
        }
        Some((path, version))
    }
}

/// An entry with a good name: its index in the directory, and whether it is one of the two files with limits of their own.
struct Good {
    index: usize,
    root: Option<RootFile>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum RootFile {
    GoMod,
    License,
}

impl RootFile {
    fn of(named: Named<'_>) -> Option<Self> {
        match named {
            Named::File("go.mod") => Some(Self::GoMod),
            Named::File("LICENSE") => Some(Self::License),
            _ => None,
        }
    }

    /// Name and limit.
    fn limit(self) -> (&'static str, u64) {
        match self {
            Self::GoMod => ("go.mod", GO_MOD_BYTES_MAX),
            Self::License => ("LICENSE", LICENSE_BYTES_MAX),
        }
    }
}

/// Judges all names; returns the entries whose names are good.
fn judge_names(directory: &Directory, prefix: &str, problems: &mut Problems) -> Vec<Good> {
    let mut names = Names::default();
    let mut good = Vec::with_capacity(directory.entries().len());
    for (index, entry) in directory.entries().iter().enumerate() {
        let full = directory.name(entry);
        let judged = match full.strip_prefix(prefix.as_bytes()) {
            Some(name) => names.check(name),
            None => Err(format!("path does not have prefix {}", quote(prefix))),
        };
        match judged {
            Ok(named) => good.push(Good { index, root: RootFile::of(named) }),
            Err(reason) => {
                problems.push(format_args!("{}: {reason}", plain_or_quoted(full)));
                if let Some(folder) = full.strip_prefix(prefix.as_bytes()).and_then(nested_module) {
                    problems.note_nested(folder);
                }
            }
        }
        if problems.is_full() || names.is_full() {
            break;
        }
    }
    good
}

struct Judgement<'a> {
    directory: &'a Directory,
    problems: &'a mut Problems,
    summary: dirhash::Summary<'a>,
    go_mod: Option<Vec<u8>>,
    unpacked: u64,
}

impl<'a> Judgement<'a> {
    /// Judges the sizes that the directory declares; whether the contents may be read, which costs no more than declared.
    fn declared_sizes(&mut self, files: &[Good]) -> bool {
        let directory = self.directory;
        for file in files {
            let entry = &directory.entries()[file.index];
            if !directory.is_folder(entry) {
                self.unpacked = self.unpacked.saturating_add(entry.size);
            }
            if let Some((name, limit)) = file.root.map(RootFile::limit)
                && entry.size > limit
            {
                let full = plain_or_quoted(directory.name(entry));
                self.problems.push(format_args!("{full}: {name} file too large (max size is {limit} bytes)"));
            }
        }
        if self.unpacked > ZIP_BYTES_MAX {
            self.problems.push(ReadError::Unpacked);
            return false;
        }
        true
    }

    /// Reads the files, hashes them, and keeps the go.mod.
    fn contents<R: Read + Seek>(&mut self, contents: &mut Contents<R>, files: &[Good]) -> Result<(), ReadError> {
        let directory = self.directory;
        for file in files {
            let entry = &directory.entries()[file.index];
            let name = directory.name(entry);
            if entry.flags & FLAG_ENCRYPTED != 0 {
                self.problems.push(format_args!("{}: file is encrypted", plain_or_quoted(name)));
                continue;
            }
            let mut kept = (file.root == Some(RootFile::GoMod) && entry.size <= GO_MOD_BYTES_MAX).then(Vec::new);
            let mut sha = Sha256::new();
            let read = contents.read(directory, entry, |piece| {
                sha.update(piece);
                if let Some(kept) = &mut kept {
                    kept.extend_from_slice(piece);
                }
            });
            match read {
                Ok(()) => {
                    self.summary.add(name, sha.finalize().into());
                    self.go_mod = kept.or(self.go_mod.take());
                }
                Err(ReadError::Io(error)) => return Err(ReadError::Io(error)),
                Err(error) => self.problems.push(format_args!("{}: {error}", plain_or_quoted(name))),
            }
            if self.problems.is_full() {
                break;
            }
        }
        Ok(())
    }
}

const FLAG_ENCRYPTED: u16 = 1;

/// What the go command would find wrong with the go.mod when it uses the module.
fn judge_go_mod(path: &ModulePath, version: &Version, bytes: &[u8], problems: &mut Problems) {
    if version.is_incompatible() {
        let fitting = format!("{path}/{}", version.major());
        problems.push(format_args!(
            "{path}@{version}: invalid version: module contains a go.mod file, so module path must match major version ({})",
            quote(fitting)
        ));
    }
    if bytes.is_empty() {
        problems.push("go.mod: file is empty (give it a module line, or leave it out)");
        return;
    }
    let parsed = match GoMod::parse_lax(bytes) {
        Ok(parsed) => parsed,
        Err(errors) => return errors.iter().for_each(|error| problems.push(error)),
    };
    match parsed.module_path() {
        Some(declared) if declared == path.as_str() => {}
        Some(declared) => {
            let declared = plain_or_quoted(declared.as_bytes());
            problems.push(format_args!("parsing go.mod: module declares its path as: {declared} but was required as: {path}"));
        }
        None => problems.push("parsing go.mod: missing module line"),
    }
}
