//! A backup: one tar archive of all that cannot be made anew, taken while serving, and put back into an empty directory.
//!
//! The archive holds, in this order: `modgate-backup.json` ([`Head`]: which layout, which revision), then `sumdb/log/`
//! ([`ArchivedLog`]: whoever restores has to decide about it first), `records/`, `ledger/`,
//! `tls/` and `blobs/` as they lie in a data directory, then `modgate-backup-end.json` ([`Foot`]: how much there was, and a
//! SHA-256 over all of it). An archive without its foot was cut short. It holds private keys and hashes of tokens: keep it as you
//! keep the data directory. What is public and cached, the index, `audit/` and the file `admin-token` are not in it.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tar::{Archive, Builder, EntryType, Header};

use super::archived::{LOG, is_archived, shown};
use super::hex::hex;
use super::{BlobId, Rev};
use crate::tlog::{SignedHead, Tile, VerifierKey};

/// The first file of an archive.
const HEAD: &str = "modgate-backup.json";
/// The last one.
const FOOT: &str = "modgate-backup-end.json";
/// The archive's own format.
const BACKUP_FORMAT: u32 = 1;
/// Longest head or foot that is read, bytes: a foot has a line a finding.
const OWN_FILE_MAX: u64 = 16 << 20;
/// Findings in a foot, at most.
const FINDINGS_MAX: usize = 10_000;
/// Bytes copied at once.
const CHUNK_BYTES: usize = 128 << 10;

/// What an archive begins with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The archive's format.
    pub backup: u32,
    /// The format of the data directory.
    pub format: u32,
    /// The oldest version of the program that can read it.
    pub needs: String,
    /// The state of the records.
    pub rev: Rev,
    /// When it was taken, seconds since 1970.
    pub unix: u64,
}

/// What an archive ends with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Foot {
    /// Hosted versions.
    pub versions: u64,
    /// Blobs.
    pub blobs: u64,
    /// Bytes of all files between head and foot.
    pub bytes: u64,
    /// Over head and files: of each its name, a NUL, its length as eight bytes (big end first) and its content. In hex.
    pub sha256: String,
    /// Blobs that were lost or damaged when it was taken.
    pub findings: Vec<String>,
}

/// The file below `sumdb/log/` of an archive that holds the log's public key.
pub const ARCHIVED_VERIFIER: &str = "verifier";
/// The one that holds the head, and comes behind that.
pub(super) const ARCHIVED_HEAD: &str = "head";

/// A checksum log as of one head, without its secret key. Below `sumdb/log/` of an archive lie, in this order, `verifier` (the public
/// key), `head` (the note of the head), and the data tiles of its tree: hash tiles follow from those.
#[derive(Debug)]
pub struct ArchivedLog {
    /// The log's name and public key.
    pub verifier: VerifierKey,
    /// The head.
    pub head: SignedHead,
    /// The data tiles: of each the full one at its place, the file, and how many bytes of that are in the tree.
    pub tiles: Vec<(Tile, PathBuf, u64)>,
}

/// What is to be copied, as of one moment: nothing in it changes or goes away while this lives.
pub struct Snapshot {
    pub(in crate::store) head: Head,
    pub(in crate::store) files: Box<dyn Iterator<Item = io::Result<(String, Content)>> + Send>,
    pub(in crate::store) versions: u64,
    pub(in crate::store) blobs: Vec<(BlobId, PathBuf)>,
    pub(in crate::store) log: Option<ArchivedLog>,
    /// What is known to be missing.
    pub(in crate::store) findings: Vec<String>,
    /// Keeps the blobs.
    pub(in crate::store) _held: Box<dyn Send>,
}

/// What a file of a snapshot holds.
pub(in crate::store) enum Content {
    Bytes(Vec<u8>),
    /// The first bytes of a file that only grows.
    Start(File, u64),
}

/// Why there is no backup, or why one cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is no backup.
    #[error("this is no backup of modgate: {0}")]
    NotOne(String),
    /// A newer program made it.
    #[error("this backup was made by a newer modgate: restore it with modgate {0} or newer")]
    Newer(String),
    /// Its end is missing.
    #[error("the backup is cut short: its last file, {FOOT}, is missing")]
    Cut,
    /// It holds a checksum log, and nobody has said what becomes of that.
    #[error(
        "the backup holds the checksum database {name} with {records} records, but not its secret key; clients may have seen records of it that came after the backup, and would be shown another past. Where the data directory itself can be had (its disk, or a copy that was made after that), go on with that. Otherwise restore with --new-log: all {records} records are carried over into a new database with a key of its own, which every client must be given as its GOSUMDB; it is printed"
    )]
    HoldsLog {
        /// Its name.
        name: String,
        /// How many records.
        records: u64,
    },
    /// Its content is not what was written.
    #[error("the backup is damaged: {0}")]
    Damaged(String),
}

impl BackupError {
    pub(super) fn newer(head: &Head) -> Self {
        Self::Newer(shown(&head.needs))
    }
}

impl Snapshot {
    /// Hosted versions in it.
    pub fn versions(&self) -> u64 {
        self.versions
    }

    /// Takes a checksum log along. A version is in the log after it is sealed: so of one whose head is taken after the snapshot was,
    /// whatever record it had of a sealed version is in the archive with that version.
    pub fn add_log(&mut self, log: ArchivedLog) {
        self.log = Some(log);
    }

    /// Notes that something could not be taken along; it will be in [`Foot::findings`].
    pub fn add_finding(&mut self, finding: String) {
        self.findings.push(finding);
    }

    /// Writes the archive. Blocks for as long as it takes to read everything hosted.
    ///
    /// # Errors
    ///
    /// Reading or writing fails. What was written until then is no backup: it has no foot.
    pub fn write(self, out: impl Write) -> Result<Foot, BackupError> {
        let mut tape = Tape { builder: Builder::new(out), print: Sha256::new(), unix: self.head.unix };
        let (mut bytes, mut count, mut findings) = (0, 0, self.findings);
        tape.bytes(HEAD, &json(&self.head)?)?;
        if let Some(log) = &self.log {
            bytes += tape.log(log)?;
        }
        for file in self.files {
            let (name, content) = file?;
            bytes += match content {
                Content::Bytes(content) => tape.bytes(&name, &content)?,
                Content::Start(file, len) => tape.file(&name, len, file)?,
            };
        }
        for (id, path) in &self.blobs {
            let file = File::open(path).and_then(|file| file.metadata().map(|meta| (meta.len(), file)));
            // One lost blob must not keep the others from being saved.
            let wrong = match file {
                Ok((len, file)) if len == id.len => {
                    let mut sha256 = Sha256::new();
                    let mut file = Counted { inner: file, print: &mut sha256, bytes: 0 };
                    bytes += tape.file(&format!("blobs/{}", hex(&id.sha256)), len, &mut file)?;
                    count += 1;
                    (<[u8; 32]>::from(sha256.finalize()) != id.sha256).then(|| "has other content than was published".to_owned())
                }
                Ok((len, _)) => Some(format!("has {len} bytes, not {}: left out", id.len)),
                Err(error) => Some(format!("{error}: left out")),
            };
            if let Some(wrong) = wrong.filter(|_| findings.len() < FINDINGS_MAX) {
                findings.push(format!("blobs/{}: {wrong}", hex(&id.sha256)));
            }
        }
        let sha256 = hex(&tape.print.clone().finalize());
        let foot = Foot { versions: self.versions, blobs: count, bytes, sha256, findings };
        tape.bytes(FOOT, &json(&foot)?)?;
        tape.builder.into_inner()?.flush()?;
        Ok(foot)
    }
}

fn json(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(io::Error::other)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// An archive being written.
struct Tape<W: Write> {
    builder: Builder<W>,
    print: Sha256,
    unix: u64,
}

impl<W: Write> Tape<W> {
    fn bytes(&mut self, name: &str, content: &[u8]) -> io::Result<u64> {
        self.file(name, content.len() as u64, content)
    }

    /// How many bytes that are.
    fn log(&mut self, log: &ArchivedLog) -> io::Result<u64> {
        let mut bytes = self.bytes(&format!("{LOG}/{ARCHIVED_VERIFIER}"), format!("{}\n", log.verifier).as_bytes())?;
        bytes += self.bytes(&format!("{LOG}/{ARCHIVED_HEAD}"), log.head.note())?;
        for (tile, path, len) in &log.tiles {
            bytes += self.file(&format!("{LOG}/{tile}"), *len, File::open(path)?)?;
        }
        Ok(bytes)
    }

    /// Exactly `len` bytes of `content`; its length.
    fn file(&mut self, name: &str, len: u64, content: impl Read) -> io::Result<u64> {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o600);
        header.set_mtime(self.unix);
        header.set_size(len);
        begin(&mut self.print, name, len);
        let mut content = Counted { inner: content.take(len), print: &mut self.print, bytes: 0 };
        self.builder.append_data(&mut header, name, &mut content)?;
        if content.bytes != len {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{name} became shorter while it was copied")));
        }
        Ok(len)
    }
}

fn begin(print: &mut Sha256, name: &str, len: u64) {
    print.update(name.as_bytes());
    print.update([0]);
    print.update(len.to_be_bytes());
}

/// What is read goes into a hash.
pub(super) struct Counted<'a, R> {
    pub(super) inner: R,
    pub(super) print: &'a mut Sha256,
    pub(super) bytes: u64,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(into)?;
        self.print.update(&into[..n]);
        self.bytes += n as u64;
        Ok(n)
    }
}

/// Reads an archive to its end. `head` judges its beginning, `file` takes each file: its name, which is one that a
/// backup writes, and its content, which it need not read to the end.
///
/// # Errors
///
/// Those of `head` and `file`; and when the archive is none, cut short, or not what was written.
pub fn read(
    archive: impl Read,
    head: impl FnOnce(&Head) -> Result<(), BackupError>,
    file: impl FnMut(&str, &mut dyn Read) -> Result<(), BackupError>,
) -> Result<Foot, BackupError> {
    let (begun, ended) = (Cell::new(false), Cell::new(false));
    let archive = Ending { inner: plain(archive)?, ended: &ended };
    let head = |found: &Head| {
        begun.set(true);
        head(found)
    };
    read_files(Archive::new(archive), head, file).map_err(|error| match error {
        // It began well, and something is missing where it ends.
        BackupError::NotOne(_) if begun.get() && ended.get() => BackupError::Cut,
        error => error,
    })
}

fn read_files(
    mut archive: Archive<impl Read>,
    head: impl FnOnce(&Head) -> Result<(), BackupError>,
    mut file: impl FnMut(&str, &mut dyn Read) -> Result<(), BackupError>,
) -> Result<Foot, BackupError> {
    let mut print = Sha256::new();
    let mut bytes = 0;
    let mut judge = Some(head);
    for entry in archive.entries()? {
        let mut entry = entry.map_err(broken)?;
        let name =
            String::from_utf8(entry.path_bytes().into_owned()).map_err(|_| BackupError::NotOne("a name in it is no text".to_owned()))?;
        let len = entry.header().size().map_err(broken)?;
        if !entry.header().entry_type().is_file() {
            return Err(BackupError::Damaged(format!("\"{}\" in it is no file", shown(&name))));
        }
        if name == FOOT && judge.is_none() {
            return foot(own(&mut entry, len)?, &hex(&print.finalize()), bytes);
        }
        begin(&mut print, &name, len);
        let mut content = Counted { inner: &mut entry, print: &mut print, bytes: 0 };
        match judge.take() {
            Some(judge) if name == HEAD => {
                let head: Head = own(&mut content, len)?;
                if head.backup > BACKUP_FORMAT {
                    return Err(BackupError::newer(&head));
                }
                judge(&head)?;
            }
            Some(_) => return Err(BackupError::NotOne(format!("it begins with \"{}\", not with {HEAD}", shown(&name)))),
            None if is_archived(&name) => {
                let mut reading = Reading { inner: &mut content, failed: None };
                let taken = file(&name, &mut reading);
                // What stopped it may be the archive itself.
                reading.failed.map_or(taken, |kind| Err(broken(kind.into())))?;
                bytes += len;
            }
            None => return Err(BackupError::Damaged(format!("\"{}\" does not belong in a backup", shown(&name)))),
        }
        drain(&mut content)?;
    }
    if judge.is_some() { Err(BackupError::NotOne("it is empty".to_owned())) } else { Err(BackupError::Cut) }
}

/// The foot, if it tells of what was read; its findings fit to be shown.
fn foot(mut foot: Foot, sha256: &str, bytes: u64) -> Result<Foot, BackupError> {
    if foot.sha256 != sha256 {
        let text = format!("its SHA-256 is {sha256}, and was {} when it was taken", shown(&foot.sha256));
        return Err(BackupError::Damaged(text));
    }
    if foot.bytes != bytes {
        return Err(BackupError::Damaged(format!("its files have {bytes} bytes, and {} when it was taken", foot.bytes)));
    }
    foot.findings.truncate(FINDINGS_MAX);
    foot.findings.iter_mut().for_each(|finding| *finding = shown(finding));
    Ok(foot)
}

/// What an archive begins with that something else has packed, and by what it is unpacked.
const PACKED: [(&[u8], &str); 5] =
    [(b"\x1f\x8b", "gunzip"), (b"\x28\xb5\x2f\xfd", "unzstd"), (b"\xfd7zXZ\0", "unxz"), (b"BZh", "bunzip2"), (b"PK\x03\x04", "unzip")];

/// The archive, unless it is packed: it is said by what to unpack it.
fn plain(mut archive: impl Read) -> Result<impl Read, BackupError> {
    let mut start = Vec::new();
    let longest = PACKED.iter().map(|(start, _)| start.len()).max().unwrap_or_default();
    archive.by_ref().take(longest as u64).read_to_end(&mut start)?;
    if let Some((_, unpack)) = PACKED.iter().find(|(packed, _)| start.starts_with(packed)) {
        return Err(BackupError::NotOne(format!("it is compressed; unpack it with {unpack}, and restore what comes out")));
    }
    Ok(io::Cursor::new(start).chain(archive))
}

/// An archive, and whether its end was met.
struct Ending<'a, R> {
    inner: R,
    ended: &'a Cell<bool>,
}

impl<R: Read> Read for Ending<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(into)?;
        self.ended.set(self.ended.get() || (n == 0 && !into.is_empty()));
        Ok(n)
    }
}

/// Content on its way to somebody; how reading it failed, if it did.
struct Reading<R> {
    inner: R,
    failed: Option<io::ErrorKind>,
}

impl<R: Read> Read for Reading<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.inner.read(into).inspect_err(|error| self.failed = Some(error.kind()))
    }
}

/// An error of the archive's own structure, or of reading it.
fn broken(error: io::Error) -> BackupError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => BackupError::Cut,
        io::ErrorKind::Other | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => BackupError::NotOne(shown(&error.to_string())),
        _ => BackupError::Io(error),
    }
}

fn own<T: serde::de::DeserializeOwned>(content: &mut impl Read, len: u64) -> Result<T, BackupError> {
    if len > OWN_FILE_MAX {
        return Err(BackupError::Damaged("its own description is too long".to_owned()));
    }
    let mut text = Vec::new();
    content.read_to_end(&mut text).map_err(broken)?;
    serde_json::from_slice(&text).map_err(|error| BackupError::Damaged(format!("its own description: {}", shown(&error.to_string()))))
}

fn drain(content: &mut impl Read) -> Result<(), BackupError> {
    let mut chunk = vec![0; CHUNK_BYTES];
    while content.read(&mut chunk).map_err(broken)? > 0 {}
    Ok(())
}
